"""How to install an optional part of this package, worded the same in every message."""

from __future__ import annotations

from typing import Literal

Extra = Literal[
    "agree",
    "asr",
    "browser",
    "cluster",
    "demo",
    "gpu",
    "gcs",
    "loadgen",
    "lsl",
    "otel",
    "pycuda",
    "rtx",
    "s3",
    "serve",
    "teach",
    "tensorrt",
    "train",
    "voices",
]
"""The extras of pyproject.toml that messages name."""

_MODULES: dict[Extra, tuple[str, ...]] = {
    "agree": ("matplotlib", "praatio", "pympi"),
    "asr": ("faster_whisper",),
    "browser": ("playwright",),
    "cluster": ("fsspec", "ray"),
    "demo": ("skimage",),
    "gcs": ("gcsfs",),
    "loadgen": ("mlperf_loadgen",),
    "lsl": ("pylsl",),
    "otel": ("opentelemetry",),
    "s3": ("s3fs",),
    "serve": ("aiortc", "prometheus_client", "starlette", "uvicorn", "websockets"),
    "teach": ("threadpoolctl",),
    "train": (
        *(
            "lightning_fabric",
            "optuna",
            "safetensors",
            "scipy",
            "sklearn",
            "tensorboard",
        ),
        *("tomli_w", "torch", "torchvision", "transformers"),
    ),
    "voices": ("scipy",),
}
"""The modules that each extra installs."""
_PACKAGES = frozenset({"onnx", "psutil", "wandb"})
"""Modules that several extras, or none for users, install: the package of the same name is enough."""


def install_hint(*extras: Extra) -> str:
    """Such as ``pip install 'affectstream[serve]'``.

    Pip keeps the affectstream that it finds and adds what the extra needs. So this works in any folder,
    and does not replace an editable checkout by a copy, as ``pip install '.[serve]'`` would.
    """
    return f"pip install 'affectstream[{','.join(extras)}]'"


def module_hint(module: str) -> str | None:
    """The command that installs `module`, such as ``starlette``; None for one that no extra installs."""
    name = module.partition(".")[0]
    if name in _PACKAGES:
        return f"pip install {name}"
    return next((install_hint(extra) for extra, names in _MODULES.items() if name in names), None)
