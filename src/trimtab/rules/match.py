"""How an order meets a bar, and what that costs (design §6): the simulated exchange of the backtest and of paper.

All of it is scalar: one order, one bar. Wherever the bar leaves a choice, the pessimistic one is taken.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from trimtab.compiled import rule
from trimtab.types import LIMIT, MARKET, STOP, STOP_LIMIT, TAKE_PROFIT, TRAILING

NS: Final = 1e9


class Row(NamedTuple):
    """One instrument's bar as matching sees it: known before it (vol, average_volume) and in it (the rest).

    volume           base units; NaN unknown
    vol              standard deviation of one bar's return, from bars before this one; NaN not known yet
    average_volume   base units per day, from bars before this one; NaN not known yet
    duration         ns from open to close
    """

    open: float
    high: float
    low: float
    volume: float
    vol: float
    average_volume: float
    duration: float


class Touch(NamedTuple):
    """Where an order meets a bar: mid is NaN when it does not; limit caps a taker's price (NaN: no cap)."""

    mid: float
    maker: int
    limit: float
    triggered: int
    travels: int  # 1: the order has just come from us and pays for the way (latency); 0: it was at the venue


class Quote(NamedTuple):
    """A fill's price and what it contains, each a fraction of mid paid away (positive)."""

    price: float
    spread: float
    slippage: float
    impact: float
    latency: float


@rule
def half_spread_now(costs, vol):
    """Half spread in force, fraction of mid: wider when the market moves more."""
    if costs.vol_spread == 0.0:
        return costs.half_spread
    return costs.half_spread + costs.vol_spread * vol


@rule
def impact_of(size, before, average_volume, costs):
    """Impact of `size` more units after `before` units on the same side today, as a fraction of mid.

    The cost of a day's size Q is impact x Q x (Q / average_volume)^power; a fill pays its share of the growth, so
    that slicing never makes it cheaper. Source: the square-root law, Almgren et al. (2005), Risk 18(7).
    """
    if costs.impact == 0.0 or not average_volume > 0.0:
        return 0.0
    after = before + size
    if costs.impact_power == 0.5:
        hi, lo = math.sqrt(after / average_volume), math.sqrt(before / average_volume)
    else:
        hi, lo = (after / average_volume) ** costs.impact_power, (before / average_volume) ** costs.impact_power
    return costs.impact * (after * hi - before * lo) / size


@rule
def delay_of(costs, duration):
    """Whole bars of latency, ns: an order is not at the venue before then."""
    if costs.latency * NS < duration:
        return 0
    return int(math.floor(costs.latency * NS / duration) * duration)


@rule
def latency_of(costs, row):
    """Adverse move while an order travels, fraction of mid: vol x sqrt(latency / bar), whole bars shift instead."""
    if costs.latency == 0.0:
        return 0.0
    rest = costs.latency * NS - delay_of(costs, row.duration)
    return row.vol * math.sqrt(rest / row.duration)


@rule
def taker_quote(side, mid, size, before, row, costs, travels):
    """What taking `size` units costs now: mid +- (half spread + slippage + impact + latency); buys pay up.

    size, before   base units: this fill, and what was filled on the same side before it today
    travels        1: latency is paid; 0: the order was waiting at the venue
    """
    spread = half_spread_now(costs, row.vol)
    impact = impact_of(size, before, row.average_volume, costs)
    latency = latency_of(costs, row) if travels == 1 else 0.0
    price = mid * (1.0 + side * (spread + costs.slippage + impact + latency))
    return Quote(price, spread, costs.slippage, impact, latency)


@rule
def capped_quote(quote, side, mid, limit):
    """A taker's quote bounded by its limit price: what it saves comes off slippage, then latency, then impact."""
    if not side * (quote.price - limit) > 0.0:  # also when limit is NaN: no cap
        return quote
    paid = side * (limit - mid) / mid
    spread = min(quote.spread, paid)
    impact = min(quote.impact, paid - spread)
    latency = min(quote.latency, paid - spread - impact)
    return Quote(limit, spread, paid - spread - impact - latency, impact, latency)


@rule
def fee_of(terms, notional, maker):
    """The venue's fee for a notional, money."""
    return abs(notional) * (terms.maker_fee if maker == 1 else terms.taker_fee)


