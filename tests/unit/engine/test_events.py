"""Bodies of the journal: every number reads back bit for bit, and what could not be read is not written."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trimtab.engine.events import (
    KINDS,
    BarLate,
    CashMoved,
    Filled,
    Halted,
    OrderIntent,
    Outcome,
    RowDecided,
    decode,
    encode,
    key_of,
    kind_of,
)
from trimtab.types import TrimtabError

ORDER: dict[str, Any] = {
    "client_order_id": "T1-AAAA-0000000001",
    "order_id": 1,
    "row": 2,
    "venue": "paper",
    "symbol": "BTC/EUR",
    "lots": -3,
    "order_kind": "LIMIT",
    "tif": "GTC",
}
FILL: dict[str, Any] = {
    "venue": "paper",
    "symbol": "BTC/EUR",
    "trade_id": "77",
    "client_order_id": "T1",
    "lots": 5,
    "price": 0.1 + 0.2,
    "fee": 0.0,
    "executed": 1_600_000_000_000_000_007,
}


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.text())
def test_scalars_read_back_bit_for_bit(price: float, lots: int, trade_id: str):
    body = Filled(**{**FILL, "price": price, "lots": lots, "trade_id": trade_id})
    back = decode(encode(body))
    assert isinstance(back, Filled)
    assert (back.price.hex(), back.lots, back.trade_id) == (price.hex(), lots, trade_id)
    assert encode(back) == encode(body)


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats()))
def test_arrays_read_back_bit_for_bit(bars: np.ndarray):
    back = decode(encode(RowDecided(row=1, bars=bars, weights=bars)))
    assert isinstance(back, RowDecided)
    plain = np.where(np.isnan(bars), np.nan, bars)  # one NaN: not observed
    for array in (back.bars, back.weights):
        assert array.shape == bars.shape
        assert array.tobytes() == plain.tobytes()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_lone_number_must_be_finite(value: float):
    with pytest.raises(TrimtabError, match=r"fill\.price is .*expected a finite number"):
        encode(Filled(**{**FILL, "price": value}))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (Filled(**{**FILL, "symbol": 3}), "symbol"),
        (Filled(**{**FILL, "lots": 2.5}), "lots"),
        (RowDecided(row=1, bars=np.ones((1, 1), dtype=np.float32), weights=np.ones((1, 1))), "float32"),
        (Halted(reason=object()), "object"),  # type: ignore[arg-type]
        (Halted(reason="\ud800"), "surrogates"),
    ],
)
def test_what_could_not_be_read_back_is_refused(body: Any, said: str):
    with pytest.raises(TrimtabError, match=said):
        encode(body)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OrderIntent(**{**ORDER, "order_kind": "MARKT"}), "expected one of MARKET"),
        (lambda: OrderIntent(**{**ORDER, "tif": "GTX"}), "expected one of GTC"),
        (lambda: Outcome(client_order_id="a", status="LOST"), "expected one of PENDING_NEW"),
        (lambda: CashMoved(venue="v", currency="EUR", amount=1.0, flow="gift"), "expected one of deposit"),
    ],
)
def test_words_are_those_of_the_field(make: Any, said: str):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    "text",
    [
        '{"kind":"halt"}',
        '{"kind":"halt","reason":"x","symbol":"","more":1}',
        '{"kind":"nothing"}',
        '{"kind":"halt","reason":1}',
        '{"kind":"late_bar","symbol":"X","row":1,"bar":["1.5"]}',
        '{"kind":"late_bar","symbol":"X","row":1,"bar":[1]}',
        '{"kind":"late_bar","symbol":"X","row":1,"bar":[true]}',
        '{"kind":"row","row":1,"bars":[[1.0],[1.0,2.0]],"weights":[]}',
        "",
    ],
)
def test_reading_is_strict(text: str):
    with pytest.raises(msgspec.MsgspecError):
        decode(text)


def test_numbers_of_numpy_are_taken():
    plain = encode(Filled(**FILL))
    assert (
        encode(Filled(**{**FILL, "lots": np.int64(5), "price": np.float64(FILL["price"]), "maker": np.False_})) == plain
    )


@given(st.tuples(*[st.text()] * 3), st.tuples(*[st.text()] * 3))
def test_the_keys_of_two_fills_are_equal_only_if_their_names_are(one: tuple[str, ...], other: tuple[str, ...]):
    first, second = (key_of(Filled(**{**FILL, "venue": v, "symbol": s, "trade_id": t})) for v, s, t in (one, other))
    assert (first == second) == (one == other)


def test_what_comes_only_once_has_a_key():
    assert key_of(OrderIntent(**ORDER)) == "T1-AAAA-0000000001"
    assert key_of(Filled(**FILL)) == '["paper","BTC/EUR","77"]'
    assert key_of(RowDecided(row=9, bars=np.ones((1, 1)), weights=np.ones((1, 1)))) == "9"
    assert key_of(BarLate(symbol="X", row=9, bar=np.ones(6))) == '["X","9"]'
    assert key_of(CashMoved(venue="v", currency="EUR", amount=1.0, flow="deposit")) == ""
    assert key_of(CashMoved(venue="v", currency="EUR", amount=1.0, flow="deposit", flow_id="7")) != ""
    assert key_of(Halted(reason="x")) == ""


def test_kinds_are_words_and_all_different():
    assert len(set(KINDS)) == len(KINDS) == 18
    assert kind_of(Halted(reason="x")) == "halt"
