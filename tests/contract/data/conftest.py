"""Servers on loopback in a thread of their own, since sources wait for their answers; nothing else can be reached."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from trimtab.data.paging import Patience

#: Waits of a test: nobody is helped by the seconds of real life.
QUICK = Patience(attempts=5, pause=(0.01, 0.05))


class Thread:
    """A loop in which servers run until the test is over."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.opened: list[AbstractAsyncContextManager[Any]] = []

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def serve(self, server: AbstractAsyncContextManager[Any]) -> Any:
        self.opened.append(server)
        return self.call(server.__aenter__())

    def close(self) -> None:
        for server in self.opened:
            self.call(server.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def thread() -> Iterator[Thread]:
    made = Thread()
    yield made
    made.close()


@pytest.fixture
def patience() -> Patience:
    return QUICK


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere else fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert ipaddress.ip_address(address[0]).is_loopback, f"a request would leave this machine: {address}"
        return connect(self, address)

    def resolved(host: Any, *args: Any, **named: Any) -> Any:
        assert host in ("127.0.0.1", "localhost", None), f"a name outside this machine was looked up: {host}"
        return resolve(host, *args, **named)

    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
