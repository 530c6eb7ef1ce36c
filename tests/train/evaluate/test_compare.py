"""Two networks on the same samples: paired by id, under the same labels, never on what one learned from."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream import exits
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.resplit import resplit
from affectstream.train.errors import DataError, RunError
from affectstream.train.evaluate.compare import compare, lines, predict
from affectstream.train.fit.loop import fit
from affectstream.train.predict.predictions import Predictions
from affectstream.train.recipes.registry import recipes
from affectstream.train.tasks import Task
from tests.support.command import run_command
from tests.support.prepared import samples, write
from tests.support.toy_recipes import one_thread  # noqa: F401

LABELS = ("neutral", "joy", "anger")


def told(guesses, truth, ids=None, people=None, labels=LABELS):
    """What a made-up network says: sure of each guess."""
    chances = np.eye(len(labels))[[labels.index(guess) for guess in guesses]]
    return Predictions(
        tasks=(Task("emotion", labels),),
        ids=np.asarray(ids or [f"s{n}" for n in range(len(truth))], object),
        participants=np.asarray(people or [None] * len(truth), object),
        predicted={"emotion": chances},
        truth={"emotion": np.asarray([labels.index(t) if t in labels else -1 for t in truth])},
    )


TRUTH = ["neutral", "joy", "anger", "joy", "neutral", "anger"]
ONE = ["neutral", "joy", "joy", "joy", "anger", "anger"]
TWO = ["neutral", "joy", "anger", "neutral", "neutral", "anger"]


def test_samples_are_paired_by_their_ids_whatever_the_order():
    first = told(ONE, TRUTH)
    turned = [3, 0, 5, 1, 4, 2]
    ids = [f"s{n}" for n in turned]
    second = told([TWO[n] for n in turned], [TRUTH[n] for n in turned], ids)
    (found,) = compare(first, second)
    assert found.samples == 6 and found.by == "sample" and found.participants is None
    assert found.first["accuracy"].value == pytest.approx(4 / 6)
    assert found.second["accuracy"].value == pytest.approx(5 / 6)
    assert found.difference["accuracy"].value == pytest.approx(1 / 6)
    assert (found.mcnemar.first_only, found.mcnemar.second_only) == (1, 2)
    (same,) = compare(first, told(TWO, TRUTH))
    assert same == found


def test_other_orders_of_labels_change_nothing():
    (found,) = compare(told(ONE, TRUTH), told(TWO, TRUTH))
    other = told(TWO, TRUTH, labels=("anger", "surprise", "neutral", "joy"))
    (turned,) = compare(told(ONE, TRUTH), other)
    assert turned.difference == pytest.approx(found.difference)
    assert turned.mcnemar == found.mcnemar


def test_only_common_samples_with_known_labels_are_compared():
    fewer = told(["neutral", "joy", "joy"], ["neutral", "joy", "anger"], labels=("neutral", "joy"))
    (found,) = compare(told(ONE, TRUTH), fewer)
    assert found.samples == 2
    with pytest.raises(
        DataError, match=r"task emotion: 0 sample\(s\) that both can be evaluated on"
    ):
        compare(told(ONE, TRUTH), told(ONE, TRUTH, ids=list("abcdef")))
    other = replace(fewer, tasks=(Task("sentiment"),))
    with pytest.raises(DataError, match="the first predicts emotion, the second sentiment"):
        compare(told(ONE, TRUTH), other)


def test_known_participants_are_drawn_and_tested():
    people = ["a", "a", "b", "b", "c", "c"]
    (found,) = compare(told(ONE, TRUTH, people=people), told(TWO, TRUTH, people=people))
    assert found.by == "participant" and found.participants.count == 3
    # 0, 0 - where each has one that the other lacks - and one more.
    assert found.participants.mean == pytest.approx((0 + 0 + 0.5) / 3)
    said = "\n".join(lines(found))
    assert "95 % bootstrap intervals by participant" in said and "over 3 participants" in said


def test_regressions_are_compared_by_their_errors():
    def amounts(values):
        truth = np.linspace(-1, 1, 8).astype(np.float32)
        truth[3] = np.nan
        return Predictions(
            (Task("valence"),),
            np.asarray([f"s{n}" for n in range(8)], object),
            np.asarray(list("aabbccdd"), object),
            {"valence": np.asarray(values, np.float32)},
            {"valence": truth},
        )

    truth, off = np.linspace(-1, 1, 8), np.array([0.1, 0.1, 0.2, 9, 0, 0, 0.1, 0.1])
    (found,) = compare(amounts(truth + 0.3), amounts(truth + off))
    assert found.samples == 7 and found.mcnemar is None
    assert found.first["mae"].value == pytest.approx(0.3, abs=1e-6)
    assert found.difference["mae"].high < 0
    # Scores are errors with their sign turned: less error is a gain.
    assert found.participants.mean == pytest.approx((0.2 + 0.1 + 0.3 + 0.2) / 4, abs=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data set, and runs of two recipes on it."""
    folder = tmp_path_factory.mktemp("compare")
    made = [*samples(16, "train"), *samples(16, "valid", seed=1)]
    data = write(folder / "set", made)
    for name, size in (("cnn", 56), ("tiny_vit", 48)):
        recipe = recipes()[name]
        config = replace(recipe.defaults, epochs=1, size=size, tiny=True, batch_size=8)
        fit(recipe, config, data, folder / name, report=lambda _: None)
    return folder


