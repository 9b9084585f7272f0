"""The endpoint as Prometheus and a health probe ask it, over real sockets on the loopback."""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from trimtab.app.engine_endpoint import Endpoint
from trimtab.engine.events import Outcome, VenueChanged
from trimtab.engine.pulse import Bounds, Health, Meter, Pulse, Standing
from trimtab.types import SECOND, TrimtabError

TS = 1_772_409_600 * SECOND
STANDING = Standing(
    equity=10_250.5, drawdown=0.025, gross=0.8, net=-0.1, heat=0.8, positions=2, open_orders=1, quarantined=("pairs",)
)


class Clock:
    """An instant that the test sets."""

    def __init__(self) -> None:
        self.now = TS

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def endpoint(clock: Clock) -> Iterator[Endpoint]:
    made = Endpoint(0, bounds=Bounds(staleness=60.0, silence=30.0), currency="EUR", clock=clock)
    yield made
    made.stop()


def meter() -> Meter:
    made = Meter(TS, limits=("max_weight", "heat"), venues=("paper",), restarts=3)
    for latency in (0.0007, 0.002, 0.002, 30.0):
        made.add_row(TS - 2 * SECOND, TS, latency)
    for status in ("NEW", "FILLED", "NEW", "UNKNOWN"):
        made.add(Outcome(client_order_id="T1", status=status))
    made.add_limit_action("max_weight")
    return made


