"""Spectra, wavelets and Hurst exponents: against scipy, second writings and stored figures of antropy, nolds, pywt."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit
from scipy import signal, special, stats

from tests.oracle.hurst_bands import exponents, quantiles
from tests.unit.strategies.paths import fractional_noise
from trimtab.kernels.fractal import expected_range, hurst_init, hurst_of, hurst_step
from trimtab.kernels.hurst_bands import HIGH, LENGTHS, LOW, TAILS, hurst_band
from trimtab.kernels.spectrum import (
    WindowSpectrum,
    ahead,
    between,
    digamma,
    entropy_bound,
    entropy_moments,
    fisher_bound,
    fisher_p,
    peak,
    red_noise,
    spectral_entropy,
    spectrum_init,
    spectrum_step,
    trigamma,
)
from trimtab.kernels.wavelets import (
    energy_z,
    filter_of,
    freedom,
    mirrored,
    reach,
    scaling_filter,
    wavelets_init,
    wavelets_step,
)

HERE = Path(__file__).parent
FIGURES: dict[str, Any] = json.loads((HERE / "spectra.json").read_text())
SERIES = {name: np.array(x) for name, x in FIGURES["series"].items()}
FRACTIONAL = np.load(HERE / "spectra.npz")
#: Numbers that have left the window when it is judged: what they were must not matter.
BEFORE = np.random.default_rng(0).standard_t(2, 900) * 0.1


@njit
def _spectrum(s, x):
    for value in x:
        s = spectrum_step(s, value)
    return s


@njit
def _hurst(s, x):
    for value in x:
        s = hurst_step(s, value)
    return s


@njit
def _wavelets(s, x, detail, smooth):
    for t in range(x.size):
        s = wavelets_step(s, x[t])
        detail[t] = s.detail
        smooth[t] = s.smooth
    return s


def spectrum(x: np.ndarray) -> WindowSpectrum:
    return _spectrum(spectrum_init(x.size), np.concatenate((BEFORE, x)))


def transformed(x: np.ndarray, scales: int, db4: bool, length: int = 64) -> tuple[np.ndarray, np.ndarray, Any]:
    detail, smooth = np.empty((x.size, scales)), np.empty(x.size)
    s = _wavelets(wavelets_init(length, scales, db4), x, detail, smooth)
    return detail, smooth, s


# --- spectra ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES["peaks"]["cases"])
def test_peaks_are_those_of_the_figures(name: str) -> None:
    case, s = FIGURES["peaks"]["cases"][name], spectrum(SERIES[name])
    np.testing.assert_allclose(s.power[1:12], case["periodogram_first12"][1:], rtol=1e-8)
    assert s.power[0] == 0.0
    white = s._replace(rho=0.0)
    k, g = peak(white, 1, case["fisher_m"])
    assert (k, case["fisher_m"]) == (case["fisher_index"], 127)
    assert 256.0 / k == case["peak_period"]
    assert g == pytest.approx(case["fisher_g"], rel=1e-9)
    assert fisher_p(g, 127) == pytest.approx(case["fisher_p"], rel=1e-8)
    red = np.array([red_noise(s, k) for k in range(1, 129)])
    ratio = (s.power[1:] / s.power[1:].sum() / (red / red.sum())).max()
    assert ratio == pytest.approx(case["ar1_red_noise_max_ratio"], rel=1e-9)
    assert between(s, k) / 256 == pytest.approx(case["parabolic_log_peak_freq"], abs=0.3 / 256)


def test_a_white_null_flags_red_noise_and_a_red_one_does_not() -> None:
    s = spectrum(SERIES["ar1_red"])
    assert fisher_p(peak(s._replace(rho=0.0), 1, 127)[1], 127) < 1e-5
    assert fisher_p(peak(s, 1, 127)[1], 127) > 0.05
    s = spectrum(SERIES["two_tones"])
    assert fisher_p(peak(s, 1, 127)[1], 127) < 1e-8


@pytest.mark.parametrize("name", FIGURES["entropy"]["cases"])
def test_the_entropy_is_that_of_antropy(name: str) -> None:
    case, found = FIGURES["entropy"]["cases"][name], spectral_entropy(spectrum(SERIES[name]).power)
    assert found == pytest.approx(case["fft_norm_incl_dc_bin"], rel=1e-9)
    assert found * math.log2(129) == pytest.approx(case["fft_bits"], rel=1e-9)
    assert abs(found - case["fft_norm_excl_dc"]) > 5e-4


def test_the_entropy_of_one_wave_is_0_and_of_what_stands_still_not_defined() -> None:
    wave = np.cos(2.0 * np.pi * 16 * np.arange(256) / 256)
    assert spectral_entropy(spectrum(wave).power) == pytest.approx(0.0, abs=1e-12)
    still = spectrum(np.full(32, 0.1))
    assert math.isnan(spectral_entropy(still.power))
    assert (still.power == 0.0).all()
    assert math.isnan(still.rho)
    assert math.isnan(peak(still, 2, 10)[1])


@pytest.mark.parametrize("length", [8, 16, 64, 512])
def test_rolling_spectra_are_those_of_scipy(length: int) -> None:
    rng, s = np.random.default_rng(length), spectrum_init(length)
    x = rng.standard_t(3, 2 * length + 300) + 1e3
    x[length + 100] = 1_200.0
    for t, value in enumerate(x):
        s = spectrum_step(s, float(value))
        if t < length - 1:
            assert np.isnan(s.power).all()
        elif t % 23 == 0 or t > x.size - 3:
            w = x[t - length + 1 : t + 1]
            expected = signal.periodogram(w, detrend="constant")[1]
            expected[0] = 0.0
            np.testing.assert_allclose(s.power, expected, rtol=1e-9, atol=1e-13 * expected.max())
            fft = np.fft.rfft(w - w.mean())
            np.testing.assert_allclose(s.real + 1j * s.imag, fft, atol=1e-12 * np.abs(fft).max())
            assert s.rho == pytest.approx(min(0.999, max(-0.999, np.corrcoef(w[1:], w[:-1])[0, 1])), rel=1e-8)
            p = expected[1:] / expected.sum()
            entropy = -(p @ np.log(p)) / math.log(length / 2 + 1)
            assert spectral_entropy(s.power) == pytest.approx(entropy, rel=1e-9)


def test_a_wave_between_two_bins_is_found_and_carried_on() -> None:
    for period, phase in [(21.3, 0.3), (12.9, 2.0), (40.7, -1.0), (7.77, 1.1)]:
        wave = np.cos(2.0 * np.pi * np.arange(257) / period + phase)
        s = spectrum(wave[:256])
        at = between(s, peak(s._replace(rho=0.0), 4, 40)[0])
        assert 256.0 / at == pytest.approx(period, rel=0.01)
        # What leaks into a wave of few cycles from its mirror.
        assert ahead(s, at) == pytest.approx(wave[256], abs=0.15)
        before = np.cos(2.0 * np.pi * at * np.arange(256, 0, -1) / 256)
        assert ahead(s, at) == pytest.approx((wave[:256] - wave[:256].mean()) @ before / 128, abs=1e-11)


@pytest.mark.parametrize("bins", [2, 40, 127])
def test_fishers_law_is_that_of_the_largest_of_exponentials(bins: int) -> None:
    """20,000 draws; the bound is where the probability is the level."""
    draws = np.random.default_rng(bins).exponential(1.0, (20_000, bins))
    g = draws.max(axis=1) / draws.sum(axis=1)
    for level in (0.5, 0.1, 0.01, 1e-5):
        bound = fisher_bound(level, bins)
        assert fisher_p(bound, bins) == pytest.approx(level, rel=1e-9)
        assert np.mean(g > bound) == pytest.approx(level, abs=4.0 * math.sqrt(level / 20_000) + 1e-4)
    assert fisher_p(0.5 / bins, bins) == fisher_p(1.0 / bins, bins) == 1.0
    steps = [fisher_p(x, bins) for x in np.linspace(0.0, 1.0, 400)]
    assert (np.diff(steps) <= 1e-8).all()
    assert steps[-1] == 0.0


@pytest.mark.parametrize("length", [32, 256])
def test_the_entropy_of_noise_has_the_mean_and_variance_and_leaves_the_bound_as_stated(length: int) -> None:
    """Against 20,000 windows, and against the same law drawn by numpy."""
    rng = np.random.default_rng(length)
    x = rng.standard_normal((20_000, length))
    power = signal.periodogram(x, detrend="constant")[1][:, 1:]
    dirichlet = rng.dirichlet([1.0] * (length // 2 - 1) + [0.5], 20_000)
    mean, variance = entropy_moments(length)
    for shares in (power / power.sum(axis=1, keepdims=True), dirichlet):
        h = special.entr(shares).sum(axis=1)
        assert h.mean() == pytest.approx(mean, abs=4.0 * math.sqrt(variance / 20_000))
        assert h.var() == pytest.approx(variance, rel=4.5 * math.sqrt(2.0 / 20_000))
        for level in (0.4, 0.1, 0.05, 0.01):
            share = np.mean(h / math.log(length / 2 + 1) < entropy_bound(level, length))
            # The gamma law is an approximation: a tenth of the level for short windows.
            assert share == pytest.approx(level, abs=4.0 * math.sqrt(level / 20_000) + 0.05 * level)


def test_digamma_and_trigamma_are_scipys() -> None:
    for x in (0.5, 1.0, 1.5, 2.0, 17.3, 2_048.5):
        assert digamma(x) == pytest.approx(special.digamma(x), rel=1e-11)
        assert trigamma(x) == pytest.approx(special.polygamma(1, x), rel=1e-11)


# --- wavelets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES["wavelets"]["cases"])
@pytest.mark.parametrize("wavelet", ["haar", "db4"])
def test_coefficients_and_energies_are_those_of_the_figures(name: str, wavelet: str) -> None:
    case, x, db4 = FIGURES["wavelets"]["cases"][name][wavelet], SERIES[name], wavelet == "db4"
    for j in range(1, 5):
        boundary = reach(8 if db4 else 2, j) - 1
        assert boundary == case["modwt_boundary_coeffs"][j - 1]
        detail, smooth, s = transformed(x, j, db4, x.size - boundary)
        assert detail[-1, j - 1] == pytest.approx(case["modwt_last_D"][j - 1], rel=1e-8)
        assert s.energy[j - 1] / s.length == pytest.approx(case["modwt_unbiased_wavelet_variance"][j - 1], rel=1e-8)
        assert abs(s.energy[j - 1] - case["modwt_energy_D1_to_DJ_then_VJ"][j - 1]) > 1e-3
        # What leans on rows before the first is not given out.
        assert np.isnan(detail[:boundary, j - 1]).all()
        assert np.isfinite(detail[boundary:, j - 1]).all()
    assert smooth[-1] == pytest.approx(case["modwt_last_V"], rel=1e-8)


def test_haar_by_hand() -> None:
    hand = FIGURES["wavelets"]["hand"]
    detail, smooth, _ = transformed(np.array(hand["x"]), 1, False, 3)
    np.testing.assert_array_equal(detail[1:, 0], hand["W1"][1:])
    np.testing.assert_array_equal(smooth[1:], hand["V1"][1:])
    assert np.isnan(detail[0, 0])


def test_no_coefficient_knows_the_next_value() -> None:
    """The circular transform changes its first coefficients with the last value, swt those before it; this one none."""
    x, stated = SERIES["white"][:64], FIGURES["wavelets"]["changed_by_the_last_of_64"]
    other = x.copy()
    other[63] += 1.0
    for db4 in (False, True):
        one, two = transformed(x, 3, db4)[0], transformed(other, 3, db4)[0]
        for j in range(3):
            changed = np.flatnonzero((one[:, j] != two[:, j]) & ~np.isnan(one[:, j]))
            assert changed.tolist() == [63]
            circular = stated[f"modwt_circular_{'db4' if db4 else 'haar'}"][f"D{j + 1}"]
            assert [k for k in circular if k >= reach(8 if db4 else 2, j + 1) - 1] == [63]
    assert stated["pywt_swt_haar"]["D3"] == list(range(56, 64))


@pytest.mark.parametrize("db4", [False, True])
def test_coefficients_are_a_convolution_with_the_filter_of_their_scale(db4: bool) -> None:
    x, low = np.random.default_rng(3).standard_t(3, 900), scaling_filter(db4)
    assert low.sum() == pytest.approx(1.0, rel=1e-12)
    assert low @ low == pytest.approx(0.5, rel=1e-12)
    assert mirrored(low).sum() == pytest.approx(0.0, abs=1e-12)
    detail, _, s = transformed(x, 5, db4, 128)
    for j in range(1, 6):
        h = filter_of(low, j)
        assert h.size == reach(low.size, j)
        assert h @ h == pytest.approx(0.5**j, rel=1e-11)
        whole = signal.lfilter(h, [1.0], x)
        np.testing.assert_allclose(detail[h.size - 1 :, j - 1], whole[h.size - 1 :], atol=1e-12)
        assert s.energy[j - 1] == pytest.approx((whole[-128:] ** 2).sum(), rel=1e-9)


@pytest.mark.parametrize("db4", [False, True])
def test_energies_of_noise_have_the_error_that_the_filter_gives_them(db4: bool) -> None:
    """1,500 windows of 500; the share of one scale beyond its one-sided bound has an error of 0.6% at 5%."""
    rng, scales, low = np.random.default_rng(11), 5, scaling_filter(db4)
    x = rng.standard_normal((1_500, 500 + reach(low.size, scales) - 1))
    free = np.array([freedom(low, j, 500) for j in range(1, scales + 1)])
    shares = np.array([transformed(row, scales, db4, 500)[2].energy * 2.0 ** np.arange(1, 6) for row in x])
    shares /= 500.0 * x[:, -500:].var(axis=1)[:, None]
    np.testing.assert_allclose(shares.mean(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(shares.var(axis=0), 2.0 / free, rtol=4.5 * math.sqrt(3.0 / 1_500))
    z = np.array([[energy_z(share, f) for share, f in zip(row, free, strict=True)] for row in shares])
    assert (np.abs((z > 1.6449).mean(axis=0) - 0.05) < 4.0 * 0.0056).all()


# --- Hurst exponents -------------------------------------------------------------------------------------------------


def by_hand(x: np.ndarray, sizes: list[int]) -> tuple[dict[int, float], dict[int, float]]:
    """Mean R/S and F by size of blocks from the start, with numpy's own line."""
    ranges, fluctuations = {}, {}
    for n in sizes:
        blocks = x[: x.size // n * n].reshape(-1, n)
        profile = np.cumsum(blocks - blocks.mean(axis=1, keepdims=True), axis=1)
        ranges[n] = float(np.mean(np.ptp(profile, axis=1) / blocks.std(axis=1)))
        whole = np.cumsum(x - x.mean())[: x.size // n * n].reshape(-1, n)
        line = np.polynomial.polynomial.polyfit(np.arange(n), whole.T, 1)
        residual = whole - (line[0][:, None] + line[1][:, None] * np.arange(n))
        fluctuations[n] = float(np.sqrt(np.mean(residual**2)))
    return ranges, fluctuations


def slope_of(values: dict[int, float]) -> float:
    return float(stats.linregress(np.log(list(values)), np.log(list(values.values()))).slope)


@pytest.mark.parametrize("name", FIGURES["hurst"]["cases"])
def test_blocks_are_those_of_the_figures_and_exponents_those_of_their_slopes(name: str) -> None:
    case, x = FIGURES["hurst"]["cases"][name], FRACTIONAL[name]
    s = _hurst(hurst_init(4_096), x)
    ranges, fluctuations = by_hand(x, [8 << k for k in range(8)])
    for k in range(8):
        n, ends = 8 << k, slice((8 << k) - 1, None, 8 << k)
        assert s.ranges[k, ends].mean() == pytest.approx(ranges[n], rel=1e-9)
        assert math.sqrt(s.residuals[k, ends].mean()) == pytest.approx(fluctuations[n], rel=1e-9)
        if str(n) in case["rs_values"]:
            assert s.ranges[k, ends].mean() == pytest.approx(case["rs_values"][str(n)], rel=1e-7)
            assert math.sqrt(s.residuals[k, ends].mean()) == pytest.approx(case["dfa_F"][str(n)], rel=1e-7)
    stored = {int(n): v / expected_range(int(n)) for n, v in case["rs_values"].items()}
    assert 0.5 + slope_of(stored) == pytest.approx(case["H_rs_anis_lloyd"], rel=1e-7)
    corrected = {n: v / expected_range(n) for n, v in ranges.items()}
    assert s.rescaled == pytest.approx(0.5 + slope_of(corrected), rel=1e-9)
    assert s.fluctuation == pytest.approx(slope_of(fluctuations), rel=1e-9)
    np.testing.assert_allclose(hurst_of(x), (s.rescaled, s.fluctuation), rtol=1e-12)
    for wrong in case["naive_wrong"].values():
        assert abs(s.rescaled - wrong) > 0.05
        assert abs(s.fluctuation - wrong) > 0.05


def test_the_expectation_of_the_range_is_anis_and_lloyds() -> None:
    for n, expected in FIGURES["hurst"]["expected_range"].items():
        assert expected_range(int(n)) == pytest.approx(expected, rel=1e-9)
    for n in (9, 21):
        tail = sum(math.sqrt((n - r) / r) for r in range(1, n))
        assert expected_range(n) == pytest.approx(
            special.gamma((n - 1) / 2) / (math.sqrt(math.pi) * special.gamma(n / 2)) * tail, rel=1e-12
        )


def test_rolling_exponents_are_those_of_their_window() -> None:
    x, s = np.random.default_rng(5).standard_t(3, 700), hurst_init(128)
    x[300:330] = 0.25
    for t, value in enumerate(x):
        s = hurst_step(s, float(value))
        if t >= 127 and t % 19 == 0:
            w = x[t - 127 : t + 1]
            if not 296 < t < 460:  # no block stands still
                ranges, fluctuations = by_hand(w, [8, 16, 32])
                corrected = {n: v / expected_range(n) for n, v in ranges.items()}
                assert s.rescaled == pytest.approx(0.5 + slope_of(corrected), rel=1e-9)
                assert s.fluctuation == pytest.approx(slope_of(fluctuations), rel=1e-9)
            assert (s.rescaled, s.fluctuation) == pytest.approx(hurst_of(w), rel=1e-12)


def test_the_generator_of_fractional_noise_is_exact() -> None:
    """Davies and Harte with given normals, and the sums' variance."""
    case = FIGURES["noise"]["cases"]["injected_normals_N16_H0.7"]
    inputs = case["inputs"]
    found = fractional_noise(inputs["H"], np.array(inputs["z"]))
    np.testing.assert_allclose(found, case["expected"]["fgn"], rtol=1e-9, atol=1e-10)
    stated = FIGURES["noise"]["cases"]["autocov_H0.7"]["expected"]
    paths = np.array([fractional_noise(0.7, np.random.default_rng(i).standard_normal(128)) for i in range(4_000)])
    assert (paths[:, 1:] * paths[:, :-1]).mean() == pytest.approx(stated["rho1"], abs=0.02)
    assert (paths.sum(axis=1) ** 2).mean() == pytest.approx(stated["sum_var_64"], rel=4.0 * math.sqrt(2.0 / 4_000))


@pytest.mark.parametrize("length", FIGURES["null"]["cases"])
def test_noise_has_the_stored_distribution_of_exponents(length: str) -> None:
    """2,000 windows beside 400: four errors of the smaller sample."""
    stated = FIGURES["null"]["cases"][length]
    found = exponents(np.random.default_rng(int(length)).standard_normal((2_000, int(length))))
    for k, name in enumerate(("rs_anis_lloyd", "dfa")):
        sd = stated[name]["sd"]
        assert found[:, k].mean() == pytest.approx(stated[name]["mean"], abs=4.5 * sd / 20.0)
        assert found[:, k].std() == pytest.approx(sd, rel=4.5 / math.sqrt(800.0))
        low, high = np.quantile(found[:, k], [0.025, 0.975])
        assert low == pytest.approx(stated[name]["q025"], abs=0.6 * sd)
        assert high == pytest.approx(stated[name]["q975"], abs=0.6 * sd)
    assert abs(stated["rs"]["mean"] - 0.5) > 0.06  # what the range says without its correction


def test_noise_leaves_the_band_as_often_as_is_stated() -> None:
    """10,000 windows for three lengths, with other seeds than the table's."""
    for row, length in ((0, 128), (1, 256), (2, 512)):
        h = exponents(np.random.default_rng(777 + row).standard_normal((10_000, length))).mean(axis=1)
        for level in (0.4, 0.1, 0.05, 0.033, 0.01, 0.002):
            low, high = hurst_band(level, row)
            for share in (np.mean(h < low), np.mean(h > high)):
                assert share == pytest.approx(0.5 * level, abs=4.0 * math.sqrt(0.5 * level / 10_000) + 0.03 * level)
    # Half of the probability on each side; at the ends of the table, the table.
    np.testing.assert_allclose(hurst_band(0.5, 2), (LOW[2][-1], HIGH[2][-1]), atol=1e-9)
    np.testing.assert_allclose(hurst_band(0.002, 2), (LOW[2][0], HIGH[2][0]), atol=1e-9)
    np.testing.assert_allclose(hurst_band(0.05, 2), (LOW[2][4], HIGH[2][4]), atol=1e-9)


@pytest.mark.nightly
def test_the_table_of_bands_comes_out_again() -> None:
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(quantiles(length, 100_000), [LOW[row], HIGH[row]], atol=1e-4)
    assert len(LENGTHS) == len(LOW) == len(HIGH)
    assert all(len(line) == len(TAILS) for line in (*LOW, *HIGH))
