"""The simulated exchange at the end of a line: in this process, with faults on the way if they are asked for.

A fault plan is drawn from a seed, so that a drill can be run again. What a faulty line does, a real one does too: it
loses an order or the answer to it, delays, repeats and mixes up what is reported, or is cut for a while.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from trimtab.types import F64, TrimtabError
from trimtab.venues import Ambiguous, Cancel, Crossed, Order_, Report, Snapshot, Submit, Unreachable
from trimtab.venues.paper import PaperVenue


class Faults(NamedTuple):
    """Probabilities of what goes wrong on the way, each between 0 and 1; all 0: nothing.

    lost          an order or a cancel does not arrive, and nobody knows
    unanswered    it arrives, and the answer is lost
    dropped       a report is never sent; only who asks hears of it
    delayed       a report comes a row later
    repeated      it comes twice
    mixed         the reports of a row come in another order
    cut           the line is cut after a row, for `cut_rows` rows
    """

    lost: float = 0.0
    unanswered: float = 0.0
    dropped: float = 0.0
    delayed: float = 0.0
    repeated: float = 0.0
    mixed: float = 0.0
    cut: float = 0.0
    cut_rows: int = 3


#: A fire drill: everything, often enough that an hour of it shows all.
DRILL: Final = Faults(0.05, 0.05, 0.05, 0.05, 0.05, 0.1, 0.01, 3)


class PaperLink:
    """A PaperVenue as the engine's rim uses it.

    faults  what the line does to it, drawn from `seed`; it may be changed at any time
    cut     rows for which nothing comes through
    """

    def __init__(self, venue: PaperVenue, faults: Faults | None = None, seed: int = 0) -> None:
        self.venue = venue
        self.faults = faults
        self.cut = 0
        self._draw = random.Random(seed)  # nosec B311  # not for secrets
        self._late: list[Report] = []
        self._told: asyncio.Queue[Report] = asyncio.Queue()
        #: Times that each fault has struck.
        self.struck: dict[str, int] = dict.fromkeys(Faults._fields[:-1], 0)

    async def send(self, command: Order_) -> list[Report]:
        self._reach()
        if not isinstance(command, (Submit, Cancel)) or command.slot != 0:
            return self.venue.send(command)
        if self._strikes("lost"):
            raise Ambiguous(f"{command.cid}: no answer")
        reports = self.venue.send(command)
        if self._strikes("unanswered"):
            raise Ambiguous(f"{command.cid}: no answer")
        return reports

    async def row(self, ts: int, bars: F64) -> list[Report]:
        reports = self.venue.row(ts, bars)
        if self.cut > 0:
            self.cut -= 1
            raise Unreachable("the line is cut")
        if self.faults is None:
            return reports
        if self._strikes("cut"):
            self.cut = self.faults.cut_rows
        return self._spoiled(reports)

    def _spoiled(self, reports: list[Report]) -> list[Report]:
        """What comes through of the reports of a row. What is simulated of the market itself always does."""
        found, self._late = self._late, []
        for report in reports:
            if isinstance(report, Crossed):
                found.append(report)
            elif self._strikes("dropped"):
                continue
            elif self._strikes("delayed"):
                self._late.append(report)
            else:
                found.append(report)
                if self._strikes("repeated"):
                    found.append(report)
        if len(found) > 1 and self._strikes("mixed"):
            self._draw.shuffle(found)
        return found

    async def ask(self, cid: str) -> list[Report]:
        self._reach()
        return self.venue.ask(cid)

    async def since(self, trade_id: str) -> list[Report]:
        self._reach()
        return self.venue.since(trade_id)

    async def snapshot(self) -> Snapshot:
        self._reach()
        return self.venue.snapshot()

    async def reports(self) -> AsyncIterator[Report]:
        """What was left with `tell`: of itself the simulated exchange speaks when a row has closed."""
        while True:
            yield await self._told.get()

    def tell(self, report: Report) -> None:
        """Let the line say something of its own accord."""
        self._told.put_nowait(report)

    def _reach(self) -> None:
        if self.cut > 0:
            raise Unreachable("the line is cut")

    def _strikes(self, fault: str) -> bool:
        if self.faults is None:
            return False
        struck = self._draw.random() < getattr(self.faults, fault)
        self.struck[fault] += struck
        return struck


def check_faults(faults: Faults) -> None:
    """TrimtabError for a probability that is none."""
    for name, value in faults._asdict().items():
        if name != "cut_rows" and not 0.0 <= value <= 1.0:
            raise TrimtabError(f"fault {name} is {value:g}: expected a probability from 0 to 1")