def test_a_run_and_its_bundle_agree(trained, capsys):
    data, run_folder = trained / "set", trained / "cnn"
    out = trained / "bundle"
    export = ("train", "export", "--recipe", "cnn", "--data", data, "--runs", trained)
    assert run_command(*export, "--output", out) == exits.DONE
    of_run, of_bundle = (predict(str(folder), data, "valid") for folder in (run_folder, out))
    assert of_run.ids.tolist() == of_bundle.ids.tolist()
    guesses = [one.predicted["emotion"].argmax(1) for one in (of_run, of_bundle)]
    np.testing.assert_array_equal(*guesses)
    capsys.readouterr()
    saved = trained / "out.json"
    command = ("train", "compare", run_folder, trained / "tiny_vit", "--data", data)
    assert run_command(*command, "--output", saved) == exits.DONE
    assert "emotion: 16 samples, 95 % bootstrap intervals by sample" in capsys.readouterr().out
    (task,) = json.loads(saved.read_text())["tasks"]
    assert task["first"]["accuracy"]["value"] == pytest.approx(of_run.metrics()["accuracy"])
    assert task["participants"] is None and 0 <= task["mcnemar"]["p"] <= 1


def test_a_network_trained_on_these_samples_under_other_splits_is_refused(trained):
    dataset = Dataset(trained / "set")
    turned = ["valid" if part == "train" else "train" for part in dataset.column("split")]
    resplit(dataset, turned, trained / "turned", name="turned", may_share=True)
    with pytest.raises(RunError, match="trained on these samples under other splits"):
        predict(str(trained / "cnn"), trained / "turned", "valid")


def test_a_bundle_is_not_measured_on_what_it_learned(trained, capsys, tmp_path):
    data, out = trained / "set", tmp_path / "bundle"
    export = ("train", "export", "--recipe", "cnn", "--data", data, "--runs", trained)
    assert run_command(*export, "--output", out) == exits.DONE
    dataset = Dataset(data)
    turned = ["test" if part == "train" else "valid" for part in dataset.column("split")]
    resplit(dataset, turned, tmp_path / "turned", name="turned", may_share=True)
    evaluate = ("train", "evaluate", "--bundle", out, "--data")
    assert run_command(*evaluate, tmp_path / "turned", "--split", "test") != exits.DONE
    assert "bundle was trained on these samples under other splits" in capsys.readouterr().err
    assert run_command(*evaluate, data, "--split", "train") == exits.DONE
    assert "trained on split train" in capsys.readouterr().err
    to = ("--output", tmp_path / "out")
    assert run_command(*evaluate, data, "--split", "valid", *to) == exits.DONE
    assert "trained on" not in capsys.readouterr().err
    assert json.loads((tmp_path / "out/metrics.json").read_text())["split"] == "valid"
    assert run_command(*evaluate, data) != exits.DONE
    said = " ".join(capsys.readouterr().err.split())
    assert "no samples for split test; rows by split: train 16, valid 16" in said


def test_a_folder_that_is_neither_run_nor_bundle_is_named(trained, capsys):
    command = ("train", "compare", trained / "nothing", "pocket", "--data", trained / "set")
    assert run_command(*command) != exits.DONE
    said = capsys.readouterr().err
    assert "nothing is neither a run nor a bundle: expected best.pt or bundle.json in it" in said
