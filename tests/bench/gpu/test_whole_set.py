"""`bench gpu` as far as the processor goes: its stages, and what it says where something fails."""

import json

import pytest

pytest.importorskip("onnx", reason="the ceilings are measured with graphs of the package onnx")
pytest.importorskip("skimage", reason="the demo's clip comes with the 'demo' extra")

from affectstream.bench.gpu import decode
from affectstream.bench.gpu.whole_set import main
from affectstream.engines.errors import UsageError


@pytest.mark.slow
def test_fp16_stage_writes_its_file(tmp_path, capsys):
    main("pocket", "cpu", 5.0, tmp_path, only=["parity"], as_json=True)
    [line] = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert json.loads((tmp_path / "gpu.json").read_text()) == result
    rows = result["stages"]["parity"]["rows"]
    assert all(row["passed"] for row in rows)
    assert {row["engine"] for row in rows} >= {"face_detector", "face_encoder", "fusion"}
    assert set(result["runtimes"]) == {"cuda", "tensorrt", "tensorrt-rtx"}


@pytest.mark.slow
def test_a_stage_that_fails_keeps_the_others(tmp_path, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("no decoder")

    monkeypatch.setattr("affectstream.bench.gpu.whole_set.measure_decoding", broken)
    main("pocket", "cpu", 5.0, tmp_path, only=["decode", "parity"])
    stages = json.loads((tmp_path / "gpu.json").read_text())["stages"]
    assert stages["decode"]["failed"] == "RuntimeError: no decoder"
    assert stages["parity"]["rows"]
    assert "no decoder" in capsys.readouterr().err


def test_an_unknown_stage_is_named(tmp_path):
    with pytest.raises(UsageError, match="--only speed: expected one of engines, latency"):
        main("pocket", "cpu", 5.0, tmp_path, only=["speed"])


def test_decoding_has_a_row_for_each_size_and_way(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "SIZES", {"small": (160, 96)})
    monkeypatch.setattr(decode, "FRAMES", 10)
    rows = list(decode.measure_decoding(tmp_path, 0.05))
    assert [row["way"] for row in rows] == [
        *("cpu", "cpu, to RGB", "nvdec, kept on the GPU"),
        *("nvdec, to the host", "nvdec, to the host, to RGB"),
    ]
    assert all(row["frames_per_s"] > 0 for row in rows[:2])
    assert all("frames_per_s" in row or row["not_run"] for row in rows)
