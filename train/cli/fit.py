"""The commands that train: `fit`, `folds`, `curve`, `reproduce` and `tune` of `affectstream train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from affectstream.stream.errors import OptionError
from affectstream.train.cli import flags
from affectstream.train.data.options import By
from affectstream.train.errors import RunError

_held_out = partial(typer.Option, rich_help_panel="Held-out samples")


@flags.with_settings()
def fit(
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run from its last epoch.")
    ] = False,
    eval_only: Annotated[
        bool, typer.Option("--eval-only", help="Evaluate the run's best epoch without training.")
    ] = False,
    track: flags.Track = "auto",
    **settings: Any,
) -> None:
    """Train one recipe; its best epoch is kept in RUNS/RECIPE.

    Example: [bold]affectstream train fit --recipe cnn --data prepared/fer2013[/bold]
    """
    if resume and eval_only:
        raise OptionError("--resume trains on and --eval-only trains nothing: give one of them")
    request = flags.run_request(settings, resume=resume or eval_only)
    from affectstream.train.fit import loop
    from affectstream.train.fit.checkpoint import read_summary
    from affectstream.train.fit.loggers import format_metrics

    if eval_only:
        print("best: " + format_metrics(loop.evaluate(*request)))
        return
    best = loop.fit(*request, resume=resume, track=track)
    if before := read_summary(request.run)["before"]:
        print("before: " + format_metrics(before))
    print("best: " + format_metrics(best))


@flags.with_settings()
def folds(
    track: flags.Track = "auto",
    folds: Annotated[
        str,
        _held_out(
            metavar="K|leave-one-participant-out",
            help="Number of folds, or one for each participant.",
        ),
    ] = "5",
    by: Annotated[
        By | None,
        _held_out(
            help="Keep the samples of a participant in one fold (participant), or not (sample).",
            show_default="participant, where all are known",
        ),
    ] = None,
    test: Annotated[bool, _held_out("--test", help="Include the samples of split test.")] = False,
    valid: Annotated[
        bool,
        _held_out(
            "--valid/--no-valid",
            help="Include the samples of split valid, or not: for 'train prepare taught'.",
        ),
    ] = True,
    best: Annotated[
        bool,
        _held_out(
            "--best/--last",
            help="Evaluate the best epoch, which the held-out samples choose, or the last one.",
        ),
    ] = False,
    keep: Annotated[bool, _held_out("--keep", help="Keep the weights of every fold.")] = False,
    **settings: Any,
) -> None:
    """Cross-validate one recipe: train on all folds but one, evaluate on that one.

    RUNS/RECIPE/folds holds a run for each fold, folds.json and folds.csv. After an interruption, the same
    command continues.

    Example: [bold]affectstream train folds --recipe cnn --data prepared/fer2013 --folds 5[/bold]
    """
    request = flags.run_request(settings)
    from affectstream.train.evaluate.table import aligned
    from affectstream.train.studies.cross_validation import FOLDER, cross_validate, rows
    from affectstream.train.studies.folds import Folding

    result = cross_validate(
        *request, Folding(folds, by, test, valid), best=best, keep=keep, track=track
    )
    print("\n".join(aligned(rows(result))))
    print(f"pooled with 95 % bootstrap intervals by {result.by}; more in {request.run / FOLDER}")


@flags.with_settings()
def curve(
    track: flags.Track = "auto",
    shares: Annotated[
        str, typer.Option(help="Shares of split train, with commas.", metavar="SHARES")
    ] = "0.125,0.25,0.5,1",
    **settings: Any,
) -> None:
    """Train one recipe on growing shares of the data: would more of it help?

    RUNS/RECIPE/curve holds a run for each share, curve.json, curve.csv and report.html. After an
    interruption, the same command continues.

    Example: [bold]affectstream train curve --recipe cnn --data prepared/fer2013 --epochs 10[/bold]
    """
    request = flags.run_request(settings)
    from affectstream.train.evaluate.table import aligned
    from affectstream.train.studies.learning_curve import FOLDER, PAGE, learning_curve, rows

    try:
        numbers = [float(part) for part in shares.split(",")]
    except ValueError as error:
        raise OptionError(f"--shares {shares}: expected numbers such as 0.25,0.5,1") from error
    points = learning_curve(*request, numbers, track=track)
    print("\n".join(aligned(rows(points))))
    print(f"report: {request.run / FOLDER / PAGE}", file=sys.stderr)


@flags.with_settings(
    *("epochs", "size", "weights", "tiny", "batch_size", "seed", "runs", "options"), of_recipe=False
)
def reproduce(
    source: Annotated[
        str, typer.Argument(help="Source document: S0 (attention), S3 or S4 (emotion).")
    ],
    data: flags.Data,
    **settings: Any,
) -> None:
    """Run the documented protocol of a source on data that you have; print ours beside the source's table.

    RUNS/SOURCE holds a run for each network, the bundles of fused ones, and reproduce.json; a finished run
    is not trained again. What differs from the source is listed.

    Example: [bold]affectstream train reproduce S3 --data prepared/meld --weights none[/bold]
    """
    from affectstream.train.evaluate.table import aligned
    from affectstream.train.reproduce import protocols, reproduce

    protocol = protocols.find(source)

    def request(recipe: str, runs: str, members: Sequence[str]) -> flags.RunRequest:
        asked = {**settings, "recipe": recipe, "data": data, "runs": runs}
        if not members:
            return flags.run_request({**asked, "tasks": [protocol.task]})
        of_networks = dict.fromkeys(("size", "weights", "tiny", "options"))  # members are finished
        return flags.run_request({**asked, **of_networks, "members": list(members)})

    folder = Path(settings.get("runs") or "runs") / protocol.name
    found = reproduce.reproduce(protocol, data, folder, request)
    print("\n".join(aligned(reproduce.rows(found))))
    print(*reproduce.differences(protocol, data, found), sep="\n")
    if not any(row.metrics for row in found):
        raise RunError(
            f"no network of {protocol.name} could be run on {data}: the reasons are above"
        )


@flags.with_settings(
    *("tasks", "size", "options", "weights", "tiny", "members", "monitor", "epochs", "seed", "runs")
)
def tune(
    trials: Annotated[
        int,
        typer.Option(min=1, help="Trials of the whole study, including those of earlier calls."),
    ] = 50,
    **settings: Any,
) -> None:
    """Search the settings of one recipe with Optuna; a second call continues the study.

    RUNS/RECIPE/study.db holds the trials, RUNS/RECIPE/tune the plots and best.toml for
    'train fit --config'. 'train list --recipe' names what is searched.

    Example: [bold]affectstream train tune --recipe cnn --data prepared/fer2013 --trials 50[/bold]
    """
    request = flags.run_request(settings)
    from affectstream.train.studies import tune as studies

    result = studies.tune(*request, trials)
    print(
        f"{result.trials} trials, {result.pruned} of them pruned and {result.failed} failed; the best is "
        f"trial {result.best}: {result.metric:.4f}"
    )
    print(f"its settings are in {request.run / studies.FOLDER / studies.BEST_CONFIG}")
