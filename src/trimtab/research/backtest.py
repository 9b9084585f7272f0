"""From a spec or weights over a panel to a Run: forecasts, weights, and the compiled driver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from trimtab.bounds import check, model_names
from trimtab.portfolio.budgets import combine
from trimtab.research.arguments import check_arguments, held
from trimtab.research.funds import base_of, check_currencies
from trimtab.research.holding import holding_of
from trimtab.research.ledger.record import record_run
from trimtab.research.prepared import hash_ahead, market_of, prepared
from trimtab.research.run import Fold, Run
from trimtab.research.setup import costs_of_panel, setup_of
from trimtab.research.streams import plan_of
from trimtab.sim.simulate import simulate as fold_market
from trimtab.sim.simulate import weights_of
from trimtab.strategies import find, params_of
from trimtab.types import (
    SECOND,
    Caps,
    CashFlow,
    Costs,
    Execution,
    Limits,
    Model,
    NotEnoughData,
    Panel,
    Rebalance,
    Refusal,
    RuleUse,
    Spec,
    TrimtabError,
    Weights,
)
from trimtab.words import utc

if TYPE_CHECKING:
    from trimtab.research.allocation import Split

#: The strategy's name in the spec of a run whose weights were given.
GIVEN = "weights"


def run_weights(
    spec: Spec,
    panel: Panel,
    weights: Weights,
    given: Weights | None = None,
    refused: tuple[tuple[Refusal, int], ...] = (),
    splits: tuple[Split, ...] = (),
) -> Run:
    """The driver over weights, and over holding the same instruments at the same costs without limits.

    refused  windows that fits refused, with the model's number
    splits   what allocators chose on the way
    """
    check_weights(weights, spec, panel, given=given is not None)
    costs = costs_of_panel(panel, spec.costs)
    setup = setup_of(spec, panel, costs)
    market = market_of(panel, spec.base_currency)
    result = fold_market(market, weights, setup, keep_equity=False)
    holding = holding_of(panel, market, setup)
    return Run(spec, panel, costs, Fold(market, weights, setup, result, holding), given, refused, splits)


def check_weights(weights: Weights, spec: Spec, panel: Panel, *, given: bool = False) -> None:
    """TrimtabError for the first weight that is no finite number; given: by a program, and not by a strategy."""
    wrong = np.flatnonzero(~np.isfinite(weights.value))
    if not len(wrong):
        return
    row, m, i = (int(column[wrong[0]]) for column in (weights.row, weights.model, weights.instrument))
    found = f"{panel.symbols[i]} at row {row} (closed {utc(panel.ts[row])}) is {weights.value[wrong[0]]:g}"
    if given:
        raise TrimtabError(f"weights: that of {found}: expected a finite fraction of equity, or NaN to hold")
    model = spec.models[m]
    strategy = find(model.strategy)
    what, mend = "the forecast", "a finite number, or NaN to abstain"
    if strategy.across is not None:
        what, mend = "the weight from `across`", "a finite number, or NaN to keep what is held"
    elif strategy.legs is not None:
        traded = model.universe or panel.symbols
        leg = traded.index(panel.symbols[i]) % strategy.legs_of(len(traded))
        what, mend = f"weight {leg} of `legs`", "finite numbers; where a pair is not to be traded, `step` returns NaN"
    raise TrimtabError(f"model {model_names(spec.models)[m]}: {what} for {found}: expected {mend}")


def simulate(
    panel: Panel,
    weights: Any,
    *,
    costs: str | Costs | None = None,
    limits: Limits | None = None,
    caps: Caps | None = None,
    capital: float | Mapping[str, float] = 1_000_000.0,
    cash_flows: Iterable[CashFlow] = (),
    base_currency: str | None = None,
    volume: str = "require",
    seed: int = 0,
) -> Run:
    """Trade weights of your own: (T, N) fractions of equity decided at each close, NaN = hold.

    weights        (T, N), or (T,) for one instrument
    costs          Costs (holds exactly what it names), a preset's name, or None: each instrument's preset
    limits, caps   None: none
    capital        starting equity, base currency; or cash by wallet (venue/currency, or currency), in its own
    cash_flows     cash paid in and out on the way
    base_currency  of equity; None: that in which the instruments without a rate in the panel's field `fx` are quoted
    volume         "require": no fill where a bar's volume is zero or unknown; "ignore": fills there, without impact
    seed           of rejections, the only thing that is drawn
    ->             Run. A weight of row t trades at the open of row t+1; docs/fills.md says how

    Raises TrimtabError for weights that are no numbers, infinite, or of another shape than the panel.
    """
    check_arguments(panel=panel, costs=costs, limits=limits, caps=caps)
    hash_ahead(panel)
    try:
        dense = np.ascontiguousarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TrimtabError(f"weights are no numbers ({error}): expected (T, N) floats, NaN to hold") from None
    if dense.ndim == 1 and len(panel.instruments) == 1:
        dense = dense.reshape(-1, 1)
    expected = (len(panel.ts), len(panel.instruments))
    if dense.shape != expected:
        raise TrimtabError(
            f"weights have shape {dense.shape}: expected (T, N) = {expected}, a row per bar of the panel"
        )
    first, last = window_of(panel)
    spec = Spec(
        models=(Model(strategy=GIVEN),),
        universe=panel.symbols,
        timeframe=panel.timeframe,
        base_currency=base_currency or base_of(panel),
        start=first,
        end=last,
        capital=said(capital),
        cash_flows=held("cash_flows", cash_flows),
        costs=costs if costs is not None else "venue",
        limits=limits or Limits(),
        caps=caps or Caps(),
        volume=volume,
        seed=seed,
    )
    sparse = weights_of(dense, prepared(panel).first)
    return record_run(run_weights(spec, panel, sparse, given=sparse))


def backtest(
    what: str | Spec,
    panel: Panel,
    *,
    params: Mapping[str, Any] | None = None,
    costs: str | Costs | None = None,
    limits: Limits | None = None,
    caps: Caps | None = None,
    rules: Iterable[RuleUse] | None = None,
    capital: float | Mapping[str, float] | None = None,
    cash_flows: Iterable[CashFlow] | None = None,
    base_currency: str | None = None,
    execution: Execution | None = None,
    rebalance: Rebalance | None = None,
    volume: str | None = None,
    seed: int | None = None,
) -> Run:
    """Backtest a strategy by name or file over all of a panel, or a whole Spec.

    what           a strategy's name, the path of a strategy file, or a Spec; then the other arguments replace its own,
                   and None keeps them
    params         the strategy's parameters, by name; the others keep their defaults
    costs          Costs (holds exactly what it names), a preset's name, or None: each instrument's preset
    limits, caps   None: none
    rules          limits of your own, see LimitRule; None: none
    capital        starting equity, base currency (None: 1,000,000); or cash by wallet, in its own
    cash_flows     cash paid in and out on the way; None: none
    base_currency  of equity; None: that in which the instruments without a rate in the panel's field `fx` are quoted
    execution      how orders are sent; None: market orders
    rebalance      when a standing weight is sized again; None: when it changes
    volume         "require" (None): no fill where a bar's volume is zero or unknown; "ignore": fills there too
    seed           of rejections, the only thing that is drawn; None: 0
    ->             Run

    Raises TrimtabError for unknown names, values out of range and a Spec that is not about this panel, NotEnoughData
    when no forecast could be made.
    """
    check_arguments(
        what=what, panel=panel, params=params, costs=costs, limits=limits, caps=caps, execution=execution,
        rebalance=rebalance,
    )  # fmt: skip
    hash_ahead(panel)
    if isinstance(what, Spec):
        spec = what
        if params is not None:
            raise TrimtabError("params belong to a strategy's name; a Spec has its own in its models")
    else:
        spec = spec_of(what, panel, params)
    given = {
        "costs": costs,
        "limits": limits,
        "caps": caps,
        "rules": None if rules is None else held("rules", rules),
        "capital": None if capital is None else said(capital),
        "cash_flows": None if cash_flows is None else held("cash_flows", cash_flows),
        "base_currency": base_currency,
        "execution": execution,
        "rebalance": rebalance,
        "volume": volume,
        "seed": seed,
    }
    told = {name: value for name, value in given.items() if value is not None}
    return record_run(run_spec(msgspec.structs.replace(spec, **told), panel))


def run_spec(spec: Spec, panel: Panel) -> Run:
    """A whole Spec over the panel that it is about, recorded nowhere; raises as `backtest` does."""
    check_panel(spec, panel)
    check(spec, ())  # before anything is folded; costs when the panel's instruments have theirs
    streams, splits = plan_of(spec, panel)
    refused = tuple(sorted((refusal, stream.model) for stream in streams for refusal in stream.refused))
    return run_weights(spec, panel, combine(streams), refused=refused, splits=splits)


def spec_of(strategy: str, panel: Panel, params: Mapping[str, Any] | None = None) -> Spec:
    """The Spec of one strategy with the whole budget over all instruments of a panel."""
    checked = params_of(find(strategy), params or {})
    first, last = window_of(panel)
    return Spec(
        models=(Model(strategy=strategy, params=checked._asdict()),),
        universe=panel.symbols,
        timeframe=panel.timeframe,
        base_currency=base_of(panel),
        start=first,
        end=last,
    )


def said(capital: float | Mapping[str, float]) -> float | dict[str, float]:
    """The capital as a Spec holds it."""
    return dict(capital) if isinstance(capital, Mapping) else capital


def window_of(panel: Panel) -> tuple[str, str]:
    """start and end of a Spec that loads just this panel's bars: those that close after start and not after end."""
    if not len(panel.ts):
        raise NotEnoughData(f"{', '.join(panel.symbols)}: the panel has no bars")
    shortest = np.nanmin(panel.values[0, :, panel.fields.index("duration")])
    # Where an instrument has no first bar, one of its earlier bars may close inside the length of the others' first.
    back = int(shortest) if np.isfinite(panel.values[0, :, panel.fields.index("close")]).all() else SECOND
    return utc(panel.ts[0] - back), utc(panel.ts[-1])


def check_panel(spec: Spec, panel: Panel) -> None:
    """TrimtabError if a Spec is not about this panel: it would name a run that it does not describe."""
    for name, said, found in (
        ("universe", ", ".join(spec.universe), ", ".join(panel.symbols)),
        ("timeframe", spec.timeframe, panel.timeframe),
    ):
        if said != found:
            raise TrimtabError(f"the spec's {name} is {said}, the panel's is {found}: expected the same")
    check_currencies(spec, panel)
