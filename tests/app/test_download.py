"""`trimtab data download` and `update` as a user drives them, with a source of the user's own and FRED on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner, Result

from trimtab.app import cli_download
from trimtab.app.cli import app, main
from trimtab.data.sources import fred
from trimtab.research.synthetic_source import SyntheticSource


class Fred(BaseHTTPRequestHandler):
    """fredgraph.csv of one series, T10Y2Y."""

    status = 200

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        body = b"observation_date,T10Y2Y\n" + b"".join(
            f"2020-01-{day:02},{day / 100}\n".encode()
            for day in range(1, 29)
            if query["cosd"][0] <= f"2020-01-{day:02}"
        )
        self.send_response(self.status if query["id"] == ["T10Y2Y"] else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TRIMTAB_DATA", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "120")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fred)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_address[1]}/csv"
    monkeypatch.setattr(fred.FredSource.__init__, "__defaults__", (here, 0))
    yield tmp_path / "store"
    server.shutdown()
    server.server_close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as done:
        main(["data", *arguments])
    code = done.value.code
    return (code if isinstance(code, int) else 0), capsys.readouterr().err


SYNTHETIC = ("download", "--source", "synthetic", "--symbols", "BTC,equity:SPY", "-t", "1d")


def test_download_and_update(store: Path) -> None:
    done = run(*SYNTHETIC, "--start", "2020-01-01", "--end", "2020-07-01")
    assert done.exit_code == 0, done.output
    assert "Pages: 1 asked for" in done.stdout or "Pages: 2 asked for" in done.stdout
    assert run("validate").exit_code == 0
    first = json.loads(run("show", "BTC", "--json").stdout)["series"][0]
    updated = run("update", "--symbols", "BTC", "--json")
    assert updated.exit_code == 0, updated.output
    (told,) = json.loads(updated.stdout)["downloaded"]
    assert (told["symbol"], told["source"], told["timeframe"], told["revised"]) == ("BTC", "synthetic", "1d", 0)
    assert told["new"] > 1_000
    assert told["first"] == first["first"]


def test_a_macro_series(store: Path) -> None:
    line = ("download", "--source", "fred", "--symbols", "T10Y2Y,NOSUCH", "--start", "2020-01-01")
    done = run(*line, "--lag", "3d", "--json")
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert told["downloaded"][0]["rows"] == 28
    assert "usable 3 days after its date label" in told["downloaded"][0]["notes"]
    assert "fred knows no series NOSUCH" in told["refused"][0]["error"]
    assert run("update").exit_code == 0
    listed = run("list")
    assert "T10Y2Y" in listed.stdout
    assert "usable after 3 days" in listed.stdout
    assert json.loads((store / "series.json").read_text())["T10Y2Y"]["lag"] == 3 * 86_400 * 10**9


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ((*SYNTHETIC, "--start", "soon"), "--start soon: expected a date"),
        ((*SYNTHETIC, "--start", "2020-01-02", "--end", "2020-01-01"), "is not before --end"),
        ((*SYNTHETIC, "--start", "2020-01-01", "--lag", "2d"), "leave it out"),
        (("download", "--source", "synthetic", "--symbols", "x:A", "--start", "2020-01-01"), "no class 'x'"),
        (("download", "--source", "synthetic", "--symbols", "A", "-t", "5m", "--start", "2020-01-01"), "it has 1h, 4h"),
        (("download", "--source", "synthetic", "--symbols", "A", "-t", "1w", "--start", "2020-01-01"), "take 1d, of"),
        (("download", "--source", "nosuchvenue", "--symbols", "A", "--start", "2020-01-01"), "knows no venue"),
        (("download", "--source", "fred", "--symbols", "ABC", "--start", "2020-01-01"), "give --lag"),
        (("update",), "nothing of that was downloaded"),
    ],
)
def test_mistakes(store: Path, line: tuple[str, ...], words: str) -> None:
    result = run(*line)
    assert result.exit_code != 0
    assert words in result.output + str(result.exception)
    assert "Traceback" not in result.output


def test_no_bars_is_another_exit_code(store: Path) -> None:
    assert run(*SYNTHETIC, "--start", "1999-01-01", "--end", "1999-06-01").exit_code == 3


def test_a_source_of_your_own(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point; one that cannot be loaded says which it is."""
    from importlib.metadata import EntryPoint

    from trimtab.data import sources

    made = f"{SyntheticSource.__module__}:SyntheticSource"
    points = {
        "mine": EntryPoint("mine", made, sources.GROUP),
        "broken": EntryPoint("broken", "no_such:x", sources.GROUP),
    }
    monkeypatch.setattr(sources, "entry_points", lambda group, name: [points[name]] if name in points else [])
    assert isinstance(cli_download._source("mine", ""), SyntheticSource)
    with pytest.raises(Exception, match=r"the source broken \(no_such:x\) cannot be loaded: ModuleNotFoundError"):
        cli_download._source("broken", "")
