"""Allocators as their days close, one grid row at a time: what `research.allocation` says of a whole panel."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.portfolio.allocators import find_allocator, shares_at
from trimtab.schedule import crossed
from trimtab.types import DAY, F64, I64, SECOND, AllocatorUse, NotEnoughData, Refusal

#: The number of the book where a refusal names the model whose budget was to be split.
BOOK: Final = -1


class Looked(NamedTuple):
    """A look of an allocator: the model whose budget it splits, or BOOK; the shares (K,) from then on; and why the
    window could not be split, where it could not."""

    model: int
    share: F64
    refusal: Refusal | None


class Split:
    """One allocator over K parts: returns of the last days, looks at them, and the shares from the last look."""

    def __init__(self, use: AllocatorUse, model: int, count: int) -> None:
        self.use, self.model = use, model
        self._allocator, self._window, self._every = find_allocator(use.name), use.window, round(use.every * SECOND)
        self._days: list[F64] = []
        self._count = count
        self.share: F64 | None = None  # (K,); None before the first look
        self.looked: Looked | None = None  # at the last row; who does not ask at once has missed it
        self._warm()

    def _warm(self) -> None:
        """Import what the allocator needs now: the first look must not wait seconds for a library."""
        days, parts = np.arange(1.0, self._window + 1.0), np.arange(1.0, self._count + 1.0)
        with contextlib.suppress(NotEnoughData):
            shares_at(self._allocator, 0.01 * np.sin(np.outer(days, np.sqrt(parts))))

    def add(self, returns: F64) -> None:
        """A day (K,) is over."""
        self._days.append(returns)
        del self._days[: -self._window]

    def look(self, before: int, ts: int) -> Refusal | None:
        """What the row at ts, after the one at `before`, asks for; a window that could not be split is a refusal."""
        self.looked = None
        if len(self._days) < self._window or not crossed(before, ts, self._every):
            return None
        refusal = None
        try:
            self.share = shares_at(self._allocator, np.array(self._days))
        except NotEnoughData as error:
            if self.share is None:
                self.share = np.full(self._count, 1.0 / self._count)
            refusal = Refusal(ts, str(error))
        self.looked = Looked(self.model, self.share, refusal)
        return refusal

    def save(self) -> Any:
        return [self._days, self.share]

    def load(self, saved: Any) -> None:
        self._days, self.share = saved


class Days:
    """The UTC days of the grid: a row at 00:00 ends the day before it; else the last row of a day does."""

    def __init__(self, splits: Sequence[tuple[Split, I64]], book: Split | None, budgets: Sequence[float]) -> None:
        """splits: of models, each with its instruments (K,); book: over the models with their budgets"""
        self._splits, self._book, self._budgets = splits, book, budgets
        self._marks: F64 | None = None  # of the row before
        self._ended: F64 | None = None  # marks at the last day's end
        self._open = False  # are there rows of a day that has not ended?
        self._earned: list[F64] = []  # of each row of the day, what every standing weight earned

    def advance(self, before: int | None, ts: int, marks: F64, held: F64, at: I64, model: I64) -> list[Any]:
        """Read a row; -> (Refusal, model) of what could not be split.

        held       (J,) weights in force until this row, those of a model one after the other; only the book's allocator
                   asks for them
        at, model  (J,) instruments and models of these
        """
        if self._open and before is not None and (ts - 1) // DAY != (before - 1) // DAY:
            self._end(model)
        if self._book is not None:
            self._earned.append(held * self._moved(marks)[at])
        self._marks, self._open = marks.copy(), True
        if ts % DAY == 0:
            self._end(model)
        refused: list[Any] = []
        if before is not None:
            for split in (*((self._book,) if self._book else ()), *(split for split, _ in self._splits)):
                refusal = split.look(before, ts)
                refused += [(refusal, split.model)] if refusal else []
        return refused

    def _moved(self, marks: F64) -> F64:
        if self._marks is None:
            return np.zeros(len(marks))
        known, last = np.where(marks > 0.0, marks, np.nan), np.where(self._marks > 0.0, self._marks, np.nan)
        return np.nan_to_num(known / last - 1.0)

    def _end(self, model: I64) -> None:
        """The day of the last row is over. Nothing is known of the first, which began before the first row."""
        marks = self._marks
        if marks is None:
            return
        if self._ended is not None:
            now, then = np.where(marks > 0.0, marks, np.nan), np.where(self._ended > 0.0, self._ended, np.nan)
            for split, at in self._splits:
                split.add(now[at] / then[at] - 1.0)
            if self._book is not None:
                self._book.add(self._of_models(model))
        self._ended, self._open, self._earned = marks, False, []

    def _of_models(self, model: I64) -> F64:
        """(M,) what the day's standing weights earned over each model's budget, added up as a whole panel's are."""
        earned = np.ascontiguousarray(np.array(self._earned).T)  # (J, rows)
        first = earned.shape[1] * np.arange(len(earned))
        whole = np.add.reduceat(earned.ravel(), first)
        found = np.zeros(len(self._budgets))
        for j, m in enumerate(model.tolist()):
            found[m] += whole[j] / self._budgets[m]
        return found

    def save(self) -> Any:
        splits = [split.save() for split, _ in self._splits]
        return [splits, self._book.save() if self._book else None, self._marks, self._ended, self._open, self._earned]

    def load(self, saved: Any) -> None:
        splits, book, self._marks, self._ended, self._open, self._earned = saved
        for (split, _), own in zip(self._splits, splits, strict=True):
            split.load(own)
        if self._book is not None:
            self._book.load(book)
