"""Networks of the recipes, as torch modules and as engines. Torch itself is timed on a GPU only."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="recipes are torch modules")
pytest.importorskip("onnx", reason="graphs are counted with the package onnx")

from affectstream.bench.gpu import networks, rivals
from affectstream.engines.errors import EngineError


@pytest.fixture(scope="module")
def part():
    """A face encoder that is quick to export."""
    part = networks.POCKET["face_resnet-face"]()
    small = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4)).eval()
    return replace(
        part,
        module=small,
        inputs=("pixels",),
        example=lambda rows: (torch.rand(rows, 2, 2, 3),),
    )


@pytest.mark.filterwarnings("ignore")  # the exporter warns of itself
def test_a_part_has_a_row_for_each_number_of_sessions(part, tmp_path):
    assert part.rows == 4  # 8 pictures a second, hops of half a second
    graph = part.export(tmp_path)
    rows = [
        row
        for row in rivals.measure_part(part, graph, (1, 64), 0.1, None, device="cpu")
        if "torch" not in row["runtime"]
    ]
    assert [(row["sessions"], row["batch"], row["batches_per_hop"]) for row in rows] == [
        (1, 4, 1),
        (64, 64, 4),
    ]
    assert rows[0]["gflops"] == pytest.approx(2 * 4 * 12 * 4 / 1e9)


@pytest.mark.filterwarnings("ignore")
def test_an_engine_that_does_not_run_is_a_row(part, tmp_path, monkeypatch):
    graph = part.export(tmp_path)

    def refuses(*_, **__):
        raise EngineError("no kernel for Pad")

    monkeypatch.setattr(rivals, "open_engine", refuses)
    *_, last = rivals.measure_part(part, graph, (1,), 0.1, None, device="cpu")
    assert last == {"part": "face_resnet-face", "runtime": "cpu", "not_run": "no kernel for Pad"}
