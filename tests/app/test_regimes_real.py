"""Regimes on real history: what everybody remembers is what they say, when it could be known, and how often they flip.

Dates of the tests are session dates: the row that is labelled 10 October is known after that day's close. No default
was changed after these figures were seen; the bounds on flips were set before, but for Bitcoin's volatility.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from trimtab.data.panel import as_of
from trimtab.data.resampling import resample
from trimtab.portfolio.regime.budgets import regime_budgets
from trimtab.portfolio.regime.labels import UNKNOWN, Labels, Regime, bands, flips_per_year
from trimtab.portfolio.regime.table import CRYPTO, EQUITY, MACRO, VIX, VOLATILITY, classify
from trimtab.types import DAY, F64, I64


class Series(NamedTuple):
    """date: (T,) date labels at 00:00 UTC; x: (T, K), as known when that date is over."""

    date: I64
    x: F64

    @property
    def ts(self) -> I64:
        return self.date + DAY


def ns(column: pl.Series) -> I64:
    return column.cast(pl.Datetime("ns")).to_physical().to_numpy().astype(np.int64)


def spy(shared: Path) -> Series:
    """SPY with dividends put back forward in time, so that no later payment rewrites an earlier price."""
    folder = shared / "data/equity_us"
    bars = pl.read_parquet(folder / "SPY_1d.parquet")
    factors = pl.read_parquet(folder / "SPY_factors.parquet").rename({"ts": "open_time"})
    both = bars.join_asof(factors, on="open_time", strategy="forward")
    factor = (both["price_factor"] * both["split_factor"]).to_numpy()
    return Series(ns(bars["open_time"]), (both["close"].to_numpy() * factor / factor[0])[:, None])


def sp500() -> Series:
    frame = pytest.importorskip("arch.data.sp500").load()
    return Series(frame.index.to_numpy().astype("datetime64[ns]").astype(np.int64), frame[["Adj Close"]].to_numpy())


def vix(shared: Path) -> Series:
    bars = pl.read_parquet(shared / "data/macro/VIX_1d.parquet")
    return Series(ns(bars["open_time"]), bars.select("close").to_numpy())


def bitcoin(shared: Path) -> Series:
    hours = pl.read_parquet(shared / "data/crypto_bitvavo/BTCEUR_1h.parquet")
    bars = resample(hours, "1h", "1d")
    return Series(ns(bars["open_time"]), bars.select("close").to_numpy())


def economy(shared: Path, index: str, spread: str = "term_10y_3m", lag: int = MACRO.lags["activity"]) -> Series:
    """The curve of each day, and the activity that was published by the end of that day."""
    curve = pl.read_parquet(shared / "data/macro/treasury_curve_1d.parquet")
    months = pl.read_parquet(shared / "data/macro/fredmd_2026_02_1mo.parquet")
    dates = ns(curve["ts"])
    activity = as_of(ns(months["ts"]) + lag, months[index].to_numpy(), dates + MACRO.lags["term_spread"])
    return Series(dates, np.stack([curve[spread].to_numpy(), activity], axis=1))


def labels_of(regime: Regime, series: Series) -> Labels:
    return classify(regime, regime.params, series.x)


def words(regime: Regime, series: Series, first: str, last: str) -> list[str]:
    """The labels of the dates from first to last."""
    date = series.date.astype("datetime64[ns]")
    inside = (date >= np.datetime64(first)) & (date <= np.datetime64(last))
    return [regime.names[k] if k != UNKNOWN else "unknown" for k in labels_of(regime, series)[inside]]


OCTOBER, YEAR = ("2008-10-01", "2008-10-31"), ("2013-01-01", "2013-12-31")


@pytest.fixture(scope="module", params=["SPY", "SP500"])
def index(request: pytest.FixtureRequest) -> Series:
    return spy(request.getfixturevalue("shared")) if request.param == "SPY" else sp500()


# --- what everybody remembers -----------------------------------------------------------------------------------------


def test_october_2008_is_bear_and_crisis_on_every_day(index: Series):
    assert words(EQUITY, index, *OCTOBER) == ["bear"] * 23
    assert words(VOLATILITY, index, *OCTOBER) == ["crisis"] * 23


def test_2013_is_bull_and_low_or_normal_on_every_day(index: Series):
    assert words(EQUITY, index, *YEAR) == ["bull"] * 252
    assert set(words(VOLATILITY, index, *YEAR)) == {"low", "normal"}


def test_vix_says_the_same(shared: Path):
    assert words(VIX, vix(shared), *OCTOBER) == ["crisis"] * 23
    assert set(words(VIX, vix(shared), *YEAR)) == {"low", "normal"}
    assert words(VIX, vix(shared), "2008-09-26", "2008-09-29") == ["high", "crisis"]  # the day of -8.8%


def test_bitcoin_in_march_2020_is_crisis_from_the_day_of_the_fall(shared: Path):
    """The data begins ten weeks earlier: too late for the trend to be known, early enough for the crash."""
    assert words(CRYPTO, bitcoin(shared), "2020-03-01", "2020-03-11") == ["unknown"] * 11
    assert words(CRYPTO, bitcoin(shared), "2020-03-12", "2020-03-31") == ["crisis"] * 20


def test_bitcoin_later(shared: Path):
    coins = bitcoin(shared)
    assert set(words(CRYPTO, coins, "2020-10-01", "2021-04-30")) == {"bull"}
    assert words(CRYPTO, coins, "2021-05-19", "2021-06-13") == ["crisis"] * 26
    assert set(words(CRYPTO, coins, "2022-08-01", "2022-12-31")) == {"bear"}
    assert words(CRYPTO, coins, "2022-06-16", "2022-07-11") == ["crisis"] * 26
    assert set(words(CRYPTO, coins, "2023-11-01", "2023-12-31")) == {"bull"}


@pytest.mark.parametrize("activity", ["INDPRO", "PAYEMS"])
@pytest.mark.parametrize("spread", ["term_10y_3m", "term_10y_2y"])
def test_the_great_recession_passes_through_the_cycle(shared: Path, activity: str, spread: str):
    series = economy(shared, activity, spread)
    assert set(words(MACRO, series, "2007-01-01", "2007-12-31")) == {"slowdown"}
    assert set(words(MACRO, series, "2008-10-01", "2009-06-30")) == {"contraction"}
    assert set(words(MACRO, series, "2011-01-01", "2013-12-31")) == {"recovery"}
    assert set(words(MACRO, series, "2014-09-01", "2015-03-31")) == {"expansion"}


# --- when it could be known -------------------------------------------------------------------------------------------


def test_a_month_of_activity_is_not_used_before_it_was_published(shared: Path):
    """Industrial production of August 2008 came out in the middle of September; from 2 October it is used."""
    months = pl.read_parquet(shared / "data/macro/fredmd_2026_02_1mo.parquet")
    august = months.filter(pl.col("ts").dt.date() == pl.date(2008, 8, 1))["INDPRO"][0]
    series = economy(shared, "INDPRO")
    first = series.date[np.flatnonzero(series.x[:, 1] == august)[0]]
    assert str(first.astype("datetime64[ns]"))[:10] == "2008-10-01"  # the date whose end is 2 October, 00:00


def test_without_the_lag_the_contraction_would_be_known_two_months_sooner(shared: Path):
    def named(lag: int) -> np.datetime64:
        series = economy(shared, "INDPRO", lag=lag)
        late = (series.date > np.datetime64("2007-01-01", "ns").astype(np.int64)) & (labels_of(MACRO, series) == 2)
        return series.date[late][0].astype("datetime64[ns]")

    leaked, honest = named(0), named(MACRO.lags["activity"])
    assert 55 <= (honest - leaked) / np.timedelta64(1, "D") <= 65
    assert str(honest)[:7] == "2008-05"


def test_prices_that_later_dividends_rewrote_give_the_same_labels(shared: Path):
    """Adjusting backward multiplies the whole past by one number, and no label depends on the unit of a price."""
    series = spy(shared)
    rewritten = series._replace(x=series.x * 0.6566606)
    for regime in (EQUITY, VOLATILITY):
        assert (labels_of(regime, series) == labels_of(regime, rewritten)).all()


# --- how often they flip ----------------------------------------------------------------------------------------------

#: (regime, series) -> changes a year as docs/regimes.md states them, and the bound.
FLIPS = {
    ("equity", "SPY"): (4.09, 6.0),
    ("equity", "SP500"): (3.66, 6.0),
    ("volatility", "SPY"): (10.65, 12.0),
    ("volatility", "SP500"): (9.78, 12.0),
    ("volatility", "BTCEUR"): (15.68, 20.0),
    ("vix", "VIX"): (8.31, 12.0),
    ("crypto", "BTCEUR"): (4.73, 6.0),
    ("macro", "INDPRO"): (0.63, 2.0),
    ("macro", "PAYEMS"): (0.43, 2.0),
}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "regimes.md"


def series_of(name: str, shared: Path) -> Series:
    if name == "SP500":
        return sp500()
    if name in ("INDPRO", "PAYEMS"):
        return economy(shared, name)
    return {"SPY": spy, "VIX": vix, "BTCEUR": bitcoin}[name](shared)


@pytest.mark.parametrize(("name", "source"), FLIPS)
def test_flips_per_year_are_those_of_the_page_and_few(shared: Path, name: str, source: str):
    regime = {r.name: r for r in (EQUITY, CRYPTO, VOLATILITY, VIX, MACRO)}[name]
    series = series_of(source, shared)
    stated, bound = FLIPS[name, source]
    found = flips_per_year(labels_of(regime, series), series.ts)
    assert found == pytest.approx(stated, abs=0.005)
    assert found < bound
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in page if line.startswith(f"| `{name}` | {source} ") and f"| {stated:.1f} |" in line]


def test_bands_cover_what_is_known_and_hold_one_label_each(index: Series):
    labels, ts = labels_of(EQUITY, index), index.ts
    found = bands(labels, ts)
    assert (found.start[1:] == found.end[:-1]).all()
    assert (found.label[1:] != found.label[:-1]).all()
    assert (int(found.start[0]), int(found.end[-1])) == (int(ts[EQUITY.warmup(EQUITY.params)]), int(ts[-1]))
    at = np.searchsorted(found.start, ts, side="right") - 1
    known = labels != UNKNOWN
    assert (found.label[at[known]] == labels[known]).all()


def test_a_budget_that_leaves_in_bear_markets_misses_october_2008(shared: Path):
    """The label of a close multiplies the decision of that close; its return is the next day's."""
    series = spy(shared)
    factor = regime_budgets(EQUITY, labels_of(EQUITY, series), [{"bear": 0.0, "unknown": 0.0}])[:, 0]
    price = series.x[:, 0]
    earned = factor[:-1] * (price[1:] / price[:-1] - 1.0)
    inside = (series.date[1:] >= np.datetime64("2008-10-01", "ns").astype(np.int64)) & (
        series.date[1:] <= np.datetime64("2008-10-31", "ns").astype(np.int64)
    )
    assert (earned[inside] == 0.0).all()
    assert np.prod(1.0 + (price[1:] / price[:-1] - 1.0)[inside]) < 0.85
