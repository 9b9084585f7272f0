"""Download: history of a source into the store, whole or not at all, and later what is new of it.

A series is written once all its pages are there. What a kill or a dead connection leaves behind are pages, and the
next run begins with them. A bar that is still open, by the source's clock, is never stored.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from trimtab.data import events, macro, pages
from trimtab.data.importing import BadBars, Imported, import_frame
from trimtab.data.importing import Source as FileSource
from trimtab.data.paging import Pager
from trimtab.data.sources import Listing
from trimtab.data.store import (
    COLUMNS,
    EXTRAS,
    Store,
    _displaced,
    _locked,
    _write_atomically,
    coverage,
    instruments,
    read_bars,
    timeframes,
)
from trimtab.data.validation import validate
from trimtab.types import DAY, TIMEFRAMES, Instrument, NotEnoughData, TrimtabError

if TYPE_CHECKING:
    import polars as pl

#: Bars before the last stored one at which an update begins: what a venue revised lately is seen.
_OVERLAP: Final = 100
_LISTED: Final = 3


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a stored series came from: what `update` needs to know.

    symbol     ours; market is the source's name for it
    timeframe  empty: a series that nobody trades
    start      ns UTC
    """

    source: str
    market: str
    symbol: str
    timeframe: str
    start: int


class Span(NamedTuple):
    """From an instant until before another: open_time, ns UTC."""

    start: int
    end: int = 2**62


class Downloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a download came to.

    new, revised  bars that were not there; bars that were, with other numbers
    asked, kept   pages over the network, and from the disk
    events        splits and dividends that are stored of the instrument
    """

    origin: Origin
    rows: int
    first: str
    last: str
    new: int
    revised: int
    asked: int
    kept: int
    events: int = 0
    notes: tuple[str, ...] = ()
    imported: Imported | None = None


def origins(store: Store) -> tuple[Origin, ...]:
    """All series that were downloaded into a store."""
    path = store.root / "downloads.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Origin, ...])
    except FileNotFoundError:
        return ()
    except msgspec.DecodeError as error:
        raise TrimtabError(f"{path}: not readable ({error}); remove it and download again") from None


def find(pager: Pager, name: str, venue: str = "") -> Listing:
    """What a user's name of a market is: `BTC/USDT`, or `OURS=BTC/USDT` for a name of one's own.

    venue  where it is traded, if not where the source says
    """
    ours, equals, market = name.rpartition("=")
    listing = pager.source.listing(market, pager.market(market))
    symbol, instrument = (ours if equals else listing.symbol), listing.instrument
    if instrument is not None:
        instrument = msgspec.structs.replace(instrument, symbol=symbol, venue=venue or instrument.venue)
    return msgspec.structs.replace(listing, symbol=symbol, instrument=instrument)


def download(pager: Pager, listing: Listing, timeframe: str, span: Span) -> Downloaded:
    """The bars of a listing into the store, beside those that are there.

    timeframe  of the source's; ignored for a series that nobody trades

    NotEnoughData: there are none. TrimtabError: the source refuses or does not answer, or the series in the store came
    from another source; nothing is stored then.
    """
    pager.asked = pager.kept = 0
    pager.used.clear()
    if listing.instrument is None:
        return _download_series(pager, listing, span)
    known = pager.source.timeframes
    if timeframe not in known:
        raise TrimtabError(f"{pager.source.name} has no bars of {timeframe}: it has {', '.join(known)}")
    instrument = _as_stored(pager.store, listing.instrument, timeframe)
    origin = Origin(pager.source.name, listing.market, listing.symbol, timeframe, span.start)
    origin = _joined(pager.store, origin)
    rows = pager.rows("bars", listing.market, timeframe, *span)
    if rows.is_empty():
        raise _nothing(pager, listing, timeframe, span)
    if pager.asked == 0 and (there := _already_there(pager, instrument, origin, rows, span)) is not None:
        return there
    beside = {what: _beside(pager, what, listing, span.start) for what in pager.source.beside(listing)}
    return _store(pager, listing, instrument, origin, rows, {w: f for w, f in beside.items() if len(f)}, span)


def update(pager: Pager, origin: Origin) -> Downloaded:
    """What is new of a series that was downloaded before, and what was revised in its last bars."""
    if not origin.timeframe:
        lag = macro.all_series(pager.store)[origin.symbol].lag
        return download(pager, Listing(origin.symbol, origin.market, None, lag), "", Span(origin.start))
    listing = find(pager, f"{origin.symbol}={origin.market}", _venue_of(pager.store, origin.symbol))
    start = origin.start
    if listing.instrument is not None:
        stored = _as_stored(pager.store, listing.instrument, origin.timeframe)
        if origin.timeframe in timeframes(pager.store, stored):
            last = coverage(pager.store, stored, origin.timeframe)[1]
            start = max(start, _ns(last) - _OVERLAP * TIMEFRAMES[origin.timeframe])
    return download(pager, listing, origin.timeframe, Span(start))


def _venue_of(store: Store, symbol: str) -> str:
    return next((i.venue for i in instruments(store) if i.symbol == symbol), "")


def _beside(pager: Pager, what: str, listing: Listing, start: int) -> pl.DataFrame:
    """Funding, or splits and dividends, until now: what happened after the last bar may say how its price is meant."""
    import polars as pl

    rows = pager.rows(what, listing.market, "", start, pager.now())
    # Vendors announce what is to come; it becomes an event on its day.
    return rows.filter(pl.col("ts").dt.timestamp("ns") <= pager.now()) if len(rows) else rows


def _store(
    pager: Pager, listing: Listing, instrument: Instrument, origin: Origin, rows: pl.DataFrame,
    beside: dict[str, pl.DataFrame], span: Span,
) -> Downloaded:  # fmt: skip
    import polars as pl

    store, timeframe = pager.store, origin.timeframe
    times = pl.col("open_time").dt.timestamp("ns")
    latest = pager.now() - pager.source.delay - TIMEFRAMES[timeframe]
    rows = rows.filter((times >= span.start) & (times < span.end) & (times <= latest))
    newest = rows.sort("open_time", "asked_at").unique("open_time", keep="last", maintain_order=True)
    twice = rows.select(COLUMNS).unique().height - newest.height
    if newest.is_empty():
        raise _nothing(pager, listing, timeframe, span)
    whole = pager.source.whole(newest, beside, timeframe)
    frame, new, revised = _merged(store, instrument, timeframe, whole.bars)
    kept = events.merge_events(store, instrument, whole.events) if whole.events is not None else 0
    named = FileSource(path=Path(f"{pager.source.name} {listing.market} {timeframe}.parquet"))
    try:
        done = import_frame(store, frame, instrument, timeframe, now=pager.now(), replace=True, source=named)
    except BadBars as error:
        for request in pager.used:
            pages.drop_page(store, pager.source.name, request)
        raise BadBars(
            str(error).rpartition("\n")[0] + "\nThis is what the source has: try again later, or take another source.",
            error.report,
        ) from None
    _record(store, origin)
    notes = [*listing.notes, *_notes(pager, frame, span, timeframe, revised, twice)]
    return Downloaded(
        origin=origin, rows=len(frame), first=done.first, last=done.last, new=new, revised=len(revised) + twice,
        asked=pager.asked, kept=pager.kept, events=kept, notes=tuple(notes), imported=done,
    )  # fmt: skip


def _already_there(
    pager: Pager, instrument: Instrument, origin: Origin, rows: pl.DataFrame, span: Span
) -> Downloaded | None:
    """The stored series, where no page is younger than it and none has a bar that it lacks; None: there is work."""
    import polars as pl

    store, timeframe = pager.store, origin.timeframe
    path = store.path_of(instrument, timeframe)
    if not path.exists() or path.stat().st_mtime_ns < int(rows.select(pl.max("asked_at")).item()):
        return None
    times = pl.col("open_time").dt.timestamp("ns")
    frame = read_bars(store, instrument, timeframe)
    wanted = rows.filter((times >= span.start) & (times < span.end))
    if len(wanted.join(frame, on="open_time", how="anti")):
        return None
    _record(store, origin)
    first, last = (f"{frame['open_time'][i]:%Y-%m-%dT%H:%MZ}" for i in (0, -1))
    report = validate(frame, timeframe, instrument.calendar, now=pager.now())
    return Downloaded(
        origin=origin, rows=len(frame), first=first, last=last, new=0, revised=0, asked=0, kept=pager.kept,
        events=len(events.read_events(store, instrument)), notes=tuple(_notes(pager, frame, span, timeframe, [], 0)),
        imported=Imported(instrument, timeframe, len(frame), first, last, (), report),
    )  # fmt: skip


def _notes(
    pager: Pager, frame: pl.DataFrame, span: Span, timeframe: str, revised: list[dt.datetime], twice: int
) -> list[str]:
    notes: list[str] = []
    if revised:
        listed = ", ".join(f"{at:%Y-%m-%dT%H:%MZ}" for at in revised[:_LISTED])
        more = f" and {len(revised) - _LISTED} more" if len(revised) > _LISTED else ""
        notes.append(
            f"{len(revised):,} stored bars were revised by the source, the newer ones were taken: {listed}{more}"
        )
    if twice:
        notes.append(f"{twice:,} bars differed between two pages, the later ones were taken")
    first = _ns(frame["open_time"][0])
    if first - span.start > max(4 * DAY, TIMEFRAMES[timeframe]):
        notes.append(f"{pager.source.name} has no bars before {frame['open_time'][0]:%Y-%m-%d}")
    return [*notes, *([pager.skew] if pager.skew else [])]


def _merged(
    store: Store, instrument: Instrument, timeframe: str, new: pl.DataFrame
) -> tuple[pl.DataFrame, int, list[dt.datetime]]:
    """Stored and new bars as one, how many were not there, and those that were there with other numbers.

    Of a bar that is in both the one that came later counts: a page may be older than what is stored.
    """
    import polars as pl

    path = store.path_of(instrument, timeframe)
    extras = [name for name in EXTRAS if name in new.columns]
    if not path.exists():
        return new.select(*COLUMNS, *extras), len(new), []
    since = path.stat().st_mtime_ns
    stored = read_bars(store, instrument, timeframe)
    extras = [name for name in EXTRAS if name in new.columns or name in stored.columns]
    missing = [pl.lit(None, pl.Float64).alias(name) for name in extras if name not in stored.columns]
    stored = stored.with_columns(*missing, there=pl.lit(value=True))
    missing = [pl.lit(None, pl.Float64).alias(name) for name in extras if name not in new.columns]
    both = stored.join(new.with_columns(missing), on="open_time", how="full", coalesce=True, suffix="_new").sort(
        "open_time"
    )
    there = pl.col("there").fill_null(value=False)
    later = (pl.col("asked_at") > since).fill_null(value=False) | ~there
    numbers = COLUMNS[1:]
    differs = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_new")) for c in numbers)
    revised = both.filter(there & later & differs)["open_time"].to_list()
    frame = both.select(
        "open_time",
        *(pl.when(later).then(f"{c}_new").otherwise(c).alias(c) for c in numbers),
        *(
            pl.when(later).then(pl.coalesce(f"{c}_new", c)).otherwise(pl.coalesce(c, f"{c}_new")).alias(c)
            for c in extras
        ),
    )
    return frame, int(both.select((~there).sum()).item()), revised


def _download_series(pager: Pager, listing: Listing, span: Span) -> Downloaded:
    """A series that nobody trades. Its values may be revised for years: the later ones are taken."""
    import polars as pl

    store, name = pager.store, listing.symbol
    if any(i.symbol == name for i in instruments(store)):
        raise TrimtabError(f"{name} is an instrument of the store: name the series otherwise, such as {name}_M={name}")
    origin = _joined(store, Origin(pager.source.name, listing.market, name, "", span.start))
    rows = pager.rows("values", listing.market, "", *span)
    if rows.is_empty():
        raise _nothing(pager, listing, "", span)
    times = pl.col("open_time").dt.timestamp("ns")
    new = rows.filter((times >= span.start) & (times < span.end)).sort("open_time", "asked_at")
    new = new.unique("open_time", keep="last", maintain_order=True)
    fresh, revised, frame = len(new), 0, new
    if name in macro.all_series(store):
        old = macro.read_series(store, name)
        since = macro.path_of(store, name).stat().st_mtime_ns
        both = old.join(new, on="open_time", how="full", coalesce=True, suffix="_new").sort("open_time")
        later = (pl.col("asked_at") > since).fill_null(value=False) | pl.col("close").is_null()
        changed = later & pl.col("close").is_not_null() & (pl.col("close") != pl.col("close_new"))
        fresh, revised = int(both["close"].is_null().sum()), both.filter(changed).height
        frame = both.select("open_time", pl.when(later).then("close_new").otherwise("close").alias("close"))
    macro.write_series(store, name, frame, macro.Series(pager.source.name, listing.lag))
    _record(store, origin)
    notes = [f"usable {listing.lag / DAY:g} days after its date label", *listing.notes]
    notes += [f"{revised:,} stored values were revised by the source"] if revised else []
    first, last = (f"{frame['open_time'][i]:%Y-%m-%dT%H:%MZ}" for i in (0, -1))
    return Downloaded(
        origin=origin, rows=len(frame), first=first, last=last, new=fresh, revised=revised, asked=pager.asked,
        kept=pager.kept, notes=tuple(notes),
    )  # fmt: skip


def _as_stored(store: Store, instrument: Instrument, timeframe: str) -> Instrument:
    """The stored instrument of that symbol, whose rules may be the user's; TrimtabError where it is another one."""
    known = {i.symbol: i for i in instruments(store)}
    _displaced(store, known, instrument, timeframe, False)
    old = known.get(instrument.symbol)
    if old is not None and old.kind != instrument.kind:
        raise TrimtabError(
            f"{instrument.symbol} is stored as {old.kind}, and the source's is {instrument.kind}: give it a name of "
            f"its own, such as --symbols {instrument.symbol}2=…"
        )
    return old or instrument


