"""What walk-forward and cross-validation found, in words, as plain values, and as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from trimtab.research.choosing import value_at
from trimtab.research.crossval import Crossed
from trimtab.research.drawdown import max_drawdown
from trimtab.research.metrics_table import METRICS, format_metric
from trimtab.research.ratios import cagr, equity_from_returns, volatility
from trimtab.research.walkforward import Stability, Walk, Walked, efficiency_of, unsold
from trimtab.research.windowed import Sets
from trimtab.words import day_of, utc

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from trimtab.research.choosing import Criterion

#: Rows of a table, lines of a chart, and parameters that the page shows.
MOST: Final = 500
LINES: Final = 60
PARAMETERS: Final = 6
#: From here on the order of the sets is said to carry over, or to turn round.
ORDER: Final = 0.1


# ---------------------------------------------------------------------------------------------------------------------
# In words
# ---------------------------------------------------------------------------------------------------------------------


def headline(found: Walked | Crossed) -> str:
    """The answer in a sentence or two."""
    return _of_walk(found) if isinstance(found, Walked) else _of_paths(found)


def _of_walk(w: Walked) -> str:
    days, total = w.returns.size, float(w.equity[-1] / w.capital - 1.0)
    fall = max_drawdown(equity_from_returns(w.returns))
    folds = f"{len(w.folds)} fold{'' if len(w.folds) == 1 else 's'}"
    first = f"Out-of-sample over {folds} and {days:,} days, net of costs: {total:+.1%}, Sharpe {number(w.sharpe)}"
    told = [f"{first}, deepest fall {fall:.1%}."]
    if math.isnan(w.efficiency):
        told.append("In-sample nothing was earned, so there was nothing to keep.")
    else:
        kept = f"Of the daily return in-sample {w.efficiency:.0%} was kept."
        told.append(kept if w.efficiency >= 0.0 else "What was earned in-sample turned into a loss.")
    return " ".join([*told, *_order(w.sets, w.correlation)])


def _of_paths(c: Crossed) -> str:
    paths, days = c.paths.shape
    below = f"{c.share_below(0.0):.0%} of them below 0"
    if not math.isnan(c.hurdle):
        below += f" and {c.share_below(c.hurdle):.0%} below {c.hurdle:g}"
    first = (
        f"{paths:,} path{'' if paths == 1 else 's'} of {days:,} days out of {len(c.splits):,} splits, net of costs: "
        f"Sharpe {number(c.mean)} on average, deviation {number(c.deviation)}, {below}."
    )
    return " ".join([first, *_order(c.sets, c.correlation)])


def _order(sets: Sets, correlation: float) -> list[str]:
    """Does the order of the sets in-sample say anything about that out-of-sample?"""
    if not sets.names:
        return ["The parameters were fixed: nothing was chosen."]
    if math.isnan(correlation):
        return []
    carried = "carried over in part" if correlation >= ORDER else "told nothing"
    said = "turned round" if correlation <= -ORDER else carried
    return [f"The order of the sets in-sample {said} (rank correlation {correlation:+.2f})."]


def number(value: float) -> str:
    """A ratio with two decimals; an en dash where it is undefined."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def metric_text(criterion: Criterion, value: float) -> str:
    """A value of the metric with its unit."""
    metric = METRICS.get(criterion.name)
    if metric is not None:
        return format_metric(metric, value)
    return "–" if math.isnan(value) else f"{value:,.6g}"


def short_names(sets: Sets) -> dict[str, str]:
    """Path -> what a column is headed by: the parameter, with its model's number where several models vary."""
    several = len({name.split(".")[1] for name in sets.names}) > 1
    return {
        name: f"{name.split('.')[1]}.{name.rsplit('.', 1)[-1]}" if several else name.rsplit(".", 1)[-1]
        for name in sets.names
    }


def chosen_text(sets: Sets, k: int) -> str:
    """The set in a few words: fast 10, slow 50."""
    names = short_names(sets)
    return ", ".join(f"{names[path]} {value}" for path, value in sets.told(k).items()) or ("aside" if k < 0 else "–")


