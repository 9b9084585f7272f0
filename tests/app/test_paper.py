"""`trimtab paper`, `status`, `kill` and `resume` as a trader drives them: processes, signals, crashes and restarts."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trimtab.app.cli import app
from trimtab.engine import events as ev
from trimtab.engine.journal import read, verify

TRIMTAB = [sys.executable, "-c", "from trimtab.app.cli import main; main()"]
#: Rows of 1h that come in a second of a replay that a test looks into.
PACE = 60
SPEED = str(3_600 * PACE)

SPEC = """\
name: Paper book
universe: [AAA, BBB]
base_currency: USD
timeframe: 1h
start: 2021-01-01
end: 2021-02-01
capital: 50_000
models:
  - {strategy: sma_cross, params: {fast: 3, slow: 9}, budget: 50%}
  - {strategy: momentum, params: {lookback: 12}, budget: 50%}
costs: {taker_fee: 5bps, half_spread: 2bps}
limits: {max_weight: 60%}
"""


def environment(ground: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TRIMTAB_") or k == "TRIMTAB_CACHE"}
    return {**kept, "TRIMTAB_DATA": str(ground / "store"), "COLUMNS": "80", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two coins that follow each other, a spec, and the backtest of it."""
    folder = tmp_path_factory.mktemp("paper")
    store = ["--data", str(folder / "store")]
    (folder / "book.yaml").write_text(SPEC)
    made = ["data", "synthetic", "crypto=AAA,BBB", "--start", "2021-01-01", "--end", "2021-02-01", "--seed", "3"]
    run_here(*made, *store)
    run_here("backtest", str(folder / "book.yaml"), "--no-report", "--out", str(folder / "backtest"), *store)
    return folder


