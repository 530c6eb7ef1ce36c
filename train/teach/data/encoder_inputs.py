"""What the last layers of an encoder take in the windows of coded hops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Indices = NDArray[np.int64]
Features = tuple["Tensor", ...]
"""What the last layers take, a row for each input."""


@dataclass(frozen=True, slots=True, eq=False)
class EncoderInputs:
    """What an encoder was given in the windows of n hops."""

    index: Indices
    """(n, T) rows of `features`; -1 where a step is absent, or not known."""
    features: Features
    """What its last layers take, a row for each input."""

    @staticmethod
    def of_batches(index: Indices, parts: Sequence[Features]) -> EncoderInputs:
        """From what the last layers take of each batch of inputs."""
        import torch

        columns = zip(*parts, strict=True)
        return EncoderInputs(index, tuple(torch.cat(list(column)) for column in columns))

    @property
    def count(self) -> int:
        """How many inputs there are."""
        return len(self.features[0]) if self.features else 0

    @staticmethod
    def joined(parts: Sequence[EncoderInputs]) -> EncoderInputs:
        """All inputs of several recordings."""
        starts = np.cumsum([0, *(part.count for part in parts)])[:-1]
        index = [
            np.where(part.index < 0, -1, part.index + start)
            for part, start in zip(parts, starts, strict=True)
        ]
        batches = [part.features for part in parts if part.count]
        return EncoderInputs.of_batches(np.concatenate(index), batches)

    @property
    def newest(self) -> Indices:
        """(n,) the last step that is there; -1 without any."""
        steps = np.where(self.index >= 0, np.arange(self.index.shape[1]), -1).argmax(1)
        return np.asarray(self.index[np.arange(len(self.index)), steps])

    def rows(self, picked: Indices) -> tuple[EncoderInputs, Indices]:
        """The inputs of some hops alone; the second are their rows among all."""
        used, inverse = np.unique(self.index[picked], return_inverse=True)
        index = inverse.reshape(self.index[picked].shape)
        if len(used) and used[0] < 0:
            used, index = used[1:], index - 1
        return EncoderInputs(index, tuple(one[used] for one in self.features)), used
