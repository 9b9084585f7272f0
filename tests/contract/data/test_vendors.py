"""Downloads from Yahoo, FRED and Alpaca on loopback, with every fault: what is stored equals the truth exactly.

Wire formats. Yahoo has no documentation of its own: the chart is that of query2.finance.yahoo.com/v8/finance/chart as
yfinance 1.7.0 reads it (scrapers/history.py, utils.parse_quotes and parse_actions; 2026). FRED: fredgraph.csv, header
`observation_date,<series>` since December 2024, empty cells for holidays. Alpaca: Market Data API, "Historical bars
(single symbol)" and "Corporate actions" of docs.alpaca.markets (2025).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
import pytest
from aiohttp import web

import trimtab as tt
from tests.contract.conftest import cut_off
from trimtab.data import macro
from trimtab.data.download import Downloaded, Span, download, find, origins, update
from trimtab.data.events import read_events
from trimtab.data.paging import Pager, Patience
from trimtab.data.sources import Refused, Request, Source, find_source
from trimtab.data.sources.alpaca import AlpacaSource
from trimtab.data.sources.fred import FredSource
from trimtab.data.store import Store, find_instrument, read_bars
from trimtab.types import DAY, SECOND, TrimtabError

NEW_YORK = ZoneInfo("America/New_York")
SECRET = "s3cret-of-a-test"
#: A 4:1 split and two dividends, one before it and one after; real prices fall by four on the ex-date.
SPLIT, RATIO = dt.date(2020, 8, 31), 4.0
DIVIDENDS = {dt.date(2020, 8, 7): 0.82, dt.date(2020, 11, 6): 0.205}
FIRST, LAST = dt.date(2020, 6, 1), dt.date(2020, 12, 31)


def ns(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days * DAY


def sessions(first: dt.date = FIRST, last: dt.date = LAST) -> list[dt.date]:
    days = [first + dt.timedelta(n) for n in range((last - first).days + 1)]
    return [day for day in days if day.weekday() < 5]


def raw(day: dt.date) -> tuple[float, float, float, float, float]:
    """What was paid: open, high, low, close, volume."""
    price = (400.0 if day < SPLIT else 100.0) + day.toordinal() % 13
    return price, price + 2.5, price - 1.25, price + 0.5, 1000.0 + 400 * (day.toordinal() % 5)


class Vendor:
    """A server of all three: the day it is, and the answers that are ordered of it in place of the true ones."""

    def __init__(self) -> None:
        self.today = dt.datetime(2021, 1, 15, 15, tzinfo=dt.UTC)
        self.answers: list[tuple[int, dict[str, str], str]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.edit: Callable[[Any], Any] = lambda told: told
        self.keys: list[tuple[str | None, str | None]] = []
        self.page, self.url = 10_000, ""

    @property
    def now(self) -> int:
        return int(self.today.timestamp()) * SECOND

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        headers = {"Date": email.utils.format_datetime(self.today, usegmt=True)}
        if path in ("/", "/v1/test/getcrumb"):  # fc.yahoo.com gives a cookie, query1 a crumb
            return web.Response(text="crumb", headers={"Set-Cookie": "A3=d; Domain=.yahoo.com; Path=/"})
        self.asked.append((path, dict(request.query)))
        if self.answers:
            status, more, body = self.answers.pop(0)
            if status <= 0:
                return await cut_off(request, body)
            return web.Response(status=status, headers={**headers, **more}, text=body)
        if path.startswith("/v8/finance/chart/"):
            told = self.chart(path.rpartition("/")[2], request.query)
        elif path == "/fred":
            return web.Response(text=self.edit(self.csv(request.query)), headers=headers, content_type="text/csv")
        else:
            self.keys.append((request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")))
            told = self.actions() if path == "/v1/corporate-actions" else self.bars(path.split("/")[3], request.query)
        return web.json_response(self.edit(told), headers=headers)

    def chart(self, symbol: str, query: Any) -> Any:
        """Prices, volumes and dividends divided by every split until today."""
        today = self.today.date()
        meta = {
            "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "instrumentType": "EQUITY", "gmtoffset": -18000,
            "exchangeTimezoneName": "America/New_York", "dataGranularity": "1d",
        }  # fmt: skip
        if "range" in query:
            return {"chart": {"result": [{"meta": meta, "indicators": {"quote": [{}]}}], "error": None}}
        start, end = int(query["period1"]), int(query["period2"])

        def by(day: dt.date) -> float:
            return RATIO if day < SPLIT <= today else 1.0

        def opened(day: dt.date) -> int:
            return int(dt.datetime.combine(day, dt.time(9, 30), NEW_YORK).timestamp())

        days = [day for day in sessions(last=min(today, LAST)) if start <= opened(day) < end]
        columns: dict[str, list[Any]] = {name: [] for name in ("open", "high", "low", "close", "volume")}
        for day in days:
            for name, value in zip(columns, raw(day), strict=True):
                number = value * by(day) if name == "volume" else float(np.float32(value / by(day)))
                columns[name].append(number)
        dividends = {
            str(opened(day)): {"amount": amount / by(day), "date": opened(day)}
            for day, amount in DIVIDENDS.items()
            if start <= opened(day) < end and day <= today
        }
        at = opened(SPLIT)
        split = {str(at): {"date": at, "numerator": 4.0, "denominator": 1.0, "splitRatio": "4:1"}}
        events = {"dividends": dividends, "splits": split if start <= at < end and today >= SPLIT else {}}
        result: dict[str, Any] = {"meta": meta, "indicators": {"quote": [columns], "adjclose": [{}]}}
        result |= {"timestamp": [opened(day) for day in days]} if days else {}
        result |= {"events": {k: v for k, v in events.items() if v}} if any(events.values()) else {}
        return {"chart": {"result": [result], "error": None}}

    def csv(self, query: Any) -> str:
        first, last = dt.date.fromisoformat(query["cosd"]), dt.date.fromisoformat(query["coed"])
        days = [day for day in sessions(last=min(self.today.date(), LAST)) if first <= day <= last]
        cells = ["" if day.day == 4 else f"{yielded(day)}" for day in days]  # a holiday has no value
        lines = [f"{day},{cell}" for day, cell in zip(days, cells, strict=True)]
        return "\n".join([f"observation_date,{query['id']}", *lines]) + "\n"

    def bars(self, symbol: str, query: Any) -> Any:
        start, end = (dt.datetime.fromisoformat(query[name]) for name in ("start", "end"))
        assert (query["adjustment"], query["feed"], query["sort"]) == ("raw", "sip", "asc")
        rows = []
        for day in sessions(last=min(self.today.date(), LAST)):
            at = dt.datetime.combine(day, dt.time(), NEW_YORK).astimezone(dt.UTC)
            if start <= at <= end:
                o, h, l, c, v = raw(day)  # noqa: E741
                more = {"t": f"{at:%Y-%m-%dT%H:%M:%SZ}", "o": o, "h": h, "l": l, "c": c, "v": int(v), "n": 9, "vw": c}
                rows.append(more)
        token = "more" if len(rows) > self.page else None
        return {"bars": rows[: self.page], "symbol": symbol, "next_page_token": token}

    def actions(self) -> Any:
        today = self.today.date()
        query = self.asked[-1][1]
        first, last = (dt.date.fromisoformat(query[name]) for name in ("start", "end"))
        announced = today + dt.timedelta(30)  # what is to come is told, too
        last = min(announced, last)
        dividends = [
            {"symbol": "AAPL", "rate": amount, "special": False, "foreign": False, "ex_date": str(day)}
            for day, amount in DIVIDENDS.items()
            if first <= day <= last
        ]
        split = {"symbol": "AAPL", "new_rate": 4, "old_rate": 1, "process_date": str(SPLIT), "ex_date": str(SPLIT)}
        told = {"cash_dividends": dividends, "forward_splits": [split] if first <= SPLIT <= last else []}
        return {"corporate_actions": {k: v for k, v in told.items() if v}, "next_page_token": None}


def yielded(day: dt.date) -> float:
    return round(-0.3 + day.toordinal() % 90 / 100, 2)  # below zero, too: a spread may be


@contextlib.asynccontextmanager
async def open_vendor() -> AsyncIterator[Vendor]:
    vendor, app = Vendor(), web.Application()
    app.router.add_get("/{rest:.*}", vendor.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address: Any = runner.addresses[0]
    vendor.url = f"http://{address[0]}:{address[1]}"
    try:
        yield vendor
    finally:
        await runner.cleanup()


def yahoo(vendor: Vendor) -> Source:
    """yfinance with a session that brings every address of Yahoo's to the loopback."""
    import requests
    from yfinance.data import YfData

    from trimtab.data.sources.yfinance import YfinanceSource

    class Rerouted(requests.Session):
        def request(self, method: Any, url: Any, *args: Any, **named: Any) -> Any:
            path = "/" + str(url).split("://", 1)[1].partition("/")[2]
            return super().request(method, vendor.url + path, *args, **named)

    YfData._instances.clear()  # one for the whole process
    source: Any = YfinanceSource(Rerouted())
    source.pace, source.pause = 0.0, 0.01
    return source


