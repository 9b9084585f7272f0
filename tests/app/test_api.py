"""The Python API, pinned: the block of names below is what programs are written against."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.types import HOUR

ROOT = Path(__file__).resolve().parents[2]
BREAKOUT = ROOT / "examples/volatility_breakout.py"
COSTS = tt.Costs(taker_fee=0.001, half_spread=0.0005)

COLUMNS = {
    "equity": "ts equity drawdown",
    "orders": "order_id ts symbol kind lots filled limit_price stop_price tif post_only reduce_only parent status "
    "reason waited done_ts",
    "fills": "fill_id order_id ts symbol lots quantity price fee maker mid spread slippage impact latency realised "
    "position crossed_lots",
    "trades": "model symbol side entry_ts exit_ts quantity entry_price exit_price pnl return fees costs holding_days "
    "open",
    "weights": "ts BTCEUR ETHEUR",
    "actions": "ts limit symbol model wanted allowed action",
    "utilisation": "ts limit name symbol bound measure used highest",
    "shares": "ts model name share",
    "regimes": "ts regime label",
    "attribution": "by name net costs gross days",
    "execution": "by name orders fills rejected unknown fill_rate decision_slippage arrival_slippage decision_cost "
    "arrival_cost time_to_fill longest_fill",
    "slippage": "fill_id order_id ts bar_ts decision_ts symbol waited price decision_price against_decision "
    "decision_cost arrival_price against_arrival arrival_cost decision_bar bar",
    "marks": "ts symbol mark rate bars",
}


def hourly(seed: int, price: float, hours: int = 6_000) -> pl.DataFrame:
    """A random walk with waves, from the first hour of 2021-03-02: bars as an exchange gives them."""
    rng = np.random.default_rng(seed)
    path = rng.normal(0, 0.006, hours).cumsum() + 0.12 * np.sin(np.arange(hours + seed)[seed:] / 190)
    close = np.round(price * np.exp(path), 2)
    opened = np.concatenate(([price], close[:-1]))
    wick = 1 + np.abs(rng.normal(0, 0.003, (2, hours)))
    start = np.datetime64("2021-03-02T00:00:00", "us")
    return pl.DataFrame(
        {
            "open_time": pl.Series(start + np.arange(hours) * np.timedelta64(1, "h")).dt.replace_time_zone("UTC"),
            "open": opened,
            "high": np.maximum(opened, close) * wick[0],
            "low": np.minimum(opened, close) / wick[1],
            "close": close,
            "volume": rng.uniform(200, 900, hours) * 50_000 / price,
        }
    )


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    return {"BTCEUR": hourly(1, 40_000.0), "ETHEUR": hourly(2, 1_300.0)}


def store_of(folder: Path, files: list[Path]) -> Path:
    from typer.testing import CliRunner

    from trimtab.app.cli import app

    done = CliRunner().invoke(app, ["data", "import", *map(str, files), "--venue", "bitvavo", "--data", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def store(frames: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    for symbol, frame in frames.items():
        frame.write_parquet(folder / f"{symbol}_1h.parquet")
    return store_of(folder / "store", sorted(folder.glob("*.parquet")))


@pytest.fixture(scope="module")
def panel(store: Path) -> tt.Panel:
    return tt.load("BTCEUR", "ETHEUR", timeframe="1h", start="2021-03-02", root=store)


@pytest.fixture(scope="module")
def run(panel: tt.Panel) -> tt.Run:
    return tt.backtest("sma_cross", panel, params={"fast": 20, "slow": 50}, costs=COSTS, capital=1e6)


# --- the pinned block ------------------------------------------------------------------------------------------------


def block(folder: Path, df: Any) -> None:
    """The API as its readers write it; `TRIMTAB_DATA` names the store and `folder` is the working directory."""
    panel = tt.load("BTCEUR", "ETHEUR", timeframe="1h", start="2021-03-02")
    assert (panel.symbols, panel.timeframe) == (("BTCEUR", "ETHEUR"), "1h")
    single = tt.Panel.from_frames({"X": df}, timeframe="1h")
    assert (single.symbols, len(single.ts)) == (("X",), len(df))
    costs = tt.Costs(taker_fee=0.001, half_spread=0.0005)
    assert (costs.maker_fee, costs.slippage, costs.impact, costs.latency) == (0.0, 0.0, 0.0, 0.0)
    weights = np.full((len(panel.ts), 2), np.nan)
    weights[100], weights[3_000] = 0.5, 0.0
    held = tt.simulate(panel, weights, costs=costs, limits=None, capital=1e6)
    assert held.fills.height == 4
    run = tt.backtest("sma_cross", panel, params={"fast": 20, "slow": 50}, costs=costs, capital=1e6)
    again = tt.backtest(run.spec, panel)
    assert again.run_id == run.run_id
    assert again.equity.equals(run.equity)
    table = tt.sweep("sma_cross", single, {"fast": range(5, 30), "slow": range(35, 235, 5)}, costs=costs)
    assert isinstance(table, pl.DataFrame)
    assert table.height == 25 * 40
    for frame in (run.equity, run.orders, run.fills, run.trades, run.weights, run.actions):
        assert isinstance(frame, pl.DataFrame)
    assert {"net", "gross", "holding", "models"} <= set(run.metrics)
    assert type(run.plot()).__name__ == "Figure"
    assert run.report("report.html") == Path("report.html")
    assert (folder / "report.html").stat().st_size > 100_000
    assert run.save("results") == Path("results") / run.run_id
    assert sorted(path.name for path in (folder / "results" / run.run_id).iterdir()) == sorted(
        ["spec.yaml", "summary.json", "report.html", *(f"{name}.parquet" for name in COLUMNS)]
    )


def test_the_block_runs_on_bars_made_here(
    store: Path, frames: dict[str, pl.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRIMTAB_DATA", str(store))
    monkeypatch.chdir(tmp_path)
    block(tmp_path, frames["BTCEUR"])


def test_the_block_runs_on_real_bars(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = [shared / f"data/crypto_bitvavo/{symbol}_1h.parquet" for symbol in ("BTCEUR", "ETHEUR")]
    monkeypatch.setenv("TRIMTAB_DATA", str(store_of(tmp_path / "store", files)))
    monkeypatch.chdir(tmp_path)
    block(tmp_path, pl.read_parquet(files[0]).head(9_000).to_pandas())


# --- frames and figures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_and_their_columns(run: tt.Run, name: str):
    assert getattr(run, name).columns == COLUMNS[name].split()


def test_instants_of_the_tables_are_utc_nanoseconds(run: tt.Run):
    for table, columns in (
        (run.equity, "ts"), (run.orders, "ts done_ts"), (run.fills, "ts"), (run.trades, "entry_ts exit_ts"),
    ):  # fmt: skip
        for column in columns.split():
            assert table.schema[column] == pl.Datetime("ns", "UTC")


def test_the_tables_agree_with_each_other(run: tt.Run):
    assert run.equity.height == len(run.panel.ts)
    filled = run.fills.group_by("order_id").agg(pl.col("lots").sum())
    both = run.orders.join(filled, on="order_id", how="left").with_columns(pl.col("lots_right").fill_null(0))
    assert (both["filled"] == both["lots_right"]).all()
    net = run.metrics["net"]
    assert net["total_return"] == pytest.approx(run.equity["equity"][-1] / 1e6 - 1, rel=1e-12)
    assert net["trades"] == run.trades.filter((pl.col("model") == "") & ~pl.col("open")).height
    assert run.equity["drawdown"].min() == pytest.approx(net["max_drawdown"], rel=1e-12)


def test_metrics_are_net_and_gross_of_the_book_and_of_each_model(run: tt.Run):
    figures = run.metrics
    assert set(figures) == {
        "net", "gross", "holding", "models", "costs", "crossing_saved", "break_even_cost", "capital", "final_equity",
        "currency", "periods", "convention", "cash_paid_in", "revaluation", "money_weighted_return", "dividends",
    }  # fmt: skip
    assert list(figures["models"]) == ["sma_cross"]
    assert set(figures["models"]["sma_cross"]) == {"budget", "pnl", "costs", "net", "gross"}
    assert list(figures["costs"]) == [
        "fee", "spread", "slippage", "impact", "latency", "funding", "borrow", "interest",
    ]  # fmt: skip
    assert figures["gross"]["total_return"] > figures["net"]["total_return"]
    assert figures["gross"].keys() == figures["net"].keys() == figures["models"]["sma_cross"]["net"].keys()
    assert figures["periods"] == 365.0


def test_a_pandas_frame_gives_the_same_run_as_a_polars_frame(frames: dict[str, pl.DataFrame]):
    made = [
        tt.backtest("sma_cross", tt.Panel.from_frames({"X": frame}, timeframe="1h"), costs=COSTS)
        for frame in (frames["BTCEUR"], frames["BTCEUR"].to_pandas())
    ]
    assert made[0].data_hash == made[1].data_hash
    assert made[0].equity.equals(made[1].equity)
    assert made[0].fills.equals(made[1].fills)


def test_a_plot_is_a_figure_that_plotly_draws(run: tt.Run):
    import plotly.graph_objects as go

    figure = run.plot()
    assert isinstance(figure, go.Figure)
    drawn = [np.asarray(trace.y, dtype=float) for trace in figure.data if getattr(trace, "y", None) is not None]  # type: ignore[attr-defined]
    assert any(np.isclose(line[-1], run.equity["equity"][-1]) for line in drawn if len(line))


def test_a_run_says_what_it_is(run: tt.Run):
    assert repr(run).startswith(f"<Run {run.run_id[:16]}: sma_cross on BTCEUR, ETHEUR, 6000 rows, net return ")


# --- simulate: NaN is hold -------------------------------------------------------------------------------------------


def test_nan_holds_and_a_number_trades(panel: tt.Panel):
    weights = np.full((len(panel.ts), 2), np.nan)
    weights[10, 0], weights[500, 0], weights[20, 1] = 0.4, 0.0, 0.3
    run = tt.simulate(panel, weights, costs=COSTS)
    assert run.orders["ts"].dt.epoch("ns").to_list() == [int(panel.ts[row]) for row in (10, 20, 500)]
    assert run.orders["symbol"].to_list() == ["BTCEUR", "ETHEUR", "BTCEUR"]
    opened = panel.values[:, :, 0]
    assert run.fills["mid"].to_list() == [opened[11, 0], opened[21, 1], opened[501, 0]]
    assert run.fills["ts"].dt.epoch("ns").to_list() == [int(panel.ts[row]) for row in (10, 20, 500)]


def test_without_weights_nothing_happens(panel: tt.Panel):
    run = tt.simulate(panel, np.full((len(panel.ts), 2), np.nan), costs=COSTS)
    assert (run.orders.height, run.fills.height, run.trades.height) == (0, 0, 0)
    assert run.equity["equity"].unique().to_list() == [1e6]
    assert np.isnan(run.metrics["net"]["sharpe"])
    assert run.metrics["net"]["total_return"] == 0.0


def test_a_column_of_weights_does_for_one_instrument(frames: dict[str, pl.DataFrame]):
    panel = tt.Panel.from_frames({"X": frames["BTCEUR"]}, timeframe="1h")
    flat = np.full(len(panel.ts), np.nan)
    flat[5] = 1.0
    assert tt.simulate(panel, flat).equity.equals(tt.simulate(panel, flat[:, None]).equity)


def test_other_weights_another_window_another_run_id(panel: tt.Panel, store: Path):
    weights = np.full((len(panel.ts), 2), np.nan)
    weights[10] = 0.5
    other = weights.copy()
    other[11] = 0.4
    runs = [tt.simulate(panel, w, costs=COSTS) for w in (weights, other, weights)]
    assert runs[0].run_id == runs[2].run_id != runs[1].run_id
    later = tt.load("BTCEUR", "ETHEUR", timeframe="1h", start="2021-04-01", root=store)
    ids = {tt.backtest("sma_cross", p, costs=COSTS).run_id for p in (panel, later)}
    assert len(ids) == 2


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda t: np.zeros((t - 1, 2)), r"weights have shape \(5999, 2\): expected \(T, N\) = \(6000, 2\)"),
        (lambda t: np.zeros((t, 3)), r"weights have shape \(6000, 3\)"),
        (lambda t: np.zeros(t), r"weights have shape \(6000,\)"),
        (lambda t: np.full((t, 2), np.inf), "BTCEUR at row 0 .* is inf: expected a finite"),
        (lambda t: np.full((t, 2), "x"), "weights are no numbers"),
    ],
)
def test_weights_of_the_wrong_shape_are_refused(panel: tt.Panel, weights: Any, message: str):
    with pytest.raises(tt.TrimtabError, match=message):
        tt.simulate(panel, weights(len(panel.ts)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, s: tt.backtest("sma_crss", p), "did you mean 'sma_cross'"),
        (lambda p, s: tt.backtest("sma_cross", p, params={"fst": 3}), "fst"),
        (lambda p, s: tt.backtest("sma_cross", p, params={"fast": 60, "slow": 50}), "fast"),
        (lambda p, s: tt.backtest("sma_cross", p, costs="binanse"), "did you mean 'binance'"),
        (lambda p, s: tt.backtest("sma_cross", p, capital=0), "capital"),
        (lambda p, s: tt.simulate(p, np.zeros((6_000, 2)), capital=float("nan")), "capital"),
        (lambda p, s: tt.simulate(p, np.zeros((6_000, 2)), volume="maybe"), "volume"),
        (lambda p, s: tt.backtest("sma_cross", p, capital="1e6"), "capital is '1e6': expected a number above 0"),
        (lambda p, s: tt.backtest("sma_cross", p, rebalance=tt.Rebalance(buffer="5%")), "rebalance.buffer is '5%'"),
        (lambda p, s: tt.backtest("sma_cross", p, costs=tt.Costs(taker_fee=5)), "costs.taker_fee is 5: expected"),
        (lambda p, s: tt.sweep("sma_cross", p, {"fast": [3]}, limits=tt.Limits(stop_loss=2)), "limits.stop_loss is 2"),
        (lambda p, s: tt.sweep("sma_cross", p, {"fast": []}), "no value for fast"),
        (lambda p, s: tt.load("BTCEUR", "ETHUER", timeframe="1h", root=s), "did you mean ETHEUR"),
        (lambda p, s: tt.load("BTCEUR", timeframe="1h", start="2030-01-01", root=s), "no 1h bar"),
        (lambda p, s: tt.load("BTCEUR", timeframe="2h", root=s), "2h"),
        (lambda p, s: tt.load("BTCEUR", timeframe="1h", start="soon", root=s), "is no date"),
        (lambda p, s: tt.Panel.from_frames({"X": pl.DataFrame({"open": [1.0]})}, timeframe="1h"), "open_time"),
    ],
)
def test_a_mistake_is_one_clear_message(panel: tt.Panel, store: Path, call: Any, message: str):
    with pytest.raises(tt.TrimtabError) as caught:
        call(panel, store)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_spec_about_other_bars_is_refused(run: tt.Run, store: Path):
    other = tt.load("BTCEUR", "ETHEUR", timeframe="4h", root=store)
    with pytest.raises(tt.TrimtabError, match="the spec's timeframe is 1h, the panel's is 4h"):
        tt.backtest(run.spec, other)
    with pytest.raises(tt.TrimtabError, match="the spec's universe is BTCEUR, ETHEUR, the panel's is ETHEUR"):
        tt.backtest(run.spec, tt.load("ETHEUR", timeframe="1h", root=store))


# --- a strategy of one's own, and another process --------------------------------------------------------------------


def test_a_file_of_ones_own_through_backtest_and_through_a_spec(panel: tt.Panel):
    run = tt.backtest(str(BREAKOUT), panel, params={"window": 60}, costs=COSTS)
    assert run.metrics["net"]["trades"] > 10
    assert run.model_names == ("volatility_breakout",)
    model = tt.Model(strategy=str(BREAKOUT), params={"window": 60, "entry": 2.0})
    first, last = run.spec.start, run.spec.end
    spec = tt.Spec(
        models=(model,), universe=panel.symbols, timeframe="1h", base_currency="EUR", costs=COSTS, start=first, end=last
    )
    again = tt.backtest(spec, panel)
    assert again.fills.equals(run.fills)
    assert again.run_id == run.run_id


def replayed(bundle: Path, store: Path) -> subprocess.CompletedProcess[str]:
    code = "from trimtab.app.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "replay", str(bundle), "--data", str(store), "--json"],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "TRIMTAB_TRACEBACK": ""},
    )  # fmt: skip


def test_a_saved_run_replays_in_another_process_to_the_bit(panel: tt.Panel, store: Path, tmp_path: Path):
    run = tt.backtest(str(BREAKOUT), panel, costs=COSTS, limits=tt.Limits(stop_loss=0.05), seed=3)
    bundle = run.save(tmp_path, report=False)
    result = replayed(bundle, store)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["identical"] is True
    assert pl.read_parquet(bundle / "equity.parquet").equals(run.equity)


def test_a_run_of_given_weights_says_why_it_cannot_be_replayed(panel: tt.Panel, store: Path, tmp_path: Path):
    weights = np.full((len(panel.ts), 2), np.nan)
    weights[5] = 0.5
    result = replayed(tt.simulate(panel, weights).save(tmp_path, report=False), store)
    assert result.returncode == 2
    assert "weights were given as numbers" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_bars_without_volume_ask_for_a_decision(frames: dict[str, pl.DataFrame]):
    panel = tt.Panel.from_frames({"X": frames["BTCEUR"].drop("volume")}, timeframe="1h")
    with pytest.raises(tt.TrimtabError, match='volume="ignore"'):
        tt.backtest("sma_cross", panel)
    assert tt.backtest("sma_cross", panel, volume="ignore").fills.height > 0


def test_an_hour_is_what_the_panel_says(panel: tt.Panel):
    """ts is the close: the first bar of the store opened at 2021-03-02T00:00."""
    assert int(panel.ts[0]) == int(np.datetime64("2021-03-02T00:00:00", "ns").astype(np.int64)) + HOUR


def test_half_a_bar_is_refused() -> None:
    import trimtab as tt

    values = np.full((30, 1, 6), 100.0)
    values[7, 0, 2] = np.nan
    values[:, 0, 5] = 3.6e12
    fields = ("open", "high", "low", "close", "volume", "duration")
    ts = 1_600_000_000_000_000_000 + np.arange(30, dtype=np.int64) * 3_600_000_000_000
    panel = tt.Panel(ts, (tt.Instrument(symbol="X"),), fields, values, "1h")
    with pytest.raises(tt.TrimtabError, match=r"X, row 7.*low nan.*four prices"):
        tt.simulate(panel, np.full(30, 0.5))
