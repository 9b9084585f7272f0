"""Who may be held when: listings and delistings of the catalogue, and a file of memberships, as the field `member`.

<file>.csv or .parquet    symbol, from, to: one row per stay; an empty `from` is since ever, an empty `to` until further
                          notice. A symbol that the file does not name is never a member
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from trimtab.data.importing import read_table
from trimtab.types import DAY, F64, Instrument, Panel, TrimtabError

#: A stay: from an instant on and before another, ns UTC.
Stay = tuple[int, int]

_EVER: Final = (-(2**62), 2**62)


def with_members(panel: Panel, file: str | Path = "") -> Panel:
    """The panel with the field `member`, see rules.universe; the panel itself where nobody says who belongs.

    An instrument may be held from the close at which it is a member: from 00:00 UTC of its day `listed`, and of each
    `from`, and until 00:00 UTC of a `to`. On its day `delisted` it trades for the last time: it ends at the first close
    at or after 00:00 UTC of the day after, with a bar there or not. Before that nobody knew that a bar was its last.

    TrimtabError for a file without these columns, without a stay of any instrument of the panel, or with a date that is
    none.
    """
    stays = read_members(Path(file).expanduser()) if file else None
    if stays is None and not any(i.listed or i.delisted for i in panel.instruments):
        return panel
    if stays is not None and not any(i.symbol in stays for i in panel.instruments):
        raise TrimtabError(
            f"{file}: names none of {', '.join(panel.symbols)}: expected symbols of the universe in its column symbol"
        )
    member = np.ones(panel.values.shape[:2])
    for n, instrument in enumerate(panel.instruments):
        if stays is not None:
            member[:, n] = _inside(panel, stays.get(instrument.symbol, ()))
        if instrument.listed:
            member[panel.ts < day_of(instrument.listed, f"{instrument.symbol}: listed"), n] = 0.0
        if instrument.delisted:
            _end(panel, instrument, member[:, n])
    others = [k for k, name in enumerate(panel.fields) if name != "member"]
    values = np.concatenate((panel.values[:, :, others], member[:, :, None]), axis=2)
    fields = (*(panel.fields[k] for k in others), "member")
    return Panel(panel.ts, panel.instruments, fields, values, panel.timeframe)


def _inside(panel: Panel, stays: Sequence[Stay]) -> F64:
    inside = np.zeros(len(panel.ts))
    for first, end in stays:
        inside[(panel.ts >= first) & (panel.ts < end)] = 1.0
    return inside


def _end(panel: Panel, instrument: Instrument, member: F64) -> None:
    """-1 at the first close at which the last day of an instrument is over, 0 after it."""
    over = day_of(instrument.delisted, f"{instrument.symbol}: delisted") + DAY
    end = int(np.searchsorted(panel.ts, over))
    member[end:] = 0.0
    member[end : end + 1] = -1.0


def day_of(text: str, where: str) -> int:
    """A date as 00:00 UTC, ns; TrimtabError where it is none."""
    try:
        day = dt.date.fromisoformat(text.strip())
    except ValueError:
        raise TrimtabError(f"{where} {text!r} is no date: expected one such as 2021-03-02") from None
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * 1_000_000_000


def read_members(path: Path) -> Mapping[str, Sequence[Stay]]:
    """Symbol -> its stays, of a file; TrimtabError names the row of what cannot be read."""
    if not path.is_file():
        raise TrimtabError(f"{path}: no such file; expected a CSV or Parquet file with the columns symbol, from, to")
    table = read_table(path)
    simple = {column.strip().lower(): column for column in table.columns}
    missing = [name for name in ("symbol", "from", "to") if name not in simple]
    if missing:
        raise TrimtabError(
            f"{path}: no column {missing[0]}; expected symbol, from and to, the file has {', '.join(table.columns)}"
        )
    found: dict[str, list[Stay]] = {}
    rows = table.select(simple[name] for name in ("symbol", "from", "to")).iter_rows()
    for number, (symbol, begins, ends) in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        first, end = _day(begins, f"{where}: from", _EVER[0]), _day(ends, f"{where}: to", _EVER[1])
        if not symbol or end <= first:
            raise TrimtabError(f"{where}: {symbol}, {begins}, {ends}: expected a symbol, and a `to` after its `from`")
        found.setdefault(str(symbol).strip(), []).append((first, end))
    return found


def _day(told: object, where: str, unsaid: int) -> int:
    """A cell of dates or texts as 00:00 UTC of its day; an empty one says nothing."""
    text = "" if told is None else str(told).strip()
    return day_of(text[:10], where) if text else unsaid
