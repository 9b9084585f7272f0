"""Downloads from Binance's documented REST interface, with every fault of it: what is stored equals the truth exactly.

The payloads are the loopback Binance's (`tests/contract/conftest.py`): Binance Spot API, rest-api.md of 2023-12-04, for
exchangeInfo, time, klines, 429 and 418 with Retry-After.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from trimtab.data.download import Downloaded, Span, download, find, origins, update
from trimtab.data.paging import Pager, Patience, alone
from trimtab.data.sources import Refused
from trimtab.data.sources.ccxt import CcxtSource
from trimtab.data.store import Store, find_instrument, read_bars
from trimtab.types import MINUTE, SECOND, NotEnoughData, TrimtabError

FIRST = 0  # rows of the truth that a test downloads, from the server's first minute on


class Bench:
    """A store, a venue on loopback, and a source that knows no other."""

    def __init__(self, root: Path, thread: Any, binance: Any, patience: Patience) -> None:
        self.store, self.patience, self.thread = Store(root), patience, thread
        self.venue = thread.serve(binance())
        self.venue.page = 50
        self.at(200)

    def at(self, row: float) -> None:
        """The venue's clock is so many minutes after its start."""
        self.venue.time.at = self.venue.start + int(row * MINUTE)

    def pager(self, ahead: int = 0, **patience: Any) -> Pager:
        source = CcxtSource("binance", self.venue.configure)
        source._page = 50  # type: ignore[misc]
        return Pager(self.store, source, self.patience._replace(**patience), clock=lambda: self.venue.time.at + ahead)

    def span(self, first: int, last: int | None = None) -> Span:
        start = self.venue.start
        return Span(start + first * MINUTE) if last is None else Span(start + first * MINUTE, start + last * MINUTE)

    def download(self, first: int = 0, last: int | None = None, pager: Pager | None = None) -> Downloaded:
        pager = pager or self.pager()
        return download(pager, find(pager, "BTC/USDT"), "1m", self.span(first, last))

    def stored(self) -> pl.DataFrame:
        return read_bars(self.store, find_instrument(self.store, "BTCUSDT"), "1m")

    def assert_true(self, first: int, last: int, absent: tuple[int, ...] = ()) -> None:
        """The store holds the truth's rows, each once, in order, and no other."""
        frame = self.stored()
        rows = [row for row in range(first, last) if row not in absent]
        opens = frame["open_time"].dt.timestamp("ns").to_numpy()
        assert opens.tolist() == [self.venue.start + row * MINUTE for row in rows]
        truth = np.array([self.venue.truth("BTCUSDT", row) for row in rows])
        assert np.array_equal(frame.select("open", "high", "low", "close", "volume").to_numpy(), truth)

    def parts(self) -> list[Path]:
        return list(self.store.root.rglob("*.part"))


@pytest.fixture
def bench(tmp_path: Path, thread: Any, binance: Any, patience: Patience) -> Bench:
    return Bench(tmp_path / "store", thread, binance, patience)


def test_all_closed_bars_are_stored_and_not_the_open_one(bench: Bench) -> None:
    bench.at(200.5)
    done = bench.download()
    bench.assert_true(0, 200)
    assert (done.rows, done.new, done.revised) == (200, 200, 0)
    instrument = find_instrument(bench.store, "BTCUSDT")
    assert (instrument.venue, instrument.base, instrument.quote, instrument.kind) == ("binance", "BTC", "USDT", "spot")
    assert (instrument.tick_size, instrument.lot_size, instrument.min_notional) == (0.01, 1e-5, 5.0)
    assert [(o.source, o.market, o.symbol, o.timeframe) for o in origins(bench.store)] == [
        ("binance", "BTC/USDT", "BTCUSDT", "1m")
    ]


