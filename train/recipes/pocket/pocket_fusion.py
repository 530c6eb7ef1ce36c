"""`pocket_fusion`: the head of the pocket bundle, a sum of evidence under masks.

The data has no paired audio and video, so samples are *label-paired*: a label is drawn, then a face, a
voice and an utterance with that label. Given the label these are independent by construction, and the
best fusion of independent evidence is a sum of log-likelihood ratios:

    logits = sum over present modalities m of  gain_m * (logits_m - log prior_m) + bias_m

Each encoder's own classifier gives ``logits_m``; the log prior of its training set is subtracted, so the
sum is for a uniform prior and an absent modality adds nothing. Only the gains and biases (24 numbers)
are fitted, on recordings that no encoder was trained on: encoders are overconfident on their training data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from affectstream.engines.labels import EMOTIONS_7
from affectstream.train.data.readers import fer2013, ravdess
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipe import Batch, FitConfig, Loaders
from affectstream.train.recipes.pocket import pocket_face, pocket_text, pocket_voice
from affectstream.train.recipes.pocket.batches import Epochs

MODALITIES = ("video", "voice", "text")
WIDTHS = {
    "video": pocket_face.EMBEDDING,
    "voice": pocket_voice.EMBEDDING,
    "text": pocket_text.EMBEDDING,
}
EPOCH = 100
"""Batches in an epoch."""
STEPS = {"video": 24, "voice": 1, "text": 1}


class PocketFusion(nn.Module):
    """Masked sequences of embeddings to emotion logits for a uniform prior."""

    def __init__(self) -> None:
        super().__init__()
        self.classifiers = nn.ModuleDict(
            {m: nn.Linear(WIDTHS[m], len(EMOTIONS_7)).requires_grad_(False) for m in MODALITIES}
        )
        self.gain = nn.ParameterDict({m: nn.Parameter(torch.ones(())) for m in MODALITIES})
        self.bias = nn.ParameterDict(
            {m: nn.Parameter(torch.zeros(len(EMOTIONS_7))) for m in MODALITIES}
        )

    def forward(self, *arguments: Tensor) -> Tensor:
        """A sequence (N, T, D) float32 and its mask (N, T) bool for each of `MODALITIES`, to logits (N, 7).

        T is 24 frames for the video and 1 otherwise; frames count equally. If all masks are false, the
        logits are zeros.
        """
        total = torch.zeros(())
        for name, sequence, mask in zip(MODALITIES, arguments[::2], arguments[1::2], strict=True):
            weights = mask.to(sequence.dtype).unsqueeze(2)
            count = weights.sum(1)
            mean = (sequence * weights).sum(1) / count.clamp(min=1.0)
            evidence = self.gain[name] * self.classifiers[name](mean) + self.bias[name]
            total = total + evidence * (count > 0).to(sequence.dtype)
        return total


@dataclass(frozen=True, slots=True)
class Held:
    """Embeddings (n, D) float32 of one modality, labels (n,), and the half of each sample.

    Half 0 fits the head, half 1 chooses the epoch and calibrates; no speaker or dialogue is in both.
    """

    embeddings: Tensor
    labels: NDArray[np.int64]
    half: NDArray[np.int64]

    def of(self, half: int) -> Held:
        """One half."""
        pick = self.half == half
        return Held(self.embeddings[torch.from_numpy(pick)], self.labels[pick], self.half[pick])


@torch.no_grad()
def held_out(data: Path, runs: Path) -> tuple[dict[str, Held], dict[str, nn.Linear]]:
    """Held-out embeddings of every modality, and each encoder's classifier without its prior."""
    from affectstream.train.fit.checkpoint import load_best

    face, _ = load_best(pocket_face.RECIPE, runs / "pocket_face")
    pixels, face_labels = fer2013.read(data, "test", EMOTIONS_7)
    grey = torch.from_numpy(pixels).unsqueeze(3).expand(-1, -1, -1, 3)
    face_embeddings = torch.cat([face(part)[0] for part in grey.split(256)])
    voice, _ = load_best(pocket_voice.RECIPE, runs / "pocket_voice")
    windows = pocket_voice.windows(data, ravdess.VALID_ACTORS)
    voice_embeddings = torch.cat([voice(batch["samples"])[0] for batch in windows])
    voice_labels = torch.cat([batch["label"] for batch in windows]).numpy()
    clips_each = len(voice_labels) // len(ravdess.VALID_ACTORS)
    actors = np.arange(len(voice_labels)) // clips_each  # clips come actor by actor
    text, _ = load_best(pocket_text.RECIPE, runs / "pocket_text")
    ids, mask, text_labels, dialogues = pocket_text.validation_tokens(data, runs / "pocket_text")
    text_embeddings = text(torch.from_numpy(ids), torch.from_numpy(mask))[0]
    held = {
        "video": Held(face_embeddings, face_labels, np.arange(len(face_labels)) % 2),
        "voice": Held(voice_embeddings, voice_labels, (actors >= 2).astype(np.int64)),
        "text": Held(text_embeddings, text_labels, dialogues % 2),
    }
    _, train_labels = fer2013.read(data, "train", EMOTIONS_7)
    face_counts = np.bincount(train_labels, minlength=len(EMOTIONS_7))
    priors = {
        "video": torch.from_numpy(face_counts / len(train_labels)),
        "voice": torch.tensor(pocket_voice.RECIPE.prior),
        "text": torch.tensor(pocket_text.RECIPE.prior),
    }
    heads: dict[str, Any] = {"video": face.head, "voice": voice.head, "text": text.head}
    for name, prior in priors.items():
        heads[name].bias -= prior.log().to(heads[name].bias.dtype)
    return held, heads


