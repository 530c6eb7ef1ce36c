"""The gallery: a card for each result, links to its page, damaged ones listed and the others shown."""

import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream import exits
from affectstream.train.errors import DataError
from affectstream.train.gallery.cards import read_card
from affectstream.train.gallery.gallery import find_results, write_gallery
from tests.support.command import run_command

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def between(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def evaluation(value, samples, bundle="tiny"):
    classes = {
        "rows": [{"label": "joy", "samples": 3}, {"label": "fear & <b>", "samples": 1}],
        "confusion": [[2, 1], [0, 1]],
        "majority": {"accuracy": 0.75},
    }
    task = {"task": "emotion", "samples": samples, "by": "participant", "classes": classes}
    task["metrics"] = {
        "accuracy": between(value),
        "uar": {"value": None, "low": None, "high": None},
    }
    about = {"bundle": bundle, "version": "1.0", "name": "faces", "split": "valid"}
    return {"schema": "1.1", **about, "tasks": [task]}


COMPARISON = {
    "networks": [{"name": "a", "split": "test"}, {"name": "b", "split": "test"}],
    "tasks": [
        {
            "task": "emotion",
            "samples": 40,
            "by": "participant",
            "metrics": {"a": {"accuracy": between(0.4)}, "b": {"accuracy": between(0.6)}},
        }
    ],
    "recommendation": {"metric": "accuracy", "choice": "b", "steps": ["b has the best accuracy."]},
}
CURVE = {
    "recipe": "cnn",
    "data": "faces",
    "points": [{"samples": n, "metrics": {"accuracy": n / 100}} for n in (20, 40)],
}
EVENT = {
    "type": "explanation",
    "stream": "talk.mp4",
    "track": 1,
    "event": {"t_start": 1.0, "t_end": 1.5, "label": "joy"},
    "explained": {"name": "joy", "value": 0.81},
    "modalities": [{"modality": "video", "change": None}],
    "face": [{"regions": {"forehead": 0.01, "mouth and chin": 0.4}}],
}
NETWORK = {
    "type": "network explanation",
    "recipe": "sentence",
    "sample": "line 3",
    "label": None,
    "explained": {"name": "joy", "probability": 0.5},
    "tokens": [{"token": "great", "without": 0.31, "gradients": None}],
}


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "all results"
    put(folder / "low/metrics.json", evaluation(0.4, 900))
    put(folder / "high #1/metrics.json", evaluation(0.7, 40, "other"))
    put(folder / "high #1/report.html", "<p>")
    put(folder / "compared/comparison.json", COMPARISON)
    put(folder / "runs/cnn/curve/curve.json", CURVE)
    put(folder / "runs/cnn/curve/50/summary.json", {"recipe": "cnn"})
    put(folder / "why/explanation.json", EVENT)
    put(folder / "inside/explanation.json", NETWORK)
    return folder


def page_of(folder, *more):
    assert run_command("train", "gallery", folder, *more) == exits.DONE
    return (folder / "gallery.html").read_text()


def test_each_result_has_a_card_with_its_figure_and_interval(results):
    page = page_of(results)
    assert page.count("<article") == 6, "a training of a curve is no result of its own"
    for text in (
        "Accuracy 70.0%".lower(),
        "95 %: 60.0% to 80.0%, by participant",
        "the commonest class alone: 75.0%",
        "Take b",
        "b has the best accuracy.",
        "with 40 samples; 20.0% with 20; one training each",
        "joy 81.0%",
        "mouth and chin",
        "great",
    ):
        assert text in page
    assert "fear &amp; &lt;b&gt; as joy: 0 (0%)" in page
    assert "6 results" not in page


def test_a_card_leads_to_its_page_and_else_to_its_numbers(results, tmp_path):
    page = page_of(results)
    assert 'href="high%20%231/report.html"' in page and 'href="low/metrics.json"' in page
    elsewhere = tmp_path / "pages/one.html"
    write_gallery(find_results(results), results, elsewhere)
    assert 'href="../all%20results/high%20%231/report.html"' in elsewhere.read_text()


def test_it_fetches_nothing_and_is_the_same_twice(results):
    page = page_of(results)
    assert page == page_of(results)
    assert not re.search(r"https?:|url\(|@import|<link|<img", page) and "default-src 'none'" in page


def test_pictures_of_people_are_shown_only_if_asked_for(results):
    import cv2
    import numpy as np

    cv2.imwrite(str(results / "why/face.png"), np.full((60, 800, 3), 90, np.uint8))
    assert "data:image/jpeg" not in page_of(results)
    assert page_of(results, "--media").count("data:image/jpeg") == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Input data was truncated"),
        ({"tasks": []}, "missing required field"),
        (evaluation(0.5, 3) | {"tasks": []}, "holds no result"),
        ({"bundle": 3}, "Expected `str`"),
    ],
)
def test_a_damaged_result_is_listed_and_the_others_shown(results, content, reason, capsys):
    path = put(results / "broken/metrics.json", content)
    with pytest.raises(DataError, match=re.escape(reason)):
        read_card(path)
    assert run_command("train", "gallery", results) == exits.PARTLY
    assert "broken/metrics.json: " in capsys.readouterr().err
    page = (results / "gallery.html").read_text()
    assert (
        page.count("<article") == 6 and "1 not readable" in page and "broken/metrics.json" in page
    )


