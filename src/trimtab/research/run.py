"""A finished run: its facts as arrays, everything else derived from them when it is asked for."""

from __future__ import annotations

import hashlib
import platform as machine
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trimtab.bounds import model_names
from trimtab.research import frames
from trimtab.research.curves import Curves, figures_of_run
from trimtab.research.funds import rates_of, worth_of_flows
from trimtab.research.prepared import hash_of_panel
from trimtab.research.trips import Trips, trips_of
from trimtab.rules.book import Setup
from trimtab.rules.limits import LIMIT_NAMES
from trimtab.rules.market import Market
from trimtab.sim.simulate import Result, simulate
from trimtab.types import F64, Costs, Panel, Refusal, Spec, Weights

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

    from trimtab.research.allocation import Split
    from trimtab.research.execution import Filled
    from trimtab.research.ledger.file import Recorded
    from trimtab.research.utilisation import Usage


class Fold(NamedTuple):
    """What the driver was given and what it wrote.

    holding    what it wrote when it held the same instruments in equal parts
    standings  (T, 2) net profit and costs of all models up to each row; None: the driver can be run again to know them
    """

    market: Market
    weights: Weights
    setup: Setup
    result: Result
    holding: Result
    standings: F64 | None = None


class Run:
    """What a backtest did. Tables are Polars frames, built when they are first asked for.

    spec        the whole run as one value; its sha256 is run_id
    panel       the bars it ran on
    costs       (N,) Costs of each instrument
    fold        what the driver was given; result: what it wrote; holding: of the instruments held in equal parts
    given       the weights, where they were given as numbers; then the spec holds their hash
    refused     windows that fits refused, by instant, with the model's number: it abstained until its next fit
    splits      what allocators chose, look by look: the book's first, then the models'
    """

    def __init__(
        self,
        spec: Spec,
        panel: Panel,
        costs: tuple[Costs, ...],
        fold: Fold,
        given: Weights | None = None,
        refused: tuple[tuple[Refusal, int], ...] = (),
        splits: tuple[Split, ...] = (),
    ) -> None:
        self._spec = spec
        self.panel = panel
        self.costs = costs
        self.fold = fold
        self.result = fold.result
        self.holding = fold.holding
        self.given = given
        self.refused = refused
        self.splits = splits
        #: Where the run stands in the trial ledger, or why it is not in there.
        self.recorded: Recorded | None = None
        self.unrecorded = ""
        #: sha256 of each strategy file of the user's own: Trimtab's version says nothing of it.
        self.strategy_files = {m.strategy: hash_file(m.strategy) for m in spec.models if m.strategy.endswith(".py")}

    def __repr__(self) -> str:
        net = self.metrics["net"]
        return (
            f"<Run {self.run_id[:16]}: {', '.join(self.model_names)} on {', '.join(self.panel.symbols)}, "
            f"{len(self.panel.ts)} rows, net return {net['total_return']:.2%}, Sharpe {net['sharpe']:.2f}>"
        )

    # --- identity ------------------------------------------------------------------------------------------------

    @cached_property
    def spec(self) -> Spec:
        """The whole run as one value. Hashing many given weights takes a while, so it is done when it is asked for."""
        if self.given is None:
            return self._spec
        import msgspec

        digest = hashlib.sha256()
        for column in self.given:
            digest.update(np.ascontiguousarray(column).data)
        model = msgspec.structs.replace(self._spec.models[0], params={"sha256": digest.hexdigest()})
        return msgspec.structs.replace(self._spec, models=(model,))

    @cached_property
    def run_id(self) -> str:
        """sha256 of the spec's canonical JSON, 64 hexadecimal digits."""
        from trimtab.research.canonical import run_id

        return run_id(self.spec)

    @cached_property
    def data_hash(self) -> str:
        """sha256 of the panel: symbols, fields, instants and values."""
        return hash_of_panel(self.panel)

    @property
    def code_version(self) -> str:
        """The package's version and the hash of all sources that take part in a run."""
        return code_version()

    @property
    def platform(self) -> str:
        """What bit-for-bit equality is promised on: processor, C library, interpreter, numpy and numba."""
        import numba

        libc = "-".join(machine.libc_ver())
        return (
            f"{machine.system()} {machine.machine()} {libc}, Python {machine.python_version()}, "
            f"numpy {np.__version__}, numba {numba.__version__}, {_cpu_features()}"
        )

    @property
    def model_names(self) -> tuple[str, ...]:
        """A name per model: its own, else its strategy's, numbered where two would be the same."""
        return model_names(self.spec.models)

    @property
    def capital(self) -> float:
        """Equity at the start, base currency."""
        return self.fold.setup.capital

    # --- tables --------------------------------------------------------------------------------------------------

    @property
    def ts(self) -> Any:
        """(T,) close instants, ns UTC."""
        return self.panel.ts

    @cached_property
    def equity(self) -> pl.DataFrame:
        """ts, equity at every bar, drawdown; where cash was paid in or out, paid: how much at that bar's close."""
        flows, paid = self.fold.setup.flows, None
        if len(flows.row):
            paid = np.zeros(len(self.panel.ts))
            np.add.at(paid, flows.row, worth_of_flows(self.fold.market, self.fold.setup))
        return frames.equity(self.bar_equity, self.panel.ts, self.capital, paid)

    @cached_property
    def bar_equity(self) -> F64:
        """(T,) equity at every bar: kept by nobody until asked, then the driver runs once more, to the same bits."""
        if len(self.result.equity):
            return self.result.equity
        return simulate(self.fold.market, self.fold.weights, self.fold.setup).equity

    @cached_property
    def orders(self) -> pl.DataFrame:
        """Every order that left the gate, with its status and the reason for it."""
        return frames.orders(self.result, self.panel)

    @cached_property
    def fills(self) -> pl.DataFrame:
        """Every fill with its costs by kind; order_id 0 is an internal crossing between models."""
        return frames.fills(self.result, self.panel)

    @cached_property
    def trades(self) -> pl.DataFrame:
        """Round trips of the book (model "") and of each model, closed and open."""
        return frames.trades(self.trips, self.result.book.unit, self.panel, self.model_names)

    @cached_property
    def weights(self) -> pl.DataFrame:
        """The notional of each instrument over equity at day ends."""
        marks = self.fold.market.mark[self.result.sample, : len(self.panel.instruments)]
        return frames.weights(self.result, self.panel, marks)

    @cached_property
    def actions(self) -> pl.DataFrame:
        """ts, limit, symbol, model, wanted, allowed, action: what limits did, and what fits and allocators refused."""
        return self.dated_actions.drop("day")

    @cached_property
    def dated_actions(self) -> pl.DataFrame:
        """The same with the day of the bar first: splits and dividends are booked at its open, others at its close."""
        from trimtab.research.limit_rules import names_of

        names = (*self.model_names, "")  # -1 is the last: the book
        refused = [(r.ts, "fit", names[m], "ABSTAIN") for r, m in self.refused]
        refused += [(r.ts, "allocator", names[split.model], "KEEP") for split in self.splits for r in split.refused]
        return frames.actions(self.result, self.panel, self.model_names, refused, names_of(self.spec.rules))

    @cached_property
    def shares(self) -> pl.DataFrame:
        """ts, model, name, share: how allocators split budgets from that close on; of the book (model "") over models,
        of a model over its instruments."""
        return frames.shares(self.splits, self.panel, self.model_names)

    @cached_property
    def regimes(self) -> pl.DataFrame:
        """ts, regime, label: from that close on the label stands, and acts on the decision of that row."""
        from trimtab.research.regimes import regime_frame

        return regime_frame(self.spec, self.panel)

    @cached_property
    def attribution(self) -> pl.DataFrame:
        """Profit by model, instrument, asset class, side and regime: by, name, net, costs, gross, days."""
        from trimtab.research.attribution import attribution

        return attribution(self)

    @cached_property
    def utilisation(self) -> pl.DataFrame:
        """The share of each limit in use at day ends: ts, limit, name, symbol, bound, measure, used, highest."""
        from trimtab.research.utilisation import utilisation

        return utilisation(self)

    @cached_property
    def usage(self) -> tuple[Usage, ...]:
        """Each limit over the whole run: how near to its bound it came, when, and how often it acted."""
        from trimtab.research.utilisation import usage_of

        return usage_of(self)

    @cached_property
    def execution(self) -> pl.DataFrame:
        """How well orders were carried out, of the book, each instrument and each model: see execution.FIGURES."""
        from trimtab.research.execution import execution

        return execution(self)

    @cached_property
    def slippage(self) -> pl.DataFrame:
        """Every fill of an order beside its decision price and its arrival price, and how long it took."""
        from trimtab.research.execution import slippage

        return slippage(self)

    @cached_property
    def marks(self) -> pl.DataFrame:
        """ts, symbol, mark, rate, bars: what instruments were worth at day ends, and which bars the day had."""
        from trimtab.research.execution import marks

        return marks(self)

    @cached_property
    def filled(self) -> Filled:
        """The fills of orders as arrays, beside what was decided."""
        from trimtab.research.execution import Filled

        return Filled(self)

    @cached_property
    def trips(self) -> Trips:
        """Round trips of the book and of its models, as the driver's records."""
        fills, (market, _, setup, *_) = self.result.fills, self.fold
        return trips_of(self.result, rates_of(market, setup.terms["column"][fills["instrument"]], fills["row"]))

    # --- figures -------------------------------------------------------------------------------------------------

    @cached_property
    def curves(self) -> Curves:
        """Equity, costs, exposure and models at day ends."""
        return Curves(self)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """net, gross and holding; models: name -> net and gross; costs by kind; break_even_cost; conventions."""
        return figures_of_run(self)

    @cached_property
    def verdict(self) -> str:
        """One plain sentence: does the book beat holding the same instruments, and by how much?"""
        from trimtab.research.report import verdict

        return verdict(self.metrics["net"], self.metrics["holding"], self.metrics["periods"])[1]

    @property
    def halted(self) -> bool:
        """Did a limit stop the run for good?"""
        codes = [k for k, name in enumerate(LIMIT_NAMES) if name in ("drawdown_halt", "bankrupt")]
        return bool(np.isin(self.result.actions["limit"], codes).any())

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before believing the numbers."""
        from trimtab.research.notes import notes_of

        return notes_of(self)

    # --- output --------------------------------------------------------------------------------------------------

    def plot(self) -> go.Figure:
        """Equity against holding, as a plotly figure."""
        from trimtab.research import figures
        from trimtab.research.page import report_data

        return figures.equity(report_data(self))

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the self-contained report and return its path."""
        from trimtab.research.page import report_data
        from trimtab.research.report import write_report

        return write_report(report_data(self), path)

    def save(self, folder: str | Path = "results", report: bool = True) -> Path:
        """Write the bundle `folder`/<run_id>/ and return its path."""
        from trimtab.research.bundle import write_bundle

        return write_bundle(self, Path(folder), report)


@cache
def code_version() -> str:
    """The package's version and the hash of all sources that take part in a run: of the first look in this process."""
    from trimtab import __version__
    from trimtab.compiled import source_hash

    return f"{__version__}+{source_hash()}"


def hash_file(path: str) -> str:
    """sha256 of a file's bytes."""
    return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()


def _cpu_features() -> str:
    from llvmlite import binding

    features = hashlib.sha256(binding.get_host_cpu_features().flatten().encode())
    return f"{binding.get_host_cpu_name()} {features.hexdigest()[:8]}"
