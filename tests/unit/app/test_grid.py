"""The sets of a sweep."""

from __future__ import annotations

import pytest

from trimtab.app.config import parse_spec
from trimtab.app.grid import read_grid
from trimtab.types import TrimtabError

SPEC = parse_spec("universe: A\ncosts: {taker_fee: 1bps}\nmodels: [{strategy: sma_cross}]")
PRESET = parse_spec("universe: A\nmodels: [{strategy: sma_cross}]")


def test_ranges_leave_the_stop_out():
    grid = read_grid(SPEC, ["models.0.params.fast=5:30:1", "models.0.params.slow=35:235:5"])
    assert grid == {"models.0.params.fast": [*range(5, 30)], "models.0.params.slow": [*range(35, 235, 5)]}
    assert read_grid(SPEC, ["models.0.params.fast=5:8"])["models.0.params.fast"] == [5, 6, 7]


def test_decimal_steps_are_exact():
    assert read_grid(SPEC, ["models.0.budget=0.1:0.45:0.1"])["models.0.budget"] == [0.1, 0.2, 0.3, 0.4]
    assert read_grid(SPEC, ["models.0.budget=0.1:0.4:0.1"])["models.0.budget"] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("models.0.params.short=true,false", [True, False]),
        ("models.0.budget=10%, 20%", [0.1, 0.2]),
        ("costs.taker_fee=1bps,0.2%", [0.0001, 0.002]),
        ("costs.latency=100ms,1s", [0.1, 1.0]),
        ("limits.stop_loss=2%,none", [0.02, float("inf")]),
        ("seed=0:3", [0, 1, 2]),
        ("timeframe=1h,H4", ["1h", "4h"]),
    ],
)
def test_lists_are_read_as_the_spec_reads_them(text: str, values: list[object]):
    assert [*read_grid(SPEC, [text]).values()] == [values]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models.0.params.fats=1", "no such parameter (did you mean 'fast'?)"),
        ("fast=3,4", "(did you mean 'models.0.params.fast'?)"),
        ("max_weight=10%", "(did you mean 'limits.max_weight'?)"),
        ("budget=10%", "(did you mean 'models.0.budget'?)"),
        ("captal=10", "(did you mean 'capital'?)"),
        ("models.1.params.fast=1", "an index from 0 to 0"),
        ("models.0.params.fast=5:8:0.5", "a whole number"),
        ("models.0.params.fast=0,5", "at least 1 and at most 5000"),
        ("models.0.params.fast=5:5", "there is no value in it"),
        ("models.0.params.fast=5:9:0", "a step above 0"),
        ("models.0.params.fast=5:nan:1", "start:stop:step"),
        ("models.0.params.fast=5,5", "listed twice"),
        ("models.0.budget=0:1:1e-9", "more than 100,000 values"),
        ("limits.stop_los=1%", "did you mean 'stop_loss'?"),
        ("models.0.params.fast", "expected a path and its values"),
        ("universe=A,B", "there is no such key"),
        ("a.b.c=1", "no such key"),
    ],
)
def test_refused(text: str, message: str):
    with pytest.raises(TrimtabError) as caught:
        read_grid(SPEC, [text])
    assert message in str(caught.value)
    assert str(caught.value).startswith("--grid ")


def test_an_axis_is_named_once_and_costs_of_a_preset_are_not_swept():
    with pytest.raises(TrimtabError, match="given twice"):
        read_grid(SPEC, ["seed=1", "seed=2"])
    with pytest.raises(TrimtabError, match="costs is the preset 'venue'"):
        read_grid(PRESET, ["costs.taker_fee=1bps"])
    with pytest.raises(TrimtabError, match="--grid is missing"):
        read_grid(SPEC, [])
