"""`affectstream train folds`: whatever `train fit` takes, once for each fold."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from affectstream.train.cli.fit import fit, request_from_flags

_HELD_OUT = "Held-out samples"
_OF_ONE_RUN = ("resume", "eval_only")


def folds(
    folds: Annotated[
        str,
        typer.Option(
            metavar="K|leave-one-participant-out",
            help="How many, or one for each participant.",
            rich_help_panel=_HELD_OUT,
        ),
    ] = "5",
    by: Annotated[
        str | None,
        typer.Option(
            help="What is held out as a whole: participant or sample.",
            show_default="participant, where all are known",
            rich_help_panel=_HELD_OUT,
        ),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Deal split test too.", rich_help_panel=_HELD_OUT)
    ] = False,
    best: Annotated[
        bool,
        typer.Option(
            "--best/--last",
            help="Figures of each fold's best epoch, which held-out samples choose, or of the last.",
            rich_help_panel=_HELD_OUT,
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the weights of every fold.", rich_help_panel=_HELD_OUT),
    ] = False,
    **given: Any,
) -> None:
    """Cross-validate one recipe: train on all folds but one, judge on that one.

    RUNS/RECIPE/folds holds a run for each fold, folds.json and folds.csv. The same command goes on where
    it stopped.

    Example: [bold]affectstream train folds --recipe cnn --data prepared/fer2013 --folds 5[/bold]
    """
    from affectstream.stream.errors import OptionError
    from affectstream.train.data.assign import BYS

    if by is not None and by not in BYS:
        raise OptionError(f"--by {by}: expected one of {', '.join(BYS)}")
    import torch

    from affectstream.train.evaluate.table import aligned
    from affectstream.train.studies.cross_validation import FOLDER, cross_validate, rows
    from affectstream.train.studies.folds import Folding

    folding = Folding(folds, by, test)  # type: ignore[arg-type]  # checked above
    wanted = request_from_flags(given)
    if given["threads"] is not None:
        torch.set_num_threads(given["threads"])
    crossed = cross_validate(
        wanted.recipe,
        wanted.config,
        wanted.data,
        wanted.run,
        folding,
        best=best,
        keep=keep,
        track=given["track"],
    )
    print("\n".join(aligned(rows(crossed))))
    print(f"pooled with 95 % bootstrap intervals by {crossed.by}; more in {wanted.run / FOLDER}")


def _parameters() -> list[inspect.Parameter]:
    """Own parameters, and those of `fit` that a fold has too, as the command line shows them."""
    own = inspect.signature(folds, eval_str=True).parameters.values()
    of_fit = inspect.signature(fit, eval_str=True).parameters.values()
    named = [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return [*(p for p in of_fit if p.name not in _OF_ONE_RUN), *named]


# One list of flags for both commands: a setting that `fit` learns to take is one of folds at once.
folds.__signature__ = inspect.Signature(_parameters())  # type: ignore[attr-defined]