@pytest.fixture
def place(ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the spec in it, from which commands are given."""
    (tmp_path / "book.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    for name, value in environment(ground).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def run_here(*words: str, code: int = 0) -> str:
    """A command in this process."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.output


def paper_here(*words: str, code: int = 0) -> dict[str, Any]:
    """A paper run to its end, in this process; what it says in JSON."""
    done = CliRunner().invoke(app, ["paper", "book.yaml", "--deadline", "0", "--no-report", "--json", *words])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Commands in processes of their own, which do not outlive the test."""
    begun: list[subprocess.Popen[str]] = []

    def started(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*TRIMTAB, *words], cwd=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        begun.append(process)
        return process

    yield started
    for process in begun:
        with_group = os.getpgid(process.pid) if process.poll() is None else None
        if with_group is not None:
            os.killpg(with_group, signal.SIGKILL)
        process.communicate()


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def until(what: Callable[[], Any], process: subprocess.Popen[str] | None = None, seconds: float = 40.0) -> Any:
    limit = time.monotonic() + seconds
    while not (found := what()):
        if process is not None and process.poll() is not None:
            pytest.fail(f"it ended: {end(process)}")
        assert time.monotonic() < limit, "it takes too long"
        time.sleep(0.02)
    return found


def rows_of(folder: Path) -> int:
    """Rows that the journal of an account has decided."""
    path = folder / "account.journal"
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return int(
                db.execute("SELECT count(*) FROM events WHERE kind = 'row' AND body LIKE '%weights%'").fetchone()[0]
            )
    except sqlite3.OperationalError:  # it is just being made
        return 0


def bodies(folder: Path, *kinds: type) -> list[Any]:
    return [e.body for e in read(folder / "account.journal") if isinstance(e.body, kinds or ev.Body)]


def engine_pid(folder: Path) -> int:
    with sqlite3.connect(f"file:{folder / 'account.journal'}?mode=ro", uri=True) as db:
        row = db.execute("SELECT pid FROM lease").fetchone()
    return int(row[0]) if row else 0


# --- a replay is the backtest ----------------------------------------------------------------------------------------


def test_a_replay_to_its_end_is_the_backtest(place: Path, ground: Path):
    outcome = paper_here("--out", "one")
    (backtest,) = (ground / "backtest").iterdir()
    figures = json.loads((backtest / "summary.json").read_text())
    assert outcome["rows"] == 744
    assert outcome["orders"]["FILLED"] > 20
    assert outcome["state"] == "ACTIVE"
    assert outcome["run_id"] == backtest.name == Path(outcome["bundle"]).name
    assert "to the last bit" in run_here("parity", str(backtest), outcome["bundle"])
    told = run_here("status", "one", "--json")
    status = json.loads(told)
    assert status["equity"] == outcome["equity"]
    assert status["well"]
    assert status["ended"] == "its feed ended"
    assert figures  # the bundle that it is held against is one


def test_after_kill_9_it_goes_on_as_if_nothing_had_been(place: Path, ground: Path, start: Any):
    process = start("paper", "book.yaml", "--out", "one", "--speed", SPEED, "--deadline", "0", "--no-report")
    until(lambda: rows_of(place / "one") > 40, process)
    process.kill()
    process.wait()
    told = run_here("status", "one", code=1)
    assert "health engine: NOT WELL" in told
    assert "was ended from outside" in told
    outcome = paper_here("--out", "one")
    (backtest,) = (ground / "backtest").iterdir()
    assert 0 < outcome["rows"] < 744 - 40
    assert outcome["restarts"] == 1
    assert "to the last bit" in run_here("parity", str(backtest), outcome["bundle"])
    assert verify(place / "one" / "account.journal").faults == ()


# --- signals ---------------------------------------------------------------------------------------------------------


#: SIGHUP goes SIGTERM's way: one handler, and a watchdog that passes on what it gets.
HANG_UP = pytest.param(signal.SIGHUP, "60", marks=pytest.mark.nightly)


@pytest.mark.parametrize(("number", "deadline"), [(signal.SIGTERM, "60"), (signal.SIGINT, "0"), HANG_UP])
def test_a_signal_ends_it_in_good_order(place: Path, start: Any, number: int, deadline: str):
    words = ["--out", "one", "--speed", SPEED, "--deadline", deadline, "--no-report", "--json"]
    process = start("paper", "book.yaml", *words)
    until(lambda: rows_of(place / "one") > 3, process)
    process.send_signal(number)
    code, out, err = end(process)
    assert code == 0, err
    assert json.loads(out)["stopped"]
    assert "stopped by hand" in run_here("status", "one")
    assert engine_pid(place / "one") == 0


@pytest.mark.nightly  # by day the terminal sends it, in the test of the progress bar
def test_ctrl_c_reaches_the_whole_group_and_ends_it_once(place: Path, start: Any):
    process = start("paper", "book.yaml", "--out", "one", "--speed", SPEED, "--no-report")
    until(lambda: rows_of(place / "one") > 3, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    code, out, err = end(process)
    assert (code, "Bundle: one" in out) == (0, True), err


def test_an_engine_whose_watchdog_is_gone_ends(place: Path, start: Any):
    process = start("paper", "book.yaml", "--out", "one", "--speed", SPEED, "--no-report")
    until(lambda: rows_of(place / "one") > 3, process)
    process.kill()
    process.wait()
    until(lambda: engine_pid(place / "one") == 0)
    assert "stopped by hand" in run_here("status", "one")


@pytest.mark.parametrize("when", ["it imports", "it loads"])
def test_before_the_loop_runs_a_signal_ends_it_too(place: Path, start: Any, when: str):
    process = start("paper", "book.yaml", "--out", "one", "--speed", SPEED)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not say which processes one has started")
    until(lambda: children.read_text(), process)
    if when == "it loads":
        until(lambda: (place / "one").exists(), process)
    else:
        time.sleep(0.1)  # Python itself begins
    process.send_signal(signal.SIGINT)
    code, _, err = end(process)
    assert code in (0, 130)
    assert "Traceback" not in err
    assert paper_here("--out", "one")["last"] == 1612137600000000000


# --- people ----------------------------------------------------------------------------------------------------------


def test_kill_flatten_and_resume_within_one_decision(place: Path, start: Any):
    folder = place / "one"
    models = re.sub(r"strategy: momentum.*}", "strategy: buy_and_hold, budget: 50%}", SPEC)
    (place / "book.yaml").write_text(models)
    process = start("paper", "book.yaml", "--out", "one", "--speed", SPEED, "--deadline", "0", "--no-report", "--json")
    until(lambda: rows_of(folder) > 40 and json.loads(run_here("status", "one", "--json"))["positions"], process)
    assert "done: the kill switch is on" in run_here("kill", "one", "--reason", "enough")
    told = run_here("status", "one", code=4)
    assert "state KILLED" in told
    assert "enough" in told
    killed = rows_of(folder)
    assert "done" in run_here("kill", "one", "--flatten")
    until(lambda: not json.loads(CliRunner().invoke(app, ["status", "one", "--json"]).stdout)["positions"], process)
    until(lambda: rows_of(folder) > killed + 10, process)
    assert "done: to resume" in run_here("resume", "one", "--reason", "checked")
    assert "state ACTIVE" in run_here("status", "one")
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 0
    assert_nothing_is_opened_while_killed(folder)


def assert_nothing_is_opened_while_killed(folder: Path) -> None:
    """From the row at which the switch was on, every order makes a position smaller, and flattening closes all."""
    held: dict[str, int] = {}
    killed, rows, closing = "", 0, 0
    for body in bodies(folder):
        if isinstance(body, ev.Commanded):
            killed, rows = "" if body.command == "resume" else body.command, 0
        elif isinstance(body, ev.Filled):
            held[body.symbol] = held.get(body.symbol, 0) + body.lots
        elif isinstance(body, ev.OrderIntent) and killed:
            lots = held.get(body.symbol, 0)
            assert abs(lots + body.lots) < abs(lots), body
            closing += killed == "flatten"
        elif isinstance(body, ev.RowDecided):
            rows += 1
            assert killed != "flatten" or rows < 3 or not any(held.values())
    assert closing


def test_a_switch_that_was_thrown_before_the_first_row_stands(place: Path):
    (place / "one").mkdir()
    assert "No engine runs" in run_here("kill", "one")
    outcome = paper_here("--out", "one", code=4)
    assert outcome["rows"] == 744
    assert not outcome["orders"]["FILLED"]
    assert re.fullmatch(
        r"the kill switch is on: by hand, since 20.*Z; to trade again: trimtab resume one", outcome["halted"]
    )
    assert not bodies(place / "one", ev.OrderIntent)
    run_here("status", "one", code=4)
    assert paper_here("--out", "one", code=4)["state"] == "HALTED"
    run_here("resume", "one")
    told = run_here("status", "one", code=4)
    assert "to resume" in told
    assert "no engine has acted on it yet" in told
    assert paper_here("--out", "one")["state"] == "ACTIVE"


def test_two_engines_of_one_account_are_refused(place: Path, start: Any):
    process = start("paper", "book.yaml", "--out", "one", "--speed", SPEED, "--deadline", "0", "--no-report")
    until(lambda: rows_of(place / "one") > 3, process)
    told = run_here("paper", "book.yaml", "--out", "one", "--deadline", "0", code=2)
    assert f"held by process {process.pid}" in told
    assert "Traceback" not in told
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 0


# --- strategies that fail --------------------------------------------------------------------------------------------

FAILING = '''\
"""Follows the last bars, and fails at one of them."""

from typing import NamedTuple

from numba import njit

from trimtab.types import Strategy


class Params(NamedTuple):
    after: int = 40


class {State}(NamedTuple):
    rows: int


@njit
def init(p):
    return {State}(0)


@njit
def step(p, s, x):
    if s.rows >= p.after:
        {does}
    return {State}(s.rows + 1), 1.0 if s.rows % 8 < 4 else 0.0


def warmup(p):
    return 0


STRATEGY = Strategy(
    name="{name}", fields=("close",), params=Params(), ranges={{"after": (0, 10_000)}}, init=init, step=step,
    warmup=warmup,
)
'''


def with_a_failing_model(place: Path, name: str, does: str) -> None:
    text = FAILING.format(name=name, State=name.title(), does=does)
    (place / f"{name}.py").write_text(text)
    models = f"  - {{strategy: ./{name}.py, budget: 50%}}\n"
    (place / "book.yaml").write_text(re.sub(r"  - {strategy: momentum.*\n", models, SPEC))


def test_a_strategy_that_never_returns_is_ended_and_the_rest_trades_on(place: Path, start: Any):
    with_a_failing_model(place, "endless", "k = 1.0\n        while k > 0.0:\n            k += x[0, 0]")
    process = start("paper", "book.yaml", "--out", "one", "--deadline", "2", "--no-report", "--json")
    code, out, err = end(process)
    assert code == 0, err
    assert "endless had not answered after 2 s" in err
    outcome = json.loads(out)
    assert list(outcome["quarantined"]) == ["endless"]
    assert outcome["restarts"] == 1
    assert len(bodies(place / "one", ev.RowDecided)) == 744
    orders = [body.row for body in bodies(place / "one", ev.OrderIntent)]
    ended = next(e.ts for e in read(place / "one" / "account.journal") if isinstance(e.body, ev.Commanded))
    assert sum(row > ended for row in orders) > 10
    assert "quarantined endless: endless had not answered" in run_here("status", "one", code=1)


def test_a_strategy_that_raises_stops_alone(place: Path):
    with_a_failing_model(place, "raising", "raise ValueError('no more')")
    outcome = paper_here("--out", "one")
    assert "no more" in outcome["quarantined"]["raising"]
    rows = [body.row for body in bodies(place / "one", ev.OrderIntent)]
    assert outcome["rows"] == 744
    assert max(rows) > bodies(place / "one", ev.RowDecided)[100].row
    assert paper_here("--out", "one")["quarantined"].keys() == {"raising"}
    told = run_here("status", "one", code=1)
    assert "health models: NOT WELL: degraded: raising is in quarantine" in told
    document = json.loads(run_here("status", "one", "--json", code=1))
    assert not document["well"]
    told = run_here("paper", "book.yaml", "--out", "two", "--deadline", "0", "--no-report")
    assert "Quarantined: raising: " in told
    assert "Note: " not in told, "nothing is told twice"


def test_what_an_ended_engine_said_grows_old(place: Path):
    paper_here("--out", "one", "--days", "1")
    path = place / "one" / "status.json"
    written = json.loads(path.read_text())
    assert written["last_bar"] > 0
    path.write_text(json.dumps(written | {"last_bar": written["last_bar"] - 7_200 * 10**9}))
    told = run_here("status", "one")
    assert re.search(r"health feed: well: at the end: 24 rows, the last bar came 2 h 0 m ago", told)
    assert "health venue paper: well: at the end: can be reached" in told


def test_a_kill_of_an_account_that_is_done_is_told_at_every_start(place: Path):
    paper_here("--out", "one", "--days", "1")
    run_here("kill", "one", "--flatten", "--reason", "exchange hacked")
    assert "state ACTIVE: trading (the kill switch is on (exchange hacked, since 20" in run_here(
        "status", "one", code=1
    )
    for _ in range(2):
        told = run_here("paper", "book.yaml", "--out", "one", "--deadline", "0", "--no-report", code=4)
        why = r"the kill switch is on: exchange hacked, since 20\S+Z; to trade again: trimtab resume one"
        assert re.search(f"one starts halted: {why}", told)
        assert re.search(f"Halted: {why}", told)
        assert re.search(
            r"state KILLED: .*the kill switch is on: exchange hacked, since 20", run_here("status", "one", code=4)
        )
    run_here("resume", "one")
    assert "halted" not in run_here("paper", "book.yaml", "--out", "one", "--deadline", "0", "--no-report").lower()


# --- a drill ---------------------------------------------------------------------------------------------------------


def test_a_fire_drill_ends_with_the_books_of_the_venue(place: Path):
    outcome = paper_here("--out", "one", "--drill", "--seed", "5")
    assert outcome["rows"] == 744
    assert sum(outcome["faults_struck"].values()) > 20
    assert outcome["differs"] == []
    assert outcome["state"] == "ACTIVE"


# --- what looks on ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_metrics_and_health_answer_while_it_runs(place: Path, start: Any):
    port = free_port()
    words = ["--out", "one", "--speed", SPEED, "--metrics-port", str(port), "--no-report"]
    process = start("paper", "book.yaml", *words)
    until(lambda: rows_of(place / "one") > 20, process)
    until(lambda: re.search(r"^trimtab_rows_total [1-9]", asked(port, "/metrics")[1], re.M), process)
    text = asked(port, "/metrics")[1]
    assert re.search(r'^trimtab_equity_currency_units{currency="USD"} [45]\d{4}\.', text, re.M)
    assert asked(port, "/healthz")[0] == 200
    assert "in use" in run_here(
        "paper", "book.yaml", "--out", "two", "--deadline", "0", "--metrics-port", str(port), code=2
    )
    assert "done" in run_here("kill", "one")
    until(lambda: asked(port, "/healthz")[0] == 503, process)
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 4  # it is killed
    assert asked(port, "/healthz")[0] == 0


def test_logs_have_a_line_for_each_order_and_no_secret(place: Path):
    (place / "one").mkdir()
    run_here("kill", "one", "--reason", "GET /order?signature=CANARY-1 api_key=CANARY-2")
    paper_here("--out", "one", code=4)
    run_here("resume", "one", "--reason", "password: CANARY-3")
    (place / "two").mkdir()
    paper_here("--out", "two", "--drill", "--days", "8")
    for folder in (place / "one", place / "two"):
        lines = [json.loads(x) for x in (folder / "logs" / "orders.jsonl").read_text().splitlines()]
        told = [line["client_order_id"] for line in lines if line["event"] == "order"]
        assert told == [body.client_order_id for body in bodies(folder, ev.OrderIntent)]
        assert "CANARY" not in "".join(path.read_text() for path in (folder / "logs").iterdir())
    assert told  # of the drill


def test_a_progress_bar_is_shown_by_the_engine_under_its_watchdog_and_ctrl_c_ends_both_once(place: Path):
    seen = on_a_terminal("paper", "book.yaml", "--out", "one", "--speed", SPEED, "--no-report", stop_at=b"trading one")
    assert b"trading one" in seen
    assert seen.count(b"Bundle: one") == 1


def on_a_terminal(*words: str, stop_at: bytes) -> bytes:
    """What a command writes to a terminal until it has written something, and after Ctrl-C."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(TRIMTAB[0], [*TRIMTAB, *words])
    seen, limit, stopped = b"", time.monotonic() + 60, False
    while time.monotonic() < limit:
        try:
            seen += os.read(terminal, 65_536)
        except OSError:
            break
        if stop_at in seen and not stopped:
            stopped = True
            os.write(terminal, b"\x03")
    os.close(terminal)
    _, code = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(code) == 0, seen
    return seen


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--feed", "nosuch"], "knows no venue 'nosuch'"),
        (["--feed", ""], "expected replay, synthetic"),
        (["--feed", "binance", "--speed", "2"], "only a replay has a speed"),
        (["--history", "5"], "is of a live feed"),
        (["--set", "universe=[AAAX, BBB]"], "did you mean AAA"),
        (["--set", "models.0.params.fastt=3"], "did you mean 'fast'"),
        (["--days", "0"], "--days 0: expected more than 0"),
        (["--days", "-1"], "--days"),
        (["--speed", "-1"], "--speed"),
        (["--speed", "nan"], "--speed"),
        (["--capital", "0"], "capital"),
        (["--strategy", "nosuch"], "it has sma_cross, momentum"),
        (["--on-stop", "maybe"], "expected keep or cancel"),
        (["--out", "book.yaml"], "expected a folder"),
        (["--out", "book.yaml/in"], "is a file"),
        (["--metrics-port", "70000"], "--metrics-port"),
        (["--data", "nowhere"], "is empty"),
    ],
)
@pytest.mark.parametrize("deadline", ["0"])
def test_a_mistake_is_one_clear_error(place: Path, words: list[str], told: str, deadline: str):
    before = sorted(place.rglob("*"))
    done = CliRunner().invoke(app, ["paper", "book.yaml", "--out", "one", "--deadline", deadline, *words])
    assert (done.exit_code, told in done.output, "bug" in done.output) == (2, True, False), done.output
    assert sorted(place.rglob("*")) == before  # nothing is left of it