def asked(endpoint: Endpoint, path: str, **headers: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names) -> value."""
    families = text_string_to_metric_families(text)
    return {(s.name, *(v for _, v in sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def health(endpoint: Endpoint) -> tuple[int, Any]:
    status, kind, text = asked(endpoint, "/healthz")
    assert kind == "application/json"
    return status, json.loads(text)


def test_the_figures_of_the_last_pulse(endpoint: Endpoint, clock: Clock):
    endpoint.tell(Meter(TS).pulse(TS, Standing()))
    endpoint.tell(meter().pulse(TS, STANDING, Health(loop_lag=0.01, lines_dropped=4)))
    clock.now += 5 * SECOND
    status, kind, text = asked(endpoint, "/metrics")
    assert (status, kind.startswith("text/plain")) == (200, True)
    got = samples(text)
    expected = {
        ("trimtab_decision_latency_seconds_bucket", "0.0005"): 0,
        ("trimtab_decision_latency_seconds_bucket", "0.001"): 1,
        ("trimtab_decision_latency_seconds_bucket", "0.002"): 3,
        ("trimtab_decision_latency_seconds_bucket", "10.0"): 3,
        ("trimtab_decision_latency_seconds_bucket", "+Inf"): 4,
        ("trimtab_decision_latency_seconds_count",): 4,
        ("trimtab_decision_latency_seconds_sum",): pytest.approx(30.0047),
        ("trimtab_event_lag_seconds",): 2.0,
        ("trimtab_loop_lag_seconds",): 0.01,
        ("trimtab_feed_staleness_seconds",): 5.0,
        ("trimtab_equity_currency_units", "EUR"): 10_250.5,
        ("trimtab_drawdown_ratio",): 0.025,
        ("trimtab_gross_exposure_ratio",): 0.8,
        ("trimtab_net_exposure_ratio",): -0.1,
        ("trimtab_heat_ratio",): 0.8,
        ("trimtab_positions",): 2,
        ("trimtab_open_orders",): 1,
        ("trimtab_orders_total", "NEW"): 2,
        ("trimtab_orders_total", "UNKNOWN"): 1,
        ("trimtab_orders_total", "REJECTED"): 0,
        ("trimtab_limit_actions_total", "max_weight"): 1,
        ("trimtab_limit_actions_total", "heat"): 0,
        ("trimtab_rows_total",): 4,
        ("trimtab_restarts_total",): 3,
        ("trimtab_log_lines_dropped_total",): 4,
        ("trimtab_venue_up", "paper"): 1,
        ("trimtab_trading_state", "ACTIVE"): 1,
        ("trimtab_trading_state", "HALTED"): 0,
        ("trimtab_quarantined_models",): 1,
        ("trimtab_journal_up",): 1,
        ("trimtab_last_row_timestamp_seconds",): TS / SECOND - 2,
    }
    assert {name: got.get(name) for name in expected} == expected


def test_names_are_those_that_prometheus_asks_for(endpoint: Endpoint):
    endpoint.tell(meter().pulse(TS, STANDING))
    text = asked(endpoint, "/metrics", Accept="application/openmetrics-text; version=1.0.0")[2]
    families = list(openmetrics_families(text))  # strict about types, suffixes and buckets
    assert len(families) > 20
    units = re.compile(r"_(seconds|ratio|currency_units)$")
    counts = {"positions", "open_orders", "killed", "quarantined_models", "journal_up", "venue_up", "trading_state"}
    for family in families:
        assert re.fullmatch(r"trimtab_[a-z_]+", family.name)
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert units.search(family.name) or family.name.removeprefix("trimtab_") in counts


def test_what_is_not_known_is_nan_and_no_zero(endpoint: Endpoint):
    assert samples(asked(endpoint, "/metrics")[2]) == {}
    endpoint.tell(Meter(TS).pulse(TS, Standing()))
    got = samples(asked(endpoint, "/metrics")[2])
    for name in ("trimtab_equity_currency_units", "trimtab_drawdown_ratio", "trimtab_event_lag_seconds"):
        assert [str(value) for key, value in got.items() if key[0] == name] == ["nan"]


def test_healthz_says_200_when_well_and_503_with_every_reason(endpoint: Endpoint, clock: Clock):
    status, document = health(endpoint)
    assert (status, document["well"]) == (503, False)
    measured = meter()
    endpoint.tell(measured.pulse(TS, STANDING))
    degraded = "degraded: pairs is in quarantine, with weights of 0 for as long as the account lasts"
    assert (health(endpoint)[0], health(endpoint)[1]["reasons"]) == (503, [degraded])
    endpoint.tell(measured.pulse(TS, msgspec.structs.replace(STANDING, quarantined=())))
    assert health(endpoint) == (
        200,
        {"well": True, "reasons": [], "state": "ACTIVE", "rows": 4, "row": "2026-03-01T23:59:58Z"},
    )
    measured.add(VenueChanged(venue="paper", up=False))
    bad = Standing(state="HALTED", reason="drawdown_halt")
    endpoint.tell(measured.pulse(TS, bad, Health(loop_lag=2.0, journal_failure="disk full")))
    clock.now += 61 * SECOND
    status, document = health(endpoint)
    assert (status, document["well"], document["state"]) == (503, False, "HALTED")
    told = "; ".join(document["reasons"])
    for reason in ("venue paper", "feed stale", "halted: drawdown_halt", "journal failed: disk full", "2.000 s late"):
        assert reason in told
    assert "nothing was heard of the engine for 61.0 s" in told


def test_other_paths_and_other_names_of_the_machine(endpoint: Endpoint):
    assert asked(endpoint, "/")[0] == 404
    assert asked(endpoint, "/healthz?probe=1")[0] == 503
    for host in ("localhost:1234", "127.0.0.1", "[::1]:9"):
        assert asked(endpoint, "/metrics", Host=host)[0] == 200
    for host in ("evil.example", "127.0.0.1.evil.example:80"):
        assert asked(endpoint, "/metrics", Host=host)[0] == 403
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=5)
    connection.request("POST", "/metrics")
    assert connection.getresponse().status == 501
    connection.close()


def test_two_engines_of_a_process_do_not_mix(endpoint: Endpoint):
    before = list(REGISTRY.collect())
    other = Endpoint(0)
    try:
        endpoint.tell(meter().pulse(TS, STANDING))
        other.tell(Meter(TS).pulse(TS, Standing(equity=1.0)))
        assert samples(asked(other, "/metrics")[2])["trimtab_rows_total",] == 0
        assert samples(asked(endpoint, "/metrics")[2])["trimtab_rows_total",] == 4
        assert {family.name for family in REGISTRY.collect()} == {family.name for family in before}
    finally:
        other.stop()


def test_a_port_in_use_is_said(endpoint: Endpoint):
    with pytest.raises(TrimtabError, match=rf"127\.0\.0\.1:{endpoint.port} is in use; .* name another port"):
        Endpoint(endpoint.port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(TrimtabError, match="is in use"):
            Endpoint(other.getsockname()[1])


def test_stopping_frees_the_port_and_ends_the_thread():
    threads = threading.active_count()
    first = Endpoint(0)
    assert asked(first, "/healthz")[0] == 503
    first.stop()
    first.stop()
    assert not [t for t in threading.enumerate() if t.name == "trimtab-endpoint"]
    second = Endpoint(first.port)
    second.stop()
    assert threading.active_count() <= threads + 1  # a request of the first may still be ending


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.5", "example.com"])
def test_only_the_loopback_is_served(host: str):
    with pytest.raises(TrimtabError, match=r"expected 127\.0\.0\.1"):
        Endpoint(0, host)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none(port: int):
    with pytest.raises(TrimtabError, match="expected 1 to 65535"):
        Endpoint(port)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    with pytest.raises(TrimtabError, match=r"pip install 'trimtab\[live\]'"):
        Endpoint(0)


def test_pulses_may_come_while_it_is_asked(endpoint: Endpoint):
    pulses: list[Pulse] = []
    measured = Meter(TS)
    for k in range(200):
        measured.add_row(TS, TS, 0.001 * k)
        pulses.append(measured.pulse(TS, STANDING))
    endpoint.tell(pulses[0])
    writer = threading.Thread(target=lambda: [endpoint.tell(pulse) for pulse in pulses for _ in range(50)])
    writer.start()
    for _ in range(30):
        got = samples(asked(endpoint, "/metrics")[2])
        assert got["trimtab_rows_total",] == got["trimtab_decision_latency_seconds_count",]  # of one pulse, whole
    writer.join()
