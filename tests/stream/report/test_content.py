"""The numbers that a report holds."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from affectstream.engines.cache.digest import sha256
from affectstream.stream import Result
from affectstream.stream.events import AssignedBy, Reason
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.report import content as content_module
from affectstream.stream.report.content import ABSTAINS, MISSING, REASONS, SPEAKS, content, to_bytes
from affectstream.stream.report.provenance import _ASSIGNED
from tests.support.live_media import write_face

PAGE = Path(content_module.__file__).parent / "page"


@pytest.fixture(scope="module")
def result(recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("report")
    write_face(folder / "talk.mp4", 4)
    return recognizer.score(folder / "talk.mp4")


@pytest.fixture(scope="module")
def shown(result: Result, recognizer: Recognizer) -> dict[str, Any]:
    labels = recognizer.bundle.manifest.labels
    return content(name="talk.mp4", events=result.events, readings=result.readings, labels=labels)


def values(series: list[Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(b64decode(series[2]), np.uint8)


def test_series_hold_the_readings_to_a_byte(result: Result, shown: dict[str, Any]) -> None:
    for person in shown["people"]:
        rows = [row for row in result.readings.to_pylist() if row["track"] == person["track"]]
        places = [row["hop"] - person["first"] for row in rows]
        for label in shown["labels"]:
            low, high, _ = person["series"][f"score {label}"]
            found = values(person["series"][f"score {label}"])
            for place, row in zip(places, rows, strict=True):
                if row[label] is None:
                    assert found[place] == MISSING
                else:
                    assert low + found[place] * (high - low) / 254 == pytest.approx(
                        row[label], abs=1 / 254
                    )
        verdict, used = values(person["series"]["verdict"]), values(person["series"]["used"])
        for place, row in zip(places, rows, strict=True):
            if row["label"] is not None:
                assert shown["labels"][verdict[place]] == row["label"]
            elif row["abstain"] is not None:
                assert REASONS[verdict[place] - ABSTAINS] == row["abstain"]
            assert bool(used[place] & 1) == ("video" in row["modalities"])
            state = used[place] // (2 * SPEAKS)
            assert (None, *shown["states"])[state] == row["attention_state"]


def test_a_missing_hop_is_missing() -> None:
    assert to_bytes(np.array([np.nan, -1.0, 1.0, 2.0]), -1, 1).tolist() == [255, 0, 254, 254]


def test_every_way_of_assigning_a_voice_has_words() -> None:
    assert set(_ASSIGNED) == set(get_args(AssignedBy))


def test_every_reason_has_a_place() -> None:
    assert get_args(Reason) == REASONS
    assert len(REASONS) < MISSING - ABSTAINS


def test_a_person_of_two_hours_takes_a_third_of_a_megabyte(shown: dict[str, Any]) -> None:
    person = shown["people"][0]
    a_hop = sum(len(series[2]) for series in person["series"].values()) / person["count"]
    assert a_hop * 2 * 3600 / shown["hop"] < 350_000


def test_the_library_is_the_one_whose_hashes_are_kept() -> None:
    for line in (PAGE / "uplot/SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert sha256(PAGE / "uplot" / name) == digest
