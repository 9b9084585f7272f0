"""What `trimtab status` shows of an account: a screen for `--watch`, lines of plain text, and JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trimtab.app.console.cells import escaped, table_of
from trimtab.app.console.journal import instant_of
from trimtab.app.console.streams import jsonable
from trimtab.engine.status import Act, Decided, Held, LimitUse, Status, Working, lasting, state_in_words
from trimtab.words import shortest, utc

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
    from rich.table import Table
    from rich.text import Text

#: From this width on, two things stand beside each other and nothing is abbreviated.
WIDE: Final = 96
#: Rows of each table of the screen; the rest are counted.
MOST: Final = 12
#: A limit is near from this share on.
_NEAR: Final = 0.9
_STATE_STYLES: Final = {"ACTIVE": "bold green", "REDUCING": "bold yellow", "HALTED": "bold red"}
_BAR: Final = 10


# --- JSON and plain text ---------------------------------------------------------------------------------------------


def to_json(status: Status) -> dict[str, Any]:
    """All of it in JSON's own types, with what follows from it: sides, shares, the state in words, instants as text."""
    document = jsonable(msgspec.to_builtins(status))
    document |= {"time": instant_of(status.ts), "state_in_words": state_in_words(status), "well": status.is_well}
    document["written_time"] = instant_of(status.written) if status.written else None
    for written, order in zip(document["orders"], status.orders, strict=True):
        written["side"] = order.side
    for written, limit in zip(document["limits"], status.limits, strict=True):
        written["share"] = jsonable(limit.share)
    for written, act in zip(document["actions"], status.actions, strict=True):
        written["time"] = instant_of(act.ts)
    if status.decided is not None:
        document["decided"]["time"] = instant_of(status.decided.row)
    return document


def status_lines(status: Status) -> list[str]:
    """One fact a line, the kind of it first."""
    lines = [
        f"account {status.account}: {status.spec}, at {utc(status.ts)}",
        f"state {'KILLED' if status.killed else status.state}: {state_in_words(status)}",
        " ".join(f"{name} {value}" for name, value in _figures(status)),
        *(_position_line(held) for held in status.positions),
        *(_order_line(order) for order in status.orders),
        *(f"limit {_limit_name(use)}: {_bounded(use)}, {_share(use)} used" for use in _by_share(status.limits)),
        *(f"health {check.name}: {'well' if check.well else 'NOT WELL'}{_told(check.said)}" for check in status.health),
    ]
    if status.decided is not None:
        lines.append(f"decided {utc(status.decided.row)}")
        lines += [f"wish {w.model} {w.symbol}: {_weight(w.weight)}{_told(w.why)}" for w in status.decided.wishes]
    lines += [f"quarantined {model}{_told(why)}" for model, why in status.quarantined.items()]
    lines += [f"action {utc(act.ts)}: {act.said}" for act in status.actions]
    return [_plain(line) for line in lines]


def _position_line(held: Held) -> str:
    return (
        f"position {held.symbol}: {held.lots:,} lots at {_price(held.avg_price)}, mark {_price(held.mark)}, "
        f"notional {_money(held.notional)}, unrealised {_signed(held.unrealised)}"
    )


def _order_line(order: Working) -> str:
    price = "" if order.price is None else f" at {_price(order.price)}"
    return (
        f"order {order.client_order_id}: {order.side} {abs(order.lots):,} lots {order.symbol} {order.kind}{price}, "
        f"{abs(order.filled):,} filled, {order.status} since {lasting(order.age)}"
    )


# --- the screen ------------------------------------------------------------------------------------------------------


def screen(status: Status) -> Screen:
    """A renderable of all of it, as wide as the terminal is, for 80 columns and more."""
    return Screen(status)


class Screen:
    """A status that rich can draw."""

    def __init__(self, status: Status):
        self._status = status

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        yield _drawn(self._status, options.max_width)


