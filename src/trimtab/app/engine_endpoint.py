"""An engine's figures for Prometheus (`/metrics`), and whether it is well (`/healthz`), on this machine only.

Both are read off the last pulse by threads of the server's own: an engine whose loop hangs still answers, and says so.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

from trimtab.engine.pulse import Bounds, Pulse, ailments, cumulative
from trimtab.types import SECOND, TRADING_STATES, TrimtabError
from trimtab.words import utc

if TYPE_CHECKING:
    from prometheus_client.core import CollectorRegistry
    from prometheus_client.metrics_core import Metric

#: Seconds that a client may take to ask.
_PATIENCE: Final = 5.0

#: name, what it is, its value; NaN: not known yet. Exposures are fractions of equity.
_GAUGES: Final[tuple[tuple[str, str, Callable[[Pulse], float | None]], ...]] = (
    ("trimtab_event_lag_seconds", "From the close of the last row to its decision.", lambda p: p.event_lag),
    ("trimtab_loop_lag_seconds", "By which the event loop runs late.", lambda p: p.health.loop_lag),
    ("trimtab_last_row_timestamp_seconds", "Close of the last decided row.", lambda p: p.row / SECOND or None),
    ("trimtab_drawdown_ratio", "Below the peak of equity, a fraction.", lambda p: p.standing.drawdown),
    ("trimtab_gross_exposure_ratio", "Sum of |notional| / equity.", lambda p: p.standing.gross),
    ("trimtab_net_exposure_ratio", "|Sum of signed notional| / equity.", lambda p: p.standing.net),
    ("trimtab_heat_ratio", "Initial margin in use / equity.", lambda p: p.standing.heat),
    ("trimtab_positions", "Instruments that are held.", lambda p: p.standing.positions),
    ("trimtab_open_orders", "Orders that work or may do so.", lambda p: p.standing.open_orders),
    ("trimtab_killed", "1: the kill switch is on.", lambda p: p.standing.killed),
    ("trimtab_quarantined_models", "Models that are not asked any more.", lambda p: len(p.standing.quarantined)),
    ("trimtab_journal_up", "1: the journal takes what it is given.", lambda p: not p.health.journal_failure),
)

_COUNTERS: Final[tuple[tuple[str, str, Callable[[Pulse], float]], ...]] = (
    ("trimtab_rows_total", "Grid rows decided.", lambda p: p.rows),
    ("trimtab_restarts_total", "Restarts of the process.", lambda p: p.restarts),
    ("trimtab_log_lines_dropped_total", "Lines that the logs could not take.", lambda p: p.health.lines_dropped),
)


class Endpoint:
    """The server of one engine: it is told pulses, and answers until it is stopped. Nothing in it is global.

    port       0: any that is free (`port` says which)
    host       of the loopback only: whoever wants it elsewhere puts a proxy with a password before it
    bounds     from where on `/healthz` says 503
    currency   of the equity
    clock      ns UTC

    TrimtabError where the host is not the loopback's, the port is in use, or prometheus-client is missing.
    """

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        bounds: Bounds = Bounds(),  # noqa: B008  # a NamedTuple
        currency: str = "",
        clock: Callable[[], int] = time.time_ns,
    ):
        self._bounds, self._currency, self._clock = bounds, currency, clock
        self._pulse: Pulse | None = None
        self._registry = _registry(self)
        self._server = _served(_address(host), port, self._answer)
        self.host, self.port = self._server.server_address[:2]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="trimtab-endpoint", daemon=True
        )
        self._thread.start()

    def tell(self, pulse: Pulse) -> None:
        """This is how it is now."""
        self._pulse = pulse

    def stop(self) -> None:
        """Free the port; stopping twice is stopping once."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def collect(self) -> Iterable[Metric]:
        """What the last pulse says, as Prometheus' families; none before the first."""
        pulse = self._pulse
        return () if pulse is None else _families(pulse, self._currency, self._clock())

    def _answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        from prometheus_client.exposition import choose_encoder

        if path == "/metrics":
            encoder, kind = choose_encoder(accept)
            return 200, kind, encoder(self._registry)
        if path == "/healthz":
            status, document = self._health()
            return status, "application/json", json.dumps(document, ensure_ascii=False).encode() + b"\n"
        return 404, "text/plain; charset=utf-8", b"there are /metrics and /healthz\n"

    def _health(self) -> tuple[int, dict[str, Any]]:
        pulse = self._pulse
        if pulse is None:
            return 503, {"well": False, "reasons": ["the engine has not decided or measured anything yet"]}
        reasons = ailments(pulse, self._clock(), self._bounds)
        return 503 if reasons else 200, {
            "well": not reasons,
            "reasons": reasons,
            "state": pulse.standing.state,
            "rows": pulse.rows,
            "row": utc(pulse.row) if pulse.row else None,
        }


