"""Synthetic bars: the same for the same seed, valid, and with the habits that checks rely on."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.research.synthetic import synthetic_panel
from trimtab.types import DAY, HOUR, TIMEFRAMES, TrimtabError

OPEN, HIGH, LOW, CLOSE, VOLUME, DURATION = range(6)


@pytest.mark.parametrize("timeframe", list(TIMEFRAMES))
def test_bars_are_valid_in_every_timeframe(timeframe: str) -> None:
    panel = synthetic_panel(1, 500, 4, timeframe)
    assert (np.diff(panel.ts) > 0).all()
    assert panel.symbols == ("SYN1", "SYN2", "SYN3", "SYN4")
    for n in range(4):
        x = panel.values[:, n]
        x = x[~np.isnan(x[:, CLOSE])]
        assert (x[:, LOW] > 0.0).all()
        assert (x[:, LOW] <= np.minimum(x[:, OPEN], x[:, CLOSE])).all()
        assert (x[:, HIGH] >= np.maximum(x[:, OPEN], x[:, CLOSE])).all()
        ticks = x[:, : CLOSE + 1] / panel.instruments[n].tick_size
        np.testing.assert_allclose(ticks, np.rint(ticks), atol=1e-6)
        assert (x[:, VOLUME] >= 0.0).all()


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again, other = (synthetic_panel(seed, 300) for seed in (5, 5, 6))
    assert first.values.tobytes() == again.values.tobytes()
    assert first.ts.tobytes() == again.ts.tobytes()
    assert not np.array_equal(first.values[:250], other.values[:250], equal_nan=True)


def test_sessions_trade_on_weekdays_within_their_hours() -> None:
    panel = synthetic_panel(2, 3_000, 3, "1h")
    assert [i.calendar for i in panel.instruments] == ["24/7", "24/7", "XNYS"]
    traded = ~np.isnan(panel.values[:, 2, CLOSE])
    length = panel.values[traded, 2, DURATION].astype(np.int64)
    opens = panel.ts[traded] - length
    assert ((opens // DAY + 3) % 7 < 5).all()  # 1970-01-01 was a Thursday
    minutes = opens % DAY // (60 * 1_000_000_000)
    assert minutes.min() >= 13 * 60 + 30, "09:30 in New York is 13:30 or 14:30 UTC"
    assert (panel.ts[traded] % DAY).max() <= 21 * HOUR
    assert set(np.unique(length)) == {HOUR, HOUR // 2}


def test_pairs_are_tied_and_single_ones_wander() -> None:
    panel = synthetic_panel(3, 6_000, 2)
    close = panel.values[:, :, CLOSE]
    logs = np.log(close[~np.isnan(close).any(axis=1)])
    spread = logs[:, 1] - 0.8 * logs[:, 0]
    spread -= spread.mean()
    decay = float(spread[1:] @ spread[:-1] / (spread @ spread))
    assert 0.94 < decay < 0.98, "half-life 20 bars: 0.966"
    single = logs[:, 0] - logs[:, 0].mean()
    assert float(single[1:] @ single[:-1] / (single @ single)) > 0.99


def test_volatility_clusters_tails_are_fat_and_bars_go_missing() -> None:
    panel = synthetic_panel(4, 8_000, 1)
    close = panel.values[:, 0, CLOSE]
    returns = np.diff(np.log(close[~np.isnan(close)]))
    sizes = np.abs(returns) - np.abs(returns).mean()
    # Of independent returns the mean of ten autocorrelations has a deviation of 0.0035.
    assert np.mean([sizes[k:] @ sizes[:-k] / (sizes @ sizes) for k in range(1, 11)]) > 0.05
    assert float((returns**4).mean() / (returns**2).mean() ** 2) > 4.0
    gaps = np.diff(panel.ts) // DAY
    assert gaps.max() >= 10, "one outage of ten bars"
    assert 0.985 < len(panel.ts) / 8_000 < 0.995
    assert (panel.values[:, 0, VOLUME] == 0.0).any()


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(TrimtabError, match="1 or more"):
        synthetic_panel(0, 0)
    with pytest.raises(TrimtabError, match="200 years"):
        synthetic_panel(0, 80_000, 1, "1d")
    with pytest.raises(TrimtabError, match="2d"):
        synthetic_panel(0, 10, 1, "2d")