def pair(
    held: dict[str, Held], count: int, prior: Sequence[float], generator: np.random.Generator
) -> tuple[dict[str, Tensor], NDArray[np.int64]]:
    """`count` label-paired samples whose labels follow `prior`: embeddings by modality, and labels."""
    labels = generator.choice(len(prior), size=count, p=np.asarray(prior) / np.sum(prior))
    picked = {}
    for name, part in held.items():
        rows = np.empty(count, np.int64)
        for label in range(len(prior)):
            wanted = labels == label
            rows[wanted] = generator.choice(np.flatnonzero(part.labels == label), int(wanted.sum()))
        picked[name] = part.embeddings[torch.from_numpy(rows)]
    return picked, labels.astype(np.int64)


def feeds(picked: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Arguments of `PocketFusion.forward` (one step each) with `present` (N,) bool by modality."""
    arguments: list[Tensor] = []
    for name in MODALITIES:
        arguments += [picked[name].unsqueeze(1), present[name].unsqueeze(1)]
    return tuple(arguments)


def _pairs(held: dict[str, Held], config: FitConfig, number: int) -> Iterator[Batch]:
    """The label-paired batches of an epoch, with modalities dropped at random."""
    generator = np.random.default_rng([config.seed, number])
    for _ in range(EPOCH):
        picked, labels = pair(held, config.batch_size, [1.0] * 7, generator)
        keep = generator.random((len(labels), len(MODALITIES))) > 0.4
        keep[np.arange(len(labels)), generator.integers(0, 3, len(labels))] = True
        masks = {f"{m}_mask": torch.from_numpy(keep[:, i]) for i, m in enumerate(MODALITIES)}
        yield {**picked, **masks, "label": torch.from_numpy(labels)}


class PocketFusionRecipe:
    """Fitted on one half of held-out recordings; the other half chooses the epoch."""

    name = "pocket_fusion"
    summary = "fusion head of `pocket`: gains and biases over the encoders' evidence, label-paired"
    defaults = FitConfig(
        epochs=10, batch_size=256, learning_rate=1e-2, weight_decay=0.0, ema_decay=0.98
    )

    def __init__(self) -> None:
        self._heads: dict[str, nn.Linear] = {}

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Held-out embeddings of the runs `pocket_face`, `pocket_voice` and `pocket_text`."""
        held, self._heads = held_out(data, Path(config.runs))
        halves = [{m: h.of(i) for m, h in held.items()} for i in (0, 1)]
        generator = np.random.default_rng(config.seed)
        picked, labels = pair(halves[1], 4096, [1.0] * 7, generator)
        valid = {**picked, "label": torch.from_numpy(labels)}
        return Loaders(Epochs(EPOCH, partial(_pairs, halves[0], config)), [valid])

    def module(self) -> nn.Module:
        """The head; after `loaders` with the encoders' classifiers."""
        head = PocketFusion()
        for name, plain in self._heads.items():
            head.classifiers[name].load_state_dict(plain.state_dict())
        return head

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy under a uniform prior."""
        present = {m: batch[f"{m}_mask"] for m in MODALITIES}
        return F.cross_entropy(module(*feeds(batch, present)), batch["label"])

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Accuracy of label-paired samples (uniform prior): all modalities, then each alone."""
        batch, metrics = batches[0], {}
        for subset in (MODALITIES, *((m,) for m in MODALITIES)):
            present = {m: torch.full((len(batch["label"]),), m in subset) for m in MODALITIES}
            guess = module(*feeds(batch, present)).argmax(1)
            metrics["+".join(subset)] = float((guess == batch["label"]).float().mean())
        return metrics

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write `fusion.onnx`."""
        example: list[Tensor] = []
        for name, steps in STEPS.items():
            example += [torch.randn(2, steps, WIDTHS[name]), torch.ones(2, steps).bool()]
        names = [name for m in MODALITIES for name in (m, f"{m}_mask")]
        path = folder / "fusion.onnx"
        to_onnx(module, tuple(example), path, inputs=names, outputs=["logits"])
        return [path]


RECIPE = PocketFusionRecipe()
