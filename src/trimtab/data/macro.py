"""Series that nobody trades, in the store: yields, volatility indices, activity. Each with its publication lag.

<root>/series/<name>.parquet    open_time (us, UTC: the date label), close (the value)
<root>/series.json              name -> source and lag
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trimtab.data.store import Store, _file_name, _locked, _write_atomically
from trimtab.types import TrimtabError

if TYPE_CHECKING:
    import polars as pl


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts of a series.

    lag  ns from a value's date label to the first instant at which it may be used
    """

    source: str
    lag: int


def all_series(store: Store) -> dict[str, Series]:
    """Series of the store by name."""
    path = store.root / "series.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Series])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise TrimtabError(f"{path}: not readable ({error}); mend it or download the series again") from None


def path_of(store: Store, name: str) -> Path:
    return store.root / "series" / f"{_file_name(name)}.parquet"


def read_series(store: Store, name: str) -> pl.DataFrame:
    """open_time (us, UTC) and close of a stored series, oldest first."""
    import polars as pl

    return pl.read_parquet(path_of(store, name))


def write_series(store: Store, name: str, frame: pl.DataFrame, series: Series) -> None:
    """Put a series in its place; a kill between the two files leaves the values without a name, and so no series."""
    with _locked(store):
        _write_atomically(path_of(store, name), lambda path: frame.select("open_time", "close").write_parquet(path))
        known = all_series(store) | {name: series}
        text = msgspec.json.format(msgspec.json.encode(dict(sorted(known.items()))), indent=1)
        _write_atomically(store.root / "series.json", lambda path: path.write_bytes(text))
