"""`affectstream train tune`."""

from __future__ import annotations

from typing import Annotated

import typer

from affectstream.train.cli.flags import (
    ConfigFile,
    DataFolder,
    Epochs,
    Members,
    RecipeName,
    RunsFolder,
    Seed,
    Set,
    Size,
    Tasks,
    Threads,
    Tiny,
    Weights,
    run_request,
)


def tune(
    recipe: RecipeName = None,
    data: DataFolder = None,
    config: ConfigFile = None,
    runs: RunsFolder = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Of the whole study, those of earlier calls too.")
    ] = 50,
    tasks: Tasks = None,
    size: Size = None,
    options: Set = None,
    weights: Weights = None,
    tiny: Tiny = None,
    members: Members = None,
    epochs: Epochs = None,
    seed: Seed = None,
    threads: Threads = None,
) -> None:
    """Search the settings of one recipe with Optuna; a study goes on where it stopped.

    RUNS/RECIPE/study.db holds the trials, RUNS/RECIPE/tune the plots and best.toml for
    'train fit --config'. 'train list --recipe' names what is searched.

    Example: [bold]affectstream train tune --recipe cnn --data prepared/fer2013 --trials 50[/bold]
    """
    given = {
        "runs": str(runs) if runs is not None else None,
        "tasks": tasks,
        "size": size,
        "options": options,
        "weights": weights,
        "tiny": tiny,
        "members": members,
        "epochs": epochs,
        "seed": seed,
    }
    wanted = run_request(recipe, data, config, given)
    import torch

    from affectstream.train.studies.tune import BEST_CONFIG, FOLDER
    from affectstream.train.studies.tune import tune as study

    if threads is not None:
        torch.set_num_threads(threads)
    found = study(wanted.recipe, wanted.config, wanted.data, wanted.run, trials)
    print(
        f"{found.trials} trials, {found.pruned} of them pruned and {found.failed} failed; the best is "
        f"trial {found.best}: {found.figure:.4f}"
    )
    print(f"its settings are in {wanted.run / FOLDER / BEST_CONFIG}")
