"""Crypto through ccxt's REST interface: bars of spot and linear perpetuals of any venue, and funding rates. No key."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from trimtab import exchanges
from trimtab.data.catalogue import default_instrument, with_changes
from trimtab.data.funding import join_funding
from trimtab.data.sources import Answer, Listing, Refused, Request, TryAgain, Whole
from trimtab.data.sources.frames import bars_of, rows_of
from trimtab.data.sources.http import blocked
from trimtab.types import HOUR, SECOND, TIMEFRAMES, Instrument, TrimtabError

if TYPE_CHECKING:
    import polars as pl

_MS: Final = 1_000_000
#: Seconds for which a comparison with the venue's clock is trusted.
_TRUST: Final = 60.0
#: What is kept of ccxt's market.
_FACTS: Final = (
    "id", "symbol", "base", "quote", "type", "spot", "swap", "linear", "contractSize", "precision", "limits"
)  # fmt: skip
#: Funding rates that every venue gives at one request.
_RATES: Final = 100
#: How our names of perpetuals end, since venues often give spot and perpetual the same one.
PERPETUAL: Final = "-PERP"


class CcxtSource:
    """One venue. The first answer loads its markets.

    configure  what is done to the ccxt exchange before it is used (a venue on loopback)
    """

    delay = 0
    leaps = True
    pace = 0.0  # ccxt keeps to the venue's own limits

    def __init__(self, venue: str, configure: Callable[[Any], None] | None = None) -> None:
        self.name = venue
        self.exchange: Any = exchanges.class_of(venue, "ccxt", extra="download")(
            {"enableRateLimit": True, "timeout": 20_000}
        )
        self.exchange.enableLastJsonResponse = True
        if configure is not None:
            configure(self.exchange)
        exchanges.refuse_open_addresses(self.exchange)
        exchanges.note_answers(self.exchange, self._note)
        self._parsed, self.exchange.parse_ohlcvs = self.exchange.parse_ohlcvs, self._parse
        if not self.exchange.has.get("fetchOHLCV"):
            raise TrimtabError(f"{venue} gives no bars: take another venue, such as binance, bybit or kraken")
        self.timeframes = tuple(name for name in TIMEFRAMES if name in (self.exchange.timeframes or {}))
        self._status, self._pause, self._has_perpetuals = 0, 0.0, False
        self._compared: tuple[float, int] | None = None

    def _parse(self, told: Any, market: Any = None, timeframe: str = "1m", *_: Any) -> Any:
        """All candles of an answer, unread ones as they are: ccxt would leave them out without a word."""
        if not _is_list(told):
            raise TryAgain(f"{self.name} gave an answer that holds no candles: {str(told)[:80]}")
        return self._parsed(told, market, timeframe)

    def _note(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._pause = status, exchanges.pause_asked(headers)

    def request_for(self, symbol: str) -> Request:
        return Request("market", symbol)

    def listing(self, symbol: str, body: bytes) -> Listing:
        market = _json(body)
        what = f"{self.name}: {market['symbol']}"
        if not (market["spot"] or market["swap"]):
            raise Refused(f"{what} is a {market['type']}: only spot and perpetuals can be held here")
        if market["swap"] and not market["linear"]:
            raise Refused(f"{what} is an inverse contract, which is refused: take the linear one, such as "
                          f"{market['base']}/USDT:USDT")  # fmt: skip
        kind = "perpetual" if market["swap"] else "spot"
        ours = f"{market['base']}{market['quote']}" + (PERPETUAL if market["swap"] else "")
        steps, least = market["precision"], market["limits"]["cost"]["min"]
        known = {
            "tick_size": steps["price"],
            "lot_size": steps["amount"],
            "min_notional": least,
            "multiplier": market["contractSize"] if market["swap"] else None,
        }
        made = with_changes(
            default_instrument(ours, "crypto", self.name, kind),
            base=market["base"],
            quote=market["quote"],
            **{name: float(value) for name, value in known.items() if value},
        )
        return Listing(ours, market["symbol"], made)

    def beside(self, listing: Listing) -> tuple[str, ...]:
        perpetual = listing.instrument is not None and listing.instrument.kind == "perpetual"
        return ("funding",) if perpetual and self.exchange.has.get("fetchFundingRateHistory") else ()

    def window(self, what: str, timeframe: str) -> int:
        if what == "funding":
            return _RATES * 8 * HOUR
        return self._page * TIMEFRAMES[timeframe]

    @cached_property
    def _page(self) -> int:
        # Of the venue's spot bars where it says so: a page must not depend on whether markets are loaded.
        features: Any = self.exchange.features
        try:
            most = int(features["spot"]["fetchOHLCV"]["limit"])
        except (KeyError, TypeError):
            most = 300
        return max(1, min(most, 1_000))

    def ask(self, request: Request) -> Answer:
        now, asked = self._try(self._now), time.monotonic()  # before the page: what had not closed then may be in it
        body = json.dumps(self._try(lambda: self._fetch(request))).encode()
        if not now:
            headers: Any = self.exchange.last_response_headers
            told = exchanges.date_of(str(headers.get("Date", ""))) if headers else 0
            now = told and told - int((time.monotonic() - asked) * SECOND)
        return Answer(body, now)

    def _fetch(self, request: Request) -> Any:
        exchange, wanted = self.exchange, self._wanted(request.market)
        if not exchange.markets or (wanted.kind == "perpetual" and not self._has_perpetuals):
            self._has_perpetuals = wanted.kind == "perpetual"
            exchanges.narrow(exchange, [wanted])
            exchange.load_markets(True)
        if request.what == "market":
            market = exchanges.find_market(exchange, wanted)
            return {name: market.get(name) for name in _FACTS}
        since = request.start // _MS
        if request.what == "funding":
            told = exchange.fetch_funding_rate_history(request.market, since, _RATES)
            rows: Any = [[row["timestamp"], row["fundingRate"]] for row in told]
        else:
            until = {"until": request.end // _MS - 1} if request.end else {}
            rows = exchange.fetch_ohlcv(request.market, request.timeframe, since, self._page, until)
        if exchange.last_json_response is None:  # ccxt reads what is no JSON letter by letter
            raise TryAgain(f"{self.name} gave an answer that is no JSON")
        return rows

    def _wanted(self, symbol: str) -> Instrument:
        """What a user's symbol means: BTC/USDT:USDT and BTCUSDT-PERP are perpetuals, others spot."""
        swap = ":" in symbol or symbol.endswith(PERPETUAL)
        name = symbol.removesuffix(PERPETUAL)
        return default_instrument(name, "crypto", self.name, "perpetual" if swap else "spot")

    def _now(self) -> int:
        """ns UTC by the venue's clock, asked once in a while; 0: it does not tell."""
        if not self.exchange.has.get("fetchTime"):
            return 0
        if self._compared is None or time.monotonic() - self._compared[0] > _TRUST:
            self._compared = time.monotonic(), int(self.exchange.fetch_time()) * _MS
        before, then = self._compared
        return then + int((time.monotonic() - before) * SECOND)

    def _try(self, fetch: Callable[[], Any]) -> Any:
        """What ccxt's errors mean. The status decides: ccxt's classes call some refusals a fault of the network."""
        import ccxt

        self._note(0, {})
        try:
            return fetch()
        except ccxt.BadSymbol as error:
            raise Refused(
                f"{self.name}: {_words(error)}; look for its name at the venue, or take another venue"
            ) from None
        except ccxt.BaseError as error:
            status = self._status
            if status in (403, 451):
                raise Refused(blocked(self.name, status)) from None
            known = isinstance(error, ccxt.NetworkError | ccxt.OperationFailed) or status >= 500
            if known or status in (408, 418, 425, 429) or (status == 200 and self.exchange.last_json_response is None):
                raise TryAgain(f"{self.name}: {type(error).__name__} (HTTP {status})", self._pause) from None
            raise Refused(f"{self.name} refused the request: {_words(error)}") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise TryAgain(f"{self.name} gave an answer that ccxt cannot read ({type(error).__name__})") from None

    def read(self, request: Request, body: bytes) -> pl.DataFrame:
        rows = _json(body)
        if request.what == "market":
            return rows_of(self.name, "ts", [], ())
        if request.what == "funding":
            return rows_of(self.name, "ts", [(row[0] * 1_000, row[1]) for row in rows], ("rate",))
        return bars_of(self.name, [(row[0] * 1_000, *row[1:6]) for row in rows])

    def whole(self, bars: pl.DataFrame, beside: Mapping[str, pl.DataFrame], timeframe: str) -> Whole:
        if "funding" not in beside:
            return Whole(bars)
        rates = beside["funding"].unique("ts", keep="last").sort("ts")
        return Whole(join_funding(bars, rates["ts"], rates["rate"], timeframe)[0])


def _json(body: bytes) -> Any:
    return json.loads(body)


def _is_list(told: Any) -> bool:
    return isinstance(told, list)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
