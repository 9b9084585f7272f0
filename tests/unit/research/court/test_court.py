"""Runs before the court: the ledger they stand in, what is tried beside them, and that asking twice changes nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trimtab as tt
from tests.unit.research.court.making import NEARLY_FREE, panel_from, planted, weighed
from tests.unit.research.ledger.making import batch_of, noise, panel_of, recorded
from trimtab.research.backtest import run_spec, spec_of
from trimtab.research.court.case import case_of
from trimtab.research.court.court import hold, lawful
from trimtab.research.court.field import finding_of, judge_all, spec_at
from trimtab.research.court.field_table import markdown, rows_of
from trimtab.research.court.finding import FAILED, PASSED
from trimtab.research.court.verdict import FAIL, NOT_ENOUGH, PASS, plain
from trimtab.research.inference.sharpe import hurdle, moments_of
from trimtab.research.ledger.record import record_run
from trimtab.strategies import find
from trimtab.types import NotEnoughData, TrimtabError

PEEK = """
from typing import NamedTuple
from numba import njit
from trimtab import Strategy

class Params(NamedTuple):
    window: int = 1

class Peeked(NamedTuple):
    rows: int

@njit(cache=True)
def init(p):
    return Peeked(0)

@njit(cache=True)
def step(p, s, x):
    return Peeked(s.rows + 1), 1.0 if x[0, 1] > x[0, 0] else -1.0

