"""What an instrument looks like by default, and what trading it costs.

An import without further word gets the instrument of its asset class and venue; its rules (lot, tick, calendar) can be
changed in the catalogue. Costs are presets by name: `Instrument.costs`, else the venue's, else the asset class's.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import msgspec

from trimtab.schedule.sessions import is_round_the_clock, session_of
from trimtab.types import Costs, Instrument, TrimtabError
from trimtab.words import near

ASSET_CLASSES: Final = ("crypto", "equity", "index", "commodity", "fx")
KINDS: Final = ("spot", "perpetual", "equity", "index")

#: Where synthetic instruments trade: no exchange, so that they are never taken for real ones, nor mixed with them.
SYNTHETIC: Final = "synthetic"

#: Word on the command line -> asset class and kind (empty: the class's own).
SYNTHETIC_CLASSES: Final = {
    "equity": ("equity", ""),
    "index": ("index", ""),
    "crypto": ("crypto", ""),
    "perpetual": ("crypto", "perpetual"),
}
#: Initial and maintenance margin of a perpetual where nothing is said: 20 times its equity at most. Venues ask for less
#: of small positions in BTC and ETH and for more of other coins and of large ones; their tables are the user's to give.
PERPETUAL_MARGIN: Final = {"initial_margin": 0.05, "maintenance_margin": 0.025}

#: What people call an asset class that has another name here.
_MEANT: Final = {
    "stock": "equity", "stocks": "equity", "share": "equity", "shares": "equity", "etf": "equity",
    "indices": "index", "forex": "fx", "currency": "fx", "coin": "crypto",
}  # fmt: skip

# Slippage and impact, one pair per asset class. Impact follows the square-root law: about one daily volatility when the
# day's size equals the average daily volume (Toth et al. 2011, Phys. Rev. X 1, 021006; Almgren et al. 2005, Risk 18).
# Daily volatility taken: crypto 3%, single US equities 1.5%, indices 1%, oil 2%, major currencies 0.5%.
# Participation of 10% of a bar's volume is the usual limit of execution desks.
_CRYPTO = Costs(half_spread=0.0001, slippage=0.0001, impact=0.03, participation=0.1)
_EQUITY = Costs(half_spread=0.0001, slippage=0.0001, impact=0.015, participation=0.1)
_INDEX = Costs(taker_fee=0.00002, maker_fee=0.00002, half_spread=0.00005, slippage=0.00005, impact=0.01)
_COMMODITY = Costs(taker_fee=0.00003, maker_fee=0.00003, half_spread=0.0001, slippage=0.0001, impact=0.02)
_FX = Costs(taker_fee=0.00002, maker_fee=0.00002, half_spread=0.00005, slippage=0.00002, impact=0.005)


def _crypto(maker: float, taker: float) -> Costs:
    return _CRYPTO._replace(maker_fee=maker, taker_fee=taker)


#: Name -> costs. Fees are the venues' published entry tier, as of 2024; fractions of notional.
COST_PRESETS: Final[dict[str, Costs]] = {
    "binance": _crypto(0.0010, 0.0010),  # spot, VIP 0, without the BNB discount: binance.com/en/fee/trading
    "binance_perpetual": _crypto(0.0002, 0.0005),  # USD-margined futures, VIP 0: binance.com/en/fee/futureFee
    "bitvavo": _crypto(0.0015, 0.0025),  # spot, below EUR 100,000 in 30 days: bitvavo.com/en/fees
    "kraken": _crypto(0.0025, 0.0040),  # Kraken Pro spot, below USD 10,000 in 30 days: kraken.com/features/fee-schedule
    "kraken_perpetual": _crypto(0.0002, 0.0005),  # futures, entry tier: same page
    "bybit": _crypto(0.0010, 0.0010),  # spot, VIP 0: bybit.com/en/help-center, Trading Fee Structure
    "bybit_perpetual": _crypto(0.0002, 0.00055),  # perpetuals, VIP 0: same page
    "alpaca": _EQUITY,  # US equities without commission (alpaca.markets/pricing); the spread is what is paid
    "crypto": _crypto(0.0010, 0.0010),  # the commonest entry tier of the venues above
    "equity": _EQUITY._replace(maker_fee=0.00005, taker_fee=0.00005),  # USD 0.005 a share of 100: IBKR
    "index": _INDEX,  # traded through its future: about USD 2 a side on 100,000 notional (CME and broker fees)
    "commodity": _COMMODITY,  # WTI future: about USD 2 a side on 70,000 notional; a tick of 0.01 on 70
    "fx": _FX,  # USD 2 per 100,000 a side: Interactive Brokers IdealPro
    "none": Costs(),
}

_QUOTES: Final = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "EUR", "USD", "GBP", "JPY", "BTC", "ETH", "BNB")

#: What differs from `Instrument`'s own defaults, by asset class.
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "crypto": {"kind": "spot", "lot_size": 1e-6, "shortable": False, "calendar": "24/7"},
    "equity": {"kind": "equity", "lot_size": 1.0, "tick_size": 0.01, "shortable": True, "calendar": "XNYS"},
    "index": {"kind": "index", "lot_size": 0.01, "tick_size": 0.01, "shortable": True, "calendar": "XNYS"},
    "commodity": {"kind": "spot", "lot_size": 0.01, "tick_size": 0.01, "shortable": True, "calendar": "XNYM"},
    "fx": {"kind": "spot", "lot_size": 1.0, "tick_size": 1e-5, "shortable": True, "calendar": "24/5"},
}


def default_instrument(symbol: str, asset_class: str = "crypto", venue: str = "", kind: str = "") -> Instrument:
    """The usual rules of an asset class for a symbol; venue empty: sim.

    A perpetual can be sold short and is held on margin; crypto spot is neither.

    TrimtabError for an unknown asset class or kind, or an empty symbol.
    """
    if not symbol.strip():
        raise TrimtabError("an instrument needs a symbol, such as BTCEUR")
    if asset_class not in _DEFAULTS:
        hint = near(_MEANT.get(asset_class.lower(), asset_class), ASSET_CLASSES)
        raise TrimtabError(f"unknown asset class {asset_class!r}{hint}; expected one of {', '.join(ASSET_CLASSES)}")
    if kind and kind not in KINDS:
        raise TrimtabError(f"unknown kind {kind!r}{near(kind, KINDS)}; expected one of {', '.join(KINDS)}")
    base, quote = _pair(symbol) if asset_class in ("crypto", "fx") else (symbol, "USD")
    rules = dict(_DEFAULTS[asset_class], base=base, quote=quote)
    if kind == "perpetual":
        rules |= {"shortable": True, **PERPETUAL_MARGIN}
    if kind:
        rules["kind"] = kind
    return Instrument(symbol=symbol, venue=venue or "sim", asset_class=asset_class, **rules)


def costs_for(instrument: Instrument) -> Costs:
    """What trading the instrument costs: its own preset, else its venue's (and kind's), else its asset class's."""
    if instrument.costs:
        return preset(instrument.costs)
    for name in (f"{instrument.venue}_{instrument.kind}", instrument.venue, instrument.asset_class):
        if name in COST_PRESETS:
            return COST_PRESETS[name]
    raise TrimtabError(f"{instrument.symbol}: no cost preset for asset class {instrument.asset_class!r}; set `costs`")