def notes_of(found: Walked | Crossed) -> tuple[str, ...]:
    """What a reader has to know besides."""
    if isinstance(found, Walked):
        return found.notes
    told: list[str] = []
    aside = sum(split.chosen < 0 for split in found.splits)
    if aside:
        told.append(f"{aside:,} of {len(found.splits):,} splits stand aside: no set had a {found.criterion.label}")
    if len(found.sets.specs) == 1 and len(found.paths) > 1:
        told.append("there is one set, so all paths are the same")
    if found.left > 0.0:
        told.append(unsold("in some group", found.left))
    return tuple(told)


# ---------------------------------------------------------------------------------------------------------------------
# As plain values
# ---------------------------------------------------------------------------------------------------------------------


def plain(found: Walked | Crossed) -> dict[str, Any]:
    """Everything as plain values for JSON; instants as text, UTC; NaN where undefined."""
    shared: dict[str, Any] = {
        "metric": found.criterion.name,
        "periods": found.criterion.periods,
        "sets": len(found.sets.specs),
        "rank_correlation": found.correlation,
        "stability": [_plain_stability(one) for one in found.stability],
        "notes": list(notes_of(found)),
        "verdict": headline(found),
    }
    return (_plain_walk(found) if isinstance(found, Walked) else _plain_paths(found)) | shared


def _plain_walk(w: Walked) -> dict[str, Any]:
    returns = w.returns
    return {
        "kind": "walk-forward",
        "scheme": msgspec.structs.asdict(w.scheme),
        "folds": [_plain_fold(w, fold) for fold in w.folds],
        "out_of_sample": {
            "days": returns.size,
            "total_return": float(w.equity[-1] / w.capital - 1.0),
            "cagr": cagr(returns, w.criterion.periods),
            "volatility_annual": volatility(returns, w.criterion.periods),
            "sharpe": w.sharpe,
            "max_drawdown": max_drawdown(equity_from_returns(returns)),
            "trades": sum(fold.trades for fold in w.folds),
            "costs": math.fsum(fold.costs for fold in w.folds),
        },
        "efficiency": w.efficiency,
        "capital": w.capital,
        "curve": {"ts": [utc(ts) for ts in w.ts], "returns": returns.tolist()},
    }


def _plain_fold(w: Walked, fold: Walk) -> dict[str, Any]:
    k = fold.chosen
    return {
        "in_sample": [utc(ts) for ts in fold.train],
        "out_of_sample": [utc(ts) for ts in fold.test],
        "chosen": w.sets.told(k) if k >= 0 else None,
        "inside": value_at(fold.inside, k),
        "outside": value_at(fold.outside, k),
        "efficiency": efficiency_of(fold),
        "rank_correlation": fold.correlation,
        "total_return": total_of(fold),
        "days": fold.returns.size,
        "trades": fold.trades,
        "costs": fold.costs,
        "left": fold.left,
        "halted": fold.halted,
    }


def _plain_paths(c: Crossed) -> dict[str, Any]:
    return {
        "kind": "cross-validation",
        "scheme": msgspec.structs.asdict(c.how),
        "groups": [utc(c.ts[last - 1]) for last in c.edges[1:]],
        "splits": [
            {
                "held_out": list(split.held),
                "chosen": c.sets.told(split.chosen) if split.chosen >= 0 else None,
                "inside": value_at(split.inside, split.chosen),
                "outside": value_at(split.outside, split.chosen),
                "days": split.days,
                "rank_correlation": split.correlation,
            }
            for split in c.splits
        ],
        "paths": {
            "count": len(c.paths),
            "days": c.paths.shape[1],
            "sharpes": c.sharpes.tolist(),
            "mean": c.mean,
            "deviation": c.deviation,
            "below_zero": c.share_below(0.0),
            "hurdle": c.hurdle,
            "below_hurdle": c.share_below(c.hurdle),
        },
    }


def _plain_stability(one: Stability) -> dict[str, Any]:
    return {"parameter": one.name, "mode": one.mode, "share": one.share, "dispersion": one.dispersion}


def total_of(fold: Walk) -> float:
    """A fold's return out-of-sample, fraction."""
    return float(np.prod(1.0 + fold.returns)) - 1.0


# ---------------------------------------------------------------------------------------------------------------------
# As tables and a page
# ---------------------------------------------------------------------------------------------------------------------


