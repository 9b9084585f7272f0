"""What `trimtab status` shows: it fits 80 columns and 100, hides nothing that matters, and obeys nothing it shows."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import msgspec
import pytest
from rich.console import Console

from trimtab.app.watch import MOST, screen, status_lines, to_json
from trimtab.engine.status import Act, Check, Decided, Held, LimitUse, Status, Wish, Working, state_in_words
from trimtab.types import HOUR, SECOND, TrimtabError

TS = 1_772_409_600 * SECOND

BOOK = Status(
    ts=TS,
    account="paper",
    spec="Four models, one book",
    currency="EUR",
    state="REDUCING",
    reason="unusual_gap of BTCEUR",
    equity=1_025_034.5,
    drawdown=0.0251,
    day=-1_204.25,
    day_fraction=-0.00117,
    gross=0.8,
    net=-0.1234,
    positions=(
        Held(symbol="ETHEUR", lots=-2_500, avg_price=2_000.5, mark=2_010.0, notional=-50_250.0, unrealised=-237.5),
        Held(
            symbol="BTCEUR", lots=1_234_567_890, avg_price=40_000.25, mark=40_100.0, notional=412_345.6,
            unrealised=1_025.7,
        ),
        Held(symbol="SHIBEUR", lots=9_000, avg_price=0.00001234, mark=None, notional=None, unrealised=None),
    ),
    orders=(
        Working(
            client_order_id="T1-0000000007", symbol="ETHEUR", lots=2_500, filled=500, kind="LIMIT", price=1_990.5,
            status="PARTIALLY_FILLED", age=250.0,
        ),
        Working(
            client_order_id="T1-0000000009", symbol="BTCEUR", lots=-1_234_567_890, filled=0, kind="STOP_LIMIT",
            price=39_000.75, status="NEW", age=93_700.0,
        ),
        Working(
            client_order_id="T1-0000000008", symbol="BTCEUR", lots=-10, filled=0, kind="MARKET", status="UNKNOWN",
            age=3.9,
        ),
    ),
    limits=(
        LimitUse(name="gross_leverage", measure=0.8, bound=1.0),
        LimitUse(name="max_weight", of="BTCEUR", measure=0.412, bound=0.4),
        LimitUse(name="stale", of="SHIBEUR", measure=7_000.0, bound=7_200.0),
        LimitUse(name="order_notional", measure=None, bound=250_000.0),
    ),
    health=(
        Check(name="feed", well=True, said="the last bar came 3 s ago"),
        Check(name="venue paper", well=False, said="cannot be reached since 2026-03-01T23:58:00Z: connection refused"),
        Check(name="journal", well=True, said="12,345 events"),
        Check(name="lag", well=True, said="0.002 s"),
    ),
    decided=Decided(
        row=TS - HOUR,
        wishes=(
            Wish(model="equity_trend", symbol="BTCEUR", weight=0.4, why="forecast +0.80 × budget 50%"),
            Wish(model="equity_trend", symbol="ETHEUR", weight=0.0, why="forecast 0.00: the fast mean is not above"),
            Wish(model="pairs_reversion", symbol="SHIBEUR", weight=None, why="no bar"),
        ),
    ),
    actions=(
        Act(ts=TS - HOUR, said="max_weight scaled BTCEUR from 45.0% to 40.0%"),
        Act(ts=TS, said="unusual_gap reduces the book"),
    ),
    quarantined={"momentum": "its step raised at 2026-03-01T00:00:00Z: division by zero"},
)  # fmt: skip

EMPTY = Status(ts=TS, account="paper", spec="book", currency="USD", state="ACTIVE")


def drawn(status: Status, width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(screen(status))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_it_fits_and_breaks_no_figure(width: int):
    lines = drawn(BOOK, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for figure in (
        "1,234,567,890", "40,000.25", "40,100", "412,346", "+1,025.70", "0.00001234", "1,025,034 EUR",
        "-1,204.25 (-0.12%)", "2.51%", "-12.34%", "1,990.5", "39,000.75", "1 d 2 h", "4 m 10 s", "103%",
        "97%", "80%", "+40.00%", "abstains", "flat", "250,000", "2 h 0 m",
    ):  # fmt: skip
        assert figure in text, figure
    assert "…" not in text
    assert "net -12.34%" in text
    assert len([line for line in lines if "█████████░" in line]) == 1  # 97% is not full


def test_what_matters_most_stands_first():
    lines = drawn(BOOK, 100)
    assert lines[0].startswith("paper  Four models, one book  2026-03-02T00:00:00Z")
    assert lines[1] == "REDUCING  only what reduces risk is sent (unusual_gap of BTCEUR)"
    firsts = [line.split()[0] for line in lines if line.strip()]
    assert firsts.index("BTCEUR") < firsts.index("ETHEUR") < firsts.index("SHIBEUR")  # by size
    orders = lines[next(k for k, line in enumerate(lines) if line.startswith("Order")) :]
    assert "UNKNOWN" in orders[2]
    limits = [line.split()[0] for line in lines if "░" in line or "█" in line]
    assert limits == ["max_weight", "stale", "gross_leverage"]


def test_limits_and_health_stand_beside_each_other_where_there_is_room():
    assert any("Limit" in line and "Health" in line for line in drawn(BOOK, 100))
    assert not any("Limit" in line and "Health" in line for line in drawn(BOOK, 80))


def test_an_account_of_which_nothing_is_known_yet():
    text = "\n".join(drawn(EMPTY, 80))
    assert "No positions." in text
    assert "No limits are set." in text
    assert "equity – USD" in text
    assert "None" not in text
    assert "nan" not in text


def test_a_great_book_is_cut_and_counted():
    many = tuple(Held(symbol=f"S{k:03}", lots=k, notional=float(k)) for k in range(100))
    lines = drawn(msgspec.structs.replace(EMPTY, positions=many), 80)
    shown = [line.split()[0] for line in lines if line.startswith("S")]
    assert shown == [f"S{k:03}" for k in range(99, 99 - MOST, -1)]
    assert f"{MOST} of 100 positions, the largest are shown" in lines
    assert len([x for x in status_lines(msgspec.structs.replace(EMPTY, positions=many)) if x[:9] == "position "]) == 100


@pytest.mark.parametrize("width", [80, 100])
def test_nothing_that_is_shown_is_obeyed(width: int):
    nasty = "a\x1b[31m[bold]b[/bold]\r\nc\u202e"
    status = msgspec.structs.replace(
        EMPTY,
        account=nasty,
        spec=nasty,
        reason=nasty,
        positions=(Held(symbol="[red]X", lots=1),),
        health=(Check(name=nasty, well=False, said=nasty),),
        actions=(Act(ts=TS, said=nasty),),
        quarantined={nasty: nasty},
        decided=Decided(row=TS, wishes=(Wish(model=nasty, symbol=nasty, weight=1.0, why=nasty),)),
        limits=(LimitUse(name="x", of=nasty, measure=0.5, bound=1.0),),
    )
    text = "\n".join(drawn(status, width) + status_lines(status))
    assert not any(c in text for c in "\x1b\r\u202e")
    assert "[bold]b[/bold]" in text
    assert "[red]X" in text


def test_lines_are_for_grep():
    lines = status_lines(BOOK)
    for line in (
        "account paper: Four models, one book, at 2026-03-02T00:00:00Z",
        "state REDUCING: only what reduces risk is sent (unusual_gap of BTCEUR)",
        "equity 1,025,034 EUR day -1,204.25 (-0.12%) drawdown 2.51% gross 80.00% net -12.34%",
        "position ETHEUR: -2,500 lots at 2,000.5, mark 2,010, notional -50,250.00, unrealised -237.50",
        "position SHIBEUR: 9,000 lots at 0.00001234, mark –, notional –, unrealised –",
        "order T1-0000000007: buy 2,500 lots ETHEUR LIMIT at 1,990.5, 500 filled, PARTIALLY_FILLED since 4 m 10 s",
        "order T1-0000000008: sell 10 lots BTCEUR MARKET, 0 filled, UNKNOWN since 3 s",
        "limit max_weight BTCEUR: 41.20% of 40.00%, 103% used",
        "limit order_notional: – of 250,000, – used",
        "health feed: well: the last bar came 3 s ago",
        "health venue paper: NOT WELL: cannot be reached since 2026-03-01T23:58:00Z: connection refused",
        "decided 2026-03-01T23:00:00Z",
        "wish pairs_reversion SHIBEUR: abstains: no bar",
        "quarantined momentum: its step raised at 2026-03-01T00:00:00Z: division by zero",
        "action 2026-03-02T00:00:00Z: unusual_gap reduces the book",
    ):
        assert line in lines


def test_json_holds_all_of_it_and_what_follows():
    written = json.loads(json.dumps(to_json(BOOK), allow_nan=False))
    assert written["time"] == "2026-03-02T00:00:00.000Z"
    assert written["well"] is False
    assert [order["side"] for order in written["orders"]] == ["buy", "sell", "sell"]
    assert [limit["share"] for limit in written["limits"]] == pytest.approx([0.8, 1.03, 7 / 7.2, None])
    assert written["decided"]["wishes"][2]["weight"] is None
    assert set(msgspec.to_builtins(BOOK)) <= set(written)
    assert to_json(EMPTY)["decided"] is None


@pytest.mark.parametrize("status", [BOOK, EMPTY])
def test_it_is_stored_and_read_back(status: Status):
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "trading"),
        ({"state": "HALTED", "reason": "drawdown_halt"}, "nothing is sent but what reduces, until a person resumes it"),
        ({"state": "HALTED", "killed": True, "reason": "by hand"}, "killed: nothing is sent but what reduces"),
    ],
)
def test_the_state_in_words(changes: dict[str, Any], words: str):
    status = msgspec.structs.replace(EMPTY, **changes)
    assert state_in_words(status).startswith(words)
    assert status.reason in state_in_words(status)
    assert ("KILLED" if status.killed else status.state) in drawn(status, 80)[1]


@pytest.mark.parametrize(
    ("measure", "bound", "share"),
    [(-0.5, 1.0, 0.5), (math.nan, 1.0, None), (None, 1.0, None), (0.1, 0.0, math.inf), (0.0, 0.0, 0.0)],
)
def test_the_share_of_a_limit(measure: float | None, bound: float, share: float | None):
    use = LimitUse(name="heat", measure=measure, bound=bound)
    assert use.share == share
    status = msgspec.structs.replace(EMPTY, limits=(use,))
    drawn(status, 80)
    json.dumps(to_json(status), allow_nan=False)


def test_words_that_are_none_are_refused():
    with pytest.raises(TrimtabError, match="trading state 'LOST': expected one of ACTIVE, REDUCING, HALTED"):
        Status(ts=TS, account="a", spec="b", currency="USD", state="LOST")
    with pytest.raises(TrimtabError, match="order status 'GONE': expected one of PENDING_NEW"):
        Working(client_order_id="T", symbol="A", lots=1, filled=0, kind="MARKET", status="GONE", age=0.0)
