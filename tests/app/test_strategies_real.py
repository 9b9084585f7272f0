"""Strategies with fits and filters on real markets: they run, and a second computation on whole columns agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trimtab as tt
from trimtab.research.streams import streams_of
from trimtab.types import BAR_FIELDS, DAY, HOUR

COINS = ("BTC", "ETH", "SOL", "XRP", "ADA", "LINK", "LTC")


def panel_of(frames: dict[str, pd.DataFrame], length: int, timeframe: str) -> tt.Panel:
    """Bars on the instants that all of them have."""
    index = sorted(set.intersection(*(set(frame.index) for frame in frames.values())))
    values = np.empty((len(index), len(frames), len(BAR_FIELDS)))
    for n, frame in enumerate(frames.values()):
        values[:, n, :5] = frame.loc[index, ["open", "high", "low", "close", "volume"]].to_numpy(float)
    values[:, :, 5] = length
    opens = pd.DatetimeIndex(index).as_unit("ns").astype("int64").to_numpy()
    return tt.Panel(opens + length, tuple(tt.Instrument(symbol=s) for s in frames), BAR_FIELDS, values, timeframe)


def bars(file: Path) -> pd.DataFrame:
    return pd.read_parquet(file).set_index("open_time")


@pytest.fixture(scope="module")
def coins(shared: Path) -> tt.Panel:
    """2024, daily, made of hours."""
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    folder = shared / "data" / "crypto_binance_2024"
    frames = {n: bars(folder / f"{n}USDT_1h.parquet").resample("1D").agg(how).dropna() for n in COINS}
    return panel_of(frames, DAY, "1d")


@pytest.fixture(scope="module")
def pair_2021(shared: Path) -> tt.Panel:
    folder = shared / "data" / "crypto_bitvavo"
    frames = {n: bars(folder / f"{n}EUR_1h.parquet").loc["2021-04":"2021-12"] for n in ("BTC", "ETH")}
    return panel_of(frames, HOUR, "1h")


@pytest.fixture(scope="module")
def stocks(shared: Path) -> tt.Panel:
    folder = shared / "data" / "equity_us"
    return panel_of({n: bars(folder / f"{n}_1d.parquet") for n in ("SPY", "IWM", "AAPL", "IBM")}, DAY, "1d")


def spec_of(panel: tt.Panel, strategy: str, **params: Any) -> tt.Spec:
    model = tt.Model(strategy=strategy, params=params)
    return tt.Spec(models=(model,), universe=panel.symbols, timeframe=panel.timeframe)


def wanted(spec: tt.Spec, panel: tt.Panel) -> np.ndarray:
    """(T, N) weights as they stand; NaN before the first."""
    out = np.full((len(panel.ts), len(panel.symbols)), np.nan)
    for stream in streams_of(spec, panel):
        out[stream.row, stream.instrument] = stream.forecast * stream.share
    return pd.DataFrame(out).ffill().to_numpy()


def test_crypto_momentum_on_seven_coins(coins: tt.Panel) -> None:
    spec = spec_of(coins, "crypto_momentum")
    run = tt.backtest(spec, coins)
    assert run.fills.height > 10
    assert run.refused == ()
    close = pd.DataFrame(coins.values[:, :, 3])
    fast, slow = close.pct_change(30), close.pct_change(60)
    score = ((fast + slow) / 2.0 / close.pct_change().rolling(60).std()).where((fast > 0.0) & (slow > 0.0), 0.0)
    weight = score.div(score.sum(axis=1), axis=0).fillna(0.0).clip(upper=0.5)
    decided = (pd.DatetimeIndex(coins.ts).day_name() == "Monday") & (np.arange(len(coins.ts)) >= 60)
    assert decided.sum() > 40
    expected = weight.where(pd.Series(decided), np.nan).ffill().to_numpy()
    np.testing.assert_allclose(wanted(spec, coins), expected, rtol=1e-9, atol=1e-12)


def test_momentum_with_a_score_on_stocks(stocks: tt.Panel) -> None:
    spec = spec_of(stocks, "momentum", lookback=120, entry_z=1.0, full_z=2.0, band=0.0)
    assert tt.backtest(spec, stocks).fills.height > 50
    weights, close = wanted(spec, stocks), pd.DataFrame(stocks.values[:, :, 3])
    vol = close.pct_change().ewm(com=60).std(bias=True)
    z = np.log(close / close.shift(120)) / (vol * np.sqrt(120))
    size = (np.minimum(1.0, 0.15 / (vol * np.sqrt(252))) * (z.abs() / 2.0).clip(upper=1.0)).to_numpy() / 4
    held = np.abs(weights) > 0.0
    np.testing.assert_allclose(np.abs(weights[120:])[held[120:]], size[120:][held[120:]], rtol=1e-9)
    assert (np.sign(weights[120:]) == np.sign(z.to_numpy()[120:]))[held[120:]].all()
    assert (z.abs().to_numpy()[120:][held[120:]] >= 0.5).all()
    assert (z.abs().to_numpy()[120:][~held[120:]] < 1.0).all()


@pytest.mark.parametrize("params", [{}, {"current": False}, {"kalman": True, "entry_z": 1.5}])
def test_a_pair_of_coins(pair_2021: tt.Panel, params: dict[str, Any]) -> None:
    spec = spec_of(pair_2021, "pairs_reversion", lookback=100, neutral=1, **params)
    run = tt.backtest(spec, pair_2021)
    assert run.fills.height > 20
    gross = np.abs(wanted(spec, pair_2021)).sum(axis=1)
    traded = gross[~np.isnan(gross)]
    assert set(np.round(traded, 9)) == {0.0, 1.0}


def test_selected_pairs_of_stocks_run_and_hold_what_was_chosen(stocks: tt.Panel) -> None:
    spec = spec_of(stocks, "pairs_selected", min_correlation=0.2, rate=0.5, entry_z=1.5)
    run = tt.backtest(spec, stocks)
    assert run.fills.height > 4
    weights = wanted(spec, stocks)[300:]
    assert (np.abs(weights).sum(axis=1) <= 1.0 + 1e-12).all()
    assert (np.sign(weights).sum(axis=1) == 0.0).all()  # each pair is long one and short the other
    again = tt.backtest(spec, stocks)
    assert again.result.fills.tobytes() == run.result.fills.tobytes()