def preset(name: str) -> Costs:
    """Costs by name; unknown: TrimtabError with the closest known."""
    if name in COST_PRESETS:
        return COST_PRESETS[name]
    hint = near(name, COST_PRESETS)
    raise TrimtabError(f"unknown cost preset {name!r}{hint}; expected one of {', '.join(COST_PRESETS)}")


def with_changes(instrument: Instrument, **changes: object) -> Instrument:
    """The instrument with some rules changed, checked: sizes and multiplier above 0, calendar, margins.

    0 < initial_margin <= 1, and 0 <= maintenance_margin <= initial_margin.
    """
    changed = msgspec.structs.replace(instrument, **changes)
    check_calendar(changed.calendar)
    _check_days(changed)
    for field, lowest in (("lot_size", 1e-18), ("tick_size", 0.0), ("multiplier", 1e-18), ("min_notional", 0.0)):
        value = getattr(changed, field)
        if not lowest <= value < float("inf"):
            raise TrimtabError(f"{changed.symbol}: {field} = {value} is out of range, expected at least {lowest}")
    initial, maintenance = changed.initial_margin, changed.maintenance_margin
    if not 0.0 < initial <= 1.0:
        raise TrimtabError(
            f"{changed.symbol}: initial_margin = {initial} is out of range, expected above 0 and at most 1 (1: paid in "
            "full, without leverage)"
        )
    if not 0.0 <= maintenance <= initial:
        raise TrimtabError(
            f"{changed.symbol}: maintenance_margin = {maintenance} is out of range, expected at least 0 and at most "
            f"the initial margin of {initial}"
        )
    return changed


def changes_of(old: Instrument, new: Instrument) -> list[str]:
    """What a new form of an instrument says otherwise, in words: "delisted from none to 2021-06-30"."""

    def told(value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value).lower() if value != "" else "none"

    pairs = [(name, getattr(old, name), getattr(new, name)) for name in old.__struct_fields__]
    return [f"{name} from {told(was)} to {told(now)}" for name, was, now in pairs if was != now]


def _check_days(instrument: Instrument) -> None:
    days: list[dt.date] = []
    for name in ("listed", "delisted"):
        text = getattr(instrument, name)
        try:
            days += [dt.date.fromisoformat(text)] if text else []
        except ValueError:
            raise TrimtabError(f"{instrument.symbol}: {name} = {text!r}: expected a date such as 2021-03-02") from None
    if days != sorted(days):
        raise TrimtabError(f"{instrument.symbol}: delisted on {days[1]}, before it was listed on {days[0]}")


def check_calendar(name: str) -> None:
    """TrimtabError for a calendar that is neither round the clock nor an exchange's, with the closest name."""
    if not is_round_the_clock(name):
        session_of(name)


def _pair(symbol: str) -> tuple[str, str]:
    """Base and quote currency: BTC/EUR, BTC-EUR, BTCEUR, EURUSD; quote USD where the symbol does not say."""
    for separator in ("/", "-", "_"):
        base, found, quote = symbol.partition(separator)
        if found and base and quote:
            return base, quote.partition(":")[0]
    for quote in _QUOTES:
        if symbol.upper().endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol, "USD"
