"""Page after page of a source: asked for with patience, kept on the disk, and every gap between pages looked into.

Time is split into windows at multiples of their length, so that equal pages are equal requests whatever the start. A
page that ends early proves nothing: a window is done when its last bar is there, or when the source has nothing after
what it gave. A page without any row is asked for twice before it is believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from trimtab.data import pages
from trimtab.data.sources import Refused, Request, Source, TryAgain
from trimtab.data.store import Store, _try_lock
from trimtab.types import DAY, HOUR, SECOND, TIMEFRAMES, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: ns after its end at which a window is taken to change no more.
_SETTLED: Final = HOUR
#: ns for which what a source says of a market is taken as it is.
_MARKET_AGE: Final = DAY
#: ns between two clocks from which it is worth a word.
_SKEW: Final = 5 * SECOND


def _silent(stage: str, done: int, total: int) -> None:
    pass


class Patience(NamedTuple):
    """How a source is asked.

    attempts  for each page
    pause     (first, longest) seconds between two attempts, where the source does not say; each doubles the one before
    longest   seconds for which a source may ask to be left alone before it is given up for this time
    again     ask for what is kept, too
    """

    attempts: int = 8
    pause: tuple[float, float] = (1.0, 60.0)
    longest: float = 300.0
    again: bool = False


class Pager:
    """One source's pages.

    clock  ns UTC by this machine; `now` is the source's, once it has told its own
    tell   progress(stage, done, total)
    asked, kept  pages that came over the network, and from the disk
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        patience: Patience | None = None,
        clock: Callable[[], int] = time.time_ns,
        tell: Callable[[str, int, int], None] = _silent,
    ) -> None:
        self.store, self.source, self.clock, self.tell = store, source, clock, tell
        self.patience = patience or Patience()
        self.ahead = self.asked = self.kept = 0
        self.used: list[Request] = []
        self._last, self._leaping = 0.0, True
        self._stage = ("", 0, 0)

    def now(self) -> int:
        """ns UTC by the source's clock."""
        return self.clock() + self.ahead

    @property
    def skew(self) -> str:
        """What to say where the two clocks differ; empty: nothing."""
        if abs(self.ahead) < _SKEW:
            return ""
        side = "behind" if self.ahead > 0 else "ahead of"
        return f"this machine's clock is {abs(self.ahead) / SECOND:.0f} s {side} {self.source.name}'s, which was taken"

    def market(self, symbol: str) -> bytes:
        """What the source says of a symbol, at most a day old, or older where the source cannot be reached."""
        request = self.source.request_for(symbol)
        if request is None:
            return b""
        kept = pages.find_page(self.store, self.source.name, request)
        if kept is not None and time.time_ns() - kept.at < _MARKET_AGE and not self.patience.again:
            return kept.body
        try:
            body, at, _ = self._ask(request)
        except Refused:
            raise
        except TrimtabError:
            if kept is None:
                raise
            return kept.body
        pages.keep_page(self.store, self.source.name, request, pages.Kept(body, at))
        return body

    def rows(self, what: str, market: str, timeframe: str, start: int, end: int) -> pl.DataFrame:
        """All rows from one instant until before another (ns UTC), as they came: with asked_at, unsorted, some twice.

        Of bars, those that could have closed by now.
        """
        import polars as pl

        window = self.source.window(what, timeframe)
        step = TIMEFRAMES[timeframe] if what == "bars" else 1_000
        found: list[pl.DataFrame] = []
        self._leaping = True
        at = first = start // window * window
        while at < (horizon := self._horizon(what, end, step)):
            self._stage = (f"{market} {timeframe or what}", (at - first) // window, -(-(horizon - first) // window))
            self.tell(*self._stage)
            since, then, seen = max(at, start), at + window, 0
            while since < min(at + window, self._horizon(what, end, step)):
                page = self.page(Request(what, market, timeframe, since, at + window))
                times = page[page.columns[0]].dt.timestamp("ns").to_numpy()
                later = times[times >= since]
                if not len(later) or int(later.min()) >= at + window:  # nothing here, or the source heeds no end
                    then = at + window if seen else self._over_a_hole(what, market, timeframe, since, at + window)
                    break
                found.append(page)
                seen, since = seen + len(later), int(later.max()) + step
            at = then
        return pl.concat(found) if found else pl.DataFrame()

    def _over_a_hole(self, what: str, market: str, timeframe: str, since: int, after: int) -> int:
        """Where to go on after an empty window: the next one, or that of the first bar that the source then has.

        Some sources answer a question without an end with their newest bars. So a leap counts only if the window before
        its end is empty, too; and where one leads nowhere, no other is tried.
        """
        if not (self.source.leaps and self._leaping and what == "bars"):
            return after
        window = self.source.window(what, timeframe)
        ahead = self.page(Request(what, market, timeframe, since, 0))
        times = ahead["open_time"].dt.timestamp("ns").to_numpy()
        later = times[times >= since]
        there = int(later.min()) // window * window if len(later) else after
        if there <= after:
            self._leaping = bool(len(later))
            return after
        before = self.page(Request(what, market, timeframe, there - window, there))
        times = before["open_time"].dt.timestamp("ns").to_numpy()
        self._leaping = not ((times >= there - window) & (times < there)).any()
        return there if self._leaping else after

    def _horizon(self, what: str, end: int, step: int) -> int:
        """Only what opens before this instant is worth a request."""
        return min(end, self.now() - self.source.delay - step + 1) if what == "bars" else min(end, self.now())

    def page(self, request: Request) -> pl.DataFrame:
        """The rows of one page, with asked_at: from the disk if it is kept there, else over the network."""
        name = self.source.name
        self.used.append(request)
        kept = None if self.patience.again else pages.find_page(self.store, name, request)
        if kept is not None:
            try:
                frame = self._read(request, kept.body)
                self.kept += 1
                return _dated(frame, kept.at)
            except TryAgain:  # kept by another version of us
                pages.drop_page(self.store, name, request)
        body, at, frame = self._ask(request)
        if request.end <= self.now() - self.source.delay - _SETTLED and (request.end or len(frame)):
            if frame.is_empty():
                body, at, frame = self._ask(request)
            pages.keep_page(self.store, name, request, pages.Kept(body, at))
        return _dated(frame, at)

    def _ask(self, request: Request) -> tuple[bytes, int, pl.DataFrame]:
        """A page over the network: body, when it came (ns by this machine), and its rows."""
        try:
            import stamina
            from stamina.instrumentation import set_on_retry_hooks
        except ImportError:
            raise TrimtabError("downloads need what is not installed: pip install 'trimtab[download]'") from None
        set_on_retry_hooks([])  # they would write logs; who waits is told by `tell`
        first, longest = self.patience.pause
        attempts = stamina.retry_context(
            self._pause_after, attempts=self.patience.attempts, timeout=None, wait_initial=first, wait_max=longest,
            wait_jitter=first,
        )  # fmt: skip
        try:
            for attempt in attempts:
                with attempt:
                    return self._ask_once(request)
        except TryAgain as error:
            wish = f", and wants to be left alone for {error.pause:.0f} s" if error.pause else ""
            raise TrimtabError(
                f"{error}{wish}: given up for now. The pages that came are kept: run the command again later, and it "
                "goes on from there"
            ) from None
        raise AssertionError

    def _pause_after(self, error: Exception) -> bool | float:
        if not isinstance(error, TryAgain) or error.pause > self.patience.longest:
            return False
        stage, done, total = self._stage
        self.tell(f"{stage}: {error}; waiting", done, total)
        return error.pause or True

    def _ask_once(self, request: Request) -> tuple[bytes, int, pl.DataFrame]:
        left = self._last + self.source.pace - time.monotonic()
        if left > 0:
            time.sleep(left)
        self._last = time.monotonic()
        answer = self.source.ask(request)
        at = time.time_ns()
        frame = self._read(request, answer.body)
        self.asked += 1
        if answer.now:
            self.ahead = answer.now - self.clock()
        return answer.body, at, frame

    def _read(self, request: Request, body: bytes) -> pl.DataFrame:
        try:
            return self.source.read(request, body)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise TryAgain(
                f"{self.source.name} gave a page that cannot be read ({type(error).__name__}: {str(error)[:100]})"
            ) from None


def _dated(frame: pl.DataFrame, at: int) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.lit(at, pl.Int64).alias("asked_at"))


@contextmanager
def alone(store: Store, source: str) -> Generator[None]:
    """One download of a source into a store at a time: two would share its rate limit, and each other's pages."""
    path = pages.path_of(store, source, Request("", "")).parents[1] / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        if not _try_lock(file.fileno()):
            raise TrimtabError(f"another download from {source} is writing to {store.root}: try again when it is done")
        for part in path.parent.glob("*/.*.part"):  # of one that was killed while it wrote
            part.unlink(missing_ok=True)
        yield
