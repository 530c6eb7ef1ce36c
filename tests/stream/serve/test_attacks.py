"""Attacks that take longer: many connections, slow ones, and mutated uploads. The server must stay up."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")
resource = pytest.importorskip("resource", reason="the limit on memory needs Unix")

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from affectstream.stream.recognizer import Recognizer
from tests.stream.cli.test_serve import MAIN, started
from tests.support.serving import recording, running, until

pytestmark = pytest.mark.slow

LIMITED = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)); {MAIN}"
"""The command with at most 8 GB of memory."""
UPLOADS = 1000


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_thousand_connections_keep_nobody_out(recognizer: Recognizer, sent: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this process may not open 1,000 connections and serve them")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    with running(recognizer) as one, contextlib.ExitStack() as clients:
        port = int(one.address.rpartition(":")[2])
        opened = [
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(1000)
        ]
        for slowly in range(3):
            for client in opened:
                with contextlib.suppress(OSError):  # it may be cut already
                    client.sendall(sent if slowly == 0 else sent and b"X-More: 1\r\n")
            assert httpx.get(one.address + "/healthz", timeout=10).status_code == 200
            assert len(one.server.server_state.connections) < 400
            time.sleep(1.0)
        clients.close()
        until(lambda: not one.server.server_state.connections, "the connections to go")
        assert one.get("/healthz").status_code == 200


def mutated(seed: int, originals: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """A container format, and one of the recordings with some of its bytes changed."""
    draw = random.Random(seed)
    container, original = draw.choice(originals)
    data = bytearray(original)
    for _ in range(draw.choice((1, 2, 5, 20, 100))):
        at, many = draw.randrange(len(data)), draw.randrange(1, 40)
        match draw.randrange(5):
            case 0:
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                data[at : at + many] = draw.randbytes(many)
            case 2:
                del data[at : at + many]
            case 3:
                data[at:at] = data[at : at + many]
            case 4:
                data[at : at + many] = b"\xff" * many
        data = data or bytearray(b"\0")
    return container, bytes(data)


def test_mutated_uploads_end_their_own_session_only(portrait: NDArray[np.uint8]) -> None:
    face = np.ascontiguousarray(portrait[:256, 96:352])
    originals = [(name, recording(face, 0.4, name)) for name in ("webm", "mpegts")]
    with started("--max-sessions", "4", code=LIMITED) as (process, address):

        def upload(seed: int) -> None:
            """Send one, until the server closes. Each client has its own address: the server limits
            how many sessions one may open."""
            container, data = mutated(seed, originals)
            client = f"127.1.{seed // 250}.{seed % 250 + 1}"
            url = f"{address.replace('http', 'ws', 1)}/ingest?format={container}&name={seed}"
            while True:
                try:
                    with connect(url, source_address=(client, 0), open_timeout=30) as socket:
                        socket.send(data)
                        socket.send('{"type":"end"}')
                        with contextlib.suppress(ConnectionClosed):
                            while True:
                                socket.recv(timeout=60)
                    return
                except InvalidStatus as refused:  # the places of the last ones are not free yet
                    if refused.response.status_code != 503:
                        raise
                    time.sleep(0.2)

        with ThreadPoolExecutor(4) as pool:
            for _ in pool.map(upload, range(UPLOADS)):
                pass
        assert httpx.get(address + "/healthz", timeout=10).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0 and "Traceback" not in stderr
