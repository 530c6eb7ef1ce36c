"""YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023) as a network that learns on.

Its convolutions are those of its authors' ONNX file, where the normalization is already part of the weights.
It takes RGB, the four heads of a grid are one, and dark pictures are brightened first; the answers on other
pictures are those of the file. The file is under Apache-2.0; its notice goes where its weights go.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from affectstream.stream.faces.detection.yunet import STRIDES
from affectstream.train.errors import DataError, first_line

PARTS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
"""Values of a cell, in the order of the network's outputs."""
_VALUES = sum(size for _, size in PARTS)
BLOCK = 16
"""Side in pixels of the squares whose brightest tells how dark a picture is: lamps are smaller than faces."""
BRIGHT, MOST = 112.0, 8.0
"""Mean of the brightest square, in [0, 255], below which a picture is brightened, and by how much at most."""
_FILE_ORDER = ("cls", "bbox", "obj", "kps")
"""Of the heads in the file, each for all strides."""


class Unit(nn.Sequential):
    """Pointwise 1x1 and depthwise 3x3 convolution with nothing between them, then ReLU."""

    def __init__(self, inputs: int, outputs: int, *, last: bool = False) -> None:
        """`last`: without ReLU."""
        depthwise = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        end = [] if last else [nn.ReLU()]
        super().__init__(nn.Conv2d(inputs, outputs, 1), depthwise, *end)


class YuNet(nn.Module):
    """Three grids of cells from one picture: a small backbone, a top-down path, a head for each grid. The
    parts stand in the order of the file, so that its convolutions can be read one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.fine = nn.Sequential(
            nn.ReLU(), Unit(16, 16), _halved(), Unit(16, 16), Unit(16, 64), *_units()
        )
        self.stages = nn.ModuleList(nn.Sequential(_halved(), *_units()) for _ in STRIDES)
        self.lateral = nn.ModuleList(Unit(64, 64) for _ in STRIDES)  # from coarse to fine
        self.shared = nn.ModuleList(Unit(64, 64) for _ in STRIDES)
        self.heads = nn.ModuleList(Unit(64, _VALUES, last=True) for _ in STRIDES)

    def grids(self, pixels: Tensor) -> list[Tensor]:
        """RGB pictures (N, 3, H, W) in [0, 255] to raw values (N, 16, h, w) of the three strides."""
        x = self.fine(self.stem(pixels))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        for level, lateral in zip(reversed(range(len(STRIDES))), self.lateral, strict=True):
            if level + 1 < len(STRIDES):
                coarse = F.interpolate(levels[level + 1], scale_factor=2.0)
                levels[level] = levels[level] + coarse
            levels[level] = lateral(levels[level])
        heads = zip(self.heads, self.shared, levels, strict=True)
        return [head(shared(level)) for head, shared, level in heads]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Pictures (N, H, W, 3) uint8 RGB, H and W multiples of 32, to YuNet's twelve outputs."""
        sizes = [size for _, size in PARTS]
        grids = self.grids(brightened(image.float().permute(0, 3, 1, 2)))
        parts = [torch.split(grid, sizes, 1) for grid in grids]
        return tuple(
            by_cell(grid[part].sigmoid() if size == 1 else grid[part])
            for part, size in enumerate(sizes)
            for grid in parts
        )


def brightened(pixels: Tensor) -> Tensor:
    """Dark pictures (N, 3, H, W) in [0, 255] times what makes their brightest square `BRIGHT`. YuNet misses a
    fifth of the faces at an eighth of the light, which nothing else about them explains."""
    squares = F.avg_pool2d(pixels.mean(1, keepdim=True), BLOCK)
    brightest = squares.amax((1, 2, 3), keepdim=True)
    gain = (BRIGHT / brightest.clamp(min=BRIGHT / MOST)).clamp(min=1.0)
    return (pixels * gain).clamp(max=255.0)


def by_cell(grid: Tensor) -> Tensor:
    """A grid (N, K, h, w) as its cells (N, cells, K), in row order."""
    return grid.flatten(2).transpose(1, 2)


def _halved() -> nn.MaxPool2d:
    """Sizes are even here; rounding them up is what torch can export for any size."""
    return nn.MaxPool2d(2, ceil_mode=True)


def _units() -> tuple[Unit, Unit]:
    return Unit(64, 64), Unit(64, 64)


def read_yunet(path: Path) -> YuNet:
    """The network with the weights of YuNet's ONNX file. Raises `DataError` if the file has other
    convolutions."""
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load(str(path)).graph
    tensors = {
        tensor.name: torch.from_numpy(to_array(tensor).copy()) for tensor in graph.initializer
    }
    names = [tuple(node.input[1:]) for node in graph.node if node.op_type == "Conv"]
    network = YuNet()
    body = [
        name
        for name, part in network.named_modules()
        if isinstance(part, nn.Conv2d) and not name.startswith("heads")
    ]
    expected = len(body) + 2 * len(STRIDES) * len(PARTS)
    if len(names) != expected or not all(set(pair) <= tensors.keys() for pair in names):
        raise DataError(
            f"{path}: expected the {expected} convolutions of YuNet and their weights, "
            f"found {len(names)}"
        )
    found = [(tensors[weight], tensors[bias]) for weight, bias in names]
    state: dict[str, Tensor] = {}
    for name, pair in zip(body, found, strict=False):
        state[f"{name}.weight"], state[f"{name}.bias"] = pair
    state["stem.weight"] = state["stem.weight"].flip(1)  # the file takes BGR
    rest = found[len(body) :]
    for stride, depth in product(range(len(STRIDES)), range(2)):
        in_file = rest[2 * stride + depth :: 2 * len(STRIDES)]
        pairs = dict(zip(_FILE_ORDER, in_file, strict=True))
        joined = zip(*(pairs[name] for name, _ in PARTS), strict=True)
        for kind, tensors_of_parts in zip(("weight", "bias"), joined, strict=True):
            state[f"heads.{stride}.{depth}.{kind}"] = torch.cat(tensors_of_parts)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(
            f"{path}: expected the convolutions of YuNet: {first_line(error)}"
        ) from error
    return network
