"""Bars out of trades: by time, by volume, by money.

A trade belongs to the time bar that its instant is in, its beginning included and its end not; a bar without a trade is
absent. Of the ends only what is whole is a bar, and nothing says where a file was cut but the clock: the first bar
counts if it begins at 00:00 UTC and has a trade in its first minute, the last one if it ends at 24:00 and has a trade
in its last minute; or if trades of the day before, or after, are stored. Of an exchange with sessions, bars longer than
1m are whole where the minutes at their ends are there.

A volume (dollar) bar closes with the trade that brings its sum of quantities (of price times quantity) to the
threshold. That trade belongs to it as a whole, however far the sum goes beyond; the next bar begins from nothing with
the trade after it. Trades behind the last close are in no bar.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from trimtab.data.resampling import resample
from trimtab.data.store import Store
from trimtab.data.ticks.days import days, path_of, read_day
from trimtab.data.ticks.kinds import TRADES
from trimtab.data.timeframes import canonical, length_of
from trimtab.schedule import anchor_of
from trimtab.schedule.sessions import is_round_the_clock
from trimtab.types import DAY, F64, I64, MINUTE, SECOND, Instrument, NotEnoughData, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: What a threshold may count: the trade's quantity, or its price times its quantity.
MEASURES: Final = ("volume", "dollars")
_READ: Final = ["ts", "price", "qty", "is_buyer_maker"]
_SECONDS: Final = re.compile(r"(\d{1,2})\s*s")


class Span(NamedTuple):
    """Trades from an instant on, and before another; ns UTC, None: as far as there are any."""

    start: int | None = None
    end: int | None = None


#: All trades that there are.
EVER: Final = Span()


class TickBars(NamedTuple):
    """Bars out of trades, and what went into them.

    frame      open_time, close_time (us, UTC), open, high, low, close, volume, dollars (sum of price times quantity),
               buy_volume (bought by takers; null where the side is not known), trades
    trades     trades read; left_out: those of them that are in no bar
    lacking    bars that lack trades, by the ids that are not there
    """

    frame: pl.DataFrame
    trades: int
    left_out: int
    lacking: int


class _Trades(NamedTuple):
    """Trades as columns; bought: not of a taker who sold, NaN quantities where it is not known."""

    ts: I64  # us UTC
    price: F64
    qty: F64
    bought: F64
    ids: I64

    def part(self, start: int, end: int | None = None) -> _Trades:
        k = slice(start, end)
        return _Trades(self.ts[k], self.price[k], self.qty[k], self.bought[k], self.ids[k])

    def within(self, span: Span) -> _Trades:
        lowest = 0 if span.start is None else int(np.searchsorted(self.ts, -(-span.start // 1_000)))
        highest = None if span.end is None else int(np.searchsorted(self.ts, -(-span.end // 1_000)))
        return self.part(lowest, highest)

    def before(self, more: _Trades) -> _Trades:
        """These trades, then others."""
        return _Trades(
            np.concatenate((self.ts, more.ts)),
            np.concatenate((self.price, more.price)),
            np.concatenate((self.qty, more.qty)),
            np.concatenate((self.bought, more.bought)),
            np.concatenate((self.ids, more.ids)),
        )


def length_of_bars(every: str) -> int:
    """ns of `every`: a timeframe of the store, or seconds that divide a minute (10s)."""
    match = _SECONDS.fullmatch(every.strip().lower())
    if match is None:
        return length_of(every)
    length = int(match[1]) * SECOND
    if not length or MINUTE % length:
        raise TrimtabError(f"--every {every}: expected seconds that divide a minute, such as 10s, or a timeframe")
    return length


def time_bars(store: Store, instrument: Instrument, every: str, span: Span = EVER) -> TickBars:
    """Bars of equal time. Where the instrument has sessions, what is longer than 1m is made of minutes, by sessions."""
    length = length_of_bars(every)
    by_sessions = length > MINUTE and not is_round_the_clock(instrument.calendar)
    step = MINUTE if by_sessions else length
    there = _chosen(store, instrument, span)
    parts: list[pl.DataFrame] = []
    ends: list[int] = []
    count = 0
    for trades in _ahead(store, instrument, there):
        count += len(trades.within(span).ts)
        ends += [int(trades.ts[0]), int(trades.ts[-1])]
        parts.append(_by_time(trades, step // 1_000, anchor_of(step) // 1_000))
    whole = _united(parts)
    every_day = days(store, instrument, TRADES)
    around = (_next_to(there[0], -1) in every_day, _next_to(there[-1], 1) in every_day)
    if not by_sessions:
        whole = whole.filter(_inside(whole, ends[0], ends[-1], around))
    lacking = _lacking(whole)
    if by_sessions:
        whole = _by_sessions(whole, canonical(every), instrument.calendar)
    whole = _within(whole, span).drop("first_id", "last_id", strict=False)
    return TickBars(whole, count, max(count - int(whole["trades"].sum()), 0), lacking)


def threshold_bars(store: Store, instrument: Instrument, measure: str, threshold: float, span: Span = EVER) -> TickBars:
    """Bars of equal volume or money; see the module for what goes beyond the threshold.

    open_time and close_time are the instants of a bar's first and last trade; bars may share them.
    """
    from trimtab.data.ticks.folds import closings

    if not 0.0 < threshold < float("inf"):
        raise TrimtabError(f"--{measure} {threshold:g}: expected a number above 0")
    parts: list[pl.DataFrame] = []
    rest: _Trades | None = None
    count = 0
    for read in _ahead(store, instrument, _chosen(store, instrument, span)):
        new = read.within(span)
        count += len(new.ts)
        trades = new if rest is None or not len(rest.ts) else rest.before(new)
        closing = np.empty(len(trades.ts), np.int64)
        amount = trades.qty if measure == "volume" else trades.price * trades.qty
        found = closing[: closings(amount, threshold, closing)]
        if not len(found):
            rest = trades
            continue
        end = int(found[-1]) + 1
        first = np.concatenate((np.zeros(1, np.int64), found[:-1] + 1))
        done, rest = trades.part(0, end), trades.part(end)
        parts.append(_folded(done, first, done.ts[first], done.ts[found]))
    if not count or rest is None:
        raise NotEnoughData(f"{instrument.symbol}: no trades from --start to --end")
    if not parts:
        total = float((rest.qty if measure == "volume" else rest.price * rest.qty).sum())
        raise NotEnoughData(
            f"{instrument.symbol}: all {count:,} trades come to {total:,.6g}, below --{measure} {threshold:g}: "
            "no bar closes"
        )
    whole = _concatenated(parts)
    return TickBars(whole.drop("first_id", "last_id"), count, len(rest.ts), _lacking(whole))


# --- reading ---------------------------------------------------------------------------------------------------------


def _chosen(store: Store, instrument: Instrument, span: Span) -> list[dt.date]:
    there = days(store, instrument, TRADES)
    if not there:
        raise NotEnoughData(f"{instrument.symbol}: no trades are stored; start with `trimtab data ticks import`")
    first = _day_of(span.start) if span.start is not None else there[0]
    last = _day_of(span.end - 1) if span.end is not None else there[-1]
    chosen = [day for day in there if first <= day <= last]
    if not chosen:
        raise NotEnoughData(
            f"{instrument.symbol}: no trades from --start to --end; stored are {there[0]} to {there[-1]}"
        )
    return chosen


def _day_of(ts: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=ts // DAY)


def _next_to(day: dt.date, by: int) -> dt.date:
    return day + dt.timedelta(days=by)


def _ahead(store: Store, instrument: Instrument, there: list[dt.date]) -> Iterator[_Trades]:
    """Trades by day, each read while the one before is at work."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(_read, store, instrument, there[0])
        for day in there[1:]:
            trades = coming.result()
            coming = reader.submit(_read, store, instrument, day)
            yield trades
        yield coming.result()


