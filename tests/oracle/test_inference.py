"""Statistics of many trials against reference figures, and against implementations that share no code with ours.

inference.json holds inputs and right values, inference.npz the longer arrays, from the papers' formulas and examples,
each checked by a second implementation. What a named mistake gives must be missed by far more than the tolerance:
excess kurtosis moves the paper's deflated Sharpe by no more than 0.0014.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from trimtab.kernels.cointegration import discoveries
from trimtab.research.inference import bootstrap, multiple, sharpe, trials
from trimtab.research.inference.overfitting import Overfitting, probability_of_overfitting
from trimtab.research.inference.paths import follow, means_of_paths
from trimtab.research.inference.sharpe import Moments
from trimtab.research.inference.superiority import Superiority, judged

HERE = Path(__file__).parent
FACTS = json.loads((HERE / "inference.json").read_text())
ARRAYS = dict(np.load(HERE / "inference.npz"))


def cases(name: str, *inputs: str) -> list[Any]:
    """The cases of a section that have all of these inputs."""
    found = [case for case in FACTS[name]["cases"] if all(key in case["inputs"] for key in inputs)]
    assert found, (name, inputs)
    return [pytest.param(case, id=case["name"]) for case in found]


def array(x: Any) -> np.ndarray:
    return ARRAYS[x[4:]] if str(x).startswith("npz:") else np.asarray(x, dtype=np.float64)  # "nan" and "inf" too


def agree(found: dict[str, Any], case: dict[str, Any], rtol: float = 1e-10) -> None:
    """Each figure as expected, and no named mistake within a thousand tolerances of any."""
    expected = case["expected"]
    assert set(expected) <= set(found), set(expected) - set(found)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], array(value), rtol=rtol, atol=1e-12, err_msg=name)
    right = [float(v) for v in expected.values() if isinstance(v, int | float | str) and not str(v).startswith("npz")]
    for name, value in case.get("naive_wrong", {}).items():
        if any(float(value) == r for r in right):
            continue  # in this case the mistake does not show
        shown = [float(v) for v in found.values() if np.ndim(v) == 0]
        assert not any(v == pytest.approx(float(value), rel=1e3 * rtol, abs=1e-9) for v in shown), name


def given_moments(inputs: dict[str, Any]) -> Moments:
    return Moments(inputs.get("n", 2), inputs["sr"], inputs.get("skew", 0.0), inputs.get("kurt", 3.0))


# --- Sharpe ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("psr", "sr"))
def test_probabilistic_sharpe(case: dict[str, Any]) -> None:
    m, benchmark = given_moments(case["inputs"]), case["inputs"]["sr_benchmark"]
    psr, error = sharpe.probabilistic_sharpe(m, benchmark), sharpe.sharpe_error(m)
    agree({"psr": psr, "radicand": 0.0 if math.isnan(error) else error**2 * m.n}, case)
    assert (sharpe.why_undefined(m) != "") == math.isnan(psr)
    if "paper_value" in case:
        assert psr == pytest.approx(case["paper_value"], abs=5e-4)


@pytest.mark.parametrize("case", cases("psr", "returns"))
def test_probabilistic_sharpe_of_returns(case: dict[str, Any]) -> None:
    m = sharpe.moments_of(array(case["inputs"]["returns"]))
    found = {"sr_per_period": m.sharpe, "skew": m.skew, "kurt": m.kurtosis, "psr": sharpe.probabilistic_sharpe(m)}
    agree(found, case)
    assert m.skew == pytest.approx(stats.skew(array(case["inputs"]["returns"])), rel=1e-12)
    assert m.kurtosis == pytest.approx(stats.kurtosis(array(case["inputs"]["returns"]), fisher=False), rel=1e-12)


@pytest.mark.parametrize("case", cases("minimum_track_record"))
def test_minimum_track_record(case: dict[str, Any]) -> None:
    m, benchmark = given_moments(case["inputs"]), case["inputs"]["sr_benchmark"]
    found = sharpe.minimum_track_record(m, benchmark, case["inputs"]["confidence"])
    years = found / case["inputs"].get("periods_per_year", math.nan)
    if math.isinf(found):
        agree({"min_obs": found}, case)
        return
    at = sharpe.probabilistic_sharpe(m._replace(n=found), benchmark)  # type: ignore[arg-type]
    agree({"min_obs": found, "min_obs_ceil": math.ceil(found), "years": years, "psr_at_min": at}, case)
    # The papers divide by the year and round; the first observation costs them up to half a hundredth.
    assert years == pytest.approx(FACTS_YEARS[case["name"]], abs=0.006)


FACTS_YEARS = {"daily_normal": 2.73, "weekly_normal": 2.83, "monthly_normal": 3.24, "monthly_hedge_fund": 4.99}


@pytest.mark.parametrize("case", cases("expected_max", "n_trials", "var_sr"))
def test_expected_maximum(case: dict[str, Any]) -> None:
    n, variance = case["inputs"]["n_trials"], case["inputs"]["var_sr"]
    formula, exact = sharpe.expected_max_sharpe(n, variance), sharpe.exact_max_sharpe(n, variance)
    found = {
        "approx": formula,
        "exact_normal_quadrature": exact,
        "sqrt_2lnN_upper": math.sqrt(2.0 * math.log(n)),
    }
    error = case["expected"].pop("approx_rel_err", 0.0)
    assert formula - exact == pytest.approx(error * exact, abs=1e-9)
    agree(found, case, 2e-10)  # at N = 1000 the integral in the file is off by 1.1e-10, see the next test
    assert sharpe.hurdle(n, variance) == (formula if n != 2 else exact)
    assert sharpe.expected_max_sharpe(n, 4.0 * variance) == pytest.approx(2.0 * formula, rel=1e-14)


@pytest.mark.parametrize("n", [1.2, 1.5, 2.0, 2.7, 10.0, 137.0, 1e3, 1e4])
def test_mean_of_the_largest_is_that_of_scipy_and_of_closed_forms(n: float) -> None:
    def density(x: float) -> float:
        return x * n * math.exp(stats.norm.logpdf(x) + (n - 1.0) * stats.norm.logcdf(x))

    whole = sum(integrate.quad(density, a, a + 2.0, epsabs=1e-14, epsrel=1e-13)[0] for a in range(-12, 12, 2))
    assert sharpe.exact_max_sharpe(n, 1.0) == pytest.approx(whole, rel=1e-12)
    closed = {2.0: 1.0 / math.sqrt(math.pi), 3.0: 1.5 / math.sqrt(math.pi)}
    for k, value in closed.items():
        assert sharpe.exact_max_sharpe(k, 1.0) == pytest.approx(value, rel=1e-13)


def test_few_years_and_correlated_trials() -> None:
    (length,) = (p.values[0] for p in cases("expected_max", "target_emax_annual"))
    n, target = length["inputs"]["n_trials"], length["inputs"]["target_emax_annual"]
    found = sharpe.minimum_backtest_length(n, target)
    agree({"min_backtest_years": found, "bound_2lnN": 2.0 * math.log(n) / target**2}, length)
    (effective,) = (p.values[0] for p in cases("expected_max", "avg_corr"))
    given = effective["inputs"]
    agree({"N_eff": trials.effective_trials(given["avg_corr"], given["M"])}, effective)


@pytest.mark.parametrize("case", cases("deflated", "sr_annual"))
def test_deflated_sharpe_of_the_paper(case: dict[str, Any]) -> None:
    given = case["inputs"]
    periods = given["periods_per_year"]
    m = Moments(given["n"], given["sr_annual"] / math.sqrt(periods), given["skew"], given["kurt"])
    variance = given["var_sr_annual"] / periods
    sr0, dsr = sharpe.hurdle(given["n_trials"], variance), sharpe.deflated_sharpe(m, given["n_trials"], variance)
    agree({"sr0_per_period": sr0, "sr0_annual": sr0 * math.sqrt(periods), "dsr": dsr}, case)
    assert dsr == pytest.approx(case["paper_value"], abs=5e-5)
    for name, value in case["naive_wrong"].items():
        assert abs(dsr - value) > 5e-5, name


@pytest.mark.parametrize("case", cases("deflated", "trials_returns_T_by_N"))
def test_deflated_sharpe_of_a_matrix_of_trials(case: dict[str, Any]) -> None:
    returns = array(case["inputs"]["trials_returns_T_by_N"])
    each, count = trials.sharpes_of(returns), returns.shape[1]
    best, variance = int(each.argmax()), trials.sharpe_variance(each)
    m = sharpe.moments_of(returns[:, best])
    found = {
        "trial_sr_per_period": each,
        "best_index": best,
        "var_sr": variance,
        "sr0": sharpe.hurdle(count, variance),
        "dsr": sharpe.deflated_sharpe(m, count, variance),
        "dsr_with_var_ddof0": sharpe.deflated_sharpe(m, count, variance * (count - 1) / count),
    }
    agree(found, case, 1e-9)


@pytest.mark.parametrize("case", cases("annualisation", "phi_ar1"))
def test_annualisation(case: dict[str, Any]) -> None:
    phi, q = case["inputs"]["phi_ar1"], case["inputs"]["q"]
    found = sharpe.annual_factor(phi ** np.arange(1, q), q)
    agree({"eta": found, "closed_form_ar1": found}, case)


def test_standard_error_of_a_sharpe() -> None:
    (case,) = (p.values[0] for p in cases("annualisation", "sr"))
    sr, n = case["inputs"]["sr"], case["inputs"]["n"]
    normal, skewed = sharpe.sharpe_error(Moments(n, sr)), sharpe.sharpe_error(Moments(n, sr, -1.0, 6.0))
    agree({"se_normal": normal, "se_mertens_skew_m1_kurt6": skewed}, case)


@pytest.mark.parametrize("lags", [0, 1, 5, 20])
def test_robust_error_is_that_of_statsmodels_on_the_influence_of_each_return(lags: int) -> None:
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(0)
    r = 0.001 + 0.01 * np.convolve(rng.standard_t(5, 800), [1.0, 0.4, 0.2])[:800]
    d, m = r - r.mean(), sharpe.moments_of(r)
    influence = d / r.std() - 0.5 * (r.mean() / r.std()) * (d**2 / r.var() - 1.0)
    fit = OLS(influence, np.ones(800)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    assert sharpe.robust_sharpe_error(r, lags) == pytest.approx(fit.bse[0], rel=1e-10)
    if lags == 0:  # Mertens, but for the ddof of the Sharpe in it
        assert sharpe.robust_sharpe_error(r, 0) == pytest.approx(sharpe.sharpe_error(m), rel=1e-4)


def test_power_is_what_simulation_says_for_skewed_returns() -> None:
    """5,000 records of gamma returns with a known Sharpe; 4 standard errors, and 0.01 for the normal approximation."""
    n, shape, wanted = 500, 4.0, 0.09
    drawn = np.random.default_rng(0).gamma(shape, size=(5_000, n))
    returns = (drawn - shape) / math.sqrt(shape) + wanted
    s, centred = returns.mean(axis=1) / returns.std(axis=1, ddof=1), returns - returns.mean(axis=1, keepdims=True)
    skew = (centred**3).mean(axis=1) / (centred**2).mean(axis=1) ** 1.5
    kurtosis = (centred**4).mean(axis=1) / (centred**2).mean(axis=1) ** 2
    passed = [
        sharpe.probabilistic_sharpe(Moments(n, *each), 0.02) >= 0.95
        for each in zip(s.tolist(), skew.tolist(), kurtosis.tolist(), strict=True)
    ]
    truth = Moments(n, wanted, 2.0 / math.sqrt(shape), 3.0 + 6.0 / shape)
    assert np.mean(passed) == pytest.approx(sharpe.power(truth, 0.02), abs=4 * 0.5 / math.sqrt(5_000) + 0.01)


# --- overfitting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("overfitting", "M_T_by_N"))
def test_probability_of_overfitting(case: dict[str, Any]) -> None:
    o = probability_of_overfitting(array(case["inputs"]["M_T_by_N"]), case["inputs"]["S"])
    found = {
        "n_combinations": o.logits.size,
        "pbo": o.pbo,
        "prob_oos_loss": o.loss,
        "degradation_slope": o.slope,
        "degradation_intercept": o.intercept,
        "logits": o.logits,
        "selected_column": o.column,
        "is_sharpe": o.inside,
        "oos_sharpe": o.outside,
        "logit_mean": o.logits.mean(),
        "logit_sd": o.logits.std(),
        "logits_first10": o.logits[:10],
    }
    agree(found, case, 1e-9)


def test_overfitting_of_noise_is_spread_as_the_reference_found_it() -> None:
    """300 matrices here and there: 4 standard errors of the difference of two means, and of two deviations."""
    (case,) = (p.values[0] for p in cases("overfitting", "dgp"))
    given, expected = case["inputs"], case["expected"]
    repeats = given["replications"]
    found = [
        probability_of_overfitting(np.random.default_rng(k).normal(size=(given["T"], given["N"])), given["S"]).pbo
        for k in range(repeats)
    ]
    error = expected["sd_pbo"] * math.sqrt(2.0 / repeats)
    assert np.mean(found) == pytest.approx(expected["mean_pbo"], abs=4.0 * error)
    assert np.std(found, ddof=1) == pytest.approx(expected["sd_pbo"], abs=4.0 * error / math.sqrt(2.0))
    # A PBO is a multiple of 1 / 20 here; near its ends a quantile has an error of about as much.
    assert np.quantile(found, [0.05, 0.95]) == pytest.approx([expected["q05"], expected["q95"]], abs=0.1001)


def plain_overfitting(returns: np.ndarray, size: int) -> Overfitting:
    """As the paper words it: every split's rows put together anew, ranks by scipy."""
    parts = np.array_split(np.arange(len(returns)), size)
    columns, inside, outside, ranks = [], [], [], []
    for chosen in itertools.combinations(range(size), size // 2):
        sharpes = []
        for side in (chosen, [b for b in range(size) if b not in chosen]):
            x = returns[np.concatenate([parts[b] for b in side])]
            flat = np.ptp(x, axis=0) <= 1e-12 * np.abs(x).max(axis=0)
            with np.errstate(all="ignore"):
                sharpes.append((np.where(flat, 0.0, x.mean(axis=0) / x.std(axis=0, ddof=1)), flat))
        (here, flat), (there, _) = sharpes
        best = int(np.argmax(np.where(flat, -np.inf, here)))
        columns.append(best)
        inside.append(here[best])
        outside.append(there[best])
        ranks.append(stats.rankdata(there)[best])
    w = np.array(ranks) / (returns.shape[1] + 1)
    logits = np.log(w / (1 - w))
    line = stats.linregress(inside, outside)
    loss = float(np.mean(np.array(outside) < 0))
    return Overfitting(
        float(np.mean(logits <= 0)),
        loss,
        line.slope,
        line.intercept,
        logits,
        *map(np.array, (columns, inside, outside)),
    )


@pytest.mark.parametrize(("rows", "columns", "size"), [(40, 7, 4), (67, 10, 6), (90, 4, 8), (24, 2, 10), (131, 30, 10)])
def test_overfitting_is_that_of_a_plain_transcription(rows: int, columns: int, size: int) -> None:
    """With rows that do not divide, trials that trade in some blocks only or never, and trials that are the same."""
    rng = np.random.default_rng(rows)
    returns = rng.normal(0.0, 0.01, (rows, columns))
    if columns > 3:
        returns[:, 1] = 0.0
        returns[: rows // 2 + 3, 2] = 0.0
        returns[rows // 2 - 3 :, 3] = 0.0
    if columns > 6:
        returns[:, 5] = returns[:, 4]
        returns[:, 6] = 0.0005  # earns the same every day: no Sharpe
    found, expected = probability_of_overfitting(returns, size), plain_overfitting(returns, size)
    for name in Overfitting._fields:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12, err_msg=name)


# --- many tests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("multiple"))
@pytest.mark.parametrize("method", list(multiple.METHODS))
def test_multiple_testing(case: dict[str, Any], method: str) -> None:
    found, expected = multiple.adjusted(case["inputs"]["p"], method), case["expected"][method]
    np.testing.assert_allclose(found, expected["adjusted_p"], rtol=1e-10)
    assert (found <= case["inputs"]["alpha"]).tolist() == expected["rejected"]
    assert int((found <= case["inputs"]["alpha"]).sum()) == expected["n_rejected"]
    if method in case.get("paper_value", {}):
        assert expected["n_rejected"] == case["paper_value"][method]


@pytest.mark.parametrize("method", list(multiple.METHODS))
def test_adjusted_p_are_those_of_statsmodels(method: str) -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 40):
        for _ in range(1 if method == "holm" else 10):  # statsmodels takes a tenth of a second for Holm
            p = np.round(rng.random(size) ** rng.integers(1, 6), 2)  # rounded: with equals
            np.testing.assert_allclose(multiple.adjusted(p, method), multipletests(p, method=method)[1], rtol=1e-12)
            if method == "fdr_bh":  # the one that a strategy's fit uses
                believed = np.flatnonzero(multiple.adjusted(p, method) <= 0.1 + 1e-12).tolist()
                assert sorted(discoveries(p, 0.1)) == believed


# --- bootstrap -------------------------------------------------------------------------------------------------------


def test_a_path_of_given_draws_goes_on_or_begins_anew_and_goes_round() -> None:
    (case,) = (p.values[0] for p in cases("bootstrap", "starts"))
    given = case["inputs"]
    index = np.empty(given["n"], np.int64)
    follow(np.array(given["starts"]), np.array(given["u"]), 1.0 / given["mean_block"], given["n"], index)
    agree({"index": index}, case)


def test_variance_of_a_resampled_mean() -> None:
    (case,) = (p.values[0] for p in cases("bootstrap", "x", "mean_block"))
    x, block = array(case["inputs"]["x"])[:, None], case["inputs"]["mean_block"]
    exact = float(bootstrap.long_run_variance(x, block)[0])
    expected = case["expected"]
    assert exact == pytest.approx(expected["var_sqrt_n_mean"], rel=1e-9)
    assert exact == pytest.approx(expected["var_hansen_form"], rel=1e-9)
    assert exact > 2.5 * expected["iid_var_naive"]
    assert float(bootstrap.long_run_variance(x, 1.0)[0]) == pytest.approx(expected["iid_var_naive"], rel=1e-9)
    # And the paths have it: a variance of 40,000 has a standard error of 0.7%.
    means = bootstrap.resampled_means(x, bootstrap.Resampling(block, 40_000))[:, 0]
    assert len(x) * means.var() == pytest.approx(exact, rel=0.028)
    assert len(x) * means.var() == pytest.approx(case["mc"]["arch_20000_reps"], rel=0.049)
    assert means.mean() == pytest.approx(x.mean(), abs=4.0 * math.sqrt(exact / len(x) / 40_000))


def test_block_length() -> None:
    (case,) = (p.values[0] for p in cases("bootstrap", "x") if "mean_block" not in p.values[0]["inputs"])
    found = bootstrap.block_length(array(case["inputs"]["x"]))
    assert found[0] == pytest.approx(case["expected"]["stationary"], rel=1e-6)
    both = np.stack([array(case["inputs"]["x"]), np.full(400, 0.3)], axis=1)
    assert bootstrap.block_length(both).tolist() == [found[0], 1.0]


# --- superiority -----------------------------------------------------------------------------------------------------


def judged_of(case: dict[str, Any], block: float) -> Superiority:
    d, index = array(case["inputs"]["loss_diff_T_by_K"]), array(case["inputs"]["boot_index_B_by_T"]).astype(np.int64)
    means = np.empty((len(index), d.shape[1]))
    means_of_paths(d, index, means)
    np.testing.assert_allclose(means[:3], d[index[:3]].mean(axis=1), rtol=1e-12)
    return judged(d, means, block)


def test_reality_check_and_superior_predictive_ability() -> None:
    (case,) = (p.values[0] for p in cases("superiority", "mean_block"))
    s, expected = judged_of(case, case["inputs"]["mean_block"]), case["expected"]
    np.testing.assert_allclose(s.mean, expected["mean_diff"], rtol=1e-9)
    np.testing.assert_allclose(s.omega, expected["omega"], rtol=1e-9)
    assert math.sqrt(120) * s.mean.max() == pytest.approx(expected["V_rc"], rel=1e-9)
    assert s.statistic == pytest.approx(expected["spa_statistic_studentised"], rel=1e-9)
    assert s.reality == pytest.approx(expected["white_rc_p"], rel=1e-12)
    studentised = expected["hansen_spa_p_studentised"]
    assert (s.lower, s.consistent, s.upper) == pytest.approx(
        [studentised[name] for name in ("lower", "consistent", "upper")], rel=1e-12
    )
    # What arch 8 prints, which does not studentise the largest mean.
    wrong = expected["unstudentised_p"]
    assert all(getattr(s, name) != pytest.approx(wrong[name], rel=1e-3) for name in ("lower", "consistent", "upper"))


def test_models_with_a_mean_of_zero_are_not_superior() -> None:
    case = next(c for c in FACTS["superiority"]["cases"] if c["name"] == "all_means_zero")
    assert judged_of(case, 5.0).reality == pytest.approx(case["expected"]["white_rc_p"], rel=1e-12)


def test_reality_check_is_that_of_arch_on_its_own_paths() -> None:
    from arch.bootstrap import SPA

    rng = np.random.default_rng(0)
    d = rng.normal(0.02, 1.0, (150, 5))
    theirs = SPA(np.zeros(150), -d, block_size=4, reps=2_000, seed=0)
    theirs.compute()
    ours = judged(d, bootstrap.resampled_means(d, bootstrap.Resampling(4.0, 20_000)), 4.0)
    assert ours.reality == pytest.approx(float(theirs.pvalues["upper"]), abs=4 * 0.5 / math.sqrt(2_000))
