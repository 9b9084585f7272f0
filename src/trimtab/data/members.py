"""Who may be held when: listings and delistings of the catalogue, and a file of memberships, as the field `member`.

<file>.csv or .parquet    symbol, from, to: one row per stay; an empty `from` is since ever, an empty `to` until further
                          notice. It names every instrument of the universe, and may name others
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from trimtab.data.importing import read_table
from trimtab.types import DAY, F64, Instrument, Panel, TrimtabError
from trimtab.words import line_of, near

#: A stay: from an instant on and before another, ns UTC.
Stay = tuple[int, int]

#: Symbols that are named before the rest is counted.
_NAMED: Final = 5
_EVER: Final = (-(2**62), 2**62)


def with_members(panel: Panel, file: str | Path = "") -> Panel:
    """The panel with the field `member`, see rules.universe; the panel itself where nobody says who belongs.

    An instrument may be held from the close at which it is a member: from 00:00 UTC of its day `listed`, and of each
    `from`, and until 00:00 UTC of a `to`. On its day `delisted` it trades for the last time: it ends at the first close
    at or after 00:00 UTC of the day after, with a bar there or not. Before that nobody knew that a bar was its last.

    TrimtabError for a file without these columns, without a stay of each instrument of the panel, or with a date that
    is none.
    """
    stays = read_members(Path(file).expanduser()) if file else None
    if stays is None and not any(i.listed or i.delisted for i in panel.instruments):
        return panel
    lost = [i.symbol for i in panel.instruments if stays is not None and i.symbol not in stays]
    if stays is not None and lost:
        raise TrimtabError(never_held(lost[0], file, stays))
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


def never_held(symbol: str, file: str | Path, stays: Mapping[str, Sequence[Stay]]) -> str:
    """What is wrong with a universe of which a file of members does not name a symbol."""
    return (
        f"{symbol} is in the universe, and {file} does not name it{near(symbol, stays)}: it could never be held. Give "
        f"it a row ({symbol},, is since ever and until further notice), or take it out of the universe"
    )


def passed_over(file: str | Path, universe: Sequence[str]) -> str:
    """Which symbols of a file of members the universe does not have, in a sentence; empty: none."""
    others = [symbol for symbol in read_members(Path(file).expanduser()) if symbol not in universe]
    if not others:
        return ""
    named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
    return f"{Path(file).name} also has members that are not in the universe, and not traded: {named}"


def read_members(path: Path) -> Mapping[str, Sequence[Stay]]:
    """Symbol -> its stays, of a file; TrimtabError names every row that cannot be read."""
    found, faults = stays_of(path)
    if faults:
        raise TrimtabError("\n  ".join([f"{path}: {len(faults)} mistakes", *faults] if len(faults) > 1 else faults))
    return found


def stays_of(path: Path) -> tuple[Mapping[str, Sequence[Stay]], list[str]]:
    """Symbol -> its stays, of what can be read of a file; and what cannot: a sentence for each row, with its line."""
    if not path.is_file():
        return {}, [f"{path}: no such file; expected a CSV or Parquet file with the columns symbol, from, to"]
    try:
        table = read_table(path)
    except TrimtabError as error:
        return {}, [str(error)]
    simple = {column.strip().lower(): column for column in table.columns}
    missing = [name for name in ("symbol", "from", "to") if name not in simple]
    if missing:
        columns = ", ".join(table.columns)
        return {}, [f"{path}: no column {missing[0]}; expected symbol, from and to, the file has {columns}"]
    found: dict[str, list[Stay]] = {}
    faults: list[str] = []
    rows = table.select(simple[name] for name in ("symbol", "from", "to")).iter_rows()
    for number, (symbol, begins, ends) in enumerate(rows):
        where = f"{path}, {line_of(path, number)}"
        try:
            first, end = _day(begins, f"{where}: from", _EVER[0]), _day(ends, f"{where}: to", _EVER[1])
        except TrimtabError as error:
            faults.append(str(error))
            continue
        name = "" if symbol is None else str(symbol).strip()
        if not name or end <= first:
            told = ", ".join("" if cell is None else str(cell) for cell in (symbol, begins, ends))
            faults.append(f"{where}: {told}: expected a symbol, and a `to` after its `from`")
            continue
        found.setdefault(name, []).append((first, end))
    return found, faults or ([] if found else [f"{path}: no row; expected one per stay: symbol, from, to"])


def _day(told: object, where: str, unsaid: int) -> int:
    """A cell of dates or texts as 00:00 UTC of its day; an empty one says nothing."""
    text = "" if told is None else str(told).strip()
    return day_of(text[:10], where) if text else unsaid
