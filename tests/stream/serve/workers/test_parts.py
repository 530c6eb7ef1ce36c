"""The parts of `--workers`, each on its own and in one process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

from starlette.types import Message, Receive, Scope, Send

from affectstream.stream.errors import OptionError
from affectstream.stream.events import Stream, encode, parse_event
from affectstream.stream.serve import worker_process
from affectstream.stream.serve.metrics import Metrics
from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.supervisor import Supervisor
from affectstream.stream.serve.workers import tunnel
from affectstream.stream.serve.workers.board import Board, divide
from affectstream.stream.serve.workers.colleagues import Colleagues
from affectstream.stream.serve.workers.lost import end_recordings
from affectstream.stream.serve.workers.merging import merge_metrics
from affectstream.stream.serve.workers.router import Router


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """Two workers that serve, with two places and one place."""
    made = Board(tmp_path / "board", divide(3, 2))
    for number in (1, 2):
        made.count_start(number)
        made.set_ready(number, True)
    return made


class Request:
    """A request as the server sees it, and what it answered."""

    def __init__(self, path: str, *messages: Message, kind: str = "http", **more: Any) -> None:
        self.scope: Scope = {
            "type": kind,
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "query_string": b"token=secret",
            "headers": [(b"host", b"localhost")],
            "client": ("10.0.0.7", 1234),
            "extensions": {"websocket.http.response": {}},
            "state": {"not": "passed on"},
            **more,
        }
        self.sent: list[Message] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self._messages.put_nowait(message)

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def through(self, app: Any) -> list[Message]:
        await app(self.scope, self.receive, self.send)
        return self.sent


def named(name: str, seen: list[Scope] | None = None) -> Any:
    """An application that answers with its name and the body of the request."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if seen is not None:
            seen.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] != "websocket.disconnect":
                await send({"type": "websocket.send", "bytes": message["bytes"]})
            return
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": name.encode() + body})

    return app


POSTED: Message = {"type": "http.request", "body": b"!", "more_body": False}


class TestTunnel:
    def test_a_request_arrives_whole_and_so_does_the_answer(self, tmp_path: Path) -> None:
        async def work() -> None:
            seen: list[Scope] = []
            async with await tunnel.listen(tmp_path / "s", named("there", seen)):
                request = Request("/sessions/1", POSTED)
                passage = await tunnel.connect(tmp_path / "s")
                await passage.forward(request.scope, request.receive, request.send)
            assert [m.get("body") for m in request.sent] == [None, b"there!"]
            assert request.sent[0]["headers"] == [(b"a", b"b")]
            (scope,) = seen
            assert (
                scope["client"] == ("10.0.0.7", 1234) and scope["query_string"] == b"token=secret"
            )
            assert scope["headers"] == [(b"host", b"localhost")]
            assert tunnel.passed_on(scope) and scope["state"] == {}

        asyncio.run(work())

    def test_a_websocket_passes_in_both_directions_until_the_client_leaves(
        self, tmp_path: Path
    ) -> None:
        async def work() -> None:
            async with await tunnel.listen(tmp_path / "s", named("there")):
                request = Request(
                    "/ingest",
                    {"type": "websocket.receive", "bytes": b"\x00\xff"},
                    {"type": "websocket.disconnect", "code": 1001},
                    kind="websocket",
                )
                passage = await tunnel.connect(tmp_path / "s")
                await passage.forward(request.scope, request.receive, request.send)
            assert request.sent[1] == {"type": "websocket.send", "bytes": b"\x00\xff"}

        asyncio.run(work())

    def test_a_worker_that_dies_meanwhile_breaks_it(self, tmp_path: Path) -> None:
        async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async def work() -> None:
            async with await asyncio.start_unix_server(die, tmp_path / "s"):
                request = Request("/sessions/1", POSTED)
                passage = await tunnel.connect(tmp_path / "s")
                with pytest.raises(tunnel.Broken):
                    await passage.forward(request.scope, request.receive, request.send)

        asyncio.run(work())


