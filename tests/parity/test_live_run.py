"""Law 2 for whole specs: backtest == engine on the paper venue == fold of its journal, as Runs and as bundles.

Each is traded with three restarts at rows of a seed's choice, the first from the journal alone, the others from
snapshots; in the nightly run, and by day where it says EACH, also without a break, and without a snapshot.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import trimtab as tt
from tests.parity.conftest import FEES, FULL, acted_on, crypto, indices, joined_by
from tests.parity.engaged import EACH, Way, assert_same, assert_same_run, head, opened, told, trade, traded
from tests.parity.planned import FOLLOWS, FORMS, REGIMES, SHORT, book, by_night_unless, timeframe_for, with_fields
from trimtab.app.cli import app
from trimtab.app.config import complete, read_spec
from trimtab.app.document import Override
from trimtab.app.live import Account
from trimtab.app.wire import panel_of
from trimtab.engine.events import CashMoved, Entry, RowDecided
from trimtab.engine.journal import open_journal, read
from trimtab.engine.shell import Habits
from trimtab.research.bundle import differences
from trimtab.research.synthetic import synthetic_panel
from trimtab.types import (
    HOUR,
    AllocatorUse,
    Caps,
    CashFlow,
    Execution,
    Limits,
    Model,
    NotEnoughData,
    Panel,
    Rebalance,
    RegimeUse,
    SizerUse,
    Spec,
)
from trimtab.venues.link import DRILL
from trimtab.words import utc


@pytest.fixture
def place(tmp_path: Path) -> Generator[Path]:
    """A folder in memory where there is one: these journals need not survive the machine, and there are hundreds."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


# --- every strategy ---------------------------------------------------------------------------------------------------


#: Whom real hours could meet otherwise than days with gaps: a step by row, by day, and by two instruments at once.
ON_HOURS = ("sma_cross", "equity_trend", "pairs_reversion")


# The planner is held against the backtest for every strategy by day. The rest of the engine is the same for all of a
# form, so that the others go through it in the nightly run.
@pytest.mark.parametrize("name", by_night_unless(FORMS, SHORT))
@pytest.mark.parametrize("when", ["on_change", pytest.param("always", marks=pytest.mark.nightly)])
def test_every_strategy_on_days_with_gaps(name: str, when: str, place: Path, ways: Sequence[Way]) -> None:
    panel = synthetic_panel(3, 420, 4, timeframe_for(name, "1d"))
    spec = book(panel, Model(strategy=name, params=SHORT[name]), rebalance=Rebalance(when=when))
    assert_same(spec, panel, place, ways, seed=len(name))


@pytest.mark.parametrize("name", by_night_unless(ON_HOURS, (n for n in SHORT if n != "crypto_momentum")))
def test_every_strategy_on_real_hours_with_gaps(name: str, shared: Path, place: Path, ways: Sequence[Way]) -> None:
    panel = head(crypto(shared), 900)
    universe = panel.symbols[:2] if name == "pairs_reversion" else ()
    timeframe = "1d" if name in ("equity_trend", "index_mean_reversion") else timeframe_for(name, "1h")
    spec = book(panel, Model(strategy=name, params=SHORT[name], universe=universe, timeframe=timeframe), costs=FULL)
    assert_same(spec, panel, place, ways, seed=len(name), fills=1)


def test_real_sessions(place: Path) -> None:
    panel = head(indices(), 900)
    names = ("buy_and_hold", "equity_trend", "index_mean_reversion", "momentum", "pairs_reversion", "sma_cross")
    models = (Model(strategy=n, params=SHORT[n], budget=0.15, name=n) for n in names)
    assert_same(book(panel, *models, costs=FULL, rebalance=Rebalance(buffer=0.01)), panel, place, EACH, fills=100)


def test_days_of_seven_coins(shared: Path, place: Path, ways: Sequence[Way]) -> None:
    frames = shared / "data" / "crypto_binance_2024"
    panel = daily(frames, ("BTC", "ETH", "SOL", "XRP", "ADA", "LINK", "LTC"))
    spec = book(panel, Model(strategy="crypto_momentum"), base_currency="USDT", costs=FULL)
    assert_same(spec, panel, place, ways, fills=10)


