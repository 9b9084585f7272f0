"""What one test of the court says."""

from __future__ import annotations

import math
from typing import Final

import msgspec

PASSED: Final = "pass"
FAILED: Final = "fail"
#: The data cannot say it yet.
SHORT: Final = "not enough data"
#: There is nothing to test: one trial cannot be overfitted.
ABSENT: Final = "not applicable"
#: Told for the reader; nothing follows from it.
TOLD: Final = "told"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A test, its threshold, its figure, and what they mean in words.

    name       of the test, for machines; title: for people
    outcome    PASSED, FAILED, SHORT, ABSENT or TOLD
    decides    does the verdict follow from it? Of the others a failure is a concern, told beside the verdict
    figure     null where undefined; threshold: null where there is none
    threshold  what the figure is held against; at_least: must it be as large, or may it be no larger?
    told       one sentence
    needed     what would be needed; empty where nothing is
    """

    name: str
    title: str
    outcome: str
    decides: bool = False
    figure: float | None = None
    threshold: float | None = None
    at_least: bool = True
    told: str = ""
    needed: str = ""


def number(value: float) -> float | None:
    """A figure as it is stored: null where it is no finite number."""
    return float(value) if math.isfinite(value) else None


def held(figure: float, threshold: float, *, at_least: bool = True) -> str:
    """PASSED or FAILED; a figure that is undefined cannot be held against anything."""
    if math.isnan(figure):
        return SHORT
    return PASSED if (figure >= threshold if at_least else figure <= threshold) else FAILED
