"""The kill switch as a file: on, off, and on where nobody can tell; and the gate that obeys it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trimtab import killswitch
from trimtab.rules.book import Setup, Style, new_log, open_book, terms_of
from trimtab.rules.breakers import judge, kill
from trimtab.rules.decide import decide, is_due
from trimtab.rules.trade import trade
from trimtab.sim.market import build_market
from trimtab.sim.setup import complete
from trimtab.types import BAR_FIELDS, GTC, HOUR, MARKET, Costs, Instrument, Limits, Panel, Weights


def test_it_is_off_where_there_is_nothing(tmp_path: Path) -> None:
    assert killswitch.thrown(tmp_path) is None
    assert killswitch.thrown(tmp_path / "nowhere") is None


def test_it_says_why_and_keeps_the_first_reason(tmp_path: Path) -> None:
    path = killswitch.throw(tmp_path / "state", "prices look\nwrong")
    assert killswitch.thrown(tmp_path / "state") == "prices look wrong"
    assert killswitch.throw(tmp_path / "state", "again") == path
    assert killswitch.thrown(tmp_path / "state") == "prices look wrong"
    path.unlink()
    assert killswitch.thrown(tmp_path / "state") is None


def test_any_file_of_that_name_counts(tmp_path: Path) -> None:
    (tmp_path / killswitch.NAME).touch()
    assert killswitch.thrown(tmp_path) == "no reason given"
    (tmp_path / killswitch.NAME).write_bytes(b"\xff\xfe" + b"x" * 10_000)
    assert len(killswitch.thrown(tmp_path) or "") <= 500


def test_what_cannot_be_read_is_on(tmp_path: Path) -> None:
    (tmp_path / killswitch.NAME).mkdir()
    assert "cannot be read" in (killswitch.thrown(tmp_path) or "")


def test_the_gate_obeys_it_until_the_end(tmp_path: Path) -> None:
    """Thrown between the closes of rows 3 and 4, by hand: decided at row 4, flat at the open of row 5, for good."""
    values = np.full((9, 1, len(BAR_FIELDS)), 100.0)
    values[:, :, 4], values[:, :, 5] = 1e9, HOUR
    instruments = (Instrument(symbol="A", lot_size=1.0),)
    market = build_market(Panel(HOUR * np.arange(1, 10, dtype=np.int64), instruments, BAR_FIELDS, values, "1h"))
    terms = terms_of(instruments, (Costs(),))
    setup = complete(Setup(terms, Limits(), Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 0), 1_000.0, 1), market)
    rows, zero = np.array([0, 6]), np.zeros(2, np.int64)
    weights = Weights(rows, zero, zero, np.array([0.5, 0.7]))
    book, log = open_book(1_000.0, terms, 1), new_log(100, 1, 1, 0, np.empty(0, np.int64))
    held = []
    for t in range(9):
        trade(book, log, market, setup, t, bool((setup.stamps == t).any()))
        forced = judge(book, log, market, setup, t)
        if killswitch.thrown(tmp_path) is not None and not book.head["killed"][0]:
            kill(book, log, t, market.ts[t], 1)
        if is_due(book.head[0], weights, t, forced):
            decide(book, log, weights, market, setup, t, forced)
        held.append(int(book.positions["lots"][0]))
        if t == 3:
            (tmp_path / killswitch.NAME).write_text("enough\n")
    assert held == [0, 5, 5, 5, 5, 0, 0, 0, 0]