def daily(folder: Path, coins: tuple[str, ...]) -> Panel:
    frames: dict[str, pl.DataFrame] = {}
    for coin in coins:
        hours = pl.read_parquet(folder / f"{coin}USDT_1h.parquet").sort("open_time")
        frames[coin] = hours.group_by_dynamic("open_time", every="1d").agg(
            pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
            pl.col("volume").sum(),
        )  # fmt: skip
    return Panel.from_frames(frames, "1d", [tt.Instrument(symbol=s, quote="USDT") for s in coins])


# --- what a spec may say of orders, limits and money ------------------------------------------------------------------

ALWAYS = Rebalance(when="always")
TREND = Model(strategy="sma_cross", params={"fast": 6, "slow": 24, "short": True}, budget=0.5)
MIDDLE = Model(strategy="momentum", params={"lookback": 24, "vol_window": 24}, budget=0.3)
AGAINST = Model(strategy="sma_cross", params={"fast": 3, "slow": 9, "short": True}, budget=0.2, name="quick")

#: name -> (what the spec says, words of orders or limits that have to be seen: else it proves nothing)
SETTINGS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "partial fills": ({"costs": FULL._replace(participation=1e-4), "capital": 1e7}, {"replaced by a new decision"}),
    "rejects": ({"costs": FULL._replace(reject=0.3)}, {"rejected by the venue"}),
    "latency": ({"costs": FULL._replace(latency=5_400.0), "rebalance": Rebalance(when="always")}, set()),
    "stop and target": ({"costs": FULL, "limits": Limits(stop_loss=0.02, take_profit=0.03)}, {"stop_loss"}),
    "trailing": ({"costs": FULL, "limits": Limits(trailing_stop=0.025)}, {"trailing_stop"}),
    "breakers": (
        {"costs": FULL, "limits": Limits(drawdown_derisk=0.02, daily_loss=0.015, weekly_loss=0.03)},
        {"drawdown_derisk", "daily_loss"},
    ),
    "halt": ({"costs": FULL, "limits": Limits(drawdown_halt=0.03)}, {"drawdown_halt"}),
    "limits": (
        {
            "costs": FEES,
            "limits": Limits(
                0.8, 0.3, stale=4 * 3600.0, order_notional=50_000.0, collar=0.01, max_holding=86_400.0, heat=0.9,
                net_exposure=0.7, group_gross=0.6, unusual_vol=1.2, unusual_gap=0.02,
            ),
            "caps": Caps(models={"*": 0.3}, asset_classes={"*": 0.7}),
        },
        {"max_weight", "max_holding", "model"},
    ),
    "limit orders": (
        {"costs": FULL, "limits": Limits(stop_loss=0.02), "execution": Execution(kind="LIMIT", offset=0.004)},
        {"stop_loss"},
    ),
    "limit orders of a day": (
        {"costs": FULL, "execution": Execution(kind="LIMIT", offset=0.004, tif="DAY", post_only=True)},
        set(),
    ),
    "fill or kill": ({"costs": FULL._replace(participation=1e-4), "execution": Execution(tif="FOK")}, set()),
    "buffers": ({"costs": FULL, "rebalance": Rebalance(buffer=0.01, min_trade=0.005, every=8 * 3600.0)}, set()),
    "sizers": (
        {"costs": FULL, "sizer": SizerUse(name="volatility_target", params={"window": 24}),
         "rebalance": Rebalance(buffer=0.01)},
        set(),
    ),
    "allocators": (
        {"costs": FULL, "allocator": AllocatorUse(name="inverse_volatility", window=10, every=3 * 86_400.0)},
        set(),
    ),
}  # fmt: skip


