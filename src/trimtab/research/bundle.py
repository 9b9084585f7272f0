"""Bundles: a run on disk, whole or not at all, and the proof that it can be run again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.research.canonical import to_yaml
from trimtab.research.page import summary_of
from trimtab.types import TrimtabError

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.run import Run

TABLES = ("equity", "orders", "fills", "trades", "weights", "actions")


def write_bundle(run: Run, folder: Path, report: bool = True) -> Path:
    """Write folder/<run_id>/ : spec.yaml, summary.json, six Parquet tables, report.html; replaces an older one.

    Everything is written beside its place and moved in at the end, so an interrupted write leaves no half bundle.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / run.run_id
    beside = Path(tempfile.mkdtemp(dir=folder, prefix=".writing-"))
    try:
        (beside / "spec.yaml").write_text(to_yaml(run.spec))
        (beside / "summary.json").write_text(json.dumps(summary_of(run), indent=2, allow_nan=False, default=_plain))
        for name in TABLES:
            table: pl.DataFrame = getattr(run, name)
            table.write_parquet(beside / f"{name}.parquet", compression="zstd")
        if report:
            run.report(beside / "report.html")
        beside.chmod(0o755)
        _swap(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return target


def _swap(beside: Path, target: Path) -> None:
    """Move a finished folder into place; a directory cannot be replaced in one step, so the old one steps aside."""
    if target.exists():
        old = target.with_name(f".old-{target.name}-{os.getpid()}")
        os.replace(target, old)
        os.replace(beside, target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(beside, target)


def _plain(value: Any) -> Any:
    """inf and numpy numbers inside the summary."""
    return value.item() if hasattr(value, "item") else str(value)


def read_summary(bundle: Path) -> dict[str, Any]:
    """summary.json of a bundle; TrimtabError where the folder is none."""
    path = bundle / "summary.json"
    if not path.is_file():
        raise TrimtabError(f"{bundle}: no bundle (summary.json is missing); expected a folder such as results/<run_id>")
    return json.loads(path.read_text())


def differences(run: Run, bundle: Path) -> list[str]:
    """Where a run differs from what a bundle holds, in words; empty: every table is equal bit for bit."""
    import polars as pl

    stored, found = read_summary(bundle), []
    for name, now in (("data_hash", run.data_hash), ("code_version", run.code_version), ("platform", run.platform)):
        if stored[name] != now:
            found.append(f"{name} was {stored[name]}, is {now}")
    tables: list[str] = []
    for name in TABLES:
        then, now = pl.read_parquet(bundle / f"{name}.parquet"), getattr(run, name)
        if not then.equals(now):
            tables.append(f"{name}: {_first_difference(then, now)}")
    # Another version or platform is worth a word only where it changed a number.
    return tables + (found if tables else [line for line in found if line.startswith("data_hash")])


def _first_difference(then: pl.DataFrame, now: pl.DataFrame) -> str:
    if then.columns != now.columns:
        return f"columns were {', '.join(then.columns)}, are {', '.join(now.columns)}"
    if then.height != now.height:
        return f"{then.height} rows then, {now.height} now"
    for column in then.columns:
        unequal = (~then[column].eq_missing(now[column])).arg_true()
        if len(unequal):
            row = int(unequal[0])
            return f"row {row}, {column}: {then[column][row]} then, {now[column][row]} now ({len(unequal)} rows differ)"
    return "types differ"
