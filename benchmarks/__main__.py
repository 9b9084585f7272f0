"""`python -m benchmarks [NAME…] [--json FILE]`: measure, print, and say which targets are met."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from trimtab.compiled import point_cache

point_cache()  # before anything of numba is imported: the benchmarks share the users' cache

from benchmarks.figures import Figure, machine  # noqa: E402
from benchmarks.registry import BENCHMARKS, matching  # noqa: E402


def main() -> int:
    """0: everything was measured (met or not); 1: a benchmark failed; 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The figures that Trimtab claims.")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a benchmark or the first part of its name; default: all"
    )
    parser.add_argument("--list", action="store_true", help="name the benchmarks and measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write machine and figures to FILE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as trials:  # what is run to be measured is no trial of anybody's
        os.environ["TRIMTAB_TRIALS"] = trials
        return _main(parser, given)


def _main(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    try:
        names = matching(given.names)
    except KeyError as error:
        parser.error(error.args[0])
    if given.list:
        for name in names:
            print(f"{name:<22}{BENCHMARKS[name].what}")
        return 0
    return _run(names, given.json)


def _run(names: list[str], target: Path | None) -> int:
    facts = machine()
    libraries = ", ".join(f"{name} {found}" for name, found in facts["libraries"].items())
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, {facts['system']}, Python {facts['python']}"
    )
    print(f"{libraries}; load average {facts['load_average']}\n", flush=True)
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    for name in names:
        command = f"python -m benchmarks {name}"
        print(f"{command}  ({BENCHMARKS[name].what})")
        start = time.perf_counter()
        try:
            for figure in BENCHMARKS[name].figures():
                figures.append(msgspec.structs.replace(figure, command=command))
                print(line_of(figure), flush=True)
        except Exception as error:
            traceback.print_exc()
            failures[name] = f"{type(error).__name__}: {error}"
            print(f"  FAILED, see above: {failures[name][:200]}", flush=True)
        print(f"  {time.perf_counter() - start:.0f} s\n", flush=True)
    _conclude(figures, failures)
    if target is not None:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(_report(facts, figures, failures))))
    return 1 if failures else 0


def line_of(figure: Figure) -> str:
    """name, median (min to max, runs), unit, target, met or not."""
    s = figure.sample
    spread = f" ({number(s.low)} to {number(s.high)}, {s.runs} runs)" if s.runs > 1 else ""
    verdict = ""
    if figure.target is not None:
        bound = "at least" if figure.at_least else "at most"
        verdict = f"  target {bound} {number(figure.target)}: {'met' if figure.met else 'NOT MET'}"
    note = f"\n      {figure.note}" if figure.note else ""
    return f"  {figure.name:<58} {number(s.median):>9} {figure.unit}{spread}{verdict}{note}"


def number(value: float) -> str:
    """Three significant digits, whole from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _conclude(figures: list[Figure], failures: dict[str, str]) -> None:
    judged = [f for f in figures if f.met is not None]
    missed = [f.name for f in judged if not f.met]
    others = len(figures) - len(judged)
    print(f"{len(judged) - len(missed)} of {len(judged)} targets met, {others} figures without a target")
    for name in missed:
        print(f"  not met: {name}")
    for name, why in failures.items():
        print(f"  failed:  {name}: {why.splitlines()[0][:160]}")


def _report(facts: dict[str, Any], figures: list[Figure], failures: dict[str, str]) -> dict[str, Any]:
    lines = [{**msgspec.structs.asdict(f), "sample": msgspec.structs.asdict(f.sample), "met": f.met} for f in figures]
    return {"machine": facts, "figures": lines, "failures": failures}


if __name__ == "__main__":
    sys.exit(main())
