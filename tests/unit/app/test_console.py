"""What the terminal shows of a run, at 80 columns and less."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from trimtab.app import console
from trimtab.research.metrics_table import METRICS

NET = dict.fromkeys(METRICS, -0.123456) | {"turnover": 4.37, "trades": 1_234.0, "max_drawdown": -0.1564}


def run_of(models: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    pair = {"net": NET | {"total_return": 1.1633}, "gross": {"total_return": 1.2178}}
    return {
        "run_id": "0123456789abcdef" * 4,
        "spec": {
            "name": "A book", "universe": ["SP500", "NASDAQ", "WTI"], "timeframe": "1d", "capital": 1e6,
            "base_currency": "USD", "costs": "venue", "risk_free_rate": 0.01,
        },
        "window": "1999-01-05 to 2019-01-01",
        "metrics": {
            "net": NET, "gross": NET, "holding": {"total_return": 0.5}, "periods": 252.0,
            "models": dict.fromkeys(models, pair),
            "costs": {"fee": 4_642.3, "spread": 12_746.26, "latency": 0.0}, "break_even_cost": 0.00325,
        },
        "actions": [
            {"limit": "drawdown_derisk", "action": "SCALE", "symbol": symbol, "times": 3, "first": "2020-01-01",
             "last": "2020-02-01"} for symbol in ("the book", "NASDAQ", "SP500", "WTI")
        ],
        "notes": ["WTI: only closes were published. Open and high equal the close.", "Frictionless: it pays nothing."],
        "verdict": "Net of costs the book does not beat holding the same instruments.",
        "bundle": "results/0123", "report": None,
    } | changes  # fmt: skip


def shown(run: dict[str, Any], width: int = 80) -> list[str]:
    stream = io.StringIO()
    console.print_run(Console(file=stream, width=width, highlight=False), run)
    return stream.getvalue().splitlines()


def test_the_demo_fits_80_columns_and_breaks_no_word():
    names = ("equity_trend", "index_mean_reversion", "pairs_reversion", "momentum")
    lines = shown(run_of(names))
    assert max(map(len, lines)) <= 80
    for name in names:
        assert [line for line in lines if line.startswith(f"{name} ")]
    assert [line for line in lines if line.startswith("drawdown_derisk  scale ")]
    assert not [line for line in lines if line.endswith("·")]


@pytest.mark.parametrize("width", [72, 80, 100])
def test_a_long_name_breaks_at_its_underscores_and_figures_never(width: int):
    name = "a_very_long_name_of_a_model_of_my_own"
    lines = shown(run_of((name,)), width)
    assert max(map(len, lines)) <= width
    start = next(k for k, line in enumerate(lines) if line.startswith("Model")) + 2
    pieces: list[str] = []
    while lines[start]:
        pieces.append(lines[start][:38].split("  ")[0].strip())
        start += 1
    assert "".join(pieces) == name
    assert all(piece.endswith("_") for piece in pieces[:-1])
    assert any("116.33%" in line and "121.78%" in line for line in lines)


def test_what_is_zero_is_not_listed_and_turnover_has_its_unit():
    lines = shown(run_of(("m",)))
    assert not [line for line in lines if line.startswith("latency")]
    assert [line.split() for line in lines if line.startswith("fee")] == [["fee", "4,642.30"]]
    assert next(line for line in lines if line.startswith("Turnover per year")).split()[3:] == ["4.4x", "4.4x"]


def test_a_run_without_costs_says_so():
    run = run_of(("m",))
    run["metrics"]["costs"] = {"fee": 0.0, "latency": 0.0}
    lines = shown(run)
    assert ["none", "0.00"] in [line.split() for line in lines]


def test_what_limits_did_is_one_line_per_kind():
    lines = [line for line in shown(run_of(("m",))) if line.startswith("drawdown_derisk")]
    assert len(lines) == 1
    assert lines[0].split() == [
        "drawdown_derisk", "scale", "12", "2020-01-01", "2020-02-01", "the", "book,", "NASDAQ", "…", "(4)",
    ]  # fmt: skip


def test_notes_are_their_first_sentence_and_the_verdict_is_last():
    lines = shown(run_of(("m",)))
    assert "Note: WTI: only closes were published." in lines
    assert "Note: Frictionless: it pays nothing." in lines
    assert "Sharpe: daily returns at 00:00 UTC, annualised by 252, over 1.00% risk-free." in lines
    assert lines[-2:] == ["Bundle: results/0123", "Net of costs the book does not beat holding the same instruments."]


@pytest.mark.parametrize(
    ("rows", "total", "said"),
    [
        (1, 1, "the only set"),
        (2, 2, "all 2 sets by Sharpe ratio"),
        (1, 15, "the first 1 of 15 sets by Sharpe ratio"),
        (3, 15, "the first 3 of 15 sets by Sharpe ratio"),
    ],
)
def test_a_sweep_says_how_many_sets_there_are(rows: int, total: int, said: str):
    out = io.StringIO()
    sets = [{"models.0.params.fast": k, "sharpe": 0.5} for k in range(rows)]
    console.print_sweep(Console(file=out, width=100), sets, "sharpe", total)
    assert out.getvalue().splitlines()[-1] == said
