"""US equities and indices out of Yahoo's charts, through yfinance; splits and dividends as events, prices made raw.

Yahoo divides prices and dividends by every later split, so that old figures change with each split. They are multiplied
back by the splits that were known when the page came, so what is stored is what was paid. Beyond that nothing is
adjusted: `adjclose` is not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trimtab import exchanges
from trimtab.data.catalogue import default_instrument
from trimtab.data.events import no_events
from trimtab.data.sources import Answer, Listing, Refused, Request, TryAgain, Whole
from trimtab.data.sources.frames import bars_of, rows_of
from trimtab.data.sources.http import judge
from trimtab.schedule.sessions import local_times
from trimtab.types import DAY, F64, HOUR, I64, SECOND, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: Our timeframes and Yahoo's. It answers 30m with 60m, so that is made of 15m here.
_INTERVALS: Final = {"1m": "1m", "5m": "5m", "15m": "15m", "1h": "60m", "1d": "1d"}
#: ns per request, below what Yahoo gives at once.
_WINDOWS: Final = {"1m": 7 * DAY, "5m": 28 * DAY, "15m": 28 * DAY, "1h": 182 * DAY, "1d": 1_826 * DAY}
_ZONE: Final = "America/New_York"
_KINDS: Final = {"EQUITY": "equity", "ETF": "equity", "INDEX": "index"}
#: Yahoo writes 32-bit floats; prices of stocks have four decimals at most.
_DECIMALS: Final = 4


class YfinanceSource:
    """Yahoo without a key.

    session  of requests or curl_cffi; None: yfinance's own, which looks like a browser
    """

    name = "yfinance"
    timeframes: tuple[str, ...] = tuple(_INTERVALS)
    leaps = False
    delay = 15 * 60 * SECOND  # its quotes are late, and bars are touched up meanwhile
    pace = 0.5
    pause = 30.0  # seconds after too many requests: yfinance does not pass on what Yahoo asks for

    def __init__(self, session: Any = None) -> None:
        try:
            from yfinance.data import YfData
        except ImportError:
            raise TrimtabError("the source yfinance is not installed: pip install 'trimtab[download]'") from None
        self._yahoo: Any = YfData(session=session) if session is not None else YfData()

    def request_for(self, symbol: str) -> Request:
        return Request("market", symbol.upper())

    def listing(self, symbol: str, body: bytes) -> Listing:
        meta = _chart(body)["meta"]
        asset_class, zone = _KINDS.get(meta["instrumentType"], ""), meta["exchangeTimezoneName"]
        if not asset_class or zone != _ZONE:
            raise Refused(
                f"yfinance: {symbol} is {meta['instrumentType']} in {zone}: only stocks, ETFs and indices of New York "
                "are taken from it; take crypto from a venue, such as --source binance"
            )
        market = str(meta["symbol"])
        return Listing(market, market, default_instrument(market, asset_class, "alpaca"))

    def beside(self, listing: Listing) -> tuple[str, ...]:
        return ("actions",)

    def window(self, what: str, timeframe: str) -> int:
        return _WINDOWS["1d" if what == "actions" else timeframe]

    def ask(self, request: Request) -> Answer:
        from yfinance import const
        from yfinance.exceptions import YFRateLimitError

        params = {
            "interval": _INTERVALS.get(request.timeframe, "1d"),
            "includePrePost": "false",
            "events": "div,splits",
        }
        params |= (
            {"range": "5d"}
            if request.what == "market"
            else {"period1": str(request.start // SECOND), "period2": str(request.end // SECOND)}
        )
        url = f"{const._BASE_URL_}/v8/finance/chart/{request.market}"
        try:
            response = self._yahoo.get(url, params=params, timeout=30)
        except YFRateLimitError:
            raise TryAgain("yfinance: Yahoo asks for fewer requests (HTTP 429)", self.pause) from None
        except Exception as error:  # of either of the two libraries below it
            raise TryAgain(f"yfinance: Yahoo gave no answer ({type(error).__name__})") from None
        late = (
            f"Yahoo keeps 1m bars for 30 days, 5m and 15m for 60, 1h for 730: give a later --start ({_said(response)})"
        )
        unknown = f"yfinance: Yahoo knows no {request.market}, or not under this name: look it up at finance.yahoo.com"
        judge("yfinance", response.status_code, response.headers, response.text, {404: unknown, 400: late, 422: late})
        told = exchanges.date_of(response.headers.get("date", ""))
        return Answer(response.content, told and told - 2 * SECOND)

    def read(self, request: Request, body: bytes) -> pl.DataFrame:
        chart = _chart(body)
        if request.what == "market":
            return rows_of(self.name, "ts", [], ())
        if request.what == "actions":
            return _events(chart.get("events") or {})
        times = np.array(chart.get("timestamp") or [], dtype=np.int64) * SECOND
        if request.timeframe == "1d":
            times = _dates(times)
        quote = chart["indicators"]["quote"][0]
        names = ("open", "high", "low", "close", "volume")
        columns: list[list[Any]] = [quote[name] for name in names] if len(times) else []
        rows: list[tuple[Any, ...]] = list(zip((times // 1_000).tolist(), *columns, strict=True))
        return bars_of(
            self.name, [row for row in rows if None not in row[1:5]]
        )  # Yahoo's cells of bars without a trade

    def whole(self, bars: pl.DataFrame, beside: Mapping[str, pl.DataFrame], timeframe: str) -> Whole:
        import polars as pl

        actions = beside.get("actions")
        if actions is None or actions.is_empty():
            return Whole(bars, no_events())
        newest = actions.sort("asked_at").unique(["ts", "kind"], keep="last").sort("ts")
        splits = newest.filter(pl.col("kind") == 0.0)
        bars_factor = _undone(splits, bars["open_time"], bars["asked_at"])
        raw = bars.with_columns(
            *((pl.col(c) * bars_factor).round(_DECIMALS) for c in ("open", "high", "low", "close")),
            (pl.col("volume") / bars_factor).round(),
        )
        paid = _undone(splits, newest["ts"], newest["asked_at"])
        is_split = pl.col("kind") == 0.0
        events = newest.select(
            "ts",
            pl.when(is_split).then(pl.lit("split")).otherwise(pl.lit("dividend")).alias("kind"),
            pl.when(is_split).then("value").otherwise((pl.col("value") * paid).round(6)).alias("value"),
        )
        return Whole(raw, events)


def _chart(body: bytes) -> Any:
    return json.loads(body)["chart"]["result"][0]


def _said(response: Any) -> str:
    try:
        return str(response.json()["chart"]["error"]["description"])[:200]
    except (ValueError, LookupError, TypeError):
        return f"HTTP {response.status_code}"


def _dates(times: I64) -> I64:
    """00:00 UTC of the day in New York of each instant."""
    return local_times(times, _ZONE) // DAY * DAY


def _events(told: Any) -> pl.DataFrame:
    """ts (00:00 UTC of the ex-date), kind (0 split, 1 dividend) and value, as Yahoo has it."""
    rows: list[tuple[int, float, Any]] = []
    for kind, name in ((0.0, "splits"), (1.0, "dividends")):
        listed: Any = told.get(name) or {}
        for event in listed.values():
            value: Any = event["amount"] if kind else event["numerator"] / event["denominator"]
            day = int(_dates(np.array([event["date"]], dtype=np.int64) * SECOND)[0])
            rows.append((day // 1_000, kind, value))
    return rows_of("yfinance", "ts", rows, ("kind", "value"))


def _undone(splits: pl.DataFrame, times: pl.Series, asked_at: pl.Series) -> pl.Series:
    """What Yahoo divided by: of each instant, the product of the splits after it that its page knew of. (R,)

    Yahoo changes its figures some time between the evening before a split and the open of its day. Of a page that came
    then, only a list of splits that came with it says whether it knew. Refused where there is none.
    """
    import polars as pl

    at, pages = _days(times), asked_at.to_numpy()
    came = local_times(pages, _ZONE)  # ns of New York's wall clock
    factor: F64 = np.ones(len(at))
    for day, ratio, listed in zip(_days(splits["ts"]), splits["value"], splits["asked_at"], strict=True):
        before, after = day * DAY - 4 * HOUR, day * DAY + 10 * HOUR
        doubtful = (at < day) & (before <= came) & (came < after) & (np.abs(pages - listed) > HOUR)
        if doubtful.any():
            raise Refused(
                "yfinance: pages were kept on the day of a split, and whether their prices are those before it or "
                "after cannot be told: run the command again with --again"
            )
        factor[(at < day) & (before <= came)] *= ratio
    return pl.Series("factor", factor)


def _days(times: pl.Series) -> I64:
    return times.dt.timestamp("ns").to_numpy() // DAY
