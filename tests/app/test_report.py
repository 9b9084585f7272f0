"""The report as a reader opens it: built from real index history, drawn by a real browser, without a network.

The book is a small vectorised one made here, long-flat on two indices at two speeds, so that the page has something
true to show; how a book is really simulated is tested elsewhere.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from trimtab.research import figures
from trimtab.research.metrics import Curve, Trades, Trading, returns_from_equity, summarise
from trimtab.research.report import Fills, Prices, ReportData, render_report, verdict, write_report
from trimtab.research.utilisation import Usage
from trimtab.types import DAY, NotEnoughData, TrimtabError

CAPITAL = 1_000_000.0
RATE = 0.0008  # of traded notional, each way
PERIODS = 252.0
SYMBOLS = ("SP500", "NASDAQ")
MODELS = ("trend_200", "momentum_60")


def bars() -> dict[str, Any]:
    import arch.data.nasdaq
    import arch.data.sp500

    frames = (arch.data.sp500.load(), arch.data.nasdaq.load())
    ts = frames[0].index.to_numpy().astype("M8[ns]").astype(np.int64) + 21 * DAY // 24
    fields = {
        f.lower(): np.column_stack([d[f].to_numpy(float) for d in frames]) for f in ("Open", "High", "Low", "Close")
    }
    return {"ts": ts, **fields}


def weights(close: np.ndarray) -> np.ndarray:
    """(D, M, N): half the model's half of the book in each index above its 200-day mean, or with 60-day momentum."""
    w = np.zeros((close.shape[0], 2, 2))
    mean = np.lib.stride_tricks.sliding_window_view(close, 200, axis=0).mean(axis=-1)
    w[199:, 0] = 0.25 * (close[199:] > mean)
    w[60:, 1] = 0.25 * (close[60:] > close[:-60])
    return w


def marks(ts: np.ndarray, close: np.ndarray, w: np.ndarray, equity: np.ndarray) -> Fills:
    model, row = np.nonzero(np.diff(w, axis=0, prepend=0.0).T)
    order = np.argsort(row, kind="stable")
    row, model = row[order], model[order]
    opens = w[row, model] > 0.0
    return Fills(
        ts=ts[row],
        price=close[row],
        quantity=np.where(opens, 1.0, -1.0) * np.rint(0.25 * equity[row] / close[row]),
        opens=opens,
        pnl=np.where(opens, np.nan, 1234.0),
        model=tuple(MODELS[m] for m in model),
        reason=tuple("signal" for _ in model),
    )


def summary(equity: np.ndarray, ts: np.ndarray, hold: np.ndarray | None, **more: Any) -> dict[str, float]:
    whole = np.concatenate(([CAPITAL], equity))
    bench = None if hold is None else returns_from_equity(np.concatenate(([CAPITAL], hold)))
    exposure = more.pop("gross_exposure", None)
    return summarise(Curve(returns_from_equity(whole), ts, whole, bench, exposure), periods=PERIODS, **more)


def fallen(equity: np.ndarray) -> np.ndarray:
    return 1.0 - equity / np.maximum.accumulate(np.maximum(equity, CAPITAL))


def usage(limit: str, used: np.ndarray) -> Usage:
    """A limit of which so much was in use on each day."""
    day, near, over = int(used.argmax()), int((used >= 0.9).sum()), int((used > 1.0).sum())
    worst_ts = 1_226_016_000 * 10**9  # the end of 6 November 2008
    return Usage(limit, "", 0.2, used, float(used[-1]), float(used[day]), worst_ts, near, over, 7)


