"""The install's self-test: every part from import to verdict, on bars made here, and what to do where one fails."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from trimtab.types import Limits, Model, Spec, TrimtabError

if TYPE_CHECKING:
    from trimtab.research.run import Run

#: Bars that the parts are tried on: hours of two instruments, one round the clock, made with this seed.
_SEED, _ROWS = 0, 6_000
#: What extras bring, by a module of each.
_EXTRAS: Final = {
    "research": ("arch", "pandas", "pyarrow"),
    "allocation": ("skfolio",),
    "calendars": ("exchange_calendars",),
    "download": ("ccxt", "requests", "stamina", "yfinance"),
    "live": ("ccxt", "prometheus_client"),
}
#: Free space below which a disk is called full, bytes.
_ROOM: Final = 1 << 30
#: A peeking strategy in three lines: the laws must find it.
_CHEAT: Final = '''"""Reads the close after the one that it stands at, through a field that was made with the future."""

from typing import NamedTuple

from numba import njit

from trimtab import Strategy


class Params(NamedTuple):
    window: int = 1


class State(NamedTuple):
    rows: int


@njit(cache=True)
def init(p):
    return State(0)


@njit(cache=True)
def step(p, s, x):
    return State(s.rows + 1), (1.0 if x[0, 1] > x[0, 0] else -1.0)


STRATEGY = Strategy(
    name="peek", params=Params(), ranges={"window": (1, 9)}, fields=("close", "tomorrow"), init=init, step=step,
    warmup=lambda p: 1, timeframes=("1h",), asset_classes=("crypto",),
)
'''


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one part says. state: ok, warning or failed; remedy: what to do; seconds: how long it took."""

    name: str
    state: str
    told: str
    remedy: str = ""
    seconds: float = 0.0


class Warned(Exception):
    """A part works, and something about it should be known: what, and what to do."""


class Bench(NamedTuple):
    """Where the parts are tried: a folder that is thrown away; the store of the user, and the folder of its ledger."""

    folder: Path
    root: str | None
    trials: Path


Part = Callable[[Bench], str]


def examine(root: str | None = None) -> Generator[Told]:
    """Every part in turn; nothing outside a temporary folder is written.

    root  of the store that is looked at; None: the usual one
    """
    with _bench(root) as bench:
        for name, part in PARTS:
            yield _tried(name, part, bench)


@contextmanager
def _bench(root: str | None) -> Generator[Bench]:
    """A temporary folder, with a trial ledger of its own: what is tried here is no trial of anybody's."""
    from trimtab.research.ledger.file import folder_of

    before, own = os.environ.get("TRIMTAB_TRIALS"), folder_of(root)
    with tempfile.TemporaryDirectory(prefix="trimtab-doctor-") as folder:
        os.environ["TRIMTAB_TRIALS"] = str(Path(folder) / "trials")
        try:
            yield Bench(Path(folder), root, own)
        finally:
            if before is None:
                del os.environ["TRIMTAB_TRIALS"]
            else:
                os.environ["TRIMTAB_TRIALS"] = before


def _tried(name: str, part: Part, bench: Bench) -> Told:
    begun = time.perf_counter()
    state, remedy = "ok", ""
    try:
        told = part(bench)
    except Warned as warning:
        (told, remedy), state = warning.args, "warning"
    except TrimtabError as error:
        told, state, remedy = str(error), "failed", "do what it says; where it does not help, report it"
    except Exception as error:  # whatever a broken install may raise
        told, state = f"{type(error).__name__}: {error}", "failed"
        remedy = "install Trimtab anew (pip install --force-reinstall trimtab); where it stays, report it"
    return Told(name=name, state=state, told=told, remedy=remedy, seconds=round(time.perf_counter() - begun, 2))


# --- the machine -----------------------------------------------------------------------------------------------------


def _python(bench: Bench) -> str:
    here = ".".join(str(part) for part in sys.version_info[:3])
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise Warned(f"Python {here} is not one that is tested", "use 3.11 to 3.14")
    return f"Python {here}, Trimtab {importlib.metadata.version('trimtab')}"


