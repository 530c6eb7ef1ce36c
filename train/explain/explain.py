"""An explanation of one sample from inside a network: all that its parts allow, as numbers and PNGs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from affectstream.engines.cache.atomic import write_atomic
from affectstream.stream.explain.draw import Picture, draw_spectrogram, png
from affectstream.stream.sinks.base import writing
from affectstream.train.explain.attention import LayerAttention, attention_of, rollout
from affectstream.train.explain.draw import beyond_even, color_scale, draw_heads, draw_maps
from affectstream.train.explain.gradients import (
    PartialNetwork,
    grad_cam,
    sound_saliency,
    token_saliency,
)
from affectstream.train.explain.page import network_page
from affectstream.train.explain.sanity import DRAWS, Maps, compare_maps
from affectstream.train.explain.trained import (
    ReadSample,
    Target,
    TrainedNetwork,
    choose_target,
    load_trained,
    read_sample,
)
from affectstream.train.networks.sequences import half_life_of, set_half_life

DOCUMENT, PAGE = "explanation.json", "explanation.html"
_DECIBEL = 10 / math.log(10)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkExplanation:
    """`document` has the numbers; `pictures` are by name, (H, W, 3) uint8 RGB."""

    document: dict[str, Any]
    pictures: Mapping[str, Picture]
    maps: Maps
    """The numbers behind the pictures, and behind the tokens."""

    def write(self, folder: Path) -> list[Path]:
        """Write `explanation.html`, `explanation.json` and a PNG of each picture; the paths.

        Raises `OutputError`.
        """
        text = msgspec.json.format(msgspec.json.encode(self.document), indent=2)
        pictures = {name: png(picture) for name, picture in self.pictures.items()}
        files = {PAGE: network_page(self.document, pictures).encode(), DOCUMENT: text + b"\n"}
        files |= {f"{name}.png": picture for name, picture in pictures.items()}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                write_atomic(folder / name, content)
        return [folder / name for name in files]


def explain_sample(
    path: Path, data: Path, sample: str, *, split: str | None = None, explained: str | None = None
) -> NetworkExplanation:
    """Explain what the network in `path` (see `load_trained`) predicts of one sample of a prepared data set.

    `sample` is an id, or a number from 0 among the samples of `split` (None: of all). `explained` is a label
    or another output; by default the most probable label. Raises what `load_trained`, `read_sample` and
    `choose_target` raise.
    """
    trained = load_trained(path)
    found = read_sample(trained, data, sample, split, trained.recipe.spec.tasks[0])
    target = choose_target(trained, found.batch, explained)
    explanation = explain_network(trained, found, target)
    random = [explain_network(_random(trained, seed), found, target).maps for seed in range(DRAWS)]
    explanation.document["sanity"] = [asdict(s) for s in compare_maps(explanation.maps, random)]
    return explanation


def _random(trained: TrainedNetwork, seed: int) -> TrainedNetwork:
    """The same network before it learned anything, whose frames count as those of `trained`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = trained.recipe.restore(trained.recipe.spec_dict()).module()
    half_life = half_life_of(trained.network.head)
    if half_life is not None:
        set_half_life(network.head, half_life)
    return replace(trained, network=network.eval().requires_grad_(False))


def explain_network(
    trained: TrainedNetwork, sample: ReadSample, target: Target
) -> NetworkExplanation:
    """Everything that the parts of a network allow for one sample."""
    part = PartialNetwork(trained.network, sample.batch)
    document: dict[str, Any] = {
        "type": "network explanation",
        "recipe": trained.recipe.name,
        "sample": sample.id,
        "label": sample.label,
        "explained": {"name": target.name, "probability": _rounded(target.probability)},
    }
    pictures: dict[str, Picture] = {}
    maps: dict[str, NDArray[np.float64]] = {}
    if trained.network.video is not None and _is_present(sample, "video"):
        _explain_video(part, target.column, document, pictures, maps)
    if trained.network.voice is not None and _is_present(sample, "voice"):
        sound = sound_saliency(part, target.column)
        document["voice"] = {"layer": sound.layer, "sum": _rounded(float(sound.values.sum()))}
        maps["voice"] = sound.values
        scale = color_scale(sound.values)
        pictures["voice"] = draw_spectrogram(sound.level * _DECIBEL, sound.values, scale)
    if trained.network.text is not None and _is_present(sample, "text"):
        tokens, without = _tokens(part, trained.recipe.spec.window.tokenizer, target.column)
        document["tokens"], maps["words"] = tokens, without
    return NetworkExplanation(document, pictures, maps)


def _is_present(sample: ReadSample, modality: str) -> bool:
    mask = sample.batch.get(f"{modality}_mask")
    return mask is None or bool(mask.any())


def _explain_video(
    part: PartialNetwork,
    column: int,
    document: dict[str, Any],
    pictures: dict[str, Picture],
    maps: dict[str, NDArray[np.float64]],
) -> None:
    encoder, batch = part.network.video, part.batch
    assert encoder is not None
    mask = batch.get("video_mask")
    seen = batch["pixels"].flatten(0, 1) if mask is None else batch["pixels"][mask]
    crops: NDArray[np.uint8] = seen.cpu().numpy().astype(np.uint8)
    layers = attention_of(encoder, seen)
    if layers:
        document["attention"] = [_layer(number, one) for number, one in enumerate(layers)]
        pictures["attention_heads"] = draw_heads(crops[-1], layers)
        flow = maps["attention_rollout"] = rollout(layers)
        shares = 1 + beyond_even(flow)
        document["rollout"] = {
            "smallest": _rounded(float(shares.min())),
            "largest": _rounded(float(shares.max())),
        }
    elif (cam := grad_cam(part, column)) is not None:
        document["grad_cam"] = {"layer": cam[0], "shape": list(cam[1].shape)}
        maps["grad_cam"] = cam[1]
    if "attention" in encoder.extra_outputs:
        place = 1 + encoder.extra_outputs.index("attention")
        own = maps["regions"] = encoder(seen)[place].detach().double().cpu().numpy()
        document["regions"] = {"largest": _rounded(float(own.max())), "even": 1 / own[0].size}
    for name, one in maps.items():  # attention has no sign, gradients do
        pictures[name] = draw_maps(crops, one if name == "grad_cam" else beyond_even(one))


def _layer(number: int, one: LayerAttention) -> dict[str, Any]:
    diversity = one.diversity
    return {
        "layer": number + 1,
        "heads": one.weights.shape[1],
        "diversity": None if math.isnan(diversity) else _rounded(diversity),
        "spread": [_rounded(value) for value in one.spread],
    }


def _tokens(
    part: PartialNetwork, tokenizer: str, column: int
) -> tuple[list[dict[str, Any]], NDArray[np.float64]]:
    """Each token for the document, and how far the output falls without it, not rounded."""
    found = token_saliency(part, column)
    words = Tokenizer.from_str(tokenizer)
    ids = part.batch["ids"][0][part.batch["tokens_mask"][0]].tolist()
    tokens = [
        {
            "token": words.id_to_token(number),
            "without": _rounded(float(found.without[place])),
            "gradients": None
            if found.gradients is None
            else _rounded(float(found.gradients[place])),
        }
        for place, number in enumerate(ids)
    ]
    return tokens, found.without


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4) + 0.0
