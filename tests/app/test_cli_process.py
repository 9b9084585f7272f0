"""The command in a process of its own: start-up, exit codes, streams."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numpy", "polars", "numba", "plotly", "duckdb", "rich", "structlog", "yaml", "msgspec")
ENV = {**os.environ, "TRIMTAB_TRACEBACK": ""}


def run(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from trimtab.app.cli import main; main()", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **{"env": ENV, **options})  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("args", ["[]", "['--help']", "['--version']", "['nonsense']", "['backtest']"])
def test_the_first_page_loads_nothing_heavy(args: str):
    code = (
        "import sys\nfrom trimtab.app.cli import main\n"
        f"sys.argv = ['trimtab', *{args}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "sys.stderr.write('loaded: ' + repr(loaded))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENV, timeout=60, check=True
    )
    loaded = result.stderr.rpartition("loaded: ")[2]
    assert loaded == "[]"


def test_exit_codes_and_streams(tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("universe: A\nmodels: [{strategy: sma_cross}]\nlimits: {stop_los: 1%}\n")
    result = run("config", "check", bad)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{bad}:3  limits.stop_los: there is no such key (did you mean 'stop_loss'?)")
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert run("--version").stdout.startswith("trimtab ")
    assert run("nonsense").returncode == 2


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -c 'from trimtab.app.cli import main; main()' config schema | head -c 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, env=ENV, timeout=60, check=False)
    assert (result.stdout, result.stderr) == ("{", "")


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_is_clean(tmp_path: Path):
    pipe = tmp_path / "never.yaml"
    os.mkfifo(pipe)  # reading the spec waits for a writer that never writes
    command = [sys.executable, "-c", "from trimtab.app.cli import main; main()", "config", "check", str(pipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV) as process:
        writer = os.open(pipe, os.O_WRONLY)  # waits until the command has opened it
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        os.close(writer)
    assert (process.returncode, said) == (130, "Interrupted.\n")


#: What a backtest may be busy with when Ctrl-C comes.
BUSY = {
    "at work": "while True: time.sleep(0.01)",
    "a thread that goes on": "threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)",
    "a lock that nobody gives back": """
    lock = threading.Lock()
    lock.acquire()
    try:
        lock.acquire()
    finally:
        lock.acquire()""",
    # As in numba, where the interrupt is lost and something breaks because of it.
    "called back from C": """
    order = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: time.sleep(60))
    ctypes.CDLL(None).qsort(ctypes.create_string_buffer(2), 2, 1, order)
    raise RuntimeError("what was left undone")""",
}
BUSY_COMMAND = """
import ctypes, sys, threading, time
from trimtab.app import cli, wire
def run_backtest(*_, **__):
    print("running", flush=True)
    {work}
wire.run_backtest = run_backtest
sys.argv = ["trimtab", "backtest", "book.yaml"]
cli.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("work", BUSY.values(), ids=BUSY)
def test_ctrl_c_ends_a_command_that_does_not_let_go(work: str, tmp_path: Path):
    (tmp_path / "book.yaml").write_text("{universe: X, models: [{strategy: sma_cross}]}")
    command = [sys.executable, "-c", BUSY_COMMAND.format(work=work)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, cwd=tmp_path
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, said) == (130, "Interrupted.\n")


def test_a_terminal_without_utf_8_is_written_to_all_the_same(tmp_path: Path):
    (tmp_path / "X_1d.csv").write_text("date,open,high,low,close,volume\n2020-01-02,1,2,0.5,1.5,10\n")
    store = tmp_path / "store"
    for args in (
        ("data", "import", tmp_path / "X_1d.csv", "--data", store),
        ("data", "show", "X", "--data", store),
        ("data", "show", "Y", "--data", store),
        ("strategies",),
        ("data", "import", "--help"),
        ("config", "schema"),
    ):
        result = run(*args, env={**ENV, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"})
        assert result.returncode == (2 if "Y" in args else 0), result.stderr
        assert (result.stdout + result.stderr).isascii()
        assert "This is a bug" not in result.stderr