def test_the_second_download_is_free_and_needs_no_network(bench: Bench) -> None:
    bench.at(400)
    bench.download(0, 130)
    asked = len(bench.venue.asked)
    before = bench.stored()
    pager = bench.pager()
    pager.source.exchange.urls["api"] = dict.fromkeys(pager.source.exchange.urls["api"], "http://127.0.0.1:9")
    done = bench.download(0, 130, pager)
    assert (len(bench.venue.asked), done.asked, done.new, done.revised) == (asked, 0, 0, 0)
    assert done.kept >= 3
    assert bench.stored().equals(before)
    bench.assert_true(0, 130)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, '{"code":-1000,"msg":"An unknown error occurred while processing the request."}'),
        (503, {}, "<html>Service Unavailable</html>"),
        (429, {}, '{"code":-1003,"msg":"Too many requests."}'),
        (0, {}, ""),
        (-1, {}, json.dumps([[0] * 12] * 20)),
        (200, {}, '[[1728000000000,"100.25","102.'),
        (200, {}, "<html>maintenance</html>"),
        (200, {}, ""),
        (200, {}, '[[1728000000000,"100.25"]]'),
        (200, {}, '[[1728000000000,"a","b","c","d","e",1728000059999,"0",1,"0","0","0"]]'),
        (200, {}, '{"code":0,"msg":"hello"}'),
        (200, {}, "null"),
    ],
    ids=lambda answer: f"{answer[0]} {answer[2][:22]}",
)
def test_a_fault_costs_a_request_and_no_bar(bench: Bench, answer: Any) -> None:
    bench.venue.answers = [answer, answer]
    done = bench.download(0, 130)
    assert bench.venue.answers == []
    assert done.revised == 0
    bench.assert_true(0, 130)


def test_retry_after_is_kept_to(bench: Bench) -> None:
    bench.venue.answers = [(429, {"Retry-After": "1"}, '{"code":-1003,"msg":"Too many requests."}')]
    before = time.monotonic()
    bench.download(0, 60)
    assert time.monotonic() - before >= 1.0
    bench.assert_true(0, 60)


def test_a_long_ban_is_not_waited_for_and_the_next_run_goes_on_from_there(bench: Bench) -> None:
    pager = bench.pager()
    listing = find(pager, "BTC/USDT")
    bench.venue.edit = lambda rows: bench.venue.answers.append((418, {"Retry-After": "7200"}, "{}")) or rows
    with pytest.raises(TrimtabError, match=r"left alone for 7200 s.*goes on from there"):
        download(pager, listing, "1m", bench.span(0, 190))
    assert not list((bench.store.root / "bars").rglob("*")) if (bench.store.root / "bars").exists() else True
    bench.venue.edit, bench.venue.answers = (lambda rows: rows), []
    done = bench.download(0, 190)
    assert done.kept >= 1
    bench.assert_true(0, 190)


def test_a_dead_venue_ends_with_the_way_on(bench: Bench) -> None:
    bench.venue.answers = [(503, {}, "")] * 50
    with pytest.raises(TrimtabError, match=r"binance.*HTTP 503.*run the command again"):
        bench.download(0, 100)
    assert len(bench.venue.answers) == 50 - 5


@pytest.mark.parametrize("status", [403, 451])
def test_a_blocked_region_is_told_with_the_next_step_and_asked_once(bench: Bench, status: int) -> None:
    bench.venue.answers = [(status, {}, '{"code":0,"msg":"Service unavailable from a restricted location"}')] * 3
    with pytest.raises(Refused, match=rf"HTTP {status}.*another source, such as kraken"):
        bench.download(0, 100)
    assert len(bench.venue.answers) == 2


def test_an_unknown_symbol_is_told_with_the_nearest(bench: Bench) -> None:
    with pytest.raises(TrimtabError, match=r"binance has no spot market BTC/USTD.*BTC/USDT"):
        find(bench.pager(), "BTC/USTD")