def _joined(store: Store, origin: Origin) -> Origin:
    """The origin with the earlier of its starts; TrimtabError where the series came from elsewhere."""
    for old in origins(store):
        if (old.symbol, old.timeframe) == (origin.symbol, origin.timeframe):
            if (old.source, old.market) != (origin.source, origin.market):
                raise TrimtabError(
                    f"{old.symbol} {old.timeframe} was downloaded from {old.source} ({old.market}), and sources are "
                    f"not mixed: give this one a name of its own, such as --symbols {old.symbol}.{origin.source}="
                    f"{origin.market}"
                )
            return msgspec.structs.replace(origin, start=min(old.start, origin.start))
    return origin


def _record(store: Store, origin: Origin) -> None:
    with _locked(store):
        known = {(o.symbol, o.timeframe): o for o in origins(store)}
        if known.get((origin.symbol, origin.timeframe)) == origin:
            return
        known[origin.symbol, origin.timeframe] = origin
        text = msgspec.json.format(msgspec.json.encode([known[key] for key in sorted(known)]), indent=1)
        _write_atomically(store.root / "downloads.json", lambda path: path.write_bytes(text))


def _nothing(pager: Pager, listing: Listing, timeframe: str, span: Span) -> NotEnoughData:
    ends = (span.start, min(span.end, pager.now()))
    first, last = (f"{dt.datetime.fromtimestamp(at // 1_000_000_000, dt.UTC):%Y-%m-%dT%H:%MZ}" for at in ends)
    what = f"bars of {listing.market} at {timeframe}" if timeframe else f"values of {listing.market}"
    return NotEnoughData(
        f"{pager.source.name} has no {what} between {first} and {last}: "
        "is the symbol right, and was it listed then? Give an earlier --start or another source"
    )


def _ns(at: dt.datetime) -> int:
    return int(at.timestamp()) * 1_000_000_000