def alpaca(vendor: Vendor) -> Source:
    source: Any = AlpacaSource(vendor.url)
    source.pace = 0.0
    return source


def fred(vendor: Vendor) -> Source:
    source: Any = FredSource(f"{vendor.url}/fred")
    source.pace = 0.0
    return source


MAKERS: dict[str, tuple[Callable[[Vendor], Source], str]] = {
    "yfinance": (yahoo, "AAPL"), "alpaca": (alpaca, "AAPL"), "fred": (fred, "T10Y2Y"),
}  # fmt: skip


class Bench:
    def __init__(self, root: Path, vendor: Vendor, name: str, patience: Patience) -> None:
        self.store, self.vendor, self.name, self.patience = Store(root), vendor, name, patience
        self.make, self.symbol = MAKERS[name]

    def pager(self, ahead: int = 0) -> Pager:
        return Pager(self.store, self.make(self.vendor), self.patience, clock=lambda: self.vendor.now + ahead)

    def download(self, last: dt.date | None = None, ahead: int = 0) -> Downloaded:
        pager = self.pager(ahead)
        span = Span(ns(FIRST)) if last is None else Span(ns(FIRST), ns(last))
        return download(pager, find(pager, self.symbol), "1d", span)

    def assert_true(self, last: dt.date) -> None:
        """The store holds the truth of each session before a day, and no other."""
        days = [day for day in sessions() if day < last]
        if self.name == "fred":
            days = [day for day in days if day.day != 4]
            frame, truth = macro.read_series(self.store, self.symbol), [[yielded(day)] for day in days]
        else:
            frame = read_bars(self.store, find_instrument(self.store, self.symbol), "1d")
            truth = [list(raw(day)) for day in days]
        assert frame["open_time"].dt.date().to_list() == days
        assert frame.drop("open_time").to_numpy().tolist() == truth

    def events(self) -> list[tuple[dt.date, str, float]]:
        frame = read_events(self.store, find_instrument(self.store, self.symbol))
        return [(ts.date(), kind, value) for ts, kind, value in frame.iter_rows()]


