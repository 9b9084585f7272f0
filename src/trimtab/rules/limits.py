"""What acted and how: the words of the actions table (design §8)."""

from __future__ import annotations

from typing import Final

from trimtab.compiled import part
from trimtab.types import codes

#: Relative room for rounding where a fill is measured by a limit: weights that are exactly at it are not cut.
SLACK: Final = 1e-9

#: What has drifted over a limit is cut this much below it, relatively, or every later decision would cut it again.
HEADROOM: Final = 0.01

# What acted; index = code, the word is what a user reads in the actions table.
LIMIT_NAMES: Final = (
    "max_weight",
    "gross_leverage",
    "drawdown_derisk",
    "drawdown_halt",
    "shortable",
    "stop_loss",
    "take_profit",
    "trailing_stop",
    "min_notional",
    "no_price",
    "bankrupt",
    "lot_range",
    "margin_call",
    "daily_loss",
    "weekly_loss",
    "stale",
    "order_notional",
    "max_holding",
    "concentration",
    "net_exposure",
    "heat",
    "group_gross",
    "unusual_vol",
    "unusual_gap",
    "unusual_spread",
    "asset_class",
    "venue",
    "model",
    "killed",
    "split",
    "dividend",
    "member",
    "delisted",
)
(
    MAX_WEIGHT,
    GROSS_LEVERAGE,
    DRAWDOWN_DERISK,
    DRAWDOWN_HALT,
    SHORTABLE,
    STOP_LOSS_LIMIT,
    TAKE_PROFIT_LIMIT,
    TRAILING_LIMIT,
    MIN_NOTIONAL,
    NO_PRICE,
    BANKRUPT,
    LOT_RANGE,
    MARGIN_CALL,
    DAILY_LOSS,
    WEEKLY_LOSS,
    STALE,
    ORDER_NOTIONAL,
    MAX_HOLDING,
    CONCENTRATION,
    NET_EXPOSURE,
    HEAT,
    GROUP_GROSS,
    UNUSUAL_VOL,
    UNUSUAL_GAP,
    UNUSUAL_SPREAD,
    ASSET_CLASS,
    VENUE,
    MODEL,
    KILLED,
    SPLIT,
    DIVIDEND_PAID,
    MEMBER,
    DELISTED,
) = codes(33)

ACTIONS: Final = ("SCALE", "REFUSE", "FLATTEN", "HALT", "RESUME", "REDUCE", "LIQUIDATE", "ADJUST", "PAY")
SCALE, REFUSE, FLATTEN, HALT, RESUME, REDUCE, LIQUIDATE, ADJUST, PAY = codes(9)


@part
def note(log, row, ts, limit, instrument, wanted, allowed, action):
    """Write one row of the actions table: every refusal and scaling has a name."""
    if log.actions.shape[0] == 0:
        return
    k = log.used[2]
    log.used[2] = k + 1
    entry = log.actions[k]
    entry.ts = ts
    entry.row = row
    entry.limit = limit
    entry.instrument = instrument
    entry.model = -1
    entry.wanted = wanted
    entry.allowed = allowed
    entry.action = action
