"""The project's own set-up: the lock, the layers, what an import loads, and the guard on real data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", ".ci/uv.lock")
HEAVY = ("numba", "llvmlite", "polars", "duckdb", "plotly", "pandas", "scipy")


def pins(lock: str) -> dict[str, list[str]]:
    """Per pinned `name==version` the hashes under it."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (ROOT / lock).read_text().splitlines():
        if match := re.match(r"([a-z0-9-]+==[^ ;]+)", line):
            current = found.setdefault(match[1], [])
        elif line.startswith("    --hash="):
            current.append(line.strip(" \\").removeprefix("--hash="))
        else:
            assert re.match(r"\s*#", line), f"{lock}: neither a pin, a hash nor a comment: {line!r}"
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_pins_everything_by_hash(lock: str) -> None:
    found = pins(lock)
    assert found
    for pin, hashes in found.items():
        assert hashes, f"{lock}: {pin} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h) for h in hashes), pin


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_names_no_address_and_no_path(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"--(find-links|(extra-)?index-url|trusted-host)|\bfile:| @ ", text)
    assert not re.search(r"(^|[\s='\"(])(~|\.{0,2})/\w", text), "a path"
    assert "\\Users" not in text


def test_the_lock_holds_every_requirement_of_the_project() -> None:
    versions: dict[str, set[str]] = {}
    for pin in pins("requirements.lock"):
        name, version = pin.split("==")
        versions.setdefault(name, set()).add(version)
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["dependency-groups"]["docs"],
        *PROJECT["build-system"]["requires"],
    ]
    for requirement in wanted:
        name = re.split(r"[\[<>=~! ]", requirement, maxsplit=1)[0]
        assert name in versions, f"{requirement} is not locked: make lock"
        if "==" in requirement:
            assert versions[name] == {requirement.split("==")[1]}


def test_every_module_has_its_layer() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    placed = [name.strip(" ()") for layer in layers for name in re.split(r"[|:]", layer)]
    assert len(placed) == len(set(placed))
    package = ROOT / "src" / "trimtab"
    present = {p.stem for p in package.glob("*.py")} | {p.parent.name for p in package.glob("*/__init__.py")}
    missing = present - {"__init__"} - set(placed)
    assert not missing, f"not in [tool.importlinter]: {sorted(missing)}"


def imported(*arguments: str) -> set[str]:
    """Top-level packages that a fresh interpreter loads for these arguments."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 0, "\n".join(said)
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


def test_importing_trimtab_loads_nothing_heavy() -> None:
    loaded = imported("-c", "import trimtab, trimtab.types")
    assert "trimtab" in loaded
    assert not loaded & set(HEAVY)


def test_help_loads_nothing_heavy() -> None:
    loaded = imported(str(Path(sys.executable).with_name("trimtab")), "--help")
    assert "trimtab" in loaded
    assert not loaded & set(HEAVY)


def test_make_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")} == targets


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project of its own that holds nothing but this one's conftest; no shared data beside it."""
    tests = tmp_path / "main" / "tests"
    tests.mkdir(parents=True)
    (tests / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "main" / "pytest.ini").write_text("[pytest]\n")
    return tmp_path / "main"


def run_pytest(clone: Path, test: str, *, required: bool, workers: int) -> tuple[int, str]:
    (clone / "tests" / "test_sample.py").write_text(test)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TRIMTAB_"))}
    environment["TRIMTAB_REQUIRE_SHARED"] = "1" if required else "0"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), "tests"]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


USES = "def test_data(shared):\n    assert shared.is_dir()\n"
PLAIN = "def test_plain():\n    assert True\n"
SKIPS = "import pytest\ndef test_data(shared):\n    pytest.skip('not today')\n"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_must_see_real_data_passes_when_it_did(clone: Path, workers: int) -> None:
    (clone.parent / "shared").mkdir()
    code, out = run_pytest(clone, USES, required=True, workers=workers)
    assert code == 0, out
    assert "1 tests ran on real data" in out


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("test", "present", "fault"),
    [
        (USES, False, "tests on real data were skipped: tests/test_sample.py::test_data"),
        (SKIPS + PLAIN, True, "tests on real data were skipped: tests/test_sample.py::test_data"),
        (PLAIN, True, "no test on real data ran"),
    ],
)
def test_a_run_that_must_see_real_data_fails_when_it_did_not(
    clone: Path, workers: int, test: str, present: bool, fault: str
) -> None:
    if present:
        (clone.parent / "shared").mkdir()
    code, out = run_pytest(clone, test, required=True, workers=workers)
    assert code == 1, out
    assert fault in out


def test_other_runs_may_skip_real_data(clone: Path) -> None:
    code, out = run_pytest(clone, USES, required=False, workers=0)
    assert code == 0, out
    assert "1 skipped" in out


def test_real_data_is_a_folder_with_data(shared: Path) -> None:
    assert (shared / "data").is_dir()


@pytest.mark.parametrize(("profile", "examples"), [("nightly", 7), ("local", 100)])
def test_the_nightly_profile_decides_how_many_histories_a_law_sees(profile: str, examples: int) -> None:
    law = "tests/laws/test_conservation.py::test_buying_never_overdraws"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hypothesis-profile={profile}",
         "--hypothesis-show-statistics", law],
        cwd=ROOT, text=True, capture_output=True, timeout=300,
        env={**os.environ, "TRIMTAB_LAW_EXAMPLES": "7", "CI": "", "TRIMTAB_REQUIRE_SHARED": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"settings.max_examples={examples}\n" in done.stdout
