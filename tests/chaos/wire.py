"""The venue protocol over a unix socket, so that an engine can be killed and its venue lives on.

A message is its length and msgpack: [what is asked, arguments], and back [how it went, reports or a snapshot].
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trimtab import venues
from trimtab.venues import Ambiguous, Decided, Order_, Report, Snapshot, Unreachable
from trimtab.venues.link import PaperLink

_KINDS = {kind.__name__: kind for kind in vars(venues).values() if isinstance(kind, type) and hasattr(kind, "_fields")}


def pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value, enc_hook=lambda array: array.tolist())


def told(value: Any) -> list[Any]:
    """A noun of the protocol as its name and its fields."""
    return [type(value).__name__, list(value)]


def heard(value: list[Any]) -> Any:
    kind = _KINDS[value[0]]
    if kind in (Decided, Snapshot):
        return kind(*(np.array(x) if isinstance(x, list) else x for x in value[1]))
    return msgspec.convert(value[1], kind)


async def read(reader: asyncio.StreamReader) -> Any:
    (size,) = struct.unpack("!I", await reader.readexactly(4))
    return msgspec.msgpack.decode(await reader.readexactly(size))


def write(writer: asyncio.StreamWriter, value: Any) -> None:
    body = pack(value)
    writer.write(struct.pack("!I", len(body)) + body)


class Remote:
    """A venue at the other end of a socket, as the engine's rim uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def _call(self, name: str, *args: Any) -> Any:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(str(self._path))
        reader, writer = self._streams
        write(writer, [name, args])
        how, found = await read(reader)
        if how != "ok":
            raise {"Ambiguous": Ambiguous, "Unreachable": Unreachable}[how](found)
        return found

    async def send(self, command: Order_) -> list[Report]:
        return [heard(r) for r in await self._call("send", told(command))]

    async def row(self, ts: int, bars: np.ndarray) -> list[Report]:
        return [heard(r) for r in await self._call("row", ts, bars)]

    async def ask(self, cid: str) -> list[Report]:
        return [heard(r) for r in await self._call("ask", cid)]

    async def since(self, trade_id: str) -> list[Report]:
        return [heard(r) for r in await self._call("since", trade_id)]

    async def snapshot(self) -> Snapshot:
        return heard(await self._call("snapshot"))

    async def reports(self) -> AsyncIterator[Report]:
        """Of itself it says nothing."""
        for report in list[Report]():
            yield report


class Served:
    """A venue's end of the socket, in a thread of its own.

    link  to the venue, with what goes wrong on the line; sent: ids of orders, as they came
    """

    def __init__(self, link: PaperLink, path: Path) -> None:
        self.link = link
        self.sent: list[str] = []
        self.faults: list[BaseException] = []
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(30.0)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30.0)
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._talk, str(self._path))
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                name, args = await read(reader)
                try:
                    answer = ["ok", await self._answer(name, args)]
                except (Ambiguous, Unreachable) as error:
                    answer = [type(error).__name__, str(error)]
                write(writer, answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the engine was killed
        except BaseException as fault:
            self.faults.append(fault)
            raise
        finally:
            writer.close()

    async def _answer(self, name: str, args: list[Any]) -> Any:
        if name == "send":
            command = heard(args[0])
            if isinstance(command, venues.Submit) and command.slot == 0:
                self.sent.append(command.cid)
            return [told(r) for r in await self.link.send(command)]
        if name == "snapshot":
            return told(await self.link.snapshot())
        if name == "row":
            args = [args[0], np.array(args[1], np.float64)]
        call: Callable[..., Awaitable[list[Report]]] = getattr(self.link, name)
        return [told(r) for r in await call(*args)]
