"""Round trips out of fills, against a transcription that keeps a list of what is open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trimtab.rules.book import FILL
from trimtab.sim.trades import costs_of_fills, round_trips, share_of_fills


def fills_of(rows: list[tuple[int, int, float, float]]) -> Any:
    """(instrument, lots, price, fee); instants are 1, 2, 3 …"""
    f = np.zeros(len(rows), FILL)
    for k, (i, lots, price, fee) in enumerate(rows):
        f[k]["ts"], f[k]["instrument"], f[k]["lots"], f[k]["price"], f[k]["fee"] = k + 1, i, lots, price, fee
        f[k]["spread"] = 2.0 * fee
    return f


def trips(fills: Any, unit: Any) -> Any:
    lots = fills["lots"].astype(np.float64)
    return round_trips(fills, lots, np.ascontiguousarray(fills["fee"]), costs_of_fills(fills), unit)


def plain(fills: Any, unit: Any) -> tuple[list[dict[str, float]], dict[int, dict[str, float]]]:
    """Closed trades in order of their exits, and open ones by instrument."""
    closed: list[dict[str, float]] = []
    live: dict[int, dict[str, float]] = {}
    for f in fills:
        i, left, price = int(f["instrument"]), int(f["lots"]), float(f["price"])
        fee, cost = float(f["fee"]), float(f["fee"] + f["spread"])
        while left:
            trade = live.setdefault(
                i, {"held": 0, "most": 0, "entry_ts": f["ts"], "in": 0, "inp": 0.0, "out": 0, "outp": 0.0, "pnl": 0.0,
                    "fees": 0.0, "costs": 0.0, "instrument": i},
            )  # fmt: skip
            held = int(trade["held"])
            part = -held if held * left < 0 and abs(left) > abs(held) else left
            ratio = part / int(f["lots"])
            trade["fees"] += fee * ratio
            trade["costs"] += cost * ratio
            trade["pnl"] -= part * unit[i] * price + fee * ratio
            side = "out" if held * part < 0 else "in"
            trade[side] += abs(part)
            trade[side + "p"] += abs(part) * price
            trade["held"] = held + part
            if abs(trade["held"]) > abs(trade["most"]):
                trade["most"] = trade["held"]
            left -= part
            if trade["held"] == 0:
                trade["exit_ts"] = f["ts"]
                closed.append(live.pop(i))
    return closed, live


def test_by_hand() -> None:
    fills = fills_of([(0, 10, 100.0, 1.0), (0, 10, 110.0, 1.0), (0, -5, 120.0, 0.5), (0, -25, 90.0, 2.5)])
    closed, rest = trips(fills, np.array([0.5]))
    assert (closed["lots"], closed["entry_price"], closed["entry_ts"], closed["exit_ts"]) == (20.0, 105.0, 1, 4)
    assert closed["exit_price"] == pytest.approx((5 * 120.0 + 15 * 90.0) / 20)
    # 0.5 x (-10 x 100 - 10 x 110 + 5 x 120 + 15 x 90) = -75, less fees of 1 + 1 + 0.5 + 15/25 of 2.5
    assert closed["fees"] == pytest.approx(4.0)
    assert closed["pnl"] == pytest.approx(-75.0 - 4.0)
    assert closed["costs"] == pytest.approx(12.0)
    assert (rest["open"], rest["lots"], rest["entry_price"]) == (1, -10.0, 90.0)
    assert np.isnan(rest["exit_price"])
    assert rest["fees"] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(20))
def test_random_fills(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, unit = 3, np.array([1.0, 0.01, 50.0])
    rows = [
        (
            int(rng.integers(n)),
            int(rng.choice([-5, -2, -1, 1, 2, 3, 6])),
            float(rng.uniform(50, 150)),
            float(rng.random()),
        )
        for _ in range(300)
    ]
    fills = fills_of(rows)
    found = trips(fills, unit)
    closed, live = plain(fills, unit)
    assert found["open"].tolist() == [0] * len(closed) + [1] * len(live)
    expected = [*closed, *(live[i] for i in sorted(live))]
    for one, other in zip(found, expected, strict=True):
        assert (one["instrument"], one["entry_ts"], one["lots"]) == (
            other["instrument"],
            other["entry_ts"],
            other["most"],
        )
        for name in ("pnl", "fees", "costs"):
            assert one[name] == pytest.approx(other[name], rel=1e-9, abs=1e-9)
        assert one["entry_price"] == pytest.approx(other["inp"] / other["in"])
        if one["open"] == 0:
            assert one["exit_ts"] == other["exit_ts"]
            assert one["exit_price"] == pytest.approx(other["outp"] / other["out"])
    fees = sum(r[3] for r in rows)
    assert found["fees"].sum() == pytest.approx(fees)


def test_a_models_share_of_fees_and_costs() -> None:
    fills = fills_of([(0, 6, 100.0, 3.0), (0, 0, 100.0, 0.0), (0, -6, 100.0, 2.0)])
    shares = np.array([[4.0, 2.0], [1.0, -1.0], [-9.0, 3.0]])
    lots, fees, costs = share_of_fills(fills, shares, 0)
    assert lots.tolist() == [4.0, 1.0, -9.0]
    assert fees.tolist() == pytest.approx([2.0, 0.0, 1.5])  # by size: 4 of 6, and 9 of 12
    assert costs.tolist() == pytest.approx([2.0 + 4.0, 0.0, 1.5 + 6.0])  # by the signed part: 4/6, and 9/6


def test_a_models_part_within_a_lot_counts_as_flat() -> None:
    """Netting rounds once, so a part is off by less than a lot: it opens no trade, and leaves none open."""
    fills = fills_of([(0, 3, 100.0, 0.0), (0, -3, 110.0, 0.0), (0, 1, 100.0, 0.0)])
    lots, zero = np.array([3.4, -2.9, 0.3]), np.zeros(3)
    part = round_trips(fills, lots, zero, zero, np.ones(1), 1.0)
    assert part["open"].tolist() == [0]
    assert part["pnl"][0] == pytest.approx(-340.0 + 319.0)
    assert round_trips(fills, lots, zero, zero, np.ones(1))["open"].tolist() == [1]
