"""What compiled code finds at an address is the account itself."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from trimtab.rules.book import Setup, Style, new_log, open_book, terms_of
from trimtab.rules.bound import Bound
from trimtab.rules.reports import accept, report_cash
from trimtab.rules.tape import Tape, live_setup
from trimtab.types import BAR_FIELDS, GTC, HOUR, MARKET, Costs, Instrument, Limits, Order, TrimtabError

INSTRUMENTS = tuple(Instrument(symbol=s, lot_size=0.01) for s in "ABC")


def account(models: int = 2, **limits: float):
    terms = terms_of(INSTRUMENTS, (Costs(),) * 3)
    setup = live_setup(Setup(terms, Limits(**limits), Style(MARKET, 0.0, GTC, 0, 0, 0, 0.0, 1), 1_000.0, models))
    tape = Tape(BAR_FIELDS, setup, HOUR, np.empty(0, np.int64))
    book = open_book(1_000.0, terms, models)
    return book, new_log(4, 3, models, 0, np.empty(0, np.int64)), tape, setup


def test_what_is_done_at_the_address_is_done_to_the_account():
    book, log, tape, setup = account(gross_leverage=2)  # a whole number, where a fraction is usual
    bound = Bound(book, log, tape.market, setup)
    tape.lay(HOUR, np.full((3, 6), 100.0))
    report_cash(bound.address, 0, 0, 250.0)
    assert book.cash[0] == 1_250.0
    accept(bound.address, 0, Order(7, HOUR, 2, 5, MARKET, np.nan, np.nan, GTC, 0, 0, 0))
    assert book.orders[2, 0]["order_id"] == 7
    assert book.positions["live"].tolist() == [0, 0, 1]
    assert book.head[0]["orders"] == 7


def test_two_accounts_do_not_meet():
    one, other = account(), account()
    at = [Bound(book, log, tape.market, setup) for book, log, tape, setup in (one, other)]
    one[2].lay(HOUR, np.full((3, 6), 100.0))
    report_cash(at[0].address, 0, 0, 1.0)
    assert (one[0].cash[0], other[0].cash[0]) == (1_001.0, 1_000.0)


def test_a_copy_is_bound_to_what_was_copied_with_it():
    book, log, tape, setup = account()
    tape.lay(HOUR, np.full((3, 6), 100.0))
    bound = Bound(book, log, tape.market, setup)
    other, again = copy.deepcopy((book, bound))
    report_cash(again.address, 0, 0, 5.0)
    assert (book.cash[0], other.cash[0]) == (1_000.0, 1_005.0)
    with pytest.raises(TrimtabError, match="bind again"):
        pickle.dumps(bound)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.zeros(3, np.float32), "float32"),
        (np.zeros((3, 2)), "2 axes"),
        (np.zeros(6)[::2], "contiguous"),
    ],
)
def test_memory_of_another_kind_is_refused(column: np.ndarray, said: str):
    book, log, tape, setup = account()
    with pytest.raises(TrimtabError, match=said):
        Bound(book._replace(unit=column), log, tape.market, setup)
