"""Each cheat in every form that can express it, and each honest near-miss: a frame, an indicator, a column, a table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab.research.check import LAWS, Slow, judge
from trimtab.research.check_subject import Finding, Subject, subject_of
from trimtab.research.check_tables import tables
from trimtab.research.synthetic import synthetic_panel
from trimtab.strategies import find
from trimtab.strategies.framed import home_of
from trimtab.strategies.indicators import frame_of
from trimtab.types import F64, Panel, Strategy

Write = Callable[..., Strategy]
makers: Any = sys.modules[home_of(find(Path(__file__).with_name("makers.py")))]

AHEAD = [n for n in makers.CHEATS if n not in ("hidden state", "where history starts", "a draw")]
#: A column of these only raises suspicion: what is left in it could be honest.
DOUBTFUL = ("macro without lag",)


def with_holes(panel: Panel) -> Panel:
    """Some bars have no volume."""
    values = panel.values.copy()
    k = panel.fields.index("volume")
    values[np.random.default_rng(3).random(len(values)) < 0.05, :, k] = np.nan
    return msgspec.structs.replace(panel, values=values)


@pytest.fixture(scope="module")
def hours() -> Panel:
    """One instrument round the clock, hourly."""
    return with_holes(synthetic_panel(7, 1_300, 1, "1h"))


@pytest.fixture(scope="module")
def real(shared: Path) -> Panel:
    """Real hourly bars of Bitcoin in 2022, the year of its fall, and of Ether."""
    frames = {}
    for symbol in ("BTCEUR", "ETHEUR"):
        frame = pl.read_parquet(shared / "data" / "crypto_bitvavo" / f"{symbol}_1h.parquet")
        frames[symbol] = frame.filter(pl.col("open_time").dt.year() == 2022)[:2_000]
    return with_holes(Panel.from_frames(frames, "1h"))


def column_of(panel: Panel, name: str) -> Panel:
    """The panel with the field `made`: computed over all rows of each instrument, as a user would before the run."""
    out = np.full(panel.values.shape[:2], np.nan)
    for n in range(len(panel.instruments)):
        x = panel.values[:, n]
        rows = np.flatnonzero(~np.isnan(x[:, panel.fields.index("close")]))
        columns = x[rows][:, [panel.fields.index(f) for f in makers.READS]]
        out[rows, n] = makers.made(name, frame_of(makers.READS, panel.ts[rows], columns))
    values = np.concatenate((panel.values, out[:, :, None]), axis=2)
    return msgspec.structs.replace(panel, fields=(*panel.fields, "made"), values=values)


def checked(strategy: Strategy, panel: Panel, name: str, warmup: int = 80) -> Subject:
    return subject_of(strategy, panel, {"kind": makers.NAMES.index(name), "warmup": warmup}, 0)


def verdicts(subject: Subject, *laws: str) -> list[Finding]:
    return [f for law in LAWS if law.name in laws for f in judge(law, subject)]


def refused(findings: list[Finding]) -> list[str]:
    return [f"{f.law} {f.field} {f.row}: {f.message}" for f in findings if not f.passed or f.suspicious]


# --- cheats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["FRAMED", "INDICATED"])
@pytest.mark.parametrize("name", [n for n in AHEAD if n != "macro without lag"])
def test_a_frame_that_looks_ahead(hours: Panel, name: str, form: str) -> None:
    first = verdicts(checked(getattr(makers, form), hours, name), "prefix")[0]
    assert not first.passed
    assert first.field in makers.READS
    assert first.instrument == "SYN1"
    assert first.row is not None
    assert first.ts == hours.ts[first.row]
    assert first.size is not None
    assert 0.0 < first.size <= 2.0
    assert "looks at later rows of its frame" in str(first.cause)


@pytest.mark.parametrize("form", ["FRAMED", "INDICATED"])
@pytest.mark.parametrize(
    ("name", "law"),
    [("hidden state", "split"), ("where history starts", "anchor"), ("a draw", "determinism")],
)
def test_a_frame_that_is_no_function_of_its_rows(hours: Panel, name: str, law: str, form: str) -> None:
    first = verdicts(checked(getattr(makers, form), hours, name), law)[0]
    assert not first.passed
    assert first.size is not None
    assert first.row is not None


@pytest.mark.parametrize("bars", ["hours", "real"])
@pytest.mark.parametrize("name", [n for n in AHEAD if n not in DOUBTFUL])
def test_a_column_that_knows_later_rows(name: str, bars: str, request: pytest.FixtureRequest) -> None:
    panel = column_of(request.getfixturevalue(bars), name)
    found = verdicts(checked(makers.COLUMN, panel, name), "fields")
    assert [f.passed for f in found] == [False], found
    first = found[0]
    assert (first.field, first.instrument) == ("made", panel.symbols[0])
    assert first.row is not None
    assert first.size is not None
    assert first.size > 0.15
    assert "look-ahead" in str(first.seen)
    assert first.cause


@pytest.mark.parametrize("name", AHEAD)
def test_a_table_of_it_in_a_compiled_step(write: Write, hours: Panel, tmp_path: Path, name: str) -> None:
    column = column_of(hours, name).values[:, 0, -1]
    np.save(tmp_path / "table.npy", column[~np.isnan(hours.values[:, 0, 3])])
    strategy = write(
        f"table_{makers.NAMES.index(name)}",
        head=f"TABLE = np.load({str(tmp_path / 'table.npy')!r})\n",
        step="""
            made = TABLE[min(s.rows, TABLE.shape[0] - 1)]
            return State(s.window, s.rows + 1), np.tanh(made)
        """,
    )
    found = tables(subject_of(strategy, hours, {}, 0))
    assert [f.field for f in found] == ["TABLE"]
    assert found[0].law == "prefix"


def test_macro_figures_before_they_are_published(hours: Panel) -> None:
    panel = column_of(hours, "macro without lag")
    subject = checked(makers.COLUMN, panel, "macro without lag")
    series = makers.macro_series(panel.ts)
    known = series["at"].dt.timestamp("ns").to_numpy().astype(np.int64) + 3 * 86_400_000_000_000
    told = subject._replace(series={"CPI": Slow(known, series["value"].to_numpy())})
    first = verdicts(told, "fields")[0]
    assert not first.passed
    assert "shows CPI before it was published" in first.message


MODULE = '''"""A strategy that joins a file of its own."""

import polars as pl

import trimtab

{head}

def forecast(p, frame):
    {lines}


STRATEGY = trimtab.frame_strategy(name="{name}", forecast=forecast, fields=("close",), warmup=30)
'''


@pytest.mark.parametrize(
    ("head", "lines", "field", "told"),
    [
        (
            "MACRO = pl.DataFrame({'ts': [0], 'value': [1.0]}).cast({'ts': pl.Datetime('ns', 'UTC')})\n",
            "return frame.join_asof(MACRO, on='ts')['value'] * 0.1",
            "MACRO",
            "module-level DataFrame MACRO (1 × 2)",
        ),
        (
            "def known():\n    return pl.read_csv('macro.csv')\n",
            "return frame['close'] * 0.0 if frame.height else known()['value']",
            "forecast",
            "reads a file as it is made (read_csv)",
        ),
    ],
)
def test_a_frame_that_brings_its_own_data(
    hours: Panel, tmp_path: Path, head: str, lines: str, field: str, told: str
) -> None:
    file = tmp_path / f"own_{field.lower()}.py"
    file.write_text(MODULE.format(head=head, lines=lines, name=file.stem))
    found = [f for f in verdicts(subject_of(find(file), hours, {}, 0), "prefix") if not f.passed]
    assert [f.field for f in found] == [field]
    assert told in found[0].message


@pytest.mark.parametrize("moment", ["mean", "std"])
def test_a_number_of_the_whole_sample_in_a_compiled_step(write: Write, hours: Panel, moment: str) -> None:
    close = hours.values[:, 0, 3]
    value = float(getattr(close[~np.isnan(close)], moment)())
    strategy = write(f"constant_{moment}", head=f"LEVEL = {value!r}\n", step=STEP_LEVEL)
    found = tables(subject_of(strategy, hours, {}, 0))
    assert [(f.field, f.size) for f in found] == [("LEVEL", 1.0)]
    assert "over all rows of the data" in found[0].message
    other = write(f"written_{moment}", head=f"LEVEL = {value:.4g}\n", step=STEP_LEVEL)
    assert tables(subject_of(other, hours, {}, 0)) == [], "a level that somebody writes down is no leak"


STEP_LEVEL = "return State(s.window, s.rows + 1), np.tanh(x[0, 0] / LEVEL - 1.0)"


def test_a_step_that_counts_rows_from_the_first(write: Write, panel: Panel) -> None:
    strategy = write(
        "fifth",
        state="window: WindowMoments\nheld: float\nrows: int",
        init="moments_init(p.n), np.nan, 0",
        step="""
            window = moments_step(s.window, x[0, 0])
            held = s.held
            if s.rows >= p.n - 1 and (s.rows - p.n + 1) % 5 == 0:
                held = np.tanh(x[0, 0] / window.mean - 1.0)
            return State(window, held, s.rows + 1), held
        """,
    )
    first = verdicts(subject_of(strategy, panel, {}, 0), "history")[0]
    assert not first.passed
    assert first.field == "forecast"
    assert first.row is not None
    assert first.size is not None
    assert "every fifth row" in str(first.cause)


# --- suspicions ------------------------------------------------------------------------------------------------------


def suspected(panel: Panel, column: F64) -> list[Finding]:
    """What the law of fields says of a column of the first instrument, (T,)."""
    values = np.concatenate((panel.values, np.full((*panel.values.shape[:2], 1), np.nan)), axis=2)
    values[:, 0, -1] = column
    made = msgspec.structs.replace(panel, fields=(*panel.fields, "made"), values=values)
    return verdicts(checked(makers.COLUMN, made, "an average"), "fields")


def close_of(panel: Panel) -> pl.Series:
    return pl.Series(panel.values[:, 0, 3]).fill_nan(None).forward_fill()


def average_filled(panel: Panel) -> Any:
    return close_of(panel).rolling_mean(50).backward_fill()


def other_moments(panel: Panel) -> Any:
    close = close_of(panel)
    return (close - close[:900].mean()) / close[:900].std()


def between_all_extremes(panel: Panel) -> Any:
    spread = close_of(panel).pct_change().rolling_std(20)
    return (spread - spread.min()) / (spread.max() - spread.min())


def of_the_month(panel: Panel) -> Any:
    month = pl.Series(panel.ts).cast(pl.Datetime("ns")).dt.truncate("1mo").rank("dense")
    return month.map_elements(lambda k: float(np.sin(7.0 * k)), return_dtype=pl.Float64)


@pytest.mark.parametrize(
    ("make", "told", "months"),
    [
        (average_filled, "begins with 50 rows of", False),
        (other_moments, "is close less", False),
        (between_all_extremes, "touches each of them exactly once", False),
        (of_the_month, "changes on the first row of a month only", True),
    ],
)
def test_what_could_be_honest_is_only_suspicious(
    hours: Panel, panel: Panel, make: Callable[[Panel], Any], told: str, months: bool
) -> None:
    bars = panel if months else hours
    bars = msgspec.structs.replace(bars, instruments=bars.instruments[:1], values=bars.values[:, :1].copy())
    keep = ~np.isnan(bars.values[:, 0, 3])
    bars = msgspec.structs.replace(bars, ts=bars.ts[keep], values=bars.values[keep])
    found = suspected(bars, make(bars).cast(pl.Float64).to_numpy())
    assert [(f.passed, f.suspicious, f.field) for f in found] == [(True, True, "made")], found
    assert told in found[0].message
    assert ": suspicious: " in found[0].message


@pytest.mark.parametrize("timeframe", ["1h", "1d"])
def test_slower_bars_of_a_session_before_their_end(timeframe: str) -> None:
    """Hours of New York and their days; days and their weeks. The same field, joined as `load` does it, is honest."""
    from trimtab.data.panel import rows_of

    panel = synthetic_panel(7, 4_000 if timeframe == "1h" else 1_200, 3, timeframe)
    values = panel.values[:, 2:3].copy()
    panel = msgspec.structs.replace(panel, instruments=panel.instruments[2:], values=values)
    index, x = rows_of(panel, [0], "1d" if timeframe == "1h" else "1w", ("close",))
    for ahead in (0, 1):
        at = np.searchsorted(index, np.arange(len(panel.ts)), side="right") - 1 + ahead
        column = np.where((at >= 0) & (at < len(index)), x[np.clip(at, 0, len(index) - 1), 0, 0], np.nan)
        found = suspected(panel, column)
        assert [f.passed for f in found] == [ahead == 0], found
        if ahead:
            assert "slower bar joined on its open time" in str(found[0].cause)


# --- honest ----------------------------------------------------------------------------------------------------------

FRAME_LAWS = ("split", "prefix", "determinism", "anchor")


@pytest.mark.parametrize("form", ["FRAMED", "INDICATED"])
@pytest.mark.parametrize("name", makers.HONEST)
def test_an_honest_frame(hours: Panel, name: str, form: str) -> None:
    rows = 500 if name == "a long warm-up" else 80
    assert refused(verdicts(checked(getattr(makers, form), hours, name, rows), *FRAME_LAWS)) == []


@pytest.mark.parametrize(
    "name", ["an average", "a causal filter", "slower bars by their end", "high of the day so far"]
)
def test_an_honest_frame_on_real_bars(real: Panel, name: str) -> None:
    subject = checked(makers.FRAMED, real, name)
    assert refused(verdicts(subject._replace(units=subject.units[:1]), *FRAME_LAWS)) == []


@pytest.mark.parametrize("bars", ["hours", "real"])
@pytest.mark.parametrize("name", [*makers.HONEST, *makers.EXPANDING])
def test_an_honest_column(name: str, bars: str, request: pytest.FixtureRequest) -> None:
    panel = column_of(request.getfixturevalue(bars), name)
    assert refused(verdicts(checked(makers.COLUMN, panel, name), "fields")) == []


def test_the_measure_of_foreknowledge_grows_with_it(hours: Panel) -> None:
    """A column that is part noise: the share that is told rises with the share that leaks, and noise alone is 0."""
    from trimtab.research.check_foretold import foretold

    rng = np.random.default_rng(0)
    x: F64 = hours.values[:, 0, 3]
    close = x[~np.isnan(x)]
    ahead = np.append(np.diff(np.log(close)), np.nan)
    noise = rng.normal(size=len(close)) * np.nanstd(ahead)
    shares = []
    for part in (0.0, 0.4, 0.7, 0.95):
        share = foretold(part * ahead + np.sqrt(1.0 - part**2) * noise, np.log(close), np.random.default_rng(1))
        assert share is not None
        shares.append(share.explained)
    assert shares[0] < 0.05
    assert shares == sorted(shares)
    assert shares[-1] > 0.6
