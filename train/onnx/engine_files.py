"""From a trained network to the engine files of a bundle.

Each encoder becomes one graph. The head becomes `fusion.onnx`, whose outputs are the predictions of the
tasks; emotions are logits for a uniform prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.train.losses import add_prior
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.network import Head, Network
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.tasks import Task, split_columns

TOKENIZER = "tokenizer.json"
FUSION = "fusion.onnx"


class ServedHead(nn.Module):
    """A recipe's head with its inputs as separate arguments and its outputs as a bundle names them."""

    def __init__(self, head: Head, tasks: Sequence[Task], *, balanced: float) -> None:
        """`balanced` as `LossConfig.balanced`; with 1 the head assumes a uniform prior already."""
        super().__init__()
        self.head, self.tasks, self.balanced = head, tuple(tasks), balanced

    @property
    def inputs(self) -> list[str]:
        """Names of the arguments of `forward`, in their order."""
        return [name for taken in self.head.takes for name in (taken, f"{taken}_mask")]

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns, in its order."""
        return [task.output for task in self.tasks]

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Sequences with their masks to the predictions of each task; without any modality `logits` are 0."""
        inputs = dict(zip(self.inputs, arguments, strict=True))
        columns = split_columns(self.head(inputs), self.tasks)
        masks = [inputs[f"{name}_mask"] for name in self.head.takes if name != "metadata"]
        present = torch.cat(masks, 1).to(torch.float32).sum(1, keepdim=True).clamp(max=1.0)
        return tuple(
            add_prior(columns[task.name], task.counts, self.balanced - 1.0) * present
            if task.name == "emotion"
            else task.predict(columns[task.name])
            for task in self.tasks
        )


class _Pooled(nn.Module):
    """An encoder whose sequence has one step, without that axis."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, *arguments: Tensor) -> Tensor:
        """(N, D)."""
        return self.encoder(*arguments).squeeze(1)


class _Classifier(nn.Module):
    """An encoder of single pictures, with the logits that the head gives for one of them alone."""

    def __init__(self, network: Network, tasks: Sequence[Task]) -> None:
        super().__init__()
        assert network.video is not None
        self.encoder, self.head, self.tasks = network.video, network.head, tuple(tasks)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) and (N, C), under the prior of the training set."""
        embedding = self.encoder(pixels)
        mask = torch.ones_like(embedding[:, :1], dtype=torch.bool)
        columns = self.head({"video": embedding.unsqueeze(1), "video_mask": mask})
        return embedding, split_columns(columns, self.tasks)["emotion"]


def write_engine_files(network: Network, spec: ModelSpec, folder: Path) -> list[Path]:
    """Write graphs and tokenizer into `folder` and return their paths. Raises `ParityError`."""
    network.eval()
    files = [folder / f"{ENCODER_ROLES[modality]}.onnx" for modality in network.modalities]
    for modality, path in zip(network.modalities, files, strict=True):
        write_encoder(network, modality, spec, path)
    if spec.window.tokenizer:
        files.append(folder / TOKENIZER)
        files[-1].write_text(spec.window.tokenizer, encoding="utf-8")
    head = served_head(network, spec)
    files.append(folder / FUSION)
    to_onnx(head, _head_example(network, spec), files[-1], inputs=head.inputs, outputs=head.outputs)
    return files


def served_head(network: Network, spec: ModelSpec) -> ServedHead:
    """The head of a bundle, in evaluation mode."""
    return ServedHead(network.head, spec.tasks, balanced=spec.loss.balanced).eval()


def write_encoder(network: Network, modality: str, spec: ModelSpec, path: Path) -> None:
    """Write the graph of one encoder. Raises `ParityError` if it differs from its module."""
    window, generator = spec.window, torch.Generator().manual_seed(0)
    encoder: nn.Module = getattr(network, modality)
    outputs = ["embedding"]
    if modality == "video":
        shape = (2, window.size, window.size, 3)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        example: tuple[Tensor, ...] = (pixels,)
        inputs, extra = ["pixels"], getattr(encoder, "extra_outputs", ())
        alone = window.one_frame and network.head.takes == ("video",)
        if alone and not extra and spec.task("emotion"):
            encoder, extra = _Classifier(network, spec.tasks).eval(), ("logits",)
        outputs += extra
    elif modality == "voice":
        example = (0.1 * torch.randn(2, window.samples, generator=generator),)
        inputs = ["samples"]
    else:
        ids = torch.randint(0, spec.vocabulary, (2, window.tokens), generator=generator)
        lengths = torch.tensor([[window.tokens], [window.tokens // 2 + 1]])
        mask = torch.arange(window.tokens) < lengths
        example, inputs = (ids * mask, mask), ["ids", "mask"]
    if modality != "video" and int(getattr(encoder, "steps", 1)) == 1:
        encoder = _Pooled(encoder).eval()
    to_onnx(encoder, example, path, inputs=inputs, outputs=outputs)


def _head_example(network: Network, spec: ModelSpec) -> tuple[Tensor, ...]:
    """Two rows for the head: one with half of every sequence, one without anything."""
    generator = torch.Generator().manual_seed(0)
    arguments: list[Tensor] = []
    for name in network.head.takes:
        if name == "metadata":
            width = len(spec.window.metadata)
            arguments += [torch.rand(2, width, generator=generator), torch.ones(2, width).bool()]
            continue
        encoder = getattr(network, name)
        steps = spec.window.frames if name == "video" else int(encoder.steps)
        mask = torch.arange(2 * steps).reshape(2, steps) < (steps + 1) // 2
        sequence = torch.randn(2, steps, encoder.width, generator=generator)
        arguments += [sequence * mask.unsqueeze(2), mask]
    return tuple(arguments)
