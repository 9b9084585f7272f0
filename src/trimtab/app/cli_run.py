"""The commands that run: demo, backtest, sweep, replay, report."""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import cli_advice, cli_log, console
from trimtab.app.cli_config import read
from trimtab.app.cli_options import DataOption, JsonOption, SetOption, SpecFile

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.ledger.standing import Standing
    from trimtab.research.run import Run
    from trimtab.types import Spec

StartOption = Annotated[str | None, typer.Option("--start", metavar="DATE", help="First instant, over the spec's.")]
EndOption = Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last instant, over the spec's.")]
Bundle = Annotated[
    Path,
    typer.Argument(metavar="BUNDLE", help="A run's folder; the first digits of its name will do.", show_default=False),
]
Bundles = Annotated[
    list[Path],
    typer.Argument(metavar="BUNDLE", help="Runs' folders; the first digits of a name will do.", show_default=False),
]


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything goes.")] = Path("demo"),
    as_json: JsonOption = False,
) -> None:
    """Backtest four models on real bars and write the report.

    From nothing to a backtest in one command, without network or account: S&P
    500 and Nasdaq daily bars and WTI closes that are installed with Trimtab.
    Writes the store, the run's bundle and its report.html under --out.

    [bold]Examples[/bold]
      trimtab demo
      trimtab demo --out /tmp/first-run
    """
    _check_folder(out)
    from trimtab.app.wire import run_demo

    with console.progress(shown=not as_json) as progress:
        run = run_demo(out, progress)
        progress("writing the bundle", 0, 0)
        figures = figures_of(run, run.save(out))
    _print(figures, as_json=as_json)


def backtest(
    spec: SpecFile,
    start: StartOption = None,
    end: EndOption = None,
    settings: SetOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the bundle goes.")] = Path("results"),
    data: DataOption = None,
    as_json: JsonOption = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write the bundle without report.html.")] = False,
    log: Annotated[
        str | None,
        typer.Option("--log", metavar="FILE|-", help="Trades, actions and errors as JSON lines; - is stderr."),
    ] = None,
) -> None:
    """Backtest a book of models, net of costs.

    Writes the bundle DIR/RUN_ID: spec, metrics, equity, orders, fills, trades,
    weights, actions, report.html; and the run as a trial into the ledger
    (trimtab trials).

    Exit codes: 2 a mistake in the spec, 3 not enough data, 4 a drawdown limit
    halted the book (the bundle is written).

    [bold]Examples[/bold]
      trimtab backtest book.yaml
      trimtab backtest book.yaml --start 2015-01-01 --set limits.max_weight=50%
      trimtab backtest book.yaml --no-report --json | jq .metrics.net.sharpe
    """
    with cli_log.opened(log) as events:
        found = read(spec, settings, start, end)
        _check_folder(out)
        from trimtab.app.wire import run_backtest

        with console.progress(shown=not as_json) as progress:
            with cli_advice.given(lambda: found, _root(data)):
                run = run_backtest(found, root=_root(data), progress=progress)
            cli_log.log_run(events, run)
            progress("writing the bundle", 0, 0)
            figures = figures_of(run, run.save(out, report=not no_report))
        figures["trials"] = _standing(run, data)
        _print(figures, as_json=as_json)
    if figures["halted"]:
        ruined = any(act["limit"] == "bankrupt" for act in figures["actions"])
        cause = "because it was worth nothing" if ruined else "by its drawdown limit"
        console.say(f"The book was halted {cause} before the end (see the actions).")
        raise typer.Exit(4)


