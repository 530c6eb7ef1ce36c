"""`affectstream train folds`: every setting of `train fit`, once for each fold."""

from __future__ import annotations

from typing import Annotated

import typer

from affectstream.train.cli import flags
from affectstream.train.cli.prepare import By

_HELD_OUT = "Held-out samples"


def folds(
    recipe: flags.RecipeName = None,
    data: flags.DataFolder = None,
    config: flags.ConfigFile = None,
    runs: flags.RunsFolder = None,
    track: flags.Track = "auto",
    folds: Annotated[
        str,
        typer.Option(
            metavar="K|leave-one-participant-out",
            help="Number of folds, or one for each participant.",
            rich_help_panel=_HELD_OUT,
        ),
    ] = "5",
    by: Annotated[
        By | None,
        typer.Option(
            help="Keep the samples of a participant in one fold (participant), or not (sample).",
            show_default="participant, where all are known",
            rich_help_panel=_HELD_OUT,
        ),
    ] = None,
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="Include the samples of split test.", rich_help_panel=_HELD_OUT
        ),
    ] = False,
    best: Annotated[
        bool,
        typer.Option(
            "--best/--last",
            help="Evaluate each fold's best epoch, which its held-out samples choose, or its last epoch.",
            rich_help_panel=_HELD_OUT,
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the weights of every fold.", rich_help_panel=_HELD_OUT),
    ] = False,
    tasks: flags.Tasks = None,
    size: flags.Size = None,
    augment: flags.Augment = None,
    label_smoothing: flags.LabelSmoothing = None,
    class_weights: flags.ClassWeights = None,
    focal_gamma: flags.FocalGamma = None,
    modality_dropout: flags.ModalityDropout = None,
    options: flags.Options = None,
    weights: flags.Weights = None,
    tiny: flags.Tiny = None,
    init: flags.Init = None,
    members: flags.Members = None,
    epochs: flags.Epochs = None,
    seed: flags.Seed = None,
    batch_size: flags.BatchSize = None,
    accumulate: flags.Accumulate = None,
    learning_rate: flags.LearningRate = None,
    weight_decay: flags.WeightDecay = None,
    schedule: flags.Schedule = None,
    warmup_epochs: flags.WarmupEpochs = None,
    patience: flags.Patience = None,
    min_delta: flags.MinDelta = None,
    phase_epochs: flags.PhaseEpochs = None,
    clip_norm: flags.ClipNorm = None,
    ema_decay: flags.EmaDecay = None,
    precision: flags.Precision = None,
    devices: flags.Devices = None,
    workers: flags.Workers = None,
    compile: flags.Compile = None,
    checkpointing: flags.Checkpointing = None,
    threads: flags.Threads = None,
) -> None:
    """Cross-validate one recipe: train on all folds but one, evaluate on that one.

    RUNS/RECIPE/folds holds a run for each fold, folds.json and folds.csv. After an interruption, the same
    command continues.

    Example: [bold]affectstream train folds --recipe cnn --data prepared/fer2013 --folds 5[/bold]
    """
    request = flags.run_request(locals())
    from affectstream.train.evaluate.table import aligned
    from affectstream.train.studies.cross_validation import FOLDER, cross_validate, rows
    from affectstream.train.studies.folds import Folding

    flags.set_threads(threads)
    result = cross_validate(
        request.recipe,
        request.config,
        request.data,
        request.run,
        Folding(folds, by, test),
        best=best,
        keep=keep,
        track=track,
    )
    print("\n".join(aligned(rows(result))))
    print(f"pooled with 95 % bootstrap intervals by {result.by}; more in {request.run / FOLDER}")
