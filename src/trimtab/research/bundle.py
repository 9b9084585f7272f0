"""Bundles: a run on disk, whole or not at all, and the proof that it can be run again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from trimtab.research.canonical import to_yaml, with_rooted_files
from trimtab.research.page import summary_of
from trimtab.strategies.files import rooted
from trimtab.types import TrimtabError

if TYPE_CHECKING:
    import polars as pl

    from trimtab.research.run import Run

TABLES: Final = (
    "equity",
    "orders",
    "fills",
    "trades",
    "weights",
    "actions",
    "utilisation",
    "shares",
    "regimes",
    "attribution",
    "execution",
    "slippage",
    "marks",
)

#: What a run's numbers depend on beside its spec, and how a difference of it is told.
IDENTITY: Final = {
    "data_hash": "the store's bars are not those that the run saw",
    "code_version": "another version of Trimtab",
    "platform": "another platform",
}
#: A difference although every number is the same.
ALWAYS: Final = ("data_hash",)

#: Folders beside the bundles while one is written: the new one before it is whole, the older one while it is replaced.
_NEW: Final = ".writing-"
_OLD: Final = ".old-"


def write_bundle(run: Run, folder: Path, report: bool = True) -> Path:
    """Write folder/<run_id>/ : spec.yaml, summary.json, a Parquet file per table, report.html; replaces an older one.

    Everything is written beside its place and moved in at the end, so an interrupted write leaves no half bundle; what
    a killed one left behind is cleared by the next. A strategy file is named by its whole path: the bundle can be run
    again from any folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / run.run_id
    with contextlib.ExitStack() as alive:
        with _held(folder) as alone:
            if alone:
                _clear(folder)
            beside = Path(tempfile.mkdtemp(dir=folder, prefix=_NEW))
            alive.enter_context(_held(beside))
        try:
            (beside / "spec.yaml").write_text(to_yaml(with_rooted_files(run.spec)), encoding="utf-8")
            (beside / "summary.json").write_text(_summary_text(run), encoding="utf-8")
            for name in TABLES:
                table: pl.DataFrame = getattr(run, name)
                table.write_parquet(beside / f"{name}.parquet", compression="zstd")
            if report:
                run.report(beside / "report.html")
            beside.chmod(0o755)
            with _held(folder):
                _swap(beside, target)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return target


def _swap(beside: Path, target: Path) -> None:
    """Move a finished folder into place; a directory cannot be replaced in one step, so the old one steps aside."""
    if target.exists():
        old = target.with_name(f"{_OLD}{target.name}")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
        try:
            os.replace(beside, target)
        except OSError:
            os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(beside, target)


def _clear(folder: Path) -> None:
    """Undo what killed writers left: an older bundle that had stepped aside comes back, half written ones go.

    The caller holds the folder: nobody is between the two steps of a swap. A folder that its writer holds is alive.
    """
    for old in _stepped_aside(folder):
        target = folder / old.name.removeprefix(_OLD)[:64]
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(old, target)
    for beside in folder.glob(f"{_NEW}*"):
        with _held(beside, wait=False) as abandoned:
            if abandoned:
                shutil.rmtree(beside, ignore_errors=True)


def _stepped_aside(folder: Path) -> list[Path]:
    """Older bundles in a folder that are, or were, being replaced."""
    named = re.compile(rf"{re.escape(_OLD)}[0-9a-f]{{64}}(-\d+)?")
    return [p for p in folder.iterdir() if named.fullmatch(p.name)] if folder.is_dir() else []


@contextlib.contextmanager
def _held(folder: Path, *, wait: bool = True) -> Generator[bool]:
    """Hold a folder against other processes; says whether that worked. The lock ends with the process that has it.

    Where there are no such locks (Windows, some network drives) the answer is no: writers go on without, and nothing of
    others is cleared.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _summary_text(run: Run) -> str:
    summary = summary_of(run)
    summary["strategy_files"] = {rooted(path): digest for path, digest in run.strategy_files.items()}
    return json.dumps(summary, indent=2, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    """inf and numpy numbers inside the summary."""
    return value.item() if hasattr(value, "item") else str(value)


def found_bundle(path: Path) -> Path:
    """A bundle's folder by its path, or by a path that ends in the first digits of its run id (people are shown 16)."""
    if path.is_dir():
        return path
    if path.exists():
        raise TrimtabError(f"{path}: is a file; expected a run's bundle, a folder such as results/RUN_ID")
    folder = path.parent
    if _stepped_aside(folder):
        with contextlib.suppress(OSError), _held(folder) as alone:  # a folder that may only be read stays as it is
            if alone:
                _clear(folder)
    close = [b for b in bundles_in(folder) if b.name.startswith(path.name)] if len(path.name) >= 4 else []
    if len(close) == 1:
        return close[0]
    what = f"{len(close)} bundles begin so; give more digits" if close else "there is no such bundle"
    raise TrimtabError(f"{path}: {what}; expected a folder such as {_example(folder)}")


def bundles_in(folder: Path) -> list[Path]:
    """The bundles of a folder, the latest first; empty where there is no such folder."""
    found = [p for p in folder.iterdir() if (p / "summary.json").is_file()] if folder.is_dir() else []
    return sorted((p for p in found if not p.name.startswith(".")), key=lambda p: -p.stat().st_mtime)


def _example(folder: Path) -> str:
    """A bundle as a command would name it: the latest of a folder, else the form of its path."""
    return next((str(b.with_name(b.name[:16])) for b in bundles_in(folder)), "results/RUN_ID")


