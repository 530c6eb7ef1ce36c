"""Valence and arousal from the probabilities of emotions.

The numbers are mean ratings of the pleasure and arousal of emotion words (joyful, angry, disgusted, fearful,
sad, surprised): Russell and Mehrabian, "Evidence for a three-factor theory of emotions", Journal of Research
in Personality 11 (1977), 273-294; scales from -1 to 1. Neutral is their origin. Derived is the expected value
under the probabilities; it knows nothing beyond them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from affectstream.engines.bundle.shapes import HeadOutput

NORMS: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "joy": (0.76, 0.48),
    "anger": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "sadness": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
}
"""Valence and arousal of each emotion, in [-1, 1]. Contempt is not among the words."""
DERIVED: tuple[HeadOutput, ...] = ("valence", "arousal")


def derivable(labels: Sequence[str], outputs: Collection[str]) -> bool:
    """Whether valence and arousal follow from the probabilities of `labels`: all have norms, and a head with
    these `outputs` predicts probabilities and neither of the two."""
    return "logits" in outputs and not set(DERIVED) & set(outputs) and set(labels) <= NORMS.keys()


def derive(labels: Sequence[str], scores: Sequence[float]) -> tuple[float, float]:
    """Expected valence and arousal in [-1, 1] under the probabilities `scores` of `labels`."""
    valence = sum(p * NORMS[label][0] for label, p in zip(labels, scores, strict=True))
    arousal = sum(p * NORMS[label][1] for label, p in zip(labels, scores, strict=True))
    return valence, arousal