def test_short_overlapping_and_disordered_pages_come_to_the_truth(bench: Bench) -> None:
    """A page that ends early proves nothing; what comes twice is stored once."""
    pages = iter(range(1, 1_000))

    def edit(rows: list[Any]) -> list[Any]:
        n = next(pages)
        cut = rows[: len(rows) // 2 + 1] if n % 3 == 0 else rows
        return [*cut, *cut[-3:]][:: -1 if n % 2 else 1]

    bench.venue.edit = edit
    done = bench.download(0, 190)
    assert done.revised == 0
    bench.assert_true(0, 190)


def test_pages_that_begin_before_what_was_asked_for(bench: Bench) -> None:
    first = bench.venue.start // 1_000_000

    def edit(rows: list[Any]) -> list[Any]:
        if not rows:
            return rows
        row = (rows[0][0] - first) // 60_000
        return [*(bench.venue.rest_row("BTCUSDT", r) for r in range(max(row - 10, 0), row)), *rows]

    bench.venue.edit = edit
    bench.download(0, 190)
    bench.assert_true(0, 190)


def test_an_empty_page_is_not_believed_at_once(bench: Bench) -> None:
    bench.venue.answers = [(200, {}, "[]")]
    bench.download(0, 130)
    bench.assert_true(0, 130)


def test_a_hole_longer_than_pages_is_a_hole(bench: Bench) -> None:
    absent = tuple(range(30, 170))
    bench.venue.missing = {("BTCUSDT", row) for row in absent}
    done = bench.download(0, 190)
    bench.assert_true(0, 190, absent)
    assert done.imported is not None
    assert done.imported.report.missing == len(absent)


def test_a_late_listing_is_told(bench: Bench) -> None:
    bench.at(400)
    bench.venue.missing = {("BTCUSDT", row) for row in range(-31 * 1440, 100)}
    pager = bench.pager()
    done = download(pager, find(pager, "BTC/USDT"), "1m", Span(bench.venue.start - 30 * 1440 * MINUTE))
    bench.assert_true(100, 400)
    assert len(bench.venue.asked) < 40  # and not each of the 900 pages before
    assert "binance has no bars before" in " ".join(done.notes)


def test_a_venue_that_answers_with_its_newest_bars_loses_none(bench: Bench) -> None:
    """Where it is not told an end, as some are; with a hole in which that has to be asked."""
    bench.at(800)
    absent = tuple(range(40, 210))
    bench.venue.missing = {("BTCUSDT", row) for row in absent}
    bench.venue.newest_first = True
    bench.download(0, 790)
    bench.assert_true(0, 790, absent)


def test_no_bars_at_all(bench: Bench) -> None:
    bench.venue.missing = {("BTCUSDT", row) for row in range(-500, 500)}
    with pytest.raises(NotEnoughData, match=r"binance has no bars of BTC/USDT at 1m between 2024-10-04T00:00Z"):
        bench.download(0, 190)


@pytest.mark.parametrize("ahead", [-600 * SECOND, 600 * SECOND], ids=["slow", "fast"])
def test_a_clock_that_goes_wrong_stores_no_open_bar_and_loses_none(bench: Bench, ahead: int) -> None:
    bench.at(150.5)
    done = bench.download(0, None, bench.pager(ahead))
    bench.assert_true(0, 150)
    assert "600 s " + ("ahead of" if ahead > 0 else "behind") in " ".join(done.notes)


def test_update_brings_what_is_new_and_tells_what_was_revised(bench: Bench) -> None:
    bench.at(150.5)
    bench.download()
    truth = type(bench.venue).truth

    def revised(symbol: str, row: int) -> Any:
        o, h, l, c, v = truth(symbol, row)  # noqa: E741
        return (o, h, l, c, v + 1.0) if row == 140 else (o, h, l, c, v)

    bench.venue.truth = revised
    bench.venue.edit = lambda rows: [
        [r[0], *r[1:5], f"{float(r[5]) + 1.0:.8f}", *r[6:]]
        if r[0] == (bench.venue.start + 140 * MINUTE) // 1_000_000 else r
        for r in rows
    ]  # fmt: skip
    bench.at(180.5)
    asked = len(bench.venue.asked)
    done = update(bench.pager(), origins(bench.store)[0])
    bench.assert_true(0, 180)
    assert (done.new, done.revised) == (30, 1)
    assert "1 stored bars were revised" in " ".join(done.notes)
    assert len(bench.venue.asked) - asked <= 6
    assert origins(bench.store)[0].start == bench.venue.start


def test_a_page_that_is_older_than_the_store_changes_nothing_there(bench: Bench) -> None:
    bench.download(0, 100)
    newer = bench.stored().with_columns(
        pl.when(pl.col("volume") == 12.0).then(99.0).otherwise("volume").alias("volume")
    )
    from trimtab.data.store import write_bars

    time.sleep(0.02)
    write_bars(bench.store, find_instrument(bench.store, "BTCUSDT"), "1m", newer)
    done = bench.download(0, 100)  # out of the pages that were kept
    assert (done.asked, done.revised) == (0, 0)
    assert bench.stored()["volume"].equals(newer["volume"])
    done = bench.download(0, 150)  # the old pages beside a new one
    assert (done.asked > 0, done.kept > 0, done.new, done.revised) == (True, True, 50, 0)
    assert bench.stored()["volume"][:100].equals(newer["volume"])
    done = bench.download(0, 100, bench.pager(again=True))
    assert done.revised == 20
    bench.assert_true(0, 150)


def test_an_impossible_bar_stores_nothing_and_is_asked_for_again(bench: Bench) -> None:
    def edit(rows: list[Any]) -> list[Any]:
        return [[r[0], r[1], "1.0", *r[3:]] if n == 7 else r for n, r in enumerate(rows)]

    bench.venue.edit = edit
    with pytest.raises(TrimtabError, match="high_below_low"):
        bench.download(0, 100)
    assert not list(bench.store.root.rglob("*.parquet"))
    bench.venue.edit = lambda rows: rows
    bench.download(0, 100)
    bench.assert_true(0, 100)


def test_sources_are_not_mixed(bench: Bench) -> None:
    bench.download(0, 60)
    pager = bench.pager()
    with pytest.raises(TrimtabError, match=r"downloaded from binance \(BTC/USDT\), and sources are not mixed"):
        download(pager, find(pager, "BTCUSDT=ETH/USDT"), "1m", bench.span(0, 60))
    listing = find(bench.pager(), "MYBTC=BTC/USDT")
    assert (listing.symbol, listing.market) == ("MYBTC", "BTC/USDT")


def test_a_damaged_page_is_asked_for_again(bench: Bench) -> None:
    bench.download(0, 130)
    kept = sorted((bench.store.root / "pages").rglob("*.gz"))
    kept[0].write_bytes(b"\x1f\x8b broken")
    kept[1].write_bytes(kept[1].read_bytes()[:-9])
    bench.download(0, 130)
    bench.assert_true(0, 130)


_CHILD = """
import sys
from pathlib import Path
from trimtab.data.download import Span, download, find
from trimtab.data.paging import Pager, Patience
from trimtab.data.sources.ccxt import CcxtSource
from trimtab.data.store import Store

url, root, start, end, now = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])

def configure(exchange):
    exchange.enableRateLimit = False
    api = exchange.urls["api"]
    for name, address in api.items():
        if isinstance(address, str):
            api[name] = f"http://{url}/" + address.split("://", 1)[1].split("/", 1)[1]
    api.pop("ws", None)

source = CcxtSource("binance", configure)
source._page = 50
pager = Pager(Store(root), source, Patience(attempts=5, pause=(0.01, 0.05)), clock=lambda: now)
print("ready", flush=True)
download(pager, find(pager, "BTC/USDT"), "1m", Span(start, end))
print("done", flush=True)
"""


@pytest.mark.parametrize("killed_at", [(10, 14), pytest.param((4, 10, 14), marks=pytest.mark.nightly)], ids=len)
def test_killed_at_any_time_the_store_is_whole_and_the_next_run_completes_it(
    bench: Bench, killed_at: tuple[int, ...]
) -> None:
    rows = 2_000
    bench.at(rows + 70)
    span = bench.span(0, rows)
    line = [sys.executable, "-c", _CHILD, bench.venue.url, str(bench.store.root), *map(str, span)]
    line.append(str(bench.venue.time.at))
    kills, progress = 0, list[int]()
    for pages in killed_at:
        bench.venue.asked.clear()
        child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})
        while child.poll() is None and len(bench.venue.asked) < pages:
            time.sleep(0.002)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.communicate(timeout=20)
        progress.append(len(list((bench.store.root / "pages").rglob("*.gz"))))
        assert not list((bench.store.root / "bars").rglob("*.parquet"))
    assert kills == len(killed_at)
    assert progress == sorted(progress)
    assert progress[-1] >= 20
    bench.venue.asked.clear()
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == ["ready", "done"], ended.stderr
    assert len(bench.venue.asked) < rows / 50  # the rest only
    bench.assert_true(0, rows)
    (bench.store.root / "pages" / "binance" / "ab").mkdir(exist_ok=True)
    (bench.store.root / "pages" / "binance" / "ab" / ".x.gz.1.part").write_bytes(b"cut")
    with alone(bench.store, "binance"):
        assert not list(bench.store.root.rglob("*.part"))
        with pytest.raises(TrimtabError, match="another download from binance"), alone(bench.store, "binance"):
            pass
