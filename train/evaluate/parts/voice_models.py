"""Models that predict emotions from sound: a bundle with a voice encoder, or the network of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.errors import OptionError
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.train.fit.checkpoint import BEST, Trained, load, load_run
from affectstream.train.losses import add_prior
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.recipes.registry import recipes

BATCH = 64

Sounds = NDArray[np.float32]


class VoiceModel(Protocol):
    """What is measured: a bundle, or the best epoch of a run."""

    labels: tuple[str, ...]
    samples: int
    """Of a window, at 16 kHz."""
    megabytes: float
    """Of the file of the encoder; of a run, of its weights in 16 bits."""

    def __call__(self, sounds: Sounds) -> NDArray[np.float32]:
        """Logits (n, labels) of windows (n, L) for a uniform prior; zeros for silence."""

    def encode(self, sounds: Sounds) -> object:
        """Run the voice encoder alone."""


class BundleVoice:
    """The voice encoder and the head of a bundle, with the other modalities absent."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises `OptionError` for a bundle without a voice encoder of its own."""
        part = bundle.manifest.engines.voice_encoder
        if part is None or bundle.members:
            raise OptionError(
                f"bundle {bundle.manifest.name!r} has no voice encoder of its own: name one that has"
            )
        self._bundle, self.labels = bundle, bundle.manifest.labels
        self.samples = bundle.manifest.window_us * SAMPLE_RATE // 1_000_000
        self.megabytes = (bundle.folder / part.file).stat().st_size / 1e6

    def __call__(self, sounds: Sounds) -> NDArray[np.float32]:
        """See `VoiceModel`."""
        batches = [_batch(part) for part in torch.from_numpy(sounds).split(BATCH)]
        found = bundle_outputs(self._bundle, batches, missing=False)[None]
        logits = np.zeros((len(sounds), len(self.labels)), np.float32)
        logits[found.samples] = found.outputs["logits"]
        return logits

    def encode(self, sounds: Sounds) -> object:
        """See `VoiceModel`."""
        return self._bundle.engines["voice_encoder"].run({"samples": sounds})


class RunVoice:
    """The network of a run."""

    def __init__(self, trained: Trained) -> None:
        """Raises `OptionError` for a network that hears no emotions."""
        recipe = trained.recipe
        if not isinstance(recipe, NetRecipe) or recipe.modalities != ("voice",):
            raise OptionError(f"recipe {recipe.name!r} takes more than voice, or none")
        task = recipe.spec.task("emotion")
        if task is None:
            raise OptionError(f"recipe {recipe.name!r} did not learn emotions here")
        self._network, self._loss, self._counts = trained.module, recipe.spec.loss, task.counts
        self.labels, self.samples = task.labels, recipe.spec.window.samples
        numbers = sum(parameter.numel() for parameter in trained.module.parameters())
        self.megabytes = 2 * numbers / 1e6

    @torch.no_grad()
    def __call__(self, sounds: Sounds) -> NDArray[np.float32]:
        """See `VoiceModel`."""
        parts = torch.from_numpy(sounds).split(BATCH)
        logits = torch.cat([self._network(_batch(part)) for part in parts])
        found: NDArray[np.float32] = add_prior(
            logits, self._counts, self._loss.balanced - 1.0
        ).numpy()
        return found

    @torch.no_grad()
    def encode(self, sounds: Sounds) -> object:
        """See `VoiceModel`."""
        return self._network(_batch(torch.from_numpy(sounds)))


@contextmanager
def open_voice_model(name: str) -> Iterator[VoiceModel]:
    """The run or bundle `name`. Raises what `Bundle.open` and `load_run` raise, and `OptionError`."""
    if (Path(name) / BEST).is_file():
        recipe = recipes()[load(Path(name) / BEST)["recipe"]]
        yield RunVoice(load_run(recipe, Path(name)))
        return
    with Bundle.open(name) as bundle:
        yield BundleVoice(bundle)


def _batch(samples: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"samples": samples, "voice_mask": samples.ne(0.0).any(1, keepdim=True)}
