"""The networks of the recipes at random weights, as the engine files that a bundle of them would have.

What matters here is their operators. Weights are drawn with a fixed seed; nothing is fetched.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from affectstream.engines.labels import EMOTIONS_7
from affectstream.engines.manifest import SPEAKER_FEATURES
from affectstream.train.graphs.engine_files import write_engine_files
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.losses import LossConfig
from affectstream.train.model_spec import DataSource, ModelSpec
from affectstream.train.networks.pretrained import NONE
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.recipes.registry import recipes
from affectstream.train.tasks import Task

VOCABULARY = 30_522
"""Of bert-base-uncased."""


def networks() -> list[NetRecipe]:
    """Every recipe whose network can be made without a data set."""
    return [recipe for recipe in recipes().values() if isinstance(recipe, NetRecipe)]


def smallest(recipe: NetRecipe) -> NetRecipe:
    """`recipe` with the options of its smallest network, and small pictures."""
    side = -(-64 // recipe.multiple) * recipe.multiple
    return replace(recipe, options={**recipe.options, **recipe.tiny}, side=side)


def files_of(recipe: NetRecipe, folder: Path) -> list[Path]:
    """Write the graphs of `recipe` into `folder`: its encoders and its head, for seven emotions."""
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
    # The same numbers for an encoder that several recipes have, so that it can be told from its file.
    torch.manual_seed(0)
    return write_engine_files(recipe.build(spec.network_spec(load_weights=False)), spec, folder)
