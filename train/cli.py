"""`affectstream train`: prepare data, fit recipes, evaluate bundles, export them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affectstream.train.prepare_command import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affectstream.engines.manifest import Measured
    from affectstream.train.recipe import Recipe

application = typer.Typer(
    no_args_is_help=True, help="Train recipes and turn them into bundles (needs the 'train' extra)."
)
application.command()(prepare)

Data = Annotated[
    Path,
    typer.Option(help="Folder that holds the data sets, or a prepared one.", show_default=False),
]
_FACES = "For face recipes"
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
    batch_size: Annotated[int | None, typer.Option(min=1, show_default="the recipe's")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-9, help="At its peak.", show_default="the recipe's")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Side of the pictures, pixels.",
            show_default="the recipe's",
            rich_help_panel=_FACES,
        ),
    ] = None,
    label_smoothing: Annotated[float, typer.Option(min=0.0, max=0.9, rich_help_panel=_FACES)] = 0.0,
    class_weights: Annotated[
        bool,
        typer.Option("--class-weights", help="Count every label alike.", rich_help_panel=_FACES),
    ] = False,
) -> None:
    """Train one recipe; its best epoch is kept in RUNS/RECIPE.

    Example: [bold]affectstream train fit --recipe cnn --data prepared/fer2013[/bold]
    """
    from dataclasses import replace

    import torch

    from affectstream.train.face import FaceRecipe
    from affectstream.train.loop import fit as run_fit

    chosen = _recipe(recipe)
    if not isinstance(chosen, FaceRecipe) and (size or label_smoothing or class_weights):
        raise typer.BadParameter(
            f"{recipe} takes none of --size, --label-smoothing and --class-weights",
            param_hint="--recipe",
        )
    if threads is not None:
        torch.set_num_threads(threads)
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    config = replace(
        chosen.defaults,
        seed=seed,
        runs=str(runs),
        size=size,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    figures = run_fit(chosen, config, data, runs / recipe, resume=resume)
    print("best: " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()))


@application.command()
def export(
    data: Data,
    runs: Runs = Path("runs"),
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle's folder.")] = Path(
        "bundle"
    ),
    recipe: Annotated[
        str | None,
        typer.Option(help="A face recipe.", show_default="pocket, of its five runs"),
    ] = None,
) -> None:
    """Export a run as a bundle, calibrated and measured.

    Example: [bold]affectstream train export --recipe cnn --data prepared/fer2013 -o my-bundle[/bold]
    """
    if recipe is None:
        from affectstream.train.pocket import assemble as assemble_pocket

        assemble_pocket(data, runs, output)
        return
    from affectstream.train.bundle import assemble
    from affectstream.train.face import FaceRecipe

    chosen = _recipe(recipe)
    if not isinstance(chosen, FaceRecipe):
        raise typer.BadParameter(
            f"{recipe} is a part of pocket: leave --recipe out to export that",
            param_hint="--recipe",
        )
    assemble(chosen, data, runs, output)


def _recipe(name: str) -> Recipe:
    from affectstream.train.recipe import recipes

    known = recipes()
    if name not in known:
        raise typer.BadParameter(
            f"{name!r} is not one of {', '.join(sorted(known))}", param_hint="--recipe"
        )
    return known[name]


@application.command()
def evaluate(
    data: Data,
    bundle: Annotated[str, typer.Option(help="'pocket', or a bundle's folder.")] = "pocket",
    fer_split: Annotated[str, typer.Option(help="Folder of FER2013: test is PublicTest.")] = "test",
    actors: Annotated[str, typer.Option(help="Actors of RAVDESS.")] = "17-20",
    meld_split: Annotated[str, typer.Option(help="Split of MELD.")] = "dev",
    split: Annotated[str, typer.Option(help="Split of a prepared data set.")] = "test",
) -> None:
    """Measure every encoder of a bundle, and its face detector, on data it has not seen.

    Of a prepared data set the faces: accuracy, macro F1, unweighted average recall.

    Example: [bold]affectstream train evaluate --data DATA[/bold]
    """
    from affectstream.engines.bundle import Bundle

    if (data / "dataset.json").is_file():
        from affectstream.train.evaluate_face import evaluate_prepared

        with Bundle.open(bundle) as opened:
            _print(evaluate_prepared(opened, data, split))
        return
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
    _print(rows)


def _print(rows: Sequence[Measured]) -> None:
    for row in rows:
        print(f"{row.part:14} {row.data:38} {row.metric:22} {row.value:.4f}  (n = {row.count})")
