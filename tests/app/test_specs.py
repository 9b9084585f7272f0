"""The specs that ship in `specs/`, run by the command on real history: that they trade, and that their limits held.

What a run says is held against what follows from its fills and the bars alone: cash, positions and equity at every row,
and from these every measure that a preset limits. The real bars are those of `../shared/data`; the spec of four models
runs on seeded bars, since nobody publishes a joint history of stocks and coins.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

import trimtab as tt
from trimtab.app.cli import app
from trimtab.types import DAY, F64, HOUR, I64

SPECS = Path(__file__).resolve().parents[2] / "specs"
ENV = {"COLUMNS": "100", "TRIMTAB_TRACEBACK": "", "TRIMTAB_DATA": ""}
SLACK = 1.0 + 1e-9


def trimtab(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env=ENV)


def told(*args: object, code: int = 0) -> Any:
    result = trimtab(*args, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


class Ran:
    """A run by the command: what was said, its tables, and the book that follows from its fills and the bars."""

    def __init__(self, spec: str, store: Path, out: Path, *options: object, code: int = 0) -> None:
        self.store = store
        words = ("backtest", SPECS / spec, "--data", store, "--out", out, "--no-report", *options)
        self.told = told(*words, code=code)
        self.bundle = Path(self.told["bundle"])
        self.said: dict[str, Any] = yaml.safe_load((self.bundle / "spec.yaml").read_text())

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.bundle / f"{name}.parquet")

    def acted(self, limit: str) -> pl.DataFrame:
        return self.table("actions").filter(pl.col("limit") == limit)

    @cached_property
    def panel(self) -> tt.Panel:
        said = self.said
        return tt.load(
            *said["universe"], timeframe=said["timeframe"], start=said["start"], end=said["end"], root=self.store
        )

    @cached_property
    def book(self) -> Book:
        return book_of(self)


class Book(NamedTuple):
    """ts (T,); marks, held, lows, highs (T, N); cash, equity (T,): at the close of each row, from fills and bars."""

    ts: I64
    marks: F64
    held: F64
    lows: F64
    highs: F64
    cash: F64

    @property
    def equity(self) -> F64:
        return self.cash + (self.held * np.nan_to_num(self.marks)).sum(axis=1)


def book_of(ran: Ran) -> Book:
    panel = ran.panel
    at = {name: panel.values[:, :, panel.fields.index(name)] for name in ("open", "high", "low", "close")}
    marks = pl.DataFrame(at["close"]).fill_nan(None).select(pl.all().forward_fill()).to_numpy()
    held, cash = np.zeros_like(marks), np.zeros(len(marks))
    orders = dict(ran.table("orders").select("order_id", "kind").iter_rows())
    for fill in ran.table("fills").iter_rows(named=True):
        i = panel.symbols.index(fill["symbol"])
        rows = np.flatnonzero(~np.isnan(at["close"][:, i]))
        ts = int(fill["ts"].timestamp()) * 10**9
        # A fill at an open has the open's instant, one inside a bar the close's: of the bar that opens there, the price
        # at which a protective order was met tells.
        k = int(np.searchsorted(panel.ts[rows], ts, side="right"))
        opened = k < len(rows) and at["open"][rows[k], i] == fill["mid"]
        if orders.get(fill["order_id"], "MARKET") != "MARKET" and not opened:
            k = int(np.searchsorted(panel.ts[rows], ts, side="left"))
        held[rows[k], i] += fill["lots"]
        cash[rows[k]] -= fill["quantity"] * fill["price"] + fill["fee"]
    held = held.cumsum(axis=0) * [i.lot_size * i.multiplier for i in panel.instruments]
    funding = ran.said["costs"]["funding"] if isinstance(ran.said["costs"], dict) else 0.0
    stamps = panel.ts % (8 * HOUR) == 0
    cash[stamps] -= funding * (held * np.nan_to_num(marks)).sum(axis=1)[stamps]
    return Book(panel.ts, marks, held, at["low"], at["high"], ran.said["capital"] + cash.cumsum())


# --- the measures of the limits ---------------------------------------------------------------------------------------

Measure = Callable[[F64], F64]


def largest(notional: F64) -> F64:
    return np.abs(notional).max(axis=1)


def gross(notional: F64) -> F64:
    return np.abs(notional).sum(axis=1)


def of(*columns: int) -> Measure:
    return lambda notional: np.abs(notional[:, list(columns)]).sum(axis=1)


def assert_no_fill_exceeds(book: Book, measure: Measure, bound: float) -> None:
    """At the prices of the last close no row's fills leave more than the bound, unless they made it smaller."""
    prices, equity = np.nan_to_num(book.marks[:-1]), book.equity[:-1]
    before, after = (measure(held * prices) / equity for held in (book.held[:-1], book.held[1:]))
    assert (after <= np.maximum(before, bound) * SLACK).all()
    assert after.max() > 0.0


