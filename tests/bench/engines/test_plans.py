"""Exports at random weights are derived, compared and built; what fails becomes a row of its own."""

import pytest

pytest.importorskip("torch", reason="recipes are torch modules")
pytest.importorskip("onnx", reason="graphs are made with the package onnx")
pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")

from affectstream.bench.engines.large_recipes import smallest_variant
from affectstream.bench.engines.plans import PROFILE, measure, measure_recipe
from affectstream.engines.plans.build import BuildOptions
from affectstream.engines.plans.target import target_for
from affectstream.train.recipes.documented import cnn, temporal_vit, vit_b16
from tests.support import small_graphs


@pytest.fixture(scope="module")
def target():
    return target_for("tensorrt-rtx")


@pytest.mark.filterwarnings("ignore")  # the exporter warns of itself
@pytest.mark.parametrize("recipe", [cnn.RECIPE, temporal_vit.RECIPE], ids=lambda r: r.name)
def test_every_graph_of_a_recipe_builds_in_both_precisions(recipe, tmp_path, target):
    rows = list(measure_recipe(smallest_variant(recipe), tmp_path, target))
    graphs = [f"{recipe.name} {name}" for name in ("face_encoder", "fusion")]
    assert [row.engine for row in rows] == [name for name in graphs for _ in range(2)]
    for half, full in zip(rows[::2], rows[1::2], strict=True):
        assert (half.error, full.error) == ("", "")
        assert half.built.types.precision == "fp16" and full.built.types.fp16 == 0
        assert half.onnx_mb <= full.onnx_mb
        assert half.parity.startswith("largest error ") and not full.parity
        assert half.document()["plan_mb"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_graph_that_two_recipes_share_is_measured_once(tmp_path, target):
    measured = set()
    for recipe, graphs in ((vit_b16.RECIPE, 2), (temporal_vit.RECIPE, 1)):
        folder = tmp_path / recipe.name
        folder.mkdir()
        rows = list(measure_recipe(smallest_variant(recipe), folder, target, measured))
        assert len(rows) == 2 * graphs


def test_a_graph_that_cannot_be_built_is_a_row_with_the_reason(tmp_path, target):
    source = small_graphs.one_node(tmp_path / "det.onnx", "Det")
    options = BuildOptions(precision="fp32", profiles=(PROFILE,))
    row = measure("det", source, options, target)
    assert row.built is None
    assert "rejects node 0 'the-node' (Det)" in row.document()["error"]
    assert row.error in row.line()