def _read(store: Store, instrument: Instrument, day: dt.date) -> _Trades:
    import polars as pl

    frame = read_day(store, instrument, TRADES, day, _READ)
    sold = pl.col("is_buyer_maker")
    bought = frame.select(pl.when(sold).then(0.0).when(~sold).then("qty").otherwise(float("nan")).alias("bought"))
    ts, price, qty = frame["ts"].to_physical().to_numpy(), frame["price"].to_numpy(), frame["qty"].to_numpy()
    return _Trades(ts, price, qty, bought["bought"].to_numpy(), _ids(store, instrument, day, len(frame)))


def _ids(store: Store, instrument: Instrument, day: dt.date, rows: int) -> I64:
    """Trade ids of a day. They count up: where none is missing, the first and the last say them all."""
    import polars as pl

    column = pl.scan_parquet(path_of(store, instrument, TRADES, day)).select("trade_id")
    first, last = (int(part.collect().item()) for part in (column.head(1), column.tail(1)))
    if last - first + 1 == rows:
        return np.arange(first, last + 1, dtype=np.int64)
    return read_day(store, instrument, TRADES, day, ["trade_id"])["trade_id"].to_numpy()


# --- folding ---------------------------------------------------------------------------------------------------------


def _by_time(trades: _Trades, step: int, anchor: int) -> pl.DataFrame:
    """Bars of a day's trades; step and anchor in us."""
    start = (int(trades.ts[0]) - anchor) // step * step + anchor
    edges = np.arange(start, int(trades.ts[-1]) + 1, step, dtype=np.int64)
    first = np.searchsorted(trades.ts, edges)
    traded = np.diff(first, append=len(trades.ts)) > 0
    opens = edges[traded]
    return _folded(trades, first[traded], opens, opens + step)


