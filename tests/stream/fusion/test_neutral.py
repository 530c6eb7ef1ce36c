"""The first seconds of a person are their neutral face and voice."""

import numpy as np
import pytest
from msgspec import structs

from affectstream.engines.bundle.folder import find_bundle, read_manifest
from affectstream.engines.manifest import Calibration
from affectstream.stream import OptionError, Recognizer, SourceOptions
from affectstream.stream.fusion.neutral import NeutralBaselines
from affectstream.stream.fusion.reading import OutputDecoder, Reading
from tests.support.small_bundles import plain, rewrite

LABELS = ("neutral", "joy", "sadness")
NEUTRAL = {"video": (2.0, 0.0, 0.0), "voice": (1.0, 0.0, 0.0)}
SAD_LOOKING = np.array([1.0, 0.0, 2.5], np.float32)
HOP = 500_000


def manifest(neutral):
    calibration = Calibration((1 / 3,) * 3, {}, {"video": 0.5}, {}, neutral)
    return structs.replace(
        read_manifest(find_bundle("pocket")), labels=LABELS, calibration=calibration
    )


def label_of(logits, shifts):
    reading = Reading(
        hop=0, start_us=0, end_us=HOP, track=1, modalities=("video",), scores=None, label=None,
        confidence=None, abstain=None, assigned_by=None, track_sample=None, voiced=0.0,
    )  # fmt: skip
    outputs = {"logits": logits}
    found = OutputDecoder(manifest(NEUTRAL)).fill(reading, outputs, {"video": outputs}, shifts)
    return found.label


def test_a_face_that_looks_sad_at_rest_is_neutral_and_its_smile_a_smile():
    baselines = NeutralBaselines(manifest(NEUTRAL), 2_000_000)
    assert label_of(SAD_LOOKING, {}) == "sadness"
    for hop in range(4):
        shifts = baselines.push(1, hop * HOP, {"video": SAD_LOOKING})
        assert label_of(SAD_LOOKING, shifts) == "neutral"
    smile = SAD_LOOKING + np.array([0, 5, 0], np.float32)
    assert label_of(smile, baselines.push(1, 4 * HOP, {"video": smile})) == "joy"


def test_it_is_learned_from_the_first_seconds_of_each_person_only():
    baselines = NeutralBaselines(manifest(NEUTRAL), 2 * HOP)
    first = [baselines.push(1, hop * HOP, {"video": SAD_LOOKING})["video"] for hop in range(2)]
    later = baselines.push(1, 9 * HOP, {"video": np.array([0, 9, 0], np.float32)})["video"]
    np.testing.assert_allclose(later, first[-1])
    np.testing.assert_allclose(later, SAD_LOOKING - (2, 0, 0))
    other = baselines.push(2, 9 * HOP, {"video": np.array([2, 0, 0], np.float32)})["video"]
    assert other == pytest.approx(0.0)


def test_face_and_voice_have_baselines_of_their_own_and_words_none():
    baselines = NeutralBaselines(manifest({**NEUTRAL, "text": (1.0, 0.0, 0.0)}), 2 * HOP)
    shifts = baselines.push(1, 0, dict.fromkeys(("video", "voice", "text"), SAD_LOOKING))
    assert set(shifts) == {"video", "voice"}
    assert not np.allclose(shifts["video"], shifts["voice"])


def test_it_is_off_by_default():
    assert NeutralBaselines(manifest({}), 0).push(1, 0, {"video": SAD_LOOKING}) == {}


def test_a_bundle_that_does_not_know_neutral_faces_is_refused(tmp_path):
    bundle = plain(tmp_path / "b", takes=("text",), answers=("logits",))
    talk = tmp_path / "talk.vtt"
    talk.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nyes well\n")
    refused = pytest.raises(OptionError, match=r"neutral: bundle .* does not say what neutral")
    with Recognizer.open(bundle, device="cpu") as recognizer, refused:
        recognizer.score(talk, SourceOptions(neutral_us=10_000_000))
    rewrite(bundle, calibration=Calibration((1 / 3,) * 3, {}, {}, {}, {"video": (0.0, 0.0, 0.0)}))
    with Recognizer.open(bundle, device="cpu") as recognizer:
        assert recognizer.score(talk, SourceOptions(neutral_us=10_000_000)).readings.num_rows


def test_a_time_before_the_start_is_refused():
    with pytest.raises(OptionError, match="neutral must not be negative"):
        SourceOptions(neutral_us=-1)
