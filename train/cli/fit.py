"""`affectstream train fit`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from affectstream.train.cli.flags import (
    COURSE,
    LEARNED,
    MACHINE,
    NETWORK,
    ConfigFile,
    DataFolder,
    Epochs,
    Members,
    RecipeName,
    RunRequest,
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

_OWN = "the recipe's"
_NO_SETTINGS = frozenset({"recipe", "data", "config", "resume", "eval_only", "track", "threads"})
"""Parameters of `fit` that are not fields of `FitConfig`."""


def fit(
    recipe: RecipeName = None,
    data: DataFolder = None,
    config: ConfigFile = None,
    runs: RunsFolder = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    eval_only: Annotated[
        bool, typer.Option("--eval-only", help="Figures of the run's best epoch; train nothing.")
    ] = False,
    track: Annotated[
        str,
        typer.Option(help="auto (TensorBoard if installed), none, tensorboard or wandb."),
    ] = "auto",
    tasks: Tasks = None,
    size: Size = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment",
            help="Change pictures and sound at random.",
            show_default=_OWN,
            rich_help_panel=LEARNED,
        ),
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option(
            help="Share of the truth that is spread over all labels.",
            show_default=_OWN,
            rich_help_panel=LEARNED,
        ),
    ] = None,
    class_weights: Annotated[
        bool | None,
        typer.Option(
            "--class-weights/--no-class-weights",
            help="Count every label alike.",
            show_default=_OWN,
            rich_help_panel=LEARNED,
        ),
    ] = None,
    focal_gamma: Annotated[
        float | None,
        typer.Option(help="Focal loss with this gamma.", rich_help_panel=LEARNED),
    ] = None,
    modality_dropout: Annotated[
        float | None,
        typer.Option(
            help="Chance that a modality is hidden.", show_default=_OWN, rich_help_panel=LEARNED
        ),
    ] = None,
    options: Set = None,
    weights: Weights = None,
    tiny: Tiny = None,
    init: Annotated[
        str | None,
        typer.Option(help="A run's folder or a bundle to start from.", rich_help_panel=NETWORK),
    ] = None,
    members: Members = None,
    epochs: Epochs = None,
    seed: Seed = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Samples computed at once.", show_default=_OWN, rich_help_panel=COURSE),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(help="Batches to a step.", show_default=_OWN, rich_help_panel=COURSE),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="At its peak.", show_default=_OWN, rich_help_panel=COURSE),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            help="Pull of every weight towards 0 (AdamW).",
            show_default=_OWN,
            rich_help_panel=COURSE,
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="cosine, restarts, plateau or constant.",
            show_default=_OWN,
            rich_help_panel=COURSE,
        ),
    ] = None,
    warmup_epochs: Annotated[
        float | None,
        typer.Option(
            help="Epochs in which the rate rises to its peak.",
            show_default=_OWN,
            rich_help_panel=COURSE,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without a better figure; 0 never.",
            show_default=_OWN,
            rich_help_panel=COURSE,
        ),
    ] = None,
    min_delta: Annotated[
        float | None,
        typer.Option(help="What counts as better.", show_default=_OWN, rich_help_panel=COURSE),
    ] = None,
    phase_epochs: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Lengths of the recipe's phases; the last takes what is left.",
            show_default=_OWN,
            rich_help_panel=COURSE,
        ),
    ] = None,
    clip_norm: Annotated[
        float | None,
        typer.Option(help="Longest gradient; 0: any.", show_default=_OWN, rich_help_panel=COURSE),
    ] = None,
    ema_decay: Annotated[
        float | None,
        typer.Option(help="Of the averaged weights.", show_default=_OWN, rich_help_panel=COURSE),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="32-true, bf16-mixed or 16-mixed.", show_default=_OWN, rich_help_panel=MACHINE
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            help="How many GPUs, which (0,2), or auto.", show_default="1", rich_help_panel=MACHINE
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that make batches.", show_default=_OWN, rich_help_panel=MACHINE
        ),
    ] = None,
    compile_: Annotated[
        bool | None,
        typer.Option("--compile", help="Use torch.compile.", rich_help_panel=MACHINE),
    ] = None,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing",
            help="Compute activations again instead of keeping them.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Train one recipe; its best epoch is kept in RUNS/RECIPE.

    Example: [bold]affectstream train fit --recipe cnn --data prepared/fer2013[/bold]
    """
    given = dict(locals())
    if resume and eval_only:
        from affectstream.stream.errors import OptionError

        raise OptionError("--resume trains on and --eval-only trains nothing: give one of them")
    wanted = request_from_flags(given, resume=resume or eval_only)
    import torch

    from affectstream.train.fit import loop
    from affectstream.train.fit.job import format_metrics

    if threads is not None:
        torch.set_num_threads(threads)
    if eval_only:
        figures = loop.evaluate(wanted.recipe, wanted.config, wanted.data, wanted.run)
        print("best: " + format_metrics(figures))
        return
    figures = loop.fit(
        wanted.recipe, wanted.config, wanted.data, wanted.run, resume=resume, track=track
    )
    if before := loop.read_summary(wanted.run)["before"]:
        print("before: " + format_metrics(before))
    print("best: " + format_metrics(figures))


def request_from_flags(given: dict[str, Any], *, resume: bool = False) -> RunRequest:
    """What the flags `given` to `fit` ask for, by the names of its parameters."""
    flags = {name: value for name, value in given.items() if name not in _NO_SETTINGS}
    flags["compile"] = flags.pop("compile_")
    flags["runs"] = str(given["runs"]) if given["runs"] is not None else None
    flags["phase_epochs"] = _numbers(given["phase_epochs"])
    return run_request(given["recipe"], given["data"], given["config"], flags, resume=resume)


def _numbers(text: str | None) -> list[int] | None:
    from affectstream.stream.errors import OptionError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise OptionError(f"--phase-epochs {text}: expected whole numbers such as 20,10")
    return [int(part) for part in parts]
