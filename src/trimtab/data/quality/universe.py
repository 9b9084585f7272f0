"""What a set of series says about survivors: who ended early, and whether nobody did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from trimtab.data.quality.findings import iso
from trimtab.types import DAY, TIMEFRAMES

#: A series that ends by so much before the last of its group has ended: days, or bars where those are longer.
ENDED: Final = (10 * DAY, 5)
#: From so many series that all live on, hindsight is worth a word.
MANY: Final = 5
_NAMED: Final = 5


class Span(NamedTuple):
    """A stored series and its first and last open_time, ns UTC."""

    symbol: str
    asset_class: str
    timeframe: str
    first: int
    last: int


def survivors(spans: Sequence[Span]) -> list[str]:
    """Notes on the series of each asset class and timeframe, where there are two or more."""
    groups: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        groups.setdefault((span.asset_class, span.timeframe), []).append(span)
    notes: list[str] = []
    for (asset_class, timeframe), members in groups.items():
        if len(members) < 2:
            continue
        last = max(m.last for m in members)
        patience = max(ENDED[0], ENDED[1] * TIMEFRAMES[timeframe])
        ended = sorted((m for m in members if last - m.last > patience), key=lambda m: m.last)
        if ended:
            named = ", ".join(f"{m.symbol} {iso(m.last)[:10]}" for m in ended[:_NAMED])
            more = f" and {len(ended) - _NAMED} more" if len(ended) > _NAMED else ""
            verb = "ends" if len(ended) == 1 else "end"
            notes.append(
                f"{asset_class} {timeframe}: {len(ended)} of {len(members)} {verb} before {iso(last)[:10]}, when the "
                f"last one does ({named}{more}). Delisted, renamed, or no longer downloaded? After its end nothing can "
                "be traded"
            )
        elif len(members) >= MANY:
            notes.append(
                f"{asset_class} {timeframe}: all of {len(members)} series live to the end "
                f"({iso(last)[:10]}). If they were chosen today, those that failed meanwhile are left out, and what is "
                "earned on the others is too good (survivorship)"
            )
    return notes
