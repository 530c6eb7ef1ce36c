"""Log-mel spectrograms in ordinary layers, so that the engine computes them from samples.

The windowed discrete Fourier transform is one constant ``Conv1d`` and the filter bank another: every
runtime has them, and on Turing TensorRT for RTX has FP32 convolutions but no FP32 matrix products. Equal
to librosa's ``log(max(melspectrogram(y, sr=16000, n_fft=512, hop_length=256, center=False, n_mels=64,
fmin=50, fmax=8000), 1e-10))`` (periodic Hann window, power 2, Slaney's scale and area normalization).

This part stays in FP32, also under autocast: the power of a full-scale tone overflows FP16, and the floor
underflows it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

SAMPLE_RATE = 16_000
N_FFT = 512
HOP_SAMPLES = 256
BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 8_000.0
FLOOR = 1e-10
"""Power of silence; 16-bit rounding noise is at 5e-10."""


class MelPower(nn.Module):
    """Samples to mel power; has constants only, no trained weights."""

    rows: Tensor
    bank: Tensor

    def __init__(
        self,
        bands: int = BANDS,
        n_fft: int = N_FFT,
        hop_samples: int = HOP_SAMPLES,
        lowest_hz: float = LOWEST_HZ,
    ) -> None:
        from transformers.audio_utils import mel_filter_bank  # takes seconds to import

        super().__init__()
        self.n_fft, self.hop_samples = n_fft, hop_samples
        waves = np.fft.rfft(np.eye(n_fft), axis=0)  # cosines, and sines under a minus
        windowed = np.concatenate([waves.real, -waves.imag]) * np.hanning(n_fft + 1)[:-1]
        rows = torch.from_numpy(windowed.astype(np.float32)).unsqueeze(1)
        triangles = mel_filter_bank(
            n_fft // 2 + 1,
            bands,
            lowest_hz,
            HIGHEST_HZ,
            SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        bank = torch.from_numpy(triangles.T.astype(np.float32)).unsqueeze(2)
        # Not in the checkpoint: they follow from the constants above.
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("bank", bank, persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """(N, S) float32 in [-1, 1] to (N, bands, frames) float32, no padding at the ends. frames = (S -
        n_fft) // hop_samples + 1; S must be at least n_fft."""
        with torch.autocast(samples.device.type, enabled=False):
            spectrum = F.conv1d(samples.unsqueeze(1), self.rows, stride=self.hop_samples)
            half = self.n_fft // 2 + 1
            real, imaginary = spectrum[:, :half], spectrum[:, half:]
            return F.conv1d(real * real + imaginary * imaginary, self.bank)


class LogMel(MelPower):
    """The natural logarithm of mel power."""

    def forward(self, samples: Tensor) -> Tensor:
        """As `MelPower.forward`; silence is `FLOOR`."""
        with torch.autocast(samples.device.type, enabled=False):
            return torch.log(super().forward(samples).clamp(min=FLOOR))
