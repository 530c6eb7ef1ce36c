"""`affectstream train fit`."""

from __future__ import annotations

from typing import Annotated

import typer

from affectstream.stream.errors import OptionError
from affectstream.train.cli import flags


def fit(
    recipe: flags.RecipeName = None,
    data: flags.DataFolder = None,
    config: flags.ConfigFile = None,
    runs: flags.RunsFolder = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run from its last epoch.")
    ] = False,
    eval_only: Annotated[
        bool,
        typer.Option("--eval-only", help="Evaluate the run's best epoch without training."),
    ] = False,
    track: flags.Track = "auto",
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
    """Train one recipe; its best epoch is kept in RUNS/RECIPE.

    Example: [bold]affectstream train fit --recipe cnn --data prepared/fer2013[/bold]
    """
    if resume and eval_only:
        raise OptionError("--resume trains on and --eval-only trains nothing: give one of them")
    request = flags.run_request(locals(), resume=resume or eval_only)
    from affectstream.train.fit import loop
    from affectstream.train.fit.checkpoint import read_summary
    from affectstream.train.fit.loggers import format_metrics

    flags.set_threads(threads)
    job = (request.recipe, request.config, request.data, request.run)
    if eval_only:
        print("best: " + format_metrics(loop.evaluate(*job)))
        return
    best = loop.fit(*job, resume=resume, track=track)
    if before := read_summary(request.run)["before"]:
        print("before: " + format_metrics(before))
    print("best: " + format_metrics(best))
