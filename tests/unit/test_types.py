"""A panel's bars do not change: what a run derived from them is kept for the next run."""

from __future__ import annotations

import copy
import pickle

import msgspec
import numpy as np
import polars as pl
import pytest

import trimtab as tt
from trimtab.types import BAR_FIELDS, HOUR

ROWS = 60
TS = 1_704_067_200 * 10**9 + HOUR * np.arange(1, ROWS + 1, dtype=np.int64)


def values_of(close: float = 100.0) -> np.ndarray:
    """(T, 1, 6) bars that do not move."""
    values = np.full((ROWS, 1, len(BAR_FIELDS)), close)
    values[:, :, 5] = HOUR
    return values


def panel_of(values: np.ndarray) -> tt.Panel:
    return tt.Panel(TS, (tt.Instrument(symbol="X"),), BAR_FIELDS, values, "1h")


def frame_of(**more: float) -> pl.DataFrame:
    stamps = (TS - HOUR).astype("datetime64[ns]")
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), np.full(ROWS, 100.0))
    return pl.DataFrame({"open_time": stamps, **prices, **{name: np.full(ROWS, v) for name, v in more.items()}})


@pytest.mark.parametrize(
    "panel",
    [
        panel_of(values_of()),
        tt.Panel.from_frames({"X": frame_of()}, "1h"),
        tt.Panel.from_frames({"X": frame_of(), "Y": frame_of().head(7)}, "1h"),
        tt.Panel.from_frames({"X": frame_of(a=1.0, b=2.0, c=3.0)}, "1h"),
    ],
    ids=["given", "frame", "frames", "wide"],
)
def test_bars_and_instants_cannot_be_written(panel: tt.Panel) -> None:
    for array in (panel.values, panel.ts, panel.values[:10], panel.values[:, :, 3]):
        with pytest.raises(ValueError, match="read-only"):
            array[3] = 7
    for other in (copy.deepcopy(panel), pickle.loads(pickle.dumps(panel)), msgspec.structs.replace(panel)):
        with pytest.raises(ValueError, match="read-only"):
            other.values[3] = 7
    mine = panel.values.copy()
    mine[3] = 7.0


def test_an_array_is_taken_over_and_a_view_is_copied() -> None:
    values = values_of()
    panel = panel_of(values)
    assert panel.values is values
    with pytest.raises(ValueError, match="read-only"):
        values[3] = 7.0
    book = np.concatenate([values_of(), values_of(50.0)], axis=1)
    panel = panel_of(book[:, :1])
    book[3] = 7.0
    assert panel.values[3, 0, 3] == 100.0
    assert np.shares_memory(panel_of(panel.values[:30]).values, panel.values)  # read-only already: nobody writes there


def test_changed_bars_are_another_panel_with_a_market_of_its_own() -> None:
    weights = np.full(ROWS, np.nan)
    weights[5] = 0.5
    panel = tt.Panel.from_frames({"X": frame_of()}, "1h")
    assert tt.simulate(panel, weights, costs=tt.Costs()).fills["mid"].to_list() == [100.0]
    values = panel.values.copy()
    values[:, :, :4] = 50.0
    halved = msgspec.structs.replace(panel, values=values)
    assert tt.simulate(halved, weights, costs=tt.Costs()).fills["mid"].to_list() == [50.0]
    other = tt.Panel.from_frames({"X": frame_of().with_columns(pl.col("open", "high", "low", "close") / 4)}, "1h")
    swapped = msgspec.structs.replace(panel, values=other.values)  # the same strides as the panel's own lines
    assert swapped.lines is None
    assert tt.simulate(swapped, weights, costs=tt.Costs()).fills["mid"].to_list() == [25.0]
