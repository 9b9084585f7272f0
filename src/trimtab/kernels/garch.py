"""GARCH(1,1): what the variance of the next value is, by a recursion whose four numbers maximise a likelihood.

    e_t = y_t - mu      h_t = omega + alpha e_{t-1}^2 + beta h_{t-1}      l = -1/2 sum of ln 2 pi + ln h_t + e_t^2 / h_t

h_t is known one row before y_t. Before the first value e^2 = h = the mean of e^2 (the convention of the benchmark of
Fiorentini, Calzolari and Panattoni). Gradient and Hessian are analytic, so a fit that starts from the one before takes
about four passes over the window.

theta is (mu, omega, alpha, beta), in this order everywhere. Values should have a deviation of about 1: `garch_fit`
does not scale them. Bounds are a box, omega > 0 and alpha, beta in [0, 1]; alpha + beta may pass 1 (the next variance
is defined there too, only that of the far future is not).
Source: Bollerslev (1986), J. Econometrics 31; Fiorentini, Calzolari, Panattoni (1996), J. Applied Econometrics 11(4).
"""

from __future__ import annotations

import math

import numpy as np

from trimtab.kernels.compiled import compiled
from trimtab.types import F64

LEAST_OMEGA = 1e-6
MOST_BETA = 0.9999
#: Passes of a fit; those that do not come to rest in so many have nowhere to go.
PASSES = 60
#: A step that promises less than this of log-likelihood is the last: theta then lies 1e-4 of its error from the top.
REST = 1e-8
#: Where else a fit may begin: alpha and beta, at the variance of the window.
STARTS = ((0.05, 0.90), (0.10, 0.80), (0.30, 0.50), (0.02, 0.97))


@compiled
def log_likelihood(y: F64, theta: F64, gradient: F64, hessian: F64, outer: F64) -> tuple[float, float]:
    """Of y (n,) at theta (4,); gradient (4,), hessian (4, 4) and the sum of outer products of scores (4, 4) are out.

    ->  log-likelihood, and the variance of the value after the last
    """
    n = y.shape[0]
    mu, omega, alpha, beta = theta[0], theta[1], theta[2], theta[3]
    square, mean = 0.0, 0.0
    for t in range(n):
        e = y[t] - mu
        mean += e
        square += e * e
    square /= n
    mean /= n
    # Of h: first derivatives, then those second ones that are not 0 throughout.
    h, hm, ho, ha, hb = square, -2.0 * mean, 0.0, 0.0, 0.0
    hmm, hma, hmb, hob, hab, hbb = 2.0, 0.0, 0.0, 0.0, 0.0, 0.0
    before, before_m, before_mm = square, -2.0 * mean, 2.0  # e_{t-1}^2 and its derivatives by mu
    total = 0.0
    gm, go, ga, gb = 0.0, 0.0, 0.0, 0.0
    hessian[:] = 0.0
    outer[:] = 0.0
    smm, smo, sma, smb, soo, soa, sob, saa, sab, sbb = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    pmm, pmo, pma, pmb, poo, poa, pob, paa, pab, pbb = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(n + 1):
        # From the derivatives of the row before, the highest first.
        hbb = 2.0 * hb + beta * hbb
        hab = ha + beta * hab
        hob = ho + beta * hob
        hmb = hm + beta * hmb
        hma = before_m + beta * hma
        hmm = alpha * before_mm + beta * hmm
        hb = h + beta * hb
        ha = before + beta * ha
        ho = 1.0 + beta * ho
        hm = alpha * before_m + beta * hm
        h = omega + alpha * before + beta * h
        if t == n:
            break
        e = y[t] - mu
        r = 1.0 / h
        u = e * e * r
        total += math.log(h) + u
        dm, do, da, db = hm * r, ho * r, ha * r, hb * r
        f = -0.5 * (1.0 - u)
        lm, lo, la, lb = f * dm + e * r, f * do, f * da, f * db
        gm, go, ga, gb = gm + lm, go + lo, ga + la, gb + lb
        pmm, pmo, pma, pmb = pmm + lm * lm, pmo + lm * lo, pma + lm * la, pmb + lm * lb
        poo, poa, pob = poo + lo * lo, poa + lo * la, pob + lo * lb
        paa, pab, pbb = paa + la * la, pab + la * lb, pbb + lb * lb
        g, c, fr = 0.5 * (1.0 - 2.0 * u), e * r, f * r
        smm += fr * hmm + g * dm * dm - 2.0 * c * dm - r
        smo += g * dm * do - c * do
        sma += fr * hma + g * dm * da - c * da
        smb += fr * hmb + g * dm * db - c * db
        soo += g * do * do
        soa += g * do * da
        sob += fr * hob + g * do * db
        saa += g * da * da
        sab += fr * hab + g * da * db
        sbb += fr * hbb + g * db * db
        before, before_m, before_mm = e * e, -2.0 * e, 2.0
    gradient[0], gradient[1], gradient[2], gradient[3] = gm, go, ga, gb
    hessian[0, 0], hessian[1, 0], hessian[2, 0], hessian[3, 0] = smm, smo, sma, smb
    hessian[1, 1], hessian[2, 1], hessian[3, 1] = soo, soa, sob
    hessian[2, 2], hessian[3, 2], hessian[3, 3] = saa, sab, sbb
    outer[0, 0], outer[1, 0], outer[2, 0], outer[3, 0] = pmm, pmo, pma, pmb
    outer[1, 1], outer[2, 1], outer[3, 1] = poo, poa, pob
    outer[2, 2], outer[3, 2], outer[3, 3] = paa, pab, pbb
    for i in range(4):
        for j in range(i):
            hessian[j, i], outer[j, i] = hessian[i, j], outer[i, j]
    return -0.5 * (n * math.log(2.0 * math.pi) + total), h


