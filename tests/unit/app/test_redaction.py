"""Secrets are found by the name they stand under, and wherever they are once they are known."""

from __future__ import annotations

import base64
import json
import urllib.parse

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.app.redaction import REDACTED, Redaction, is_secret_name
from trimtab.types import TrimtabError

CANARY = "cAnArY/9+f3=Zq"


@pytest.mark.parametrize(
    "text",
    [
        f"https://api.binance.com/api/v3/order?symbol=BTCUSDT&signature={CANARY}&recvWindow=5000",
        f"GET url=https://api.binance.com/api/v3/order?signature={CANARY}&x=1 failed",
        f"https://me:{CANARY}@example.com/v2",
        f"headers: {{'X-MBX-APIKEY': '{CANARY}', 'Content-Type': 'application/json'}}",
        f"headers: {{b'APCA-API-SECRET-KEY': b'{CANARY}'}}",
        f"[('APCA-API-SECRET-KEY', '{CANARY}')]",
        f'{{"action":"authenticate","data":{{"key_id":"{CANARY}","secret_key":"{CANARY}"}}}}',
        json.dumps(json.dumps({"secret": CANARY, "other": 1})),
        f"Authorization: AWS4-HMAC-SHA256 Credential=AB, Signature={CANARY}",
        f"{{'Authorization': 'Bearer {CANARY}'}}",
        f"sent Bearer {CANARY} and was refused",
        f"Cookie: a=1; session={CANARY}",
        f"Config(api_key='{CANARY}', timeout=3)",
        f"apiSecret = {CANARY}",
        f"passphrase: {CANARY}",
        f"https://x.io/redirect%3Fsignature%3D{CANARY}",
        f'cut off: {{"secret":"{CANARY}',
        f"cut off: 'apiKey': '{CANARY}",
        f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY} cut off",
    ],
)
def test_nothing_under_a_secret_name_is_left(text: str):
    assert CANARY not in Redaction().text(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("signature=abc&recvWindow=5000", "signature=***&recvWindow=5000"),
        ("KeyError: 'BTCUSDT'", "KeyError: 'BTCUSDT'"),
        ("KEYUSDT: 5 lots at 3.5", "KEYUSDT: 5 lots at 3.5"),
        ("keyboard: yes; monkey=2", "keyboard: yes; monkey=2"),
        ("order T1-0000000001 is REJECTED: insufficient balance", None),
        ("2026-03-02T00:00:00Z paper: buy 1,500 lots BTCEUR MARKET IOC", None),
        ("https://api.binance.com/api/v3/klines?symbol=BTCUSDT&interval=1m", None),
    ],
)
def test_the_rest_stays_readable(text: str, left: str | None):
    assert Redaction().text(text) == (text if left is None else left)


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        *((name, True) for name in ("key", "api_key", "apiKey", "X-MBX-APIKEY", "API-Sign", "secretKey", "listenKey")),
        *((name, True) for name in ("authorization", "db_password", "accessToken", "Set-Cookie", "auth", "otp")),
        *((name, False) for name in ("symbol", "KEYUSDT", "client_order_id", "design", "author", "reason", "signal")),
    ],
)
def test_names(name: str, looks: bool):
    assert is_secret_name(name) is looks


SPELLINGS = [
    str,
    urllib.parse.quote_plus,
    urllib.parse.quote,
    lambda t: urllib.parse.quote(t, safe=""),
    lambda t: json.dumps(t)[1:-1],
    lambda t: json.dumps(t, ensure_ascii=False)[1:-1],
    lambda t: base64.b64encode(t.encode()).decode(),
    lambda t: base64.urlsafe_b64encode(t.encode()).decode(),
    lambda t: repr(t)[1:-1],
    lambda t: t.encode().hex(),
]


@pytest.mark.parametrize("spell", SPELLINGS)
@given(st.text(st.sampled_from("ab/+ ?~>\"'\\é\n"), min_size=4).filter(lambda t: len(t.strip()) >= 4))
def test_a_registered_secret_is_found_however_it_is_spelled(spell, secret: str):
    got = Redaction(secret).text(f"({spell(secret)})")
    assert spell(secret) not in got
    assert REDACTED in got


def test_what_was_harmless_is_none_once_it_is_registered():
    redaction = Redaction()
    assert redaction.text("BTC then") == "BTC then"
    redaction.add("then")
    assert redaction.text("BTC then") == f"BTC {REDACTED}"
    for k in range(10_000):
        redaction.text(f"T1-{k}")
    assert len(redaction._seen) <= 4_096


def test_what_is_built_of_texts_is_gone_through():
    redaction = Redaction(CANARY)
    error = ValueError(f"bad {CANARY}")
    got = redaction.value(
        {
            "symbol": "BTCEUR",
            "lots": 3,
            "ratio": np.float64(0.5),
            "counts": np.array([1, 2]),
            "up": True,
            "none": None,
            "apiSecret": 12345,
            CANARY: 1,
            "nested": [{"password": ["x"]}, (CANARY, b"ok " + CANARY.encode()), {CANARY}],
            "error": error,
            "headers": [("X-MBX-APIKEY", "abc"), ("Accept", "text")],
        }
    )
    assert got == {
        "symbol": "BTCEUR",
        "lots": 3,
        "ratio": 0.5,
        "counts": [1, 2],
        "up": True,
        "none": None,
        "apiSecret": REDACTED,
        REDACTED: 1,
        "nested": [{"password": REDACTED}, [REDACTED, f"ok {REDACTED}"], [REDACTED]],
        "error": f"bad {REDACTED}",
        "headers": [["X-MBX-APIKEY", REDACTED], ["Accept", "text"]],
    }


def test_numbers_of_numpy_are_numbers():
    got = Redaction().value({"lots": np.int64(3), "price": np.float64(0.5), "up": np.bool_(True)})
    assert [type(value) for value in got.values()] == [int, float, bool]


def test_each_line_of_a_key_file_is_known():
    line = "MHcCAQEEIBc0ffee0123456789abcdefghij"
    redaction = Redaction(f"-----BEGIN EC PRIVATE KEY-----\n{line}\n-----END EC PRIVATE KEY-----\n")
    assert line not in redaction.text(f"could not read {line!r}")


def test_secrets_that_cannot_be_told_from_text_are_refused():
    Redaction("", "  ")
    with pytest.raises(TrimtabError, match="a secret of 2 characters"):
        Redaction("ab")


def test_long_texts_take_no_quadratic_time():
    for text in ("a" * 300_000, "a=" * 100_000, '\\"' * 100_000, "key, " * 50_000, "://" * 100_000, "x:" * 100_000):
        Redaction().text(text)
