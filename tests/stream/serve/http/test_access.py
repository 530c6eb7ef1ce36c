"""Who reaches which session of a server that several people use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from affectstream.stream.recognizer import Recognizer
from tests.support.serving import TOKEN, RunningServer, receive, running, until

ADMIN = "another-horse-battery"


@pytest.fixture(scope="module")
def shared(recognizer: Recognizer) -> Iterator[RunningServer]:
    """A server with a token and an admin token."""
    with running(recognizer, token=TOKEN, admin_token=ADMIN, max_sessions=2) as one:
        yield one


def status(server: RunningServer, path: str, token: str, method: str = "GET") -> int:
    header = {"authorization": f"Bearer {token}"}
    return httpx.request(method, server.address + path, headers=header, timeout=10).status_code


def listen(server: RunningServer, session: str, token: str) -> int:
    """The status of an attempt to listen; 101 if it succeeded."""
    try:
        with connect(f"{server.ws}/events/{session}?token={token}"):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_a_session_is_for_its_opener_and_the_admin(shared: RunningServer) -> None:
    with (
        connect(f"{shared.ws}/ingest?token={TOKEN}") as alice,
        connect(f"{shared.ws}/ingest?token={TOKEN}") as bob,
    ):
        opened = [receive(socket, "session")[-1] for socket in (alice, bob)]
        ids = [one["session"] for one in opened]
        secrets = [one["secret"] for one in opened]
        assert len({*ids, *secrets}) == 4
        path = f"/sessions/{ids[0]}"
        # Bob has the token and a secret of his own.
        for other in (TOKEN, secrets[1]):
            assert listen(shared, ids[0], other) == 403
            assert status(shared, path, other, "DELETE") == 403
        for stranger in ("x", ids[0]):
            assert listen(shared, ids[0], stranger) == 401
            assert status(shared, path, stranger, "DELETE") == 401
        for owner in (secrets[0], ADMIN):
            assert listen(shared, ids[0], owner) == 101
        for path_of_all in ("/sessions", "/metrics", "/sessions%0a", "/metrics%0a"):
            assert status(shared, path_of_all, TOKEN) in (403, 404)
            assert status(shared, path_of_all, secrets[0]) in (401, 404)
        assert status(shared, "/sessions", ADMIN) == status(shared, "/metrics", ADMIN) == 200
        assert status(shared, "/about", secrets[0]) == 401, "it opens no sessions"
        assert status(shared, path, secrets[0], "DELETE") == 200
        assert receive(alice)[-1]["what"] == "ended"
        assert listen(shared, ids[0], secrets[0]) == 401, "the secret has ended with its session"
        assert status(shared, f"/sessions/{ids[1]}", ADMIN, "DELETE") == 200
        assert receive(bob)[-1]["what"] == "ended"


def test_without_tokens_every_local_client_reaches_every_session(recognizer: Recognizer) -> None:
    with running(recognizer) as one, connect(f"{one.ws}/ingest") as socket:
        session = receive(socket, "session")[-1]["session"]
        assert [found["session"] for found in one.sessions()] == [session]
        assert listen(one, session, "none") == 101
        assert status(one, f"/sessions/{session}", "none", "DELETE") == 200
        until(lambda: not one.sessions(), "the session to end")


def test_an_admin_token_alone_protects_the_sessions_of_a_local_server(
    recognizer: Recognizer,
) -> None:
    with running(recognizer, admin_token=ADMIN) as one, connect(f"{one.ws}/ingest") as socket:
        opened = receive(socket, "session")[-1]
        assert one.get("/about").status_code == 200
        assert one.get("/sessions").status_code == 403
        assert listen(one, opened["session"], "none") == 403
        assert listen(one, opened["session"], opened["secret"]) == 101
        assert status(one, f"/sessions/{opened['session']}", ADMIN, "DELETE") == 200