def assert_drift_is_cut(ran: Ran, measure: Measure, bound: float) -> None:
    """Prices may carry a measure over its bound; the book's next decision brings it back at the next open."""
    book = ran.book
    decided = ran.table("orders").filter(pl.col("kind") == "MARKET")["ts"].unique()
    rows = np.searchsorted(book.ts, decided.cast(pl.Datetime("ns")).to_physical().to_numpy())
    rows = rows[rows < len(book.ts) - 1]
    after = measure(book.held[rows + 1] * np.nan_to_num(book.marks[rows])) / book.equity[rows]
    assert (after <= bound * SLACK).all()


def crossings(equity: F64, capital: float, trigger: float) -> tuple[list[int], list[int]]:
    """Rows at which a drawdown beyond the trigger begins, and at which it has come back to half of it."""
    begun, ended, peak, inside = [], [], capital, False
    for t, e in enumerate(equity):
        peak = max(peak, e)
        if not inside and e < peak * (1.0 - trigger):
            begun.append(t)
            inside = True
        elif inside and e > peak * (1.0 - trigger / 2.0):
            ended.append(t)
            inside = False
    return begun, ended


def days_with_losses(book: Book, capital: float, limit: float, *, weekly: bool = False) -> list[int]:
    """The first row of each UTC day (week from Monday) whose equity is below that of its beginning by the limit."""
    length = 7 * DAY if weekly else DAY
    period = (book.ts - 1 + (3 * DAY if weekly else 0)) // length  # a close at 00:00 ends its day
    found: list[int] = []
    start, fired = capital, False
    for t, e in enumerate(book.equity):
        if t and period[t] != period[t - 1]:
            start, fired = book.equity[t - 1], False
        if not fired and e < start * (1.0 - limit):
            found.append(t)
            fired = True
    return found


def rows_of(actions: pl.DataFrame, book: Book) -> list[int]:
    return np.searchsorted(book.ts, actions["ts"].cast(pl.Datetime("ns")).to_physical().to_numpy()).tolist()


