"""Two real worker processes behind one port."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from affectstream.engines.errors import BundleError
from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.supervisor import Supervisor
from tests.support.serving import RunningServer, receive, running_workers, until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    with running_workers(2, max_sessions=3, record=folder) as one:
        yield one


def opened(server: RunningServer, stack: ExitStack) -> tuple[ClientConnection, str]:
    """A new session, and its id."""
    socket = stack.enter_context(connect(f"{server.ws}/ingest?name=lab"))
    return socket, json.loads(socket.recv(timeout=20))["session"]


def delete(server: RunningServer, session_id: str) -> httpx.Response:
    return httpx.delete(f"{server.address}/sessions/{session_id}", timeout=20)


def test_sessions_are_spread_and_reached_from_every_worker(
    server: RunningServer, clip: bytes
) -> None:
    assert server.get("/about").json()["max_sessions"] == 3
    with ExitStack() as stack:
        found = [opened(server, stack) for _ in range(3)]
        ids = [session_id for _, session_id in found]
        assert sorted(one[0] for one in ids) == ["1", "1", "2"], "two places, and one"
        listed = server.sessions()
        assert sorted((s["worker"], s["session"]) for s in listed) == sorted(
            (int(one[0]), one) for one in ids
        )
        full = server.get("/readyz")
        assert full.status_code == 503 and "all 3 sessions" in full.json()["error"]
        with pytest.raises(InvalidStatus) as refused, connect(f"{server.ws}/ingest"):
            pass
        assert refused.value.response.status_code == 503

        # Every client is handed to one worker: at least one of these sessions lives in the other.
        with ExitStack() as listening:
            listeners = [
                listening.enter_context(connect(f"{server.ws}/events/{one}")) for one in ids
            ]
            for socket, _ in found:
                socket.send(clip)
                socket.send('{"type": "end"}')
            for listener, (sender, _) in zip(listeners, found, strict=True):
                events = receive(listener)
                assert events[-1]["what"] == "ended" and events[-1]["complete"]
                own = [e for e in receive(sender) if e["type"] in ("emotion", "segment", "stream")]
                assert [e for e in events if e["type"] != "attention"] == own
        text = server.get("/metrics").text
        for number in (1, 2):
            count = f'affectstream_sessions_opened_total{{worker="{number}",kind="ingest"}} '
            assert count in text
    until(lambda: not server.sessions(), "the sessions to end")


@pytest.mark.slow
def test_a_session_can_be_ended_through_every_worker(server: RunningServer) -> None:
    with ExitStack() as stack:
        found = [opened(server, stack) for _ in range(2)]
        assert {one[0] for _, one in found} == {"1", "2"}
        for _, session_id in found:
            assert delete(server, session_id).json()["session"] == session_id
            assert delete(server, session_id).status_code == 404
    until(lambda: not server.sessions(), "the sessions to end")


@pytest.mark.slow
def test_a_webrtc_client_is_placed_where_there_is_room(
    server: RunningServer, face: NDArray[np.uint8]
) -> None:
    from aioice.ice import get_host_addresses

    if not get_host_addresses(use_ipv4=True, use_ipv6=True):
        pytest.skip("ICE needs an address besides 127.0.0.1")
    from tests.support.webrtc import Client, Pictures

    async def work() -> list[str]:
        clients = [Client(Pictures(face)) for _ in range(2)]
        for client in clients:
            assert await client.connect(server) == 200
        for client in clients:
            await client.until(lambda line: line["type"] == "emotion")
        found = [(await c.until(lambda x: x["type"] == "session"))["session"] for c in clients]
        for client, session_id in zip(clients, found, strict=True):
            answer = await asyncio.to_thread(delete, server, session_id)
            assert answer.status_code == 200
            ended = await client.until(lambda line: line.get("what") == "ended")
            assert ended["detail"] is None
            await client.connection.close()
        return found

    assert {session_id[0] for session_id in asyncio.run(work())} == {"1", "2"}
    until(lambda: not server.sessions(), "the sessions to end")


def test_a_worker_that_dies_is_started_again_and_its_session_ends_clearly(
    server: RunningServer, clip: bytes, folder: Path
) -> None:
    before = server.get("/healthz").json()
    assert before == {"ok": True, "workers": 2, "workers_alive": 2}
    with ExitStack() as stack:
        sender, lost = opened(server, stack)
        number = int(lost[0])
        other, kept = opened(server, stack)
        assert kept[0] != lost[0]
        sender.send(clip)
        listener = stack.enter_context(connect(f"{server.ws}/events/{lost}"))
        json.loads(listener.recv(timeout=20))
        pid = server.server.pids[number - 1]
        os.kill(pid, signal.SIGKILL)
        for socket in (sender, listener):
            assert all(line.get("what") != "ended" for line in receive(socket))
        answer = delete(server, lost)
        assert answer.status_code == 410
        assert f"worker {number}, which had this session, ended" in answer.json()["error"]
        # The session of the other worker has noticed nothing.
        other.send(clip)
        other.send('{"type": "end"}')
        assert receive(other)[-1]["complete"]

        until(lambda: server.get("/healthz").json()["workers_alive"] == 2, "the restart", 60)
        assert server.server.pids[number - 1] != pid
        metrics = server.get("/metrics").text
        assert f'affectstream_worker_restarts_total{{worker="{number}"}} 1.0' in metrics
        _, again = opened(server, stack)
        assert delete(server, again).status_code == 200
    (events,) = folder.glob(f"*Z-{lost}/events.jsonl")
    last: dict[str, Any] = json.loads(events.read_text().splitlines()[-1])
    assert (last["what"], last["complete"]) == ("ended", False)
    assert "ended unexpectedly (signal 9, SIGKILL)" in last["detail"]


@pytest.mark.slow
def test_a_bundle_that_cannot_be_opened_is_reported_by_the_parent(tmp_path: Path) -> None:
    supervisor = Supervisor(str(tmp_path / "none"), "cpu", ServeOptions(port=0), 2)
    with pytest.raises(BundleError, match="none"):
        supervisor.run(lambda address: None)