def _drawn(status: Status, width: int) -> Group:
    from rich.console import Group

    parts: list[RenderableType] = [_header(status, width), _positions(status.positions, width)]
    if status.orders:
        parts.append(_orders(status.orders, width))
    limits, health = _limits(status.limits), _health(status)
    parts += [_beside(limits, health)] if width >= WIDE and status.limits else [limits, health]
    if status.decided is not None:
        parts.append(_decided(status.decided))
    if status.actions:
        parts.append(_actions(status.actions))
    return Group(*(part for k, whole in enumerate(parts) for part in (("", whole) if k else (whole,))))


def _header(status: Status, width: int) -> Text:
    from rich.text import Text

    text = Text(_plain(status.account), style="bold")
    text.append(f"  {_plain(status.spec)}  ", style="not bold").append(utc(status.ts), style="not bold dim")
    text.append("\n")
    style = "bold red" if status.killed else _STATE_STYLES[status.state]
    text.append("KILLED" if status.killed else status.state, style=style)
    text.append(f"  {_plain(state_in_words(status))}\n", style="not bold")
    room = width
    for name, value in _figures(status):
        taken = len(name) + 1 + len(value)
        gap = "" if room == width else "  " if room >= taken + 2 else "\n"
        room = (width if gap == "\n" else room) - taken - (2 if gap == "  " else 0)
        text.append(f"{gap}{name} ", style="not bold dim").append(value, style="not bold")
    return text


def _figures(status: Status) -> list[tuple[str, str]]:
    day = _signed(status.day)
    if _known(status.day_fraction) is not None:
        day += f" ({status.day_fraction:+.2%})"
    return [
        ("equity", f"{_money(status.equity)} {status.currency}"),
        ("day", day),
        ("drawdown", _percent(status.drawdown)),
        ("gross", _percent(status.gross)),
        ("net", _percent(status.net)),
    ]


def _positions(positions: tuple[Held, ...], width: int) -> RenderableType:
    from rich.text import Text

    if not positions:
        return Text("No positions.", style="dim")
    table = table_of("Position", "Lots", "Average", "Mark", "Notional", "Unrealised")
    digits = 8 if width >= WIDE else 7
    largest = sorted(positions, key=lambda held: -abs(_known(held.notional) or 0.0))
    for held in largest[:MOST]:
        table.add_row(
            _cell(held.symbol), f"{held.lots:,}", _price(held.avg_price, digits), _price(held.mark, digits),
            _money(held.notional), _coloured(held.unrealised),
        )  # fmt: skip
    return _counted(table, len(positions), "positions, the largest are shown")


def _orders(orders: tuple[Working, ...], width: int) -> RenderableType:
    table = table_of("Order", "Side", "Kind", "Status", "Lots", "Filled", "Price", "Age", left=4)
    narrow = width < WIDE
    unknown_first = sorted(orders, key=lambda order: (order.status != "UNKNOWN", order.age))
    for order in unknown_first[:MOST]:
        status = order.status.replace("_", "_\n") if narrow else order.status
        kind = order.kind.replace("_", "_\n") if narrow else order.kind
        if order.status == "UNKNOWN":
            status = f"[bold red]{status}[/]"
        table.add_row(
            _cell(order.symbol), order.side, kind, status, f"{abs(order.lots):,}", f"{abs(order.filled):,}",
            "" if order.price is None else _price(order.price, 7 if narrow else 8), lasting(order.age),
        )  # fmt: skip
    return _counted(table, len(orders), "open orders")


def _limits(limits: tuple[LimitUse, ...]) -> RenderableType:
    from rich.text import Text

    if not limits:
        return Text("No limits are set.", style="dim")
    table = table_of("Limit", "Now", "Bound", "Used")
    for use in _by_share(limits)[:MOST]:
        now, bound = _pair(use)
        table.add_row(_cell(_limit_name(use)), now, bound, _gauge(use))
    return _counted(table, len(limits), "limits, the most used are shown")


def _gauge(use: LimitUse) -> Text:
    from rich.text import Text

    share = use.share
    if share is None:
        return Text("–")
    filled = _BAR if share >= 1.0 else min(_BAR - 1, round(share * _BAR))  # full is full
    style = "red" if share > 1.0 else "yellow" if share >= _NEAR else "green"
    text = Text("█" * filled, style=style)
    text.append("░" * (_BAR - filled), style="dim")
    return text.append(f" {_share(use):>5}", style=style if share >= _NEAR else "none")