#: What the rules' own set-ups in test_engine have met already, with less around them: for the nightly run.
MET = ("rejects", "latency", "stop and target", "trailing", "halt", "limit orders of a day", "fill or kill")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.nightly) if n in MET else n for n in SETTINGS])
def test_settings_on_real_hours_with_gaps(name: str, shared: Path, place: Path, ways: Sequence[Way]) -> None:
    panel = head(crypto(shared), 1_000)
    more, words = SETTINGS[name]
    models = [TREND, MIDDLE, AGAINST]
    if name == "allocators":
        use = AllocatorUse(name="equal_risk", window=8, every=2 * 86_400.0)
        models[0] = msgspec.structs.replace(TREND, allocator=use)
    backtest = assert_same(book(panel, *models, **more), panel, place, ways, seed=len(name), fills=20)
    acted = {*backtest.orders["reason"], *backtest.orders["waited"], *backtest.actions["limit"]}
    assert words <= acted, acted
    assert bool(backtest.splits) == (name == "allocators")


@pytest.mark.parametrize("liquidated", [False, True])
def test_margin_and_carry_and_cash_flows(liquidated: bool, shared: Path, place: Path, ways: Sequence[Way]) -> None:
    panel = head(crypto(shared), 1_000)
    kinds = ("perpetual", "spot", "perpetual")
    panel = replaced(panel, lambda i: {"kind": kinds[i], "initial_margin": 0.1, "maintenance_margin": 2.0 * liquidated})
    paid = [
        CashFlow(at=utc(panel.ts[row] - shift), amount=amount)
        for row, shift, amount in ((150, 0, 5e4), (150, HOUR // 3, 1e3), (151, 0, -2e4), (900, 0, -1e4))
    ]
    costs = FULL._replace(funding=2e-4, borrow=0.05, margin_interest=0.08, liquidation=0.01)
    more: dict[str, Any] = {"costs": costs, "cash_flows": tuple(paid), "limits": Limits(0.9, daily_loss=0.03)}
    backtest = assert_same(book(panel, TREND, MIDDLE, AGAINST, **more), panel, place, ways, fills=20)
    assert ("margin_call" in set(backtest.actions["limit"])) == liquidated
    assert backtest.metrics["costs"]["funding"] != 0.0
    assert liquidated or backtest.metrics["costs"]["borrow"] != 0.0
    assert backtest.metrics["cash_paid_in"] == 2.1e4


def test_funding_rates_spreads_and_several_currencies(place: Path, ways: Sequence[Way]) -> None:
    """Two wallets in euros and one in dollars, with rates that come and go."""
    panel = synthetic_panel(11, 700, 4, "4h")
    quotes = (("USD", "one"), ("EUR", "one"), ("EUR", "two"), ("USD", "one"))
    panel = replaced(
        panel,
        lambda i: {"quote": quotes[i][0], "venue": quotes[i][1], "kind": ("perpetual", "spot")[i % 2],
                   "initial_margin": 0.2, "maintenance_margin": 0.1},
    )  # fmt: skip
    rng = np.random.default_rng(5)
    rows = len(panel.ts)
    fx = np.full((rows, 4), np.nan)
    rate = 1.1 * np.exp(np.cumsum(rng.normal(0.0, 0.002, rows)))
    fx[:, 1] = np.where(rng.random(rows) < 0.8, rate, np.nan)
    fx[:, 2] = rate
    funding = np.where(rng.random((rows, 4)) < 0.3, rng.normal(0.0, 1e-4, (rows, 4)), np.nan)
    spread = np.where(rng.random((rows, 4)) < 0.5, np.abs(rng.normal(0.0, 1e-3, (rows, 4))), np.nan)
    values = np.concatenate((panel.values, np.stack((fx, funding, spread), axis=2)), axis=2)
    panel = Panel(panel.ts, panel.instruments, (*panel.fields, "fx", "funding", "spread"), values, "4h")
    spec = book(
        panel, TREND, MIDDLE, AGAINST, base_currency="USD",
        capital={"one/USD": 400_000.0, "one/EUR": 300_000.0, "two/EUR": 200_000.0},
        cash_flows=(CashFlow(at=utc(panel.ts[300]), amount=4e4, wallet="two/EUR"),),
        limits=Limits(unusual_spread=0.003, drawdown_derisk=0.05), costs=FULL,
        rebalance=Rebalance(buffer=0.01),
    )  # fmt: skip
    backtest = assert_same(spec, panel, place, ways, fills=50)
    assert "cash" in set(backtest.attribution["by"])


@pytest.mark.parametrize("timeframe", [pytest.param("1h", marks=pytest.mark.nightly), "1d"])
def test_splits_and_dividends(timeframe: str, place: Path, ways: Sequence[Way]) -> None:
    """Restarts between them, members that come and go, protective orders, partial fills, and models on coarser bars."""
    panel = acted_on(with_fields(synthetic_panel(9, 700, 4, timeframe)))
    panel = joined_by(panel) if timeframe == "1d" else panel
    coarser = "4h" if timeframe == "1h" else "1w"
    models = (
        msgspec.structs.replace(
            TREND, regime_budgets=FOLLOWS, allocator=AllocatorUse(name="inverse_volatility", window=8, every=86_400.0)
        ),
        msgspec.structs.replace(MIDDLE, sizer=SizerUse(name="volatility_target", params={"window": 15})),
        Model(strategy=str(Path(__file__).parent / "bar_says.py"), timeframe=coarser, budget=0.1),
    )
    spec = book(
        panel, *models, regimes=REGIMES, allocator=AllocatorUse(name="equal_risk", window=8, every=2 * 86_400.0),
        limits=Limits(stop_loss=0.05, trailing_stop=0.06, take_profit=0.1, unusual_gap=0.2, group_gross=0.8),
        costs=FULL._replace(participation=0.001), rebalance=Rebalance(buffer=0.01), capital=1e7,
    )  # fmt: skip
    backtest = assert_same(spec, panel, place, ways, fills=100)
    assert {"split", "dividend", "stop_loss"} <= set(backtest.actions["limit"])
    assert timeframe != "1d" or "member" in set(backtest.actions["limit"])  # delistings: test_plain_fold
    assert backtest.metrics["dividends"] != 0.0


def test_a_book_with_regimes_sizers_and_allocators(place: Path, ways: Sequence[Way]) -> None:
    panel = with_fields(synthetic_panel(6, 900, 4, "4h"))
    models = (
        msgspec.structs.replace(
            TREND, regime_budgets=FOLLOWS, sizer=SizerUse(name="volatility_target", params={"window": 15}),
            allocator=AllocatorUse(name="inverse_volatility", window=20, every=3 * 86_400.0),
        ),
        Model(strategy="buy_and_hold", budget=0.2, timeframe="1d", regime_budgets={"fear": {"crisis": 0.0}}),
        Model(strategy="pairs_reversion", params=SHORT["pairs_reversion"], universe=("SYN2", "SYN1"), budget=0.2),
    )  # fmt: skip
    spec = book(
        panel, *models, regimes=REGIMES, allocator=AllocatorUse(name="equal_risk", window=15, every=5 * 86_400.0),
        rebalance=Rebalance(buffer=0.01, min_trade=0.003, every=86_400.0), limits=Limits(stop_loss=0.05), costs=FULL,
    )  # fmt: skip
    backtest = assert_same(spec, panel, place, ways, fills=100)
    assert len(backtest.splits) == 2
    assert len({name for name in backtest.attribution["by"] if name.startswith("regime")}) == 4


def replaced(panel: Panel, of: Callable[[int], dict[str, Any]]) -> Panel:
    made = tuple(msgspec.structs.replace(one, **of(i)) for i, one in enumerate(panel.instruments))
    return Panel(panel.ts, made, panel.fields, panel.values, panel.timeframe)


# --- the books that ship ----------------------------------------------------------------------------------------------

SPECS = Path(__file__).resolve().parents[2] / "specs"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("books")


def ran(*args: object) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args], env={"TRIMTAB_TRACEBACK": ""})
    assert result.exit_code == 0, result.output
    return result.output