def test_files_that_contradict_themselves_and_names_in_other_encodings(tmp_path, capsys):
    first = {"samples": 10, "metrics": {"uar": 0.4}}
    put(tmp_path / "curve/curve.json", CURVE | {"points": [first, *CURVE["points"]]})
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")) / "metrics.json", evaluation(0.5, 3))
    assert run_command("train", "gallery", tmp_path) == exits.PARTLY
    assert (
        "curve.json: not as 'train' and 'explain' write it: 'accuracy'" in capsys.readouterr().err
    )
    assert 'href="%FF/metrics.json"' in (tmp_path / "gallery.html").read_text()


@pytest.mark.parametrize("name", ["curve.json", "reproduce.json", "agreement.json", "summary.json"])
def test_a_result_that_lacks_a_part_is_damaged(tmp_path, name):
    ours = {"samples": 3, "reported": "50"}
    row = between(0.5)
    coding = {"kind": "emotion", "by": "person", "seconds": 9.0, "labels": ["joy", "fear"]}
    content = {
        "curve.json": CURVE | {"points": [{"samples": 2, "metrics": {}}, CURVE["points"][1]]},
        "reproduce.json": {
            "source": "a paper",
            "data": "faces",
            "rows": [
                {"recipe": "a", "metrics": {"accuracy": row}} | ours,
                {"recipe": "b", "metrics": {"uar": row}} | ours,
            ],
        },
        "agreement.json": {
            "first": "A",
            "second": "B",
            "codings": [coding | {"exact": {"kappa": row}, "confusion": [[3, 1]]}],
        },
        "summary.json": {"recipe": "cnn", "best_epoch": 1, "figures": {"accuracy": 0.5}},
    }[name]
    put(tmp_path / "log.csv", "loss\n0.5\n")
    with pytest.raises(DataError, match=r"'(accuracy|epoch)' is missing|a confusion of"):
        read_card(put(tmp_path / name, content))


def test_a_metric_that_is_not_defined_is_no_damage(tmp_path):
    found = CURVE | {
        "points": [
            {"samples": 2, "metrics": {"uar": None}},
            {"samples": 4, "metrics": {"uar": 0.5}},
        ]
    }
    card = read_card(put(tmp_path / "curve.json", found))
    assert card.headline == "UAR 50.0%" and "not defined with 2" in card.interval
    folds = {"recipe": "cnn", "data": "faces", "samples": 6, "pooled": {"uar": between(0.5)}}
    folds["folds"] = [{"figures": {"uar": None}}, {"figures": {"uar": 0.4}}]
    assert read_card(put(tmp_path / "folds.json", folds)).notes == ("folds from 40.0% to 40.0%",)
    put(tmp_path / "log.csv", "epoch,loss,valid_loss\n1,nan,0.5\n2,0.4,0.4\n")
    run = {"recipe": "cnn", "best_epoch": 2, "figures": {"ccc": float("nan")}}
    card = read_card(put(tmp_path / "summary.json", run))
    assert card.headline == "CCC not defined" and "nan" not in card.picture.text


def test_a_folder_without_results_says_what_was_expected(tmp_path, capsys):
    assert run_command("train", "gallery", tmp_path) == exits.NOTHING
    assert "holds no results: expected metrics.json" in capsys.readouterr().err
    assert not (tmp_path / "gallery.html").exists()
    assert run_command("train", "gallery", tmp_path / "none") == exits.USAGE
    assert "no such folder" in capsys.readouterr().err


@contextmanager
def opened(path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(path.as_uri())
        yield page
        assert not errors
        browser.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
def test_cards_are_sorted_and_filtered(results):
    page_of(results)
    with opened(results / "gallery.html") as page:

        def titles():
            return [t.rstrip(" →") for t in page.locator(".result:visible h2").all_inner_texts()]

        assert titles()[0] == "Take b" and len(titles()) == 6
        page.select_option("#sort", "value")
        assert titles()[:2] == ["talk.mp4", "other 1.0"]
        page.select_option("#sort", "samples")
        assert titles()[0] == "tiny 1.0"
        page.click("#kinds button[data-kind=evaluation]")
        assert titles() == ["tiny 1.0", "other 1.0"]
        page.fill("#find", "high #1")
        assert titles() == ["other 1.0"]
        page.fill("#find", "nowhere")
        assert page.is_visible("#none")
