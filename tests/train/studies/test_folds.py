"""Cross-validation: every sample is held out once, never learned from, and folds go on where they stopped."""

import csv
import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream import exits
from affectstream.stream.errors import OptionError
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.resplit import resplit
from affectstream.train.errors import DataError, RunError, SplitError
from affectstream.train.predict.predictions import Predictions
from affectstream.train.recipes.registry import recipes
from affectstream.train.studies import cross_validation as cross
from affectstream.train.studies.cross_validation import check_plan, cross_validate
from affectstream.train.studies.folds import ONE_OUT, Folding, make_folds
from tests.support.command import run_command
from tests.support.prepared import (
    LABELS,
    again,
    samples,
    write,
)

RECIPE = recipes()["tiny_vit"]
CONFIG = replace(RECIPE.defaults, epochs=2, size=48, tiny=True, batch_size=8)


def with_people(made, count=4):
    """Whole rounds of the labels go to each participant in turn."""
    for number, sample in enumerate(made):
        sample.participant = f"p{number // len(LABELS) % count}"
        yield sample


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    parts = {"train": 24, "valid": 16, "test": 8}
    made = [with_people(samples(n, part, seed=n)) for part, n in parts.items()]
    return write(folder, [sample for some in made for sample in some])


def dealt(data, folds, **more):
    dataset = Dataset(data, large=())
    folding = Folding(str(folds), **more)
    return dataset, make_folds(dataset, folding, tasks=["emotion"], modalities=["video"], seed=0)


@pytest.mark.parametrize(("folds", "count"), [(2, 2), (4, 4), (ONE_OUT, 4)])
@pytest.mark.parametrize(("test", "held"), [(False, 40), (True, 48)])
def test_every_sample_is_held_out_once_and_nobody_is_in_two_parts(data, folds, count, test, held):
    dataset, found = dealt(data, folds, test=test)
    assert len(found.folds) == count and found.by == "participant"
    assert (found.samples, found.excluded) == (held, 48 - held)
    times = sum((fold.parts == "valid").astype(int) for fold in found.folds)
    aside = (dataset.column("split") == "test") & (not test)
    assert (times == ~aside).all()
    people = dataset.column("participant")
    for fold in found.folds:
        assert not set(people[fold.parts == "valid"]) & set(people[fold.parts == "train"])
        assert (fold.parts[aside] == None).all()  # noqa: E711


def test_one_participant_at_a_time_names_them(data):
    dataset, found = dealt(data, ONE_OUT)
    people = dataset.column("participant")
    for fold in found.folds:
        assert set(people[fold.parts == "valid"]) == {fold.name}


def test_by_sample_labels_are_spread_evenly(data):
    dataset, found = dealt(data, 5, by="sample")
    labels = dataset.column("emotion")
    for fold in found.folds:
        assert Counter(labels[fold.parts == "valid"]) == dict.fromkeys(LABELS, 2)


def test_copies_of_held_out_samples_are_not_trained_on(tmp_path):
    made = list(samples(16, "train"))
    copies = list(again(samples(16, "train")))[:3]
    dataset, found = dealt(write(tmp_path / "set", [*made, *copies]), 3)
    assert found.by == "sample"
    contents = dataset.column("content")
    for number, fold in enumerate(found.folds):
        assert not set(contents[fold.parts == "valid"]) & set(contents[fold.parts == "train"])
        resplit(dataset, fold.parts.tolist(), tmp_path / str(number), name="x", may_share=True)
    assert 0 < sum(fold.copies for fold in found.folds) <= 6


def test_samples_of_split_valid_can_stay_out(data):
    """A network that is validated on them learns from what the folds predict."""
    dataset, found = dealt(data, 2, by="sample", valid=False)
    assert found.samples == 24
    aside = dataset.column("split") != "train"
    for fold in found.folds:
        assert (fold.parts[aside] == None).all()  # noqa: E711