def _packages(bench: Bench) -> str:
    """Everything that the core needs is there; extras are told."""
    from importlib.util import find_spec

    absent: list[str] = []
    for needed in importlib.metadata.requires("trimtab") or []:
        name = needed.split(";")[0].strip()
        if "extra ==" in needed:
            continue
        bare = name.split(">")[0].split("=")[0].split("<")[0].strip()
        try:
            importlib.metadata.version(bare)
        except importlib.metadata.PackageNotFoundError:
            absent.append(bare)
    if absent:
        raise TrimtabError(f"not installed: {', '.join(absent)}: pip install {' '.join(absent)}")
    there = [extra for extra, modules in _EXTRAS.items() if all(find_spec(module) for module in modules)]
    lacking = [extra for extra in _EXTRAS if extra not in there]
    told = f"the core is complete; extras: {', '.join(there) or 'none'}"
    if "research" in lacking:
        raise Warned(told, "pip install 'trimtab[research]': validate, the demo and the court need it")
    return told + (f" (not installed: {', '.join(lacking)})" if lacking else "")


def _cache(bench: Bench) -> str:
    from trimtab.compiled import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise Warned(f"{folder} cannot be written: every process compiles anew", "give TRIMTAB_CACHE another folder")
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        raise Warned("NUMBA_DISABLE_JIT is set: nothing is compiled, and all is a hundred times slower", "unset it")
    older = sum(1 for other in folder.parent.glob("compiled-*") if other != folder)
    return f"compiled code goes to {folder}" + (f"; {older} folders of other versions may be deleted" if older else "")


def _disk(bench: Bench) -> str:
    from trimtab.data.store import open_store

    place = open_store(bench.root).root.absolute()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < _ROOM:
        raise Warned(f"{there} has {free / (1 << 30):.2f} GiB left", "make room: a full disk halts an engine")
    return f"{there} has {free / (1 << 30):,.0f} GiB left"


def _store(bench: Bench) -> str:
    from trimtab.data.store import instruments, open_store

    store = open_store(bench.root)
    known = instruments(store)
    if not known:
        return f"{store.root} is empty: trimtab demo, or trimtab data import"
    return f"{store.root} knows {len(known)} instruments"


def _ledger(bench: Bench) -> str:
    """The user's own ledger, which the temporary one hides."""
    from trimtab.research.ledger.reading import verify

    report = verify(bench.trials)
    if report.faults:
        raise TrimtabError(f"{report.path}: {report.faults[0]}; see trimtab trials verify")
    return f"{report.trials:,} trials in {report.entries:,} entries, whole"


# --- the parts, from import to verdict -------------------------------------------------------------------------------


def _bars(bench: Bench) -> str:
    """Bars into a store as a user's file would come, and out of it as they were."""
    import numpy as np

    from trimtab.data.catalogue import default_instrument
    from trimtab.data.importing import import_frame
    from trimtab.data.panel import load
    from trimtab.data.store import open_store
    from trimtab.research.synthetic import FIRST, synthetic_frames
    from trimtab.types import TIMEFRAMES

    store = open_store(bench.folder / "data")
    made = [default_instrument(symbol, "crypto") for symbol in ("AAAUSD", "CCCUSD")]
    last = FIRST + _ROWS * TIMEFRAMES["1h"]
    frames = synthetic_frames(_SEED, made, "1h", FIRST, last)
    for instrument in made:
        import_frame(store, frames[instrument.symbol], instrument, "1h", now=last)
    panel = load("AAAUSD", timeframe="1h", root=store.root)
    closes = frames["AAAUSD"]["close"].to_numpy()
    if not np.array_equal(panel.values[:, 0, 3], closes):
        raise TrimtabError("bars that were stored came back as others")
    return f"{len(made)} series of {len(panel.ts):,} bars stored and loaded"


def _spec(name: str = "sma_cross") -> Spec:
    from trimtab.app.config import complete

    model = Model(strategy=name)
    limits = Limits(max_weight=0.9, drawdown_halt=0.9)
    return complete(Spec(models=(model,), universe=("AAAUSD", "CCCUSD"), timeframe="1h", limits=limits, seed=_SEED))


