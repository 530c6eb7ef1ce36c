"""What a bundle of a run costs, and what its modalities are worth, without exporting the run for good."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from affectstream.engines.bundle.bundle import Bundle
from affectstream.train.errors import RunError
from affectstream.train.evaluate.bundle.bundle_metrics import measure_bundle
from affectstream.train.evaluate.bundle.cost import Cost, measure_cost
from affectstream.train.evaluate.bundle.importance import Importance
from affectstream.train.export import fusion_bundle, net_bundle
from affectstream.train.fit.checkpoint import Trained
from affectstream.train.late_fusion.recipe import FusionRecipe, LateFusion
from affectstream.train.networks.network import Network
from affectstream.train.recipes.net_recipe import NetRecipe


@dataclass(frozen=True, slots=True)
class RunMeasures:
    """Of the engines that a run exports."""

    cost: Cost
    importance: Importance | None
    """None for one modality, and where no samples were given."""


def measure_run(trained: Trained, data: Path | None, split: str) -> RunMeasures:
    """Export the engines of a run to a temporary bundle, and measure that on `split` of `data`.

    It is not calibrated: that changes how sure it is, not what is most probable. Raises `RunError` for a
    recipe that cannot be exported, `ParityError` if an exported graph differs from its network, `BundleError`
    if the cost cannot be measured, and what `measure_bundle` raises.
    """
    print(f"exporting {trained.recipe.name} to a temporary bundle to measure it", file=sys.stderr)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _write(trained, folder)
        importance = None
        with Bundle.open(folder) as bundle:
            if data is not None and len(bundle.modalities) > 1:
                importance = measure_bundle(bundle, data, split).importance
        return RunMeasures(measure_cost(folder), importance)


def _write(trained: Trained, folder: Path) -> None:
    recipe, module = trained.recipe, trained.module
    if isinstance(recipe, FusionRecipe) and isinstance(module, LateFusion):
        fusion_bundle.write_uncalibrated(recipe, module, folder)
    elif isinstance(recipe, NetRecipe) and isinstance(module, Network):
        net_bundle.write_uncalibrated(recipe, module, folder)
    else:
        raise RunError(
            f"only a NetRecipe or a FusionRecipe becomes a bundle: {recipe.name} is a {type(recipe).__name__}"
        )
