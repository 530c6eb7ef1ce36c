"""`affectstream train tune`."""

from __future__ import annotations

from typing import Annotated

import typer

from affectstream.train.cli import flags


def tune(
    recipe: flags.RecipeName = None,
    data: flags.DataFolder = None,
    config: flags.ConfigFile = None,
    runs: flags.RunsFolder = None,
    trials: Annotated[
        int,
        typer.Option(min=1, help="Trials of the whole study, including those of earlier calls."),
    ] = 50,
    tasks: flags.Tasks = None,
    size: flags.Size = None,
    options: flags.Options = None,
    weights: flags.Weights = None,
    tiny: flags.Tiny = None,
    members: flags.Members = None,
    epochs: flags.Epochs = None,
    seed: flags.Seed = None,
    threads: flags.Threads = None,
) -> None:
    """Search the settings of one recipe with Optuna; a second call continues the study.

    RUNS/RECIPE/study.db holds the trials, RUNS/RECIPE/tune the plots and best.toml for
    'train fit --config'. 'train list --recipe' names what is searched.

    Example: [bold]affectstream train tune --recipe cnn --data prepared/fer2013 --trials 50[/bold]
    """
    request = flags.run_request(locals())
    from affectstream.train.studies import tune as studies

    flags.set_threads(threads)
    result = studies.tune(request.recipe, request.config, request.data, request.run, trials)
    print(
        f"{result.trials} trials, {result.pruned} of them pruned and {result.failed} failed; the best is "
        f"trial {result.best}: {result.metric:.4f}"
    )
    print(f"its settings are in {request.run / studies.FOLDER / studies.BEST_CONFIG}")
