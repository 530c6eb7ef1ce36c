"""An evaluation counts by hand: classes, baseline, reliability, coverage; and the files hold the same."""

import csv
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.train.evaluate.bundle.evaluation import evaluate_predictions
from affectstream.train.evaluate.bundle.evaluation_files import write
from affectstream.train.predict.predictions import Predictions
from affectstream.train.tasks import Task

LABELS = ("neutral", "joy")
CHANCES = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.55, 0.45], [0.95, 0.05]])
TRUTH = np.array([0, 0, 0, 1, 1, -1])


def predictions():
    return Predictions(
        tasks=(Task("emotion", LABELS), Task("valence")),
        ids=np.array([f"s{i}" for i in range(6)], object),
        participants=np.array(["a", "a", "b", "b", "c", "c"], object),
        predicted={"emotion": CHANCES, "valence": np.linspace(-1, 1, 6)},
        truth={"emotion": TRUTH, "valence": np.array([-1.0, np.nan, 0, 0, 0.5, 1.0])},
    )


def test_yes_or_no_are_two_classes():
    chances = np.array([0.9, 0.2, 0.4, 0.5, 0.5])
    found = Predictions(
        tasks=(Task("attention"),),
        ids=np.array([f"s{i}" for i in range(5)], object),
        participants=np.array([""] * 5, object),
        predicted={"attention": chances},
        truth={"attention": np.array([1.0, 0.0, 1.0, 0.0, np.nan])},
    )
    (attention,) = evaluate_predictions(found)
    assert attention.metrics["balanced_accuracy"].value == pytest.approx(0.5)
    assert attention.metrics["ece"].value == pytest.approx((0.1 + 0.2 + 0.6 + 0.5) / 4)
    assert [row.label for row in attention.classes.rows] == ["not attentive", "attentive"]
    assert attention.classes.confusion.tolist() == [[1, 1], [1, 1]]
    assert attention.classes.rows[1].precision == pytest.approx(0.5)
    assert attention.classes.majority["accuracy"].value == pytest.approx(0.5)


def test_figures_by_hand():
    emotion, valence = evaluate_predictions(predictions())
    assert emotion.samples == 5 and emotion.by == "participant"
    assert emotion.metrics["accuracy"].value == pytest.approx(3 / 5)
    assert emotion.metrics["uar"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    found = emotion.classes
    assert found.confusion.tolist() == [[2, 1], [1, 1]]
    majority = found.majority["accuracy"]
    assert majority.value == pytest.approx(3 / 5) and majority.low < majority.high
    joy = found.rows[1]
    assert (joy.samples, joy.precision, joy.recall) == (2, 0.5, 0.5)
    assert joy.auc == pytest.approx(
        5 / 6
    )  # of six pairs of a joy and another, one is in the wrong order
    assert [(b.count, b.accuracy) for b in found.reliability] == [
        (1, 0.0), (1, 0.0), (1, 1.0), (1, 1.0), (1, 1.0)
    ]  # fmt: skip
    assert dict(found.coverage)[0.6] == 1.0 and dict(found.coverage)[1.0] == pytest.approx(0.6)
    assert valence.classes is None and valence.samples == 5
    over = found.over_people
    assert (over.people, over.mean.value, over.lowest, over.highest) == (3, 0.5, 0.0, 1.0)
    assert (over.mean.low, over.mean.high, over.deviation) == (0.0, 1.0, pytest.approx(0.5))


def test_every_figure_of_classes_has_an_interval_and_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 90)
    chances = generator.dirichlet((1, 1, 1), 90).round(2) + 0.5 * np.eye(3)[truth]
    chances /= chances.sum(1, keepdims=True)
    made = Predictions(
        (Task("emotion", ("neutral", "joy", "fear")),),
        *(np.array([f"s{i}" for i in range(90)], object), np.full(90, None)),
        *({"emotion": chances}, {"emotion": truth}),
    )
    (found,) = evaluate_predictions(made)
    guess = chances.argmax(1)
    expected = {
        "macro_precision": metrics.precision_score(truth, guess, average="macro"),
        "weighted_precision": metrics.precision_score(truth, guess, average="weighted"),
        "uar": metrics.balanced_accuracy_score(truth, guess),
        "macro_auc": metrics.roc_auc_score(truth, chances, multi_class="ovr"),
    }
    for name, value in expected.items():
        one = found.metrics[name]
        assert one.value == pytest.approx(value) and one.low < value < one.high
    for row in found.classes.rows:
        assert set(row.intervals) == {"precision", "recall", "f1", "auc"}
        for name, one in row.intervals.items():
            assert one.value == pytest.approx(getattr(row, name)) and one.low < one.value < one.high
    for (_, accuracy), one in zip(
        found.classes.coverage, found.classes.coverage_intervals, strict=True
    ):
        assert one.value == accuracy and one.low <= accuracy <= one.high
    for one in found.classes.reliability:
        assert one.interval.value == pytest.approx(one.accuracy)
    assert found.classes.over_people is None


def test_the_files_hold_what_was_found(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the 'train' extra")
    made = predictions()
    write(evaluate_predictions(made), made, {"bundle": "b", "data": "d"}, tmp_path / "out")
    document = json.loads((tmp_path / "out/metrics.json").read_text())
    assert document["bundle"] == "b"
    assert document["tasks"][0]["classes"]["confusion"] == [[2, 1], [1, 1]]
    rows = list(csv.DictReader((tmp_path / "out/predictions.csv").open()))
    assert len(rows) == 12 and rows[2]["truth"] == "neutral" and rows[2]["predicted"] == "joy"
    assert rows[5]["truth"] == "" and rows[5]["neutral"] == "0.9500"
    assert rows[6]["task"] == "valence" and rows[6]["predicted"] == "-1.0000"
    assert (tmp_path / "out/emotion.png").read_bytes().startswith(b"\x89PNG")


def test_a_class_that_all_samples_have_has_no_auc():
    made = predictions()
    made.truth["emotion"][:] = 0
    emotion = evaluate_predictions(made)[0]
    assert [row.auc for row in emotion.classes.rows] == [None, None]
