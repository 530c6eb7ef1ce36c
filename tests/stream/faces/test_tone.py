"""What was learned from equalized pictures is shown equalized ones wherever it looks."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream.faces.crop import equalize
from affectstream.train.export.net_bundle import face_crop
from affectstream.train.recipes.documented import cnn
from tests.support.prepared import samples, write


def made(tmp_path, tone):
    """A data set of grey pictures, as they are or equalized."""
    rows = [*samples(16, "train", grey=True), *samples(4, "valid", grey=True)]
    if tone == "equalized":
        rows = [replace(row, crops=np.stack([equalize(p) for p in row.crops])) for row in rows]
    return write(tmp_path / tone, rows)


@pytest.mark.parametrize("tone", ["natural", "equalized"])
def test_the_tone_of_a_data_set_is_found_and_goes_into_the_bundle(tmp_path, tone):
    data, config = made(tmp_path, tone), replace(cnn.RECIPE.defaults, size=56)
    recipe = cnn.RECIPE.bind(data, config)
    assert recipe.spec.window.tone == tone
    assert face_crop(recipe.spec).tone == tone


def test_pictures_of_another_tone_are_brought_to_that_of_the_network(tmp_path):
    data, config = made(tmp_path, "natural"), replace(cnn.RECIPE.defaults, size=56)
    recipe = cnn.RECIPE.bind(data, config)
    window = replace(recipe.spec.window, tone="equalized")
    shown = replace(recipe, bound_spec=msgspec.structs.replace(recipe.spec, window=window))
    plain, toned = (r.loaders(data, config).valid[0]["pixels"] for r in (recipe, shown))
    for before, after in zip(plain.flatten(0, 1), toned.flatten(0, 1), strict=True):
        assert (after.numpy() == equalize(before.numpy())).all()
    assert (plain != toned).any()