# --- the stores -------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    folder: Path
    files: Path

    def store(self, name: str) -> Path:
        return self.folder / name

    def run(self, spec: str, store: str, *options: object, code: int = 0) -> Ran:
        return Ran(spec, self.store(store), self.folder / "out", *options, code=code)


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What the heads of the specs say to import, imported by the command."""
    where = Place(tmp_path_factory.mktemp("specs"), shared / "data")
    euro, coins = where.files / "crypto_bitvavo", where.files / "crypto_binance_2024"
    pairs = [folder / f"{base}{quote}_1h.parquet" for folder, quote in ((euro, "EUR"), (coins, "USDT"))
             for base in ("BTC", "ETH")]  # fmt: skip
    imports = [
        ("perpetuals", pairs[:2], ("--venue", "kraken", "--kind", "perpetual")),
        ("perpetuals", pairs[2:], ("--venue", "binance", "--kind", "perpetual")),
        ("coins", sorted(euro.glob("*.parquet")), ("--venue", "bitvavo")),
        ("coins", sorted(coins.glob("*.parquet")), ("--venue", "binance")),
    ]
    for store, files, options in imports:
        assert told("data", "import", *files, *options, "--data", where.store(store))["refused"] == []
    return where


PAIR_2024 = ("--set", "universe=[BTCUSDT, ETHUSDT]", "--set", "base_currency=USDT",
             "--start", "2024-01-01", "--end", "2024-12-30")  # fmt: skip
COINS_2024 = ("--set", "universe=[BTCUSDT, ETHUSDT, SOLUSDT, XRPUSDT]", "--set", "base_currency=USDT",
              "--set", "regimes.0.reads=BTCUSDT", "--start", "2024-01-01", "--end", "2024-12-30")  # fmt: skip


def test_every_spec_is_good_and_is_run_here() -> None:
    names = sorted(path.name for path in SPECS.glob("*.yaml"))
    text = Path(__file__).read_text(encoding="utf-8")
    assert names == ["crypto_book.yaml", "equity_book.yaml", "multi_model.yaml", "neutral_pairs.yaml"]
    for name in names:
        assert trimtab("config", "check", SPECS / name).exit_code == 0
        assert f'"{name}"' in text


# --- neutral_pairs ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(place: Place) -> dict[str, Ran]:
    everything = ("--set", "models.0.params.max_notional=1")
    return {
        "2021-2023": place.run("neutral_pairs.yaml", "perpetuals"),
        "2024": place.run("neutral_pairs.yaml", "perpetuals", *PAIR_2024),
        "all in": place.run("neutral_pairs.yaml", "perpetuals", *everything, code=4),
    }


PAIRS = ["2021-2023", "2024", "all in"]


@pytest.mark.parametrize("name", PAIRS)
def test_the_equity_of_the_pair_follows_from_its_fills_and_the_funding(pairs: dict[str, Ran], name: str) -> None:
    ran = pairs[name]
    np.testing.assert_allclose(ran.table("equity")["equity"].to_numpy(), ran.book.equity, rtol=1e-9)
    assert ran.told["metrics"]["net"]["trades"] > 30
    assert ran.told["metrics"]["costs"]["funding"] != 0.0


@pytest.mark.parametrize("name", PAIRS)
def test_limits_pairs_held_at_every_row(pairs: dict[str, Ran], name: str) -> None:
    ran = pairs[name]
    for measure, bound in ((largest, 0.10), (gross, 2.0)):
        assert_no_fill_exceeds(ran.book, measure, bound)
        assert_drift_is_cut(ran, measure, bound)
    book = ran.book
    beyond, _ = crossings(book.equity, 100_000.0, 0.10)
    assert rows_of(ran.acted("drawdown_halt"), book) == beyond[:1]
    assert ran.told["halted"] is (len(beyond) > 0) is (name == "all in")
    for row in beyond:
        assert (book.held[row] != 0).all()
        assert (book.held[row + 1 :] == 0).all(), "flat from the next bar to the end"
    assert days_with_losses(book, 100_000.0, 0.05) == []
    assert set(ran.table("actions")["limit"]) <= {"max_weight", "drawdown_halt"}


def test_what_asks_for_everything_gets_a_tenth_of_each_leg(pairs: dict[str, Ran]) -> None:
    """With half of equity wanted in each leg, each is cut to the tenth that the preset allows: neutral all the same."""
    ran = pairs["all in"]
    book = ran.book
    scaled = ran.acted("max_weight")
    assert set(scaled["symbol"]) == {"BTCEUR", "ETHEUR"}
    entered = np.flatnonzero((book.held[1:] != 0).all(axis=1) & (book.held[:-1] == 0).all(axis=1))
    assert len(entered) > 30
    weights = book.held[entered + 1] * book.marks[entered] / book.equity[entered, None]
    np.testing.assert_allclose(np.abs(weights), 0.10, rtol=1e-4)
    np.testing.assert_allclose(weights.sum(axis=1), 0.0, atol=1e-5)


def test_the_pair_is_entered_and_left_where_its_spread_says(pairs: dict[str, Ran]) -> None:
    """Lookback 100, entry 2, exit 0.5, stop 4, 60 bars at most: sides from closes alone, hedge frozen at entry."""
    ran = pairs["2021-2023"]
    close = ran.panel.values[:, :, ran.panel.fields.index("close")]
    known = ~np.isnan(close).any(axis=1)
    first, second = np.log(close[known]).T
    side, hedge, age, blocked = 0.0, 0.0, 0, False
    sides = np.zeros(len(first))
    for t in range(99, len(first)):
        y, x = first[t - 99 : t + 1], second[t - 99 : t + 1]
        slope = np.cov(x, y)[0, 1] / x.var(ddof=1)
        spread = y - (hedge if side else slope) * x
        z = (spread[-1] - spread.mean()) / spread.std(ddof=1)
        blocked = blocked and abs(z) >= 0.5
        if side == 0.0:
            if 2.0 <= abs(z) < 4.0 and slope > 0.0 and not blocked:
                side, hedge, age = -np.sign(z), slope, 0
        else:
            age += 1
            if -side * z < 0.5:
                side = 0.0
            elif -side * z >= 4.0 or age >= 60:
                side, blocked = 0.0, True
        sides[t] = side
    expected = np.flatnonzero(np.diff(sides) != 0) + 1
    decided = ran.table("orders").filter(pl.col("kind") == "MARKET")["ts"].unique().sort()
    ts = ran.panel.ts[known][expected]
    assert decided.cast(pl.Datetime("ns")).to_physical().to_list() == ts.tolist()
    waited = ran.table("orders")["waited"].str.starts_with("waiting: participation").sum()
    late = (np.sign(ran.book.held[known][1:, 0]) != sides[:-1]).sum()
    assert late <= waited, "on the side that was decided by the next close, unless the bar had too little volume"


# --- crypto_book ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coins(place: Place) -> dict[str, Ran]:
    return {
        "2021-2023": place.run("crypto_book.yaml", "coins"),
        "2024": place.run("crypto_book.yaml", "coins", *COINS_2024),
    }


YEARS = ["2021-2023", "2024"]


@pytest.mark.parametrize("name", YEARS)
def test_limits_lab_held_at_every_row(coins: dict[str, Ran], name: str) -> None:
    ran = coins[name]
    np.testing.assert_allclose(ran.table("equity")["equity"].to_numpy(), ran.book.equity, rtol=1e-9)
    assert set(ran.told["models"]) == {"crypto_momentum", "sma_cross", "momentum"}
    trades = ran.table("trades")
    assert all(trades.filter(pl.col("model") == model).height > 15 for model in ran.told["models"])
    assert (ran.book.held >= 0.0).all(), "spot is not sold short"
    assert_no_fill_exceeds(ran.book, gross, 0.30)  # three strategies with a tenth each; heat, all being paid in full
    assert days_with_losses(ran.book, 100_000.0, 0.05) == rows_of(ran.acted("daily_loss"), ran.book)
    begun, _ = crossings(ran.book.equity, 100_000.0, 0.10)
    assert begun == rows_of(ran.acted("drawdown_derisk").filter(pl.col("symbol") == ""), ran.book)


def protected_fills(ran: Ran, symbol: str) -> pl.DataFrame:
    fills = ran.table("fills").filter((pl.col("symbol") == symbol) & (pl.col("order_id") > 0))
    return fills.join(ran.table("orders").select("order_id", "kind", "waited"), on="order_id").sort("fill_id")


@pytest.mark.parametrize("name", YEARS)
def test_stops_and_targets_are_met_where_the_average_price_says(coins: dict[str, Ran], name: str) -> None:
    """2% under it (or where the bar opened under that), 4% over it; what finds no volume goes on at the next opens.

    And no bar whose low touches the stop of what is held passes without a fill.
    """
    book, panel = coins[name].book, coins[name].panel
    for i, symbol in enumerate(panel.symbols):
        mine = protected_fills(coins[name], symbol)
        assert dict(mine["kind"].value_counts().iter_rows())["STOP"] > 10
        rows = np.flatnonzero(~np.isnan(book.lows[:, i]))
        stop = np.full(len(rows), np.nan)  # in force inside each bar
        met = np.zeros(len(rows), bool)
        held, average = 0, 0.0
        for fill in mine.iter_rows(named=True):
            if fill["lots"] > 0:
                average = (average * held + fill["price"] * fill["lots"]) / (held + fill["lots"])
            elif fill["kind"] == "STOP" and not fill["waited"]:
                assert fill["mid"] <= average * 0.98 * SLACK
            elif fill["kind"] == "TAKE_PROFIT":
                assert fill["price"] == pytest.approx(average * 1.04, rel=1e-9)
            held += fill["lots"]
            ts = int(fill["ts"].timestamp()) * 10**9
            k = int(np.searchsorted(book.ts[rows], ts, side="left"))
            met[k : k + 2] |= fill["lots"] < 0  # inside the bar that closes then, or at the open after it
            stop[k + 1 :] = average * 0.98 if held else np.nan
        assert not ((book.lows[rows, i] < stop) & ~met).any()


ALONE = "one strategy with all of the budget wants ten times what the preset allows"


@pytest.mark.parametrize("model", [0, 1, 2])
def test_a_strategy_alone_gets_its_tenth(place: Place, model: int) -> None:
    ran = place.run("crypto_book.yaml", "coins", *alone(model), "--set", "costs=none")  # every order fills at once
    assert_no_fill_exceeds(ran.book, gross, 0.10)
    assert_drift_is_cut(ran, gross, 0.10)
    assert ran.acted("model").height > 20, ALONE
    assert set(ran.acted("model")["model"]) == set(ran.told["models"])


def test_a_strategy_alone_never_holds_more_than_its_tenth_while_its_sales_wait_for_volume(place: Place) -> None:
    """On 5 January 2022 at 00:00 LTC is sold for ETH; half of the sale finds no volume, and 13.9% are held."""
    assert_no_fill_exceeds(place.run("crypto_book.yaml", "coins", *alone(1)).book, gross, 0.10)


def alone(model: int) -> tuple[str, ...]:
    """One model of crypto_book.yaml as the whole book."""
    return "--set", f"models=[{models_of_crypto_book()[model]}]", "--set", "models.0.budget=1"


def models_of_crypto_book() -> list[str]:
    """The models of crypto_book.yaml, each as one line."""
    models = yaml.safe_load((SPECS / "crypto_book.yaml").read_text())["models"]
    return [json.dumps(model) for model in models]


# --- equity_book ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stocks(place: Place) -> Ran:
    """Prices adjusted forward: splits and dividends change what comes after them, never what was before."""
    folder = place.folder
    for symbol in ("SPY", "IWM", "AAPL", "IBM"):
        bars = pl.read_parquet(place.files / f"equity_us/{symbol}_1d.parquet")
        factors = pl.read_parquet(place.files / f"equity_us/{symbol}_factors.parquet").rename({"ts": "open_time"})
        both = bars.join_asof(factors, on="open_time", strategy="forward")
        split = both["split_factor"].cast(pl.Float64) / float(both["split_factor"][0])
        factor = both["price_factor"] / both["price_factor"][0] * split
        prices = {name: bars[name] * factor for name in ("open", "high", "low", "close")}
        frame = pl.DataFrame({"open_time": bars["open_time"], **prices, "volume": bars["volume"] / split})
        frame.write_parquet(folder / f"{symbol}_1d.parquet")
        told("data", "import", folder / f"{symbol}_1d.parquet", "-a", "equity", "--venue", "alpaca",
             "--data", place.store("stocks"))  # fmt: skip
    told("data", "import", place.files / "macro/VIX_1d.parquet", "-a", "index", "--close-only",
         "--data", place.store("stocks"))  # fmt: skip
    macro = {"term_spread": ("treasury_curve_1d", "term_10y_3m"), "activity": ("fredmd_2026_02_1mo", "INDPRO")}
    reads: list[object] = []
    for field, (file, column) in macro.items():
        csv = folder / f"{field}.csv"
        pl.read_parquet(place.files / f"macro/{file}.parquet").select("ts", column).write_csv(csv)
        reads += ["--set", f"regimes.1.reads.{field}={csv}#{column}"]
    return place.run("equity_book.yaml", "stocks", *reads)


def test_the_stocks_hold_their_own_limits_at_every_row(stocks: Ran) -> None:
    book = stocks.book
    np.testing.assert_allclose(stocks.table("equity")["equity"].to_numpy(), book.equity, rtol=1e-9)
    assert_no_fill_exceeds(book, largest, 0.40)
    assert_no_fill_exceeds(book, gross, 1.0)
    assert_drift_is_cut(stocks, largest, 0.40)
    assert_drift_is_cut(stocks, gross, 1.0)
    acted = set(stocks.table("actions")["limit"])
    assert {"max_weight", "gross_leverage", "drawdown_derisk", "daily_loss"} <= acted
    trades = stocks.table("trades")
    assert all(trades.filter(pl.col("model") == model).height > 100 for model in stocks.told["models"])


def test_the_breakers_of_the_stocks_fired_when_equity_says(stocks: Ran) -> None:
    book = stocks.book
    begun, ended = crossings(book.equity, 1e6, 0.12)
    derisk = stocks.acted("drawdown_derisk").filter(pl.col("symbol") == "")
    assert rows_of(derisk.filter(pl.col("action") == "SCALE"), book) == begun
    assert rows_of(derisk.filter(pl.col("action") == "RESUME"), book) == ended
    assert len(begun) >= 2
    weeks = days_with_losses(book, 1e6, 0.08, weekly=True)
    assert rows_of(stocks.acted("weekly_loss"), book) == weeks
    for week in weeks:
        assert (book.held[week] > 0).any()
        assert (book.held[week + 1] == 0).all(), "flat at the next session's open"
    days = days_with_losses(book, 1e6, 0.04)
    assert rows_of(stocks.acted("daily_loss"), book) == days


def test_the_regimes_of_the_stocks_are_those_of_vix_and_the_curve(stocks: Ran, place: Place) -> None:
    """VIX: crisis from 40 points until under 36. And nothing new of the reversion model is bought in a crisis."""
    vix = pl.read_parquet(place.files / "macro/VIX_1d.parquet")
    crisis, inside = [], False
    for close in vix["close"]:
        inside = close >= 40.0 or (inside and close >= 36.0)
        crisis.append(inside)
    days = vix.select(
        ts=(pl.col("open_time") + dt.timedelta(days=1)).cast(pl.Datetime("ns", "UTC")), crisis=pl.Series(crisis)
    )
    said = stocks.table("regimes").filter(pl.col("regime") == "vix").select("ts", "label").sort("ts")
    equity = stocks.table("equity").select("ts")
    both = equity.join_asof(said, on="ts").join_asof(days, on="ts")
    assert ((both["label"] == "crisis") == both["crisis"]).all()
    assert both["crisis"].sum() > 100
    entries = stocks.table("trades").filter(pl.col("model") == "index_mean_reversion")
    entries = entries.sort("entry_ts").join_asof(both, left_on="entry_ts", right_on="ts", allow_exact_matches=True)
    assert not entries["crisis"].any()
    macro = stocks.table("regimes").filter(pl.col("regime") == "macro").select("ts", "label").sort("ts")
    at = equity.join_asof(macro, on="ts").filter(
        pl.col("ts").dt.date().is_between(dt.date(2008, 10, 1), dt.date(2009, 6, 30))
    )
    assert set(at["label"]) == {"contraction"}


# --- multi_model ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The two commands at the head of the spec."""
    folder = tmp_path_factory.mktemp("several")
    words = next(line for line in (SPECS / "multi_model.yaml").read_text().splitlines() if "data synthetic" in line)
    arguments = words.removeprefix("#").split()
    assert arguments[:1] == ["trimtab"]
    assert arguments[-2:] == ["--data", "play"]
    assert trimtab(*arguments[1:-1], folder / "play").exit_code == 0
    return Ran("multi_model.yaml", folder / "play", folder / "out")