def test_another_spec_in_the_folder_is_refused_and_a_longer_window_goes_on(place: Path):
    first = paper_here("--out", "one", "--set", "end=2021-01-11")
    told = run_here("paper", "book.yaml", "--out", "one", "--deadline", "0", "--set", "limits.max_weight=50%", code=2)
    assert "what differs: limits" in told
    second = paper_here("--out", "one")
    assert (first["rows"], second["rows"]) == (240, 504)


def test_a_damaged_journal_is_named(place: Path):
    paper_here("--out", "one", "--days", "2")
    (place / "one" / "account.journal").write_bytes(b"hello")
    told = run_here("paper", "book.yaml", "--out", "one", "--deadline", "0", "--days", "2", code=2)
    assert "account.journal" in told
    assert "no journal" in told
    assert "cannot be read" in run_here("status", "one", code=1)


def test_a_journal_that_takes_nothing_more_halts_it(place: Path, start: Any):
    process = subprocess.run(
        ["bash", "-c", 'ulimit -f 400; exec "$@"', "limited", *TRIMTAB, "paper", "book.yaml", "--out", "one",
         "--deadline", "0", "--no-report"],
        capture_output=True, text=True, timeout=120, check=False, cwd=place,
    )  # fmt: skip
    assert process.returncode == 4, process.stderr
    assert "Halted:" in process.stdout
    assert "Traceback" not in process.stderr
    told = run_here("status", "one", code=1)
    assert "health journal: NOT WELL" in told
    assert paper_here("--out", "one")["last"] == 1612137600000000000


