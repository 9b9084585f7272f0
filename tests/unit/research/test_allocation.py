"""What allocators look at: returns of instruments and of models, by loops written out."""

from __future__ import annotations

import numpy as np
import pytest

import trimtab as tt
from trimtab.research.allocation import Days, days_of_instruments, days_of_models
from trimtab.research.prepared import market_of
from trimtab.research.streams import plan_of
from trimtab.types import BAR_FIELDS, DAY, HOUR

ROWS = 400
#: Begins at 04:00 of a day, so that the first one is known in part.
TS = 1_704_067_200 * 10**9 + 4 * HOUR * np.arange(2, ROWS + 2, dtype=np.int64)


@pytest.fixture(scope="module")
def panel() -> tt.Panel:
    """Two in dollars and one in euros, with missing bars; the third begins late."""
    rng = np.random.default_rng(8)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (ROWS, 3)), axis=0))
    values = np.repeat(close[:, :, None], len(BAR_FIELDS) + 1, axis=2)
    values[:, :, 4], values[:, :, 5], values[:, :, 6] = 1e6, 4.0 * HOUR, 1.0
    values[:, 2, 6] = 1.1 * np.exp(np.cumsum(rng.normal(0.0, 0.003, ROWS)))
    values[rng.random((ROWS, 3)) < 0.1, :6] = np.nan
    values[:50, 2, :6] = np.nan
    quotes = ("USD", "USD", "EUR")
    instruments = tuple(tt.Instrument(symbol=s, quote=q) for s, q in zip("ABC", quotes, strict=True))
    return tt.Panel(TS, instruments, (*BAR_FIELDS, "fx"), values, "4h")


def marks(panel: tt.Panel) -> np.ndarray:
    """(T, N) the last close seen, in dollars; NaN before the first."""
    out = np.full((ROWS, 3), np.nan)
    for i in range(3):
        last = np.nan
        for t in range(ROWS):
            last = panel.values[t, i, 3] if panel.values[t, i, 3] > 0.0 else last
            out[t, i] = last * panel.values[t, i, 6]
    return out


def by_day(per_row: np.ndarray) -> np.ndarray:
    """Sums of what happened in each UTC day but the first; a bar that closes at midnight is of the day before."""
    day = (TS - 1) // DAY
    return np.array([per_row[day == d].sum(axis=0) for d in np.unique(day)[1:]])


def check_days(days: Days) -> None:
    assert (days.over % DAY == 0).all()
    assert np.unique((TS - 1) // DAY)[1:].tolist() == (days.over // DAY - 1).tolist()


def test_instruments_are_measured_from_day_end_to_day_end_in_base_currency(panel: tt.Panel) -> None:
    days = days_of_instruments(market_of(panel, "USD"), [0, 2])
    check_days(days)
    logs = np.diff(np.log(marks(panel)[:, [0, 2]]), axis=0, prepend=np.nan)
    np.testing.assert_allclose(days.returns, np.expm1(by_day(logs)), rtol=1e-9)
    assert np.isnan(days.returns[:, 1]).sum() == 8  # days 1 to 7 without a bar, and the one of the first close


def test_models_earn_what_their_weights_of_before_would_have(panel: tt.Panel) -> None:
    models = (
        tt.Model(strategy="sma_cross", params={"fast": 2, "slow": 6, "short": True}, budget=0.5),
        tt.Model(strategy="pairs_reversion", params={"lookback": 20, "entry_z": 1.0}, universe=("A", "B"), budget=0.3),
    )
    spec = tt.Spec(models=models, universe=("A", "B", "C"), timeframe="4h")
    streams = plan_of(spec, panel).streams
    apart = [[stream for stream in streams if stream.model == m] for m in (0, 1)]
    days = days_of_models(market_of(panel, "USD"), apart, [0.5, 0.3])
    check_days(days)
    mark = marks(panel)
    earned = np.zeros((ROWS, 2))
    for stream in streams:
        said = {(t, i): f * stream.share for t, i, f in zip(*stream[1:4], strict=True)}
        held = dict.fromkeys(range(3), 0.0)
        for t in range(1, ROWS):
            held = {i: said.get((t - 1, i), weight) for i, weight in held.items()}
            for i, weight in held.items():
                if weight:
                    earned[t, stream.model] += weight * np.nan_to_num(mark[t, i] / mark[t - 1, i] - 1.0)
    assert (np.abs(by_day(earned)).sum(axis=0) > 0.05).all()
    np.testing.assert_allclose(days.returns, by_day(earned) / [0.5, 0.3], rtol=1e-9, atol=1e-15)
