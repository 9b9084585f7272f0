"""Trimtab: systematic trading on one path. The public names; each loads what it needs when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from trimtab.data.panel import load
    from trimtab.research.backtest import backtest, simulate
    from trimtab.research.run import Run
    from trimtab.research.sweep import sweep
    from trimtab.strategies.framed import frame_strategy
    from trimtab.types import (
        AllocatorUse,
        Caps,
        CashFlow,
        Costs,
        Execution,
        Indicator,
        Instrument,
        LimitRule,
        Limits,
        Model,
        NotEnoughData,
        Panel,
        Rebalance,
        RegimeUse,
        RuleUse,
        SizerUse,
        Spec,
        Strategy,
        TrimtabError,
    )

__all__ = [
    "AllocatorUse",
    "Caps",
    "CashFlow",
    "Costs",
    "Execution",
    "Indicator",
    "Instrument",
    "LimitRule",
    "Limits",
    "Model",
    "NotEnoughData",
    "Panel",
    "Rebalance",
    "RegimeUse",
    "RuleUse",
    "Run",
    "SizerUse",
    "Spec",
    "Strategy",
    "TrimtabError",
    "__version__",
    "backtest",
    "frame_strategy",
    "load",
    "simulate",
    "sweep",
]

_HOMES = {
    "load": "trimtab.data.panel",
    "backtest": "trimtab.research.backtest",
    "simulate": "trimtab.research.backtest",
    "sweep": "trimtab.research.sweep",
    "Run": "trimtab.research.run",
    "frame_strategy": "trimtab.strategies.framed",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'trimtab' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "trimtab.types")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
