"""The vocabularies that bundles and events share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, TypeVar, get_args

EMOTIONS = ("neutral", "anger", "disgust", "fear", "joy", "sadness", "surprise", "contempt")
"""All emotions. A bundle names the labels that it has, in its own order."""
EMOTIONS_7 = EMOTIONS[:7]

Modality = Literal["video", "voice", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
"""In the order in which they are named everywhere."""
_Name = TypeVar("_Name", bound=str)

Sentiment = Literal["negative", "neutral", "positive"]
SENTIMENTS: tuple[Sentiment, ...] = get_args(Sentiment)

AttentionOption = Literal["gaze", "head_pose"]
"""How the attention of a face can be measured: by head and eyes together, or by the head alone."""

SpeechGateOption = Literal["silero", "webrtc", "none"]
"""What decides which sound is speech: Silero's network, WebRTC's detector, or nothing."""


def subsets(modalities: Sequence[_Name]) -> list[tuple[_Name, ...]]:
    """Every choice of one modality or more, the largest first; each in the order of `modalities`."""
    sizes = range(len(modalities), 0, -1)
    return [chosen for size in sizes for chosen in combinations(modalities, size)]
