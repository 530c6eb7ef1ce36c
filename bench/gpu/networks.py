"""Parts of the recipes' networks at random weights, as torch modules and as ONNX files.

`POCKET` are the encoders that the recipes of the embedded bundle build. `LARGE` are ViT-B/16, wav2vec2-base
and a head of cross attention over their kind of sequences.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from affectstream.bench.engines.large_recipes import random_network
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.network import Network
from affectstream.train.onnx.engine_files import served_head
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.recipes.registry import recipes

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One network on the CPU."""

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Callable[[int], Inputs]
    """Random inputs of so many rows."""
    rows: int
    """In a hop of one session."""

    def export(self, folder: Path) -> Path:
        """Write ``NAME.onnx`` into `folder`. Raises `ParityError` if it differs from the module."""
        path = folder / f"{self.name}.onnx"
        to_onnx(self.module, self.example(2), path, inputs=self.inputs, outputs=self.outputs)
        return path


def _recipe(name: str, **options: int) -> NetRecipe:
    recipe = recipes()[name]
    assert isinstance(recipe, NetRecipe)
    return replace(recipe, options={**recipe.options, **options})


def _video(name: str) -> Part:
    network, spec = random_network(_recipe(name))
    assert network.video is not None
    side, rows = spec.window.size, spec.window.frame_hz * spec.hop_us // 1_000_000

    def example(count: int) -> Inputs:
        return (torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8),)

    return Part(f"{name}-face", network.video.eval(), ("pixels",), ("embedding",), example, rows)


def _voice(name: str, **options: int) -> Part:
    network, spec = random_network(_recipe(name, **options))
    assert network.voice is not None
    samples = spec.window.samples

    def example(count: int) -> Inputs:
        return (0.1 * torch.randn(count, samples),)

    return Part(f"{name}-voice", network.voice.eval(), ("samples",), ("embedding",), example, 1)


def _text(name: str) -> Part:
    network, spec = random_network(_recipe(name))
    assert network.text is not None
    tokens = spec.window.tokens

    def example(count: int) -> Inputs:
        mask = torch.arange(tokens) < torch.full((count, 1), tokens // 2)
        return torch.randint(0, spec.vocabulary, (count, tokens)) * mask, mask

    return Part(f"{name}-text", network.text.eval(), ("ids", "mask"), ("embedding",), example, 1)


def _head(name: str) -> Part:
    network, spec = random_network(_recipe(name))
    head = served_head(network, spec)

    def example(count: int) -> Inputs:
        return tuple(_sequences(network, spec, count))

    return Part(f"{name}-fusion", head, tuple(head.inputs), tuple(head.outputs), example, 1)


def _sequences(network: Network, spec: ModelSpec, count: int) -> list[Tensor]:
    found: list[Tensor] = []
    for name in network.head.takes:
        encoder = getattr(network, name)
        steps = spec.window.frames if name == "video" else int(encoder.steps)
        found += [torch.randn(count, steps, encoder.width), torch.ones(count, steps).bool()]
    return found


POCKET: dict[str, Callable[[], Part]] = {
    "face_resnet-face": lambda: _video("face_resnet"),
    "mel_resnet-voice": lambda: _voice("mel_resnet"),
    "ngram_text-text": lambda: _text("ngram_text"),
}
LARGE: dict[str, Callable[[], Part]] = {
    "vit_b16-face": lambda: _video("vit_b16"),
    # The recipe's text encoder is not used here: one layer of it is quicker to make than twelve.
    "multimodal_lstm-voice": lambda: _voice("multimodal_lstm", text_layers=1),
    "cross_attention-fusion": lambda: _head("cross_attention"),
}
"""By the name of the part."""


def export_all(folder: Path) -> None:
    """Write every part as ONNX into `folder`, and its FP16 variant into the cache of the engines."""
    from affectstream.engines.fp16.derive import fp16_file

    for name, build in (POCKET | LARGE).items():
        partial = folder / "partial"
        partial.mkdir(exist_ok=True)
        path = build().export(partial)
        fp16_file(path)
        path.rename(folder / f"{name}.onnx")  # now it is whole
        print(f"exported {name}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(4)
    export_all(Path(sys.argv[1]))