STRATEGY = Strategy(
    name="peek", params=Params(), ranges={"window": (1, 9)}, fields=("close", "tomorrow"), init=init, step=step,
    warmup=lambda p: 1,
)
"""


def moments_recorded(run: Any) -> Any:
    return moments_of(run.curves.returns(run.curves.equity))


# --- the case --------------------------------------------------------------------------------------------------------


def test_a_case_is_the_record_and_what_the_ledger_holds(ledger: Path) -> None:
    panel = panel_of(200)
    runs = [weighed(panel, seed) for seed in range(5)]
    case = case_of(runs[2])
    assert case.moments.n == 200
    assert case.moments == pytest.approx(moments_recorded(runs[2]), rel=1e-6)
    assert case.trials.sharpe == pytest.approx([moments_recorded(run).sharpe for run in runs], rel=1e-5)
    assert (case.entries, case.head) == (5, runs[-1].recorded and runs[-1].recorded.head)
    raw = case.counts[0]
    variance = float(np.var(case.trials.sharpe, ddof=1))
    assert (raw.trials, raw.hurdle) == (5, pytest.approx(hurdle(5.0, variance), rel=1e-9))
    assert case.strictest.hurdle == max(count.hurdle for count in case.counts)
    assert case.annual(0.1) == pytest.approx(0.1 * math.sqrt(365))


def test_a_run_outside_the_ledger_is_refused(ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = panel_of(100)
    with pytest.raises(TrimtabError, match="not in the trial ledger, and without it nobody knows how much was tried"):
        hold(run_spec(spec_of("sma_cross", panel), panel))
    run = weighed(panel, 0)
    weighed(panel, 1)
    monkeypatch.setenv("TRIMTAB_TRIALS", str(tmp_path / "other"))
    with pytest.raises(TrimtabError, match="does not hold this run"):
        hold(run, stressed=False)
    weighed(panel, 1)  # another trial of the same hypothesis does not stand in for it
    with pytest.raises(TrimtabError, match="does not hold this run"):
        hold(run, stressed=False)


def test_weights_that_were_given_are_not_run_in_other_ways(ledger: Path) -> None:
    with pytest.raises(TrimtabError, match="stressed=False"):
        hold(weighed(panel_of(100), 0))


def test_asking_twice_changes_nothing(ledger: Path) -> None:
    panel = panel_of(300)
    spec = spec_of("sma_cross", panel, {"fast": 5, "slow": 20})
    documents = [plain(hold(record_run(run_spec(spec, panel)), stressed=False).verdict) for _ in range(3)]
    assert documents[0] == documents[1] == documents[2]
    assert documents[0]["entries"] == 1
    stressed = hold(record_run(run_spec(spec, panel)))
    assert stressed.verdict.entries == 1  # what it rests on was asked by runs that are no trials
    assert stressed.verdict.hurdles == hold(record_run(run_spec(spec, panel))).verdict.hurdles
    assert {each.name for each in stressed.verdict.findings if not each.decides} == {
        "psr", "spa", "bootstrap", "jitter", "cost_multiple", "noise", "entries", "starts", "periods", "capacity",
    }  # fmt: skip


# --- verdicts on real runs -------------------------------------------------------------------------------------------


def test_a_planted_edge_passes_and_the_same_without_costs_fails(ledger: Path) -> None:
    panel, side = planted(600, 0.25, seed=0)
    verdict = hold(tt.simulate(panel, side, costs=NEARLY_FREE), stressed=False).verdict
    assert verdict.word == PASS
    free = hold(tt.simulate(panel, side, costs=tt.Costs()), stressed=False).verdict
    assert free.word == FAIL
    assert free.reasons == ("Net of costs: every fill was free, which no venue offers",)


def test_too_few_days(ledger: Path) -> None:
    for rows in (5, 59):
        panel, side = planted(rows, 0.5, seed=0)
        verdict = hold(tt.simulate(panel, side, costs=NEARLY_FREE), stressed=False).verdict
        assert verdict.word == NOT_ENOUGH
        # Nothing is held on the first day: a decision trades at the next open.
        assert f"{61 - rows} more days in the market" in verdict.needed
        lost = hold(tt.simulate(panel, -side, costs=NEARLY_FREE), stressed=False).verdict
        assert lost.word == NOT_ENOUGH  # so few say nothing against it either


def test_a_book_that_lost_everything_fails(ledger: Path) -> None:
    returns = np.full(120, 0.001)
    returns[60] = 3.0
    panel = panel_from(returns)
    run = tt.simulate(panel, np.full(120, -1.0), costs=NEARLY_FREE, limits=tt.Limits(gross_leverage=5.0))
    verdict = hold(run, stressed=False).verdict
    assert verdict.word == FAIL
    assert "lost all that it had" in verdict.reasons[0]
    weighed(panel, 0)  # what lies in ruins is still a trial of the others
    assert hold(weighed(panel, 1), stressed=False).verdict.hurdles[0].trials == 3


def test_a_thousand_copies_of_one_idea_do_not_hide_a_dozen_others(ledger: Path) -> None:
    """Copies spread little: counting all of them would ask for less than counting the ideas."""
    panel, side = planted(400, 0.2, seed=1)
    own = tt.simulate(panel, side, costs=NEARLY_FREE)
    assert hold(own, stressed=False).verdict.word == PASS
    ts, record = own.curves.ts, own.curves.returns(own.curves.equity)
    copies = record + 1e-4 * noise(1_000, 400)
    recorded(ledger, batch_of(copies, ts=ts, strategy="weights"))
    found = {(count.scope, count.how): count for count in case_of(own).counts}
    assert found["hypothesis", "every trial"].trials == 1_001
    assert found["hypothesis", "groups of trials"].trials == 1
    alone = case_of(own).strictest.hurdle
    recorded(ledger, *(batch_of(noise(1, 400, seed), seed, ts=ts, strategy=f"other {seed}") for seed in range(12)))
    case = case_of(own)
    found = {(count.scope, count.how): count for count in case.counts}
    raw, groups = found["family", "every trial"], found["family", "groups of trials"]
    assert (raw.trials, groups.trials) == (1_013, 13)
    assert case.strictest == groups
    assert groups.hurdle > raw.hurdle > alone
    assert found["hypothesis", "every trial"].trials == 1_001  # the others are of its family, not its hypothesis


def test_a_strategy_that_peeks_fails_however_good_its_record_is(ledger: Path, tmp_path: Path) -> None:
    path = tmp_path / "peek.py"
    path.write_text(PEEK)
    bars = panel_of(200)
    tomorrow = np.append(bars.values[1:, 0, 3], bars.values[-1, 0, 3])[:, None, None]
    values = np.concatenate((bars.values, tomorrow), axis=2)
    panel = tt.Panel(bars.ts, bars.instruments, (*bars.fields, "tomorrow"), values, bars.timeframe)
    assert lawful(tt.backtest("sma_cross", panel, params={"fast": 5, "slow": 20})) == ()
    verdict = hold(record_run(run_spec(spec_of(str(path), panel), panel)), stressed=False).verdict
    found = {each.name: each for each in verdict.findings}
    assert found["dsr"].outcome == PASSED
    assert (found["laws"].outcome, found["laws"].decides, verdict.word) == (FAILED, True, FAIL)
    assert verdict.needed == (f"trimtab check {path}",)
    assert "tomorrow" in verdict.reasons[0]


# --- several at once -------------------------------------------------------------------------------------------------


def test_the_order_of_names_changes_nothing_but_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, panel = ("sma_cross", "momentum", "buy_and_hold"), panel_of(420)
    found: list[dict[str, dict[str, Any]]] = []
    for k, order in enumerate((names, names[::-1])):
        monkeypatch.setenv("TRIMTAB_TRIALS", str(tmp_path / str(k)))
        judged, refused = judge_all(order, panel)
        assert (refused, tuple(each.name for each in judged)) == ((), order)
        assert len({each.held.case.head for each in judged}) == 1  # all against the same ledger
        found.append({row["strategy"]: row for row in rows_of(judged)})
    for name in names:
        one, other = (each[name] for each in found)
        assert {k: v for k, v in one.items() if not isinstance(v, float)} == {
            k: v for k, v in other.items() if not isinstance(v, float)
        }
        for key in ("sharpe", "hurdle", "dsr", "pbo", "q"):
            assert one[key] == pytest.approx(other[key], rel=1e-9), (name, key)


def test_false_discoveries_are_controlled_among_all(ledger: Path) -> None:
    judged, _ = judge_all(("sma_cross", "momentum", "buy_and_hold"), panel_of(420))
    p = sorted(1.0 - (finding_of(each.held, "psr").figure or 0.0) for each in judged)
    q = sorted(each.q for each in judged)
    assert q[-1] == pytest.approx(p[-1], rel=1e-12)
    assert all(b >= a - 1e-12 for a, b in zip(p, q, strict=True))


def test_a_strategy_that_the_bars_do_not_suit_is_told(ledger: Path) -> None:
    judged, refused = judge_all(("sma_cross", "vpin", "momentum"), panel_of(120))
    assert [each.name for each in judged] == ["sma_cross"]
    told = {each.name: each.why for each in refused}
    assert "made for 15m, 30m, 1h, which bars of 1d do not make up" in told["vpin"]
    assert "momentum" in told  # needs more rows than there are
    text = markdown(judged, refused)
    assert "| `sma_cross` | 1d |" in text
    assert text.count("was not run:") == 2
    assert "nan" not in text
    hours = panel_of(300, timeframe="1h")
    assert spec_at(find("drift_significance"), "drift_significance", hours, 5_000.0).models[0].timeframe == "4h"
    assert spec_at(find("sma_cross"), "sma_cross", hours, 5_000.0).models[0].timeframe == ""
    with pytest.raises(NotEnoughData, match="do not make up"):
        spec_at(find("vpin"), "vpin", panel_of(120), 5_000.0)


def test_none_that_could_be_run() -> None:
    assert markdown((), ()) == "No strategy could be run.\n"
