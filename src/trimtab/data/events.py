"""Splits and dividends beside the bars of an instrument: facts, with their day, that no price was changed by.

<root>/events/<asset_class>/<symbol>.parquet    ts (us, UTC: 00:00 of the ex-date), kind (split, dividend), value
                                                (new shares per old one; cash per share as it was paid)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from trimtab.data.store import Store, _file_name, _locked, _write_atomically
from trimtab.schedule.sessions import is_round_the_clock, session_of
from trimtab.types import DAY, F64, I64, TIMEFRAMES, Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl

COLUMNS: Final = ("ts", "kind", "value")


def path_of(store: Store, instrument: Instrument) -> Path:
    return store.root / "events" / instrument.asset_class / f"{_file_name(instrument.symbol)}.parquet"


def no_events() -> pl.DataFrame:
    """A frame of events without a row."""
    import polars as pl

    return pl.DataFrame(schema={"ts": pl.Datetime("us", "UTC"), "kind": pl.String, "value": pl.Float64})


def read_events(store: Store, instrument: Instrument) -> pl.DataFrame:
    """Stored splits and dividends, oldest first; none: an empty frame."""
    import polars as pl

    path = path_of(store, instrument)
    if not path.exists():
        return no_events()
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        said = str(error).partition("\n")[0]
        raise TrimtabError(
            f"{path}: not readable as Parquet ({said}); remove it, then give the events anew: "
            f"trimtab data events {instrument.symbol} --import FILE, or trimtab data update"
        ) from None


def merge_events(store: Store, instrument: Instrument, new: pl.DataFrame, *, replace: bool = False) -> int:
    """Store events beside those that are there; one of the same day and kind takes the old one's place. -> all of them.

    replace  they take the place of all that are there, whatever their days

    New dividends of one day are one, their sum, and new splits of one day their product. Events that a source takes
    back stay: it cannot be told from one that does not reach so far.
    """
    import polars as pl

    value = pl.col("value")
    of_day = pl.when(pl.col("kind").first() == "split").then(value.product()).otherwise(value.sum())
    new = new.select(COLUMNS).group_by("ts", "kind", maintain_order=True).agg(of_day)
    with _locked(store):
        kept = no_events() if replace else read_events(store, instrument)
        whole = pl.concat([kept, new]).unique(["ts", "kind"], keep="last").sort("ts", "kind")
        if len(whole) or replace:
            _write_atomically(path_of(store, instrument), lambda path: whole.write_parquet(path))
    return len(whole)


# --- in bars ---------------------------------------------------------------------------------------------------------


def with_events(frame: pl.DataFrame, events: pl.DataFrame, instrument: Instrument, timeframe: str) -> pl.DataFrame:
    """Bars with the columns split and dividend: each in the first bar that closes after the session's open of its day.

    split      new shares per old one: the product of those since the bar before; null: none
    dividend   cash per share that was held at the bar before: the sum of those since then; null: none

    A dividend is per share as it was paid: on the day of a split, and after it, per new one. What was before the first
    bar, or at it, nobody can have held through: it is left out. TrimtabError for an event that cannot be.
    """
    import polars as pl

    opens = frame["open_time"].to_physical().to_numpy().astype(np.int64) * 1_000
    length = frame["duration"].dt.total_nanoseconds().to_numpy() if "duration" in frame.columns else None
    closes = opens + (TIMEFRAMES[timeframe] if length is None else length)
    close: F64 = frame["close"].to_numpy()
    split, dividend = (np.full(len(frame), np.nan) for _ in range(2))
    told = events.with_columns(pl.col("kind") != "split").sort("ts", "kind")  # on one day the split comes first
    rows = np.searchsorted(closes, _opened(told["ts"], instrument), side="right")
    for row, pays, value, day in zip(rows.tolist(), told["kind"], told["value"], told["ts"], strict=True):
        if not 0 < row < len(frame):
            continue
        so_far = split[row] if split[row] == split[row] else 1.0
        cash = value * so_far if pays else 0.0
        if not 0.0 < value < np.inf or cash >= close[row - 1]:
            what = f"a dividend of {value:g}" if pays else f"a split of {value:g} new shares per old one"
            most = f" and less than the close before it, {close[row - 1]:g}" if pays else ""
            raise TrimtabError(
                f"{instrument.symbol}: {what} on {day:%Y-%m-%d}: expected more than 0{most}. Are its stored prices "
                "raw? Download it again, bars and events; or give all its events anew, without those that are wrong: "
                f"trimtab data events {instrument.symbol} --import FILE --replace"
            )
        if pays:
            dividend[row] = cash + (dividend[row] if dividend[row] == dividend[row] else 0.0)
        else:
            split[row] = so_far * value
    return frame.with_columns(pl.Series("split", split).fill_nan(None), pl.Series("dividend", dividend).fill_nan(None))


def _opened(days: pl.Series, instrument: Instrument) -> I64:
    """When the session of each day opens, ns UTC; round the clock at 00:00."""
    import polars as pl

    at = days.dt.timestamp("ns").to_numpy()
    if is_round_the_clock(instrument.calendar):
        return at
    session = session_of(instrument.calendar)
    wall = pl.Series(at // DAY * DAY + session.open).cast(pl.Datetime("ns"))
    return wall.dt.replace_time_zone(session.zone).dt.convert_time_zone("UTC").dt.timestamp("ns").to_numpy()
