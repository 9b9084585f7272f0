"""Finding a strategy by name or file, and reading parameters: every mistake has one message that mends it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab import strategies
from trimtab.strategies import find, names, params_of
from trimtab.types import Strategy, TrimtabError

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "volatility_breakout.py"
NAN = float("nan")

PLAIN = """
from typing import NamedTuple
import numpy as np
from numba import njit
from trimtab.types import Strategy

class Params(NamedTuple):
    level: float = 10.0

class State(NamedTuple):
    last: float

@njit(cache=True)
def init(p):
    return State(np.nan)

@njit(cache=True)
def step(p, s, x):
    return State(x[0, 0]), 1.0 if x[0, 0] > p.level else 0.0

STRATEGY = Strategy(
    name="plain", fields=("close",), params=Params(), ranges={"level": (0.0, 100.0)},
    init=init, step=step, warmup=lambda p: 0,
)
"""


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def message(call: Any, *arguments: Any) -> str:
    with pytest.raises(TrimtabError) as caught:
        call(*arguments)
    assert caught.value.code == 2
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_looking_for_strategies_does_not_load_numba() -> None:
    code = "import sys; from trimtab import strategies as s; print(s.names()); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_an_unknown_name_gets_the_closest_one() -> None:
    text = message(find, "sma_crss")
    assert "'sma_crss' (did you mean 'sma_cross'?)" in text
    assert all(name in text for name in names())
    assert "did you mean" not in message(find, "zzzz")


def test_a_file_is_a_strategy_that_can_be_saved_and_shared(tmp_path: Path) -> None:
    file = written(tmp_path, PLAIN, "my strategy-2.py")
    strategy = find(file)
    assert strategy is find(str(file))
    state, forecast = strategy.step(strategy.params, strategy.init(strategy.params), np.full((1, 1), 11.0))
    assert (state.last, forecast) == (11.0, 1.0)
    assert pickle.loads(pickle.dumps((strategy.params, state))) == (strategy.params, state)
    assert sys.modules[type(state).__module__].__file__ == str(file)


def test_an_edited_file_is_another_strategy(tmp_path: Path) -> None:
    # Same length, same second: neither Python's cache nor a clock tells the two apart.
    old = find(written(tmp_path, PLAIN))
    new = find(written(tmp_path, PLAIN.replace("= 10.0", "= 20.0")))
    assert (old.params.level, new.params.level) == (10.0, 20.0)
    assert old.step is not new.step
    assert new.step(new.params, new.init(new.params), np.full((1, 1), 11.0))[1] == 0.0
    assert old.step(old.params, old.init(old.params), np.full((1, 1), 11.0))[1] == 1.0


def test_two_files_of_one_name_are_two_strategies(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    one, other = (find(written(folder, PLAIN)) for folder in folders)
    assert type(one.params) is not type(other.params)


FAULTS = {
    "no STRATEGY": ("x = 1\n", "holds no STRATEGY; expected STRATEGY = Strategy("),
    "another thing": ("STRATEGY = 3\n", "STRATEGY is of type int; expected a trimtab.types.Strategy"),
    "syntax": ("x = 1\ndef step(:\n", ", line 2: "),
    "import": ("x = 1\n\nimport no_such_module\n", ", line 3: ModuleNotFoundError: No module named 'no_such_module'"),
    "exit": ("raise SystemExit('no')\n", ", line 1: SystemExit: no"),
    "step": (PLAIN.replace("step=step", "step=None"), "STRATEGY.step is None; expected a function"),
    "legs": (PLAIN.replace("init=init", "n_legs=2, init=init"), "STRATEGY.legs is missing"),
    "n_legs": (PLAIN.replace("init=init", "n_legs=-1, init=init"), "STRATEGY.n_legs is -1; expected 1 or more"),
    "fit": (PLAIN.replace("init=init", "fit=init, init=init"), "expected trimtab.types.Fit(of=…, window=…, every=…)"),
    "all legs": (PLAIN.replace("init=init", "n_legs=0, init=init"), "STRATEGY.legs is missing"),
    "fields": (PLAIN.replace('("close",)', "()"), "STRATEGY.fields is (); expected"),
    "fields as text": (PLAIN.replace('("close",)', '"close"'), "STRATEGY.fields is 'close'; expected"),
    "name": (PLAIN.replace('"plain"', '"no name"'), "STRATEGY.name is 'no name'; expected letters"),
    "params": (PLAIN.replace("params=Params()", "params=Params"), "; expected an instance of a NamedTuple"),
    "choices": (PLAIN.replace("= 10.0", "= 'high'"), "STRATEGY.params.level is 'high'; expected a number"),
    "ranges": (PLAIN.replace('{"level"', '{"levle"'), "STRATEGY.ranges has 'levle', which is no parameter"),
    "default": (PLAIN.replace("100.0)", "5.0)"), "STRATEGY.ranges['level'] is 0 to 5, but its default is 10.0"),
    "backwards": (PLAIN.replace("(0.0, 100.0)", "3.0"), "STRATEGY.ranges['level'] is 3.0; expected (low, high)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, fault: str) -> None:
    source, expected = FAULTS[fault]
    file = written(tmp_path, source)
    loaded = set(sys.modules)
    text = message(find, file)
    assert text.startswith(str(file))
    assert expected in text
    if fault in ("syntax", "import", "exit"):
        assert not {name for name in set(sys.modules) - loaded if name.startswith("trimtab_strategy_")}


def test_a_file_that_is_not_there_or_no_strategy(tmp_path: Path) -> None:
    assert "there is no such file" in message(find, tmp_path / "none.py")
    assert "expected a strategy's name or a .py file" in message(find, tmp_path)


class Offered:
    """An installed package's entry point."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value, self.found = name, "package.module", value

    def load(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_installed_packages_offer_strategies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = find(written(tmp_path, PLAIN))
    module = sys.modules[type(plain.params).__module__]
    points = [Offered("whole", module), Offered("value", plain), Offered("odd", 3), Offered("gone", ImportError("x"))]

    def entry_points(*, group: str) -> list[Offered]:
        assert group == "trimtab.strategies"
        return points

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    assert {"whole", "value", "sma_cross"} <= set(names())
    assert find("whole") is plain
    assert find("value") is plain
    assert "entry point 'odd' (package.module): holds no STRATEGY" in message(find, "odd")
    assert "entry point 'gone' (package.module) cannot be loaded: ImportError: x" in message(find, "gone")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (
            "sma_cross",
            {"fst": 3},
            "sma_cross: no parameter is named 'fst' (did you mean 'fast'?); its parameters: fast,",
        ),
        ("sma_cross", {"fast": 2.5}, "sma_cross.fast: expected a whole number, got 2.5"),
        ("sma_cross", {"fast": True}, "sma_cross.fast: expected a whole number, got True"),
        ("sma_cross", {"fast": "9"}, "sma_cross.fast: expected a whole number, got '9'"),
        ("sma_cross", {"fast": None}, "sma_cross.fast: expected a whole number, got None"),
        ("sma_cross", {"fast": NAN}, "sma_cross.fast: expected a whole number, got nan"),
        ("sma_cross", {"fast": float("inf")}, "sma_cross.fast: expected a whole number, got inf"),
        ("sma_cross", {"fast": 0}, "sma_cross.fast: expected a whole number from 1 to 5000, got 0"),
        ("sma_cross", {"short": 1}, "sma_cross.short: expected true or false, got 1"),
        ("sma_cross", {"fast": 60}, "sma_cross: fast (60) must be below slow (50)"),
        ("equity_trend", {"exit": 200}, "equity_trend: exit (200) must be below trend (200)"),
        ("momentum", {"band": -0.1}, "momentum.band: expected a number from 0 to 1, got -0.1"),
        ("momentum", {"band": [0.1]}, "momentum.band: expected a number, got [0.1]"),
        ("pairs_reversion", {"exit_z": 2.0}, "pairs_reversion: expected exit_z < entry_z < stop_z, got 2.0, 2.0, 4.0"),
        ("pairs_reversion", {"neutral": 2}, "pairs_reversion.neutral: expected a whole number from 0 to 1, got 2"),
        ("lag_autocorr", {"window": 20, "lags": 6}, "lag_autocorr: window (20) must be at least four times lags (6)"),
        ("pacf_spike", {"window": 39}, "pacf_spike: window (39) must be at least four times lags (10)"),
        ("drift_significance", {"window": 20, "lags": 6}, "drift_significance: window (20) must be at least four"),
        (
            "permutation_entropy",
            {"window": 239},
            "permutation_entropy: window (239) must be at least 240, ten times 4!",
        ),
        ("permutation_entropy", {"order": 2}, "permutation_entropy.order: expected a whole number from 3 to 5, got 2"),
        ("spectral_peaks", {"octaves": 5, "shortest": 9}, "spectral_peaks: cycles (4) must be below 2^octaves / "),
        ("spectral_entropy", {"octaves": 5, "trend": 33}, "spectral_entropy: trend (33) must not be above 2^octaves"),
        ("wavelet_energy", {"window": 127}, "wavelet_energy: window (127) must be at least 128, four times 2^scales"),
        ("hurst_exponent", {"octaves": 6}, "hurst_exponent.octaves: expected a whole number from 7 to 12, got 6"),
        ("index_mean_reversion", {"entry_rsi": 95}, "index_mean_reversion: entry_rsi (95.0) must be below exit_rsi"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_reason(name: str, given: dict[str, Any], expected: str) -> None:
    assert expected in message(params_of, find(name), given)


def test_parameters_take_the_types_of_their_defaults() -> None:
    read = params_of(find("sma_cross"), {"fast": np.int64(5), "slow": 30.0, "short": np.bool_(True)})
    assert [type(v) for v in read] == [int, int, bool]
    assert read == (5, 30, True)
    read = params_of(find("momentum"), {"band": 0, "periods": np.float32(365.0)})
    assert (type(read.band), type(read.periods), read.periods) == (float, float, 365.0)


def test_a_strategy_without_ranges_takes_any_number(tmp_path: Path) -> None:
    strategy = find(written(tmp_path, PLAIN.replace('{"level": (0.0, 100.0)}', "{}")))
    assert isinstance(strategy, Strategy)
    assert params_of(strategy, {"level": -1e9}).level == -1e9


def test_the_names_are_sorted_and_complete() -> None:
    assert names() == tuple(sorted(names()))
    assert set(strategies.BUILT_IN) <= set(names())