def fold_rows(w: Walked) -> list[list[str]]:
    """A row per fold; `fold_heads` says what of."""
    return [
        [
            str(f + 1),
            *(day_of(ts) for ts in (*fold.train, *fold.test)),
            chosen_text(w.sets, fold.chosen),
            metric_text(w.criterion, value_at(fold.inside, fold.chosen)),
            metric_text(w.criterion, value_at(fold.outside, fold.chosen)),
            f"{total_of(fold):.2%}",
            f"{fold.returns.size:,}",
            f"{fold.trades:,}",
            f"{fold.costs:,.0f}",
        ]
        for f, fold in enumerate(w.folds)
    ]


def fold_heads(w: Walked) -> list[str]:
    """What the columns of `fold_rows` are headed by."""
    return [
        "Fold", "In-sample\nfrom", "In-sample\nto", "Traded\nfrom", "Traded\nto", "Chosen",
        f"{w.criterion.label}\nin-sample", "out of\nsample", "Return", "Days", "Trades", "Costs",
    ]  # fmt: skip


STABILITY_HEADS: Final = ("Parameter", "Chosen most", "Share", "Dispersion")


def stability_rows(found: Walked | Crossed) -> list[list[str]]:
    """A row per parameter that varies."""
    names = short_names(found.sets)
    return [
        [names[s.name], str(s.mode), "–" if math.isnan(s.share) else f"{s.share:.0%}", number(s.dispersion)]
        for s in found.stability
    ]


def path_rows(c: Crossed) -> list[list[str]]:
    """The distribution of the paths' Sharpe: name and figure."""
    known = np.sort(c.sharpes[~np.isnan(c.sharpes)])
    quantiles = np.quantile(known, (0.0, 0.5, 1.0)) if known.size else np.full(3, np.nan)
    lowest, middle, highest = (float(q) for q in quantiles)
    rows = [
        ["Splits", f"{len(c.splits):,}"],
        ["Paths", f"{len(c.paths):,}"],
        ["Mean Sharpe", number(c.mean)],
        ["Deviation", number(c.deviation)],
        ["Lowest", number(lowest)],
        ["Middle", number(middle)],
        ["Highest", number(highest)],
        ["Below 0", f"{c.share_below(0.0):.0%}"],
    ]
    return rows if math.isnan(c.hurdle) else [*rows, [f"Below {c.hurdle:g}", f"{c.share_below(c.hurdle):.0%}"]]


def split_rows(c: Crossed) -> list[list[str]]:
    """A row per split, the first MOST of them."""
    return [
        [
            ", ".join(str(g + 1) for g in split.held),
            chosen_text(c.sets, split.chosen),
            metric_text(c.criterion, value_at(split.inside, split.chosen)),
            metric_text(c.criterion, value_at(split.outside, split.chosen)),
            f"{split.days:,}",
        ]
        for split in c.splits[:MOST]
    ]


def render_page(found: Walked | Crossed) -> str:
    """The page as text, in the report's style and with its script."""
    from trimtab.research import validation_figures as charts
    from trimtab.research.pages import render

    drawn: dict[str, go.Figure]
    if isinstance(found, Walked):
        title, drawn = "Walk-forward", charts.of_walk(found)
        good = float(found.equity[-1]) > found.capital
        tables = [_table("Folds", "net of costs; each begins and ends flat", fold_heads(found), fold_rows(found))]
        span = found.ts
    else:
        title, drawn = "Combinatorial purged cross-validation", charts.of_paths(found)
        good = found.mean > 0.0
        tables = [
            _table("Paths", "annualised Sharpe, net of costs", ["", ""], path_rows(found)),
            _table(
                "Splits", "the groups held out are counted from 1",
                ["Held out", "Chosen", "On the others", "Held out", "Training days"], split_rows(found),
            ),
        ]  # fmt: skip
        span = found.ts
    if found.sets.names:
        note = "share: of the choices; dispersion: mean step between neighbouring choices, of the range of values"
        tables.append(_table("Stability", note, STABILITY_HEADS, stability_rows(found)))
    name = found.spec.name or ", ".join(model.name or model.strategy for model in found.spec.models)
    return render(
        "validation.html.j2",
        drawn,
        title=title,
        subject=f"{name} on {', '.join(found.spec.universe)}",
        window=f"{day_of(span[0])} to {day_of(span[-1])}",
        verdict=headline(found),
        good=good,
        notes=notes_of(found),
        sections=charts.sections_of(drawn),
        tables=tables,
    )


def _table(title: str, note: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {"title": title, "note": note, "heads": [head.replace("\n", " ") for head in heads], "rows": rows}
