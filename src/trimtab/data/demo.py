"""The series of `trimtab demo`: real daily history that ships inside the `arch` package, put into a store.

S&P 500 and Nasdaq Composite with open, high, low, close and volume (1999-2018, Yahoo Finance); WTI with closes only
(1986-2019, FRED series DCOILWTICO). Days without a published price are no bars: they are left out, and counted in the
note. The files are read where they lie; `arch` itself is not imported, which would take longer than the import.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from trimtab.data.catalogue import default_instrument
from trimtab.data.importing import Imported, Source, import_frame, read_source
from trimtab.data.store import Store
from trimtab.types import Instrument, TrimtabError

_INSTRUMENTS: Final[dict[str, tuple[str, Instrument]]] = {
    "SP500": ("sp500/sp500.csv.gz", default_instrument("SP500", "index")),
    "NASDAQ": ("nasdaq/nasdaq.csv.gz", default_instrument("NASDAQ", "index")),
    "WTI": ("wti/wti.csv.gz", msgspec.structs.replace(default_instrument("WTI", "commodity"), close_only=True)),
}
SYMBOLS: Final = tuple(_INSTRUMENTS)


def import_demo(store: Store, *, now: int) -> tuple[Imported, ...]:
    """Put SP500, NASDAQ and WTI (close only) daily bars into the store; TrimtabError where `arch` is not installed."""
    folder = _data_folder()
    return tuple(_import(store, folder, symbol, now) for symbol in SYMBOLS)


def _data_folder() -> Path:
    spec = find_spec("arch")
    if spec is None or spec.origin is None:
        raise TrimtabError(
            "the demo's data ships with the package `arch`, which is not installed: pip install 'trimtab[research]'"
        )
    return Path(spec.origin).parent / "data"


def _import(store: Store, folder: Path, symbol: str, now: int) -> Imported:
    name, instrument = _INSTRUMENTS[symbol]
    path = folder / name
    if not path.is_file():
        raise TrimtabError(f"{path} is not there: this version of `arch` has no such data; pip install 'arch>=8.0'")
    source = Source(path=path, close_only=instrument.close_only, time_format="%m/%d/%Y")
    frame, notes = read_source(source)
    published = frame.drop_nulls("close")
    if len(published) < len(frame):
        notes = (*notes, f"{len(frame) - len(published)} days without a published price are no bars")
    done = import_frame(store, published, instrument, "1d", now=now, replace=True, source=source)
    return msgspec.structs.replace(done, notes=notes)
