"""The columns of other people's files: which is which, and what their times mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from trimtab.types import TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: Usual names, in order of preference, lower case without spaces, dots and underscores.
_USUAL: Final[dict[str, tuple[str, ...]]] = {
    "open_time": ("opentime", "time", "date", "timestamp", "datetime", "ts", "t", "barstart", "opentimestamp",
                  "unix", "unixtimestamp", "observationdate", "fundingtime", "calctime", "index", "indexlevel0"),
    "open": ("open", "o", "openprice", "1open"),
    "high": ("high", "h", "highprice", "2high", "max"),
    "low": ("low", "l", "lowprice", "3low", "min"),
    "close": ("close", "c", "closeprice", "last", "4close", "price"),
    "volume": ("volume", "v", "vol", "volumebase", "basevolume", "5volume"),
}  # fmt: skip
#: Usual names of what else a bar may hold; found where they are, missed where they are not.
_MORE: Final[dict[str, tuple[str, ...]]] = {
    "funding": ("funding", "fundingrate", "lastfundingrate"),
    "spread": ("spread",),
    "fx": ("fx", "fxrate"),
}
_CLOSE_ONLY: Final = (*_USUAL["close"], "value", "settle", "rate")


def find_columns(
    found: Sequence[str], given: Mapping[str, str], close_only: bool, where: str
) -> tuple[dict[str, str], list[str]]:
    """Our names -> the file's, and notes on what was left out. `given` comes first; Adj Close only if it is named.

    TrimtabError where a column is missing (with what was found), or a given one is not there.
    """
    names: dict[str, str] = {}
    for ours, theirs in given.items():
        if ours not in _USUAL and ours not in _MORE:
            raise TrimtabError(f"--column {ours}={theirs}: {ours} is none of {', '.join((*_USUAL, *_MORE))}")
        if theirs not in found:
            raise TrimtabError(f"{where}: no column {theirs!r} for {ours}; the file has {', '.join(found)}")
        names[ours] = theirs
    simple = {re.sub(r"[^a-z0-9]", "", c.lower()): c for c in reversed(found) if c not in names.values()}
    for ours, usual in _USUAL.items():
        wanted = _CLOSE_ONLY if ours == "close" and close_only else usual
        match = next((simple[u] for u in wanted if u in simple), None)
        if ours not in names and match is not None:
            names[ours] = match
    needed = ("open_time", "close") if close_only else ("open_time", "open", "high", "low", "close")
    if close_only and "close" not in names and len(found) == 2:
        names["close"] = next(c for c in found if c != names.get("open_time"))
    missing = [c for c in needed if c not in names]
    if missing:
        hint = " (a file with closes only: --close-only)" if missing == ["open", "high", "low"] else ""
        if missing == ["open", "high", "low", "close"]:  # no bars: yields, an index of activity
            hint = f" (a series that nobody trades: --close-only --column close=…; or no import, but {where}#COLUMN)"
        raise TrimtabError(
            f"{where}: no column for {', '.join(missing)}; the file has {', '.join(found)}. "
            f"Name it: --column {missing[0]}=…{hint}"
        )
    if close_only:
        names = {c: names[c] for c in names if c in needed or c in given}
    for ours, usual in _MORE.items():
        match = next((simple[u] for u in usual if u in simple and simple[u] not in names.values()), None)
        if ours not in names and match is not None and not close_only:
            names[ours] = match
    ignored = [c for c in found if c not in names.values()]
    return names, [f"ignored columns: {', '.join(ignored)}"] if ignored else []


_EPOCH_UNITS: Final = ((1e11, "s", 1_000_000), (1e14, "ms", 1_000), (1e17, "us", 1), (float("inf"), "ns", 0))


def read_times(column: pl.Series, time_format: str, where: str) -> tuple[pl.Series, str]:
    """A column of times as Datetime(us, UTC), and how it was understood. Naive times are taken as UTC, and it is said.

    Cells that are no time stay null (validation names them); a column of which none is a time: TrimtabError.
    """
    import polars as pl

    name = column.name
    if isinstance(column.dtype, pl.Datetime):
        return _from_datetime(column)
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), f"{name}: dates, taken as 00:00 UTC"
    if column.dtype == pl.String and not time_format:
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
        if numbers.null_count() < len(column):
            return _from_numbers(numbers, name, where)
        return _from_text(column, "", where)
    if column.dtype == pl.String or time_format:
        return _from_text(column.cast(pl.String), time_format, where)
    if column.dtype.is_numeric():
        return _from_numbers(column, name, where)
    raise TrimtabError(f"{where}: column {name} is {column.dtype}, expected times")


def _from_datetime(column: pl.Series) -> tuple[pl.Series, str]:
    import polars as pl

    zone = column.dtype.time_zone if isinstance(column.dtype, pl.Datetime) else None
    times = column.dt.cast_time_unit("us")
    if zone is None:
        return times.dt.replace_time_zone("UTC"), f"{column.name}: no time zone, taken as UTC"
    return times.dt.convert_time_zone("UTC"), f"{column.name}: times in {zone}"


def _from_numbers(column: pl.Series, name: str, where: str) -> tuple[pl.Series, str]:
    """Epoch seconds, milliseconds, microseconds or nanoseconds by their size; YYYYMMDD as a date."""
    import polars as pl

    largest = column.abs().max()
    if not isinstance(largest, int | float) or largest != largest:
        raise TrimtabError(f"{where}: column {name} holds no times")
    if 19_000_101 <= largest <= 21_001_231 and _is_whole(column):
        return _from_text(column.cast(pl.Int64).cast(pl.String).alias(name), "%Y%m%d", where)
    unit, factor = next((u, f) for bound, u, f in _EPOCH_UNITS if largest < bound)
    if column.dtype.is_float() and not _is_whole(column):
        micros = (column * factor).round() if factor else (column / 1_000).round()
    else:
        whole = column.cast(pl.Int64, strict=False)
        micros = whole * factor if factor else whole // 1_000
    times = micros.cast(pl.Int64, strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return times.alias(name), f"{name}: epoch {unit}"


def _is_whole(column: pl.Series) -> bool:
    return not column.dtype.is_float() or bool((column.drop_nulls() % 1 == 0).all())


_ISO: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d|\d{4}/\d\d/\d\d|\d{8})"
    r"(?:(?P<sep>[T ])(?P<time>\d\d:\d\d(?P<seconds>:\d\d(?P<fraction>[.]\d+)?)?)\s*(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?)?"
)


def _from_text(column: pl.Series, time_format: str, where: str) -> tuple[pl.Series, str]:
    name = column.name
    text = column.str.strip_chars()
    first = next((t for t in text.head(100) if t), "")
    if time_format:
        return _parsed(text, time_format, f"{name}: {time_format}", where)
    match = _ISO.fullmatch(first)
    if match is None:
        raise TrimtabError(
            f"{where}: column {name} holds {first!r}, which is neither ISO (2021-03-02 or 2021-03-02T16:00:00Z) nor an "
            "epoch; say how it is written, such as --time-format '%d/%m/%Y %H:%M'"
        )
    date = (
        "%Y%m%d"
        if "-" not in match["date"] and "/" not in match["date"]
        else f"%Y{match['date'][4]}%m{match['date'][4]}%d"
    )
    if match["zone"] in ("Z", "UTC"):
        text = text.str.strip_suffix(match["zone"]).str.strip_chars()
    clock = (
        ""
        if not match["time"]
        else "%H:%M" + (":%S" if match["seconds"] else "") + ("%.f" if match["fraction"] else "")
    )
    offset = "%z" if match["zone"] and match["zone"] not in ("Z", "UTC") else ""
    said = "ISO times" if clock else "dates, taken as 00:00 UTC"
    if clock and not match["zone"]:
        said = "ISO times without a zone, taken as UTC"
    return _parsed(text, f"{date}{match['sep'] or ''}{clock}{offset}", f"{name}: {said}", where)


def _parsed(text: pl.Series, written: str, note: str, where: str) -> tuple[pl.Series, str]:
    """Text by a strptime format as UTC; a cell that does not fit is null, all of them: TrimtabError."""
    import polars as pl

    zoned = "%z" in written
    if any(code in written for code in ("%H", "%I", "%s", "%T", "%R")):
        times = text.str.to_datetime(written, time_unit="us", strict=False, time_zone="UTC" if zoned else None)
    else:
        times = text.str.to_date(written, strict=False).cast(pl.Datetime("us"))
    if not zoned:
        times = times.dt.replace_time_zone("UTC")
    if times.null_count() == len(times) and len(times):
        raise TrimtabError(f"{where}: column {text.name}: no cell is a time written as {written}, such as {text[0]!r}")
    return times, note
