"""The endpoints over real sockets: answers, refusals, and that no client can bring the server down."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectstream.stream.errors import OptionError
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve import app
from affectstream.stream.serve import server as serving
from affectstream.stream.serve.http import accepting, guard, protocols
from affectstream.stream.serve.limits import MAX_BODY_BYTES, OPENINGS_BURST
from affectstream.stream.serve.options import ServeOptions
from tests.support.serving import (
    TOKEN,
    RunningServer,
    running,
    until,
)


@pytest.fixture(scope="module")
def server(recognizer: Recognizer) -> Iterator[RunningServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "OPENINGS_BURST", 1e6)  # these tests ask faster than a person may
        with running(recognizer, max_sessions=2) as one:
            yield one


def test_the_page_is_complete_and_loads_nothing_from_elsewhere(server: RunningServer) -> None:
    page = server.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    for path, kind in (
        ("/page.js", "text/javascript"),
        ("/connect.js", "text/javascript"),
        ("/bands.js", "text/javascript"),
        ("/draw.js", "text/javascript"),
        ("/keep.js", "text/javascript"),
        ("/page.css", "text/css"),
    ):
        assert path[1:] in page.text
        found = server.get(path)
        assert found.status_code == 200 and found.headers["content-type"].startswith(kind)
        assert "http://" not in found.text.replace("http://www.w3.org", "").replace(
            "http://127.0.0.1", ""
        )


def test_programs_can_ask_for_status_and_sessions(server: RunningServer) -> None:
    assert server.get("/healthz").json() == {"ok": True}
    assert server.get("/readyz").status_code == 200
    about = server.get("/about").json()
    assert about["recording"] is False and "joy" in about["labels"] and about["stun"] == []
    assert server.get("/sessions").json() == {"max_sessions": 2, "sessions": []}
    assert server.get("/nothing").json() == {"error": "Not Found"}
    assert server.get("/offer").status_code == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[::1", "a b"]
)
def test_other_host_names_are_refused(server: RunningServer, host: str) -> None:
    answer = server.get("/sessions", headers={"host": host})
    assert answer.status_code == 400


def test_other_origins_are_refused(recognizer: Recognizer, server: RunningServer) -> None:
    for origin in ("http://evil.example", "null", server.address.replace("http", "https", 1)):
        assert server.get("/sessions", headers={"origin": origin}).status_code == 403
    assert server.get("/sessions", headers={"origin": server.address}).status_code == 200
    with running(recognizer, origins=("https://lab.example",)) as one:
        mine = one.get("/sessions", headers={"origin": "https://lab.example"})
        assert mine.headers["access-control-allow-origin"] == "https://lab.example"
        ask = httpx.options(one.address + "/offer", headers={"origin": "https://lab.example"})
        assert ask.status_code == 204
        assert "authorization" in ask.headers["access-control-allow-headers"]
        assert one.get("/sessions", headers={"origin": "https://other.example"}).status_code == 403


def test_a_token_is_required(recognizer: Recognizer) -> None:
    with running(recognizer, token=TOKEN) as one:
        for path in ("/", "/page.js", "/healthz", "/readyz"):
            assert one.get(path).status_code == 200
        for path in ("/about", "/sessions", "/metrics", "/sessions/x"):
            assert one.get(path).status_code == 401
            for wrong in ("x", TOKEN[:-1], TOKEN + "x", "ümläut"):
                header = {"authorization": f"Bearer {wrong}".encode()}
                assert one.get(path, headers=header).status_code == 401
        header = {"authorization": f"Bearer {TOKEN}"}
        assert one.get("/about", headers=header).status_code == 200
        assert one.get("/about", params={"token": TOKEN}).status_code == 200
        assert one.post_offer({"type": "offer", "sdp": ""}).status_code == 401


def test_another_address_needs_a_token_and_works_with_one(recognizer: Recognizer) -> None:
    with pytest.raises(OptionError, match="--token"):
        ServeOptions(host="0.0.0.0", port=0)
    with running(recognizer, host="0.0.0.0", token=TOKEN) as one:
        local = one.address.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(local + "/about").status_code == 401
        assert httpx.get(local + "/about", params={"token": TOKEN}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"\x00\xff\xfe junk", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[]", 400, "expected"),
        ({"type": "offer"}, 400, "expected"),
        ({"type": "answer", "sdp": "v=0"}, 400, "expected 'offer'"),
        ({"type": "offer", "sdp": "v=0\r\n" * 14_000}, 400, "at most"),
        ({"type": "offer", "sdp": "v=0", "name": 5}, 400, "expected a string"),
        ({"type": "offer", "sdp": "m=video\r\n"}, 400, "SDP"),
        ({"type": "offer", "sdp": "junk"}, 422, "sends nothing"),
        (b" " * (MAX_BODY_BYTES + 1), 413, "at most"),
    ],
)
def test_invalid_offers_are_refused(
    server: RunningServer, body: object, status: int, error: str
) -> None:
    answer = server.post_offer(body)
    assert answer.status_code == status and error in answer.json()["error"]
    assert server.sessions() == []


_LINES = st.sampled_from(
    [
        "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0", "a=rtpmap:96 VP8/90000", "a=rtpmap:111 opus/48000/2", "a=sendonly",
        "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=setup:actpass", "a=mid:0",
        "a=fingerprint:sha-256 00:11", "a=rtcp-mux", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host",
        "a=group:BUNDLE 0", "a=extmap:x y", "a=ssrc:1 cname", "a=fmtp:96", "\x00", "a=" + "x" * 500,
    ]
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_LINES | st.text(max_size=40), max_size=25))
def test_no_sdp_brings_it_down_or_leaves_a_session(server: RunningServer, lines: list[str]) -> None:
    answer = server.post_offer({"type": "offer", "sdp": "\r\n".join(lines)})
    assert answer.status_code in (400, 422)
    assert server.sessions() == []


def test_an_address_opens_no_more_sessions_than_the_rate_allows(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "OPENINGS_BURST", OPENINGS_BURST)
    with running(recognizer) as one:
        answers = [one.post_offer({"type": "offer", "sdp": "junk"})]
        while answers[-1].status_code == 422 and len(answers) < 200:
            answers.append(one.post_offer({"type": "offer", "sdp": "junk"}))
        assert len(answers) > OPENINGS_BURST
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert one.get("/sessions").status_code == 200


@pytest.mark.parametrize(("proxies", "is_believed"), [((), False), (("127.0.0.0/8",), True)])
def test_only_a_known_proxy_names_its_clients(
    recognizer: Recognizer,
    monkeypatch: pytest.MonkeyPatch,
    proxies: tuple[str, ...],
    is_believed: bool,
) -> None:
    monkeypatch.setattr(guard, "OPENINGS_BURST", 1.0)
    monkeypatch.setattr(guard, "OPENINGS_PER_S", 1e-3)
    offer = {"type": "offer", "sdp": "junk"}
    with running(recognizer, proxies=proxies) as one:
        # What the client itself states stands before what the proxy adds.
        first = one.post_offer(offer, **{"x-forwarded-for": "10.9.9.9, 10.0.0.1"})
        other = one.post_offer(offer, **{"x-forwarded-for": "10.9.9.9, 10.0.0.2"})
        again = one.post_offer(offer, **{"x-forwarded-for": "10.8.8.8, 10.0.0.1"})
    assert first.status_code == 422
    assert other.status_code == (422 if is_believed else 429)
    assert again.status_code == 429


def test_half_open_sockets_are_closed(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "REQUEST_S", 0.3)
    with running(recognizer) as one:
        port = int(one.address.rpartition(":")[2])
        silent, slow, second = (socket.create_connection(("127.0.0.1", port)) for _ in range(3))
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localh")
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        second.settimeout(10)
        answer = b""
        while not answer.endswith(b'{"ok":true}'):
            answer += second.recv(65536)
        second.sendall(b"GET /")
        for one_of in (silent, slow, second):
            one_of.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert one_of.recv(1) == b"", "a socket that asks nothing is answered nothing"
        assert until(lambda: not one.server.server_state.connections, "the sockets to go") is True


@pytest.mark.parametrize("encrypted", [False, True])
def test_half_open_connections_make_place_for_others(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    """The oldest is cut, so that neither descriptors nor places run out."""
    monkeypatch.setattr(serving, "_SPARE_CONNECTIONS", 0)
    monkeypatch.setattr(serving, "_MIN_CONNECTIONS", 16)
    tls = _certificate(tmp_path) if encrypted else None
    with running(recognizer, tls=tls, max_sessions=1) as one:
        port = int(one.address.rpartition(":")[2])
        begun = b"\x16\x03\x01" if encrypted else b"G"
        half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        for client in half_open:
            with contextlib.suppress(OSError):  # it may be cut already
                client.sendall(begun)
        assert httpx.get(one.address + "/healthz", verify=False, timeout=10).status_code == 200
        assert len(one.server.server_state.connections) < 16
        half_open[0].settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert half_open[0].recv(1) == b"", "the oldest was cut"
        for client in half_open:
            client.close()


def test_a_tls_handshake_has_a_deadline(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "REQUEST_S", 0.3)
    with running(recognizer, tls=_certificate(tmp_path)) as one:
        port = int(one.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"\x16\x03\x01")
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""


def test_a_websocket_whose_pongs_are_not_read_is_cut(server: RunningServer) -> None:
    port = int(server.address.rpartition(":")[2])
    ping = b"\x89\xfd\0\0\0\0" + b"p" * 125
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.sendall(
            b"GET /ingest HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        with pytest.raises(ConnectionError):
            client.sendall(ping * 600_000)  # 75 MB
    until(lambda: not server.sessions(), "the session to end")


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        bytes(range(256)) * 40,
    ],
)
def test_binary_junk_is_answered_or_closed(server: RunningServer, junk: bytes) -> None:
    port = int(server.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(junk)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := client.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert server.get("/healthz").status_code == 200


def test_a_body_that_never_ends_times_out(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "REQUEST_S", 0.3)
    with running(recognizer) as one:
        port = int(one.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(
                b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
            assert client.recv(65536).startswith(b"HTTP/1.1 408")


def test_clients_that_vanish_leave_nothing(server: RunningServer) -> None:
    port = int(server.address.rpartition(":")[2])
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET /sessions HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.close()  # with a reset
    until(lambda: len(server.server.server_state.connections) <= 1, "the connections to go")
    assert server.get("/healthz").status_code == 200


def test_tls(recognizer: Recognizer, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    locked, text = tmp_path / "locked.pem", tmp_path / "text.pem"
    locked.write_bytes(_locked(key))
    text.write_text("nothing of the kind")
    other = tmp_path / "other"
    other.mkdir()
    for pair, error in (
        ((key, certificate), "key.pem: holds no certificate in PEM format"),
        ((certificate, text), "text.pem: holds no private key in PEM format"),
        ((certificate, tmp_path / "gone.pem"), "gone.pem: cannot be read: No such file"),
        ((certificate, tmp_path), "cannot be read: Is a directory"),
        ((certificate, _certificate(other)[1]), "key.pem: is not the key of"),
        ((certificate, locked), "locked.pem: is protected by a password"),
    ):
        with pytest.raises(OptionError, match=error):
            serving.build(recognizer, ServeOptions(tls=pair))
    with running(recognizer, tls=(certificate, key)) as one:
        assert one.address.startswith("https://")
        trust = ssl.create_default_context(cafile=str(certificate))
        trust.check_hostname = False
        assert httpx.get(one.address + "/healthz", verify=trust).json() == {"ok": True}


def _locked(key: Path) -> bytes:
    """The same key, with a password."""
    from cryptography.hazmat.primitives import serialization

    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    return plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


def _certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509 as certificates  # comes with aiortc
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = certificates.Name(
        [certificates.NameAttribute(certificates.NameOID.COMMON_NAME, "localhost")]
    )
    now = datetime.now(UTC)
    certificate = (
        certificates.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def test_a_port_in_use_is_reported(recognizer: Recognizer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=f"cannot listen on 127.0.0.1:{port}"):
            serving.listen(ServeOptions(port=port))


def test_idle_connections_do_not_delay_the_shutdown(recognizer: Recognizer) -> None:
    with running(recognizer) as one:
        client = httpx.Client()
        client.get(one.address + "/healthz")  # kept alive
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 10
    assert str(one.server.totals).startswith("0 sessions")


def test_every_endpoint_is_documented(server: RunningServer) -> None:
    page = (Path(__file__).parents[3] / "docs/guides/serve.md").read_text()
    table = page[page.index("## Endpoints") : page.index("### Messages")]
    app: Any = server.server.config.app
    *routes, rest = app._app.routes
    assert len(routes) >= 10 and rest.path == "/{nothing:path}"
    for route in routes:
        assert route.path in table, f"{route.path} is not documented"


def test_client_errors_fill_no_log(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can reach the server could fill a disk otherwise."""
    port = int(server.address.rpartition(":")[2])
    host = f"Host: 127.0.0.1:{port}\r\n"
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    begun = f"POST /offer HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    for sent, then in (
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b""),
        (begun.encode(), b""),
        (f"GET /ingest HTTP/1.1\r\n{host}{upgrade}".encode(), b"\x81\x82\0\0\0\0\xff\xfe"),
        (f"GET /nothing HTTP/1.1\r\n{host}{upgrade}".encode(), b""),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(sent)
            if then:
                client.recv(4096)
                client.sendall(then)
                client.recv(4096)
    until(lambda: len(server.server.server_state.connections) <= 1, "the connections to go")
    until(lambda: not server.sessions(), "the session to end")
    assert not caplog.records


def test_an_unfinished_request_does_not_delay_the_shutdown(
    recognizer: Recognizer, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        socket.socket() as client,
        running(recognizer) as one,
    ):
        port = int(one.address.rpartition(":")[2])
        client.connect(("127.0.0.1", port))
        client.sendall(
            f"POST /offer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            "Content-Length: 9\r\n\r\n{".encode()
        )
        until(lambda: one.server.server_state.connections, "the connection")
        assert one.get("/healthz").status_code == 200
    assert not caplog.records, "a request that is cut leaves no stack trace"
