"""A settings file with sizers, regimes and an allocator: read, refused in words, run from a store, replayed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.app import wire
from trimtab.app.config import complete, parse_spec, read_spec
from trimtab.data.store import open_store, write_bars
from trimtab.research.canonical import canonical_json, with_rooted_files
from trimtab.types import DAY

BOOK = """
universe: [A, B]
timeframe: 1d
volume: ignore
models:
  - strategy: sma_cross
    params: {fast: 5, slow: 20, short: true}
    budget: 60%
    sizer: {name: volatility_target, params: {target: 10%, window: 20}}
    regime_budgets:
      equity: {bear: 50%}
      fear: {crisis: 0, high: 0.5}
  - strategy: buy_and_hold
    budget: 40%
    allocator: {name: inverse_volatility, window: 40, every: 7d}
    regime_budgets:
      economy: {contraction: 25%}
sizer: confidence
regimes:
  - {regime: equity, reads: A, params: {average: 40, band: 2%}}
  - {regime: vix, name: fear, reads: VIX}
  - regime: macro
    name: economy
    reads: {term_spread: "curve.csv#spread", activity: "curve.csv#activity"}
    params: {growth: 30, smoothing: 5, lead: 60}
rebalance: {buffer: 1%, min_trade: 0.5%, every: 1d}
"""


def bars(seed: int, days: int = 700, level: float = 100.0, vol: float = 0.012) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(0.0, vol, days)))
    opened = np.concatenate(([level], close[:-1]))
    start = int(np.datetime64("2015-01-01", "us").astype(np.int64))
    at = pl.Series(start + np.arange(days) * (DAY // 1_000)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    volume = np.full(days, 1e6)
    columns = {"open_time": at, "open": opened, "high": high, "low": low, "close": close, "volume": volume}
    return pl.DataFrame(columns)


@pytest.fixture
def root(tmp_path: Path) -> str:
    store = open_store(tmp_path / "store")
    for seed, symbol in enumerate(("A", "B")):
        write_bars(store, tt.Instrument(symbol=symbol, asset_class="equity"), "1d", bars(seed))
    write_bars(store, tt.Instrument(symbol="VIX", asset_class="index"), "1d", bars(7, level=20.0, vol=0.06))
    frame = bars(9)
    dates = frame["open_time"].dt.strftime("%Y-%m-%d")
    spread = 0.01 + 0.02 * np.sin(np.arange(len(frame)) / 60.0)
    activity = pl.Series(frame["close"].to_list())
    months = frame["open_time"].dt.day() == 1
    table = pl.DataFrame({"date": dates, "spread": spread, "activity": activity.zip_with(months, pl.Series([None] * 700, dtype=pl.Float64))})  # fmt: skip  # noqa: E501
    table.write_csv(tmp_path / "curve.csv")
    (tmp_path / "book.yaml").write_text(BOOK)
    return str(tmp_path / "store")


def test_a_book_runs_from_a_file_is_reported_and_replayed(root: str, tmp_path: Path) -> None:
    spec = with_rooted_files(complete(read_spec(tmp_path / "book.yaml")))
    run = wire.run_backtest(spec, root=root)
    assert set(run.regimes["regime"].unique()) == {"equity", "fear", "economy"}
    assert {"VIX", "curve.csv#spread", "curve.csv#activity"} <= set(run.panel.fields)
    shares = run.shares.filter(model="buy_and_hold")
    assert shares["ts"].dt.weekday().unique().to_list() == [1]  # Mondays
    assert shares.group_by("ts").agg(pl.col("share").sum())["share"].to_list() == pytest.approx(
        [1.0] * (len(shares) // 2)
    )
    (note,) = (n for n in run.notes if "allocator" in n or "inverse_volatility" in n)
    assert note.startswith(f"inverse_volatility of buy_and_hold chose shares {len(shares) // 2} times, first on 2015-0")
    assert note.endswith(f"The last: A {shares['share'][-2]:.1%}, B {shares['share'][-1]:.1%}.")
    bundle = run.save(tmp_path / "results")
    assert wire.replay(bundle, root) == []
    summary = json.loads((bundle / "summary.json").read_text())
    profit = summary["metrics"]["final_equity"] - 1e6
    for view in summary["attribution"].values():
        assert sum(part["net"] for part in view.values()) == pytest.approx(profit, abs=1e-3)
    page = (bundle / "report.html").read_text()
    assert "Where the profit came from" in page
    assert "regime economy" in page
    assert "How budgets were split" in page
    assert "inverse_volatility of buy_and_hold" in page
    assert f"<td>{shares['share'][-1]:.1%}</td></tr>" in page
    payload = json.loads(page.split('id="payload">')[1].split("</script>")[0])
    shapes = payload["charts"]["equity"]["layout"]["shapes"]
    assert 10 < len(shapes) <= 1_000
    assert all(shape["x0"] < shape["x1"] for shape in shapes)


def test_replay_sees_another_label(root: str, tmp_path: Path) -> None:
    run = wire.run_backtest(with_rooted_files(complete(read_spec(tmp_path / "book.yaml"))), root=root)
    bundle = run.save(tmp_path / "results", report=False)
    stored = pl.read_parquet(bundle / "regimes.parquet")
    stored.with_columns(label=pl.lit("bull")).write_parquet(bundle / "regimes.parquet")
    assert any("regimes: row" in line and "label: bull then" in line for line in wire.replay(bundle, root))


def test_the_settings_come_back(tmp_path: Path, root: str) -> None:
    spec = read_spec(tmp_path / "book.yaml")
    assert spec.models[0].sizer == tt.SizerUse(name="volatility_target", params={"target": 0.1, "window": 20})
    assert spec.models[1].allocator == tt.AllocatorUse(name="inverse_volatility", window=40, every=7 * 86_400.0)
    assert spec.sizer == tt.SizerUse(name="confidence")
    assert spec.rebalance == tt.Rebalance(buffer=0.01, min_trade=0.005, every=86_400.0)
    assert spec.regimes[2].reads == {k: f"{tmp_path}/curve.csv#{k.removeprefix('term_')}" for k in ("term_spread", "activity")}  # fmt: skip  # noqa: E501
    (tmp_path / "curve.csv").unlink()
    missing = read_spec(tmp_path / "book.yaml").regimes[2].reads
    assert missing == spec.regimes[2].reads, "what is nowhere is missed beside the file that names it"
    assert parse_spec(canonical_json(spec)) == spec
    done = complete(spec)
    assert complete(done) == done
    assert done.regimes[0].name == "equity"
    assert done.regimes[0].reads == {"close": "A"}
    assert done.sizer == tt.SizerUse(name="confidence", params={"threshold": 0.2, "power": 1.0})


PLAIN = "universe: [A, B]\nmodels: [{strategy: sma_cross, budget: 0.9}]\n"
TWO = PLAIN.replace("}]", "}, {strategy: buy_and_hold, budget: 0.1}]")
EQUITY = "regimes: [{regime: equity, reads: A}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN + "sizer: volatility_target", r"sizer: volatility_target says another size at every bar.*rebalance: "),
        (PLAIN + "sizer: kely\nrebalance: {buffer: 1%}", r"no sizer is named 'kely' \(did you mean 'kelly'\?\)"),
        (PLAIN + "sizer: {name: kelly, params: {windw: 3}}", r"sizer.params.windw: .*did you mean 'window'"),
        (PLAIN + "sizer: {name: kelly, params: {window: 3}}", r"sizer.params.window: .*at least 20"),
        (PLAIN + "sizer: {params: {}}", r"sizer.name: is missing"),
        (PLAIN + "regimes: [{regime: equty, reads: A}]", r"regimes.0.regime: no regime is named 'equty'.*'equity'"),
        (PLAIN + "regimes: [{regime: macro, reads: A}]", r"macro reads term_spread and activity: say what each"),
        (PLAIN + "regimes: [{regime: vix, reads: {close: A}}]", r"vix has no field 'close'; it reads vix"),
        (PLAIN + "regimes: [{regime: equity, reads: A, timeframe: 1h}]", r"regimes.0.timeframe: 1h does not fit"),
        (PLAIN + "regimes: [{regime: equity, reads: A}, {regime: equity, reads: B}]", r"two of them are called equity"),
        (TWO + "allocator: equl_risk", r"no allocator is named 'equl_risk' \(did you mean 'equal_risk'\?\)"),
        (TWO + "allocator: {name: equal_risk, window: 2}", r"allocator.window: .*at least 5"),
        (PLAIN + "allocator: equal_risk", r"allocator: splits the sum of the budgets over models, .*the book has one"),
        (
            PLAIN.replace("sma_cross,", "pairs_reversion, allocator: equal_risk,"),
            r"models.0.allocator: splits a budget over instruments, and this model trades pairs or baskets: leave",
        ),
        (
            PLAIN.replace("0.9}", "0.9, universe: B, allocator: equal_risk}"),
            r"models.0.allocator: .*this model has one instrument",
        ),
        (
            PLAIN.replace("sma_cross,", "equity_trend, timeframe: 1d, allocator: equal_risk,"),
            r"models.0.allocator: .*this model splits its budget itself",
        ),
        (
            PLAIN.replace("0.9}", "0.9, sizing: fixed, allocator: equal_risk}"),
            r"models.0.allocator: splits the budget over the model's instruments, but sizing is fixed",
        ),
        (
            PLAIN.replace("0.9}", "0.9, regime_budgets: {equity: {bear: 0.5}}}"),
            r"models.0.regime_budgets.equity: the book has no regime of this name; known: none: add it to regimes",
        ),
        (
            PLAIN.replace("0.9}", "0.9, regime_budgets: {equity: {bare: 0.5}}}") + EQUITY,
            r"no label is named 'bare'; expected bull, bear, neutral, unknown",
        ),
        (
            PLAIN.replace("0.9}", "0.9, regime_budgets: {equity: {bear: -1}}}") + EQUITY,
            r"models.0.regime_budgets.equity.bear: .*at least 0",
        ),
        (
            PLAIN.replace("0.9}", "0.9, regime_budgets: {equity: {bull: 1.2}}}") + EQUITY,
            r"while equity bull, the budgets add up to 1.08 \(sma_cross 1.08\)",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(text: str, message: str) -> None:
    with pytest.raises(tt.TrimtabError, match=message):
        parse_spec(text)


def test_the_rule_of_sums_holds_for_every_combination_of_regimes() -> None:
    two = (
        tt.Model(strategy="sma_cross", name="a", budget=0.5, regime_budgets={"x": {"bull": 1.5}}),
        tt.Model(strategy="sma_cross", name="b", budget=0.5, regime_budgets={"x": {"bull": 0.5}, "y": {"low": 1.2}}),
    )
    uses = (tt.RegimeUse(regime="equity", name="x", reads="A"), tt.RegimeUse(regime="volatility", name="y", reads="A"))
    spec = tt.Spec(models=two, universe=("A",), regimes=uses)
    from trimtab.portfolio.book import misfits_of_book

    (found,) = misfits_of_book(spec)
    assert found[1].startswith("while x bull, y low, the budgets add up to 1.05 (a 0.75 + b 0.3)") or (
        "add up to 1.1" in found[1]
    )
    calm = msgspec.structs.replace(two[1], regime_budgets={"x": {"bull": 0.5}})
    assert not [*misfits_of_book(msgspec.structs.replace(spec, models=(two[0], calm)))]
    given = msgspec.structs.replace(
        spec, models=(two[0], calm), allocator=tt.AllocatorUse(name="equal_risk"),
    )  # fmt: skip
    assert "add up to 1.5" in next(misfits_of_book(given))[1]  # the allocator may give it all to the first


def test_a_program_is_told_the_same(root: str) -> None:
    panel = tt.load("A", "B", timeframe="1d", root=root)
    spec = parse_spec("universe: [A, B]\ntimeframe: 1d\nvolume: ignore\nmodels: [{strategy: sma_cross}]\n")
    spec = msgspec.structs.replace(spec, regimes=(tt.RegimeUse(regime="vix", reads="VIX"),))
    wanted = msgspec.structs.replace(spec.models[0], regime_budgets={"vix": {"crisis": 0.0}})
    spec = msgspec.structs.replace(spec, models=(wanted,))
    with pytest.raises(tt.TrimtabError, match=r"regimes.0.reads: 'VIX' is neither a symbol nor a field of the panel"):
        tt.backtest(spec, panel)
    run = tt.backtest(spec, tt.load("A", "B", timeframe="1d", root=root, series=["VIX"]))
    assert set(run.regimes["label"]) >= {"low", "normal"}
    with pytest.raises(tt.TrimtabError, match="sizer: kelly says another size at every bar"):
        tt.backtest(msgspec.structs.replace(spec, sizer=tt.SizerUse(name="kelly")), panel)
    pairs = tt.Model(strategy="pairs_reversion", allocator=tt.AllocatorUse(name="equal_risk"))
    with pytest.raises(tt.TrimtabError, match="this model trades pairs or baskets"):
        tt.backtest(msgspec.structs.replace(spec, regimes=(), models=(pairs,)), panel)