def _families(pulse: Pulse, currency: str, now: int) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    yield HistogramMetricFamily(
        "trimtab_decision_latency_seconds",
        "From the bars of a row being known to its orders being durable.",
        buckets=[(_bound(end), count) for end, count in cumulative(pulse.latencies)],
        sum_value=pulse.latencies.total,
    )
    for name, about, value in _GAUGES:
        yield GaugeMetricFamily(name, about, value=_number(value(pulse)))
    yield GaugeMetricFamily(
        "trimtab_feed_staleness_seconds", "Since the last bar, at this moment.", value=pulse.staleness(now)
    )
    equity = GaugeMetricFamily("trimtab_equity_currency_units", "In the book's currency.", labels=["currency"])
    equity.add_metric([currency], _number(pulse.standing.equity))
    yield equity
    state = GaugeMetricFamily("trimtab_trading_state", "1: the state that the book is in.", labels=["state"])
    for name in TRADING_STATES:
        state.add_metric([name], name == pulse.standing.state)
    yield state
    venues = GaugeMetricFamily("trimtab_venue_up", "1: it can be reached.", labels=["venue"])
    for name, is_up in pulse.venues.items():
        venues.add_metric([name], is_up)
    yield venues
    for name, about, count in _COUNTERS:
        yield CounterMetricFamily(name, about, value=count(pulse))
    yield _counted("trimtab_orders_total", "Times that an order was told to be in this status.", "status", pulse.orders)
    yield _counted("trimtab_limit_actions_total", "Times that a limit acted.", "limit", pulse.limit_actions)


def _counted(name: str, about: str, label: str, counts: dict[str, int]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, about, labels=[label])
    for word, count in counts.items():
        family.add_metric([word], count)
    return family


def _registry(collector: Endpoint) -> CollectorRegistry:
    try:
        from prometheus_client.core import CollectorRegistry
    except ImportError:
        raise TrimtabError(
            "the metrics endpoint needs prometheus-client, which is not installed: pip install 'trimtab[live]'"
        ) from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _bound(end: float) -> str:
    return "+Inf" if end == float("inf") else str(end)


# --- the server ------------------------------------------------------------------------------------------------------


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True  # a port that was just freed; one that is listened on stays refused

    def __init__(self, address: tuple[str, int], requests: type[BaseHTTPRequestHandler]):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, requests)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is nothing to tell."""


def _address(host: str) -> str:
    """The loopback's address that a host names. TrimtabError if it is another's."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise TrimtabError(
            f"metrics endpoint on {host}: expected 127.0.0.1, ::1 or localhost. It has no password; to reach it from "
            "another machine put a proxy that has one, or a tunnel, before it"
        )
    return host


def _served(host: str, port: int, answer: Callable[[str, str], tuple[int, str, bytes]]) -> _Server:
    if not 0 <= port <= 65_535:
        raise TrimtabError(f"metrics endpoint on port {port}: expected 1 to 65535, or 0 for any that is free")
    try:
        return _Server((host, port), _requests(answer))
    except OSError as error:
        why = "is in use; stop what listens there, or name another port" if error.errno == errno.EADDRINUSE else ""
        raise TrimtabError(
            f"metrics endpoint: {host}:{port} {why or f'cannot be opened ({error.strerror}); name another port'}"
        ) from None


def _requests(answer: Callable[[str, str], tuple[int, str, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Requests(BaseHTTPRequestHandler):
        timeout = _PATIENCE
        server_version = "trimtab"
        sys_version = ""

        def do_GET(self) -> None:
            if not _is_local(self.headers.get("Host", "")):  # a web page that was led here by its own name
                self._send(403, "text/plain; charset=utf-8", b"ask by the name of this machine: 127.0.0.1\n")
                return
            self._send(*answer(self.path.partition("?")[0], self.headers.get("Accept", "")))

        do_HEAD = do_GET

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Who asks is not logged."""

    return Requests


def _is_local(host: str) -> bool:
    """Does a Host header (or none) name the loopback?"""
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    if name in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