@pytest.mark.parametrize(
    ("folds", "more", "error", "message"),
    [
        ("1", {}, OptionError, "--folds 1: expected 2 or more, or leave-one-participant-out"),
        ("many", {}, OptionError, "--folds many: expected"),
        (ONE_OUT, {"by": "sample"}, OptionError, "holds out participants: leave out --by sample"),
        ("5", {}, SplitError, "5 folds by participant: expected 2 to 4, the participants"),
        ("11", {"by": "sample"}, SplitError, "11 folds: expected 2 to 10, as many as label"),
    ],
)
def test_impossible_folds_are_refused(data, folds, more, error, message):
    with pytest.raises(error, match=message):
        dealt(data, folds, **more)


def test_without_participants_a_recording_is_in_one_fold(tmp_path):
    made = list(samples(40, "train"))
    for number, sample in enumerate(made):
        sample.recording = f"r{number // 4}"
    write(tmp_path / "set", made)
    dataset, found = dealt(tmp_path / "set", 2)
    recordings = dataset.column("recording")
    assert found.by == "recording"
    for fold in found.folds:
        assert not set(recordings[fold.parts == "valid"]) & set(recordings[fold.parts == "train"])


def test_recordings_that_stay_whole_get_no_warning_of_shared_people(tmp_path, monkeypatch):
    made = list(with_people(samples(40, "train")))
    for number, sample in enumerate(made):
        sample.recording = f"r{number // 8}"
    made[0].participant = None
    write(tmp_path / "set", made)
    lines = []
    monkeypatch.setattr(cross, "check_plan", lambda *_: pytest.fail("planned"))
    with pytest.raises(pytest.fail.Exception, match="planned"):
        cross_validate(
            RECIPE, CONFIG, tmp_path / "set", tmp_path / "run", Folding("2"), report=lines.append
        )
    assert lines == ["40 samples in 2 folds by recording"]


def test_a_metric_that_a_fold_cannot_have_is_refused_before_any_training(tmp_path):
    made = list(with_people(samples(16, "train")))
    for sample in made:
        sample.attention = float(sample.participant == "p0")
    write(tmp_path / "set", made)
    config = replace(CONFIG, tasks=("attention",), monitor="auc")
    run = (RECIPE, config, tmp_path / "set", tmp_path / "run", Folding(ONE_OUT))
    with pytest.raises(
        OptionError, match="--monitor auc: the samples that fold p0 holds out are all"
    ):
        cross_validate(*run, best=True)
    assert not (tmp_path / "run").exists()


def test_holding_out_participants_needs_their_names(tmp_path):
    plain = write(tmp_path / "set", [*samples(8, "train"), *samples(8, "valid")])
    for folds, more in ((ONE_OUT, {}), ("2", {"by": "participant"})):
        with pytest.raises(SplitError, match="16 of 16 samples have no participant"):
            dealt(plain, folds, **more)


def test_other_splits_are_a_data_set_like_any_other(data, tmp_path):
    dataset = Dataset(data)
    parts = ["valid" if who == "p1" else "train" for who in dataset.column("participant")]
    parts[0] = None
    resplit(dataset, parts, tmp_path / "other", name="others", may_share=False)
    found = Dataset(tmp_path / "other")
    assert found.info.name == "others" and found.info.splits == {
        "train": parts.count("train"),
        "valid": parts.count("valid"),
        "none": 1,
    }
    assert found.info.content_sha256 == dataset.info.content_sha256
    assert found.info.split_sha256 != dataset.info.split_sha256
    assert found.column("split").tolist() == parts == [sample.split for sample in found]
    assert [found[index].split for index in (0, 5)] == [parts[0], parts[5]]
    np.testing.assert_array_equal(found[7].crops, dataset[7].crops)
    assert found.rows_of("valid").tolist() == [i for i, p in enumerate(parts) if p == "valid"]
    # As before, the hash is of the splits alone.
    resplit(dataset, dataset.column("split").tolist(), tmp_path / "same", name="x", may_share=True)
    assert Dataset(tmp_path / "same").info.split_sha256 == dataset.info.split_sha256
    # Splits of splits point at the samples themselves.
    resplit(found, parts, tmp_path / "twice", name="x", may_share=False)
    assert Dataset(tmp_path / "twice").info.of == str(data.absolute())


