"""Labels and reasons from head outputs: limits, and modalities that contradict each other."""

import numpy as np
import pytest
from msgspec import structs

from affectstream.engines.bundle.folder import find_bundle, read_manifest
from affectstream.engines.manifest import Calibration
from affectstream.stream.fusion.conflict import divergence
from affectstream.stream.fusion.reading import OutputDecoder, Reading

LABELS = ("neutral", "joy", "anger")
JOY, ANGER, UNSURE = (0.0, 4.0, 0.0), (0.0, 0.0, 4.0), (0.2, 0.0, 0.3)
BOTH = "video", "voice"


def decoder(conflict, least=None, temperature=()):
    limits = {"video": 0.5, "voice": 0.5, "video+voice": 0.6}
    pair = {} if conflict is None else {"video+voice": conflict}
    calibration = Calibration((1 / 3,) * 3, dict(temperature), limits, pair)
    manifest = structs.replace(
        read_manifest(find_bundle("pocket")), labels=LABELS, calibration=calibration
    )
    return OutputDecoder(manifest, least)


def logits(values):
    return {"logits": np.array(values, np.float32)}


def read(found, fused, video, voice):
    reading = Reading(
        hop=0, start_us=0, end_us=500_000, track=1, modalities=BOTH, scores=None, label=None,
        confidence=None, abstain=None, assigned_by=None, track_sample=None, voiced=1.0,
    )  # fmt: skip
    return found.fill(reading, logits(fused), {"video": logits(video), "voice": logits(voice)}, {})


def test_modalities_that_contradict_each_other_give_no_label_and_show_both():
    found = read(decoder(0.8), (0, 2.5, 2), JOY, ANGER)
    assert (found.label, found.abstain) == (None, "conflict")
    assert found.scores == pytest.approx((0.0177, 0.4911, 0.4911), abs=1e-3)
    assert found.confidence == max(found.scores)


def test_a_contradiction_below_the_limit_leaves_the_label_of_both_together():
    found = read(decoder(0.8), (0, 6, 1), JOY, (0.0, 0.0, 2.0))
    assert (found.label, found.abstain) == ("joy", None)


def test_without_a_label_any_contradiction_is_the_reason():
    found = read(decoder(0.8), (0, 1, 1), JOY, (0.0, 0.0, 2.0))
    assert (found.label, found.abstain) == (None, "conflict")


def test_what_counts_little_in_a_pair_contradicts_nothing_however_sure_it_is_alone():
    sure = decoder(0.8, temperature={"voice": 0.2, "video+voice": 1.0})
    assert read(sure, (0, 3, 1), JOY, (0.0, 0.0, 0.9)).label == "joy"
    assert read(sure, (0, 3, 1), JOY, (0.0, 0.0, 4.0)).abstain == "conflict"


def test_a_divergence_is_in_bits():
    assert divergence([1.0, 0.0], [0.0, 1.0]) == pytest.approx(1.0)
    assert divergence([0.3, 0.7], [0.3, 0.7]) == pytest.approx(0.0)
    assert divergence([[1.0, 0.0]] * 2, [[0.5, 0.5]] * 2).shape == (2,)


@pytest.mark.parametrize("voice", [JOY, UNSURE])
def test_modalities_that_agree_or_are_unsure_do_not_contradict(voice):
    found = read(decoder(0.0), (0, 0.1, 0), JOY, voice)
    assert (found.label, found.abstain) == (None, "low_confidence")


def test_a_bundle_that_does_not_say_when_modalities_contradict_finds_no_conflict():
    assert not decoder(None).finds_conflicts
    assert read(decoder(None), (0, 0.5, 0.4), JOY, ANGER).abstain == "low_confidence"


@pytest.mark.parametrize(
    ("least", "label"), [(None, None), (0.0, "joy"), (0.5, "joy"), (0.7, None)]
)
def test_a_minimum_confidence_moves_the_limit_of_the_bundle_both_ways(least, label):
    found = read(decoder(0.9, least), (0, 1.0, 0), JOY, UNSURE)
    assert found.confidence == pytest.approx(0.5761, abs=1e-3)
    assert found.label == label


def test_valence_and_arousal_follow_from_the_scores_also_without_a_label():
    sure = read(decoder(0.8), (0, 9, 0), JOY, JOY)
    assert (sure.valence, sure.arousal) == pytest.approx((0.76, 0.48), abs=1e-2)
    conflict = read(decoder(0.8), (0, 2.5, 2), JOY, ANGER)
    assert conflict.valence == pytest.approx(0.49 * (0.76 - 0.51), abs=1e-2)
    assert (sure.derived, conflict.derived) == (True, True)


def test_a_head_that_predicts_valence_keeps_its_own():
    reading = read(decoder(0.8), (0, 9, 0), JOY, JOY)
    outputs = {"logits": np.zeros(3, np.float32), "valence": np.array(0.25, np.float32)}
    found = decoder(0.8).fill(reading, outputs, {}, {})
    assert (found.valence, found.arousal, found.derived) == (0.25, None, False)
