"""Where a classifier fails: groups by hand, worst cases, people unlike those of the training."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the 'train' extra")

from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import Sample
from affectstream.train.evaluate.bundle.error_analysis import analyze_errors
from affectstream.train.evaluate.bundle.error_cards import error_cards
from affectstream.train.evaluate.bundle.sample_facts import SampleFacts, sample_facts
from tests.support.prepared import face, hum, write

LABELS = ("neutral", "joy")


def facts(people, **measures):
    persons = np.array(people, object)
    sexes = np.array(["female" if p < "c" else "male" for p in people], object)
    numbers = {name: np.array(values, float) for name, values in measures.items()}
    return SampleFacts({"person": persons, "sex": sexes}, numbers)


def analyzed(training=None, **measures):
    people = ["a"] * 6 + ["b"] * 6 + ["c"] * 6
    truth = np.array([0, 1] * 9)
    chances = np.tile([0.9, 0.1], (18, 1))
    chances[:12][truth[:12] == 1] = [0.2, 0.8]  # a and b are right, c is always called neutral
    chances[13] = [0.99, 0.01]
    ids = np.array([f"s{i}" for i in range(18)])
    numbers = np.arange(18) + 100
    return analyze_errors(
        "emotion", LABELS, numbers, ids, truth, chances, facts(people, **measures), training
    )


def test_groups_and_the_worst_case():
    found = analyzed(level=[1.0] * 6 + [2.0] * 6 + [3.0] * 6)
    by = {(group.fact, group.value): group for group in found.groups}
    assert by["person", "a"].accuracy.value == 1.0 and by["person", "a"].mistake is None
    worst = by["person", "c"]
    assert (worst.accuracy.value, worst.uar, worst.samples, worst.people) == (0.5, 0.5, 6, 1)
    assert worst.mistake == ("joy", "neutral", 3) and worst.confusion == [[3, 0], [3, 0]]
    assert by["sex", "female"].people == 2 and by["person", "a"].stands_out
    assert by["level", "2.33 or more"].accuracy.value == 0.5
    first = found.worst[0]
    assert (first.number, first.id, first.truth, first.predicted) == (113, "s13", "joy", "neutral")
    assert len(found.worst) == 3 and first.facts["person"] == "c"
    assert found.differences == () and found.note == "the people of the training are not known"


def test_people_unlike_those_of_the_training_are_named():
    people = [f"a{i}" for i in range(6) for _ in range(4)]
    levels = [i / 10 for i in range(6) for _ in range(4)]
    found = analyzed(facts(people, level=levels), level=[0.2] * 12 + [9.0] * 6)
    said = [(d.person, d.fact, d.value, d.training) for d in found.differences]
    assert said == [("c", "sex", "male", "female"), ("c", "level", "9", "0 to 0.5")]
    assert found.note == "compared with 6 people of split train"


def test_facts_are_those_of_the_samples(tmp_path):
    rng = np.random.default_rng(0)
    made = [
        Sample(
            id=f"corpus/{number}",
            split="train",
            participant=f"p{number}",
            gender="female",
            age=30.0,
            language="en",
            frames_seen=1,
            crops=face(rng, number)[None],
            crop_times_us=np.zeros(1, np.int64),
            audio=hum(rng, number, 1.5) * (0.1 if number else 1),
            text="well, well",
            emotion="joy",
        )
        for number in range(2)
    ]
    dataset = Dataset(write(tmp_path / "set", made))
    found = sample_facts(dataset, np.arange(2))
    assert {name: column[0] for name, column in found.categories.items()} == {
        "person": "p0", "sex": "female", "age": "30 to 44", "language": "en", "corpus": "corpus",
        "modalities": "face+voice+words",
    }  # fmt: skip
    assert found.measures["seconds"].tolist() == pytest.approx([1.5, 1.5])
    assert found.measures["words"].tolist() == [2, 2]
    louder, softer = found.measures["level dB"]
    assert louder - softer == pytest.approx(20, abs=0.5) and 0 < found.measures["brightness"][0] < 1


def test_the_page_has_the_confusion_of_each_group():
    shown = error_cards(analyzed(level=[1.0] * 6 + [2.0] * 6 + [3.0] * 6), 15 / 18, {})[0].text
    for title in ("person c: 50% of 6", "sex female: 100% of 12", "level 2.33 or more: 50% of 6"):
        assert f"<figcaption>{title}</figcaption>" in shown
    assert "joy as neutral: 3 (100%)" in shown
    assert shown.index("person c: 50%") < shown.index("person a: 100%")