@pytest.fixture
def vendor(thread: Any, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    monkeypatch.setenv("APCA_API_KEY_ID", "key-of-a-test")
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    made: Vendor = thread.serve(open_vendor())
    return made


@pytest.fixture(params=list(MAKERS))
def bench(request: pytest.FixtureRequest, tmp_path: Path, vendor: Vendor, patience: Patience) -> Bench:
    return Bench(tmp_path / "store", vendor, request.param, patience)


def test_what_is_stored_is_the_truth(bench: Bench) -> None:
    done = bench.download()
    bench.assert_true(dt.date(2021, 1, 1))
    assert done.revised == 0
    if bench.name != "fred":
        assert bench.events() == [
            (dt.date(2020, 8, 7), "dividend", 0.82), (SPLIT, "split", 4.0), (dt.date(2020, 11, 6), "dividend", 0.205),
        ]  # fmt: skip
        assert find_instrument(bench.store, "AAPL").calendar == "XNYS"
        assert "/AAPL" in bench.vendor.asked[0][0]


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, "fault"), (502, {}, "<html>Bad gateway</html>"), (429, {}, "slow down"), (0, {}, ""),
        (-1, {}, "x" * 4_000), (200, {}, ""), (200, {}, '{"chart":{"result":[{"meta'), (200, {}, "<html>soon</html>"),
        (200, {}, "null"), (200, {}, "{}"), (200, {}, "observation_date,T10Y2Y\n2020-06-01,0.1\n2020-06-0"),
    ],
    ids=lambda answer: f"{answer[0]} {answer[2][:10]}",
)  # fmt: skip
def test_a_fault_costs_a_request_and_no_row(bench: Bench, answer: Any) -> None:
    bench.vendor.answers = [answer] * (2 if bench.name != "yfinance" else 4)  # yfinance asks twice by itself
    bench.download()
    assert bench.vendor.answers == []
    bench.assert_true(dt.date(2021, 1, 1))


def test_too_many_requests_to_yahoo_are_waited_for_or_given_up(tmp_path: Path, vendor: Vendor) -> None:
    bench = Bench(tmp_path, vendor, "yfinance", Patience(attempts=5, pause=(0.01, 0.05), longest=0.005))
    vendor.answers = [(429, {"Retry-After": "5"}, "")] * 9
    with pytest.raises(TrimtabError, match=r"fewer requests.*left alone for 0 s.*run the command again"):
        bench.download()