def book(days: int | None = None) -> ReportData:
    b = {name: values[-days:] if days else values for name, values in bars().items()}
    ts, close = b["ts"], b["close"]
    w = weights(close)
    growth = np.diff(close, axis=0, prepend=close[:1]) / np.roll(close, 1, axis=0)
    growth[0] = 0.0
    before = np.concatenate((np.zeros((1, 2, 2)), w[:-1]))
    gain, traded = (before * growth[:, None]).sum(axis=2), np.abs(w - before).sum(axis=2)
    net = CAPITAL * np.cumprod(1.0 + (gain - RATE * traded).sum(axis=1))
    held_before = np.concatenate(([CAPITAL], net[:-1]))[:, None]
    pnl, cost = np.cumsum(held_before * (gain - RATE * traded), axis=0), np.cumsum(held_before * RATE * traded, axis=0)
    gross = net + cost.sum(axis=1)
    hold = CAPITAL * (close / close[0]).mean(axis=1)
    fills = {s: marks(ts, close[:, i], w[:, :, i], net) for i, s in enumerate(SYMBOLS)}
    held = summary(hold, ts, None)
    trading = Trading(cost[-1].sum() / RATE, gross[-1] - CAPITAL, cost[-1].sum())
    closed = gain[(gain != 0.0)][::20]  # stands in for round trips
    trades = Trades(closed * CAPITAL, closed, np.full(closed.size, 20.0))
    exposure = w.sum(axis=(1, 2))
    m_net = summary(net, ts, hold, trades=trades, trading=trading, gross_exposure=exposure)
    m_gross = summary(gross, ts, hold, trades=trades, trading=trading, gross_exposure=exposure)
    per_net = {m: summary(CAPITAL + pnl[:, i], ts, hold, trades=trades) for i, m in enumerate(MODELS)}
    per_gross = {m: summary(CAPITAL + (pnl + cost)[:, i], ts, hold, trades=trades) for i, m in enumerate(MODELS)}
    beats, sentence = verdict(m_net, held)
    return ReportData(
        title="Trend and momentum on two US indices",
        verdict=sentence,
        beats=beats,
        ts=ts,
        capital=CAPITAL,
        equity=net,
        equity_gross=gross,
        holding=hold,
        gross_exposure=exposure,
        net_exposure=exposure,
        net=m_net,
        gross=m_gross,
        held=held,
        periods=PERIODS,
        models=MODELS,
        usage=(usage("gross_leverage", exposure), usage("drawdown_derisk", fallen(net) / 0.2)),
        pnl=pnl,
        cost=cost,
        model_net=per_net,
        model_gross=per_gross,
        cost_kinds={"fee": 0.5 * cost[-1].sum(), "spread": 0.3 * cost[-1].sum(), "slippage": 0.2 * cost[-1].sum()},
        crossing_saved=1500.0,
        prices=tuple(
            Prices(symbol=s, ts=ts, close=close[:, i], open=b["open"][:, i], high=b["high"][:, i], low=b["low"][:, i])
            for i, s in enumerate(SYMBOLS)
        ),
        fills=fills,
        settings={
            "universe": list(SYMBOLS),
            "timeframe": "1d",
            "capital": CAPITAL,
            "models": [
                {"strategy": "trend", "params": {"window": 200}, "budget": 0.5},
                {"strategy": "momentum", "params": {"lookback": 60}, "budget": 0.5},
            ],
            "costs": {"taker_fee": 0.0004, "half_spread": 0.00024, "slippage": 0.00016},
            "limits": {"gross_leverage": 1.0},
            "seed": 7,
        },
        provenance={
            "run_id": "5e2a" * 16,
            "data_hash": "c0ffee12" * 8,
            "code_version": "0.1.0",
            "platform": "x86_64 avx2 · python 3.11 · numba 0.68",
            "seed": "7",
        },
        notes=("NASDAQ and SP500 are price indices: dividends are not in them.",),
        action_columns=("time", "instrument", "reason", "wanted", "allowed"),
        actions=(("2008-10-10 21:00", "SP500", "gross_leverage", "120", "100"),),
        actions_total=57,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The file
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> ReportData:
    return book()


@pytest.fixture(scope="module")
def page(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(data, tmp_path_factory.mktemp("report") / "report.html")


class Links(HTMLParser):
    """Every address that a tag of the page would load or lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}]


def test_one_file_of_reasonable_size_without_any_address(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert links.found == []
    assert "url(" not in text.split("</style>")[0]
    assert "default-src 'none'" in text
    assert page.stat().st_size < 8_000_000
    assert text.count("plotly.js v") == 1
    assert [p.name for p in page.parent.iterdir()] == [page.name]


def test_figures_shown_are_those_given(page: Path, data: ReportData) -> None:
    text = page.read_text(encoding="utf-8").split('<script type="application/json"')[0]
    assert f">{data.net['sharpe']:.2f}<" in text
    assert f">{data.net['total_return']:.2%}<" in text
    assert f"gross {data.gross['total_return']:.2%}" in text
    assert f"holding {data.held['max_drawdown']:.2%}" in text
    assert f"{data.pnl[-1, 0]:,.0f}" in text
    assert "first 1 of 57" in text
    for value in (*data.provenance.values(), *data.notes, "taker_fee: 0.0004", "annualised by 252"):
        assert value in text


def test_words_from_outside_stay_words(data: ReportData) -> None:
    nasty = "<script>alert(1)</script>&\u2028"
    page = render_report(
        msgspec.structs.replace(
            data,
            title=nasty,
            notes=(nasty,),
            models=(nasty, "b"),
            model_net={nasty: data.net, "b": data.net},
            model_gross={nasty: data.gross, "b": data.gross},
            settings={"name": nasty},
            prices=(msgspec.structs.replace(data.prices[0], symbol=nasty),),
        )
    )
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert page.count("</script>") == 3


def test_build_is_quick(data: ReportData) -> None:
    render_report(data)
    start = time.perf_counter()
    render_report(data)
    assert time.perf_counter() - start < 1.5


def test_arrays_that_do_not_fit_and_short_runs_are_refused(data: ReportData, tmp_path: Path) -> None:
    with pytest.raises(TrimtabError, match=r"net_exposure has shape \(3,\), expected \(5031,\)"):
        render_report(msgspec.structs.replace(data, net_exposure=np.zeros(3)))
    with pytest.raises(TrimtabError, match="no metrics for the models momentum_60"):
        render_report(msgspec.structs.replace(data, model_net={"trend_200": data.net}))
    with pytest.raises(NotEnoughData, match="at least 2 day ends"):
        render_report(msgspec.structs.replace(data, ts=data.ts[:1]))
    (tmp_path / "taken").write_text("")
    with pytest.raises(TrimtabError, match="cannot write the report"):
        write_report(data, tmp_path / "taken" / "report.html")


def bare(data: ReportData, days: int) -> ReportData:
    """A frictionless run without models, prices, holding or trades, of so many days."""
    none = dict.fromkeys(data.net, math.nan)
    flat = np.full(days, CAPITAL)
    return ReportData(
        title="Nothing",
        verdict="No trade.",
        ts=data.ts[:days],
        capital=CAPITAL,
        equity=flat,
        equity_gross=flat,
        gross_exposure=np.zeros(days),
        net_exposure=np.zeros(days),
        net=none,
        gross=none,
        periods=PERIODS,
    )


@pytest.mark.parametrize("days", [2, 30, 300])
def test_a_run_that_never_traded_has_a_page_too(data: ReportData, days: int) -> None:
    page = render_report(bare(data, days))
    assert "The equity never moved." in page
    assert "this run is frictionless, or it never traded" in page
    assert ("too short for a window" in page) == (days < 146)


def test_thinning_keeps_the_ends_and_every_extreme() -> None:
    series = np.random.default_rng(0).normal(size=100_000).cumsum()
    at = figures.thin(series)
    assert (at[0], at[-1]) == (0, 99_999)
    assert at.size <= figures.POINTS + 2
    assert {int(series.argmin()), int(series.argmax())} <= set(at.tolist())
    assert (np.diff(at) > 0).all()
    assert figures.thin(series[:100]).size == 100


def test_limits_in_use_keep_every_day_that_was_worst(data: ReportData) -> None:
    """A column of the heat-map stands for several days; the most of them is drawn and the table says the rest."""
    figure = figures.limits(data)
    assert figure is not None
    (heat,) = figure.data
    assert list(heat.y) == ["drawdown derisk", "gross leverage"]  # from below
    assert heat.z.shape == (2, figures.COLUMNS)
    for row, used in zip(heat.z, (u.used for u in data.usage[::-1]), strict=True):
        assert row.max() == pytest.approx(min(used.max(), figures.SHOWN), abs=1e-4)
        assert row.mean() >= np.minimum(used, figures.SHOWN).mean() - 1e-4
    assert heat.x[-1] == figures.stamps(data.ts[-1:])[0]
    assert heat.customdata[0][0].startswith("1999-01-04 to ")
    page = render_report(data)
    assert "<td>drawdown derisk</td><td>20%</td>" in page
    assert f"{data.usage[1].worst:.1%}</span></td><td>2008-11-06</td>" in page
    wrong = data.usage[0]._replace(used=np.zeros(3))
    with pytest.raises(TrimtabError, match=r"usage of gross_leverage has shape \(3,\), expected \(5031,\)"):
        render_report(msgspec.structs.replace(data, usage=(wrong,)))


def test_months_compound_to_their_year(data: ReportData) -> None:
    years, table, whole = figures.years_of_months(data)
    assert years == list(range(1999, 2019))
    assert np.nanprod(1.0 + table, axis=1) - 1.0 == pytest.approx(whole, rel=1e-9, abs=1e-12)
    assert np.prod(1.0 + whole) == pytest.approx(data.equity[-1] / CAPITAL, rel=1e-9)


def test_candles_where_there_are_few_bars_and_a_line_where_only_closes_are_known(data: ReportData) -> None:
    few = book(days=500).prices[0]
    assert figures.price_chart(few, None).data[0].type == "candlestick"
    assert figures.price_chart(data.prices[0], None).data[0].type == "scatter"
    assert figures.price_chart(msgspec.structs.replace(few, close_only=True), None).data[0].type == "scatter"


def test_verdict_names_both_sides() -> None:
    net = {"total_return": 1.0, "cagr": 0.07, "max_drawdown": -0.12, "sharpe": 0.9}
    held = {"total_return": 0.5, "cagr": 0.04, "max_drawdown": -0.5, "sharpe": math.nan}
    assert verdict(net, held) == (
        True,
        "Net of costs the book beats holding the same instruments: 7.0% a year against 4.0%, 3.0 points more, "
        "with a deepest drawdown of 12% against 50%.",
    )
    beats, text = verdict(held, net)
    assert not beats
    assert "does not beat" in text
    assert "3.0 points less" in text


def test_a_verdict_on_less_than_a_year_is_not_annualised() -> None:
    net = {"total_return": -0.05, "cagr": -0.36, "max_drawdown": -0.07, "sharpe": -2.0, "days": 42.0}
    held = {"total_return": 0.25, "cagr": 5.9, "max_drawdown": -0.09, "sharpe": 3.0, "days": 42.0}
    assert verdict(net, held, 365.0)[1].startswith(
        "Net of costs the book does not beat holding the same instruments: -5.0% in 42 days against 25.0%, 30.0 points "
        "less, with"
    )
    assert "-36.0% a year against 590.0%" in verdict(net, held, 42.0)[1]


# ---------------------------------------------------------------------------------------------------------------------
# The browser
# ---------------------------------------------------------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="needs chromium")

# Runs inside the page, uses it as a reader would, and tells its frame what it saw. The frame gives any width, also one
# below the narrowest window of the browser, and carries the answer in an attribute of the page that is dumped.
FRAME = """
<!doctype html><body style="margin:0"><iframe src="probed.html" style="border:0;width:{width}px;height:1600px"></iframe>
<script>window.addEventListener("message", (e) => { document.body.dataset.seen = e.data; });</script></body>
"""
PROBE = """
<script>
const errors = [];
window.addEventListener("error", (e) => errors.push(String(e.message)));
window.addEventListener("securitypolicyviolation", (e) => errors.push("policy: " + e.violatedDirective));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const chart = (name) => document.querySelector(`[data-chart="${name}"]`);
const view = (name) => {
  const {xaxis, yaxis} = chart(name)._fullLayout;
  return {x: xaxis.range, y: yaxis.range, type: yaxis.type};
};
window.addEventListener("load", async () => {
  await pause(500);
  const seen = {};
  seen.charts = [...document.querySelectorAll("[data-chart]")].map((d) => [
    d.dataset.chart, d.querySelectorAll(".main-svg .trace, .main-svg .hm").length,
    d.querySelector(".main-svg").getBoundingClientRect().width]);
  seen.all = view("equity");
  document.querySelector('[data-months="12"]').click();
  await pause(300);
  seen.year = view("equity"); seen.followed = view("exposure");
  document.querySelector("[data-log]").click();
  await pause(300);
  seen.log = view("equity");
  document.querySelector('[data-months="0"]').click();
  await pause(300);
  seen.reset = view("equity"); seen.refollowed = view("exposure");
  const select = document.getElementById("symbol");
  seen.before = chart("prices")._fullData[0].name;
  select.value = "1"; select.dispatchEvent(new Event("change"));
  await pause(300);
  seen.after = chart("prices")._fullData[0].name;
  seen.marks = chart("prices")._fullData.slice(1).map((t) => [t.name, t.x.length, t.text[0]]);
  const sizes = [...document.querySelectorAll("main *")]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => parseFloat(getComputedStyle(e).fontSize));
  seen.smallest = Math.min(...sizes); seen.texts = sizes.length;
  seen.overflow = document.documentElement.scrollWidth - window.innerWidth;
  seen.width = window.innerWidth;
  seen.ink = getComputedStyle(document.body).color;
  seen.resources = performance.getEntriesByType("resource").map((r) => r.name);
  seen.errors = errors;
  parent.postMessage(JSON.stringify(seen), "*");
});
</script>
"""


def opened(page: Path, folder: Path, width: int, *flags: str) -> tuple[dict[str, Any], str]:
    """What the probe saw in a frame of that width, and what the browser wrote to its console."""
    assert CHROMIUM is not None, "continuous integration must have chromium"
    (folder / "frame.html").write_text(FRAME.replace("{width}", str(width)), encoding="utf-8")
    (folder / "probed.html").write_text(
        page.read_text(encoding="utf-8").replace("<main>", PROBE + "<main>", 1), encoding="utf-8"
    )
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={max(width, 800)},1600",
        "--enable-logging=stderr",
        "--virtual-time-budget=6000",
        *flags,
        "--dump-dom",
        (folder / "frame.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, f"the probe left nothing: {done.stderr[-2000:]}"
    console = [text for text in done.stderr.splitlines() if "CONSOLE" in text]
    return json.loads(html.unescape(found[1])), "\n".join(console)


@pytest.fixture(scope="module")
def wide(page: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    return opened(page, tmp_path_factory.mktemp("wide"), 1280)


@needs_browser
def test_a_reader_sees_every_chart_and_can_use_them(wide: tuple[dict[str, Any], str]) -> None:
    seen, console = wide
    assert console == ""
    assert seen["errors"] == []
    assert seen["resources"] == []
    drawn = {name: traces for name, traces, _ in seen["charts"]}
    assert set(drawn) == {
        "equity", "underwater", "rolling", "distribution", "prices", "contribution", "costs", "exposure",
        "limits",
    }  # fmt: skip
    assert all(traces > 0 for traces in drawn.values()), drawn
    assert all(width > 300 for *_, width in seen["charts"])
    assert (seen["before"], seen["after"]) == SYMBOLS
    names = [name for name, *_ in seen["marks"]]
    assert names == ["Buy, opens", "Sell, closes"]
    assert all(" at " in text and "signal" in text for *_, text in seen["marks"])
    assert seen["smallest"] >= 11
    assert seen["texts"] > 300
    assert seen["overflow"] <= 0


@needs_browser
def test_one_zoom_moves_all_charts_and_the_axis_fits_what_is_in_view(
    wide: tuple[dict[str, Any], str], data: ReportData
) -> None:
    seen, _ = wide
    year = seen["year"]
    assert year["x"][0].startswith("2017-12-31")
    assert seen["followed"]["x"][0].startswith("2017-12-31")
    last = data.equity[-252:]
    assert data.equity.min() < year["y"][0] < last.min()
    assert seen["log"]["type"] == "log"
    assert 10 ** seen["log"]["y"][0] == pytest.approx(year["y"][0], rel=0.2)
    assert seen["reset"]["x"][0].startswith(seen["all"]["x"][0][:10])
    assert seen["refollowed"]["x"][0].startswith("1999")


@needs_browser
def test_a_narrow_dark_screen(page: Path, tmp_path: Path) -> None:
    seen, console = opened(page, tmp_path, 390, "--blink-settings=preferredColorScheme=0")
    assert console == ""
    assert seen["errors"] == []
    assert seen["width"] == 390
    assert seen["overflow"] <= 0
    assert seen["ink"] == "rgb(230, 233, 239)"
    assert all(width <= seen["width"] for *_, width in seen["charts"])
