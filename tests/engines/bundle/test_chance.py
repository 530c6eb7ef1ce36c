"""A bundle whose measured recall guessing reaches too."""

import json
import logging
import shutil

from msgspec.structs import replace

from affectstream.engines.bundle.chance import at_chance, chance_warning
from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.manifest import Measurement
from affectstream.stream import Recognizer
from affectstream.stream.doctor import examine


def test_a_result_that_guessing_reaches_is_a_warning():
    manifest = read_manifest(POCKET)
    guess = 1 / len(manifest.labels)
    rows = [
        Measurement("video", "some set", "uar", value, count)
        for value, count in ((guess, 1000), (guess + 0.02, 100), (guess + 0.02, 10_000), (0.6, 12))
    ]
    rows.append(Measurement("video", "some set", "accuracy", 0.0, 1000))
    found = at_chance(replace(manifest, results=tuple(rows)))
    assert found == rows[:2]
    assert at_chance(replace(manifest, labels=(), results=tuple(rows))) == []
    assert at_chance(manifest) == []
    assert chance_warning(manifest) is None


def test_doctor_and_whoever_opens_such_a_bundle_read_one_line(tmp_path, caplog):
    folder = shutil.copytree(POCKET, tmp_path / "bundle")
    manifest = json.loads((folder / "bundle.json").read_text())
    result = {"part": "fusion", "data": "a set", "metric": "uar", "value": 0.1, "count": 50}
    manifest["results"] += [result, {**result, "data": "another set"}]
    (folder / "bundle.json").write_text(json.dumps(manifest))
    warned = [finding for finding in examine(folder) if "no better than chance" in finding.text]
    assert [finding.topic for finding in warned] == ["measured"] and warned[0].ok
    with caplog.at_level(logging.WARNING), Recognizer.open(folder, threads=1):
        pass
    assert len(caplog.records) == 1
    for name in ("a set: uar 0.1, 50 samples", "another set"):
        assert name in caplog.text and name in warned[0].text
    caplog.clear()
    with caplog.at_level(logging.WARNING), Recognizer.open(POCKET, threads=1):
        pass
    assert not caplog.records