@compiled
def mean_square(y: F64, mu: float) -> float:
    """Of y - mu."""
    total = 0.0
    for t in range(y.shape[0]):
        total += (y[t] - mu) * (y[t] - mu)
    return total / y.shape[0]


@compiled
def plain_likelihood(y: F64, theta: F64) -> float:
    """The log-likelihood alone, without its constant; to compare where to begin."""
    n = y.shape[0]
    h = mean_square(y, theta[0])
    before, total = h, 0.0
    for t in range(n):
        h = theta[1] + theta[2] * before + theta[3] * h
        before = (y[t] - theta[0]) * (y[t] - theta[0])
        total += math.log(h) + before / h
    return -0.5 * total


@compiled
def variance_after(y: F64, theta: F64) -> tuple[float, float]:
    """Variance of the value after the last of y (n,), and the mean of e^2 over y."""
    square = mean_square(y, theta[0])
    h = square
    before = square
    for t in range(y.shape[0]):
        h = theta[1] + theta[2] * before + theta[3] * h
        before = (y[t] - theta[0]) * (y[t] - theta[0])
    return theta[1] + theta[2] * before + theta[3] * h, square


@compiled
def solved(matrix: F64, sign: float, vector: F64, free: F64, factor: F64, out: F64) -> bool:
    """Solve sign * matrix (4, 4) out = vector over the entries that are free (1, not 0), by Cholesky; the others are 0.

    ->  False where the matrix is not positive definite; factor (4, 4) is scratch
    """
    for i in range(4):
        for j in range(i + 1):
            value = sign * matrix[i, j] if free[i] * free[j] > 0.0 else (1.0 if i == j else 0.0)
            least = 1e-10 * abs(value)
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            if i == j:
                if not value > least:
                    return False
                factor[i, i] = math.sqrt(value)
            else:
                factor[i, j] = value / factor[j, j]
    for i in range(4):
        value = vector[i] if free[i] > 0.0 else 0.0
        for k in range(i):
            value -= factor[i, k] * out[k]
        out[i] = value / factor[i, i]
    for i in range(3, -1, -1):
        value = out[i]
        for k in range(i + 1, 4):
            value -= factor[k, i] * out[k]
        out[i] = value / factor[i, i]
    return True


