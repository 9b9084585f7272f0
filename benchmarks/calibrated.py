"""What the court's tests say of noise and of known edges, as tables: measured on seeds 0, 1, 2, … beside the computed.

`scale` multiplies the number of draws; the published tables have 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from trimtab.portfolio.sizing.edges import Estimate
from trimtab.portfolio.sizing.paths import estimate
from trimtab.research.inference import calibration
from trimtab.research.inference.bootstrap import Resampling
from trimtab.research.inference.calibration import Family, Noise, clustered, independent, shuffled
from trimtab.research.inference.sharpe import Moments, deflated_sharpe, moments_of, power, probabilistic_sharpe
from trimtab.research.inference.trials import sharpe_variance, sharpes_of

#: Rows of a record: two years of an exchange's days.
ROWS: Final = 500
YEAR: Final = 252.0
LEVEL: Final = 0.95
Kinds = Mapping[str, Noise]


def kinds(which: str, data: Path) -> Kinds:
    """Noise by name: made, or of real returns (daily returns of SPY, in blocks of 20 days on average)."""
    if which == "made":
        return {"independent": independent, "GARCH": clustered}
    import polars as pl

    close = pl.read_parquet(data / "equity_us" / "SPY_1d.parquet").sort("open_time")["close"].to_numpy()
    return {"SPY in blocks": shuffled(close[1:] / close[:-1] - 1.0, 20.0)}


class Share(NamedTuple):
    """A share that was measured, what it should be, and how often it was drawn."""

    words: tuple[str, ...]
    found: float
    computed: float
    draws: int
    error: float = 0.0

    @property
    def deviation(self) -> float:
        """Standard error of the difference; the measured share's own is of the computed share."""
        return math.sqrt(self.computed * (1.0 - self.computed) / self.draws + self.error**2)

    @property
    def off(self) -> float:
        """Difference in standard errors."""
        return (self.found - self.computed) / self.deviation if self.deviation else 0.0


def deflated_shares(noises: Kinds, scale: int = 1) -> list[Share]:
    """How often the best of a family of noise has a DSR at or above two levels."""
    found: list[Share] = []
    draws = 1_000 * scale
    for trials in (1, 2, 12, 50):
        family = Family(trials, ROWS)
        expected = {level: calibration.computed_pass_rate(family, level, 100_000) for level in (0.5, LEVEL)}
        for name, noise in noises.items():
            dsr = calibration.deflated_sharpes(noise, family, draws)
            for level, rate in expected.items():
                share = float((dsr >= level).mean())
                found.append(Share((name, f"{trials}", f"{level:g}"), share, rate.value, draws, rate.error))
    return found


def deflated(noises: Kinds) -> str:
    return _shares(("noise", "trials", "DSR at least"), deflated_shares(noises))


def family_rates(noises: Kinds, scale: int = 1) -> dict[str, tuple[Estimate, Estimate, Estimate]]:
    """Share of families of twelve noises in which one passes at least, by what each is judged against.

    Nothing but itself; all that were tried before it; all twelve.
    """
    found: dict[str, tuple[Estimate, Estimate, Estimate]] = {}
    draws = 500 * scale
    for name, noise in noises.items():
        passed = np.array([_family(noise(np.random.default_rng(seed), ROWS, 12)) for seed in range(draws)])
        alone, ordered, together = (estimate(column) for column in passed.T)
        found[name] = (alone, ordered, together)
    return found


def _family(returns: np.ndarray) -> tuple[bool, bool, bool]:
    sharpes = sharpes_of(returns)
    moments = [moments_of(column) for column in returns.T]

    def passes(k: int, seen: int) -> bool:
        return deflated_sharpe(moments[k], seen, sharpe_variance(sharpes[:seen])) >= LEVEL

    trials = len(moments)
    return (
        any(probabilistic_sharpe(m) >= LEVEL for m in moments),
        any(passes(k, k + 1) for k in range(trials)),
        any(passes(k, trials) for k in range(trials)),
    )


def family(noises: Kinds) -> str:
    head = ("noise", "against nothing else", "against those before it", "against all twelve")
    rows = [(name, *(_with_error(rate) for rate in rates)) for name, rates in family_rates(noises).items()]
    return _table(head, rows)


def edge_shares(scale: int = 1) -> list[Share]:
    """How often a record with a known Sharpe passes, alone and against the bar of twelve trials of noise."""
    from trimtab.research.inference.sharpe import hurdle

    found: list[Share] = []
    draws = 2_000 * scale
    for trials in (1, 12):
        bar = hurdle(float(trials), 1.0 / ROWS) if trials > 1 else 0.0
        for annual in (0.5, 1.0, 2.0, 3.0):
            truth = Moments(ROWS, annual / math.sqrt(YEAR))
            share = calibration.edge_pass_rate(independent, truth, draws, bar).value
            # The law of the estimate is normal to some 0.002.
            found.append(Share((f"{annual:.1f}", f"{trials}"), share, power(truth, bar), draws, 0.002))
    return found


def edges(noises: Kinds) -> str:
    return _shares(("true Sharpe, a year", "trials"), edge_shares())


def selection_rates(noises: Kinds, scale: int = 1) -> dict[str, tuple[Estimate, Estimate, Estimate]]:
    """Of twelve sets of noise: PBO on average, and how often SPA and the reality check reject at 5%."""
    found: dict[str, tuple[Estimate, Estimate, Estimate]] = {}
    for name, noise in noises.items():
        pbo = calibration.mean_overfitting(noise, Family(12, 256), 8, 200 * scale)
        rates = calibration.rejection_rate(noise, Family(12, 250), Resampling(2.0, 299), 400 * scale)
        found[name] = (pbo, rates.consistent, rates.reality)
    return found


def selection(noises: Kinds) -> str:
    head = ("noise", "mean PBO", "SPA rejects", "reality check rejects")
    rows = [(name, *(_with_error(rate) for rate in rates)) for name, rates in selection_rates(noises).items()]
    return _table(head, rows)


# --- as text ---------------------------------------------------------------------------------------------------------


def _shares(head: Sequence[str], shares: Sequence[Share]) -> str:
    rows = [
        (
            *s.words,
            f"{s.draws:,}",
            _told(s.found),
            _told(s.computed),
            _told(s.deviation),
            f"{round(s.off, 1) + 0.0:+.1f}",
        )
        for s in shares
    ]
    return _table((*head, "draws", "measured", "computed", "standard error", "off by"), rows)


def _with_error(rate: Estimate) -> str:
    return f"{_told(rate.value)} ± {_told(rate.error)}"


def _told(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 or share == 0.0 else "< 0.1%"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
