"""An hour of sessions in seconds: what is kept of those that break off."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

for module in ("websockets", "prometheus_client", "starlette", "uvicorn", "aiortc", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

from websockets.sync.server import ServerConnection, serve

from affectstream.bench.serve import soak_clients
from tests.support.serving import recording


@pytest.mark.slow
def test_a_permanent_session_that_breaks_off_is_opened_again_and_counted_by_reason(
    portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(socket: ServerConnection) -> None:
        socket.recv()
        socket.send('{"type":"error","error":"not today"}')
        socket.close(1011, "not today")

    monkeypatch.setattr(soak_clients, "SHORTEST_S", 0.5)
    media = recording(np.ascontiguousarray(portrait[:64, :64]), 1.0)
    counts = soak_clients.ClientCounts()
    with serve(refuse, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        soak_clients.run_permanent(address, media, time.monotonic() + 4.0, counts, 0)
        server.shutdown()
    assert counts.reopened == counts.opened - 1 > 0
    assert counts.failed == counts.opened == sum(counts.reasons.values())
    assert all("1011" in why and why.endswith("not today") for why in counts.reasons)
    assert counts.document()["reasons"] == counts.reasons


def test_the_number_of_reasons_is_limited() -> None:
    counts = soak_clients.ClientCounts()
    for number in range(50):
        counts.fail("websocket", str(number))
        counts.fail("webrtc", "the same")
    assert len(counts.reasons) == soak_clients.MAX_REASONS + 1
    assert sum(counts.reasons.values()) == counts.failed == 100
    assert counts.reasons["webrtc: the same"] == 50
