"""The first layers of Whisper's encoder (Radford et al., 2022), for a window of any length, and its weights.

Whisper pads everything to 30 s. Here the encoder sees the window alone: its sinusoidal positions are those of
the first seconds. Published weights are read from a file of transformers or of faster-whisper (CTranslate2).
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from affectstream.train.errors import WeightsError
from affectstream.train.networks.mel import LogMel
from affectstream.train.networks.network import NetworkSpec
from affectstream.train.networks.pretrained import NONE, folder_of, load_tensors

BANDS, N_FFT, HOP_SAMPLES = 80, 400, 160
FILES = ("model.safetensors", "model.bin")
"""Of transformers, of faster-whisper; the first that is there is read."""
TEN = math.log(10.0)
DEEPEST = 8.0 * TEN
"""80 dB: cells further below the loudest are raised, as by Whisper."""
LEVEL = 1.2
"""What the loudest cell becomes: about that of speech near full scale."""
QUIETEST = -6.0 * TEN
"""A window whose loudest cell has a smaller power is not made louder."""
TYPES = ("<f4", "<i1", "<i2", "<i4", "<f2")
"""Of CTranslate2's files, by number."""


class WhisperMel(LogMel):
    """Sound (N, S) to natural log-mels (N, 80, S / 160), as of Whisper: frames are centered, zeros around."""

    def __init__(self) -> None:
        super().__init__(BANDS, N_FFT, HOP_SAMPLES, 0.0)

    def forward(self, samples: Tensor) -> Tensor:
        """As `LogMel.forward`."""
        return super().forward(F.pad(samples, (N_FFT // 2, N_FFT // 2 - HOP_SAMPLES)))


def level(mel: Tensor) -> Tensor:
    """Log-mels (N, 80, T) in Whisper's range, whatever their loudness: its formula, with the loudest cell at
    `LEVEL`."""
    top = mel.amax((1, 2), keepdim=True)
    return (torch.maximum(mel, top - DEEPEST) - top.clamp(min=QUIETEST)) / (4.0 * TEN) + LEVEL


class WhisperLayers(nn.Module):
    """Whisper's convolutions and its first layers."""

    positions: Tensor

    def __init__(self, layers: int, width: int, heads: int, frames: int) -> None:
        from transformers.models.whisper import modeling_whisper as models  # takes seconds
        from transformers.models.whisper.configuration_whisper import WhisperConfig

        super().__init__()
        sizes: dict[str, Any] = {
            "d_model": width,
            "encoder_attention_heads": heads,
            "encoder_ffn_dim": 4 * width,
            "attn_implementation": "eager",  # plain operators, which every runtime has
        }
        config = WhisperConfig(**sizes)
        self.conv1 = nn.Conv1d(BANDS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(models.WhisperEncoderLayer(config) for _ in range(layers))
        table = models.sinusoids((frames + 1) // 2, width)
        self.register_buffer("positions", table, persistent=False)

    def forward(self, mel: Tensor, merged: int = 1) -> list[Tensor]:
        """Levelled log-mels (N, 80, T) to the states (N, T / 2 / `merged`, D) before the first and after each
        layer, where `merged` positions of 20 ms have become one, their mean."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2) + self.positions
        if merged > 1:
            x = F.avg_pool1d(x.transpose(1, 2), merged).transpose(1, 2)
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], None))
        return states


def whisper_layers(spec: NetworkSpec) -> WhisperLayers:
    """The layers that the options `voice_layers`, `voice_width` and `voice_heads` of `spec` name, with the
    weights that it names for ``voice``.

    Raises `WeightsMissing`, and `WeightsError` if a tensor is missing or has another size.
    """
    layers, width, heads = (int(spec.options[f"voice_{n}"]) for n in ("layers", "width", "heads"))
    network = WhisperLayers(layers, width, heads, spec.samples // HOP_SAMPLES)
    source = spec.weights["voice"]
    if source == NONE or not spec.load_weights:
        return network
    folder = folder_of("voice", source, (FILES,))
    path = next(folder / name for name in FILES if (folder / name).is_file())
    tensors = read_transformers(path) if path.name == FILES[0] else read_ctranslate2(path)
    load_tensors(
        network,
        {name: tensors[name] for name in network.state_dict() if name in tensors},
        f"--weights voice={source}: {path.name}",
        "set voice_layers, voice_width and voice_heads to fit (--set NAME=VALUE), or take other weights",
    )
    return network


def read_transformers(path: Path) -> dict[str, Tensor]:
    """The tensors of the encoder in a `model.safetensors`, by their names in `WhisperLayers`."""
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    with safe_open(path, "pt") as file:
        for stored in file.keys():  # noqa: SIM118
            name = stored.removeprefix("model.")
            if name.startswith("encoder."):
                found[name.removeprefix("encoder.")] = file.get_tensor(stored).float()
    return found


def read_ctranslate2(path: Path) -> dict[str, Tensor]:
    """The tensors of the encoder in a `model.bin`, by their names in `WhisperLayers`.

    Raises `WeightsError` for a file of another form.
    """
    try:
        stored = _variables(path.read_bytes())
    except (struct.error, IndexError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a model of CTranslate2 that holds Whisper ({error}); expected the model.bin of a "
            "faster-whisper model"
        ) from error
    found: dict[str, Tensor] = {}
    for name, values in stored.items():
        scale = stored.get(f"{name}_scale")
        if not name.startswith("encoder/") or name.endswith("_scale"):
            continue
        numbers = values.astype(np.float32)
        if scale is not None:  # 8 bits, with a scale for each row
            numbers /= scale.astype(np.float32).reshape(-1, *(1,) * (numbers.ndim - 1))
        found |= _renamed(name.removeprefix("encoder/"), torch.from_numpy(numbers))
    return found


def _variables(content: bytes) -> dict[str, NDArray[np.generic]]:
    """The variables of a file of CTranslate2: a header, then name, shape, type and numbers of each."""
    at = 0

    def read(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", content, at)
        at += struct.calcsize(form)
        return int(value)

    def text() -> str:
        nonlocal at
        length = read("H")
        at += length
        return content[at - length : at - 1].decode()

    version, kind = read("I"), text()
    if kind != "WhisperSpec":
        raise ValueError(f"version {version}, of a {kind[:40]!r}")
    read("I")  # of the specification
    found: dict[str, NDArray[np.generic]] = {}
    for _ in range(read("I")):
        name = text()
        shape = [read("I") for _ in range(read("B"))]
        form, size = TYPES[read("B")], read("I")
        values = np.frombuffer(content, form, size // np.dtype(form).itemsize, at)
        found[name], at = values.reshape(shape), at + size
    return found


PARTS = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
"""Of a layer: CTranslate2's names, and transformers'."""


def _renamed(name: str, values: Tensor) -> dict[str, Tensor]:
    """A tensor of CTranslate2's encoder under transformers' names; its queries, keys and values are one."""
    part, _, end = name.rpartition("/")
    end = {"gamma": "weight", "beta": "bias"}.get(end, end)
    if not part.startswith("layer_") or part == "layer_norm":
        return {f"{part}.{end}": values}
    layer, _, inner = part.partition("/")
    start = f"layers.{layer.removeprefix('layer_')}"
    if inner != "self_attention/linear_0":
        return {f"{start}.{PARTS.get(inner, inner)}.{end}": values}
    names = zip("qkv", values.chunk(3), strict=True)
    # Keys have no bias: it is stored as zeros.
    return {
        f"{start}.self_attn.{letter}_proj.{end}": rows.clone()
        for letter, rows in names
        if (letter, end) != ("k", "bias")
    }