def test_retry_after_as_a_date_is_kept_to(tmp_path: Path, vendor: Vendor, patience: Patience) -> None:
    bench = Bench(tmp_path, vendor, "alpaca", patience._replace(longest=30.0))
    until = email.utils.format_datetime(vendor.today + dt.timedelta(seconds=90), usegmt=True)
    vendor.answers = [(429, {"Retry-After": until}, "")]
    with pytest.raises(TrimtabError, match="left alone for 90 s"):
        bench.download()


@pytest.mark.parametrize(
    ("name", "status", "body", "words"),
    [
        ("fred", 404, "<html>", "fred knows no series T10Y2Y"),
        ("alpaca", 401, "", "does not know these keys"),
        ("alpaca", 403, '{"message":"subscription does not permit"}', "plan of these keys.*yfinance"),
        ("alpaca", 422, '{"message":"invalid symbol: AAPL"}', "invalid symbol: AAPL"),
        ("yfinance", 404, '{"chart":{"result":null,"error":{"code":"Not Found"}}}', "Yahoo knows no AAPL"),
        ("yfinance", 451, "", "another source"),
        ("fred", 403, "", "another source"),
    ],
)
def test_a_refusal_is_told_with_the_next_step(
    tmp_path: Path, vendor: Vendor, patience: Patience, name: str, status: int, body: str, words: str
) -> None:
    bench = Bench(tmp_path, vendor, name, patience)
    vendor.answers = [(status, {}, body)] * 4
    with pytest.raises(Refused, match=words) as told:
        bench.download()
    assert SECRET not in str(told.value)


def test_the_second_download_is_free(bench: Bench) -> None:
    bench.vendor.today = dt.datetime(2045, 1, 1, tzinfo=dt.UTC)  # windows of years have passed
    bench.download(dt.date(2020, 10, 1))
    asked = len(bench.vendor.asked)
    done = bench.download(dt.date(2020, 10, 1))
    assert (len(bench.vendor.asked), done.asked) == (asked, 0)
    bench.assert_true(dt.date(2020, 10, 1))


def test_a_day_that_is_not_over_is_not_stored(bench: Bench) -> None:
    """Nor because this machine's clock says that it is over."""
    bench.vendor.today = dt.datetime(2020, 10, 14, 18, tzinfo=dt.UTC)
    bench.download(ahead=20 * 3_600 * SECOND if bench.name != "fred" else 0)
    bench.assert_true(dt.date(2020, 10, 14) if bench.name != "fred" else dt.date(2020, 10, 15))


def test_an_update_across_a_split_leaves_the_past_as_it_was(bench: Bench) -> None:
    bench.vendor.today = dt.datetime(2020, 8, 20, 18, tzinfo=dt.UTC)
    bench.download()
    bench.vendor.today = dt.datetime(2021, 1, 15, 18, tzinfo=dt.UTC)
    done = update(bench.pager(), origins(bench.store)[0])
    bench.assert_true(dt.date(2021, 1, 1))
    assert done.revised == 0
    if bench.name != "fred":
        assert [value for _, _, value in bench.events()] == [0.82, 4.0, 0.205]


def test_a_revised_figure_is_taken_and_told(bench: Bench) -> None:
    bench.download()
    before = origins(bench.store)[0]

    def revise(told: Any) -> Any:
        if isinstance(told, str):
            return told.replace("2020-12-30,", "2020-12-30,1")
        if "bars" in told:
            for bar in told["bars"][-1:]:
                bar["v"] += 7
        elif "timestamp" in told["chart"]["result"][0]:
            told["chart"]["result"][0]["indicators"]["quote"][0]["volume"][-1] += 7
        return told

    bench.vendor.edit = lambda told: told if isinstance(told, dict) and "corporate_actions" in told else revise(told)
    done = update(bench.pager(), before)
    assert (done.revised, done.new) == (1, 0)
    assert "revised" in " ".join(done.notes)


def test_short_pages_are_gone_on_with(tmp_path: Path, vendor: Vendor, patience: Patience) -> None:
    bench = Bench(tmp_path, vendor, "alpaca", patience)
    vendor.page = 30
    bench.download()
    bench.assert_true(dt.date(2021, 1, 1))
    assert vendor.keys
    assert set(vendor.keys) == {("key-of-a-test", SECRET)}
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