def read_summary(bundle: Path) -> dict[str, Any]:
    """summary.json of a bundle; TrimtabError where the folder is none, or the file is damaged."""
    path = bundle / "summary.json"
    if not path.is_file():
        raise TrimtabError(
            f"{bundle}: not a run's bundle (summary.json is missing); expected a folder such as {_example(bundle)}"
        )
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        return {name: summary[name] for name in IDENTITY} | summary
    except (ValueError, KeyError, TypeError) as error:
        raise TrimtabError(f"{path}: damaged ({error}); run the bundle's spec.yaml again to make it anew") from None


def read_table(bundle: Path, name: str) -> pl.DataFrame:
    import polars as pl

    path = bundle / f"{name}.parquet"
    if not path.is_file():
        raise TrimtabError(f"{path}: missing; run the bundle's spec.yaml again to make it anew")
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        what = str(error).strip().partition("\n")[0]
        raise TrimtabError(f"{path}: damaged ({what}); run the bundle's spec.yaml again to make it anew") from None


def differences(run: Run, bundle: Path) -> list[str]:
    """Where a run differs from what a bundle holds, in words; empty: every table is equal bit for bit.

    Other bars are a difference even where every number came out the same; another version or platform only where it
    changed one. TrimtabError where a file of the bundle is missing or damaged.
    """
    stored = read_summary(bundle)
    now = {name: getattr(run, name) for name in IDENTITY}
    changed = [name for name in IDENTITY if stored[name] != now[name]]
    known = {name: f"{IDENTITY[name]}: {_short(stored[name])} then, {_short(now[name])} now" for name in changed}
    summary = json.loads(_summary_text(run))
    reasons = [*known.values(), *_other_rules(stored, summary)]
    tables: list[str] = []
    for name in TABLES:
        then, again = read_table(bundle, name), getattr(run, name)
        if not then.equals(again):
            tables.append(f"{name}: {_first_difference(then, again)}")
    tables.extend(_other_figures("metrics", stored.get("metrics"), summary["metrics"]))
    if not tables:
        return [f"{reason}; no number changed" for name, reason in known.items() if name in ALWAYS]
    return tables + (
        reasons or ["bars, rules, code and platform are those of the run: the bundle's files were changed"]
    )


def changed_files(bundle: Path) -> list[str]:
    """The strategy files of a bundle whose text is not the one that ran, in words.

    TrimtabError where one is gone: the run cannot be repeated without it.
    """
    then: dict[str, str] = read_summary(bundle).get("strategy_files", {})
    gone = [path for path in then if not Path(rooted(path)).is_file()]
    if gone:
        raise TrimtabError(
            f"{bundle}: this run's strategy file {rooted(gone[0])} is gone; put it back there (sha256 "
            f"{_short(then[gone[0]])}…), then replay it"
        )
    from trimtab.research.run import hash_file

    return _changed(then, {path: hash_file(rooted(path)) for path in then})


def _changed(then: dict[str, str], now: dict[str, str]) -> list[str]:
    return [
        f"{path} is not the file that ran: {_short(then[path])} then, {_short(digest)} now"
        for path, digest in now.items()
        if then.get(path, digest) != digest
    ]


def _other_rules(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Instruments of the catalogue and strategy files of the user's own that are not what they were."""
    stored = {i["symbol"]: i for i in then.get("instruments", ())}
    found = [
        f"{i['symbol']}: {name} was {stored[i['symbol']].get(name)}, is {value}"
        for i in now["instruments"]
        if i["symbol"] in stored
        for name, value in i.items()
        if stored[i["symbol"]].get(name) != value
    ]
    files: dict[str, str] = then.get("strategy_files", {})
    return found + _changed({rooted(path): digest for path, digest in files.items()}, now["strategy_files"])


def _other_figures(path: str, then: Any, now: Any) -> list[str]:
    """The first figure of the summary that is not what it was."""
    if isinstance(then, dict) and isinstance(now, dict):
        stored, again = cast("dict[str, Any]", then), cast("dict[str, Any]", now)
        none: list[str] = []
        found = (_other_figures(f"{path}.{k}", stored.get(k), again.get(k)) for k in {**stored, **again})
        return next((difference for difference in found if difference), none)
    return [] if then == now else [f"summary: {path}: {then} then, {now} now"]


def _short(value: str) -> str:
    """A sha256 by its first 16 digits."""
    return value[:16] if len(value) == 64 else value


def _first_difference(then: pl.DataFrame, now: pl.DataFrame) -> str:
    if then.columns != now.columns:
        return f"columns {', '.join(then.columns)} then, {', '.join(now.columns)} now"
    if then.height != now.height:
        return f"{then.height:,} rows then, {now.height:,} now"
    for column in then.columns:
        if then[column].dtype != now[column].dtype:
            return f"column {column} was {then[column].dtype}, is {now[column].dtype}"
        unequal = (~then[column].eq_missing(now[column])).arg_true()
        if len(unequal):
            row = int(unequal[0])
            at = f" ({then['ts'][row]:%Y-%m-%d %H:%M})" if "ts" in then.columns and column != "ts" else ""
            more = f" ({len(unequal):,} rows differ)" if len(unequal) > 1 else ""
            return f"row {row:,}{at}, {column}: {then[column][row]} then, {now[column][row]} now{more}"
    return "types differ"
