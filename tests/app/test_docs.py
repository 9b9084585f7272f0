"""The README and the pages of docs/, run as a reader would run them.

Every fenced block is taken at its word:

* `console`: each line after `$ ` is a command. It has to end with exit code 0 (`<!-- exit 2 -->` before the block:
  with 2), and the lines below it, if there are any, have to be what it prints. A line `…` stands for any lines, and
  `…` inside a line for any text.
* `python`: runs, in one namespace per page; a `text` block right after it is what it prints.
* `yaml title="book.yaml"` (or any other language with a title): the file of that name.
* `<!-- not run: why -->` before a block leaves it out; `<!-- excerpt of FILE -->`: its lines stand in that file.

Each page has a folder of its own, with a store and the files that the commands name; the README starts from nothing.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import glob
import io
import itertools
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

import trimtab as tt
from trimtab.app.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
ENV = {"COLUMNS": "100", "TRIMTAB_TRACEBACK": "", "TRIMTAB_DATA": "", "NO_COLOR": "1"}

_FENCE = re.compile(r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.M | re.S)
_NOTE = re.compile(r"<!-- (?P<note>[^>]*) -->\s*\Z")


class Block(NamedTuple):
    """One fenced block of a page; follows: nothing but white space stands between it and the block before."""

    line: int
    language: str
    title: str
    text: str
    note: str
    follows: bool


def blocks_of(page: Path) -> list[Block]:
    text, found, end = page.read_text(encoding="utf-8"), [], 0
    for match in _FENCE.finditer(text):
        between = text[end : match.start()]
        note = _NOTE.search(between)
        found.append(
            Block(
                text.count("\n", 0, match.start()) + 1,
                match["language"],
                match["title"] or "",
                match["text"],
                note["note"] if note else "",
                not between.strip(),
            )
        )
        end = match.end()
    return found


def is_run(block: Block) -> bool:
    return block.language in ("console", "python") and not block.note.startswith(("not run: ", "excerpt of "))


def commands_of(block: Block) -> Iterator[tuple[str, str]]:
    """(command, what it should print; empty: whatever it likes) of a console block."""
    for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
        lines = part.split("\n")
        size = next(k for k, line in enumerate(lines) if not line.endswith("\\")) + 1
        yield "\n".join(lines[:size]).replace("\\\n", " "), "\n".join(lines[size:]).strip("\n")


def squeezed(text: str) -> list[str]:
    """Lines as they are compared: how wide a table is drawn does not count, nor do rules and blank lines."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line.strip("─ ")]


def pattern_of(expected: str) -> re.Pattern[str]:
    """What a page shows, as an expression for what was printed."""
    lines = squeezed(expected)
    parts = ["(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in lines]
    return re.compile("".join(parts))


def assert_prints(expected: str, printed: str, where: str) -> None:
    told = "".join(f"{line}\n" for line in squeezed(printed))
    if expected and not pattern_of(expected).fullmatch(told):
        pytest.fail(f"{where}: the page shows\n{expected}\n\nbut it prints\n{printed}", pytrace=False)


def words_of(command: str) -> list[str]:
    """What the shell makes of a command's line: a path with `*` stands for what is there."""
    words = shlex.split(command, comments=True)
    there = ((sorted(glob.glob(word)) if re.fullmatch(r"[\w./*-]+", word) else []) or [word] for word in words)
    return [*itertools.chain.from_iterable(there)]


def run_command(command: str, folder: Path) -> tuple[int, str]:
    """Exit code and everything printed; `trimtab` alone runs in this process, which spares its start. There an engine
    does without its watchdog, which needs a process of its own: tests/app/test_paper.py looks at that."""
    words = words_of(command)
    if words[0] == "trimtab" and not re.search(r"[|<>;&$]", command):
        unwatched = ["--deadline", "0"] if words[1:2] == ["paper"] else []
        result = CliRunner().invoke(app, [*words[1:], *unwatched], env=ENV)
        return result.exit_code, result.output
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=folder, env={**os.environ, **ENV, "PATH": path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout


def play(page: Path, folder: Path) -> int:
    """Run every block of a page in a folder; the number of commands and python blocks that ran."""
    names: dict[str, Any] = {"__name__": "__page__"}
    printed, ran, where = "", 0, ""
    for block in blocks_of(page):
        if block.language == "text" and block.follows and printed:
            assert_prints(block.text, printed, where)
        printed, where = "", f"{page.relative_to(ROOT)}:{block.line}"
        if block.note.startswith("excerpt of "):
            whole = (ROOT / block.note.removeprefix("excerpt of ")).read_text(encoding="utf-8")
            assert block.text in whole, f"{where}: not an {block.note}"
        elif block.note.startswith("not run: "):
            continue
        elif block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block.text, where, "exec"), names)
            printed, ran = out.getvalue(), ran + 1
        elif block.language == "console":
            ran += play_console(block, folder, where)
    return ran


