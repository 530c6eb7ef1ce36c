"""Stages as OpenTelemetry spans."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the 'otel' extra is not installed")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the 'otel' extra")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from affectstream.engines import telemetry
from affectstream.engines.errors import UsageError
from affectstream.engines.spans import STAGES, Timeline, recording, span, waited
from affectstream.engines.telemetry import Telemetry, exporting


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def exported():
    """A provider that keeps what it gets, and what it got."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter.get_finished_spans


def test_stages_are_spans_of_one_trace_and_a_timeline_can_be_kept_beside(exported):
    provider, finished = exported
    sent = Telemetry(provider, "affectstream score")
    with recording(Timeline()) as timeline, recording(sent):
        with span("detect", rows=4):
            pass
        thread = threading.Thread(target=lambda: waited("queue", 0.25), name="perceive_1")
        thread.start()
        thread.join()
    sent.close()
    detect, queue, root = finished()
    assert [one.name for one in (detect, queue, root)] == ["detect", "queue", "affectstream score"]
    assert root.parent is None
    assert detect.parent.span_id == queue.parent.span_id == root.context.span_id
    assert dict(detect.attributes) == {"thread.name": "MainThread", "affectstream.rows": 4}
    assert dict(queue.attributes) == {"thread.name": "perceive_1"}
    assert queue.end_time - queue.start_time == pytest.approx(0.25e9, rel=0.01)
    assert root.start_time <= detect.start_time and queue.end_time <= root.end_time
    for seen, kept in zip((detect, queue), timeline.spans, strict=True):
        assert (seen.end_time - seen.start_time) / 1e9 == pytest.approx(kept.seconds, abs=1e-6)
    with span("fuse"):
        pass
    assert len(finished()) == 3, "nothing after the end"


def test_a_long_run_has_several_traces(exported, monkeypatch):
    provider, finished = exported
    monkeypatch.setattr(telemetry, "_TRACE_S", 0.0)
    sent = Telemetry(provider, "affectstream serve")
    for at_s in (1.0, 2.0, 3.0):
        sent.add("fuse", at_s, at_s + 0.5)
    sent.close()
    assert len({one.context.trace_id for one in finished()}) == 3
    roots = [one for one in finished() if one.parent is None]
    assert [round((one.end_time - one.start_time) / 1e9, 3) for one in roots] == [0.5] * 3, (
        "no gaps"
    )


class _Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        return


@contextmanager
def collector():
    """A receiver of OTLP over HTTP on this machine; its address, and the (path, request) that came."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.requests
        finally:
            server.shutdown()
            thread.join()


def test_a_collector_gets_them_where_the_environment_says(monkeypatch):
    with collector() as (address, requests):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        with exporting("affectstream score", asked=False), span("fuse"):
            pass
        assert requests == [], "an address alone asks for nothing"
        with exporting("affectstream score", asked=True), span("fuse"):
            pass
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "lab 3")
        with exporting("affectstream live", asked=False), span("emit"):
            pass
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        with exporting("affectstream live", asked=True), span("emit"):
            pass
    assert [path for path, _ in requests] == ["/v1/traces", "/v1/traces"]
    services, names = [], []
    for _, request in requests:
        (found,) = request.resource_spans
        services += [
            a.value.string_value for a in found.resource.attributes if a.key == "service.name"
        ]
        names.append({one.name for scope in found.scope_spans for one in scope.spans})
    assert services == ["affectstream", "lab 3"]
    assert names == [{"fuse", "affectstream score"}, {"emit", "affectstream live"}]


def test_the_command_sends_stages_and_nothing_of_the_recording(tmp_path):
    secret = tmp_path / "patient_17.srt"
    secret.write_text("1\n00:00:00,000 --> 00:00:01,000\nI am so happy!\n")
    with collector() as (address, requests):
        command = [sys.executable, "-c", "from affectstream.stream.cli import main; main()"]
        done = subprocess.run(
            [*command, "score", secret, "--otel"],
            env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": address},
            capture_output=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    spans = [
        one
        for _, request in requests
        for found in request.resource_spans
        for scope in found.scope_spans
        for one in scope.spans
    ]
    names = {one.name for one in spans}
    assert {"affectstream score", "encode text", "fuse", "emit"} <= names
    assert names <= {*STAGES, "affectstream score"}
    assert {a.key for one in spans for a in one.attributes} <= {"thread.name", "affectstream.rows"}
    assert "patient" not in "".join(str(request) for _, request in requests)


def test_what_is_missing_is_named(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(UsageError, match="OTLP_PROTOCOL is 'grpc', expected http/protobuf"):
        exporting("affectstream score", asked=True).__enter__()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    with exporting("affectstream score", asked=False), span("fuse"):
        pass
    assert "no spans are sent: --otel: OTEL_EXPORTER_OTLP_PROTOCOL" in caplog.text
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    with exporting("affectstream score", asked=True):
        pass  # the variable for traces counts before the one for everything
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "")  # empty is unset
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(UsageError, match=r"--otel needs OpenTelemetry: pip install .*\[otel\]"):
        exporting("affectstream score", asked=True).__enter__()


def test_a_collector_that_does_not_answer_holds_the_program_for_a_moment_only(monkeypatch, caplog):
    monkeypatch.setattr(telemetry, "_CLOSE_S", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with exporting("affectstream score", asked=True), span("fuse"):
        pass
    assert "did not take the last spans" in caplog.text