@rule
def meet_open(order, side, row, costs):
    """Does an order that is at the venue before the open meet the market at the open?

    A market order (or a stop triggered earlier) does. A stop whose level the open is beyond fills at the open. A limit
    order takes only on arrival and only where it reaches through the half spread; later it rests.
    """
    none = Touch(np.nan, 0, np.nan, 0, 0)
    if order.kind == MARKET or (order.triggered == 1 and order.kind != STOP_LIMIT):
        fresh = 1 if order.arrived == 0 and order.triggered == 0 else 0
        return Touch(row.open, 0, np.nan, order.triggered, fresh)
    if order.kind == STOP or order.kind == TRAILING:
        if side * (row.open - order.stop_price) >= 0.0:
            return Touch(row.open, 0, np.nan, 1, 0)
        return none
    arriving = order.arrived == 0
    if order.kind == STOP_LIMIT and order.triggered == 0:
        if side * (row.open - order.stop_price) < 0.0:
            return none
        arriving = True
    triggered = 1 if order.kind == STOP_LIMIT else 0
    near = row.open * (1.0 + side * half_spread_now(costs, row.vol))
    if arriving and side * (order.limit_price - near) >= 0.0:
        return Touch(row.open, 0, order.limit_price, triggered, 1 - triggered)
    return Touch(np.nan, 0, np.nan, triggered, 0)


@rule
def meet_inside(order, side, row, costs, at_open):
    """Does a resting order meet the market between the open and the close?

    A limit order fills only if the bar trades strictly through it, at its own price, as maker. A stop triggers where
    the bar touches it and takes at the worse of the open and its level (its level, if it was placed inside the bar and
    the bar trades there).

    at_open   the order was at the venue at the open of this bar
    """
    none = Touch(np.nan, 0, np.nan, 0, 0)
    if order.kind == MARKET or (order.triggered == 1 and order.kind != STOP_LIMIT):
        return none
    far = row.high if side > 0 else row.low  # the extreme that touches a stop
    near = row.low if side > 0 else row.high  # the extreme that reaches a limit
    if order.kind == LIMIT or order.kind == TAKE_PROFIT or order.triggered == 1:
        if side * (order.limit_price - near) > 0.0:
            return Touch(order.limit_price, 1, np.nan, order.triggered, 0)
        return none
    if not side * (far - order.stop_price) >= 0.0:
        return none
    level = order.stop_price
    if side * (row.open - level) > 0.0 and (at_open or side * (near - level) > 0.0):
        level = row.open  # the open is beyond it, or all of the bar: what it protects was gapped into
    if order.kind != STOP_LIMIT:
        return Touch(level, 0, np.nan, 1, 0)
    if side * (order.limit_price - level * (1.0 + side * half_spread_now(costs, row.vol))) >= 0.0:
        return Touch(level, 0, order.limit_price, 1, 0)
    return Touch(np.nan, 0, np.nan, 1, 0)


@rule
def cap_of(participation, volume, lot_size, ignore_volume):
    """Lots that may fill in a bar: participation x volume; 0 where volume is zero or unknown, unless ignored."""
    if not volume > 0.0:
        return np.int64(2**53) if ignore_volume == 1 else np.int64(0)
    lots = participation * volume / lot_size
    return np.int64(2**53) if lots >= 2**53 else np.int64(lots)


@rule
def outlay(lots, unit, lot_size, mid, before, row, costs, touch):
    """Cash that buying `lots` takes, fee included."""
    fee, price = costs.maker_fee, mid
    if touch.maker == 0:
        quote = taker_quote(1.0, mid, lots * lot_size, before, row, costs, touch.travels)
        fee, price = costs.taker_fee, capped_quote(quote, 1.0, mid, touch.limit).price
    notional = lots * unit * price
    return notional + notional * fee


@rule
def affordable(lots, cash, unit, lot_size, mid, before, row, costs, touch):
    """The most lots, at most `lots` > 0, whose price, spread, slippage, impact and fee fit into the cash.

    Impact makes the price depend on the size, and small against it: pricing the last guess settles in two or three
    turns. Widening steps and halving what is between them settle the last lots.
    """
    if outlay(lots, unit, lot_size, mid, before, row, costs, touch) <= cash:
        return np.int64(lots)
    take = np.int64(lots)
    for _ in range(4):
        guess = np.int64(max(cash, 0.0) / outlay(take, unit, lot_size, mid, before, row, costs, touch) * take)
        if guess == take or guess <= 0:
            take = max(guess, np.int64(0))
            break
        take = guess
        if costs.impact == 0.0:
            break
    fits, fails, step = take, np.int64(lots), np.int64(1)
    while fits > 0 and outlay(fits, unit, lot_size, mid, before, row, costs, touch) > cash:
        fails = fits
        fits = max(take - step, np.int64(0))
        step *= 4
    while fits + step < fails and outlay(fits + step, unit, lot_size, mid, before, row, costs, touch) <= cash:
        fits += step
        step *= 4
    fails = min(fails, fits + step)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if outlay(middle, unit, lot_size, mid, before, row, costs, touch) <= cash:
            fits = middle
        else:
            fails = middle
    return fits
