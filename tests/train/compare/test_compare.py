"""Two networks on the same samples: paired by id, under the same labels, never on what one learned from."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.taught import TAUGHT
from affectstream.stream import exits
from affectstream.stream.errors import OptionError
from affectstream.train.compare import candidates, comparison
from affectstream.train.compare.candidates import Candidate, check_same, open_candidates
from affectstream.train.compare.recommend import Rules, recommend
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.resplit import resplit
from affectstream.train.errors import DataError, RunError
from affectstream.train.evaluate.bundle.cost import Cost, EngineCost
from affectstream.train.fit.loop import fit
from affectstream.train.predict.predictions import Predictions
from affectstream.train.recipes.registry import recipes
from affectstream.train.studies.cross_validation import cross_validate
from affectstream.train.studies.folds import Folding
from affectstream.train.tasks import Task
from tests.support.command import run_command
from tests.support.prepared import samples, utterances, write
from tests.train.late_fusion.test_late_fusion import config_of, learn, member

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


def candidate(predictions, name="one", **about):
    return Candidate(name, predictions, "c", "s", "valid", **about)


def compare(*predictions):
    names = ("first", "second", "third")
    return comparison.compare([candidate(p, n) for n, p in zip(names, predictions, strict=False)])


TRUTH = ["neutral", "joy", "anger", "joy", "neutral", "anger"]
ONE = ["neutral", "joy", "joy", "joy", "anger", "anger"]
TWO = ["neutral", "joy", "anger", "neutral", "neutral", "anger"]


def test_samples_are_paired_by_their_ids_whatever_the_order():
    first = told(ONE, TRUTH)
    turned = [3, 0, 5, 1, 4, 2]
    ids = [f"s{n}" for n in turned]
    second = told([TWO[n] for n in turned], [TRUTH[n] for n in turned], ids)
    (found,) = compare(first, second)
    (pair,) = found.pairs
    assert found.samples == 6 and found.by == "sample" and pair.paired is None
    assert found.metrics["first"]["accuracy"].value == pytest.approx(4 / 6)
    assert found.metrics["second"]["accuracy"].value == pytest.approx(5 / 6)
    assert pair.difference["accuracy"].value == pytest.approx(1 / 6)
    assert (pair.mcnemar.first_only, pair.mcnemar.second_only) == (1, 2)
    assert found.corrected == (pair.mcnemar.p,) and found.friedman is None
    (same,) = compare(first, told(TWO, TRUTH))
    assert same == found


def test_other_orders_of_labels_change_nothing():
    (found,) = compare(told(ONE, TRUTH), told(TWO, TRUTH))
    other = told(TWO, TRUTH, labels=("anger", "surprise", "neutral", "joy"))
    (turned,) = compare(told(ONE, TRUTH), other)
    (one,), (other,) = found.pairs, turned.pairs
    assert other.difference == pytest.approx(one.difference) and other.mcnemar == one.mcnemar


def test_only_common_samples_with_known_labels_are_compared():
    fewer = told(["neutral", "joy", "joy"], ["neutral", "joy", "anger"], labels=("neutral", "joy"))
    (found,) = compare(told(ONE, TRUTH), fewer)
    assert found.samples == 2
    with pytest.raises(
        DataError, match=r"task emotion: 0 sample\(s\) that all can be evaluated on"
    ):
        compare(told(ONE, TRUTH), told(ONE, TRUTH, ids=list("abcdef")))
    other = replace(fewer, tasks=(Task("sentiment"),))
    with pytest.raises(DataError, match="no task that all predict"):
        compare(told(ONE, TRUTH), other)


def test_known_participants_are_drawn_and_tested():
    people = ["a", "a", "b", "b", "c", "c"]
    (found,) = compare(told(ONE, TRUTH, people=people), told(TWO, TRUTH, people=people))
    paired = found.pairs[0].paired
    assert found.by == "participant" and (paired.by, paired.count) == ("participant", 3)
    # 0, 0 - where each has one that the other lacks - and one more.
    assert paired.mean == pytest.approx((0 + 0 + 0.5) / 3)
    said = "\n".join(found.lines())
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
    (pair,) = found.pairs
    assert found.samples == 7 and pair.mcnemar is None
    assert found.metrics["first"]["mae"].value == pytest.approx(0.3, abs=1e-6)
    assert pair.difference["mae"].high < 0
    # Scores are errors with their sign turned: less error is a gain.
    assert pair.paired.mean == pytest.approx((0.2 + 0.1 + 0.3 + 0.2) / 4, abs=1e-6)


def right(shares, people=6):
    """Predictions of 20 samples of each person, of which these shares are right."""
    truth, guesses, who = [], [], []
    for person, share in zip(range(people), shares, strict=True):
        truth += ["joy"] * 10 + ["anger"] * 10
        wrong = 20 - round(20 * share)
        guesses += ["neutral"] * wrong + (["joy"] * 10 + ["anger"] * 10)[wrong:]
        who += [f"p{person}"] * 20
    return told(guesses, truth, people=who)


GOOD = (0.9, 0.8, 0.85, 0.9, 0.8, 0.95)
BAD = (0.5, 0.4, 0.45, 0.6, 0.4, 0.5)


def test_three_are_ranked_and_their_pairs_corrected():
    nearly = (0.85, 0.85, 0.85, 0.85, 0.85, 0.9)
    (found,) = compare(right(BAD), right(GOOD), right(nearly))
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("first", "second"), ("first", "third"), ("second", "third")
    ]  # fmt: skip
    assert found.corrected[0] < 0.05 and found.corrected[1] < 0.05 < found.corrected[2]
    assert found.corrected[1] >= found.pairs[1].p
    test = found.friedman
    assert (test.test, test.blocks) == ("Friedman", 6) and test.p < 0.05
    assert test.mean_ranks[0] == 3.0 and sum(test.mean_ranks) == pytest.approx(6)
    # Demsar (2006), table 5: q is 2.343 for three classifiers.
    assert test.critical_distance == pytest.approx(2.343 * (12 / 36) ** 0.5, abs=2e-3)


def cost(ms, megabytes, machine="a machine"):
    engine = EngineCost("fusion", 10, int(1e6 * megabytes), 1, 1e6, ms)
    return Cost((engine,), ms, ms, 100.0, machine)


def test_the_recommendation_follows_from_the_rules():
    nearly = (0.85, 0.85, 0.85, 0.85, 0.85, 0.9)
    made = [
        candidate(right(BAD), "small", cost=cost(1.0, 0.1)),
        candidate(right(GOOD), "good", cost=cost(20.0, 9.0)),
        candidate(right(nearly), "near", cost=cost(5.0, 4.0)),
        candidate(right(nearly), "lean", cost=cost(5.2, 2.0)),
    ]
    (found,) = comparison.compare(made)
    chosen = recommend(found, made, None, Rules(margin=0.1))
    assert chosen.metric == "accuracy" and chosen.choice == "lean"
    assert any(step.startswith("small (0.475) may be worse by 0.4") for step in chosen.steps)
    assert recommend(found, made, None, Rules(margin=0.0)).choice == "good"
    assert recommend(found, made, "uar", Rules(megabytes=1)).choice == "small"
    nothing = recommend(found, made, None, Rules(hop_ms=0.5))
    assert nothing.choice is None and "1.0 ms a hop, more than 0.5" in nothing.steps[0]
    with pytest.raises(OptionError, match="--metric speed: expected one of accuracy"):
        recommend(found, made, "speed", Rules())
    made[2] = replace(made[2], cost=cost(5.0, 4.0, "another machine"))
    elsewhere = recommend(found, made, None, Rules(margin=0.1))
    assert elsewhere.choice == "good" and "different machines" in elsewhere.steps[-1]


def test_it_says_where_no_network_beats_the_commonest_class():
    truth = ["joy"] * 26 + ["anger"] * 14
    blind, blinder = told(["joy"] * 40, truth), told(["joy"] * 30 + ["neutral"] * 10, truth)
    made = [candidate(blind, "blind"), candidate(blinder, "blinder")]
    (found,) = comparison.compare(made)
    assert "always saying the commonest class: accuracy 0.650" in found.lines()
    said = recommend(found, made, None, Rules()).steps[-1]
    assert said.startswith(
        "But always saying the commonest class has an accuracy of 0.650: blind (0.650"
    )
    seeing = [candidate(told(truth, truth), "seeing"), made[0]]
    (found,) = comparison.compare(seeing)
    assert not any("commonest" in step for step in recommend(found, seeing, None, Rules()).steps)


def test_it_says_where_samples_and_people_contradict_each_other():
    people = ["a"] * 30 + ["b"] * 5 + ["c"] * 5
    truth = ["joy"] * 40
    one = told(["joy"] * 30 + ["anger"] * 10, truth, people=people)
    other = told(["anger"] * 30 + ["joy"] * 10, truth, people=people)
    made = [candidate(one, "one"), candidate(other, "other")]
    (found,) = comparison.compare(made)
    chosen = recommend(found, made, None, Rules())
    assert chosen.choice == "one"
    assert "participants other is better, by 0.333 of accuracy" in chosen.steps[-1]


def test_other_samples_splits_and_folds_are_refused():
    one, fewer = right(GOOD), right(GOOD[:5], 5)
    check_same([candidate(one), candidate(one, "two")], common=False)
    with pytest.raises(DataError, match="20 only in the first, 0 only in the second"):
        check_same([candidate(one), candidate(fewer, "two")], common=False)
    check_same([candidate(one), candidate(fewer, "two")], common=True)
    with pytest.raises(DataError, match="different data sets"):
        check_same([candidate(one), replace(candidate(one), content="x")], common=True)
    folds = np.repeat(np.arange(6), 20)
    same = [candidate(one, folds=folds), candidate(one, "two", folds=folds)]
    check_same(same, common=False)
    (found,) = comparison.compare(same)
    assert found.pairs[0].paired.by == "fold" and found.pairs[0].p == 1.0
    with pytest.raises(DataError, match="different folds"):
        check_same([same[0], replace(same[1], folds=np.roll(folds, 7))], common=False)


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
    opened = open_candidates([str(run_folder), str(out)], data, "valid")
    of_run, of_bundle = (one.predictions for one in opened)
    assert opened[0].trainable == opened[0].parameters and opened[1].cost.flops > 1e6
    of_engines = [(one.cost.flops, one.cost.bytes, one.cost.parameters) for one in opened]
    assert of_engines[0] == of_engines[1]
    assert opened[0].cost.hop_ms > 0 and opened[0].cost.peak_mb != 0
    assert of_run.ids.tolist() == of_bundle.ids.tolist()
    guesses = [one.predicted["emotion"].argmax(1) for one in (of_run, of_bundle)]
    np.testing.assert_array_equal(*guesses)
    capsys.readouterr()
    saved, evaluated = trained / "out", trained / "evaluated"
    evaluate = ("train", "evaluate", "--bundle", out, "--data", data, "--split", "valid")
    assert run_command(*evaluate, "--output", evaluated, "--media") == exits.DONE
    page = (evaluated / "report.html").read_text()
    assert "data:image/png;base64," in page and not re.search(r"https?:|url\(| src=\"[^d]", page)
    document = json.loads((evaluated / "metrics.json").read_text())
    shown = capsys.readouterr().out
    for name, one in document["tasks"][0]["metrics"].items():
        if name in ("accuracy", "uar", "macro_f1", "ece"):
            interval = f"{one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]"
            assert re.search(rf"video .* {name} +{re.escape(interval)}  \(n = 16\)", shown)
    assert "intervals: 95 % bootstrap by sample" in shown
    assert document["cost"]["engines"] and document["errors"]["worst"]
    command = ("train", "compare", run_folder, trained / "tiny_vit", evaluated, "--data", data)
    assert run_command(*command, "--output", saved) == exits.DONE
    said = capsys.readouterr().out
    assert "emotion: 16 samples, 95 % bootstrap intervals by sample" in said
    assert "Cochran's Q over 16 blocks" in said and "recommended: " in said
    found = json.loads((saved / "comparison.json").read_text())
    (task,) = found["tasks"]
    accuracy = task["metrics"]["cnn"]["accuracy"]["value"]
    assert accuracy == pytest.approx(of_run.metrics()["accuracy"])
    assert len(task["pairs"]) == len(task["corrected"]) == 3
    assert task["pairs"][0]["paired"] is None and 0 <= task["pairs"][0]["mcnemar"]["p"] <= 1
    assert not re.search(r"https?:|url\(| src=", (saved / "report.html").read_text())


def test_what_each_modality_of_a_run_is_worth_is_measured(tmp_path):
    data = write(tmp_path / "set", [*utterances(16, "train"), *utterances(8, "valid")])
    members = [member(tmp_path / name, name) for name in ("video", "voice")]
    config = config_of("late_fusion", members, tmp_path / "runs", epochs=1)
    learn("late_fusion", config, data, tmp_path / "runs/late_fusion")
    (run,) = open_candidates([str(tmp_path / "runs/late_fusion")], data, "valid")
    assert [one.modality for one in run.importance.modalities] == ["video", "voice"]
    assert {one.engine for one in run.cost.engines} >= {"fusion", "video/fusion"}


class OfAnotherPackage:
    """A recipe that wraps one of ours, and is no `NetRecipe`."""

    def __init__(self, inner):
        self.inner, self.name = inner, inner.name

    def bind(self, data, config):
        return OfAnotherPackage(self.inner.bind(data, config))

    def spec_dict(self):
        return self.inner.spec_dict()

    def restore(self, spec):
        return OfAnotherPackage(self.inner.restore(spec))

    def module(self):
        return self.inner.module()

    def predict(self, module, data, split, config):
        return self.inner.predict(module, data, split, config)


def test_a_run_that_cannot_be_exported_is_compared_without_its_cost(trained, monkeypatch, capsys):
    ours = OfAnotherPackage(recipes()["cnn"])
    monkeypatch.setattr(candidates, "recipes", lambda: {"cnn": ours})
    (found,) = open_candidates([str(trained / "cnn")], trained / "set", "valid")
    assert len(found.predictions.ids) == 16 and found.cost is None and found.importance is None
    said = capsys.readouterr().err
    assert f"{trained / 'cnn'}: cost not measured: only a NetRecipe or a FusionRecipe" in said


def test_folds_cost_what_the_first_costs_if_its_weights_were_kept(trained, tmp_path, capsys):
    config = replace(recipes()["cnn"].defaults, epochs=1, size=56, tiny=True, batch_size=8)
    for keep in (True, False):
        run = tmp_path / f"keep{keep}"
        folding = Folding("2", "sample")
        cross_validate(
            recipes()["cnn"],
            config,
            trained / "set",
            run,
            folding,
            keep=keep,
            report=lambda _: None,
        )
        (found,) = open_candidates([str(run / "folds")], None, "valid")
        assert found.trainable == found.parameters > 0
        assert (found.cost is not None) is keep
    kept = tmp_path / "keepTrue/folds"
    assert "not measured" not in capsys.readouterr().err
    (kept / "1/best.pt").write_bytes(b"damaged")
    (found,) = open_candidates([str(kept)], None, "valid")
    assert found.cost is None
    assert f"{kept}: cost not measured: " in capsys.readouterr().err


def test_a_network_trained_on_these_samples_under_other_splits_is_refused(trained):
    dataset = Dataset(trained / "set")
    turned = ["valid" if part == "train" else "train" for part in dataset.column("split")]
    resplit(dataset, turned, trained / "turned", name="turned", may_share=True)
    with pytest.raises(RunError, match="trained on these samples under other splits"):
        open_candidates([str(trained / "cnn")], trained / "turned", "valid")


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
    assert run_command(*evaluate, data, "--split", "train") != exits.DONE
    assert "was trained on all of split train of" in capsys.readouterr().err
    to = ("--output", tmp_path / "out")
    assert run_command(*evaluate, data, "--split", "valid", *to) == exits.DONE
    assert "trained on" not in capsys.readouterr().err
    found = json.loads((tmp_path / "out/metrics.json").read_text())
    assert found["split"] == "valid" and found["learning_curve"] is None
    assert found["by_modalities"]["video"]["emotion"]["accuracy"]["low"] is not None
    record = found["training"]["cnn"]
    assert record["overfits"] is (record["overfitting"] > 0.2)
    assert record["trainable"] == record["parameters"] > 0
    candidates = open_candidates([str(out), str(tmp_path / "out")], data, "valid")
    assert [(one.trainable, one.frozen) for one in candidates] == [(record["trainable"], 0)] * 2
    assert "overfit" in (tmp_path / "out/report.html").read_text()
    assert run_command(*evaluate, data, "--curve", out, *to, "--split", "valid") != exits.DONE
    assert "holds no learning curve: expected curve.json" in capsys.readouterr().err
    assert run_command(*evaluate, data) != exits.DONE
    said = " ".join(capsys.readouterr().err.split())
    assert "no samples for split test; rows by split: train 16, valid 16" in said


def test_a_taught_bundle_says_what_cannot_be_known(trained, capsys, tmp_path):
    """Nobody can tell whether samples are from the recordings that it was taught with."""
    data, out, found = trained / "set", tmp_path / "mine", tmp_path / "found"
    export = ("train", "export", "--recipe", "cnn", "--data", data, "--runs", trained)
    assert run_command(*export, "--output", out) == exits.DONE
    (out / TAUGHT).write_text('{"lesson": {"recordings": 6}}')
    capsys.readouterr()
    on = ("--data", data, "--split", "valid")
    assert run_command("train", "evaluate", out, *on, "--output", found) == exits.DONE
    said = " ".join(capsys.readouterr().err.split())
    assert "taught with 6 coded recordings, and it is not known whether these samples are" in said
    assert "16 of 16 samples do not say from which files they were cut" in said
    assert "taught with 6 recordings: keep them apart" in (found / "report.html").read_text()
    for one in (found, out):
        assert run_command("train", "compare", one, trained / "cnn", *on) == exits.DONE
        chosen = " ".join(capsys.readouterr().out.split())
        name = one.name
        assert "recommended: " in chosen
        assert f"But {name} was taught with 6 coded recordings" in chosen


def test_a_folder_that_is_neither_run_nor_bundle_is_named(trained, capsys):
    command = ("train", "compare", trained / "nothing", "pocket", "--data", trained / "set")
    assert run_command(*command) != exits.DONE
    said = capsys.readouterr().err
    assert "nothing is neither a run nor a bundle: expected best.pt or bundle.json in it" in said