def test_a_journal_whose_making_was_cut_short_is_made_anew(place: Path):
    (place / "one").mkdir()
    with sqlite3.connect(place / "one" / "account.journal") as db:
        db.execute("PRAGMA journal_mode = WAL")  # all that a process had done when it was killed
    assert paper_here("--out", "one", "--days", "2")["rows"] > 40


def test_without_an_engine_there_is_no_status(place: Path):
    assert "there is none under ./paper" in run_here("status", code=2)
    assert "no such account" in run_here("status", "nowhere", code=2)
    (place / "empty").mkdir()
    assert "no engine has written a status" in run_here("status", "empty", code=2)
    assert "one of them" in run_here("status", "empty", "--watch", "--json", code=2)


def test_an_account_is_found_by_its_name(place: Path):
    for name in ("paper-book", "other"):
        paper_here("--days", "1", *(() if name == "paper-book" else ("--out", f"paper/{name}")))
    for named in ("paper-book", "Paper book", "paper/paper-book", "./paper/paper-book/"):
        assert "account paper-book" in run_here("status", named)
    assert "account other" in run_here("status", "other")
    assert "which one? other, paper-book" in run_here("status", code=2)
    told = run_here("status", "paper-bok", code=2)
    assert "paper-bok: there is no such account (did you mean 'paper-book'?)" in told
    assert "under ./paper there are other, paper-book" in told
    assert "paper/other: ordered: the kill switch is on" in run_here("kill", "other")
    assert "paper/other: ordered: to resume" in run_here("resume", "other")
