"""Numbers, instants and names as messages say them (L0)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, Final

#: Between the path of a file and the name of its column.
OF_FILE: Final = "#"


def shortest(value: float | int) -> str:
    """The shortest text that reads back to the same float: whole values without a point, no limit as `inf`."""
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(float(value))


def utc(ts: Any) -> str:
    """An instant in ns UTC as people read it: 2021-03-02T16:00:00Z."""
    import numpy as np  # the first page of the command line does without

    return f"{np.datetime64(int(ts), 'ns').astype('datetime64[s]')}Z"


def day_of(close: Any) -> str:
    """The day that a bar lies in, by its close in ns UTC: what closes at 00:00 is of the day that ends there."""
    import numpy as np

    return str(np.datetime64(int(close) - 1, "ns").astype("M8[D]"))


def line_of(path: PurePath, row: int) -> str:
    """Where a row of a file, counted from 0, stands: its line in a text with a header, else its number as it is."""
    return f"row {row}" if path.suffix.lower() in (".parquet", ".pq") else f"line {row + 2}"


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'lookback'?)` with the closest known word, or nothing."""
    by_lower = {name.lower(): name for name in known}
    key = word.lower().replace("-", "_").replace(" ", "_")
    close = difflib.get_close_matches(key, by_lower, n=1, cutoff=0.5)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def field_of(name: str) -> str:
    """The field of a panel that holds a series: a symbol, or a file's name without its folders and the column."""
    path, mark, column = name.rpartition(OF_FILE)
    return f"{PurePath(path).name}{mark}{column}" if mark else name