def shipped(name: str, data: Path, *settings: Override, **window: str) -> tuple[Spec, Panel]:
    """A spec that ships, over a window of a store's bars."""
    spec = read_spec(SPECS / name, list(settings))
    spec = complete(msgspec.structs.replace(spec, **window))
    return spec, panel_of(spec, str(data))


def test_the_book_of_stocks_and_coins(store: Path, place: Path, ways: Sequence[Way]) -> None:
    words = ("data", "synthetic", "equity=SPY,QQQ", "perpetual=BTC,ETH", "--seed", 7)
    ran(*words, "--start", "2019-01-01", "--end", "2020-12-01", "--data", store / "play")
    spec, panel = shipped("multi_model.yaml", store / "play", start="2019-02-01", end="2020-03-01")
    backtest = assert_same(spec, panel, place, ways, fills=50)
    assert {name for name in backtest.attribution["by"] if name.startswith("regime")}


def test_the_laboratory_of_coins(shared: Path, store: Path, place: Path, ways: Sequence[Way]) -> None:
    files = sorted((shared / "data" / "crypto_bitvavo").glob("*_1h.parquet"))
    ran("data", "import", *files, "--venue", "bitvavo", "--data", store / "coins")
    spec, panel = shipped("crypto_book.yaml", store / "coins", start="2021-03-02", end="2021-10-01")
    backtest = assert_same(spec, panel, place, ways, fills=50)
    assert {"model", "stop_loss", "take_profit"} <= set(backtest.actions["limit"])


