"""Default instruments and their costs."""

from __future__ import annotations

import pytest

from trimtab.data.catalogue import ASSET_CLASSES, COST_PRESETS, costs_for, default_instrument, preset, with_changes
from trimtab.types import Costs, TrimtabError


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [
        ("BTCEUR", "BTC", "EUR"), ("ETHUSDT", "ETH", "USDT"), ("BTC/USD", "BTC", "USD"), ("BTC-EUR", "BTC", "EUR"),
        ("BTC/USDT:USDT", "BTC", "USDT"), ("ETHBTC", "ETH", "BTC"), ("EUR", "EUR", "USD"),
    ],
)  # fmt: skip
def test_currencies_of_a_crypto_symbol(symbol: str, base: str, quote: str) -> None:
    instrument = default_instrument(symbol)
    assert (instrument.base, instrument.quote) == (base, quote)


def test_rules_by_asset_class() -> None:
    spot, perpetual = default_instrument("BTCUSDT"), default_instrument("BTCUSDT", kind="perpetual")
    assert not spot.shortable
    assert perpetual.shortable
    equity = default_instrument("SPY", "equity", "alpaca")
    assert (equity.lot_size, equity.tick_size, equity.calendar, equity.quote) == (1.0, 0.01, "XNYS", "USD")
    assert default_instrument("EURUSD", "fx").quote == "USD"
    assert default_instrument("SP500", "index").kind == "index"
    with pytest.raises(TrimtabError, match="did you mean 'equity'"):
        default_instrument("SPY", "equities")
    with pytest.raises(TrimtabError, match="needs a symbol"):
        default_instrument(" ")


def test_costs_by_instrument_then_venue_then_asset_class() -> None:
    venue = default_instrument("BTCEUR", venue="bitvavo")
    assert (costs_for(venue).maker_fee, costs_for(venue).taker_fee) == (0.0015, 0.0025)
    perpetual = default_instrument("BTCUSDT", venue="binance", kind="perpetual")
    assert costs_for(perpetual) == COST_PRESETS["binance_perpetual"]
    assert costs_for(default_instrument("X", venue="elsewhere")) == COST_PRESETS["crypto"]
    assert costs_for(with_changes(venue, costs="none")) == Costs()
    with pytest.raises(TrimtabError, match="did you mean 'kraken'"):
        costs_for(with_changes(venue, costs="krakn"))


def test_costs_are_on_by_default_for_every_asset_class() -> None:
    for asset_class in ASSET_CLASSES:
        costs = costs_for(default_instrument("X", asset_class))
        assert costs.slippage > 0
        assert costs.impact > 0
        assert costs.half_spread > 0
    for name in COST_PRESETS:
        costs = preset(name)
        assert all(0 <= fee < 0.01 for fee in (costs.maker_fee, costs.taker_fee, costs.half_spread, costs.slippage))


def test_rules_out_of_range_are_refused() -> None:
    with pytest.raises(TrimtabError, match="lot_size = 0"):
        with_changes(default_instrument("X"), lot_size=0.0)
    with pytest.raises(TrimtabError, match="tick_size"):
        with_changes(default_instrument("X"), tick_size=float("nan"))