def test_alpaca_without_keys(tmp_path: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    pager = Pager(Store(tmp_path), find_source("alpaca"), patience)
    with pytest.raises(TrimtabError, match=r"APCA_API_KEY_ID is not set.*yfinance") as told:
        download(pager, find(pager, "AAPL"), "1d", Span(ns(FIRST)))
    assert SECRET not in str(told.value)


def test_a_series_is_used_after_its_publication_lag(tmp_path: Path, vendor: Vendor, patience: Patience) -> None:
    bench = Bench(tmp_path, vendor, "fred", patience)
    bench.download()
    days = [dt.datetime(2020, 6, day, tzinfo=dt.UTC) for day in range(1, 31)]
    bars = pl.DataFrame({"open_time": days, **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)})
    panel = tt.Panel.from_frames({"X": bars}, "1d")
    from trimtab.data.series import with_series

    seen = with_series(panel, ["T10Y2Y"], tmp_path)
    column = seen.values[:, 0, seen.fields.index("T10Y2Y")]
    label = dt.date(2020, 6, 2)
    row = seen.ts.tolist().index(ns(label) + 2 * DAY)
    assert column[row] == yielded(label)
    assert np.isnan(column[0])
    with pytest.raises(TrimtabError, match="give --lag, such as --lag 45d"):
        find(bench.pager(), "SOMETHING")


@pytest.mark.parametrize(
    ("name", "label", "published"),
    [
        ("DGS10", "2024-03-08", "2024-03-08T23:00"),  # a Friday, Treasury's own page that evening
        ("SOFR", "2024-03-08", "2024-03-11T12:00"),  # the next business day, 8:00 New York
        ("DEXUSEU", "2024-03-04", "2024-03-11T20:15"),  # H.10: a Monday, for the week before
        ("NFCI", "2024-03-08", "2024-03-13T12:30"),
        ("PAYEMS", "2024-02-01", "2024-03-08T13:30"),
        ("CPIAUCSL", "2024-02-01", "2024-03-12T12:30"),
        ("GDP", "2024-01-01", "2024-04-25T12:30"),
    ],
)
def test_a_lag_reaches_beyond_the_publication(name: str, label: str, published: str) -> None:
    """Labels and releases of 2024 as the publishers' calendars have them."""
    wait = dt.datetime.fromisoformat(published) - dt.datetime.fromisoformat(label)
    assert FredSource().listing(name, b"").lag >= wait / dt.timedelta(days=1) * DAY


def test_pages_of_the_night_before_a_split(tmp_path: Path, vendor: Vendor, patience: Patience) -> None:
    """Yahoo's figures change some time in that night: what was kept then is not guessed at."""
    source = yahoo(vendor)
    request = Request("bars", "AAPL", "1d", ns(FIRST), ns(dt.date(2020, 8, 29)))
    vendor.today = dt.datetime(2021, 1, 15, 18, tzinfo=dt.UTC)
    actions = source.read(
        msgspec.structs.replace(request, what="actions", end=ns(LAST)),
        source.ask(msgspec.structs.replace(request, what="actions", end=ns(LAST))).body,
    )

    def whole(bars_at: dt.datetime, listed: dt.datetime) -> Any:
        vendor.today = bars_at
        bars = source.read(request, source.ask(request).body)
        dated = [f.with_columns(asked_at=pl.lit(int(at.timestamp()) * SECOND)) for f, at in
                 ((bars, bars_at), (actions, listed))]  # fmt: skip
        return source.whole(dated[0], {"actions": dated[1]}, "1d").bars["open"].to_list()

    truth = [raw(day)[0] for day in sessions(last=dt.date(2020, 8, 28))]
    later = dt.datetime(2021, 1, 15, 18, tzinfo=dt.UTC)
    for came in (dt.datetime(2020, 8, 30, 20, tzinfo=dt.UTC), dt.datetime(2020, 8, 31, 15, tzinfo=dt.UTC)):
        assert whole(came, later) == truth
    with pytest.raises(Refused, match="--again"):
        whole(dt.datetime(2020, 8, 31, 9, tzinfo=dt.UTC), later)


def test_keys_follow_no_redirection(tmp_path: Path, vendor: Vendor, patience: Patience) -> None:
    bench = Bench(tmp_path, vendor, "alpaca", patience)
    vendor.answers = [(302, {"Location": "/elsewhere"}, "")]
    with pytest.raises(Refused, match="HTTP 302"):
        bench.download()
    assert len(vendor.asked) == 1