def _folded(trades: _Trades, first: I64, opens: I64, closes: I64) -> pl.DataFrame:
    """Bars that begin at the trades `first` (B,) and reach to the next; opens, closes (B,) their times, us UTC."""
    import polars as pl

    last = np.append(first[1:], len(trades.ts)) - 1
    instant = pl.Datetime("us", "UTC")
    return pl.DataFrame({
        "open_time": pl.Series(opens).cast(instant),
        "close_time": pl.Series(closes).cast(instant),
        "open": trades.price[first],
        "high": np.maximum.reduceat(trades.price, first),
        "low": np.minimum.reduceat(trades.price, first),
        "close": trades.price[last],
        "volume": np.add.reduceat(trades.qty, first),
        "dollars": np.add.reduceat(trades.price * trades.qty, first),
        "buy_volume": pl.Series(np.add.reduceat(trades.bought, first)).fill_nan(None),
        "trades": last - first + 1,
        "first_id": trades.ids[first],
        "last_id": trades.ids[last],
    })  # fmt: skip


def _lacking(frame: pl.DataFrame) -> int:
    """Bars inside which, or at whose ends, ids of trades are missing."""
    import polars as pl

    before = (pl.col("first_id") != pl.col("last_id").shift(1) + 1).fill_null(False)
    inside = pl.col("last_id") - pl.col("first_id") + 1 != pl.col("trades")
    return frame.select((inside | before | before.shift(-1).fill_null(False)).sum()).item()


def _concatenated(parts: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return parts[0] if len(parts) == 1 else pl.concat(parts)


def _united(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Bars of several days; one that reaches over days is put together."""
    import polars as pl

    whole = _concatenated(parts)
    if not whole["open_time"].is_duplicated().any():
        return whole
    folds = [
        pl.col("close_time", "open", "first_id").first(), pl.col("high").max(), pl.col("low").min(),
        pl.col("close", "last_id").last(), pl.col("volume", "dollars", "trades").sum(),
        pl.when(pl.col("buy_volume").null_count() == 0).then(pl.col("buy_volume").sum()).alias("buy_volume"),
    ]  # fmt: skip
    return whole.group_by("open_time", maintain_order=True).agg(folds).select(whole.columns)


def _inside(frame: pl.DataFrame, first: int, last: int, around: tuple[bool, bool]) -> pl.Expr:
    """Which bars neither end cuts off. first, last: instants of all trades, us UTC; around: are there more, beyond?"""
    import polars as pl

    opened, closed = (frame[name].to_physical() for name in ("open_time", "close_time"))
    a_day, a_minute = DAY // 1_000, MINUTE // 1_000
    begins = around[0] or (opened[0] % a_day == 0 and first < opened[0] + a_minute)
    ends = around[1] or (closed[-1] % a_day == 0 and last >= closed[-1] - a_minute)
    kept = pl.lit(True)
    if not begins:
        kept &= pl.col("open_time") > frame["open_time"][0]
    if not ends:
        kept &= pl.col("close_time") < frame["close_time"][-1]
    return kept


def _within(frame: pl.DataFrame, span: Span) -> pl.DataFrame:
    """Bars that begin at or after the start and end at or before the end."""
    import polars as pl

    opened, closed = (pl.col(name).to_physical() for name in ("open_time", "close_time"))
    kept = pl.lit(True)
    if span.start is not None:
        kept &= opened * 1_000 >= span.start
    if span.end is not None:
        kept &= closed * 1_000 <= span.end
    return frame.filter(kept)


def _by_sessions(minutes: pl.DataFrame, timeframe: str, calendar: str) -> pl.DataFrame:
    """Minutes put together by an exchange's sessions, as `resample` does it for every bar of the store."""
    import polars as pl

    prices = ["open", "high", "low", "close"]
    made = {
        name: resample(minutes.select("open_time", *prices, volume=pl.col(name)), "1m", timeframe, calendar)
        for name in ("volume", "dollars", "buy_volume", "trades")
    }
    bars = made["volume"]
    sums = {name: frame["volume"] for name, frame in made.items()}
    return bars.select(
        "open_time", (pl.col("open_time") + pl.col("duration")).alias("close_time"), *prices,
    ).with_columns(**sums).with_columns(pl.col("trades").cast(pl.Int64))  # fmt: skip
