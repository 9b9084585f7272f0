"""The commands that run: demo, backtest, sweep, replay, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.app import cli_log, console
from trimtab.app.cli_config import JsonOption, SetOption, SpecFile

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.run import Run
    from trimtab.types import Spec

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The store; default: $TRIMTAB_DATA, else ./trimtab-data."),
]
StartOption = Annotated[str | None, typer.Option("--start", metavar="DATE", help="First instant, over the spec's.")]
EndOption = Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last instant, over the spec's.")]
Bundle = Annotated[
    Path,
    typer.Argument(metavar="BUNDLE", help="A run's folder; the first digits of its name will do.", show_default=False),
]


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything goes.")] = Path("demo"),
    as_json: JsonOption = False,
) -> None:
    """Backtest four models on real bars and write the report.

    From nothing to a backtest in one command, without network or account: S&P 500 and Nasdaq daily bars and WTI closes
    that are installed with Trimtab. Writes the store, the run's bundle and its report.html under --out.

    [bold]Examples[/bold]
      trimtab demo
      trimtab demo --out /tmp/first-run
    """
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

    Writes the bundle DIR/RUN_ID: spec, metrics, equity, orders, fills, trades, weights, actions, report.html.
    Exit codes: 2 a mistake in the spec, 3 not enough data, 4 a drawdown limit halted the book (the bundle is written).

    [bold]Examples[/bold]
      trimtab backtest book.yaml
      trimtab backtest book.yaml --start 2015-01-01 --set models.0.params.slow=100
      trimtab backtest book.yaml --no-report --json | jq .metrics.net.sharpe
    """
    with cli_log.opened(log) as events:
        found = _spec(spec, settings, start, end)
        from trimtab.app.wire import run_backtest

        with console.progress(shown=not as_json) as progress:
            run = run_backtest(found, root=_root(data), progress=progress)
            cli_log.log_run(events, run)
            progress("writing the bundle", 0, 0)
            figures = figures_of(run, run.save(out, report=not no_report))
        _print(figures, as_json=as_json)
    if figures["halted"]:
        console.say("The book was halted by its drawdown limit before the end (see the actions).")
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

    Writes nothing, or all sets into --out. The best of many sets is flattered by having been picked: expect less of it.

    [bold]Examples[/bold]
      trimtab sweep book.yaml --grid models.0.params.fast=5:30:1 --grid models.0.params.slow=35:235:5
      trimtab sweep book.yaml --grid models.0.budget=10%,20%,40% --sort calmar --out sets.parquet
    """
    from trimtab.app import table
    from trimtab.app.grid import read_grid

    found = _spec(spec, settings, start, end)
    axes = read_grid(found, grid or ())
    if out is not None:
        table.check_path(out)
    from trimtab.app.wire import run_sweep

    with console.progress(shown=not as_json) as progress:
        frame = run_sweep(found, axes, root=_root(data), progress=progress)
    ordered = table.sorted_by(frame, sort)
    if out is not None:
        table.write(ordered, out)
        console.say(f"All {frame.height:,} sets: {out}")
    rows = table.rows(ordered, top)
    if as_json:
        console.write_json({"sets": frame.height, "sort": sort, "top": rows})
    else:
        console.print_sweep(console.stdout(), rows, sort, frame.height)


def replay(bundle: Bundle, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Run a bundle again: are the numbers the same, bit for bit?

    Exit code 1 if it does not: each difference is listed with what changed (data, code or platform). Writes nothing.

    [bold]Examples[/bold]
      trimtab replay results/3f1c0a9be2d47781
    """
    from trimtab.app.wire import replay as run_again
    from trimtab.research.bundle import found_bundle

    bundle = found_bundle(bundle)
    with console.progress(shown=not as_json):
        differences = list(run_again(bundle, _root(data)))
    if as_json:
        console.write_json({"bundle": str(bundle), "identical": not differences, "differences": differences})
    elif not differences:
        typer.echo("Identical: the same orders, fills, equity and metrics.")
    else:
        typer.echo(f"Different from {bundle}:")
        for difference in differences:
            typer.echo(f"  {difference}")
    if differences:
        raise typer.Exit(1)


def report(
    bundle: Bundle,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: report.html in the bundle.")
    ] = None,
) -> None:
    """Make the report of a bundle again.

    Runs the bundle's spec on the store's bars, and writes one self-contained HTML file that opens offline, if every
    stored table comes out the same bit for bit; otherwise exit code 1 with the differences, and nothing is written.

    [bold]Examples[/bold]
      trimtab report results/3f1c0a9be2d47781
      trimtab report results/3f1c0a9be2d47781 --out tear-sheet.html
    """
    from trimtab.app.wire import run_backtest, spec_of_bundle
    from trimtab.research.bundle import differences, found_bundle

    bundle = found_bundle(bundle)
    target = out or bundle / "report.html"
    with console.progress() as progress:
        run = run_backtest(spec_of_bundle(bundle), root=_root(data), progress=progress)
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


def figures_of(run: Run, bundle: Path) -> dict[str, Any]:
    """A Run as the plain values that are printed."""
    from trimtab.research.canonical import plain

    ts = run.equity["ts"]
    return {
        "run_id": run.run_id,
        "spec": plain(run.spec),
        "window": f"{ts[0]:%Y-%m-%d} to {ts[-1]:%Y-%m-%d}" if len(ts) else "no bar",
        "metrics": run.metrics,
        "actions": acts_of(run.actions),
        "halted": run.halted,
        "notes": list(run.notes),
        "verdict": run.verdict,
        "bundle": str(bundle),
        "report": str(page) if (page := bundle / "report.html").is_file() else None,
    }


def acts_of(actions: pl.DataFrame) -> list[dict[str, Any]]:
    """How often each limit did what to which instrument, and when first and last; in order of the first."""
    import polars as pl

    counted = actions.group_by("limit", "action", "symbol", maintain_order=True).agg(
        times=pl.len(),
        first=pl.col("ts").min().dt.strftime("%Y-%m-%d"),
        last=pl.col("ts").max().dt.strftime("%Y-%m-%d"),
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
            "halted": figures["halted"],
            "notes": figures["notes"],
            "verdict": figures["verdict"],
            "bundle": figures["bundle"],
            "report": figures["report"],
        }
    )


def _spec(path: Path, settings: list[str] | None, start: str | None, end: str | None) -> Spec:
    from trimtab.app.config import complete, read_spec
    from trimtab.app.overrides import overrides_of

    return complete(read_spec(path, overrides_of(settings, start=start, end=end)))


def _root(data: Path | None) -> str | None:
    return None if data is None else str(data)