def sweep(
    spec: SpecFile,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="PATH=VALUES", help="5:30:1 (30 not included) or 5,10,20. Repeatable."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many sets to show.")] = 20,
    sort: Annotated[str, typer.Option("--sort", help="The column to sort by, best first.")] = "sharpe",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="All sets, as .parquet or .csv.")] = None,
    start: StartOption = None,
    end: EndOption = None,
    settings: SetOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every combination of the given values; show the best.

    Writes all sets into --out, if it is given, and each as a trial into the
    ledger (trimtab trials). The best of many sets is flattered by having been
    picked: expect less of it.

    [bold]Examples[/bold]
      trimtab sweep book.yaml --grid models.0.params.fast=5:30:1
      trimtab sweep book.yaml --grid models.0.params.slow=50,100 --out sets.csv
    """
    from trimtab.app import table
    from trimtab.app.grid import read_grid

    found = read(spec, settings, start, end)
    axes = read_grid(found, grid or ())
    if out is not None:
        table.check_path(out)
    from trimtab.app.wire import run_sweep

    with console.progress(shown=not as_json) as progress, cli_advice.given(lambda: found, _root(data)):
        frame, standing = run_sweep(found, axes, root=_root(data), progress=progress)
    _check_sets(frame, math.prod(map(len, axes.values())))
    ordered = table.sorted_by(frame, sort)
    if out is not None:
        table.write(ordered, out)
        console.say(f"All {frame.height:,} sets: {out}")
    rows = table.rows(ordered, top)
    if as_json:
        trials = None if standing is None else document_of(standing)
        console.write_json({"sets": frame.height, "sort": sort, "trials": trials, "top": rows})
    else:
        console.print_sweep(console.stdout(), rows, sort, frame.height)
        if standing is not None:
            typer.echo(standing.told)


def _check_sets(frame: pl.DataFrame, asked: int) -> None:
    """Say how many combinations were no sets; NotEnoughData where none of the others could be answered."""
    from trimtab.types import NotEnoughData

    if frame.height < asked:
        console.say(f"{asked - frame.height:,} of {asked:,} combinations contradict themselves and were left out.")
    if "final_equity" in frame.columns and frame["final_equity"].fill_nan(None).is_null().all():
        raise NotEnoughData(
            "no set has enough bars for a first forecast; load a longer window or shorten the lookbacks"
        )


def replay(bundles: Bundles, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Run a bundle again: are the numbers the same, bit for bit?

    Exit code 1 if one is not: each difference is listed with what changed
    (data, code, strategy file or platform). Writes nothing.

    [bold]Examples[/bold]
      trimtab replay results/3f1c0a9be2d47781
      trimtab replay results/*
      trimtab replay demo/2ecb4eb5 --data demo/data
    """
    from trimtab.app.wire import replay as run_again
    from trimtab.research.bundle import found_bundle

    told: list[dict[str, Any]] = []
    for bundle in [found_bundle(bundle) for bundle in bundles]:
        with console.progress(shown=not as_json), _of_bundle(bundle, data):
            found = list(run_again(bundle, _root(data)))
        told.append({"bundle": str(bundle), "identical": not found, "differences": found})
        if not as_json:
            _print_replay(told[-1], named=len(bundles) > 1)
    if as_json:
        console.write_json(told[0] if len(told) == 1 else told)
    if not all(one["identical"] for one in told):
        raise typer.Exit(1)


def _print_replay(told: dict[str, Any], *, named: bool) -> None:
    if told["identical"]:
        where = f"{told['bundle']}: " if named else ""
        typer.echo(f"{where}Identical: the same orders, fills, equity and metrics.")
        return
    typer.echo(f"Different from {told['bundle']}:")
    for difference in told["differences"]:
        typer.echo(f"  {difference}")


def report(
    bundle: Bundle,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: report.html in the bundle.")
    ] = None,
) -> None:
    """Make the report of a bundle again.

    Runs the bundle's spec on the store's bars. If every stored table comes out
    the same bit for bit, it writes one HTML file that opens offline; otherwise
    exit code 1 with the differences, and nothing is written.

    [bold]Examples[/bold]
      trimtab report results/3f1c0a9be2d47781
      trimtab report results/3f1c0a9be2d47781 --out tear-sheet.html
    """
    from trimtab.app.wire import rerun, spec_of_bundle
    from trimtab.research.bundle import differences, found_bundle
    from trimtab.types import TrimtabError

    bundle = found_bundle(bundle)
    target = out or bundle / "report.html"
    _check_folder(target.parent)
    if target.is_dir():
        raise TrimtabError(f"--out {target}: is a folder; expected a file such as {target / 'report.html'}")
    with console.progress() as progress, _of_bundle(bundle, data):
        run = rerun(spec_of_bundle(bundle), root=_root(data), progress=progress)
        progress("comparing with the bundle", 0, 0)
        found = differences(run, bundle)
        if not found:
            run.report(target)
    if found:
        console.say(f"No report: this run is not the one in {bundle}.")
        for difference in found:
            console.say(f"  {difference}")
        raise typer.Exit(1)
    typer.echo(f"Report: {target}")


