"""The rules of each strategy on rows made to show them: ties, entries, exits, stops and waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.kernels.window import RESUM
from trimtab.strategies import find
from trimtab.strategies.equity_trend import across
from trimtab.strategies.pairs_reversion import legs

NAN = float("nan")


# --- sma_cross --------------------------------------------------------------------------------------------------------


def test_equal_averages_keep_the_previous_side(fold: Any) -> None:
    cross = find("sma_cross")
    # fast 1, slow 2: the close against the close before. Up, equal, equal, down, equal, up.
    out = fold.closes(cross, [10, 11, 11, 11, 10, 10, 12], fast=1, slow=2)
    np.testing.assert_array_equal(out, [NAN, 1, 1, 1, 0, 0, 1])
    short = fold.closes(cross, [10, 11, 11, 11, 10, 10, 12], fast=1, slow=2, short=True)
    np.testing.assert_array_equal(short, [NAN, 1, 1, 1, -1, -1, 1])


def test_a_tie_before_any_side_is_flat(fold: Any) -> None:
    out = fold.closes(find("sma_cross"), [10, 10, 10, 9, 9, 10], fast=1, slow=2)
    np.testing.assert_array_equal(out, [NAN, 0, 0, 0, 0, 1])


@pytest.mark.parametrize(("fast", "slow"), [(3, 7), (20, 50), (7, 3 * RESUM // 2)])
def test_on_ticks_every_tie_is_exact(fold: Any, fast: int, slow: int) -> None:
    ticks = 1_000_000 + np.random.default_rng(slow).integers(-2, 3, 4 * RESUM)
    out = fold.closes(find("sma_cross"), ticks, fast=fast, slow=slow)
    total = np.concatenate([[0], np.cumsum(ticks)])
    sums = [total[n:][slow - n :] - total[: total.size - n][slow - n :] for n in (fast, slow)]
    gaps = np.sign(slow * sums[0] - fast * sums[1])  # integers
    assert (gaps == 0).sum() > 2
    side, expected = 0.0, []
    for gap in gaps:
        side = {1: 1.0, -1: 0.0, 0: side}[int(gap)]
        expected.append(side)
    np.testing.assert_array_equal(out[slow - 1 :], expected)


def test_a_bar_without_a_close_abstains_until_it_is_forgotten(fold: Any) -> None:
    close = 100.0 + np.cumsum(np.random.default_rng(0).normal(0.0, 1.0, 3 * RESUM))
    broken = close.copy()
    broken[100] = NAN
    whole, out = (fold.closes(find("sma_cross"), c, fast=5, slow=20) for c in (close, broken))
    np.testing.assert_array_equal(out[:100], whole[:100])
    assert np.isnan(out[100 : RESUM + 19]).all()
    np.testing.assert_array_equal(out[RESUM + 100 :], whole[RESUM + 100 :])


# --- equity_trend -----------------------------------------------------------------------------------------------------

TREND = {"trend": 4, "exit": 2, "momentum": 3}


def test_a_trend_is_entered_held_and_left(fold: Any) -> None:
    # Row 4: 13 > mean 11.5 and 13 > 11. Strength 1 - 11/13 stays until 11 lies under (14 + 11) / 2.
    out = fold.closes(find("equity_trend"), [11, 11, 11, 11, 13, 14, 14, 11, 10], **TREND)
    np.testing.assert_allclose(out[4:7], 1.0 - 11.0 / 13.0, rtol=1e-15)
    np.testing.assert_array_equal(out[[0, 1, 2, 3, 7, 8]], [NAN, NAN, NAN, 0, 0, 0])


def test_equality_neither_enters_nor_leaves(fold: Any) -> None:
    trend = find("equity_trend")
    flat = fold.closes(trend, [10, 9, 11, 10, 10, 10], **TREND)  # on the averages, momentum 0
    np.testing.assert_array_equal(flat[3:], 0.0)
    held = fold.closes(trend, [10, 10, 10, 12, 12, 12, 12], **TREND)  # then on the exit average for ever
    assert (held[3:] == 2.0 / 12.0).all()


def test_reranking_takes_the_strength_of_that_day(fold: Any) -> None:
    close = [10, 10, 10, 12, 13, 14, 16, 17]
    once = fold.closes(find("equity_trend"), close, **TREND)
    again = fold.closes(find("equity_trend"), close, **TREND, rerank=2)
    assert len(set(once[3:])) == 1
    np.testing.assert_allclose(again[3:], [1 - 10 / 12] * 2 + [1 - 10 / 14] * 2 + [1 - 13 / 17], rtol=1e-15)


def weights(forecasts: list[float], slots: int) -> list[float]:
    return across(find("equity_trend").params._replace(max_positions=slots), np.array(forecasts)).tolist()


def test_the_strongest_trends_share_equally() -> None:
    assert weights([0.1, 0.3, 0.0, 0.2], 2) == [0.0, 0.5, 0.0, 0.5]
    assert weights([0.1, 0.3, 0.0, 0.2], 1) == [0.0, 1.0, 0.0, 0.0]
    assert weights([0.1, 0.0, 0.0], 2) == [0.5, 0.0, 0.0]
    assert weights([], 2) == []


def test_equal_strengths_go_by_the_order_of_the_instruments() -> None:
    assert weights([0.2, 0.2, 0.2], 2) == [0.5, 0.5, 0.0]


def test_who_abstains_is_not_flat() -> None:
    np.testing.assert_array_equal(weights([NAN, 0.2, NAN, 0.0], 2), [NAN, 0.5, NAN, 0.0])


@given(
    forecasts=st.lists(st.one_of(st.just(NAN), st.just(0.0), st.floats(0.001, 1.0)), max_size=12),
    slots=st.integers(1, 5),
)
def test_never_more_than_the_whole(forecasts: list[float], slots: int) -> None:
    f = np.array(forecasts)
    out = np.array(weights(forecasts, slots))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(f))
    chosen = out > 0.0
    assert chosen.sum() == min(slots, (f > 0.0).sum())
    assert np.nansum(out) <= 1.0 + 1e-12
    if chosen.any() and (passed := (f > 0.0) & ~chosen).any():
        assert f[passed].max() <= f[chosen].min()


# --- index_mean_reversion ---------------------------------------------------------------------------------------------

DIP = {"rsi_length": 2, "window": 4, "width": 1.0, "entry_rsi": 30.0, "exit_rsi": 70.0}


def test_a_sharp_fall_is_bought_and_the_bounce_sold(fold: Any) -> None:
    close = np.array([100, 101, 100, 101, 100, 101, 95, 94, 96, 99, 100.0])
    reversion = find("index_mean_reversion")
    out = fold.closes(reversion, close, **DIP)
    np.testing.assert_array_equal(out[3:], [0, 0, 0, 1, 1, 1, 0, 0])
    both, mirrored = (fold.closes(reversion, c, **DIP, short=True) for c in (close, 200.0 - close))
    np.testing.assert_array_equal(both[3:], [0, 0, 0, 1, 1, 1, 0, -1])
    np.testing.assert_array_equal(mirrored, -both)


# --- momentum ---------------------------------------------------------------------------------------------------------


def test_little_risk_is_held_in_full_and_much_in_part(fold: Any) -> None:
    drift = np.exp(np.cumsum(np.full(300, 0.001)))
    wild = drift * np.exp(0.05 * (-1.0) ** np.arange(300))
    full, part = (
        fold.closes(find("momentum"), c, lookback=20, vol_window=20, vol_target=0.2, band=0.0) for c in (drift, wild)
    )
    assert (full[20:] == 1.0).all()
    assert part[-1] == pytest.approx(0.2 / (0.1 * np.sqrt(252.0)), rel=0.01)  # log returns of +-0.1


def test_small_moves_of_volatility_do_not_trade(fold: Any) -> None:
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(0).normal(0.0005, 0.02, 3_000)))
    changes = {}
    for band in (0.0, 0.1):
        out = fold.closes(find("momentum"), close, lookback=60, vol_window=30, band=band)
        warm = out[60:]
        moved = np.flatnonzero(np.diff(warm) != 0.0)
        same_sign = np.sign(warm[moved]) == np.sign(warm[moved + 1])
        assert (np.abs(np.diff(warm)[moved])[same_sign] > band).all()
        changes[band] = moved.size
    assert changes[0.1] < changes[0.0] / 5


def test_a_price_below_zero_is_no_return(fold: Any) -> None:
    close = np.array([20.0, 21, 20, 19, 18, -37, 10, 12, 13, 14, 15, 16, 17, 18])
    out = fold.closes(find("momentum"), close, lookback=3, vol_window=3)
    assert (out[3:6] < 0.0).all()
    assert (out[8:] > 0.0).all()


def test_equal_closes_a_lookback_apart_are_flat(fold: Any) -> None:
    out = fold.closes(find("momentum"), np.tile([10.0, 11.0, 12.0], 20), lookback=3, vol_window=3)
    assert (out[3:] == 0.0).all()


# --- pairs_reversion --------------------------------------------------------------------------------------------------


def pair_of(spread: list[float], hedge: float = 1.0) -> np.ndarray:
    """Two closes (T, 2, 1) whose log spread is the given one after 40 rows that alternate between -1 and +1."""
    whole = 0.001 * np.concatenate([np.resize([-1.0, 1.0], 40), spread])
    second = np.log(50.0) + 0.01 * np.sin(np.arange(whole.size))
    return np.exp(np.stack([whole + hedge * second, second], axis=1))[:, :, None]


PAIR = {"lookback": 40, "hedge_ratio": 1.0, "entry_z": 2.0, "exit_z": 0.5, "stop_z": 4.0, "max_holding": 0}


@pytest.fixture
def trade(fold: Any) -> Any:
    """The forecasts after the quiet rows, for a spread in units of its usual deviation."""

    def sides(spread: list[float], **changed: Any) -> list[float]:
        strategy = find("pairs_reversion")
        params = strategy.params._replace(**(PAIR | changed))
        return fold(strategy, params, pair_of(spread, params.hedge_ratio))[1][40:].tolist()

    return sides


def test_a_wide_spread_is_sold_and_bought_back_at_its_mean(trade: Any) -> None:
    assert trade([0, 3, 2, 1, 0.1, 0]) == [0, -1, -1, -1, 0, 0]
    assert trade([0, -3, -2, -1, -0.1, 0]) == [0, 1, 1, 1, 0, 0]


def test_a_spread_that_jumps_past_its_mean_is_left_and_only_then_turned(trade: Any) -> None:
    assert trade([0, 3, -3, -3.4, 0]) == [0, -1, 0, 1, 0]


def test_after_a_stop_no_entry_until_the_spread_was_back(trade: Any) -> None:
    assert trade([0, 3, 7, 3.5, 4, 0, 6]) == [0, -1, 0, 0, 0, 0, -1]


def test_no_entry_beyond_the_stop(trade: Any) -> None:
    assert trade([0, 9, 0]) == [0, 0, 0]


def test_a_pair_is_not_held_too_long(trade: Any) -> None:
    # Entered on the second row; out three rows later and then blocked although z is still beyond the entry.
    assert trade([0, 3, 3, 3, 3, 3, 3, 0, 4], max_holding=3) == [0, -1, -1, -1, 0, 0, 0, 0, -1]


def test_the_forecast_carries_the_notional(trade: Any) -> None:
    assert trade([0, 3, 0], max_notional=0.4) == [0, -0.4, 0]


def test_the_hedge_is_frozen_while_the_pair_is_held(fold: Any) -> None:
    strategy = find("pairs_reversion")
    rng = np.random.default_rng(3)
    second = np.cumsum(rng.normal(0.0, 0.01, 800)) + 4.0
    first = 1.0 + 1.3 * second + 0.02 * np.sin(np.arange(800) / 9.0) + rng.normal(0.0, 0.004, 800)
    x = np.exp(np.stack([first, second], axis=1))[:, :, None]
    for rehedge in (False, True):
        params = strategy.params._replace(rehedge=rehedge, entry_z=1.5)
        state, held = strategy.init(params), []
        before = state
        for row in x:
            state, _ = strategy.step(params, state, row)
            if before.side != 0.0 and state.side == before.side:
                held.append(state.hedge == before.hedge)
            before = state
        assert len(held) > 50
        assert all(held) if not rehedge else not any(held)


@pytest.mark.parametrize("neutral", [0, 1])
@pytest.mark.parametrize("f", [1.0, -0.6, 0.0])
def test_legs_add_up_to_the_forecast(fold: Any, neutral: int, f: float) -> None:
    strategy = find("pairs_reversion")
    params = strategy.params._replace(**(PAIR | {"neutral": neutral, "hedge_ratio": 1.5}))
    x = pair_of([0, 3], 1.5)
    state, _ = fold(strategy, params, x)
    assert state.side == -1.0
    out = legs(params, state, x[-1], f)
    assert np.abs(out).sum() == pytest.approx(abs(f), rel=1e-15)
    assert out[1] == pytest.approx(-out[0] * (1.5 if neutral else 1.0), rel=1e-15)
    assert np.isnan(legs(params, state, x[-1], NAN)).all()


def test_unrelated_or_opposite_prices_are_no_pair(fold: Any) -> None:
    strategy = find("pairs_reversion")
    x = pair_of([0, 3, 2, 1, 0], -1.0)  # the first leg is the mirror of the second
    _, rolling = fold(strategy, strategy.params._replace(**(PAIR | {"hedge_ratio": 0.0})), x)
    assert (rolling[39:] == 0.0).all()