def test_the_neutral_pair(shared: Path, store: Path, place: Path, ways: Sequence[Way]) -> None:
    files = [shared / "data" / "crypto_bitvavo" / f"{name}EUR_1h.parquet" for name in ("BTC", "ETH")]
    words = ("--venue", "kraken", "--kind", "perpetual", "--data", store / "perpetuals")
    ran("data", "import", *files, *words)
    spec, panel = shipped("neutral_pairs.yaml", store / "perpetuals", start="2021-03-02", end="2021-10-01")
    backtest = assert_same(spec, panel, place, ways, fills=20)
    assert backtest.metrics["costs"]["funding"] != 0.0


def test_the_book_of_stocks(shared: Path, store: Path, place: Path, ways: Sequence[Way]) -> None:
    """Prices as they were, splits and all: what the specs' own tests adjust does not matter here."""
    files, data = shared / "data", store / "stocks"
    stocks = [files / f"equity_us/{name}_1d.parquet" for name in ("SPY", "IWM", "AAPL", "IBM")]
    ran("data", "import", *stocks, "-a", "equity", "--venue", "alpaca", "--data", data)
    ran("data", "import", files / "macro/VIX_1d.parquet", "-a", "index", "--close-only", "--data", data)
    macro = {"term_spread": ("treasury_curve_1d", "term_10y_3m"), "activity": ("fredmd_2026_02_1mo", "INDPRO")}
    reads: list[Override] = []
    for field, (file, column) in macro.items():
        csv = store / f"{field}.csv"
        pl.read_parquet(files / f"macro/{file}.parquet").select("ts", column).write_csv(csv)
        reads.append(Override(f"regimes.1.reads.{field}", f"{csv}#{column}"))
    spec, panel = shipped("equity_book.yaml", data, *reads, start="2006-01-01", end="2009-12-31")
    backtest = assert_same(spec, panel, place, ways, fills=50)
    assert len({name for name in backtest.attribution["by"] if name.startswith("regime")}) == 2


# --- the journal ------------------------------------------------------------------------------------------------------


def small() -> tuple[Spec, Panel]:
    panel = synthetic_panel(3, 200, 2, "1d")
    return book(panel, TREND, AGAINST, costs=FULL, rebalance=Rebalance(when="always")), panel


def torn(account: Account, folder: Path, kept: Callable[[int], bool]) -> Account:
    """The account with the events of its journal as far as they are kept."""
    other = account._replace(folder=folder)
    folder.mkdir()
    with open_journal(other.path, account.names.account) as journal:
        for event in read(account.path):
            if not kept(event.seq):
                break
            journal.append([Entry(event.ts, event.body)])
    return other


def test_a_row_that_was_not_decided_is_left_out(place: Path) -> None:
    spec, panel = small()
    account = opened(spec, panel, place / "whole")
    trade(account, panel)
    decided = [event.seq for event in read(account.path) if isinstance(event.body, RowDecided)]
    last = decided[-1]
    other = torn(account, place / "torn", lambda seq: seq < last)
    assert any(event.seq > decided[-2] + 1 for event in read(other.path))  # its bars and what the venue said of it
    assert_same_run(tt.backtest(spec, head(panel, len(panel.ts) - 1)), told(other))
    empty = torn(account, place / "empty", lambda seq: seq < decided[0])
    with pytest.raises(NotEnoughData, match="no row has been decided yet"):
        told(empty)


