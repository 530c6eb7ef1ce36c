import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.fusion.affect import NORMS, derivable, derive

LABELS = tuple(NORMS)


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7).filter(lambda s: sum(s) > 0.1))
def test_what_is_derived_lies_within_the_scales(shares):
    scores = np.array(shares) / sum(shares)
    assert all(-1 <= value <= 1 for value in derive(LABELS, scores.tolist()))


def test_a_sure_emotion_has_its_own_norms():
    for number, label in enumerate(LABELS):
        assert derive(LABELS, np.eye(7)[number].tolist()) == NORMS[label]


def test_what_is_between_two_emotions_is_between_their_norms():
    valence, arousal = derive(("joy", "sadness"), (0.5, 0.5))
    assert (valence, arousal) == pytest.approx((0.065, 0.105))


def test_only_probabilities_of_labels_with_norms_give_both():
    assert derivable(LABELS, {"logits"})
    assert not derivable(LABELS, {"logits", "valence"})
    assert not derivable(LABELS, {"intensities"})
    assert not derivable(EMOTIONS, {"logits"})  # contempt
