"""The seven log files of an engine: whole JSON lines, nothing secret in any, and never in the way of trading."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from trimtab.app.engine_logs import _LOG_OF, LOGS, EngineLogs
from trimtab.app.redaction import REDACTED
from trimtab.engine import events as ev
from trimtab.engine.pulse import Meter, Standing
from trimtab.types import SECOND, TrimtabError

CANARY = "c4n4ry/9+f3=Zq-secret"
TS = 1_772_409_600 * SECOND + 250_000_000
TIME = "2026-03-02T00:00:00.250Z"

START = ev.Started(
    run_id="0123", code_version="1", symbols=("BTCEUR", "ETHEUR"), fields=("close",), models=("trend", "pairs")
)
ROW = ev.RowDecided(
    row=TS - SECOND // 4,
    bars=np.array([[1.0], [np.nan]]),
    weights=np.array([[0.5, np.nan], [np.nan, -0.25]]),
)
ORDER = ev.OrderIntent(
    client_order_id="T1", order_id=1, row=TS, venue="paper", symbol="BTCEUR", lots=3, order_kind="MARKET", tif="IOC"
)
FILL = ev.Filled(
    venue="paper", symbol="BTCEUR", trade_id="7", client_order_id="T1", lots=3, price=0.1 + 0.2, fee=0.5, executed=TS
)


def bodies(text: str) -> list[ev.Body]:
    """One of each kind, with a text wherever it takes one."""
    return [
        START,
        ROW,
        ev.OrderIntent(
            client_order_id="T1", order_id=1, row=TS, venue="paper", symbol="A", lots=3, order_kind="LIMIT", tif="GTC",
            limit_price=2.5, reason=text,
        ),
        ev.CancelIntent(cancel_id="C1", client_order_id="T1", reason=text),
        ev.Outcome(client_order_id="T1", status="REJECTED", reason=text),
        FILL,
        ev.CashMoved(venue="paper", currency="EUR", amount=1.0, flow="deposit", flow_id=text),
        ev.VenueChanged(venue="paper", up=False, reason=text),
        ev.Halted(reason=text),
        ev.Commanded(command="kill", by=text, reason=text),
        ev.Adjusted(venue="paper", adjustment_id="1", reason=text),
        ev.BarLate(symbol="A", row=TS, bar=np.array([1.0])),
        ev.SnapshotTaken(seq=1, digest="0"),
    ]  # fmt: skip


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[EngineLogs]:
    made = EngineLogs(tmp_path / "logs", account="paper")
    yield made
    assert made.close()


def lines(logs: EngineLogs, folder: Path, log: str) -> list[dict[str, Any]]:
    assert logs.flush()
    return read(folder / "logs" / f"{log}.jsonl")


def read(path: Path) -> list[dict[str, Any]]:
    def refused(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=refused) for line in text.splitlines()]


def test_every_kind_of_the_journal_has_its_file():
    assert set(_LOG_OF) == set(get_args(ev.Body))
    assert set(_LOG_OF.values()) <= set(LOGS)


def test_a_line_says_when_what_and_of_whom(logs: EngineLogs, tmp_path: Path):
    for body in (START, ROW, ORDER, FILL, ev.Halted(reason="by hand")):
        logs.record(ev.Entry(TS, body))
    logs.limit_action(TS, "max_weight", "SCALE", symbol="BTCEUR", wanted=0.5, allowed=0.25)
    order = lines(logs, tmp_path, "orders")[0]
    assert list(order)[:5] == ["ts", "log", "level", "event", "account"]
    expected = {
        "ts": TIME, "log": "orders", "level": "info", "event": "order", "account": "paper", "symbol": "BTCEUR",
        "lots": 3, "row": TIME, "client_order_id": "T1",
    }  # fmt: skip
    assert expected.items() <= order.items()
    assert lines(logs, tmp_path, "trades")[0]["price"] == 0.1 + 0.2
    assert [(line["event"], line["level"]) for line in lines(logs, tmp_path, "trading")] == [
        ("start", "info"),
        ("halt", "warning"),
    ]
    signal = lines(logs, tmp_path, "signals")[0]
    assert (signal["row"], signal["bars"], signal["missing"]) == ("2026-03-02T00:00:00.000Z", 1, ["ETHEUR"])
    assert signal["weights"] == [
        {"model": "trend", "symbol": "BTCEUR", "weight": 0.5},
        {"model": "pairs", "symbol": "ETHEUR", "weight": -0.25},
    ]
    risk = lines(logs, tmp_path, "risk")[0]
    assert (risk["limit"], risk["action"], risk["symbol"], risk["allowed"]) == ("max_weight", "SCALE", "BTCEUR", 0.25)


def test_the_pulse_is_one_level_of_figures(logs: EngineLogs, tmp_path: Path):
    meter = Meter(TS, limits=("heat", "stale"), venues=("paper",), restarts=1)
    meter.add_row(TS - SECOND, TS, 0.002)
    meter.add_limit_action("heat")
    logs.pulse(meter.pulse(TS, Standing(equity=1_000.5, drawdown=math.nan, quarantined=("pairs",))))
    line = lines(logs, tmp_path, "performance")[0]
    assert (line["equity"], line["drawdown"], line["event_lag"], line["rows"]) == (1_000.5, None, 1.0, 1)
    assert (line["decision_latency_p50"], line["decision_latency_p99"]) == (0.002, 0.002)
    assert line["limit_actions"] == [{"limit": "heat", "times": 1}]
    assert (line["quarantined"], line["venues"]) == (["pairs"], [{"venue": "paper", "up": True}])


def test_an_error_names_what_and_where(logs: EngineLogs, tmp_path: Path):
    try:
        _ = [][1]
    except IndexError as error:
        logs.error(TS, error, model="trend", where="step")
    logs.error(TS, "x" * 100_000)
    first, second = lines(logs, tmp_path, "errors")
    assert (first["error"], first["model"], first["where"]) == ("IndexError", "trend", "step")
    assert "test_engine_logs.py" in first["traceback"]
    assert first["level"] == "error"
    assert len(second["message"]) < 10_000


def test_no_secret_reaches_any_file(tmp_path: Path):
    """By its name where it is not known, and by itself where it is; in every file, error texts and signed URLs too."""
    unknown = "s1gn4ture0fSomebody"
    logs = EngineLogs(tmp_path, account=CANARY, secrets=(CANARY,), size=2_000, count=50)
    url = f"GET https://api.binance.com/api/v3/order?symbol=A&timestamp=1&signature={unknown}"
    texts = [
        f"{url}&x={CANARY}",
        f"headers {{'X-MBX-APIKEY': '{unknown}', 'y': {CANARY!r}}}",
        json.dumps({"t": CANARY}),
    ]
    for text in texts:
        for body in bodies(text):
            logs.record(ev.Entry(TS, body))
        logs.limit_action(TS, text, text, symbol=text, model=text)
        logs.pulse(Meter(TS, limits=(text,), venues=(text,)).pulse(TS, Standing(reason=text, quarantined=(text,))))
        try:
            try:
                raise ValueError(text)
            except ValueError as inner:
                raise RuntimeError(f"request failed: {text}") from inner
        except RuntimeError as error:
            logs.error(TS, error, where=text)
    late = "known-only-l8ter"
    logs.register(late)
    logs.error(TS, f"tail {late}")
    assert logs.close()
    assert logs.dropped == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert {name.split(".")[0] for name in written} == set(LOGS)
    for name, text in written.items():
        assert CANARY not in text, name
        assert CANARY.replace("/", "%2F") not in text
        assert unknown not in text, name
        assert late not in text
        assert REDACTED in text, f"{name}: the canary never went through it"


def test_files_are_the_owner_s_alone(tmp_path: Path):
    (tmp_path / "orders.jsonl").touch(0o666)
    before = os.umask(0)
    try:
        logs = EngineLogs(tmp_path / "new", size=1_000)
        again = EngineLogs(tmp_path, size=1_000)
        for _ in range(20):
            logs.record(ev.Entry(TS, ORDER))
        assert logs.close()
        assert again.close()
    finally:
        os.umask(before)
    files = [*(tmp_path / "new").iterdir(), *tmp_path.glob("*.jsonl")]
    assert len(files) > 2 * len(LOGS)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_full_files_are_put_aside_and_the_oldest_goes(tmp_path: Path):
    logs = EngineLogs(tmp_path, size=2_000, count=3)
    for k in range(200):
        logs.error(TS, f"number {k}")
    assert logs.close()
    names = ["errors.jsonl.3", "errors.jsonl.2", "errors.jsonl.1", "errors.jsonl"]
    assert sorted(path.name for path in tmp_path.glob("errors*")) == sorted(names)
    told = [line["message"] for name in names for line in read(tmp_path / name)]
    assert told == [f"number {k}" for k in range(200 - len(told), 200)]
    assert all(1_000 < (tmp_path / name).stat().st_size <= 2_000 for name in names[:-1])


def test_a_file_that_was_taken_away_is_made_again(tmp_path: Path):
    logs = EngineLogs(tmp_path)
    logs.error(TS, "one")
    assert logs.flush()
    (tmp_path / "errors.jsonl").unlink()
    logs.error(TS, "two")
    assert logs.close()
    assert [line["message"] for line in read(tmp_path / "errors.jsonl")] == ["two"]


def test_a_line_that_a_crash_tore_spoils_no_other(tmp_path: Path):
    (tmp_path / "errors.jsonl").write_bytes(b'{"ts": "2026')
    logs = EngineLogs(tmp_path)
    logs.error(TS, "one")
    logs.error(TS, "two")
    assert logs.close()
    torn, one, two = (tmp_path / "errors.jsonl").read_text().splitlines()
    assert (torn, json.loads(one)["message"], json.loads(two)["message"]) == ('{"ts": "2026', "one", "two")


def test_whoever_logs_never_waits_for_the_disk(tmp_path: Path):
    """A disk that hangs is a pipe that nobody reads: the thread is stuck in its write, and logging goes on."""
    os.mkfifo(tmp_path / "errors.jsonl")
    reader = os.open(tmp_path / "errors.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    logs = EngineLogs(tmp_path, waiting=50)
    slowest = 0.0
    for _ in range(2_000):
        began = time.perf_counter()
        logs.error(TS, "x" * 1_000)
        slowest = max(slowest, time.perf_counter() - began)
    assert not logs.flush(0.05)
    assert slowest < 0.5
    assert 1_000 < logs.dropped < 2_000
    told = b""
    while not logs.flush(0.01):  # somebody reads: it goes on, and says what is missing
        told += os.read(reader, 1 << 20)
    logs.error(TS, "after")
    assert logs.close()
    told += os.read(reader, 1 << 20)
    os.close(reader)
    notices = [json.loads(line) for line in told.splitlines() if b"lines_dropped" in line]
    assert sum(line["lines"] for line in notices) == logs.dropped


def test_a_full_disk_stops_nothing_and_is_told(tmp_path: Path):
    """The system's own limit on file sizes stands in for the disk: a write is cut short, the next one fails."""
    script = f"""
        import resource, sys
        from pathlib import Path
        from trimtab.app.engine_logs import EngineLogs
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        logs = EngineLogs(Path({str(tmp_path)!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        for k in range(100):
            logs.error({TS}, f"number {{k}}")
        assert logs.flush()
        lost = logs.dropped
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        logs.error({TS}, "there is room again")
        assert logs.close()
        assert logs.dropped == lost
        print(lost)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lost, told = int(done.stdout), read(tmp_path / "errors.jsonl")
    assert 50 < lost < 100
    assert len(told) == 100 - lost + 2
    assert [line["message"] for line in told[:-2]] == [f"number {k}" for k in range(100 - lost)]
    assert (told[-2]["event"], told[-2]["lines"]) == ("lines_dropped", lost)
    assert told[-1]["message"] == "there is room again"


def test_a_line_that_cannot_be_made_is_counted(logs: EngineLogs):
    class Strange(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    logs.error(TS, Strange())
    assert logs.flush()
    assert logs.dropped == 1


@pytest.mark.parametrize(("size", "count", "waiting"), [(10, 1, 1), (1_000, 0, 1), (1_000, 1, 0)])
def test_sizes_that_keep_nothing_are_refused(tmp_path: Path, size: int, count: int, waiting: int):
    with pytest.raises(TrimtabError, match="expected a size of 1000 bytes or more"):
        EngineLogs(tmp_path, size=size, count=count, waiting=waiting)


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(TrimtabError, match=r"cannot be written \(.*name another folder"):
        EngineLogs(tmp_path / "file")
    (tmp_path / "orders.jsonl").symlink_to(tmp_path / "file")
    with pytest.raises(TrimtabError, match="cannot be written"):
        EngineLogs(tmp_path)
