"""`pocket_voice`: the voice encoder of the pocket bundle, a small residual network over log-mels.

Three seconds of sound in, an embedding and emotion logits out. The graph normalizes loudness, and
attention weights the moments.

Training draws labels with equal probability: the logits have a uniform prior (`prior` of the recipe),
whatever the data sets' frequencies. RAVDESS "calm" counts as neutral.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from affectstream.engines.labels import EMOTIONS_7
from affectstream.train.data.readers import emodb, ravdess
from affectstream.train.data.reading.reader import sound_of
from affectstream.train.loader.window_spec import loudest_window
from affectstream.train.metrics import classification
from affectstream.train.networks.mel import BANDS, HOP_SAMPLES, N_FFT, LogMel
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipe import Batch, FitConfig, Loaders
from affectstream.train.recipes.pocket.batches import split_batches
from affectstream.train.recipes.pocket.mels import MelStore, balanced_windows

WINDOW_SAMPLES = 48_000
FRAMES = (WINDOW_SAMPLES - N_FFT) // HOP_SAMPLES + 1
EMBEDDING = 128
STEPS = 24
"""Batches in an epoch: 24 x 64 windows, a little more than one for each clip."""

_DECIBEL = math.log(10.0) / 10.0


def level(mel: Tensor) -> Tensor:
    """Normalize the loudness of log-mels (N, bands, frames): about [-4, 3], same shape.

    Cells more than 65 dB under the loudest are raised to that level, and the mean over the frames within
    35 dB of the loudest becomes zero, so leading zeros and pauses have no effect. Digital silence
    becomes all zeros.
    """
    mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 65 * _DECIBEL)
    loudness = mel.amax(1, keepdim=True)
    active = (loudness >= loudness.amax(2, keepdim=True) - 35 * _DECIBEL).to(mel.dtype)
    mean = (mel.mean(1, keepdim=True) * active).sum(2, keepdim=True) / active.sum(2, keepdim=True)
    return (mel - mean) / 3.0


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, with a stride over bands and frames."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], drop: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Dropout2d(drop),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, Cin, bands, frames) to (N, Cout, bands / stride, frames / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class PocketVoice(nn.Module):
    """Samples to an embedding and emotion logits."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel()
        self.stem = Conv2dNormActivation(1, 24, 5, 2)
        self.stages = nn.Sequential(
            Block(24, 40, (2, 2), 0.05), Block(40, 72, (2, 2), 0.1), Block(72, 112, (2, 1), 0.1)
        )
        self.flat = nn.Sequential(
            nn.Conv1d(112 * BANDS // 16, EMBEDDING, 1, bias=False),
            nn.BatchNorm1d(EMBEDDING),
            nn.ReLU(inplace=True),
        )
        self.attend = nn.Sequential(nn.Conv1d(EMBEDDING, 48, 1), nn.Tanh(), nn.Conv1d(48, 2, 1))
        self.project = nn.Sequential(
            nn.Dropout(0.4), nn.Linear(4 * EMBEDDING, EMBEDDING), nn.LayerNorm(EMBEDDING), nn.ReLU()
        )
        self.dropout = nn.Dropout(0.4)
        self.head = nn.Linear(EMBEDDING, len(EMOTIONS_7))

    def embed(self, levelled: Tensor) -> Tensor:
        """Levelled log-mels (N, `BANDS`, frames) float32 to embeddings (N, `EMBEDDING`)."""
        x = self.stages(
            self.stem(levelled.unsqueeze(1).contiguous(memory_format=torch.channels_last))
        )
        x = self.flat(x.flatten(1, 2))
        weights = self.attend(x).softmax(2)
        # Two attention weightings; each pools mean and deviation.
        mean, square = _weighted(x, weights), _weighted(x * x, weights)
        spread = (square - mean * mean).clamp(min=1e-4).sqrt()
        return self.project(torch.cat([mean, spread], 1).flatten(1))

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Windows (N, `WINDOW_SAMPLES`) float32 in [-1, 1], 16 kHz, to embeddings and logits (N, 7).

        Sound shorter than the window has zeros in front.
        """
        embedding = self.embed(level(self.mel(samples)))
        return embedding, self.head(embedding)


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    """Means (N, D, K) of (N, D, T) under each of the weights (N, K, T).

    Not a matrix product: the deviation stays in FP32, and Turing has no such product in FP32.
    """
    return (x.unsqueeze(2) * weights.unsqueeze(1)).sum(3)


class PocketVoiceRecipe:
    """Trained on RAVDESS actors 1-16 and EMO-DB; RAVDESS actors 17-20 choose the epoch."""

    name = "pocket_voice"
    summary = "voice encoder of `pocket`: attention-pooled mel network, RAVDESS and EMO-DB"
    defaults = FitConfig(
        epochs=220,
        batch_size=64,
        learning_rate=3e-3,
        weight_decay=5e-2,
        warmup_epochs=3.0,
        ema_decay=0.998,
        precision="bf16-mixed",
    )
    prior = (1 / 7,) * 7
    """Chance of each of `EMOTIONS_7` in the training batches."""

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Log-mels of all training clips at five speeds, in memory (about 250 MB)."""
        clips = ravdess.read(data, ravdess.TRAIN_ACTORS) + emodb.read(data)
        store, size = MelStore(clips, EMOTIONS_7), config.batch_size
        train = balanced_windows(store, frames=FRAMES, batch=size, steps=STEPS, seed=config.seed)
        return Loaders(train, windows(data, ravdess.VALID_ACTORS))

    def module(self) -> nn.Module:
        """The network, random weights."""
        return PocketVoice()

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy with 0.1 label smoothing; mixup of half of the windows' levelled mels."""
        assert isinstance(module, PocketVoice)
        x = level(batch["mel"])
        target = F.one_hot(batch["label"], len(EMOTIONS_7)).to(x.dtype)
        # Neighbours in a batch are already random pairs.
        weight = (torch.rand(len(x)) - 0.5).clamp(min=0).to(x.device)
        x = torch.lerp(x, x.roll(1, 0), weight.view(-1, 1, 1))
        target = torch.lerp(target, target.roll(1, 0), weight.view(-1, 1))
        logits = module.head(module.dropout(module.embed(x)))
        return F.cross_entropy(logits, target, label_smoothing=0.1)

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Unweighted average recall and accuracy, from samples."""
        guess = torch.cat([module(batch["samples"])[1].argmax(1) for batch in batches])
        truth = torch.cat([batch["label"] for batch in batches])
        found = classification(truth.numpy(), guess.numpy())
        return {"recall": found["uar"], "accuracy": found["accuracy"]}

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write `voice_encoder.onnx`: samples in, embedding and logits out."""
        path = folder / "voice_encoder.onnx"
        noise = torch.randn(2, WINDOW_SAMPLES, generator=torch.Generator().manual_seed(0)) * 0.1
        to_onnx(module, (noise,), path, inputs=["samples"], outputs=["embedding", "logits"])
        return [path]


def windows(data: Path, actors: Sequence[int]) -> list[Batch]:
    """RAVDESS clips of `actors`, the three seconds with the most energy of each.

    Batches of ``samples`` (N, `WINDOW_SAMPLES`) float32 and ``label`` (N,) int64.
    """
    clips = ravdess.read(data, actors)
    samples = np.stack([loudest_window(sound_of(clip), WINDOW_SAMPLES) for clip in clips])
    labels = torch.tensor([EMOTIONS_7.index(str(clip.emotion)) for clip in clips])
    return split_batches({"samples": torch.from_numpy(samples), "label": labels}, 32)


RECIPE = PocketVoiceRecipe()
