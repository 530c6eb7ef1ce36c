"""A pool of modalities is fitted without the people on whom its confidence is measured."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.bench.score.confidence import Half, cross_fitted, metrics
from affectstream.bench.score.diagrams import draw, table
from affectstream.bench.score.pool import fit_pool
from affectstream.engines.labels import subsets

PRIOR = np.array([0.5, 0.3, 0.2])


def half(seed, strengths, count=3000):
    """Independent experts, each three times too sure: the logits that are right have the slope `strength`."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, count)
    alone = {
        name: 3 * s * (np.eye(3)[labels] * s + random.normal(0, 1.0, (count, 3)))
        for name, s in strengths.items()
    }
    people = [f"p{seed}-{n // 2 % 4}" for n in range(count)]
    return Half(alone, labels, people, ["blur,room" if n % 2 else "" for n in range(count)])


@pytest.fixture(scope="module")
def measured():
    halves = [half(seed, {"video": 1.5, "voice": 1.0}) for seed in (1, 2)]
    return cross_fitted(halves, PRIOR)


def test_every_set_of_modalities_is_measured():
    assert subsets("abc")[:2] == [("a", "b", "c"), ("a", "b")] and subsets("abc")[-1] == ("c",)
    assert len(subsets("abc")) == 7


def test_the_fitted_gains_undo_overconfidence():
    fitted = half(3, {"video": 1.5, "voice": 1.0})
    pool = fit_pool(fitted.alone, fitted.labels, PRIOR, fitted.people)
    assert pool.gains == pytest.approx({"video": 1 / 3, "voice": 1 / 3}, abs=0.05)
    assert pool.calibrated["video+voice"].temperature == pytest.approx(1.0, abs=0.1)


def test_confidence_of_the_other_half_is_a_probability(measured):
    assert set(measured) == {"video", "voice", "video+voice"}
    for found in measured.values():
        row = metrics(found, PRIOR)
        for kind in ("clean", "degraded"):
            found_of = row["reliability"][kind]
            people = (
                3000 if found.modalities == ("video",) else 8
            )  # faces are not of those who speak
            assert (found_of["samples"], found_of["people"]) == (3000, people)
            assert found_of["debiased"] < 0.04 and found_of["ece"] < 0.04
            assert found_of["over_low"] <= found_of["over"] <= found_of["over_high"]


def test_one_modality_is_measured_by_what_was_done_to_it_and_by_person(measured):
    voice = metrics(measured["voice"], PRIOR)
    assert {name: row["samples"] for name, row in voice["degradations"].items()} == {"room": 3000}
    assert len(voice["by_person"]) == 8
    video = metrics(measured["video"], PRIOR)
    assert set(video["degradations"]) == {"blur"} and not video["by_person"]
    assert "degradations" not in metrics(measured["video+voice"], PRIOR)


def test_two_modalities_know_more_than_one_and_as_much_as_their_product(measured):
    row = metrics(measured["video+voice"], PRIOR)
    assert row["less_best"]["low"] > 0
    assert abs(row["less_product"]["value"]) < 0.01
    assert row["with_label"] >= metrics(measured["video"], PRIOR)["with_label"]


def test_columns_stay_where_they_are_without_degraded_samples(measured):
    row = metrics(measured["voice"], PRIOR)
    row["bundle"] = {"clean": row["reliability"]["clean"]}
    lines = table({"voice": row}).splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith("| bundle as it is |"))
    head, _, cells = ([cell.strip() for cell in line.split("|")] for line in lines[begin:][:3])
    assert len(cells) == len(head) and cells[3] == cells[5] == ""
    assert cells[4] == f"{row['bundle']['clean']['over']:+.3f}"


def test_the_table_and_the_diagrams_are_drawn(measured, tmp_path):
    pytest.importorskip("matplotlib")
    rows = {name: metrics(found, PRIOR) for name, found in measured.items()}
    assert "| video+voice |" in table(rows) and "| voice of p1-0 | 750 |" in table(rows)
    draw(rows, tmp_path / "confidence.png")
    assert (tmp_path / "confidence.png").stat().st_size > 5000