def test_a_leak_between_other_splits_is_refused(data, tmp_path):
    dataset = Dataset(data)
    parts = ["train", "valid"] * (len(dataset) // 2)
    with pytest.raises(SplitError, match=r"4 participant\(s\) are in more than one split"):
        resplit(dataset, parts, tmp_path / "a", name="x", may_share=False)
    resplit(dataset, parts, tmp_path / "a", name="x", may_share=True)
    assert len(Dataset(tmp_path / "a").info.shared_participants) == 4


def test_other_splits_notice_when_the_samples_have_changed(tmp_path):
    folder = write(tmp_path / "set", samples(8, "train"))
    resplit(Dataset(folder), ["train"] * 8, tmp_path / "other", name="x", may_share=True)
    folder.rename(tmp_path / "before")
    write(folder, samples(8, "train", seed=1))
    with pytest.raises(DataError, match="has changed"):
        Dataset(tmp_path / "other")


def validated(data, folder, folds=2, config=CONFIG, **more):
    said = []
    found = cross_validate(
        RECIPE, config, data, folder, Folding(str(folds)), report=said.append, **more
    )
    return found, said


def test_folds_are_trained_evaluated_and_summarized(data, tmp_path):
    found, said = validated(data, tmp_path / "run", 2)
    folder = tmp_path / "run/folds"
    assert said[:2] == [
        "40 samples in 2 folds by participant",
        "8 samples of split test are excluded; --test includes them",
    ]
    assert found.samples == 40 and found.by == "participant"
    each = [fold["figures"]["accuracy"] for fold in found.folds]
    assert found.mean["accuracy"] == pytest.approx(np.mean(each))
    assert found.deviation["accuracy"] == pytest.approx(np.std(each, ddof=1))
    # Figures of the last epoch, over all samples by what their own fold's network said.
    assert [fold["epoch"] for fold in found.folds] == [1, 1]
    told = [Predictions.load(folder / str(number) / "held_out.npz") for number in (1, 2)]
    hits = [(t.predicted["emotion"].argmax(1) == t.truth["emotion"]) for t in told]
    pooled = found.pooled["accuracy"]
    assert pooled.value == pytest.approx(np.concatenate(hits).mean())
    assert pooled.low <= pooled.value <= pooled.high
    assert len({name for t in told for name in t.ids}) == 40
    last = list(csv.DictReader((folder / "1/log.csv").open()))[-1]
    assert float(last["accuracy"]) == pytest.approx(each[0])
    result = json.loads((folder / "folds.json").read_text())
    assert result["mean"] == pytest.approx(found.mean) and result["figures of"] == "the last epoch"
    table = list(csv.reader((folder / "folds.csv").open()))
    assert [row[0] for row in table[1:5]] == ["1", "2", "mean", "deviation"]
    # The weights of folds are of no more use.
    assert not list(folder.glob("*/*.pt"))


def test_one_person_may_hold_a_class(tmp_path):
    made = list(with_people(samples(24, "train"), 2))
    for sample in made:
        if sample.emotion == "surprise":
            sample.participant = "p9"
    found, said = validated(write(tmp_path / "set", made), tmp_path / "run", ONE_OUT)
    assert [fold["fold"] for fold in found.folds] == ["p0", "p1", "p9"] and found.samples == 24
    assert "fold 3 of 3, participant p9: only held-out samples have surprise" in said


def test_all_folds_are_checked_before_the_first_is_trained(tmp_path, monkeypatch):
    made = list(with_people(samples(24, "train", labels=LABELS[:2]), 2))
    for sample in made:  # without p9 only one class is left
        sample.participant = "p9" if sample.emotion == "joy" else sample.participant
    data = write(tmp_path / "set", made)
    monkeypatch.setattr(cross, "fit", lambda *given, **more: pytest.fail("a fold was trained"))
    with pytest.raises(DataError, match="fold 3 of 3, participant p9': all training samples are"):
        validated(data, tmp_path / "run", ONE_OUT)


def test_finished_folds_are_skipped_and_others_resumed(data, tmp_path, monkeypatch):
    whole, _ = validated(data, tmp_path / "whole", 2)
    real, calls = cross.fit, []

    def stops(*given, **more):
        calls.append(given[3].name)
        if given[3].name == "2" and calls.count("2") == 1:

            def stop(epoch, figures):
                raise KeyboardInterrupt

            return real(*given, **more, on_epoch=stop)
        return real(*given, **more)

    monkeypatch.setattr(cross, "fit", stops)
    with pytest.raises(KeyboardInterrupt):
        validated(data, tmp_path / "half", 2)
    again, said = validated(data, tmp_path / "half", 2)
    assert calls == ["1", "2", "2"]
    assert again.mean == whole.mean and again.pooled == whole.pooled
    assert sum(line.startswith("epoch") for line in said) == 1
    with pytest.raises(RunError, match=r"holds folds with other settings \(learning_rate\)"):
        validated(data, tmp_path / "half", 2, replace(CONFIG, learning_rate=0.5))
    with pytest.raises(RunError, match=r"other settings \(folding\)"):
        validated(data, tmp_path / "half", 3)
    validated(data, tmp_path / "half", 2, replace(CONFIG, runs="elsewhere"))
    (tmp_path / "half/folds/plan.json").write_text("[")
    with pytest.raises(RunError, match=r"plan\.json cannot be read"):
        validated(data, tmp_path / "half", 2)
    # Folds of which nothing was learned yet bind nobody.
    for folder in ("1", "2"):
        shutil.rmtree(tmp_path / "half/folds" / folder)
    check_plan(tmp_path / "half/folds", {"learning_rate": 0.5})
    check_plan(tmp_path / "half/folds", {"learning_rate": 0.1})
    assert json.loads((tmp_path / "half/folds/plan.json").read_text()) == {"learning_rate": 0.1}


def test_held_out_samples_choose_nothing_without_best(data, tmp_path):
    with pytest.raises(OptionError, match="--schedule plateau follows the metrics of held-out"):
        validated(data, tmp_path, config=replace(CONFIG, schedule="plateau"))
    found, said = validated(data, tmp_path / "a", config=replace(CONFIG, patience=1, epochs=3))
    assert any("no early stopping (patience 1)" in line for line in said)
    assert {fold["epoch"] for fold in found.folds} == {2}
    best, _ = validated(
        data, tmp_path / "b", config=replace(CONFIG, epochs=3), best=True, keep=True
    )
    for number, fold in enumerate(best.folds, 1):
        log = list(csv.DictReader((tmp_path / f"b/folds/{number}/log.csv").open()))
        reached = [float(row["accuracy"]) for row in log]
        assert fold["epoch"] == int(np.argmax(reached))
        assert fold["figures"]["accuracy"] == pytest.approx(max(reached))
        assert (tmp_path / f"b/folds/{number}/best.pt").is_file()
    # Those have learned from every sample in turn.
    start = str(tmp_path / "b/folds/1")
    with pytest.raises(OptionError, match="was trained on samples of this data set"):
        validated(data, tmp_path / "c", config=replace(CONFIG, init=start))


def test_a_recipe_with_its_own_data_has_no_folds(data, tmp_path):
    own = recipes()["face_detector"]
    with pytest.raises(OptionError, match="face_detector has its own data and splits"):
        cross_validate(own, own.defaults, data, tmp_path, Folding("2"))


def test_the_command_takes_what_fit_takes(data, tmp_path, capsys):
    command = ("train", "folds", "--recipe", "tiny_vit", "--data", data, "--runs", tmp_path)
    small = ("--size", 48, "--tiny", "--epochs", 1, "--threads", 1, "--track", "none")
    assert run_command(*command, *small, "--folds", 2, "--seed", 3, "--batch-size", 4) == exits.DONE
    said = capsys.readouterr().out
    assert "pooled with 95 % bootstrap intervals by participant" in said
    plan = json.loads((tmp_path / "tiny_vit/folds/plan.json").read_text())
    assert (plan["seed"], plan["batch_size"], plan["epochs"]) == (3, 4, 1)
    # The file that it left does the same again, which is nothing.
    file = tmp_path / "tiny_vit/folds/config.toml"
    assert (
        run_command("train", "folds", "--config", file, "--folds", 2, "--threads", 1) == exits.DONE
    )
    assert "epoch" not in capsys.readouterr().out
    assert run_command(*command, "--by", "day") == exits.USAGE
    assert "'day'" in capsys.readouterr().err
