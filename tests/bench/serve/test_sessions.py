"""`affectstream bench sessions` on a real server, with a second or two of media."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from statistics import stdev

import pytest

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "psutil"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra, psutil with 'dev'")

from affectstream.bench.serve import sessions
from affectstream.bench.serve.arrivals import begin_times
from affectstream.bench.serve.clients import Client, check_addresses
from affectstream.bench.serve.peak import search_peak
from affectstream.bench.serve.session_row import Row
from affectstream.bench.serve.webm import encode_webm
from affectstream.bench.server_process import serving
from affectstream.stream.errors import SourceError
from tests.support.live_media import write_face


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_face(tmp_path_factory.mktemp("sent") / "face.mp4", 2)


def row_of(**changed):
    """A row in which nothing gives way."""
    fine = {
        "sessions": 8, "served": 8, "events_per_s": 16.0, "latency_p50": 5.0, "latency_p95": 9.0,
        "latency_p99": 9.0, "delay_p50": 100.0, "delay_p95": 120.0, "age_p50": 200.0,
        "delay_p99": 130.0, "delay_max": 140.0, "events": 480, "spread": 0.01, "stable": True,
        "frame_hz": 8.0, "lowered": 0, "dropped_share": 0.0, "ended_early": 0,
        "refused": {"503": 1}, "cpu": 0.8, "client_cpu": 0.1, "client_late_p95": 1.0,
    }  # fmt: skip
    return Row(**{**fine, **changed})


@pytest.mark.slow
def test_refused_sessions_are_counted_and_the_others_are_served(clip, capsys):
    server = sessions.Server("pocket", "cpu")
    sessions.main(clip, server, [2], 3.0, limit=1, warm_s=1.0)
    *table, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    (row,) = result["rows"]
    assert result["bench"] == "sessions" and result["machine"]["cores"] >= 1
    assert (row["sessions"], row["served"]) == (2, 1)
    assert row["refused"] == {"503": 2}, "one beyond the limit, and the one more that always asks"
    assert row["events_per_s"] > 0 and row["latency_p95"] is not None
    assert row["delay_p50"] > row["latency_p50"]
    assert row["cpu"] > row["client_cpu"] > 0
    assert table[1].split()[0] == "2" and len(table) == 3
    assert row["delay_p99"] is None, "so few events carry no p99"
    assert row["delay_max"] >= row["delay_p95"] and row["events"] > 0


@pytest.mark.slow
def test_the_most_sessions_are_searched_with_workers_and_batches(clip, capsys, tmp_path):
    server = sessions.Server("pocket", "cpu", workers=2, batch="on")
    sessions.main(
        clip, server, [2], 2.0, arrivals="poisson", p99_ms=1.0, warm_s=1.0, output=tmp_path
    )
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads((tmp_path / "sessions.json").read_text())
    assert result["peak"] == 0, "no delay is below a millisecond"
    assert [row["sessions"] for row in result["rows"]] == [1, 2]
    assert (result["workers"], result["batch"], result["arrivals"]) == (2, "on", "poisson")
    assert all(row["cpu"] > 0 for row in result["rows"])


@pytest.mark.slow
def test_more_clients_than_one_address_may_open_use_several_addresses(clip):
    chunks = encode_webm(clip, 1.0)
    with serving("pocket", "cpu", 12) as server:
        clients = [Client(server.address, number, chunks) for number in range(12)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert [(client.refused, client.failed) for client in clients] == [(None, None)] * 12
    assert all(client.events for client in clients)


def test_a_client_without_a_server_fails_with_the_reason():
    client = Client("http://127.0.0.1:9", 0, [(0.0, b"")])
    client.start()
    client.join()
    assert "refused" in client.failed and client.refused is None


def test_a_server_that_does_not_start_is_reported_with_the_reason():
    with (
        pytest.raises(SourceError, match=r"did not start: .*no-such-bundle"),
        serving("no-such-bundle", "cpu", 1),
    ):
        pass


def test_too_few_loopback_addresses_are_reported():
    with pytest.raises(SourceError, match=r"needs? the address 127\.0\.0\.\d{3,}"):
        check_addresses(3000)


@pytest.mark.parametrize(
    "changed", [{"lowered": 1}, {"dropped_share": 0.01}, {"ended_early": 1}, {"events_per_s": 0.0}]
)
def test_the_summary_names_what_degrades_first(changed):
    fine, full = row_of(), row_of(sessions=16, **changed)
    assert not fine.degraded and full.degraded
    assert "up to 8 sessions; at 16: " in sessions._summary([fine, full])
    assert "was not reached" in sessions._summary([fine])
    assert "up to 0 sessions" in sessions._summary([row_of(latency_p95=151.0)])


@pytest.mark.parametrize(
    ("changed", "carries"),
    [
        ({}, True),
        ({"delay_p99": 151.0, "delay_max": 200.0}, False),
        ({"delay_p99": 149.0, "delay_max": 200.0}, True),
        ({"delay_p99": None, "delay_max": 151.0}, False),
        ({"delay_p99": None, "delay_max": None}, False),
        ({"ended_early": 1}, False),
    ],
)
def test_a_server_carries_what_stays_within_the_bound(changed, carries):
    assert row_of(**changed).carries(150.0) is carries


@pytest.mark.parametrize("most", [0, 1, 5, 8, 13, 100, 256])
@pytest.mark.parametrize("start", [1, 8, 24])
def test_the_search_finds_the_most_with_few_measurements(most, start):
    asked = []

    def carries(count):
        asked.append(count)
        return count <= most

    assert search_peak(carries, start) == most
    assert asked[0] == start and len(asked) == len(set(asked)) <= 14


def test_sessions_begin_evenly_or_at_random():
    assert begin_times(4, "paced") == [0.0, 0.125, 0.25, 0.375]
    found = begin_times(200, "poisson")
    assert found == begin_times(200, "poisson") == sorted(found)
    assert found[-1] == pytest.approx(0.5, rel=0.25)
    gaps = [b - a for a, b in pairwise(found)]
    assert stdev(gaps) == pytest.approx(0.5 / 200, rel=0.25), "as far apart as they vary"


def test_the_picture_is_drawn_for_counts_and_for_a_search(tmp_path):
    pytest.importorskip("matplotlib", reason="the picture is drawn with matplotlib")
    from affectstream.bench.serve.sessions_picture import draw

    rows = [row_of(), row_of(sessions=16, lowered=16, delay_p95=2000.0, delay_p99=None)]
    result = {"rows": [asdict(row) for row in rows], "arrivals": "paced", "workers": 1}
    for name, more in (("counts", {}), ("search", {"p99_bound_ms": 250.0, "peak": 8})):
        draw(tmp_path / f"{name}.png", result | more)
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
