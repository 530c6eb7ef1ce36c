"""`/metrics`: what Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from affectstream.stream.recognizer import Recognizer
from tests.support.serving import RunningServer, receive, running, send, until


@pytest.fixture(scope="module")
def server(recognizer: Recognizer) -> Iterator[RunningServer]:
    with running(recognizer) as one:
        yield one


def samples(server: RunningServer) -> dict[str, float]:
    """The value of each series."""
    lines = server.get("/metrics").text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {series: float(value) for series, _, value in pairs}


def test_metrics_can_be_scraped(server: RunningServer) -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(server.get("/metrics").text)
    }
    assert {"affectstream_latency_seconds", "affectstream_stage_seconds"} <= set(families)
    assert {"affectstream_events", "affectstream_frames_dropped", "affectstream_sessions"} <= set(
        families
    )
    assert families["affectstream_sessions"].samples[0].value == 0
    assert all(family.name.startswith("affectstream_") for family in families.values())


def test_refusals_are_counted(server: RunningServer) -> None:
    series = 'affectstream_refused_total{status="404"}'
    before = samples(server).get(series, 0.0)
    server.get("/nothing")
    assert samples(server)[series] == before + 1


def test_gauges_of_a_session_last_as_long_as_it(server: RunningServer, clip: bytes) -> None:
    with connect(f"{server.ws}/ingest") as socket:
        session = receive(socket, "session")[-1]["session"]
        send(socket, clip)
        receive(socket, "state")
        found = samples(server)
        assert found["affectstream_sessions"] == 1
        for name in ("queue_depth", "fps", "frame_hz", "faces", "listeners"):
            assert found[f'affectstream_{name}{{session="{session}"}}'] >= 0
        socket.send('{"type":"end"}')
        receive(socket)
    until(lambda: not server.sessions(), "the session to end")
    assert not [series for series in samples(server) if session in series]


def test_metrics_count_a_session(recognizer: Recognizer, clip: bytes) -> None:
    with running(recognizer) as one:
        with connect(f"{one.ws}/ingest") as socket:
            send(socket, clip)
            socket.send('{"type":"end"}')
            found = receive(socket)
        until(lambda: not one.sessions(), "the session to end")
        values = samples(one)
    types = [line["type"] for line in found]
    assert values['affectstream_sessions_opened_total{kind="ingest"}'] == 1
    assert values['affectstream_events_total{type="emotion"}'] == types.count("emotion") > 0
    assert values["affectstream_frames_in_total"] == 30
    assert values['affectstream_stage_seconds_count{stage="face_encoder"}'] > 0
    assert values['affectstream_stage_seconds_count{stage="deliver"}'] == len(types)
    perceived = types.count("faces")
    assert values['affectstream_work_seconds_count{stage="perceive"}'] == perceived > 0
    assert values['affectstream_work_seconds_bucket{le="+Inf",stage="perceive"}'] == perceived
    assert values['affectstream_work_seconds_count{stage="read"}'] >= types.count("emotion")
    assert 0 < values['affectstream_work_seconds_sum{stage="read"}'] < 60
    hops = types.count("emotion") + types.count("attention")
    assert values["affectstream_latency_seconds_count"] == hops
    assert values["affectstream_sessions"] == 0
