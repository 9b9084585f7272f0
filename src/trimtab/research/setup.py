"""What a spec sets up: the costs of a panel's instruments, how orders are sent, the accounts, and what is capped."""

from __future__ import annotations

import numpy as np

from trimtab.bounds import check, model_names, strangers
from trimtab.data.catalogue import ASSET_CLASSES, costs_for, preset
from trimtab.portfolio.caps import groups_of
from trimtab.portfolio.standing import resizes
from trimtab.research.funds import check_currencies, flows_of, opening_of
from trimtab.research.limit_rules import compiled_rules
from trimtab.research.prepared import market_of, prepared, watched
from trimtab.rules.book import NO_RULES, NOTHING, Setup, Style, terms_of
from trimtab.types import ORDER_KINDS, TIFS, Costs, Panel, Spec, TrimtabError


def costs_of_panel(panel: Panel, costs: str | Costs | None) -> tuple[Costs, ...]:
    """(N,) Costs: "venue" (or None) takes each instrument's preset, another text a preset by name, Costs themselves."""
    if isinstance(costs, Costs):
        return (costs,) * len(panel.instruments)
    if costs is None or costs == "venue":
        return tuple(costs_for(i) for i in panel.instruments)
    return (preset(costs),) * len(panel.instruments)


def style_of(spec: Spec) -> Style:
    """The spec's execution, rebalance and volume rules as numbers."""
    sent, again = spec.execution, spec.rebalance
    return Style(
        ORDER_KINDS.index(sent.kind),
        sent.offset,
        TIFS.index(sent.tif),
        int(sent.post_only),
        int(spec.volume == "ignore"),
        int(resizes(again)),
        again.buffer,
        spec.seed,
    )


def setup_of(spec: Spec, panel: Panel, costs: tuple[Costs, ...]) -> Setup:
    """What the driver needs beside bars and weights; refuses what the accounts cannot hold."""
    check_currencies(spec, panel)
    check(spec, costs)
    _check_caps(spec, panel)
    _check_volume(spec, panel)
    terms = terms_of(panel.instruments, costs, spec.base_currency)
    first = market_of(panel, spec.base_currency).mark[0]
    rates = np.ones(int(terms["wallet"].max()) + 1)
    rates[terms["wallet"]] = np.where(terms["column"] >= 0, first[terms["column"]], 1.0)
    capital, cash = opening_of(spec, panel, rates)
    rules, rule_bounds = compiled_rules(spec.rules) if spec.rules else (NO_RULES, NOTHING)
    setup = Setup(
        terms,
        spec.limits,
        style_of(spec),
        capital,
        len(spec.models),
        flows=flows_of(spec, panel),
        groups=groups_of(spec.caps, panel.instruments, model_names(spec.models)),
        cash=cash,
        rules=rules,
        rule_bounds=rule_bounds,
    )
    return watched(setup, panel, spec.base_currency)


def _check_volume(spec: Spec, panel: Panel) -> None:
    """An instrument without any volume can never fill: better said before the run than after."""
    if spec.volume == "ignore":
        return
    silent = prepared(panel).silent
    if silent:
        raise TrimtabError(
            f'{", ".join(silent)}: no bar has a known volume, so no order could fill. Say volume="ignore" '
            "(`volume: ignore` in a spec) to fill regardless of volume."
        )


def _check_caps(spec: Spec, panel: Panel) -> None:
    """A cap names a kind of instrument that there is, or a venue of the book; bounds.check asks about its models."""
    classes = dict.fromkeys((*ASSET_CLASSES, *(i.asset_class for i in panel.instruments)))
    venues = dict.fromkeys(i.venue for i in panel.instruments)
    for path, problem in strangers(spec.caps, asset_classes=classes, venues=venues):
        raise TrimtabError(f"{path}: {problem}")
