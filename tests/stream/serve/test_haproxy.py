"""The configuration of HAProxy in docs/guides/serve.md, in front of two servers on loopback."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from affectstream.stream.recognizer import Recognizer
from tests.support.serving import RunningServer, receive, running, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("haproxy") is None, reason="haproxy is not installed: apt-get install haproxy"
    ),
]
GUIDE = Path(__file__).parents[3] / "docs/guides/serve.md"


@dataclass
class Site:
    """The proxy, and the machines behind it: here two servers of this process."""

    address: str
    machines: tuple[RunningServer, RunningServer]

    @property
    def ws(self) -> str:
        return self.address.replace("http", "ws", 1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def site(recognizer: Recognizer, tmp_path: Path) -> Iterator[Site]:
    found = re.search(r"^```haproxy\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
    assert found is not None
    config, port = found[1], free_port()
    with ExitStack() as stack:
        options = {"max_sessions": 1, "proxies": ("127.0.0.1",)}
        one = stack.enter_context(running(recognizer, **options))
        two = stack.enter_context(running(recognizer, **options))
        config = re.sub(r"bind :443 ssl crt \S+", f"bind 127.0.0.1:{port}", config)
        config = config.replace("10.0.0.11:8765", one.address.removeprefix("http://"))
        config = config.replace("10.0.0.12:8765", two.address.removeprefix("http://"))
        (tmp_path / "haproxy.cfg").write_text(config)
        with subprocess.Popen(
            ["haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as proxy:
            try:
                until(lambda: answers(port) or proxy.poll() is not None, "HAProxy")
                assert proxy.poll() is None, proxy.stdout and proxy.stdout.read()
                yield Site(f"http://127.0.0.1:{port}", (one, two))
            finally:
                proxy.kill()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/about", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def opened(site: Site, stack: ExitStack) -> tuple[ClientConnection, str]:
    """A new session through the proxy, and its id."""
    sender = stack.enter_context(connect(f"{site.ws}/ingest?name=lab"))
    return sender, json.loads(sender.recv(timeout=20))["session"]


def test_sessions_stay_on_their_machine(site: Site, clip: bytes) -> None:
    assert httpx.get(site.address).headers["content-type"].startswith("text/html")
    for path in ("/sessions", "/metrics"):
        assert httpx.get(site.address + path).status_code == 404
    with ExitStack() as stack:
        first, one = opened(site, stack)
        second, two = opened(site, stack)
        homes = [[s["session"] for s in machine.sessions()] for machine in site.machines]
        assert sorted(homes) == sorted([[one], [two]]), "the first was full"

        with pytest.raises(InvalidStatus) as refused, connect(f"{site.ws}/ingest"):
            pass
        assert refused.value.response.status_code == 503
        assert b"in use: try again later" in refused.value.response.body
        assert refused.value.response.headers["retry-after"] == "5"

        for sender, session_id in ((first, one), (second, two)):
            for _ in range(3):  # whatever turn it is
                with connect(f"{site.ws}/events/{session_id}") as early:
                    assert early.protocol.state.name == "OPEN"
            with connect(f"{site.ws}/events/{session_id}") as listener:
                sender.send(clip)
                sender.send('{"type": "end"}')
                assert receive(listener)[-1]["what"] == "ended"


def test_a_session_is_ended_through_the_proxy_and_a_lost_machine_is_passed_over(site: Site) -> None:
    with ExitStack() as stack:
        _, one = opened(site, stack)
        second, _ = opened(site, stack)
        answer = httpx.delete(f"{site.address}/sessions/{one}", timeout=20)
        assert answer.status_code == 200 and answer.json()["session"] == one
        lost = next(m for m in site.machines if m.sessions())
        lost.server.should_exit = True
        assert receive(second)[-1]["what"] == "ended"
        # Where the first one was there is a place again.
        third = until(lambda: offered(site), "the machine that is left")
        (kept,) = (m for m in site.machines if m is not lost)
        assert [s["session"] for s in kept.sessions()] == [third]
        assert httpx.delete(f"{site.address}/sessions/{third}", timeout=20).status_code == 200


def offered(site: Site) -> str | None:
    """A WebRTC session through the proxy that never connects; None if there is no place yet."""
    import asyncio

    from tests.support.webrtc import Client

    async def offer() -> str:
        from aiortc.mediastreams import AudioStreamTrack

        client = Client(AudioStreamTrack())
        await client.connection.setLocalDescription(await client.connection.createOffer())
        sdp: str = client.connection.localDescription.sdp
        await client.connection.close()
        return sdp

    answer = httpx.post(
        f"{site.address}/offer", json={"type": "offer", "sdp": asyncio.run(offer())}, timeout=20
    )
    if answer.status_code != 200:
        assert answer.status_code == 503
        return None
    assert answer.headers["affectstream-session"] == answer.json()["session"]
    found: str = answer.json()["session"]
    return found
