"""From a torch module to an ONNX file, checked to give the same outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from affectstream.train.errors import ParityError

OPSET = 18
PARITY = 1e-3
"""Largest allowed difference, relative to an output's largest value if that is above 1."""


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Turn off torch's fused attention, for which ONNX has no operator."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Export `module` with a free first axis ``N``, then compare both on `example`.

    `dynamic` names further free axes of an input or output. Raises `ParityError`, and leaves no file, if ONNX
    Runtime on the CPU differs from torch by more than `PARITY` anywhere.
    """
    axes: dict[str, dict[int, str]] = {name: {0: "N"} for name in [*inputs, *outputs]}
    for name, extra in (dynamic or {}).items():
        axes[name] = {**axes[name], **extra}
    module.eval()
    with torch.no_grad(), _plain_attention():
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        expected = module(*example)
    expected = expected if isinstance(expected, tuple) else (expected,)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(outputs), {n: t.numpy() for n, t in zip(inputs, example, strict=True)})
    for name, want, got in zip(outputs, expected, found, strict=True):
        error = float(np.abs(want.numpy() - np.asarray(got)).max())
        limit = PARITY * max(1.0, float(want.abs().max()))
        if not error <= limit:
            path.unlink()
            raise ParityError(
                f"{path.name}: output {name!r} of the exported graph differs from the network's by up to "
                f"{error:.2g}, limit {limit:.2g}: no bundle was written; export it with other versions "
                f"(here torch {torch.__version__}, onnxruntime {onnxruntime.__version__}), or train it anew"
            )
