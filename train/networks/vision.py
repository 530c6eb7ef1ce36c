"""Encoders over torchvision's networks: normalized pixels, pretrained weights, activation checkpointing.

Normalization is part of the exported graph, so that serving normalizes as training did. Weights come by
public name, from a file, or are random (``none``), never silently: whatever keeps them from being loaded is
an error that says how to get them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from affectstream.train.errors import WeightsError, WeightsMissing, first_line
from affectstream.train.networks.network import NetworkSpec, VideoEncoder
from affectstream.train.networks.pretrained import NONE, load_tensors

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a picture (ITU-R BT.601)."""
SOFTEST = 0.03
"""Added to a picture's deviation, so that the noise of a uniform picture is not amplified."""
SLOT = "video"
"""Name of the backbone of these encoders for `--weights`."""
SUFFIXES = (".safetensors", ".pth", ".pt")

States = dict[str, Tensor]


class Normalization(NamedTuple):
    """Mean and deviation of red, green and blue in [0, 1] over the pictures that a backbone learned from."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of torchvision's ImageNet weights."""


def normalize_pixels(
    pixels: Tensor, *, grey: bool, normalization: Normalization | None = None
) -> Tensor:
    """Pictures (M, S, S, 3), uint8 or float32 in [0, 255], RGB, to planes (M, 3, S, S) float32.

    With `normalization` as the backbone learned it. Without, each picture gets zero mean and (nearly) unit
    variance over all its planes, so that a network from scratch need not learn the light. `grey`
    replaces color by three planes of brightness, for networks whose training pictures have none.
    """
    rgb = pixels.to(torch.float32).permute(0, 3, 1, 2) / 255.0
    if grey:
        red, green, blue = LUMA
        luma = red * rgb[:, 0:1] + green * rgb[:, 1:2] + blue * rgb[:, 2:3]
        rgb = luma.repeat(1, 3, 1, 1)
    if normalization is not None:
        mean, deviation = (
            torch.tensor(values, device=rgb.device).view(1, 3, 1, 1) for values in normalization
        )
        return (rgb - mean) / deviation
    centered = rgb - rgb.mean((1, 2, 3), keepdim=True)
    spread = (centered * centered).mean((1, 2, 3), keepdim=True).sqrt()
    return centered / (spread + SOFTEST)


class VisionEncoder(VideoEncoder):
    """An encoder whose `backbone` is a network of torchvision, without its classifier."""

    backbone: Any
    checkpointing = False
    """Whether activations are computed again in the backward pass, which takes a third more time and a
    fraction of the memory."""

    def __init__(self, spec: NetworkSpec, width: int) -> None:
        super().__init__()
        self.size, self.grey, self.width = spec.size, spec.grey, width
        self.normalization = IMAGENET if spec.weights[SLOT] != NONE else None

    def normalize(self, pixels: Tensor) -> Tensor:
        """See `normalize_pixels`."""
        return normalize_pixels(pixels, grey=self.grey, normalization=self.normalization)

    def run_blocks(self, blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
        """`x` through all of `blocks`."""
        again = self.checkpointing and self.training
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        return x

    def resnet_map(self, pixels: Tensor) -> Tensor:
        """The last map of a ResNet, (M, C, H, W)."""
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(self.normalize(pixels)))))
        return self.run_blocks((net.layer1, net.layer2, net.layer3, net.layer4), x)


def load_vision_weights(
    module: nn.Module,
    spec: NetworkSpec,
    family: str,
    *,
    resize: Callable[[States], States] | None = None,
) -> None:
    """Load the weights that `spec` names into `module`, a network of torchvision without classifier.

    The source is a name such as ``ResNet50_Weights.IMAGENET1K_V2`` of torchvision's `family`
    (``ResNet50_Weights``), a ``.pth`` or ``.safetensors`` file, a folder that holds one, or ``none``, which
    leaves `module` as it is. `resize` may adapt the tensors to the network's size first.

    Raises `WeightsMissing` if they are not available, and `WeightsError` if they do not fit.
    """
    source = spec.weights[SLOT]
    if not spec.load_weights or source == NONE:
        return
    if "_Weights." in source and not Path(source).exists():
        found = _download(source, family)
    else:
        found = _read(_file(source))
    states = {name: v for name, v in found.items() if not name.startswith(("fc.", "heads."))}
    if resize is not None:
        states = resize(states)
    advice = f"take weights of {family}, and the options that they were trained with"
    load_tensors(module, states, f"--weights {SLOT}={source}", advice)


def _download(source: str, family: str) -> States:
    """From torch hub's cache, downloaded into it if needed."""
    from torchvision import models

    known = {f"{family}.{name}": one for name, one in getattr(models, family).__members__.items()}
    if source not in known:
        raise WeightsMissing(
            f"--weights {SLOT}={source}: torchvision has no such weights for this network: expected "
            f"{', '.join(known)}, a file, or none"
        )
    url = known[source].url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not file.exists():
        hash_prefix = file.stem.rsplit("-", 1)[1]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix, sys.stderr.isatty())
        except (OSError, RuntimeError) as error:  # a wrong hash is a RuntimeError
            raise WeightsMissing(
                f"--weights {SLOT}={source}: not in {file}, and cannot be fetched "
                f"({getattr(error, 'reason', error)}). Where there is a network, fetch {url} and put it "
                f"there ($TORCH_HOME/hub/checkpoints), or give '--weights {SLOT}=FILE'; "
                f"'--weights {SLOT}=none' trains from scratch"
            ) from error
    return _read(file)


def _file(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            raise WeightsMissing(
                f"--weights {SLOT}={source}: expected one file of {', '.join(SUFFIXES)} in this folder, "
                f"found {found}: name the file"
            )
        return files[0]
    if not path.is_file():
        raise WeightsMissing(
            f"--weights {SLOT}={source}: no such file, and no name of torchvision's such as "
            f"ResNet50_Weights.IMAGENET1K_V2; 'none' trains from scratch"
        )
    return path


def _read(path: Path) -> States:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each have their own errors
        raise WeightsError(
            f"--weights {SLOT}={path}: cannot be read as a file of tensors ({first_line(error)}): expected "
            "what torch.save writes of a network's state_dict, or safetensors"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise WeightsError(
            f"--weights {SLOT}={path}: holds no tensors by name: expected what "
            "torch.save(network.state_dict()) writes"
        )
    return dict(found)
