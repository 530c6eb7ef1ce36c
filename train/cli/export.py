"""`affectstream train export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.train.cli.flags import Data, find_recipe


def export(
    data: Data,
    runs: Annotated[
        Path, typer.Option(help="Folder of all runs, with a subfolder for each recipe.")
    ] = Path("runs"),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the bundle.")] = Path(
        "bundle"
    ),
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe whose run is exported.", show_default="pocket, of its five runs"),
    ] = None,
    weights: Annotated[
        bool,
        typer.Option("--weights/--no-weights", help="Include the weights for 'train fit --init'."),
    ] = True,
    build: Annotated[
        bool, typer.Option("--build", help="Also build TensorRT plans, as 'engines build' does.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the bundle that OUTPUT holds.")
    ] = False,
) -> None:
    """Export a run as a bundle, calibrated and measured.

    Example: [bold]affectstream train export --recipe cnn --data prepared/fer2013 -o my-bundle[/bold]
    """
    from affectstream.engines.bundle.folder import MANIFEST
    from affectstream.stream.errors import OptionError

    if not overwrite and (output / MANIFEST).exists():
        raise OptionError(
            f"{output} already holds a bundle: replace it with --overwrite, or choose another --output"
        )
    if recipe is None:
        from affectstream.train.export.pocket_bundle import assemble as assemble_pocket

        assemble_pocket(data, runs, output)
    else:
        from affectstream.train.export.fusion_bundle import assemble as assemble_fusion
        from affectstream.train.export.net_bundle import assemble
        from affectstream.train.late_fusion.recipe import FusionRecipe
        from affectstream.train.recipes.net_recipe import NetRecipe

        found = find_recipe(recipe)
        if isinstance(found, FusionRecipe):
            assemble_fusion(found, data, runs, output)
        elif isinstance(found, NetRecipe):
            assemble(found, data, runs, output, weights=weights)
        else:
            raise typer.BadParameter(
                f"{recipe} is a part of pocket: leave out --recipe to export pocket",
                param_hint="--recipe",
            )
    if build:
        from affectstream.engines.cli.build import build as build_plans
        from affectstream.engines.errors import DeviceError

        try:
            build_plans(bundle=str(output))
        except DeviceError as error:
            raise DeviceError(
                f"--build: no plan was built: {error}; the bundle in {output} works without plans"
            ) from error