def test_cash_flows_that_are_still_to_come_are_no_flows_yet(place: Path) -> None:
    spec, panel = small()
    later = utc(panel.ts[-1])
    flowing = msgspec.structs.replace(spec, cash_flows=(CashFlow(at=later, amount=1e4),))
    account = opened(flowing, panel, place / "a")
    trade(account, head(panel, 150))
    live = told(account)
    assert_same_tables(tt.backtest(spec, head(panel, 150)), live)
    trade(account, panel)
    assert_same_run(tt.backtest(flowing, panel), told(account))


def test_a_run_of_faults_cash_and_a_switch_that_was_thrown_adds_up(shared: Path, place: Path) -> None:
    """No backtest can be run again to say what its ledgers were: they are those of the journal."""
    panel = head(crypto(shared), 900)
    uses = (RegimeUse(regime="volatility", reads=panel.symbols[0], params={"window": 5, "history": 60, "least": 10}),)
    models = (TREND, msgspec.structs.replace(MIDDLE, regime_budgets={"volatility": {"high": 0.5}}), AGAINST)
    spec = book(panel, *models, costs=FULL, regimes=uses, rebalance=Rebalance(when="always"))
    account = opened(spec, panel, place / "a")
    trade(account, head(panel, 500), Habits(reconcile_every=10, snapshot_every=0, adopt=True), DRILL)
    with open_journal(account.path, account.names.account) as journal:
        flow = CashMoved(venue="paper", currency="USD", amount=2e4, flow="deposit", flow_id="1")
        flow = msgspec.structs.replace(flow, venue=account.names.wallets[0][0], currency=account.names.wallets[0][1])
        journal.append([Entry(int(panel.ts[499]), flow)])
    (account.folder / "KILL").write_text("enough\n")
    shell, _ = trade(account, panel, halts="enough")
    assert shell.rows == 400
    run = told(account)
    assert len(run.panel.ts) == 900
    doubts = run.orders.filter(pl.col("reason") == "nobody can say what became of it")
    assert doubts.height > 5, "no fault struck: this proves nothing"
    assert run.equity["paid"].sum() == 2e4
    assert run.equity["paid"][500] == 2e4
    profit = run.metrics["final_equity"] - run.capital - 2e4
    views = run.attribution.group_by("by").agg(pl.col("net").sum())
    assert {"model", "instrument", "side", "regime volatility"} <= set(views["by"])
    np.testing.assert_allclose(views["net"].to_numpy(), profit, rtol=1e-9)
    np.testing.assert_allclose(run.curves.pnl[-1].sum(), profit, rtol=1e-9)
    run.save(place / "bundles", report=True)


def assert_same_tables(backtest: Any, live: Any) -> None:
    for name in ("equity", "orders", "fills", "trades", "attribution"):
        assert getattr(backtest, name).equals(getattr(live, name)), name


def test_bundles_are_equal_and_parity_and_report_say_so(tmp_path: Path) -> None:
    """On the disk, as people have it."""
    data = tmp_path / "play"
    ran(
        "data",
        "synthetic",
        "crypto=AAA,BBB",
        "-t",
        "1d",
        "--start",
        "2020-01-01",
        "--end",
        "2020-08-01",
        "--data",
        data,
    )
    whole = Spec(models=(TREND, AGAINST), universe=("AAA", "BBB"), timeframe="1d", costs=FULL, rebalance=ALWAYS)
    spec = complete(whole)
    panel = panel_of(spec, str(data))
    live = traded(spec, panel, tmp_path / "account", (40, 77))
    backtest = tt.backtest(spec, panel)
    ours, theirs = live.save(tmp_path / "paper"), backtest.save(tmp_path / "backtest")
    assert differences(live, theirs) == []
    assert differences(backtest, ours) == []
    ran("parity", theirs, ours)
    assert (ours / "report.html").stat().st_size > 100_000
    assert (ours / "spec.yaml").read_bytes() == (theirs / "spec.yaml").read_bytes()
    assert str(tmp_path / "again.html") in ran("report", ours, "--data", data, "--out", tmp_path / "again.html")