def test_sessions_and_coins_share_one_grid(several: Ran) -> None:
    panel = several.panel
    assert [i.calendar for i in panel.instruments] == ["XNYS", "XNYS", "24/7", "24/7"]
    known = ~np.isnan(panel.values[:, :, panel.fields.index("close")])
    stocks, coins = known[:, :2].any(axis=1), known[:, 2:].any(axis=1)
    assert min((stocks & ~coins).sum(), (coins & ~stocks).sum(), (stocks & coins).sum()) > 500
    np.testing.assert_allclose(several.table("equity")["equity"].to_numpy(), several.book.equity, rtol=1e-9)
    opened = several.table("fills").filter(pl.col("symbol").is_in(["SPY", "QQQ"]) & (pl.col("order_id") > 0))
    local = opened["ts"].dt.convert_time_zone("America/New_York")
    hours = dict(local.dt.hour().value_counts().iter_rows())
    # Decided when a session is over, filled at the next one's open; what the bar had no volume for, at 13:00.
    assert set(hours) == {9, 13}
    assert hours[9] > 20 * hours[13]


def test_limits_multi_model_held_at_every_row(several: Ran) -> None:
    book = several.book
    assert_no_fill_exceeds(book, largest, 0.40)
    assert_no_fill_exceeds(book, gross, 1.20)
    assert_no_fill_exceeds(book, of(2, 3), 0.20)
    acted = several.acted("asset_class")
    assert set(acted["symbol"]) == {"BTC", "ETH"}, "momentum and the pair together want 30% in coins"
    begun, ended = crossings(book.equity, 1e6, 0.15)
    derisk = several.acted("drawdown_derisk").filter(pl.col("symbol") == "")
    assert rows_of(derisk.filter(pl.col("action") == "SCALE"), book) == begun
    assert rows_of(derisk.filter(pl.col("action") == "RESUME"), book) == ended
    assert len(begun) > 0
    peak = np.maximum.accumulate(np.maximum(book.equity, 1e6))
    assert several.told["halted"] is bool((book.equity < peak * 0.80).any())


