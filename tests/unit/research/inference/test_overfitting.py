"""What must not matter to PBO, what must, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.research.inference import splits
from trimtab.research.inference.overfitting import Overfitting, blocks_of, probability_of_overfitting
from trimtab.research.inference.spread import spread
from trimtab.types import NotEnoughData, TrimtabError


def noise(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (rows, columns))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(16, 90), st.integers(2, 15), st.sampled_from([4, 6, 8]))
def test_the_order_and_the_size_of_trials_do_not_matter(seed: int, rows: int, columns: int, size: int) -> None:
    x = noise(seed, rows, columns)
    rng = np.random.default_rng(seed)
    order, scale = rng.permutation(columns), 2.0 ** rng.integers(-8, 9, columns)
    one = probability_of_overfitting(x, size)
    other = probability_of_overfitting((x * scale)[:, order], size)
    assert (order[other.column] == one.column).all()
    for name in ("pbo", "loss", "slope", "intercept", "logits", "inside", "outside"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-12, err_msg=name)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([4, 6, 8]))
def test_the_order_of_blocks_does_not_matter(seed: int, size: int) -> None:
    x = noise(seed, 6 * size, 7)
    shuffled = x.reshape(size, 6, 7)[np.random.default_rng(seed).permutation(size)].reshape(-1, 7)
    one, other = probability_of_overfitting(x, size), probability_of_overfitting(shuffled, size)
    assert one.pbo == other.pbo
    np.testing.assert_allclose(np.sort(one.logits), np.sort(other.logits), rtol=1e-12)


def test_the_number_of_threads_does_not_matter() -> None:
    x = noise(0, 300, 40)
    results = [probability_of_overfitting(x, 14, threads) for threads in (1, 2, 5)]  # 1,716 pairs: seven chunks
    for other in results[1:]:
        for name in Overfitting._fields:
            assert np.array_equal(getattr(results[0], name), getattr(other, name)), name


def test_a_split_and_its_mirror_exchange_the_halves() -> None:
    """Where one trial wins both, its Sharpe outside in one is its Sharpe inside in the other."""
    o = probability_of_overfitting(noise(1, 64, 3) + np.array([0.0, 0.004, 0.0]), 6)
    same = o.column == o.column[::-1]
    assert same.any()
    np.testing.assert_allclose(o.inside[same], o.outside[::-1][same], rtol=1e-10)


def test_a_trial_that_is_always_best_is_not_overfitted_and_one_that_turns_is() -> None:
    x = noise(2, 160, 10)
    x[:, 4] += 0.02
    found = probability_of_overfitting(x)
    assert (found.pbo, found.loss) == (0.0, 0.0)
    assert (found.column == 4).all()
    turning = noise(3, 160, 8) * 0.01
    turning[:80] += 0.01 * np.linspace(-1, 1, 8)
    turning[80:] -= 0.01 * np.linspace(-1, 1, 8)
    turned = probability_of_overfitting(turning, 2)
    assert turned.pbo == 1.0
    assert turned.loss == 1.0


def test_a_trial_that_never_trades_does_not_win_and_does_not_make_the_winner_look_good() -> None:
    """Losers beside it: a Sharpe of 0 would be best. And idle trials at the bottom would turn noise into skill."""
    losers = noise(4, 160, 5) - 0.005
    losers[:, 2] = 0.0
    assert not (probability_of_overfitting(losers).column == 2).any()
    idle = [
        probability_of_overfitting(np.concatenate((noise(seed, 96, 10), np.zeros((96, 10))), axis=1), 6).pbo
        for seed in range(60)
    ]
    # A single PBO has a deviation of 0.25 here: the mean of 60 is within 0.13 of 0.5 in 9,999 of 10,000.
    assert abs(float(np.mean(idle)) - 0.5) < 0.13


def test_equal_trials_share_their_rank() -> None:
    x = np.repeat(noise(5, 40, 1), 4, axis=1)
    found = probability_of_overfitting(x, 4)
    assert (found.logits == 0.0).all()
    assert found.pbo == 1.0
    assert (found.column == 0).all()


def test_a_large_number_somewhere_does_not_drown_the_others() -> None:
    x = noise(6, 64, 5)
    x[3, 1] = 1e6
    o = probability_of_overfitting(x, 4)
    direct = x[32:, 1].mean() / x[32:, 1].std(ddof=1)
    sums = blocks_of(x, 4)
    s, q = sums.total[2:, 1].sum(), sums.squares[2:, 1].sum()
    assert (sums.centre[1] + s / 32) / math.sqrt((q - s * s / 32) / 31) == pytest.approx(direct, rel=1e-9)
    assert np.isfinite(o.inside).all()


def test_plain_python_says_the_same_as_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(7, 50, 6)
    x[:, 1] = 0.0
    x[20:, 2] = 0.0
    compiled = probability_of_overfitting(x, 6, 1)
    for name in ("pick", "is_flat_in", "judge"):
        monkeypatch.setattr(splits, name, getattr(splits, name).py_func)
    plain = probability_of_overfitting(x, 6, 1)
    for name in Overfitting._fields:
        assert np.array_equal(getattr(compiled, name), getattr(plain, name)), name


@pytest.mark.parametrize(
    ("returns", "size", "kind", "said"),
    [
        (noise(0, 31, 4), 16, NotEnoughData, "31 common periods in 16 blocks: at least 32 are needed"),
        (noise(0, 100, 1), 16, NotEnoughData, "1 trial"),
        (np.zeros((100, 4)), 4, NotEnoughData, "in 6 of 6 splits no trial"),
        (np.r_[np.zeros((60, 3)), noise(0, 60, 3)], 4, NotEnoughData, "in 1 of 6 splits no trial"),
        (noise(0, 100, 4), 7, TrimtabError, "even number"),
        (noise(0, 100, 4), 22, TrimtabError, "from 2 to 20"),
        (noise(0, 100, 4), 0, TrimtabError, "even number"),
        (noise(0, 100, 4)[:, 0], 4, TrimtabError, r"\(T, N\)"),
        (np.where(np.arange(400).reshape(100, 4) == 9, np.nan, 0.1), 4, TrimtabError, r"returns\[2, 1\] is nan"),
    ],
)
def test_refusals(returns: np.ndarray, size: int, kind: type[TrimtabError], said: str) -> None:
    with pytest.raises(kind, match=said):
        probability_of_overfitting(returns, size)


def test_work_is_shared_out_whole_and_its_first_error_is_raised() -> None:
    done = np.zeros(103, np.int64)

    def work(first: int, last: int) -> None:
        done[first:last] += 1

    for threads in (1, 3, None):
        spread(work, 103, 10, threads)
    assert (done == 3).all()
    spread(work, 0, 10)

    def fail(first: int, last: int) -> None:
        raise TrimtabError(f"chunk {first}")

    for threads in (1, 2):
        with pytest.raises(TrimtabError, match="chunk 0"):
            spread(fail, 50, 10, threads)
