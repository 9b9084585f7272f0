"""What every test shares: the hypothesis profiles, and the real data beside the repository.

`make nightly` runs the laws with the profile of that name: each of them on 10,000 random histories (another number:
TRIMTAB_LAW_EXAMPLES), new ones every night; what breaks is printed so that it can be repeated.

Tests that need real data take the `shared` fixture; it skips where `../shared` is absent. With TRIMTAB_REQUIRE_SHARED=1
(continuous integration) the run fails if one of these tests was skipped, or if there was none: a green run then proves
that real data went through.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
LAWS = ROOT / "tests" / "laws"
_SETTINGS = (
    "_hypothesis_internal_use_settings"  # where hypothesis' own plugin reads a test's settings; pinned by a test
)
_ran = pytest.StashKey[list[str]]()
_skipped = pytest.StashKey[list[str]]()

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile(
    "nightly",
    deadline=None,
    print_blob=True,
    max_examples=int(os.environ.get("TRIMTAB_LAW_EXAMPLES", "10000")),
    database=DirectoryBasedExampleDatabase(ROOT / ".hypothesis" / "nightly"),  # what it finds is not asked by day
)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference figures beside the repository; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (real data), which is not here")
    return SHARED


def at_length(item: pytest.Item) -> None:
    """Let a law look at as many histories as the profile says, whatever its own decorator says for every day."""
    law = getattr(item, "obj", None)
    own = getattr(law, _SETTINGS, None)
    if own is not None:
        setattr(law, _SETTINGS, settings(own, max_examples=settings().max_examples))


@pytest.fixture(scope="session", autouse=True)
def _trials(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """What tests try is no trial of anybody's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRIMTAB_TRIALS", str(tmp_path_factory.mktemp("trials")))
        yield


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ran] = []
    config.stash[_skipped] = []
    config.pluginmanager.register(SharedData(config), "trimtab-shared-data")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if settings.get_current_profile_name() == "nightly":
        for item in items:
            if LAWS in item.path.parents:
                at_length(item)
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.user_properties.append(("shared", True))


class SharedData:
    """Counts the tests on real data. Under xdist the reports of all workers arrive at the controller, which judges."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.required = os.environ.get("TRIMTAB_REQUIRE_SHARED") == "1" and not hasattr(config, "workerinput")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if ("shared", True) not in report.user_properties:
            return
        if report.skipped and not hasattr(report, "wasxfail"):
            self.config.stash[_skipped].append(report.nodeid)
        elif report.when == "call":
            self.config.stash[_ran].append(report.nodeid)

    @property
    def fault(self) -> str:
        if not self.required or self.config.option.collectonly:
            return ""
        if skipped := self.config.stash[_skipped]:
            return "tests on real data were skipped: " + ", ".join(sorted(set(skipped)))
        return "" if self.config.stash[_ran] else "no test on real data ran"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.fault and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.fault:
            terminalreporter.write_line(f"TRIMTAB_REQUIRE_SHARED=1: {self.fault}", red=True)
        elif self.required:
            terminalreporter.write_line(f"{len(self.config.stash[_ran])} tests ran on real data")