def test_four_models_trade_cross_and_follow_their_regimes(several: Ran) -> None:
    assert list(several.told["models"]) == ["equity_trend", "index_mean_reversion", "crypto_momentum", "pairs"]
    trades = several.table("trades")
    assert all(trades.filter(pl.col("model") == model).height > 40 for model in several.told["models"])
    assert several.told["metrics"]["crossing_saved"] > 0.0
    labels = several.table("regimes")
    assert {name: set(labels.filter(pl.col("regime") == name)["label"]) >= wanted for name, wanted in {
        "equity": {"bull", "bear", "neutral"}, "crypto": {"bull", "bear", "crisis"},
        "volatility": {"low", "normal", "high", "crisis"},
    }.items()} == {"equity": True, "crypto": True, "volatility": True}  # fmt: skip
    crypto = labels.filter(pl.col("regime") == "crypto").select("ts", "label").sort("ts")
    entries = trades.filter(pl.col("model") == "crypto_momentum").sort("entry_ts")
    at = entries.join_asof(crypto, left_on="entry_ts", right_on="ts")
    assert "crisis" not in set(at["label"])


# --- every one of them ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every(pairs: dict[str, Ran], coins: dict[str, Ran], stocks: Ran, several: Ran) -> list[Ran]:
    return [*pairs.values(), *coins.values(), stocks, several]


