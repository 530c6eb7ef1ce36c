"""`bench latency`: stages and ages of live sessions."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("skimage", reason="the demo's clip comes with the 'demo' extra")

from affectstream.bench.live import latency
from affectstream.bench.live.latency import HopTimes, main
from affectstream.stream.demo import write_clip
from affectstream.stream.results.interpret import HopResult


@pytest.mark.slow
def test_stages_ages_and_latencies_end_in_one_line_of_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(latency, "WARM_S", 0.5)
    clip = write_clip(tmp_path)
    main(clip, "pocket", "cpu", 2, 6.0, tmp_path / "out")
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((tmp_path / "out" / "latency.json").read_text()) == result
    assert result["sessions"] == 2 and result["hops"] == result["latency_ms"]["n"] > 4
    assert "p99" not in result["latency_ms"]  # so few hops carry none
    assert list(result["stages"])[:3] == ["queue", "decode", "convert"]
    assert {"detect", "encode face", "encode voice", "fuse", "emit"} <= set(result["stages"])
    mean = {name: result[f"{name}_ms"]["mean"] for name in ("age", "latency", "waiting")}
    assert mean["age"] == pytest.approx(mean["latency"] + mean["waiting"], rel=0.05)


def test_each_hop_counts_once_and_only_after_the_warm_up(monkeypatch):
    def event(age_ms, latency_ms):
        return SimpleNamespace(age_ms=age_ms, latency_ms=latency_ms)

    monkeypatch.setattr(latency, "Attention", SimpleNamespace)
    monkeypatch.setattr(latency, "WARM_S", 0.0)
    times = HopTimes()
    times.push(HopResult((), (event(120.0, 5.0), event(120.0, 5.0))))
    times.push(HopResult((), ()))
    times.push(HopResult((), (event(90.0, 0.0),)))  # the source ended within this hop
    assert [hop[1:] for hop in times.hops] == [(120.0, 5.0)]
    monkeypatch.setattr(latency, "WARM_S", 60.0)
    early = HopTimes()
    early.push(HopResult((), (event(120.0, 5.0),)))
    assert not early.hops