def _backtest(bench: Bench) -> str:
    """A run, its bundle, and the bundle run again: the same, bit for bit."""
    from trimtab.app.wire import replay

    run = _ran(bench)
    bundle = run.save(bench.folder / "results", report=False)
    found = replay(bundle, str(bench.folder / "data"))
    if found:
        raise TrimtabError(f"a run and its replay differ: {found[0]}")
    return f"{run.fills.height:,} fills over {len(run.ts):,} bars, and again bit for bit"


def _ran(bench: Bench) -> Run:
    from trimtab.app.wire import run_backtest

    return run_backtest(_spec(), root=str(bench.folder / "data"))


def _engine(bench: Bench) -> str:
    """The same bars through the engine on the paper venue: the same fills and equity."""
    from trimtab.app.paper import Options, bundle_of, replayed, trade
    from trimtab.app.wire import panel_of
    from trimtab.research.bundle import read_table

    run = _ran(bench)
    source = replayed(_spec(), panel_of(_spec(), str(bench.folder / "data")), 0.0)
    folder = bench.folder / "paper"
    outcome = trade(source, folder, Options())
    bundle = bundle_of(source, folder, report=False)
    if bundle is None:
        raise TrimtabError("the engine decided no row")
    for name in ("fills", "equity"):
        if not read_table(bundle, name).equals(getattr(run, name)):
            raise TrimtabError(f"the engine's {name} are not those of the backtest")
    return f"{outcome.rows:,} rows on the paper venue: fills and equity are the backtest's, bit for bit"


def _laws(bench: Bench) -> str:
    """An honest strategy keeps the laws, and one that peeks is found."""
    import numpy as np

    from trimtab.data.panel import load
    from trimtab.research.check import check_strategy
    from trimtab.strategies import find
    from trimtab.types import Panel

    panel = load("AAAUSD", timeframe="1h", root=bench.folder / "data")
    honest = [each for each in check_strategy(find("sma_cross"), panel) if not each.passed]
    if honest:
        raise TrimtabError(f"sma_cross breaks {honest[0].law}: {honest[0].seen}")
    path = bench.folder / "peek.py"
    path.write_text(_CHEAT, encoding="utf-8")
    tomorrow = np.append(panel.values[1:, 0, 3], panel.values[-1, 0, 3])[:, None, None]
    values = np.concatenate((panel.values, tomorrow), axis=2)
    cheated = Panel(panel.ts, panel.instruments, (*panel.fields, "tomorrow"), values, panel.timeframe)
    found = [each for each in check_strategy(find(str(path)), cheated) if not each.passed]
    if not found:
        raise TrimtabError("a strategy that reads tomorrow's close was not found")
    return f"sma_cross keeps them; a strategy that peeks is caught by {found[0].law}"


def _figures(bench: Bench) -> str:
    """A published figure, to its last digit: the deflated Sharpe of the paper's own example."""
    import math

    from trimtab.research.inference.sharpe import Moments, deflated_sharpe

    record = Moments(1_250, 2.5 / math.sqrt(250.0), -3.0, 10.0)
    found = deflated_sharpe(record, 100, 0.5 / 250.0)
    if abs(found - 0.9004) > 5e-5:
        raise TrimtabError(f"the deflated Sharpe of the paper's example is {found:.6f}: expected 0.9004")
    return f"the deflated Sharpe of the paper's example is {found:.4f}"


def _court(bench: Bench) -> str:
    """A verdict on a run of bars that nobody can know anything of, with everything that was tried."""
    from trimtab.research.court.court import hold
    from trimtab.research.ledger.file import folder_of
    from trimtab.research.ledger.reading import verify

    held = hold(_ran(bench), str(bench.folder / "data"), stressed=False)
    report = verify(folder_of())
    if report.faults:
        raise TrimtabError(f"the ledger of this test is not whole: {report.faults[0]}")
    if held.verdict.ledger != report.head:
        raise TrimtabError("the verdict does not name the ledger's head")
    return f"{held.verdict.word} on made bars, with {report.trials} trial counted"


PARTS: Final[tuple[tuple[str, Part], ...]] = (
    ("python", _python),
    ("packages", _packages),
    ("cache", _cache),
    ("disk", _disk),
    ("store", _store),
    ("trials", _ledger),
    ("bars", _bars),
    ("backtest", _backtest),
    ("engine", _engine),
    ("laws", _laws),
    ("figures", _figures),
    ("verdict", _court),
)
