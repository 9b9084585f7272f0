"""Streams of many models as one list of weights, in the one order that the driver reads."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimtab.portfolio.budgets import Stream, combine


@given(st.data())
def test_weights_stand_by_row_then_model_then_instrument(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    streams = []
    for _ in range(data.draw(st.sampled_from([0, 2, 3, 6]))):  # one alone stays as it is
        count, legs = int(rng.integers(0, 20)), int(rng.integers(1, 4))
        row = np.repeat(np.sort(rng.integers(0, 15, count)), legs)
        instrument = np.tile(rng.permutation(5)[:legs], count)
        streams.append(Stream(int(rng.integers(3)), row, instrument, rng.normal(size=len(row)), float(rng.random())))
    found = combine(streams)
    columns = [
        np.concatenate([np.empty(0, np.int64), *(column(s) for s in streams)])
        for column in (lambda s: s.row, lambda s: np.full(len(s.row), s.model), lambda s: s.instrument)
    ]
    value = np.concatenate([np.empty(0), *(s.forecast * s.share for s in streams)])
    order = np.lexsort((columns[2], columns[1], columns[0]))  # stable, as ours is
    for made, column in zip((found.row, found.model, found.instrument, found.value), (*columns, value), strict=True):
        assert made.tolist() == column[order].tolist()
