"""Splits and dividends beside the bars of an instrument: facts, with their day, that no price was changed by.

<root>/events/<asset_class>/<symbol>.parquet    ts (us, UTC: 00:00 of the ex-date), kind (split, dividend), value
                                                (new shares per old one; cash per share as it was paid)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from trimtab.data.store import Store, _file_name, _locked, _write_atomically
from trimtab.types import Instrument

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
    return pl.read_parquet(path) if path.exists() else no_events()


def merge_events(store: Store, instrument: Instrument, new: pl.DataFrame) -> int:
    """Store events beside those that are there; one of the same day and kind takes the old one's place. -> all of them.

    Events that a source takes back stay: it cannot be told from one that does not reach so far.
    """
    import polars as pl

    with _locked(store):
        whole = pl.concat([read_events(store, instrument), new.select(COLUMNS)])
        whole = whole.unique(["ts", "kind"], keep="last").sort("ts", "kind")
        if len(whole):
            _write_atomically(path_of(store, instrument), lambda path: whole.write_parquet(path))
    return len(whole)