@compiled
def garch_fit(y: F64, theta: F64) -> int:
    """Move theta (4,) to the top of the likelihood of y (n,); how many passes over y it took, -1 if it found no rest.

    theta       in: where to begin, of finite numbers (the answer for a window that ended a little before, or any);
                out: the top. It begins at whichever of theta and STARTS is the likeliest.

    Where alpha ends at 0, beta has no meaning and hardly a slope: it begins once more, at an ARCH of its own, and keeps
    the better of the two. After a jump there may be several tops that differ by less than 1; which of them is found is
    not said.
    """
    begin(y, theta)
    passes = climb(y, theta)
    if theta[2] > 0.0:
        return passes
    other = np.array([theta[0], 0.7 * mean_square(y, theta[0]), 0.3, 0.0])
    more = climb(y, other)
    if plain_likelihood(y, other) > plain_likelihood(y, theta):
        theta[:] = other
        return more
    return passes


@compiled
def climb(y: F64, theta: F64) -> int:
    """Move theta (4,), inside its bounds, to the top above it; passes, -1 if it found no rest.

    Newton's step where the Hessian is negative definite, that of Berndt, Hall, Hall and Hausman where it is not, among
    the parameters that are not pushed against a bound; halved until the likelihood rises.
    """
    low = np.array([-np.inf, LEAST_OMEGA, 0.0, 0.0])
    high = np.array([np.inf, np.inf, 1.0, MOST_BETA])
    gradient, hessian, outer = np.empty(4), np.empty((4, 4)), np.empty((4, 4))
    free, factor, move, trial = np.empty(4), np.zeros((4, 4)), np.empty(4), np.empty(4)
    value, _ = log_likelihood(y, theta, gradient, hessian, outer)
    for passes in range(1, PASSES):
        for i in range(4):
            pushed = (theta[i] <= low[i] and gradient[i] < 0.0) or (theta[i] >= high[i] and gradient[i] > 0.0)
            free[i] = 0.0 if pushed else 1.0
        if not solved(hessian, -1.0, gradient, free, factor, move) and not solved(
            outer, 1.0, gradient, free, factor, move
        ):
            for i in range(4):
                move[i] = free[i] * gradient[i] / (1.0 + y.shape[0])
        promise = 0.0
        for i in range(4):
            promise += gradient[i] * move[i]
        part, risen = 1.0, False
        for _ in range(30):
            for i in range(4):
                trial[i] = min(high[i], max(low[i], theta[i] + part * move[i]))
            if rises(y, theta, trial, gradient, value):
                risen = True
                break
            part *= 0.5
        if not risen:
            return passes if promise < 1e-4 else -1
        theta[:] = trial
        if promise < REST:
            return passes
        value, _ = log_likelihood(y, theta, gradient, hessian, outer)
    return -1


@compiled
def begin(y: F64, theta: F64) -> None:
    """Let theta be the likeliest of itself, put inside the bounds, and STARTS."""
    mean = 0.0
    for t in range(y.shape[0]):
        mean += y[t]
    mean /= y.shape[0]
    variance, trial = max(mean_square(y, mean), LEAST_OMEGA), np.empty(4)
    theta[1] = max(theta[1], LEAST_OMEGA)
    theta[2] = min(1.0, max(0.0, theta[2]))
    theta[3] = min(MOST_BETA, max(0.0, theta[3]))
    best = plain_likelihood(y, theta)
    for alpha, beta in STARTS:
        trial[0], trial[1], trial[2], trial[3] = mean, variance * (1.0 - alpha - beta), alpha, beta
        value = plain_likelihood(y, trial)
        if value > best or best != best:
            best = value
            theta[:] = trial


@compiled
def rises(y: F64, theta: F64, trial: F64, gradient: F64, value: float) -> bool:
    """Whether the likelihood at trial is above `value`, that at theta, by a share of what the gradient promises."""
    said = 0.0
    for i in range(4):
        said += gradient[i] * (trial[i] - theta[i])
    found = plain_likelihood(y, trial) - 0.5 * y.shape[0] * math.log(2.0 * math.pi)
    return found >= value + 1e-4 * said - 1e-12 * abs(value)
