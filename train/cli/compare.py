"""The commands that put results side by side: `train compare`, `report`, `gallery` and `evaluate-fusion`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from affectstream.train.cli.evaluate import warn_of_training_samples
from affectstream.train.cli.flags import Split, folder_option, output_option


def evaluate_fusion(
    data: Annotated[Path, typer.Option(help="A prepared data set, such as 'paired'.")],
    members: Annotated[
        list[str], typer.Option("--member", help="Bundle of one modality. Repeatable.")
    ],
    fused: Annotated[
        list[str] | None, typer.Option(help="Bundle of late fusion. Repeatable.")
    ] = None,
    conflicts: Annotated[
        Path | None,
        typer.Option(help="Data set of pairs that disagree, made by 'paired --conflicts 1'."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "valid",
) -> None:
    """Compare fused bundles with their members, and with two rules that need no training.

    Example: [bold]affectstream train evaluate-fusion --member face --member voice --data paired[/bold]
    """
    from affectstream.train.evaluate.fusion import compare_fusions

    compare_fusions(members, fused or [], data, conflicts, split)


def compare(
    networks: Annotated[
        list[str],
        typer.Argument(help="Evaluations, runs, folds or bundles ('pocket'), two or more."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Prepared data set, for runs and bundles without an evaluation."),
    ] = None,
    split: Split = "valid",
    common: Annotated[
        bool, typer.Option("--common", help="Compare on the samples that all have, if some differ.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            help="What decides which is best.", show_default="the first of the first task"
        ),
    ] = None,
    max_ms: Annotated[
        float | None, typer.Option(help="Recommend none that takes longer for a hop here.")
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(help="Recommend none whose engines are larger.")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="Loss against the best that a cheaper network must not exceed.")
    ] = 0.03,
    output: Annotated[
        Path | None, folder_option(help="Also write a report, and all results as JSON.")
    ] = None,
) -> None:
    """Compare networks sample by sample: is one better, or is it chance? Which to take?

    Differences are the second's metric minus the first's; a star marks an interval without 0. 'train evaluate
    --output' writes evaluations, 'train folds' folds.

    Example: [bold]affectstream train compare runs/cnn runs/tiny_vit --data prepared/fer2013[/bold]
    """
    from affectstream.stream.errors import OptionError
    from affectstream.stream.sinks.base import check_writable
    from affectstream.train.compare import comparison, recommend
    from affectstream.train.compare.candidates import check_same, open_candidates
    from affectstream.train.compare.comparison_files import PAGE, write

    if len(networks) < 2:
        raise OptionError(f"{networks[0]} alone cannot be compared: name two networks or more")
    if output is not None:
        check_writable(output)  # measuring runs and bundles may take long
    if data is not None:
        warn_of_training_samples(split)
    candidates = open_candidates(networks, data, split)
    check_same(candidates, common=common)
    compared = comparison.compare(candidates)
    rules = recommend.Rules(max_ms, max_mb, margin)
    recommended = recommend.recommend(compared[0], candidates, metric, rules)
    for one in compared:
        print("\n".join(one.lines()))
    print(*recommended.steps, f"recommended: {recommended.choice or 'none'}", sep="\n")
    if output is not None:
        write(candidates, compared, recommended, output)
        print(f"report: {output / PAGE}", file=sys.stderr)


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of runs, or one run; repeat.", show_default="runs"),
    ] = None,
    output: Annotated[
        Path | None, output_option(help="Also write the table: .md, .csv or .json.")
    ] = None,
    curves: Annotated[
        Path | None, typer.Option(help="Draw the curves of each run into this folder.")
    ] = None,
) -> None:
    """Compare runs in one table: parameters, best epoch, metrics, overfitting, minutes, memory.

    Example: [bold]affectstream train report --runs runs --output runs.md[/bold]
    """
    from affectstream.train.evaluate import report as reports
    from affectstream.train.fit.checkpoint import read_log

    folders = runs or [Path("runs")]
    rows = reports.table(folders)
    print("\n".join(reports.lines(rows)))
    if output is not None:
        reports.write(rows, output)
    if curves is not None:
        for folder in folders:
            for run in reports.find_runs(folder):
                if read_log(run):
                    name = "-".join(run.relative_to(folder).parts) or run.name
                    reports.draw(run, curves / f"{name}.png")


def gallery(
    folder: Annotated[Path, typer.Argument(help="Folder of results, in any subfolders.")],
    output: Annotated[
        Path | None, output_option(help="The page.", show_default="FOLDER/gallery.html")
    ] = None,
    media: Annotated[
        bool, typer.Option("--media", help="Pictures of explanations too: personal data.")
    ] = False,
) -> None:
    """Show all evaluations, comparisons, trainings and explanations of a folder on one page.

    A card for each, with its figure, its interval and a small picture, leads to its own page. Damaged results
    are listed, and the exit code is 3.

    Example: [bold]affectstream train gallery results[/bold]
    """
    from affectstream.stream import exits
    from affectstream.train.gallery.gallery import PAGE, find_results, write_gallery

    found = find_results(folder)
    page = output or folder / PAGE
    write_gallery(found, folder, page, media=media)
    damaged = [one for one in found if one.card is None]
    for one in damaged:
        print(f"{one.path}: {one.error}", file=sys.stderr)
    print(f"{len(found) - len(damaged)} results: {page}", file=sys.stderr)
    if damaged:
        raise typer.Exit(exits.PARTLY)
