"""`affectstream train`: prepare data, fit recipes, evaluate bundles, export them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.train.prepare_command import prepare

application = typer.Typer(
    no_args_is_help=True, help="Train recipes and turn them into bundles (needs the 'train' extra)."
)
application.command()(prepare)

Data = Annotated[Path, typer.Option(help="Folder that holds the data sets.", show_default=False)]
Runs = Annotated[Path, typer.Option(help="Folder of all runs, one sub-folder a recipe.")]


@application.command("list")
def list_recipes() -> None:
    """Name every recipe.

    Example: [bold]affectstream train list[/bold]
    """
    from affectstream.train.recipe import recipes

    for name, recipe in sorted(recipes().items()):
        print(f"{name:18} {recipe.summary}")


@application.command()
def fit(
    recipe: Annotated[
        str, typer.Option(help="Which recipe; see 'train list'.", show_default=False)
    ],
    data: Data,
    runs: Runs = Path("runs"),
    epochs: Annotated[int | None, typer.Option(min=1, show_default="the recipe's")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, show_default="torch's")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
) -> None:
    """Train one recipe; its best epoch is kept in RUNS/RECIPE.

    Example: [bold]affectstream train fit --recipe pocket_face --data DATA[/bold]
    """
    from dataclasses import replace

    import torch

    from affectstream.train.loop import fit as run_fit
    from affectstream.train.recipe import recipes

    known = recipes()
    if recipe not in known:
        raise typer.BadParameter(
            f"{recipe!r} is not one of {', '.join(sorted(known))}", param_hint="--recipe"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = known[recipe]
    config = replace(chosen.defaults, seed=seed, runs=str(runs))
    if epochs is not None:
        config = replace(config, epochs=epochs)
    figures = run_fit(chosen, config, data, runs / recipe, resume=resume)
    print("best: " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()))


@application.command()
def export(
    data: Data,
    runs: Runs = Path("runs"),
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle's folder.")] = Path(
        "bundle"
    ),
) -> None:
    """Export, calibrate and measure the pocket bundle from its five runs.

    Example: [bold]affectstream train export --data DATA --output engines/pocket[/bold]
    """
    from affectstream.train.pocket import assemble

    assemble(data, runs, output)


@application.command()
def evaluate(
    data: Data,
    bundle: Annotated[str, typer.Option(help="'pocket', or a bundle's folder.")] = "pocket",
    fer_split: Annotated[str, typer.Option(help="Folder of FER2013: test is PublicTest.")] = "test",
    actors: Annotated[str, typer.Option(help="Actors of RAVDESS.")] = "17-20",
    meld_split: Annotated[str, typer.Option(help="Split of MELD.")] = "dev",
) -> None:
    """Measure every encoder of a bundle, and its face detector, on data it has not seen.

    Example: [bold]affectstream train evaluate --data DATA[/bold]
    """
    from affectstream.engines.bundle import Bundle
    from affectstream.train import evaluate as figures

    first, _, last = actors.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise typer.BadParameter(f"{actors!r}: expected 17-20", param_hint="--actors")
    chosen = tuple(range(int(first), int(last or first) + 1))
    with Bundle.open(bundle) as opened:
        rows = [
            *figures.evaluate_detector(opened, data),
            *figures.evaluate_face(opened, data, fer_split),
            *figures.evaluate_voice(opened, data, chosen),
            *figures.evaluate_text(opened, data, meld_split),
        ]
    for row in rows:
        print(f"{row.part:14} {row.data:38} {row.metric:22} {row.value:.4f}  (n = {row.count})")
