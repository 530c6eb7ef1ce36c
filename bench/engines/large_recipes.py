"""The networks of the recipes at random weights, exported as engine files.

Only their operators and sizes matter here. Weights come from a fixed seed; nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from affectstream.engines.labels import EMOTIONS_7
from affectstream.engines.manifest import SPEAKER_FEATURES
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.losses import LossConfig
from affectstream.train.model_spec import DataSource, ModelSpec
from affectstream.train.networks.network import Network
from affectstream.train.networks.pretrained import NONE
from affectstream.train.onnx.engine_files import write_engine_files
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.recipes.registry import recipes
from affectstream.train.tasks import Task

VOCABULARY = 30_522
"""Size of the vocabulary of bert-base-uncased."""


def network_recipes() -> list[NetRecipe]:
    """Every recipe whose network can be built without a data set."""
    return [recipe for recipe in recipes().values() if isinstance(recipe, NetRecipe)]


def smallest_variant(recipe: NetRecipe) -> NetRecipe:
    """`recipe` with the options of its smallest network, and with small images."""
    side = -(-64 // recipe.multiple) * recipe.multiple
    return replace(recipe, options={**recipe.options, **recipe.tiny}, side=side)


def export_graphs(recipe: NetRecipe, folder: Path) -> list[Path]:
    """Write the encoders and the head of `recipe`, for seven emotions, into `folder`; return the files."""
    network, spec = random_network(recipe)
    return write_engine_files(network, spec, folder)


def random_network(recipe: NetRecipe) -> tuple[Network, ModelSpec]:
    """The network of `recipe` for seven emotions, and what it was built for."""
    spec = ModelSpec(
        tasks=(Task("emotion", EMOTIONS_7, (1,) * len(EMOTIONS_7)),),
        window=WindowSpec(
            modalities=recipe.modalities,
            window_us=recipe.window_us,
            frame_hz=recipe.frame_hz,
            size=recipe.side,
            tokens=recipe.tokens,
            metadata=SPEAKER_FEATURES if recipe.metadata else (),
        ),
        hop_us=recipe.hop_us,
        crop="face",
        template=(),
        grey=False,
        vocabulary=VOCABULARY,
        options=recipe.options,
        weights=dict.fromkeys(recipe.backbones, NONE),
        loss=LossConfig(),
        data=DataSource("none", "random weights", "none", "", "", 0, ()),
    )
    # An encoder that several recipes share gets the same weights, hence the same digest.
    torch.manual_seed(0)
    return recipe.build(spec.network_spec(load_weights=False)).eval(), spec
