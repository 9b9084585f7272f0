"""Limits of the user's own from their files: loaded, named in the actions, part of the run, refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.app.config import read_spec, to_yaml

EXAMPLE = Path(__file__).parents[3] / "examples" / "thin_volume.py"
HEAD = "from trimtab.types import LimitRule\n"
BODY = "def allow(now, equity, weights, held, bars, bound):\n    weights[0] = bound\n"


def panel() -> tt.Panel:
    close = 100.0 + np.arange(60.0) % 7
    bars = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": np.full(60, 1_000.0)}
    times = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 2, 29), "1d", eager=True)
    return tt.Panel.from_frames({"X": pl.DataFrame({"open_time": times} | bars)}, timeframe="1d")


def held(rules: Any) -> tt.Run:
    return tt.backtest("buy_and_hold", panel(), costs=tt.Costs(), capital=1e6, rules=rules)


def test_a_rule_acts_under_its_own_name_and_is_part_of_the_run() -> None:
    free, bound = held(None), held([tt.RuleUse(file=str(EXAMPLE), bound=0.01)])
    assert bound.run_id != free.run_id
    acted = bound.actions.filter(pl.col("limit") == "thin_volume")
    assert len(acted) == 1
    assert acted["action"].to_list() == ["REFUSE"]  # the first close knows no average volume: NaN is no leave
    assert free.fills["quantity"].sum() > 0


def test_a_spec_names_the_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HEAD + BODY + 'RULE = LimitRule(name="mine", allow=allow)\n')
    spec = tmp_path / "spec.yaml"
    spec.write_text("universe: X\nmodels: [{strategy: buy_and_hold}]\nrules: [{file: mine.py, bound: 5%}]\n")
    read = read_spec(spec)
    assert read.rules == (tt.RuleUse(file=str(tmp_path / "mine.py"), bound=0.05),)
    (tmp_path / "again.yaml").write_text(to_yaml(read))
    assert read_spec(tmp_path / "again.yaml") == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BODY, "holds no RULE"),
        (HEAD + "RULE = 3\n", "RULE is of type int"),
        (HEAD + BODY + 'RULE = LimitRule(name="max_weight", allow=allow)\n', "a name of its own"),
        (HEAD + BODY + 'RULE = LimitRule(name="not a name", allow=allow)\n', "letters, digits and underscores"),
        (
            HEAD + 'def allow(now):\n    pass\nRULE = LimitRule(name="few", allow=allow)\n',
            "expected a function of (now,",
        ),
    ],
)
def test_what_is_no_rule_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rule.py").write_text(text)
    with pytest.raises(tt.TrimtabError, match=r"rule\.py") as caught:
        held([tt.RuleUse(file=str(tmp_path / "rule.py"))])
    assert said in str(caught.value)
    spec = tmp_path / "spec.yaml"
    spec.write_text("universe: X\nmodels: [{strategy: buy_and_hold}]\nrules:\n  - file: rule.py\n")
    with pytest.raises(tt.TrimtabError, match=r"spec\.yaml:4  rules\.0\.file"):
        read_spec(spec)


def test_what_numba_cannot_compile_is_refused(tmp_path: Path) -> None:
    body = "def allow(now, equity, weights, held, bars, bound):\n    print({}.get(object()))\n"
    (tmp_path / "rule.py").write_text(HEAD + body + 'RULE = LimitRule(name="mine", allow=allow)\n')
    with pytest.raises(tt.TrimtabError, match="cannot be compiled"):
        held([tt.RuleUse(file=str(tmp_path / "rule.py"))])


def test_two_rules_of_one_name_and_too_many_are_refused(tmp_path: Path) -> None:
    for k in range(9):
        (tmp_path / f"r{k}.py").write_text(HEAD + BODY + f'RULE = LimitRule(name="mine{k // 2}", allow=allow)\n')
    uses = [tt.RuleUse(file=str(tmp_path / f"r{k}.py")) for k in range(9)]
    with pytest.raises(tt.TrimtabError, match="at most 8"):
        held(uses)
    with pytest.raises(tt.TrimtabError, match=r"rules.1: a second rule called 'mine0'"):
        held(uses[:2])


def test_holding_is_not_bound_by_a_rule() -> None:
    free, bound = held(None), held([tt.RuleUse(file=str(EXAMPLE), bound=0.01)])
    assert bound.fills.is_empty()
    assert bound.metrics["holding"]["total_return"] == free.metrics["holding"]["total_return"] != 0.0
