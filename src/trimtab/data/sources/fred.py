"""Macro series out of FRED's CSV end-point: yields, volatility indices, activity. No key.

FRED gives today's vintage: a value that was revised after its publication is the revised one. Yields and indices of
markets are not revised; for activity that is a leak that no lag undoes, and it is said.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from trimtab.data.sources import Answer, Listing, Refused, Request, TryAgain, Whole
from trimtab.data.sources.frames import rows_of
from trimtab.data.sources.http import get
from trimtab.types import DAY, SECOND, TrimtabError

if TYPE_CHECKING:
    import polars as pl

_URL: Final = "https://fred.stlouisfed.org/graph/fredgraph.csv"
_EPOCH: Final = dt.date(1970, 1, 1)

# Days from the date label to publication. A label is the first day of what it covers. Daily figures of markets are out
# on the evening of their day, before 00:00 UTC of the next or shortly after: Treasury's curve at about 18:00 New York.
# Overnight rates and credit spreads come on the next business day, a Friday's on Monday; the Federal Reserve's exchange
# rates (H.10) come on a Monday for the week before.
_DAILY: Final = (
    (re.compile(r"DGS\w+|DFII\w+|T10Y\w+|T5YI\w+|VIX\w+|VXN\w+|DTB\w+"), 2),
    (re.compile(r"SOFR|DFF|BAML\w+"), 4),
    (re.compile(r"DEX\w+|DTWEX\w+"), 9),
)
_LAGS: Final = {
    "VIXCLS": 1,  # at the market's close
    "WEI": 7,  # label: a Saturday; published on the Thursday after
    "ICSA": 6,  # label: a Saturday; published on the Thursday after
    "NFCI": 6,  # label: a Friday; published on the Wednesday after
    "CFNAI": 62,  # a month's index late in the month after
    "INDPRO": 51,  # mid of the month after
    "PAYEMS": 44,  # the first or second Friday of the month after
    "UNRATE": 44,
    "CPIAUCSL": 51,
    "GDP": 125,  # a quarter's advance estimate at the end of the month after
    "GDPC1": 125,
}


class FredSource:
    """FRED without a key.

    url  where its CSV is
    lag  days from a label to its use, instead of what is known of the series; 0: what is known
    """

    name = "fred"
    timeframes: tuple[str, ...] = ()
    leaps = False
    delay = 0
    pace = 0.5

    def __init__(self, url: str = _URL, lag: int = 0) -> None:
        self.url, self.lag = url, lag

    @cached_property
    def _session(self) -> Any:
        try:
            import requests
        except ImportError:
            raise TrimtabError("the source fred is not installed: pip install 'trimtab[download]'") from None
        return requests.Session()

    def request_for(self, symbol: str) -> None:
        return None

    def listing(self, symbol: str, body: bytes) -> Listing:
        market = symbol.upper()
        if not re.fullmatch(r"[A-Z0-9_]{1,40}", market):
            raise Refused(f"fred: {symbol!r} is no name of a series; they are like DGS10, T10Y2Y, VIXCLS or CFNAI")
        daily = next((days for names, days in _DAILY if names.fullmatch(market)), 0)
        days = self.lag or _LAGS.get(market) or daily
        if not days:
            raise Refused(
                f"fred: how long after its date label {market} is published is not known here: give --lag, such as "
                "--lag 45d for a monthly figure that is out in the middle of the month after"
            )
        vintage = "these are today's revised values: a backtest on them knows more than was known then"
        return Listing(market, market, None, days * DAY, () if daily else (vintage,))

    def beside(self, listing: Listing) -> tuple[str, ...]:
        return ()

    def window(self, what: str, timeframe: str) -> int:
        return 7_305 * DAY  # 20 years

    def ask(self, request: Request) -> Answer:
        ends = {"cosd": _day(request.start), "coed": _day(min(request.end - DAY, time.time_ns()))}
        unknown = f"fred knows no series {request.market}: look it up at fred.stlouisfed.org"
        refused = {404: unknown, 400: unknown}
        return get(self._session, self.url, {"id": request.market, **ends}, self.name, refused)

    def read(self, request: Request, body: bytes) -> pl.DataFrame:
        text = body.decode("utf-8")
        table = list(csv.reader(io.StringIO(text)))
        if not table or len(table[0]) != 2 or table[0][1] != request.market or not text.endswith("\n"):
            raise TryAgain(f"fred gave a page that is no CSV of {request.market}, or is cut: {text[:60]!r}")
        rows: list[tuple[int, float]] = []
        for label, value in table[1:]:
            if value not in ("", "."):  # no value: a holiday
                at = (dt.date.fromisoformat(label) - _EPOCH).days * DAY
                rows.append((at // 1_000, float(value)))
        return rows_of(self.name, "open_time", rows, ("close",))

    def whole(self, bars: pl.DataFrame, beside: Mapping[str, pl.DataFrame], timeframe: str) -> Whole:
        return Whole(bars)


def _day(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns // SECOND, dt.UTC):%Y-%m-%d}"