def test_the_summary_says_what_the_fills_and_the_bars_say(every: list[Ran]) -> None:
    for ran in every:
        told, fills, equity = ran.told["metrics"], ran.table("fills"), ran.book.equity
        path = np.concatenate(([told["capital"]], equity))
        assert told["final_equity"] == pytest.approx(equity[-1], rel=1e-12)
        assert told["net"]["total_return"] == pytest.approx(equity[-1] / told["capital"] - 1.0, rel=1e-9)
        assert told["net"]["max_drawdown"] == pytest.approx((path / np.maximum.accumulate(path) - 1.0).min(), rel=1e-9)
        for kind in ("fee", "spread", "slippage", "impact"):
            assert told["costs"].get(kind, 0.0) == pytest.approx(fills[kind].sum(), rel=1e-9, abs=1e-9)
        closed = ran.table("trades").filter((pl.col("model") == "") & ~pl.col("open"))
        assert told["net"]["trades"] == closed.height
        assert told["net"]["win_rate"] == pytest.approx((closed["pnl"] > 0).mean(), rel=1e-12)
        assert sum(model["pnl"] for model in ran.told["models"].values()) == pytest.approx(
            equity[-1] - told["capital"], rel=1e-6, abs=1e-3
        )


def test_every_bundle_replays_to_the_bit(every: list[Ran]) -> None:
    for ran in every:
        said = told("replay", ran.bundle, "--data", ran.store)
        assert said["identical"], said["differences"]
