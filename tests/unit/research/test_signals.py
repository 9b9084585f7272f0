"""Signals: the newest forecast in words, its reason, and the orders from cash, equal to what a backtest holds."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

import trimtab as tt
from trimtab.research.signals import NOT_SHORT, TOO_SMALL, UNDER_LEAST, plain_of, signals_of, words_of
from trimtab.research.synthetic import synthetic_panel
from trimtab.strategies import find
from trimtab.types import HOUR, Costs, Instrument, NotEnoughData, Panel, Reason, TrimtabError


def panel_of(returns: np.ndarray, **instrument: Any) -> Panel:
    """Hourly bars of one instrument that open where the one before closed."""
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate(([100.0], close[:-1]))
    volume, length = np.full(close.size, 1e9), np.full(close.size, float(HOUR))
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    values = np.stack([opened, top, bottom, close, volume, length], axis=1)[:, None, :].copy()
    ts = HOUR * np.arange(400_000, 400_000 + close.size, dtype=np.int64)
    fields = ("open", "high", "low", "close", "volume", "duration")
    return Panel(ts, (Instrument(symbol="X", **instrument),), fields, values, "1h")


def correlated(last: float) -> np.ndarray:
    """Returns of which each takes back half of the one before, and a last one."""
    x = np.random.default_rng(0).normal(0.0, 0.01, 800)
    for t in range(1, x.size):
        x[t] -= 0.5 * x[t - 1]
    return np.append(x, last)


@pytest.mark.parametrize(("last", "signal", "side"), [(-0.01, "BUY", "buy"), (0.01, "SELL", "sell")])
def test_a_significant_reversal_is_a_signal_with_its_reason_and_order(last: float, signal: str, side: str) -> None:
    panel = panel_of(correlated(last), lot_size=0.01)
    (told,) = signals_of(find("lag_autocorr"), {}, panel, 10_000.0)
    assert (told.signal, told.instruments, told.ts, told.timeframe) == (signal, ("X",), panel.ts[-1], "1h")
    assert told.reason is not None
    assert told.reason.statistic == "robust z of the autocorrelation at lag 1"
    assert told.reason.value < told.reason.low == -told.reason.high
    assert "significant, it wants to be" in told.words
    (order,) = told.orders
    assert order.side == side
    price = panel.values[-1, 0, 3]
    assert order.weight == told.forecast
    assert order.lots == math.trunc(told.forecast * 10_000.0 / (price * 0.01))
    assert order.notional == pytest.approx(order.quantity * price)
    # What stands then in a backtest that goes on for one more bar.
    longer = panel_of(np.append(correlated(last), 0.0), lot_size=0.01)
    run = tt.backtest("lag_autocorr", longer, costs=Costs(), capital=10_000.0)
    weights = run.fold.weights
    assert weights.value[weights.row < len(panel.ts)][-1] == told.forecast


def test_noise_is_held_with_the_band_that_it_is_inside_of() -> None:
    panel = panel_of(np.random.default_rng(4).normal(0.0, 0.01, 700))
    for name in ("lag_autocorr", "variance_ratio", "pacf_spike", "drift_significance"):
        (told,) = signals_of(find(name), {"window": 100}, panel, 1e4)
        assert (told.signal, told.strength, told.orders[0].lots, told.orders[0].why_not) == ("HOLD", 0.0, 0, "")
        assert told.reason is not None
        assert told.reason.low < told.reason.value < told.reason.high
        assert "which noise leaves 5% of the time: not significant, no position is wanted" in told.words
        assert told.timeframe == ("4h" if name == "drift_significance" else "1h")


@pytest.mark.parametrize(
    ("name", "changed", "what"),
    [
        ("spectral_peaks", {"octaves": 7}, "Fisher's g of the spectrum over red noise (period of"),
        ("spectral_entropy", {"octaves": 7}, "spectral entropy of 128 returns (power at"),
        ("wavelet_energy", {"window": 300}, "z of the wavelet energy in moves of"),
        ("hurst_exponent", {"octaves": 8}, "Hurst exponent (rescaled range 0."),
    ],
)
def test_noise_is_held_by_what_looks_at_spectra_and_scales(name: str, changed: dict[str, Any], what: str) -> None:
    panel = panel_of(np.random.default_rng(4).normal(0.0, 0.01, 4_000))
    (told,) = signals_of(find(name), changed, panel, 1e4)
    assert (told.signal, told.strength) == ("HOLD", 0.0)
    assert told.reason is not None
    assert told.reason.statistic.startswith(what)
    assert told.reason.low < told.reason.value < told.reason.high
    assert "which noise leaves 5% of the time: not significant, no position is wanted" in told.words
    (still,) = signals_of(find(name), changed, panel_of(np.zeros(4_000)), 1e4)
    assert (still.signal, still.strength) == ("HOLD", 0.0)
    assert "is not defined here: no position is wanted" in still.words


def test_what_stands_still_has_no_statistic() -> None:
    panel = panel_of(np.zeros(600))
    for name in ("lag_autocorr", "variance_ratio", "pacf_spike"):
        (told,) = signals_of(find(name), {"window": 100}, panel, 1e4)
        assert told.signal == "HOLD"
        assert "is not defined here: no position is wanted" in told.words
        assert plain_of([told])[0]["reason"]["value"] is None


@pytest.mark.parametrize(
    ("instrument", "capital", "why"),
    [
        ({"lot_size": 1.0}, 10.0, TOO_SMALL),
        ({"min_notional": 50.0}, 20.0, UNDER_LEAST),
        ({"shortable": False}, 1e4, NOT_SHORT),
    ],
)
def test_an_order_that_cannot_be_says_why(instrument: dict[str, Any], capital: float, why: str) -> None:
    (told,) = signals_of(find("lag_autocorr"), {}, panel_of(correlated(0.02), **instrument), capital)
    (order,) = told.orders
    assert (told.signal, order.side, order.lots, order.notional, order.why_not) == ("SELL", "", 0, 0.0, why)


@pytest.mark.parametrize("name", ["sma_cross", "momentum", "pairs_reversion", "crypto_momentum", "equity_trend"])
def test_every_form_of_strategy_says_what_its_backtest_holds_last(name: str) -> None:
    """Legs, a fit, weights across instruments: the orders are the weights that a backtest told last."""
    panel = synthetic_panel(5, 500, 2)
    told = signals_of(find(name), {}, panel, 1e6)
    assert sorted(i for s in told for i in s.instruments) == ["SYN1", "SYN2"]
    weights = tt.backtest(name, panel, costs=Costs()).fold.weights
    for order in (order for s in told for order in s.orders):
        of = weights.value[weights.instrument == panel.symbols.index(order.instrument)]
        assert order.weight == (of[-1] if of.size else 0.0)
    assert all(s.reason is None and s.words for s in told)
    assert msgspec.json.encode(plain_of(told))


def test_what_is_asked_wrongly_or_too_early_is_said() -> None:
    with pytest.raises(NotEnoughData, match="fewer than the 501"):
        signals_of(find("lag_autocorr"), {}, panel_of(np.full(100, 0.01)), 1e4)
    daily = synthetic_panel(5, 700, 1)
    with pytest.raises(TrimtabError, match="1h, 4h"):
        signals_of(find("variance_ratio"), {}, daily, 1e4)


def test_words_of_bands_with_one_side_and_of_one_who_abstains() -> None:
    low = Reason("entropy", 0.7, 0.9, math.inf, 0.01)
    assert words_of(0.5, low) == (
        "entropy is 0.7, outside the band from 0.9 up, which noise leaves 1% of the time: significant, "
        "it wants to be long with 50% of its share"
    )
    high = Reason("toxicity", 0.2, -math.inf, 0.9)
    assert words_of(0.0, high) == "toxicity is 0.2, inside the band up to 0.9: not significant, no position is wanted"
    assert words_of(math.nan, None) == "it abstains, and keeps what is held"
