"""What comparing two runs found, as plain values and as one HTML page that opens without a network."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from trimtab.research.parity import CAUSES, Difference, Parity
from trimtab.types import DAY
from trimtab.words import utc

#: Differences that the page lists.
MOST: Final = 500


def headline(p: Parity) -> str:
    """The answer in one sentence."""
    within = f" within {p.tolerance:g}" if p.tolerance else ", to the last bit"
    if p.equal:
        return f"Equal{within}: {p.matched:,} trades, and the equity at each of {len(p.curves[0]):,} rows."
    differ = len({d.trade for d in p.differences if d.trade >= 0})
    told = f"Different: {differ:,} trade{'' if differ == 1 else 's'} of {trades_of(p):,}"
    if p.difference == 0.0:
        return f"{told}; the final equity is the same."
    word = "more" if p.difference > 0.0 else "less"
    own = {name: abs(money - follows) for name, (_, money, follows) in p.causes.items()}
    most = max(own, key=lambda name: own[name], default="")
    due = f"; what made the most of it: {most}" if most and own[most] > 0.0 else ""
    return (
        f"{told}; the first run ends with {abs(p.difference):,.2f} {p.currency} {word} "
        f"({p.bps(p.difference):+,.2f} bps of its equity){due}."
    )


def amount(value: float, sign: str = "") -> str:
    """A figure with two decimals, and zero without a sign."""
    text = format(value, f"{sign},.2f")
    return "0.00" if not float(text.replace(",", "")) else text


def trades_of(p: Parity) -> int:
    """Orders that filled in either run."""
    return p.matched + sum(1 for trade in p.trades if None in trade.filled)


def sums_of(p: Parity) -> list[tuple[str, str, int | None, float, float]]:
    """The lines that add up to the difference of the final equities: name, meaning, trades, money, of which follows."""
    rows: list[tuple[str, str, int | None, float, float]] = []
    if p.before:
        rows.append(("before", "equity at the start, and cash paid in since", None, p.before, 0.0))
    rows += [(name, CAUSES[name], trades, money, follows) for name, (trades, money, follows) in p.causes.items()]
    rows.append(("residual", "what no cause explains", None, p.residual, 0.0))
    return rows


def decided_of(p: Parity, d: Difference) -> int | None:
    """When the order of a difference was decided; None: it is no trade's."""
    return next((ts for ts in p.trades[d.trade].decided if ts is not None), None) if d.trade >= 0 else None


def plain(p: Parity) -> dict[str, Any]:
    """Everything as plain values for JSON; instants as text, UTC."""

    def at(ts: int | None) -> str | None:
        return None if ts is None else utc(ts)

    return {
        "runs": list(p.names),
        "equal": p.equal,
        "tolerance": p.tolerance,
        "window": [at(ts) for ts in p.window],
        "whole": p.whole,
        "currency": p.currency,
        "matched": p.matched,
        "trades": trades_of(p),
        "final_equity": list(p.final),
        "difference": p.difference,
        "difference_bps": p.bps(p.difference),
        "worst": p.worst,
        "before": p.before,
        "residual": p.residual,
        "causes": {
            name: {"trades": trades, "money": money, "bps": p.bps(money), "follows": follows}
            for name, (trades, money, follows) in p.causes.items()
        },
        "differences": [_plain(p, d, at) for d in p.differences],
        "notes": list(p.notes),
        "verdict": headline(p),
    }


def _plain(p: Parity, d: Difference, at: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "trade": d.trade if d.trade >= 0 else None,
        "cause": d.cause,
        "symbol": d.symbol,
        "money": d.money,
        "bps": p.bps(d.money),
        "quote_money": d.quote,
        "quote": d.currency,
        "follows": d.follows,
        "words": d.words,
    }
    if d.trade >= 0:
        trade = p.trades[d.trade]
        found |= {
            "side": trade.side,
            "decided": [at(ts) for ts in trade.decided],
            "filled": [at(ts) for ts in trade.filled],
            "lots": list(trade.lots),
            "price": [None if math.isnan(price) else price for price in trade.price],
            "fee": list(trade.fee),
        }
    return found


def render_page(p: Parity) -> str:
    """The page as text, in the report's style and with its script."""
    from trimtab.research.pages import render

    return render(
        "parity.html.j2",
        charts_of(p),
        p=p,
        verdict=headline(p),
        window=" to ".join(utc(ts)[:10] for ts in p.window),
        causes=[
            {
                "name": name,
                "meaning": meaning,
                "trades": "" if trades is None else f"{trades:,}",
                "money": amount(money),
                "bps": amount(p.bps(money), "+"),
                "follows": amount(follows) if follows else "",
            }
            for name, meaning, trades, money, follows in (
                *sums_of(p), ("all", "difference of the final equities", None, p.difference, 0.0)
            )
        ],
        rows=[_row(p, d) for d in p.differences[:MOST]],
        total=len(p.differences),
    )  # fmt: skip


def _row(p: Parity, d: Difference) -> dict[str, str]:
    when, trade = decided_of(p, d), p.trades[d.trade] if d.trade >= 0 else None
    lots = "" if trade is None else " / ".join(f"{x:,}" if x else "–" for x in trade.lots)
    price = "" if trade is None else " / ".join("–" if math.isnan(x) else f"{x:,.8g}" for x in trade.price)
    return {
        "when": "" if when is None else utc(when)[:16].replace("T", " "),
        "symbol": d.symbol,
        "side": "" if trade is None else trade.side,
        "cause": d.cause,
        "money": amount(d.money),
        "bps": amount(p.bps(d.money), "+"),
        "lots": lots,
        "price": price,
        "words": d.words,
    }


def charts_of(p: Parity) -> dict[str, Any]:
    """Both equities, their difference in basis points, and the money by cause."""
    import plotly.graph_objects as go

    from trimtab.research import figures

    ts, one, two = p.curves
    at = figures.thin(one, two, one - two)
    daily = len(ts) < 2 or int(np.median(np.diff(ts))) >= DAY
    x = figures.stamps(ts[at], daily)
    equity = figures.frame(f"equity, {p.currency}", "~s")
    shown = {"hovertemplate": "%{y:,.2f}"}
    equity.add_trace(figures.line("The first run", x, one[at], figures.NET, width=2.2, **shown))
    equity.add_trace(figures.line("The second run", x, two[at], figures.GROSS, dash="dot", **shown))
    apart = figures.frame("difference, bps", "~f")
    apart.add_trace(
        figures.line(
            "First less second", x, (one - two)[at] / p.basis * 1e4, figures.INK, hovertemplate="%{y:+,.2f} bps"
        )
    )
    apart.add_hline(y=0.0, line_color=figures.MUTED, line_width=1)
    found = {"equity": equity, "difference": apart}
    money = [(name, amount) for name, _, _, amount, _ in sums_of(p) if abs(amount) > 1e-9 * abs(p.basis)]
    if money:
        bars = figures.frame("", "", dates=False, showlegend=False, hovermode="closest")
        names, values = zip(*reversed(money), strict=True)
        colours = [figures.GOOD if value > 0.0 else figures.BAD for value in values]
        bars.add_trace(
            go.Bar(
                x=values, y=names, orientation="h", marker={"color": colours},
                hovertemplate=f"%{{y}}: %{{x:+,.2f}} {p.currency}<extra></extra>",
            )
        )  # fmt: skip
        bars.update_xaxes(title_text=f"first less second, {p.currency}", tickformat="~s", nticks=7)
        bars.update_yaxes(tickformat=None, showgrid=False)
        found["causes"] = bars
    return found
