"""A fit that is due every so many bars is due at the same instants wherever the data begins, at any timeframe."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.strategies import find
from trimtab.strategies.fitting import begin, due, every_of
from trimtab.types import HOUR, TIMEFRAMES, TrimtabError


@pytest.mark.parametrize("timeframe", ["1h", "4h", "1d"])
def test_bars_are_counted_from_the_epoch(timeframe: str) -> None:
    strategy = find("volatility_clustering")
    bar = TIMEFRAMES[timeframe]
    every = every_of(strategy, strategy.params, timeframe)
    assert every == 24 * bar
    ts = bar * np.arange(1_000, 1_400, dtype=np.int64)
    for first in (0, 7):
        at = due(begin(None, 1, 1), ts[first:], every, 2)
        assert np.diff(at).tolist() == [24] * (len(at) - 1)
        assert (ts[first:][at] % every == 0).all()


def test_bars_of_no_timeframe_are_refused() -> None:
    strategy = find("volatility_clustering")
    with pytest.raises(TrimtabError, match=r"every 24 bars.*timeframe"):
        every_of(strategy, strategy.params, "")
    assert every_of(find("pairs_selected"), find("pairs_selected").params, "") % HOUR == 0
    assert every_of(find("sma_cross"), find("sma_cross").params, "") == 0
