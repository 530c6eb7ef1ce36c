"""`affectstream serve` as a process: what it prints, and how a signal ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from affectstream.stream.serve import server
from tests.support.serving import TOKEN, recording

MAIN = "from affectstream.stream.cli import main; main()"


@contextmanager
def started(
    *options: str, code: str = MAIN, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command on a free port, and the address that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", "0", "--device", "cpu", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("number", "code", "options"),
    [
        (signal.SIGINT, 130, []),
        (signal.SIGTERM, 0, []),
        pytest.param(signal.SIGINT, 130, ["--workers", "2"], marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 0, ["--workers", "2"], marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_every_session_and_prints_the_totals(
    number: signal.Signals, code: int, options: list[str], portrait: NDArray[np.uint8]
) -> None:
    clip = recording(np.ascontiguousarray(portrait[:256, 96:352]), 2.0)
    with started(*options) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        with connect(f"{address.replace('http', 'ws')}/ingest") as socket:
            socket.send(clip)
            lines = [json.loads(socket.recv(timeout=30))]
            while lines[-1]["type"] != "emotion":
                lines.append(json.loads(socket.recv(timeout=30)))
            process.send_signal(number)
            began_s = time.monotonic()
            try:
                while True:
                    lines.append(json.loads(socket.recv(timeout=30)))
            except ConnectionClosed:
                pass
        _, stderr = process.communicate(timeout=20)
        took_s = time.monotonic() - began_s
    assert [line["what"] for line in lines if line["type"] == "stream"][-1] == "ended"
    assert process.returncode == code
    assert "served 1 sessions" in stderr and "delivered" in stderr and "Traceback" not in stderr
    assert took_s < 20, "a signal must not leave it hanging"


STUCK = f"""
import asyncio
from affectstream.stream.serve.hub import Hub
async def close_all(self, until_s):
    print("closing", flush=True)
    await asyncio.sleep(60)
Hub.close_all = close_all
{MAIN}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    with started(code=STUCK) as (process, _):
        process.send_signal(number)
        process.send_signal(number)  # as wrappers do, which send it twice
        assert process.stdout is not None and process.stdout.readline() == "closing\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2 * server.SAME_SIGNAL_S)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr.strip() == "error: interrupted"


def test_it_warns_about_a_server_without_tls() -> None:
    with started("--host", "0.0.0.0", AFFECTSTREAM_TOKEN=TOKEN) as (process, address):
        port = address.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/about").status_code == 401
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
    assert "#token=TOKEN" in stderr and "--tls-cert" in stderr and TOKEN not in stderr


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--tls-cert", "a.pem"], "need each other"),
        (["--workers", "3", "--max-sessions", "2"], "--workers 3: expected 1 to 2, the most"),
        (["--workers", "2", "--trace", "t.json"], "traces one process"),
        (["--host", "256.0.0.1", "--token", TOKEN], "cannot listen on 256.0.0.1"),
        (["--record", "/dev/null/recordings"], "--record /dev/null/recordings: cannot be written"),
    ],
)
def test_an_invalid_option_is_reported_in_one_line(options: list[str], error: str) -> None:
    with started(*options) as (process, _):
        _, stderr = process.communicate(timeout=30)
    assert process.returncode in (2, 4)
    assert error in " ".join(stderr.replace("│", " ").split()) and "Traceback" not in stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['aiortc'] = None; "
        "from affectstream.stream.cli import main; main(['serve', '--device', 'cpu'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "this needs 'aiortc': pip install 'affectstream[serve]'" in done.stderr
    assert "Traceback" not in done.stderr
