"""Settings files as a user writes them: what is read, and how every mistake is told."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trimtab.app.cli import app
from trimtab.app.config import Override, complete, parse_spec, read_spec, run_id
from trimtab.app.presets import names
from trimtab.types import Caps, Costs, Limits, Model, TrimtabError

EXAMPLES = Path(__file__).parents[2] / "examples"

GOOD = """\
name: first
universe: [BTCEUR, NO]
timeframe: H4
start: 2021-03-02
capital: 1_000_000
costs: {taker_fee: 10bps, half_spread: 0.7%, latency: 500ms}
limits: {max_weight: none, drawdown_halt: 25%}
models:
  - strategy: sma_cross
    params: {fast: 1e1, slow: 1_00, short: true}
    budget: 50%
"""


def mistakes(text: str, *overrides: Override) -> str:
    with pytest.raises(TrimtabError) as caught:
        parse_spec(text, "book.yaml", overrides)
    assert caught.value.code == 2
    return str(caught.value)


def test_a_good_spec():
    spec = parse_spec(GOOD)
    assert spec.universe == ("BTCEUR", "NO")
    assert (spec.timeframe, spec.start, spec.capital) == ("4h", "2021-03-02", 1e6)
    assert spec.costs == Costs(taker_fee=0.001, half_spread=0.007, latency=0.5)  # exactly what it names
    assert (spec.limits.max_weight, spec.limits.drawdown_halt) == (math.inf, 0.25)
    assert spec.models == (Model(strategy="sma_cross", params={"fast": 10, "slow": 100, "short": True}, budget=0.5),)
    assert isinstance(spec.models[0].params["fast"], int)


def test_json_says_the_same():
    text = json.dumps(
        {
            "name": "first",
            "universe": ["BTCEUR", "NO"],
            "timeframe": "4h",
            "start": "2021-03-02",
            "capital": 1e6,
            "costs": {"taker_fee": 0.001, "half_spread": "70bps", "latency": 0.5},
            "limits": {"max_weight": None, "drawdown_halt": 0.25},
            "models": [{"strategy": "sma_cross", "params": {"fast": 10, "slow": 100, "short": True}, "budget": 0.5}],
        },
        indent="\t",
    )
    assert run_id(parse_spec(text)) == run_id(parse_spec(GOOD))


def test_every_mistake_is_listed_at_its_line():
    said = mistakes(
        "universe: [BTCEUR, ETHEUR]\n"
        "star: 2021-03-02\n"
        "capital: true\n"
        "costs: {taker_fee: 10, latency: 5 minutes}\n"
        "limits:\n"
        "  stop_loss: 0\n"
        "models:\n"
        "  - strategy: sma_cross\n"
        "    params: {lokback: 5, slow: 1.5}\n"
        "  - strategy: momentun\n"
        "    universe: BTCUER\n"
    )
    lines = said.splitlines()
    assert lines[0] == "book.yaml: 10 mistakes"
    assert [line.strip().split(":")[1].split()[0] for line in lines[1:]] == [
        "2",
        "3",
        "4",
        "4",
        "6",
        "7",
        "9",
        "9",
        "10",
        "11",
    ]
    for part in (
        "star: there is no such key (did you mean 'start'?)",
        "capital: expected a number such as 50, 0.5, 1_000_000 or 1e6, above 0",
        "found 'true'",
        "costs.taker_fee: expected a fraction such as 0.001, 0.1% or 10bps, at least 0 and below 1 (10 is 1000%; "
        "did you mean 10% or 10bps?); found '10'",
        "costs.latency: expected a duration such as 500ms, 2s, 15m or 2h (a bare number is seconds)",
        "limits.stop_loss: expected",
        "models.0.params.lokback: sma_cross has no such parameter",
        "models.0.params.slow: expected a whole number such as 50 or 1_000",
        "models.1.strategy: no strategy is named 'momentun' (did you mean 'momentum'?)",
        "models.1.universe.0: BTCUER is not in the book's universe (did you mean 'BTCEUR'?)",
    ):
        assert part in said


def test_more_mistakes_than_fit_are_counted():
    said = mistakes("".join(f"key{i}: 1\n" for i in range(40)))
    assert "42 mistakes" in said  # with the two keys that are missing
    assert said.endswith("… and 17 more")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("models.0.budget=1.5", "models.0.budget: expected a fraction"),
        ("models.0.budget=0", "above 0 and at most 1"),
        ("models.0.timeframe=1h", "1h does not fit on the book's grid of 4h"),
        ("models.0.params.fast=100", "sma_cross: fast (100) must be below slow (100)"),
        ("models.0.params.fast=20000", "at least 1 and at most 5000"),
        ("models.0.params.fast=nan", "a whole number"),
        ("models.0.params.short=1", "true or false"),
        ("models.0.params=5", "expected a mapping of parameters, found '5'"),
        ("models=[]", "models: found a list of 0; expected a list of models"),
        ("models.0={}", "models.0.strategy: is missing"),
        ("limits.drawdown_derisk=25%", "the book is halted at drawdown_halt = 0.25; put drawdown_derisk below it"),
        ("limits.derisk_factor=1", "at least 0 and below 1"),
        ("limits={max_weight: 2, gross_leverage: 1}", "gross_leverage allows 1 in all"),
        ("limits.stop_loss=-1%", "above 0 and below 1"),
        ("limits=3", "expected a mapping with keys such as gross_leverage"),
        ("execution={offset: 1%}", "a MARKET order has no limit price to offset"),
        ("execution={post_only: true}", "a MARKET order always takes"),
        ("execution={kind: LIMIT, post_only: true, tif: IOC}", "choose GTC or DAY"),
        ("execution={kind: LIMIT, post_only: true, offset: -1%}", "prices through the market"),
        ("end=2021-03-02", "ends at 2021-03-02, which is not after its start 2021-03-02"),
        ("universe=[A, A, BTCEUR, NO]", "A is listed 2 times"),
        ("universe=[]", "universe: is empty"),
        ("universe=", "universe: is missing"),
        ("costs=binanse", "(did you mean 'binance'?)"),
        ("costs={taker: 1}", "costs.taker: there is no such key (did you mean 'taker_fee'?)"),
        ("fast=20", "fast: there is no such key (did you mean 'models.0.params.fast'?)"),
        ("drawdown_halt=20%", "there is no such key (did you mean 'limits.drawdown_halt'?)"),
        ("seed=1.5", "seed: expected a whole number"),
        ("capital=inf", "capital: expected a number"),
        ("include=other.yaml", "include: there is no such key"),
    ],
)
def test_one_mistake_on_the_command_line(change: str, message: str):
    path, _, text = change.partition("=")
    said = mistakes(GOOD, Override(path, text))
    assert message in said
    assert "\n" not in said


def test_budgets_add_up():
    two = "universe: A\nmodels: [{strategy: sma_cross, budget: 70%}, {strategy: momentum, budget: %s}]"
    assert "the budgets add up to 1.1 (0.7 + 0.4); together they may not exceed 1" in mistakes(two.replace("%s", "0.4"))
    assert len(parse_spec(two.replace("%s", "0.3")).models) == 2
    listed = ", ".join(f"{{strategy: sma_cross, name: m{i}, budget: 0.1}}" for i in range(10))
    tenths = f"universe: A\nmodels: [{listed}]"
    assert len(parse_spec(tenths).models) == 10  # 0.1 ten times is 1, whatever the binary sum says


def test_legs():
    pairs = "universe: [A, B, C]\nmodels: [{strategy: pairs_reversion%s}]"
    assert (
        "trades 2 legs at a time, so its universe needs a multiple of 2 instruments, its legs in order; it has 3"
        in mistakes(pairs.replace("%s", ""))
    )
    assert parse_spec(pairs.replace("%s", ", universe: [B, A]")).models[0].universe == ("B", "A")


def test_a_fault_names_the_file_that_it_stands_in(tmp_path: Path):
    (tmp_path / "base.yaml").write_text("costs:\n  taker_fee: 10\n")
    book = tmp_path / "book.yaml"
    book.write_text("include: base.yaml\nuniverse: A\nmodels: [{strategy: sma_cross}]\n")
    with pytest.raises(TrimtabError, match=r"base\.yaml:2  costs\.taker_fee"):
        read_spec(book)


def test_overrides_come_last():
    spec = parse_spec(GOOD, overrides=[Override("models.0.params.fast", "7"), Override("name", "other")])
    assert (spec.models[0].params["fast"], spec.name) == (7, "other")


def test_the_file_of_members_is_read_to_its_last_row(tmp_path: Path):
    """It lies beside the spec, whatever folder the command is given in; each mistake has its file and line."""
    spec, file = tmp_path / "book.yaml", tmp_path / "who.csv"
    spec.write_text("universe:\n  - AAPL\n  - SPX\nseed: x\nmodels: [{strategy: buy_and_hold}]\nmembers: who.csv\n")

    def said() -> str:
        with pytest.raises(TrimtabError) as caught:
            read_spec(spec)
        return str(caught.value)

    assert "book.yaml:6  members: who.csv: no such file" in said()
    file.write_text("symbol,from\nAAPL,\n")
    assert f"book.yaml:6  members: {file}: no column to" in said()
    file.write_text("symbol,from,to\nAAPL,2001-01-01,\nIBM,soon,\nSPY,2003-01-01,2002-01-01\n")
    assert f"book.yaml:6  members: {file}, line 3: from 'soon' is no date" in said()
    assert f"book.yaml:6  members: {file}, line 4: SPY, 2003-01-01, 2002-01-01: expected a symbol, and a `to`" in said()
    assert "book.yaml:4  seed: expected a whole number" in said()
    file.write_text("symbol,from,to\nAAPL,,\nSPY,2003-01-01,\n")
    assert (
        f"book.yaml:3  universe.1: SPX is in the universe, and {file} does not name it (did you mean 'SPY'?)" in said()
    )
    file.write_text("symbol,from,to\nAAPL,,\nSPX,2003-01-01,\nGE,,\n")
    spec.write_text(spec.read_text().replace("seed: x\n", ""))
    done = CliRunner().invoke(app, ["config", "check", str(spec)])
    assert done.exit_code == 0, done.output
    assert "Note: who.csv also has members that are not in the universe, and not traded: GE." in done.stderr
    assert f"members: {file}\n" in done.stdout


def test_a_strategy_file_is_found_beside_the_spec(tmp_path: Path):
    source = Path(parse_spec.__code__.co_filename).parents[1] / "strategies" / "buy_and_hold.py"
    (tmp_path / "mine.py").write_text(source.read_text())
    book = tmp_path / "book.yaml"
    book.write_text("universe: A\nmodels: [{strategy: mine.py, params: {weight: 50%}}]\n")
    model = read_spec(book).models[0]
    assert model.strategy == str(tmp_path / "mine.py")
    assert model.params == {"weight": 0.5}
    assert complete(read_spec(book)).models[0].name == "mine"


@pytest.mark.parametrize("name", ["accounts.yaml", "crypto_trend.yaml", "sized_book.yaml", "spy_holding.yaml"])
def test_the_examples_are_good(name: str):
    spec = complete(read_spec(EXAMPLES / name))
    assert len(run_id(spec)) == 64


def test_the_example_of_the_documentation_is_good(tmp_path: Path):
    page = (EXAMPLES.parent / "docs" / "spec.md").read_text(encoding="utf-8")
    (tmp_path / "book.yaml").write_text(re.split(r"```yaml.*\n", page)[1].split("```")[0])
    (tmp_path / "costs_and_limits.yaml").write_text((EXAMPLES / "costs_and_limits.yaml").read_text())
    spec = read_spec(tmp_path / "book.yaml")
    assert [model.budget for model in spec.models] == [0.6, 0.4]
    assert (spec.limits.drawdown_halt, spec.limits.max_weight) == (0.35, 0.5)  # over the layer, and from it


# --- presets ----------------------------------------------------------------------------------------------------------

#: What each preset is, in numbers.
PRESETS = {
    "limits/pairs": (Limits(daily_loss=0.05, drawdown_halt=0.10, gross_leverage=2.0, max_weight=0.10), Caps()),
    "limits/lab": (
        Limits(heat=0.5, stop_loss=0.02, take_profit=0.04, daily_loss=0.05, drawdown_derisk=0.10, derisk_factor=0.5),
        Caps(models={"*": 0.10}),
    ),
    "limits/multi_model": (
        Limits(max_weight=0.40, gross_leverage=1.2, drawdown_derisk=0.15, derisk_factor=0.5, drawdown_halt=0.20),
        Caps(asset_classes={"crypto": 0.20}),
    ),
}


@pytest.mark.parametrize("name", names())
def test_a_preset_says_what_it_is_for(name: str, tmp_path: Path):
    book = tmp_path / "book.yaml"
    book.write_text(f"include: {name}\nuniverse: A\nmodels: [{{strategy: sma_cross}}]\n")
    spec = read_spec(book)
    assert (spec.limits, spec.caps) == PRESETS[name]


def test_the_command_lists_presets_and_prints_one():
    listed = CliRunner().invoke(app, ["config", "presets"])
    assert [line for line in listed.stdout.splitlines() if not line.startswith(" ")] == sorted(PRESETS)
    assert "daily_loss 5%, drawdown_halt 10%, gross_leverage 2, max_weight 10%" in listed.stdout
    one = CliRunner().invoke(app, ["config", "presets", "limits/lab"])
    text = (Path(parse_spec.__code__.co_filename).parent / "presets/limits/lab.yaml").read_text()
    assert (one.exit_code, one.stdout) == (0, text)
    told = json.loads(CliRunner().invoke(app, ["config", "presets", "--json"]).stdout)
    assert [(entry["name"], entry["text"] == text) for entry in told] == [
        ("limits/lab", True), ("limits/multi_model", False), ("limits/pairs", False)
    ]  # fmt: skip
    wrong = CliRunner().invoke(app, ["config", "presets", "lab"])
    assert wrong.exit_code == 2


def test_config_check_says_which_layer_stands(tmp_path: Path):
    book = tmp_path / "book.yaml"
    book.write_text("include: limits/pairs\nuniverse: A\nmodels: [{strategy: sma_cross}]\nlimits: {max_weight: 5%}\n")
    said = CliRunner().invoke(app, ["config", "check", str(book)])
    assert f"{book}:4 limits.max_weight: replaces what limits/pairs says" in said.stderr
    assert f"{book} includes the preset limits/pairs: trimtab config presets limits/pairs" in said.stderr