class TestColleagues:
    def test_the_number_in_an_id_finds_its_worker(self, board: Board, tmp_path: Path) -> None:
        one, two = (Colleagues(number, board, tmp_path) for number in (1, 2))
        assert one.owner(two.prefix + "ab12") == 2
        assert one.owner(one.prefix + "ab12") is None
        for strange in ("", "ab12", "7-1-ab12", "0-1-x", "-1-1-x", "2--x", "²-1-x", "9" * 99):
            assert one.owner(strange) is None and one.lost(strange) is None

    def test_sessions_of_a_worker_that_died_are_lost(self, board: Board, tmp_path: Path) -> None:
        one, old = Colleagues(1, board, tmp_path), Colleagues(2, board, tmp_path).prefix + "ab12"
        board.count_start(2)
        board.set_ready(2, True)
        assert one.owner(old) is None
        assert (one.lost(old) or "").startswith("worker 2, which had this session, ended unexp")
        again = Colleagues(2, board, tmp_path)
        assert again.is_lost(old) and not again.is_lost(again.prefix + "ab12")
        assert not one.is_lost("2-9-ab12"), "it was never started so often"

    def test_a_session_goes_where_fewest_are(self, board: Board, tmp_path: Path) -> None:
        one = Colleagues(1, board, tmp_path)
        board.set_sessions(1, 1)
        assert one.for_new_session(upload=False, hops=0) == 2
        assert one.for_new_session(upload=True, hops=0) is None, "its bytes would pass twice"
        assert one.for_new_session(upload=False, hops=1) is None, "it was passed on already"
        with one.opening(2):  # its only place
            assert one.for_new_session(upload=False, hops=0) is None
        board.set_sessions(1, 2)
        assert one.for_new_session(upload=True, hops=1) == 2, "no place here"
        board.set_ready(2, False)
        assert one.for_new_session(upload=False, hops=0) is None and board.full
        assert [state.free for state in board.states] == [0, 0]

    def test_shares_add_up(self) -> None:
        assert divide(8, 3) == (3, 3, 2) and divide(2, 2) == (1, 1)


