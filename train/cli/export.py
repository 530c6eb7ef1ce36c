"""`affectstream train export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.engines.labels import Modality
from affectstream.train.cli.flags import Data, Overwrite, find_recipe, output_option, refuse_bundle


def export(
    data: Data,
    recipe: Annotated[str, typer.Option(help="Recipe whose run is exported.")],
    runs: Annotated[
        Path, typer.Option(help="Folder of all runs, with a subfolder for each recipe.")
    ] = Path("runs"),
    output: Annotated[Path, output_option(help="Folder of the bundle.")] = Path("bundle"),
    merge: Annotated[
        Path | None,
        typer.Option(help="Late fusion: make one bundle of the members, as this TOML file says."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Late fusion: calibrate on all samples of this prepared data set, of people whom no "
            "member learned from.",
            show_default="split valid of DATA",
        ),
    ] = None,
    half_life: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Seconds in which the weight of a frame halves, for a mean over the frames.",
            show_default="none: all frames count the same",
        ),
    ] = None,
    weights: Annotated[
        bool,
        typer.Option("--weights/--no-weights", help="Include the weights for 'train fit --init'."),
    ] = True,
    build: Annotated[
        bool, typer.Option("--build", help="Also build TensorRT plans, as 'engines build' does.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Export a run as a bundle, calibrated and measured.

    Example: [bold]affectstream train export --recipe cnn --data prepared/fer2013 -o my-bundle[/bold]
    """
    from affectstream.stream.errors import OptionError

    refuse_bundle(output, overwrite=overwrite)
    from affectstream.train.export.fusion_bundle import assemble as assemble_fusion
    from affectstream.train.export.net_bundle import assemble
    from affectstream.train.late_fusion.recipe import FusionRecipe
    from affectstream.train.recipes.net_recipe import NetRecipe

    found = find_recipe(recipe)
    if half_life is not None and not isinstance(found, NetRecipe):
        raise OptionError(f"--half-life means nothing for {recipe}: it learns no encoder of frames")
    if isinstance(found, FusionRecipe):
        assemble_fusion(
            found, data, runs, output, merge=merge, calibrate_on=calibrate, weights=weights
        )
    elif merge is not None or calibrate is not None:
        flag = "--calibrate" if merge is None else "--merge"
        raise OptionError(f"{flag} means nothing for {recipe}: it joins no bundles")
    elif isinstance(found, NetRecipe):
        assemble(found, data, runs, output, weights=weights, half_life_s=half_life)
    else:
        raise OptionError(
            f"--recipe {recipe}: its run is one engine of a bundle; name the run in the file of --merge"
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


def extract(
    bundle: Annotated[str, typer.Argument(help="'pocket', or the folder of a bundle.")],
    modality: Annotated[Modality, typer.Argument(help="The modality to keep.")],
    output: Annotated[Path, output_option(help="Folder of the new bundle.")],
) -> None:
    """Make a bundle of one modality of another, for example to join it with a face encoder of yours.

    Example: [bold]affectstream train extract pocket voice -o members/voice[/bold]
    """
    from affectstream.train.export.one_modality import write_one_modality

    write_one_modality(bundle, modality, output)
