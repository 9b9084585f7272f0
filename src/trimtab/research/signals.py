"""What a strategy says at the last bar of its data: a signal per unit, its reason, and the orders that it would mean.

A signal is the newest forecast as people read it: BUY above 0, SELL below, HOLD at 0 (no position is wanted) and where
the strategy abstains (what stands is kept). The orders are those of an account that holds nothing but cash: from there
to the weight that stands, at the last close, without costs and limits, in whole lots.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from trimtab.research.check_subject import missing_fields, timeframe_for
from trimtab.research.streams import blocks_of, model_streams, origin_of, units_of
from trimtab.rules.orders import net, size
from trimtab.strategies import params_of
from trimtab.strategies.folding import memory_of, resume_dense
from trimtab.types import Instrument, Model, Panel, Reason, Strategy, TrimtabError

BUY, SELL, HOLD = "BUY", "SELL", "HOLD"
#: What an order is not placed for.
TOO_SMALL: Final = "less than one lot"
UNDER_LEAST: Final = "below the venue's smallest notional"
NOT_SHORT: Final = "cannot be sold short"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The order that takes an account from cash to the weight that stands; lots is 0 where there is none.

    weight     of capital, signed
    quantity   of units, unsigned; notional = quantity * price, in the instrument's quote currency
    why_not    why there is no order although a position is wanted
    """

    instrument: str
    side: str
    weight: float
    lots: int
    quantity: float
    price: float
    notional: float
    why_not: str = ""


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """The newest forecast of one unit: an instrument, or the legs of a pair or basket.

    ts        close of its last bar, ns UTC, of this timeframe
    forecast  in [-1, 1]; NaN: it abstains, or the data does not reach its warm-up
    reason    the strategy's own, where it gives one; words say it
    """

    instruments: tuple[str, ...]
    ts: int
    timeframe: str
    signal: str
    forecast: float
    reason: Reason | None
    words: str
    orders: tuple[Wanted, ...]

    @property
    def strength(self) -> float:
        """0 to 1."""
        return 0.0 if math.isnan(self.forecast) else min(1.0, abs(self.forecast))


def signals_of(strategy: Strategy, given: Mapping[str, Any], panel: Panel, capital: float) -> tuple[Signal, ...]:
    """The signals of a strategy at the end of a panel, in the order of its instruments.

    given    parameters by name; the others keep their defaults
    capital  in the quote currency of the instruments; split evenly over the units, as a model's budget is

    TrimtabError where the strategy does not take the panel, NotEnoughData where no unit reaches its warm-up.
    """
    absent = missing_fields(strategy, panel)
    if absent:
        raise TrimtabError(
            f"{strategy.name} reads {absent[0]}, which the data does not have: {', '.join(panel.fields)}"
        )
    params = params_of(strategy, given)
    timeframe = timeframe_for(strategy, panel)
    model = Model(strategy=strategy.name, params=dict(given), timeframe=timeframe)
    units = units_of(model, strategy, panel)
    blocks = blocks_of(model, strategy, params, panel, units)
    weights = _standing(model, strategy, params, panel)
    found: list[Signal] = []
    for unit, (index, x) in zip(units, blocks, strict=True):
        if not len(index):
            continue
        memory, out = memory_of(strategy, params, x.shape[1]), np.full(len(index), np.nan)
        memory, _ = resume_dense(
            strategy, params, memory, panel.ts[index], x, out, origin_of(model, strategy, panel, unit)
        )
        forecast, t = float(out[-1]), int(index[-1])
        known = len(index) > strategy.warmup(params)
        reason = strategy.explain(params, memory.state) if strategy.explain and known else None
        orders = tuple(_wanted(panel, t, i, weights.get(i, 0.0), capital) for i in unit)
        signal = BUY if forecast > 0.0 else SELL if forecast < 0.0 else HOLD
        words = words_of(forecast, reason) if known else "its warm-up is not over yet"
        found.append(
            Signal(
                instruments=tuple(panel.symbols[i] for i in unit),
                ts=int(panel.ts[t]),
                timeframe=timeframe,
                signal=signal,
                forecast=forecast,
                reason=reason,
                words=words,
                orders=orders,
            )
        )
    return tuple(found)


def words_of(forecast: float, reason: Reason | None) -> str:
    """Why a forecast is what it is, as one sentence without its full stop."""
    if math.isnan(forecast):
        left = "it abstains, and keeps what is held"
    elif forecast == 0.0:
        left = "no position is wanted"
    else:
        left = f"it wants to be {'long' if forecast > 0.0 else 'short'} with {abs(forecast):.0%} of its share"
    if reason is None:
        return left
    if math.isnan(reason.value):
        return f"{reason.statistic} is not defined here: {left}"
    inside = reason.low <= reason.value <= reason.high
    noise = "" if math.isnan(reason.level) else f", which noise leaves {100.0 * reason.level:.3g}% of the time"
    told = "not significant" if inside else "significant"
    band = _band(reason.low, reason.high)
    return (
        f"{reason.statistic} is {reason.value:.3g}, {'inside' if inside else 'outside'} {band}{noise}: {told}, {left}"
    )


def _band(low: float, high: float) -> str:
    if math.isinf(low):
        return f"the band up to {high:.3g}"
    if math.isinf(high):
        return f"the band from {low:.3g} up"
    return f"the band {low:.3g} to {high:.3g}"


def _standing(model: Model, strategy: Strategy, params: Any, panel: Panel) -> dict[int, float]:
    """The weight that was told last, by instrument."""
    weights: dict[int, float] = {}
    for stream in model_streams(0, model, strategy, params, panel, every=False):
        for i, value in zip(stream.instrument.tolist(), stream.forecast.tolist(), strict=True):
            weights[i] = value * stream.share
    return weights


def _wanted(panel: Panel, t: int, i: int, weight: float, capital: float) -> Wanted:
    """The order of one instrument at its close of row t."""
    instrument, price = panel.instruments[i], float(panel.values[t, i, panel.fields.index("close")])
    unit = instrument.lot_size * instrument.multiplier
    virtual = float(size(weight, capital, price, unit))
    lots = int(net(np.array([[virtual]]), 0)) if math.isfinite(virtual) else 0
    notional = abs(lots) * unit * price
    why_not = _why_not(instrument, weight, lots, notional)
    if why_not:
        lots, notional = 0, 0.0
    return Wanted(
        instrument=instrument.symbol,
        side="" if lots == 0 else "buy" if lots > 0 else "sell",
        weight=weight,
        lots=lots,
        quantity=abs(lots) * instrument.lot_size,
        price=price,
        notional=notional,
        why_not=why_not,
    )


def _why_not(instrument: Instrument, weight: float, lots: int, notional: float) -> str:
    if weight == 0.0:
        return ""
    if lots == 0:
        return TOO_SMALL
    if lots < 0 and not instrument.shortable:
        return NOT_SHORT
    return UNDER_LEAST if notional < instrument.min_notional else ""


def plain_of(signals: Sequence[Signal]) -> list[dict[str, Any]]:
    """Signals as plain values: instants as text, what is not defined as None."""
    from trimtab.words import utc

    def known(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return [
        {
            "instruments": list(s.instruments),
            "at": utc(s.ts),
            "timeframe": s.timeframe,
            "signal": s.signal,
            "strength": s.strength,
            "forecast": known(s.forecast),
            "reason": None
            if s.reason is None
            else {name: known(v) if isinstance(v, float) else v for name, v in s.reason._asdict().items()},
            "words": s.words,
            "orders": [msgspec.structs.asdict(order) for order in s.orders],
        }
        for s in signals
    ]
