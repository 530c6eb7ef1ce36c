"""`affectstream train prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_SETS = ("fer2013", "ravdess", "emodb", "meld", "affdex", "conversation", "paired")
_OWN = "Some sets only"


def prepare(
    name: Annotated[str, typer.Argument(metavar="SET", help=f"One of {', '.join(_SETS)}.")],
    source: Annotated[Path, typer.Argument(help="Its folder, archive or table.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the data set.", show_default=False)
    ],
    crop: Annotated[
        str | None, typer.Option(help="face, person or frame.", show_default="face")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=1024, help="Side of a crop, pixels.", show_default="112"),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, max=256, help="Crops spread over a clip.", show_default="8")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="official, none, or shares of train/valid/test.",
            show_default="official, else 70/15/15",
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="participant: none in two splits; sample: stratified only.")
    ] = "participant",
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    duplicates: Annotated[
        str,
        typer.Option(
            help="The same picture or sound in two splits: refuse, drop (of train), keep."
        ),
    ] = "refuse",
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="OLD=EMOTION, a label of yours; repeat.")
    ] = None,
    drop_unknown: Annotated[
        bool, typer.Option("--drop-unknown", help="Leave out rows with any other label.")
    ] = False,
    column: Annotated[
        list[str] | None,
        typer.Option(help="OURS=YOURS, a column of a conversation; repeat.", rich_help_panel=_OWN),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Of a conversation without that column.", rich_help_panel=_OWN),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            min=1, help="affdex: each Nth frame.", show_default="30", rich_help_panel=_OWN
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, help="affdex: frames a second instead.", rich_help_panel=_OWN),
    ] = None,
    sound: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=30.0,
            help="affdex: seconds of sound before a frame.",
            show_default="0",
            rich_help_panel=_OWN,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="affdex: column of times.", show_default="MediaTime", rich_help_panel=_OWN
        ),
    ] = None,
    stimulus: Annotated[
        str | None, typer.Option(help="affdex: rows of this stimulus.", rich_help_panel=_OWN)
    ] = None,
    event_source: Annotated[
        str | None, typer.Option(help="affdex: rows of this sensor.", rich_help_panel=_OWN)
    ] = None,
    offset_ms: Annotated[
        float | None,
        typer.Option(help="affdex: added to the export's times.", rich_help_panel=_OWN),
    ] = None,
    times: Annotated[
        int | None,
        typer.Option(
            min=1, help="paired: partners of a sample.", show_default="1", rich_help_panel=_OWN
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(help="paired: only this split of each set, split anew.", rich_help_panel=_OWN),
    ] = None,
    conflicts: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="paired: share whose modalities contradict.",
            show_default="0",
            rich_help_panel=_OWN,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of the face detector.")] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where OUTPUT holds a data set.")
    ] = False,
) -> None:
    """Turn a data set into the one layout that every recipe reads.

    An interrupted run goes on where it stopped. OUTPUT then holds samples-*.parquet, dataset.json,
    report.json and samples.png, a sheet of samples to look at.

    Example: [bold]affectstream train prepare ravdess DATA/ravdess --output prepared/ravdess[/bold]
    """
    from affectstream.stream.errors import OptionError
    from affectstream.train.data.assign import BYS, DUPLICATES
    from affectstream.train.data.prepare import make as making
    from affectstream.train.data.prepare.crops import KINDS
    from affectstream.train.data.prepare.report import REPORT, SHEET, summary, write_report
    from affectstream.train.data.prepare.source import Options
    from affectstream.train.data.prepare.vocabulary import parse_pairs

    _one_of("SET", name, tuple(making.SETS))
    _one_of("--by", by, BYS)
    _one_of("--duplicates", duplicates, DUPLICATES)
    _one_of("--crop", crop or "face", KINDS)
    own: dict[str, Any] = {
        "frames": frames,
        "every": every,
        "rate": rate,
        "sound_s": sound,
        "time": time,
        "stimulus": stimulus,
        "event_source": event_source,
        "offset_ms": offset_ms,
        "language": language,
        "times": times,
        "part": part,
        "conflicts": conflicts,
        "columns": parse_pairs(column, "--column", "OURS=YOURS, such as text=Transcript")
        if column
        else None,
    }
    given = {k: v for k, v in {**own, "crop": crop, "size": size}.items() if v is not None}
    for option in given.keys() - making.SETS[name]:
        flag = "--" + {"sound_s": "sound", "columns": "column"}.get(option, option).replace(
            "_", "-"
        )
        raise OptionError(f"{flag} means nothing for {name}")
    plan = making.Plan(
        set=name,
        options=Options(
            **{k: v for k, v in own.items() if v is not None},
            translate=parse_pairs(map_ or [], "--map", "OLD=EMOTION, such as happy=joy"),
            drop_unknown=drop_unknown,
        ),
        crop=crop or "face",  # type: ignore[arg-type]  # checked above
        size=size or making.DEFAULT_SIZE.get(name, making.SIZE),
        split=split,
        by=by,  # type: ignore[arg-type]  # checked above
        seed=seed,
        duplicates=duplicates,  # type: ignore[arg-type]  # checked above
    )
    if overwrite:
        making.clear(output)
    prepared = _with_progress(plan, source, output, threads)
    report = write_report(output, prepared)
    if prepared.resumed:
        print(f"went on after {prepared.resumed} files or rows of an earlier run")
    for line in summary(prepared, report):
        print(line)
    print(f"written to {output}; more in {REPORT}, samples to look at in {SHEET}")


def _with_progress(plan: Any, source: Path, output: Path, threads: int) -> Any:
    """Prepare with a bar on a terminal, silently elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from affectstream.train.data.prepare.make import prepare as make

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[samples]} samples"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(plan.set, total=None, samples=0)

        def report(done: int, jobs: int, samples: int) -> None:
            bar.update(task, completed=done, total=jobs, samples=samples)

        return make(plan, source, output, threads=threads, report=report)


def _one_of(option: str, found: str, allowed: tuple[str, ...]) -> None:
    from affectstream.stream.errors import OptionError

    if found not in allowed:
        raise OptionError(f"{option} {found!r}: expected one of {', '.join(allowed)}")
