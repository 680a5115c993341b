"""One trace leads from a request to the shard that holds its memory, through API and worker as real processes."""

import re
import subprocess
import sys

import pytest

from tests.integration.processes import ROOT, Server, eventually
from tests.integration.server.collector import Collector

SAID = ("Maritime", "bergamot", "harbourmaster", "pilotage")
STAGES = {"commit", "claim", "embed", "store", "build", "publish"}
OPAQUE = re.compile(r"(co|ns|job|req|sh)_[0-9a-f]{32}")
WORDS = {"embed", "embed-bulk", "index", "maintain", "GET", "POST", "PUT", "DELETE", "none"}


def add(server, number: int, **headers: str) -> str:
    body = {"namespace": "harbourmaster", "content": f"Maritime bergamot {number}", "session": "pilotage"}
    answer = server.client.post("/v1/memory", params={"wait": True}, json=body, headers=headers)
    assert answer.status_code == 201
    return answer.json()["job_id"]


@pytest.fixture(scope="module")
def collector():
    with Collector() as opened:
        yield opened


@pytest.fixture(scope="module")
def traced(tmp_path_factory, collector):
    """A server whose worker hears of work by rings alone, and has just done some."""
    environment = {"OSTRAKA_TELEMETRY__OTLP_ENDPOINT": collector.url, "OSTRAKA_QUEUE__RECONCILE_S": "3600"}
    server = Server(tmp_path_factory.mktemp("traced"), environment=environment)
    try:
        server.start()
        add(server, 0)
        yield server
        server.stop()
    finally:
        server.discard()


def test_a_trace_spans_the_request_and_the_work_it_led_to(traced, collector):
    """A ring that joins another's work ends its trace there: of several writes, one is led through to its shard."""
    traced.client.post("/v1/memory/search", json={"namespace": "harbourmaster", "query": "bergamot"})
    jobs: list[str] = []

    def whole():
        jobs.append(add(traced, len(jobs) + 1))
        spans = collector.spans()
        for trace in [span.trace for span in spans if span.attributes.get("ostraka.job_id") in jobs]:
            found = [span for span in spans if span.trace == trace]
            if {"request", *STAGES} <= {span.name for span in found}:
                return found
        return None

    spans = eventually(whole, every_s=2)
    by_id = {span.id: span for span in spans}

    def way(name: str) -> list[str]:
        """The spans from the root to the first of a name."""
        span = next(span for span in spans if span.name == name)
        names = [span.name]
        while span.parent in by_id:
            span = by_id[span.parent]
            names.insert(0, span.name)
        assert span.parent == ""
        return names

    assert way("commit") == ["request", "group-commit", "commit"]
    embedded = ["request", "group-commit", "ring", "ostraka.embed"]
    for stage in ("claim", "embed", "store"):
        assert way(stage) == [*embedded, stage]
    for stage in ("build", "publish"):
        assert way(stage) == [*embedded, "ring", "ostraka.index", stage]
    assert {span.service for span in spans} == {"ostraka-api", "ostraka-worker"}
    [request] = [span for span in spans if span.name == "request"]
    assert request.attributes["ostraka.route"] == "/v1/memory"
    assert request.attributes["ostraka.status"] == 201
    for span in collector.spans():
        for name, value in span.attributes.items():
            assert name.startswith("ostraka.")
            assert (
                isinstance(value, int | float)
                or OPAQUE.fullmatch(value)
                or value in WORDS
                or (name == "ostraka.route" and "harbour" not in value)
            ), (name, value)
    sent = b"".join(collector.received)
    assert [word for word in SAID if word.encode() in sent] == []
    assert collector.paths == {"/v1/traces"}


def test_a_callers_trace_goes_on_in_ours_and_the_log_names_it(traced, collector):
    asked = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced.client.get("/v1/whoami", headers={"traceparent": f"00-{asked}-00f067aa0ba902b7-01"})
    traced.client.get("/v1/whoami", headers={"traceparent": "what is this?", "x-api-key": "wrong"})
    [span] = eventually(lambda: [span for span in collector.spans() if span.trace == asked])
    assert (span.name, span.parent) == ("request", "00f067aa0ba902b7")
    refused = traced.event("request_refused")
    assert re.fullmatch(r"[0-9a-f]{32}", refused["trace_id"])
    eventually(lambda: refused["trace_id"] in {span.trace for span in collector.spans()})


def test_nobody_who_sends_no_traces_loads_what_sends_them():
    """Libraries look for OpenTelemetry, too: what counts is our part of it, and the exporter."""
    program = "import sys, cli.serving, workers.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "core.observing.tracing" in loaded
    assert "core.observing.otlp" not in loaded
    assert [name for name in loaded if name.startswith("opentelemetry.exporter")] == []