class TestRouter:
    def test_requests_go_to_the_worker_that_has_the_session(
        self, board: Board, tmp_path: Path
    ) -> None:
        async def work() -> None:
            one, two = (Colleagues(number, board, tmp_path) for number in (1, 2))
            router = Router(named("here"), one)
            async with await tunnel.listen(two.socket_path, named("there")):
                for path, expected in (
                    (f"/sessions/{two.prefix}ab", b"there!"),
                    (f"/events/{two.prefix}ab", b"there!"),
                    (f"/sessions/{one.prefix}ab", b"here!"),
                    ("/sessions", b"here!"),
                    ("/about", b"here!"),
                ):
                    assert (await Request(path, POSTED).through(router))[-1]["body"] == expected
            # The worker has just died.
            sent = await Request(f"/sessions/{two.prefix}ab", POSTED).through(router)
            assert sent[-1]["body"] == b"here!"

        asyncio.run(work())

    def test_a_client_whose_worker_dies_is_told(self, board: Board, tmp_path: Path) -> None:
        async def accept_and_die(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            raise OSError

        async def work() -> None:
            one, two = (Colleagues(number, board, tmp_path) for number in (1, 2))
            async with await tunnel.listen(two.socket_path, accept_and_die):
                request = Request(f"/events/{two.prefix}ab", kind="websocket")
                accepted, closed = await request.through(Router(named("here"), one))
            assert accepted["type"] == "websocket.accept"
            assert (closed["type"], closed["code"]) == ("websocket.close", 1011)
            assert "ended unexpectedly" in closed["reason"]

        asyncio.run(work())

    def test_a_new_session_counts_until_it_is_answered(self, board: Board, tmp_path: Path) -> None:
        async def work() -> None:
            one, two = (Colleagues(number, board, tmp_path) for number in (1, 2))
            board.set_sessions(1, 1)
            async with await tunnel.listen(two.socket_path, named("there")):
                first = await Request("/offer", POSTED).through(Router(named("here"), one))
            assert first[-1]["body"] == b"there!"
            assert not any(one._opening.values())

        asyncio.run(work())


def test_the_metrics_of_all_workers_are_one_text(board: Board) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    texts = {}
    for number in (2, 1):
        metrics = Metrics()
        metrics.count_opened("ingest")
        metrics.observe_stage("face_encoder", 0.003 * number)
        metrics.set_session(f'{number}-1-a"{{b', {"fps": 8.0})
        with contextlib.suppress(RuntimeError):  # its number of tasks needs an event loop
            texts[number] = asyncio.run(_text(metrics))
    board.count_start(2)
    merged = merge_metrics(texts, board.states)
    families = {f.name: f for f in parser.text_string_to_metric_families(merged)}
    opened = families["affectstream_sessions_opened"].samples
    assert [s.labels for s in opened if s.name.endswith("_total")] == [
        {"worker": "1", "kind": "ingest"},
        {"worker": "2", "kind": "ingest"},
    ]
    counts = [
        s for s in families["affectstream_stage_seconds"].samples if s.name.endswith("_count")
    ]
    assert [s.labels["worker"] for s in counts] == ["1", "2"]
    fps = families["affectstream_fps"].samples
    assert [s.labels["session"] for s in fps] == ['1-1-a"{b', '2-1-a"{b']
    assert [s.value for s in families["affectstream_worker_up"].samples] == [1.0, 0.0]
    restarts = families["affectstream_worker_restarts"].samples
    assert [(s.labels["worker"], s.value) for s in restarts] == [("1", 0.0), ("2", 1.0)]
    assert merged.count("# TYPE affectstream_fps ") == 1


async def _text(metrics: Metrics) -> str:
    return metrics.text().decode()


def test_the_recordings_of_a_dead_worker_get_an_end(tmp_path: Path) -> None:
    started = Stream(stream="lab", t_start=1.0, t_end=1.0, modalities=("video",), what="started")
    ended = Stream(
        stream="lab", t_start=1.0, t_end=2.0, modalities=("video",), what="ended", complete=True
    )
    for name, data in (
        ("20260101T000000Z-1-1-aa", encode(started) + b"\n" + b'{"schema": "1.3", "ty'),
        ("20260101T000000Z-1-1-bb", encode(started) + b"\n" + encode(ended) + b"\n"),
        ("20260101T000000Z-1-2-cc", encode(started) + b"\n"),
        ("20260101T000000Z-1-1-dd", b""),
        ("20260101T000000Z-1-1-ee", b"no event\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.jsonl").write_bytes(data)
    assert end_recordings(tmp_path, "1-1-", "worker 1 ended unexpectedly") == 1
    lines = (tmp_path / "20260101T000000Z-1-1-aa/events.jsonl").read_bytes().splitlines()
    last = parse_event(lines[-1])
    assert len(lines) == 2 and isinstance(last, Stream)
    assert (last.what, last.complete, last.t_start) == ("ended", False, 1.0)
    assert last.detail == "lab: worker 1 ended unexpectedly"
    for name in ("1-1-bb", "1-2-cc"):
        data = (tmp_path / f"20260101T000000Z-{name}/events.jsonl").read_bytes()
        assert b"unexpectedly" not in data


def test_logs_name_the_worker(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    before = logging.getLogRecordFactory()
    try:
        worker_process.name_logs(2)
        logging.getLogger("x").warning("100%% of %d", 3)
    finally:
        logging.setLogRecordFactory(before)
    assert caplog.messages == ["worker 2: 100% of 3"]


@pytest.mark.parametrize(("workers", "most"), [(1, 4), (5, 4)])
def test_more_workers_than_sessions_are_refused(workers: int, most: int) -> None:
    with pytest.raises(OptionError, match=rf"--workers {workers}: expected 1 to 4, the most sess"):
        Supervisor("pocket", "cpu", ServeOptions(max_sessions=most), workers)
