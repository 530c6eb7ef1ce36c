"""A curve over growing shares of the training: nested, by people, continued where it stopped."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream.errors import OptionError
from affectstream.train.data.dataset import Dataset
from affectstream.train.recipes.registry import recipes
from affectstream.train.studies import learning_curve as curves
from tests.support.prepared import LABELS, samples, write

RECIPE = recipes()["tiny_vit"]
CONFIG = replace(RECIPE.defaults, epochs=1, size=48, tiny=True, batch_size=8)


def test_shares_are_nested_and_a_finished_one_is_not_trained_again(tmp_path):
    data = write(tmp_path / "set", [*samples(16, "train"), *samples(8, "valid", seed=1)])
    said = []
    run = tmp_path / "run"
    points = curves.learning_curve(RECIPE, CONFIG, data, run, [1, 0.5], report=said.append)
    assert [(p.share, p.samples, p.people) for p in points] == [(0.5, 8, 0), (1, 16, 0)]
    half = Dataset(run / "curve/50/data", large=())
    assert half.info.splits == {"train": 8, "valid": 8, "none": 8}
    learned = half.column("emotion")[half.rows_of("train")]
    assert {label: list(learned).count(label) for label in LABELS} == dict.fromkeys(LABELS, 2)
    assert points[0].overfitting is not None and points[0].metrics["accuracy"] >= 0
    for point in points:
        one = point.intervals["accuracy"]
        assert one.value == pytest.approx(point.metrics["accuracy"]) and one.low <= one.value
    read = curves.read_curve(run)
    assert read.points == tuple(points) and read == curves.read_curve(run / "curve")
    page = (run / "curve/report.html").read_text()
    assert 'class="band"' in page
    assert "What more data would bring" in page and "http:" not in page
    said.clear()
    assert curves.learning_curve(RECIPE, CONFIG, data, run, [0.5, 1], report=said.append) == points
    assert said == []
    assert curves.rows(points)[1][0] == "50%"
    with pytest.raises(OptionError, match="expected numbers above 0, up to 1"):
        curves.learning_curve(RECIPE, CONFIG, data, run, [2])


def test_known_people_join_whole(tmp_path):
    made = list(samples(20, "train"))
    for number, sample in enumerate(made):
        sample.participant = f"p{number // 4}"
    dataset = Dataset(write(tmp_path / "set", made), large=())
    order = curves._order(dataset, seed=3)
    assert [len(rows) for rows in order] == [4] * 5
    some, more = curves._first(order, 0.4), curves._first(order, 0.8)
    assert len(some) == 8 and set(some) < set(more)
    assert len(set(dataset.column("participant")[some])) == 2
    np.testing.assert_array_equal(curves._first(order, 1.0), np.arange(20))
