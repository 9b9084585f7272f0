"""`trimtab check`: the laws of design, run on one strategy. What a broken law usually means is part of the answer.

A step sees one row at a time, so it cannot look ahead by mistake in the usual way; what breaks a strategy is memory
outside State, an index past the row, a table from a file, or a warm-up that is not what it says. An indicator sees a
frame, and may look at its later rows. The laws find these on the user's own bars or on synthetic ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from trimtab.research import (
    check_anchor,
    check_contract,
    check_fields,
    check_fit,
    check_forecasts,
    check_legs,
    check_memory,
    check_money,
    check_path,
    check_robustness,
)
from trimtab.research.check_columns import Slow
from trimtab.research.check_subject import Finding, Subject, missing_fields, subject_of, synthetic_for, warmup_of
from trimtab.strategies import params_of
from trimtab.types import NotEnoughData, Panel, Strategy, TrimtabError

__all__ = ["LAWS", "Finding", "Slow", "check_strategy"]


def _always(strategy: Strategy) -> bool:
    return True


def _has_legs(strategy: Strategy) -> bool:
    return strategy.legs is not None


def _has_fit(strategy: Strategy) -> bool:
    return strategy.fit is not None


def _has_across(strategy: Strategy) -> bool:
    return strategy.across is not None


def _has_indicators(strategy: Strategy) -> bool:
    return bool(strategy.indicators)


def _has_fields(strategy: Strategy) -> bool:
    return bool(check_fields.made_before(strategy))


class Law(NamedTuple):
    """A law by name: how it is checked, what a pass means, and whether it applies to a strategy."""

    name: str
    check: Callable[[Subject], list[Finding]]
    held: str
    applies: Callable[[Strategy], bool] = _always


LAWS: Final[tuple[Law, ...]] = (
    Law("contract", check_contract.contract, "compiles, State keeps its types, init gives memory of its own"),
    Law("fit", check_fit.fit, "a function of its window alone; before the first one the strategy abstains", _has_fit),
    Law("split", check_forecasts.split, "cut anywhere and resumed from a snapshot: the same forecasts, bit for bit"),
    Law("prefix", check_forecasts.prefix, "nothing after a row changes its forecast: no look-ahead"),
    Law("fields", check_fields.fields, "no column that came with the data knows later rows", _has_fields),
    Law("determinism", check_forecasts.determinism, "the same twice, side by side and in a fresh process"),
    Law("anchor", check_anchor.anchor, "where the frames of indicators begin does not matter: 1e-9", _has_indicators),
    Law("purity", check_contract.purity, "knows only its parameters, its state and its row, and leaves the row alone"),
    Law("range", check_robustness.in_range, "forecasts are NaN or within -1 to 1, also on still and wild prices"),
    Law("warm-up", check_memory.warm_up, "the first forecast comes after the declared warm-up"),
    Law("missing data", check_robustness.missing, "comes back after missing values"),
    Law("history", check_memory.history, "measured"),
    Law("legs", check_legs.legs, "leg weights add up to the forecast", _has_legs),
    Law("across", check_legs.across, "a function of its row alone", _has_across),
    Law("parameters", check_robustness.parameters, "runs at both ends of every range and at random points inside"),
    Law("path", check_path.path, "orders, fills and equity up to a row do not change with what comes after it"),
    Law("conservation", check_money.conservation, "equity is cash, marks and carry; models add up to the book"),
    Law("gate", check_path.gate, "under tight limits nothing was allowed beyond them"),
)


def check_strategy(
    strategy: Strategy,
    panel: Panel | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    series: Mapping[str, Slow] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Finding]:
    """Run the laws on a strategy: one Finding per law that held, one or more per law that was broken.

    panel     the bars to check on; None: synthetic ones (`synthetic_panel`), long enough for its warm-up
    params    by name; the strategy's defaults for the rest
    seed      of the synthetic bars and of the random cuts: the same seed finds the same breaks
    series    published series by name, with the instants from which each value may be used: columns of the panel that
              show them earlier break the law of fields
    progress  told (law, laws done, laws in all)

    A law that has no meaning for the strategy (fit, fields, anchor, legs, across) is left out, and so are all others
    where the contract is broken. TrimtabError for parameters and timeframes that do not fit, NotEnoughData for a panel
    that is too short.
    """
    given = dict(params or {})
    found = _contradiction(strategy, given)
    if found:
        return [found]
    if panel is None:
        panel = synthetic_for(strategy, warmup_of(strategy, params_of(strategy, given)), seed)
    absent = missing_fields(strategy, panel)
    if absent:
        return [_absent(field, panel) for field in absent]
    subject = subject_of(strategy, panel, given, seed, series)
    laws = [law for law in LAWS if law.applies(strategy)]
    findings: list[Finding] = []
    for n, law in enumerate(laws):
        if progress is not None:
            progress(f"checking {law.name}", n, len(laws))
        findings.extend(judge(law, subject))
        if law.name == "contract" and not findings[-1].passed:
            blocked = f"{findings[-1].message}. Until it is mended no other law can be tested: not {_listed(laws[1:])}"
            findings[-1] = msgspec.structs.replace(findings[-1], message=blocked)
            break
    return findings


def _listed(laws: Sequence[Law]) -> str:
    *most, last = (law.name for law in laws)
    return f"{', '.join(most)} or {last}"


def judge(law: Law, subject: Subject) -> list[Finding]:
    """What one law says; what a strategy raises on the way is a break of that law."""
    try:
        found = law.check(subject)
    except NotEnoughData:
        raise
    except TrimtabError as error:
        return [Finding(law.name, False, None, None, f"cannot be tested: {error}. Mend the laws above first")]
    except Exception as error:  # whatever a user's functions may raise
        message, field = check_contract.explain(subject.strategy, subject.params, subject.units[0].x, error)
        return [Finding(law.name, False, field, None, message)]
    return [msgspec.structs.replace(f, law=law.name) for f in found] or [Finding(law.name, True, None, None, law.held)]


def _contradiction(strategy: Strategy, given: Mapping[str, Any]) -> Finding | None:
    """warmup is plain Python of the user's: what it raises beside a refusal is a break of the contract."""
    try:
        warmup_of(strategy, params_of(strategy, given))
    except TrimtabError:
        raise
    except Exception as error:  # whatever a user's warmup may raise
        where = check_contract.file_of(strategy)
        message = (
            f"{where}: warmup raised {type(error).__name__}: {error}. It gets Params and must return the whole number "
            "of rows before the first forecast"
        )
        return Finding("contract", False, "warmup", None, message)
    return None


def _absent(field: str, panel: Panel) -> Finding:
    slower = "; slower series are loaded as features, such as close@1d" if "@" in field else ""
    return Finding(
        "contract",
        False,
        field,
        None,
        f"the strategy reads the field {field!r}, which the data does not have: it has {', '.join(panel.fields)}, and "
        f"ticks{slower}. Correct STRATEGY.fields, or check on data with that column",
    )