def _health(status: Status) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for check in status.health:
        mark = Text("✓", style="green") if check.well else Text("✗", style="bold red")
        grid.add_row(mark, _cell(check.name), Text(_plain(check.said), style="none" if check.well else "red"))
    for model, why in status.quarantined.items():
        grid.add_row(Text("!", style="bold yellow"), _cell(model), _cell(f"quarantined{_told(why)}"))
    return Group(Text("Health", style="bold"), grid)


def _decided(decided: Decided) -> RenderableType:
    table = table_of("Model", "Instrument", "Weight", "Why", left=2)
    table.columns[3].justify, table.columns[3].no_wrap = "left", False
    for wish in decided.wishes[:MOST]:
        table.add_row(_cell(wish.model), _cell(wish.symbol), _weight(wish.weight), _cell(wish.why))
    return _titled(f"Last decision, at the close of {utc(decided.row)}", table, len(decided.wishes), "wishes")


def _actions(actions: tuple[Act, ...]) -> Text:
    from rich.text import Text

    text = Text("Last actions", style="bold")
    for act in reversed(actions[-MOST:]):
        text.append(f"\n{utc(act.ts)}  ", style="not bold dim").append(_plain(act.said), style="not bold")
    return text


def _beside(left: RenderableType, right: RenderableType) -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 4), expand=True)
    grid.add_column(no_wrap=False)
    grid.add_column(ratio=1)
    grid.add_row(left, right)
    return grid


def _titled(title: str, table: Table, count: int, noun: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return Group(Text(title, style="bold"), _counted(table, count, noun))


def _counted(table: Table, count: int, noun: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return table if count <= MOST else Group(table, Text(f"{MOST} of {count:,} {noun}", style="dim"))


# --- figures ---------------------------------------------------------------------------------------------------------


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _price(value: float | None, digits: int = 10) -> str:
    """So many significant digits, without an exponent and without zeros at the end."""
    if _known(value) is None or value is None:
        return "–"
    if value == 0.0 or math.isinf(value):
        return shortest(value)
    places = min(12, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _money(value: float | None) -> str:
    if _known(value) is None:
        return "–"
    return f"{value:,.2f}" if abs(value or 0.0) < 1e5 else f"{value:,.0f}"


def _signed(value: float | None) -> str:
    text = _money(value)
    return f"+{text}" if (_known(value) or 0.0) > 0.0 else text


def _coloured(value: float | None) -> str:
    style = "red" if (_known(value) or 0.0) < 0.0 else "none"
    return f"[{style}]{_signed(value)}[/]"


def _percent(value: float | None) -> str:
    return "–" if _known(value) is None else f"{value:.2%}"


def _weight(value: float | None) -> str:
    return "abstains" if _known(value) is None else f"{value:+.2%}" if value else "flat"


#: Limits that are not fractions: how their numbers read.
_IN_SECONDS: Final = ("stale", "max_holding")
_IN_MONEY: Final = ("order_notional",)


def _pair(use: LimitUse) -> tuple[str, str]:
    """What is measured and its bound, in the limit's own unit."""
    if use.name in _IN_SECONDS:
        return "–" if _known(use.measure) is None else lasting(use.measure or 0.0), lasting(use.bound)
    if use.name in _IN_MONEY:
        return _money(use.measure), _money(use.bound)
    return _percent(use.measure), _percent(use.bound)


def _bounded(use: LimitUse) -> str:
    return " of ".join(_pair(use))


def _share(use: LimitUse) -> str:
    share = use.share
    return "–" if share is None else "∞" if math.isinf(share) else f"{share:.0%}"


def _by_share(limits: tuple[LimitUse, ...]) -> list[LimitUse]:
    return sorted(limits, key=lambda use: -(use.share if use.share is not None else -1.0))


def _limit_name(use: LimitUse) -> str:
    return f"{use.name} {use.of}".rstrip()


def _told(words: str) -> str:
    return f": {words}" if words else ""


def _cell(text: str) -> str:
    return escaped(_plain(text))


def _plain(text: str) -> str:
    """On one line, and without anything that a terminal would obey: a venue may have written it."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