@contextmanager
def _of_bundle(bundle: Path, data: Path | None) -> Generator[None]:
    """While a bundle is run again: what became of its strategy files is said, and where its bars may be."""
    from trimtab.research.bundle import changed_files

    def spec() -> Spec:
        from trimtab.app.wire import spec_of_bundle

        return spec_of_bundle(bundle)

    for change in changed_files(bundle):
        console.say(f"Note: {change}.")
    with cli_advice.given(spec, _root(data), near=(bundle.parent / "data",)):
        yield


def figures_of(run: Run, bundle: Path) -> dict[str, Any]:
    """A Run as the plain values that are printed."""
    from trimtab.research.canonical import plain
    from trimtab.words import day_of

    ts = run.ts
    return {
        "run_id": run.run_id,
        "spec": plain(run.spec),
        "window": f"{day_of(ts[0])} to {day_of(ts[-1])}" if len(ts) else "no bar",
        "metrics": run.metrics,
        "actions": acts_of(run.dated_actions),
        "limits": limits_of(run),
        "halted": run.halted,
        "execution": run.execution.to_dicts(),
        "notes": list(run.notes),
        "verdict": run.verdict,
        "bundle": str(bundle),
        "report": str(page) if (page := bundle / "report.html").is_file() else None,
    }


def _standing(run: Run, data: Path | None) -> dict[str, Any] | None:
    """Where a run stands in the trial ledger; None: it is not in it."""
    from trimtab.research.ledger.standing import standing_of_run

    standing = standing_of_run(run, _root(data))
    return None if standing is None else document_of(standing)


def document_of(standing: Standing) -> dict[str, Any]:
    """A standing as plain values, and the sentence that says it."""
    import msgspec

    return {**msgspec.to_builtins(standing), "told": standing.told}


def limits_of(run: Run) -> dict[str, Any]:
    """How near each limit came to its bound, and the sentence that says it."""
    from trimtab.research.utilisation import plain, told

    return {"each": plain(run.usage), "told": told(run.usage)}


def acts_of(actions: pl.DataFrame) -> list[dict[str, Any]]:
    """How often each limit did what to which instrument, and on which days first and last; in order of the first."""
    import polars as pl

    day = pl.col("day").cast(pl.String)
    counted = actions.group_by("limit", "action", "symbol", maintain_order=True).agg(
        times=pl.len(), first=day.min(), last=day.max()
    )
    return counted.with_columns(pl.col("symbol").replace("", "the book")).to_dicts()


def _print(figures: dict[str, Any], *, as_json: bool) -> None:
    if not as_json:
        console.print_run(console.stdout(), figures)
        return
    metrics = figures["metrics"]
    console.write_json(
        {
            "run_id": figures["run_id"],
            "metrics": {key: value for key, value in metrics.items() if key != "models"},
            "models": metrics.get("models", {}),
            "actions": figures["actions"],
            "limits": figures["limits"]["each"],
            "execution": figures["execution"],
            "halted": figures["halted"],
            "notes": figures["notes"],
            "trials": figures.get("trials"),
            "verdict": figures["verdict"],
            "bundle": figures["bundle"],
            "report": figures["report"],
        }
    )


def _check_folder(out: Path) -> None:
    """TrimtabError, before the work is done, where a folder can be neither used nor made."""
    above = next(place for place in (out, *out.parents) if place.exists())
    fault = "is a file" if not above.is_dir() else "may not be written to" if not os.access(above, os.W_OK) else ""
    if fault:
        from trimtab.types import TrimtabError

        raise TrimtabError(f"--out {out}: {above} {fault}; give another folder")


def _root(data: Path | None) -> str | None:
    return None if data is None else str(data)
