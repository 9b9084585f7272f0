"""Crash drills on real history: Bitcoin in May 2021, SPY in 2008 and in August 2011.

A fully invested book runs into the fall with one breaker at a time. When the breaker has to fire, what the book was
worth and what it sells for are computed here from the bars of the files, with nothing of Trimtab; costs are off, so the
figures are those of the bars. The table of `docs/crashes.md` is made of these runs.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import trimtab as tt
from trimtab.app.cli import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "crashes.md"
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
CAPITAL = 1_000_000.0


class Market(NamedTuple):
    """A stretch of real bars; lot: units per lot."""

    name: str
    symbol: str
    file: str
    timeframe: str
    start: str
    end: str
    lot: float
    currency: str = "USD"

    @property
    def store(self) -> str:
        return "coins" if self.lot < 1.0 else "stocks"


BTC = Market(
    "BTC hourly, May 2021", "BTCEUR", "crypto_bitvavo/BTCEUR_1h", "1h", "2021-05-01", "2021-06-07", 1e-6, "EUR"
)
SPY = Market("SPY daily, 2008", "SPY", "equity_us/SPY_1d", "1d", "2008-01-01", "2008-12-31", 1.0)
SPY_HOURS = Market("SPY hourly, 2008", "SPY", "equity_us/SPY_1h", "1h", "2008-09-01", "2008-12-31", 1.0)
AUGUST = Market("SPY daily, August 2011", "SPY", "equity_us/SPY_1d", "1d", "2011-07-01", "2011-10-01", 1.0)
AUGUST_HOURS = Market("SPY hourly, August 2011", "SPY", "equity_us/SPY_1h", "1h", "2011-07-01", "2011-10-01", 1.0)

#: (market, limit, its value): each is a drill of its own.
DRILLS = [
    (BTC, "daily_loss", "5%"),
    (BTC, "weekly_loss", "10%"),
    (BTC, "drawdown_derisk", "15%"),
    (BTC, "drawdown_halt", "30%"),
    (SPY, "weekly_loss", "8%"),
    (SPY, "drawdown_derisk", "15%"),
    (SPY, "drawdown_halt", "25%"),
    (AUGUST, "weekly_loss", "6%"),
    (AUGUST, "drawdown_derisk", "8%"),
    (AUGUST, "drawdown_halt", "10%"),
    (AUGUST_HOURS, "weekly_loss", "6%"),
]
NAMES = [f"{market.name} {limit}" for market, limit, _ in DRILLS]

#: The equity that a session's day begins with is read before it is brought up to date; see the test that says so.
IN_SESSIONS = [(SPY_HOURS, "daily_loss", "5%"), (AUGUST_HOURS, "daily_loss", "4%")]
ACTION = {"daily_loss": "FLATTEN", "weekly_loss": "FLATTEN", "drawdown_derisk": "SCALE", "drawdown_halt": "HALT"}


# --- the drills, by the command ---------------------------------------------------------------------------------------


class Place(NamedTuple):
    folder: Path
    files: Path


class Bars(NamedTuple):
    """Of one file: opened, closed: (T,) instants; open, close, low: (T,) prices."""

    opened: list[dt.datetime]
    closed: list[dt.datetime]
    open: np.ndarray
    low: np.ndarray
    close: np.ndarray


class Ran(NamedTuple):
    told: dict[str, Any]
    bundle: Path
    bars: Bars

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.bundle / f"{name}.parquet")

    @property
    def exposure(self) -> dict[dt.datetime, float]:
        """Notional / equity at each close: from the fills, which are at opens here, and the closes of the file."""
        equity, fills = self.table("equity")["equity"], self.table("fills").select("ts", "quantity")
        changes = dict(fills.group_by("ts").sum().iter_rows())
        held, out = 0.0, {}
        for t, when in enumerate(self.bars.closed):
            held += changes.get(self.bars.opened[t], 0.0)
            out[when] = held * float(self.bars.close[t]) / equity[t]
        return out


def told(*args: object, codes: tuple[int, ...] = (0,)) -> Any:
    result = CliRunner().invoke(app, [*map(str, args), "--json"], env={"COLUMNS": "100", "TRIMTAB_TRACEBACK": ""})
    assert result.exit_code in codes, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    where = Place(tmp_path_factory.mktemp("crashes"), shared / "data")
    bitcoin = where.files / f"{BTC.file}.parquet"
    told("data", "import", bitcoin, "--venue", "bitvavo", "--data", where.folder / "coins")
    told("data", "import", bitcoin, "--kind", "perpetual", "--data", where.folder / "perpetuals")
    for file in (SPY.file, SPY_HOURS.file):
        told("data", "import", where.files / f"{file}.parquet", "-a", "equity", "--data", where.folder / "stocks")
    return where


def drill(place: Place, market: Market, *settings: str, store: str = "") -> Ran:
    """The spec of the page, on a market, with settings over it."""
    spec = place.folder / "drill.yaml"
    text = re.search(r'```yaml title="drill.yaml"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.S)
    assert text
    spec.write_text(text[1])
    said = [
        f"universe=[{market.symbol}]", f"timeframe={market.timeframe}", f"base_currency={market.currency}", *settings
    ]  # fmt: skip
    words = [word for setting in said for word in ("--set", setting)]
    done = told(
        "backtest", spec, "--start", market.start, "--end", market.end, *words, "--no-report",
        "--data", place.folder / (store or market.store), "--out", place.folder / "out", codes=(0, 4),
    )  # fmt: skip
    return Ran(done, Path(done["bundle"]), bars_of(place, market))


# --- what had to happen, from the bars alone --------------------------------------------------------------------------


def bars_of(place: Place, market: Market) -> Bars:
    length = DAY if market.timeframe == "1d" else HOUR
    frame = pl.read_parquet(place.files / f"{market.file}.parquet").with_columns(closed=pl.col("open_time") + length)
    first, last = (dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC) for day in (market.start, market.end))
    frame = frame.filter((pl.col("closed") > first) & (pl.col("closed") <= last))
    prices = (frame[name].to_numpy() for name in ("open", "low", "close"))
    return Bars(frame["open_time"].to_list(), frame["closed"].to_list(), *prices)


class Entry(NamedTuple):
    """All of the capital put in: the units that were decided at the first close, those that its cash bought at the next
    open, and the cash that was left."""

    wanted: float
    units: float
    cash: float


def entry(bars: Bars, lot: float) -> Entry:
    wanted = math.floor(CAPITAL / bars.close[0] / lot + 1e-9)
    units = min(wanted, math.floor(CAPITAL / bars.open[1] / lot)) * lot
    return Entry(wanted * lot, units, CAPITAL - units * bars.open[1])


class Breach(NamedTuple):
    """The first row at whose close the limit is beyond its bound, what was measured, and equity there."""

    row: int
    measure: float
    equity: float


def breach(bars: Bars, lot: float, limit: str, bound: float) -> Breach:
    _, units, cash = entry(bars, lot)
    peak = start = CAPITAL
    before = CAPITAL
    for t in range(1, len(bars.close)):
        now, last = (bars.closed[k] - dt.timedelta(microseconds=1) for k in (t, t - 1))  # 00:00 ends its day
        monday = [(x - x.weekday() * DAY).date() for x in (now, last)]
        if (limit == "daily_loss" and now.date() != last.date()) or (limit == "weekly_loss" and monday[0] != monday[1]):
            start = before
        equity = cash + units * bars.close[t]
        peak = max(peak, equity)
        measure = 1.0 - equity / (peak if limit.startswith("drawdown") else start)
        if measure > bound:
            return Breach(t, measure, equity)
        before = equity
    raise AssertionError(f"{limit} {bound} is never broken")


def share(text: str) -> float:
    return float(text.removesuffix("%")) / 100.0


@pytest.mark.parametrize(
    ("market", "limit", "value"),
    [
        *(pytest.param(*one, id=name) for one, name in zip(DRILLS, NAMES, strict=True)),
        *(pytest.param(*one, id=one[0].name) for one in IN_SESSIONS),
    ],
)
def test_the_breaker_fires_when_it_must_and_exposure_is_cut_at_the_next_open(
    place: Place, market: Market, limit: str, value: str
) -> None:
    bars = bars_of(place, market)
    wanted, units, cash = entry(bars, market.lot)
    found = breach(bars, market.lot, limit, share(value))
    ran = drill(place, market, f"limits.{limit}={value}")
    fired = ran.table("actions").filter(pl.col("symbol") == "").row(0, named=True)
    when = bars.closed[found.row]
    assert (fired["ts"], fired["limit"], fired["action"]) == (when, limit, ACTION[limit])
    assert fired["wanted"] == pytest.approx(found.measure, rel=1e-9)
    assert fired["allowed"] == share(value)
    equity = dict(ran.table("equity").select("ts", "equity").iter_rows())
    assert equity[when] == pytest.approx(found.equity, rel=1e-12)
    # At the next open half of it or all of it is sold, at that open.
    after = found.row + 1
    kept = round(wanted / market.lot) // 2 * market.lot if limit == "drawdown_derisk" else 0.0
    sold = ran.table("fills").row(1, named=True)
    assert sold["ts"] == bars.opened[after]
    assert sold["quantity"] == pytest.approx(kept - units, rel=1e-9)
    assert sold["price"] == bars.open[after]
    cash += (units - kept) * bars.open[after]
    assert equity[bars.closed[after]] == pytest.approx(cash + kept * bars.close[after], rel=1e-12)
    exposures = ran.exposure
    assert exposures[when] == pytest.approx(units * bars.close[found.row] / found.equity, rel=1e-9)
    exposure = kept * bars.close[after] / (cash + kept * bars.close[after])
    assert exposures[bars.closed[after]] == pytest.approx(exposure, abs=1e-12)
    assert exposure < 0.55
    assert ran.told["halted"] is (limit == "drawdown_halt")


def test_a_halt_is_for_good_and_a_derisked_book_waits_for_half_the_way_back(place: Place) -> None:
    halted = drill(place, SPY, "limits.drawdown_halt=25%")
    assert len(halted.table("fills")) == 2
    last = halted.table("equity")["ts"][-1]
    assert halted.exposure[last] == 0.0
    half = drill(place, AUGUST, "limits.drawdown_derisk=8%")
    assert len(half.table("actions").filter(pl.col("action") == "RESUME")) == 0, "by October SPY is not half way back"
    assert 0.4 < half.exposure[half.bars.closed[-1]] < 0.6


@pytest.mark.parametrize(
    ("market", "value"), [(BTC, "5%"), *(pytest.param(m, v, id=m.name) for m, _, v in IN_SESSIONS)]
)
def test_after_the_loss_of_a_day_the_book_is_flat_until_the_next(place: Place, market: Market, value: str) -> None:
    """Every time: flat from the bar after the breach, and in again by the second bar of the next UTC day."""
    ran = drill(place, market, f"limits.daily_loss={value}")
    equity, position = ran.table("equity")["equity"].to_list(), ran.exposure
    expected, start, spent, bar = [], CAPITAL, False, 0
    days = [(when - dt.timedelta(microseconds=1)).date() for when in ran.bars.closed]
    for t, when in enumerate(ran.bars.closed):
        bar += 1
        if t and days[t] != days[t - 1]:
            start, spent, bar = equity[t - 1], False, 0
        assert not spent or position[when] == 0.0, when
        assert spent or bar == 0 or position[when] > 0.0 or t == 0, when
        if not spent and 1.0 - equity[t] / start > share(value):
            expected.append(when)
            spent = True
    assert ran.table("actions").filter(pl.col("limit") == "daily_loss")["ts"].to_list() == expected
    assert len(expected) >= 2


@pytest.mark.parametrize("market", [SPY, AUGUST], ids=["2008", "2011"])
def test_the_loss_of_a_day_on_daily_bars(place: Place, market: Market) -> None:
    """A daily bar that loses too much is followed by a flat book at the next open, as the action says (FLATTEN)."""
    ran = drill(place, market, "limits.daily_loss=4%")
    bars = ran.bars
    (first, *_) = ran.table("actions").filter(pl.col("limit") == "daily_loss")["ts"].to_list()
    assert ran.exposure[bars.closed[bars.closed.index(first) + 1]] == 0.0


# --- unusual markets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "limit", "value"),
    [
        (SPY, "unusual_gap", "3%"),
        (SPY, "unusual_vol", "60%"),
        (BTC, "unusual_vol", "150%"),
        (AUGUST, "unusual_gap", "2%"),
    ],
)
def test_in_an_unusual_market_a_book_that_buys_the_fall_does_not_buy(
    place: Place, market: Market, limit: str, value: str
) -> None:
    """Half of equity, rebalanced at every close, buys after each fall; not where gap or volatility is out of bounds."""
    ran = drill(place, market, "models.0.params.weight=50%", "rebalance.when=always", f"limits.{limit}={value}")
    bars = bars_of(place, market)
    gaps = np.abs(bars.open[1:] / bars.close[:-1] - 1.0)
    returns = bars.close[1:] / bars.close[:-1] - 1.0
    # Per year, of 20 returns, that of this bar among them.
    years = (DAY if market.timeframe == "1d" else HOUR) / dt.timedelta(days=365)
    vol = [np.std(returns[max(k - 19, 0) : k + 1], ddof=1) / math.sqrt(years) for k in range(1, len(returns))]
    beyond = (gaps if limit == "unusual_gap" else np.array([0.0, *vol])) > share(value)
    unusual = {bars.closed[t + 1] for t in np.flatnonzero(beyond)}
    assert len(unusual) >= 3
    assert set(ran.table("actions").filter(pl.col("action") == "REDUCE")["ts"].to_list()) == unusual
    bought = ran.table("fills").filter(pl.col("lots") > 0)["ts"].to_list()
    decided = {bars.closed[bars.opened.index(when) - 1] for when in bought}
    assert not decided & unusual
    fell = {bars.closed[t + 1] for t in np.flatnonzero(returns < -0.01)} - unusual
    assert len(decided & fell) > 5, "on other days it does buy"


# --- liquidation ------------------------------------------------------------------------------------------------------


def test_a_perpetual_at_twenty_times_is_liquidated_in_the_bar_and_at_the_price_computed_by_hand(place: Place) -> None:
    """5% and 2.5% margin: worth nothing at P - E / units; the venue takes over where the low is under that / 0.975."""
    market = BTC._replace(start="2021-05-18")
    bars = bars_of(place, market)
    panel = tt.load("BTCEUR", timeframe="1h", start=market.start, end=market.end, root=place.folder / "perpetuals")
    weights = [20.0] + [math.nan] * (len(panel.ts) - 1)
    ran = tt.simulate(panel, weights, costs=tt.Costs(), capital=CAPITAL, base_currency="EUR")
    bought = ran.fills.row(0, named=True)
    units, paid = bought["quantity"], bars.open[1]
    assert bought["price"] == paid
    assert units * paid == pytest.approx(CAPITAL / 0.05, rel=1e-6)
    worthless = paid - CAPITAL / units
    row = next(t for t in range(1, len(bars.low)) if bars.low[t] < worthless / 0.975)
    closed = ran.fills.row(1, named=True)
    assert closed["price"] == pytest.approx(min(worthless, bars.open[row]) if row > 1 else worthless, rel=1e-9)
    assert closed["position"] == 0
    call = ran.actions.filter(pl.col("limit") == "margin_call").row(0, named=True)
    assert (call["ts"], call["action"]) == (bars.closed[row], "LIQUIDATE")
    assert ran.equity["equity"][-1] == pytest.approx(0.0, abs=1e-3)
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"{units:.6f} BTC at {paid:,.2f}" in page
    assert f"= {worthless:,.2f}, and" in page
    assert f"÷ 0.975 = {worthless / 0.975:,.2f}. The bar that closed at {bars.closed[row]:%H:%M} went" in page


# --- the page ---------------------------------------------------------------------------------------------------------


def row_of(place: Place, market: Market, limit: str, value: str) -> str:
    """A line of the page's table."""
    ran = drill(place, market, f"limits.{limit}={value}")
    action = ran.table("actions").filter(pl.col("symbol") == "").row(0, named=True)
    fired = action["ts"]
    curve, at = ran.table("equity"), ran.bars.closed.index(fired)
    daily = market.timeframe == "1d"
    shown = f"{fired - DAY:%Y-%m-%d}" if daily else f"{fired:%Y-%m-%d %H:%M}"
    equity = [f"{curve['equity'][k] / 1e3:,.0f}" for k in (at, at + 1)]
    exposure = [f"{ran.exposure[ran.bars.closed[k]]:.0%}" for k in (at, at + 1)]
    return (
        f"| {market.name} | `{limit}` {value} | {shown} | {action['wanted']:.1%} | {equity[0]} → {equity[1]} | "
        f"{exposure[0]} → {exposure[1]} |"
    )


def test_the_table_of_the_page_is_what_happened(place: Place) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("| BTC", "| SPY"))] == [row_of(place, *one) for one in DRILLS]