def play_console(block: Block, folder: Path, where: str) -> int:
    code = int(block.note.removeprefix("exit ")) if block.note.startswith("exit ") else 0
    ran = 0
    for command, expected in commands_of(block):
        if command.startswith("make "):  # what it calls is tested by itself
            target = command.split()[1]
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), f"{where}: no target {target}"
            continue
        if "| jq " in command and shutil.which("jq") is None:
            continue
        found, printed = run_command(command, folder)
        assert found == code, f"{where}: $ {command}\nexit code {found}, expected {code}\n{printed}"
        assert_prints(expected, printed, f"{where}: $ {command}")
        ran += 1
    return ran


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages name: files of bars, the examples, and a store that holds the bars."""
    import polars as pl

    folder = tmp_path_factory.mktemp("ground")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for spec in ("costs_and_limits.yaml", "crypto_trend.yaml"):
        shutil.copy(ROOT / "examples" / spec, folder)
    shutil.copy(folder / "crypto_trend.yaml", folder / "book.yaml")
    hours = [dt.datetime(2021, 3, 1, tzinfo=dt.UTC) + dt.timedelta(hours=k) for k in range(24 * 400)]
    for n, symbol in enumerate(("BTCEUR", "ETHEUR")):
        wave = [math.exp(0.0001 * k + 0.2 * math.sin(k / (150 + 40 * n))) * (40_000, 1_300)[n] for k in range(9_601)]
        price = [round(p, 2) for p in wave]
        pl.DataFrame(
            {
                "open_time": hours,
                "open": price[:-1],
                "high": [max(pair) * 1.001 for pair in itertools.pairwise(price)],
                "low": [min(pair) * 0.999 for pair in itertools.pairwise(price)],
                "close": price[1:],
                "volume": [25.0 + k % 7 for k in range(9_600)],
            }
        ).write_parquet(folder / f"{symbol}_1h.parquet")
    pl.read_parquet(folder / "BTCEUR_1h.parquet").write_csv(folder / "BTCEUR_1h.csv")
    write_sp500(folder / "SP500_1d.csv")
    shutil.copy(folder / "SP500_1d.csv", folder / "spy.csv")
    shutil.copy(folder / "SP500_1d.csv", folder / "spy_1d.csv")
    # Of two files whose classes look alike numba mixes up the compiled code (it unites types by their names), so this
    # one's State has a name of its own.
    mine = (ROOT / "examples" / "volatility_breakout.py").read_text(encoding="utf-8").replace("State", "Memory")
    (folder / "my_strategy.py").write_text(mine, encoding="utf-8")
    store = ["--data", str(folder / "trimtab-data")]
    spy = ["spy.csv", "--symbol", "SPY", "--timeframe", "1d", "--asset-class", "equity", "--venue", "alpaca"]
    coins = ["BTCEUR_1h.parquet", "ETHEUR_1h.parquet", "--venue", "bitvavo"]
    with contextlib.chdir(folder):
        for words in (["SP500_1d.csv", "--asset-class", "index"], spy, coins):
            done = CliRunner().invoke(app, ["data", "import", *words, *store], env=ENV)
            assert done.exit_code == 0, done.output
    return folder


def write_sp500(path: Path) -> None:
    pytest.importorskip("arch.data.sp500").load().to_csv(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_runs_as_written(name: str, ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "page"
    if name == "README.md" or not any(map(is_run, blocks_of(ROOT / name))):
        folder.mkdir()
    else:
        shutil.copytree(ground, folder)
    monkeypatch.chdir(folder)
    for own in ("TRIMTAB_DATA", "TRIMTAB_TRIALS"):
        monkeypatch.delenv(own, raising=False)
    ran = play(ROOT / name, folder)
    if name in ("README.md", "docs/api.md", "docs/crashes.md", "docs/fills.md"):
        assert ran, f"{name}: nothing in it could be run"


# --- the reader of the pages, and that it can fail --------------------------------------------------------------------


def page_of(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```console\n$ trimtab strategies shwo\n```\n", "exit code 2"),
        ("```console\n$ echo one\ntwo\n```\n", "the page shows"),
        ("```console\n$ make nothing-of-the-kind\n```\n", "no target"),
        ("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", "the page shows"),
        ("<!-- excerpt of LICENSE -->\n```python\nnothing of it\n```\n", "not an excerpt"),
        ("<!-- exit 2 -->\n```console\n$ true\n```\n", "expected 2"),
    ],
)
def test_a_page_that_is_wrong_is_caught(text: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    for name in ("LICENSE", "Makefile"):
        shutil.copy(PAGES[0].parent / name, tmp_path / name)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=fault):
        play(page_of(tmp_path, text), tmp_path)


def test_an_ellipsis_stands_for_lines_and_for_text():
    assert pattern_of("a\n…\nd …").fullmatch("a\nb\nc\nd e\n")
    assert not pattern_of("a\n…\nd").fullmatch("a\nb\nc\n")


# --- what a page must not forget --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{name}: {target} is not there"


def test_every_reason_and_limit_is_explained():
    from trimtab.rules.limits import ACTIONS, LIMIT_NAMES
    from trimtab.rules.orders import REASONS
    from trimtab.types import ORDER_KINDS, TIFS

    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("fills.md", "accounts.md")]
    page = " ".join(" ".join(pages).split())
    words = (*filter(None, REASONS), *LIMIT_NAMES, *ACTIONS, *ORDER_KINDS, *TIFS, *tt.Costs._fields, *tt.Limits._fields)
    assert not [word for word in words if f"`{word}`" not in page]


def test_every_public_name_is_in_the_api_page():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert not [name for name in tt.__all__ if name != "__version__" and f"tt.{name}" not in page]


def test_every_key_of_a_spec_is_in_the_page():
    from trimtab.app.schema import schema

    def keys(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from node.get("properties", {})
            for value in node.values():
                yield from keys(value)
        elif isinstance(node, list):
            for value in node:
                yield from keys(value)

    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    found = set(keys(schema()))
    assert {"margin_interest", "regime_budgets", "wallet", "reads", "venues"} <= found
    assert not [key for key in sorted(found) if f"`{key}`" not in page]


def test_every_sizer_and_regime_with_its_parameters_is_on_its_page():
    from trimtab.portfolio.book import SIZERS
    from trimtab.portfolio.regime.table import REGIMES

    sizing, regimes = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("sizing.md", "regimes.md"))
    for name, sizer in SIZERS.items():
        row = next(line for line in sizing.splitlines() if line.startswith(f"| `{name}` |"))
        told = sizing if "the same" in row else row
        assert not [param for param in sizer.params._fields if f"`{param}`" not in told], name
    for name, regime in REGIMES.items():
        row = next(line for line in regimes.splitlines() if line.startswith(f"| `{name}` |"))
        assert not [label for label in regime.names if label not in row], name


def test_the_windows_are_those_of_the_page():
    from trimtab.rules.derive import VOLUME_DAYS
    from trimtab.rules.market import VOL_WINDOW

    page = " ".join((ROOT / "docs" / "fills.md").read_text(encoding="utf-8").split())
    assert f"last {VOL_WINDOW} returns" in page
    assert f"last {VOLUME_DAYS} finished UTC days" in page


def test_the_documentation_builds(tmp_path: Path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(tmp_path / "site")], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
