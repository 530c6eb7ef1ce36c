"""`affectstream train evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from affectstream.train.cli.flags import Data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affectstream.engines.manifest import Measurement


def evaluate(
    data: Data,
    bundle: Annotated[str, typer.Option(help="'pocket', or the folder of a bundle.")] = "pocket",
    fer_split: Annotated[str, typer.Option(help="Folder of FER2013; test is PublicTest.")] = "test",
    actors: Annotated[str, typer.Option(help="Actors of RAVDESS.")] = "17-20",
    meld_split: Annotated[str, typer.Option(help="Split of MELD.")] = "dev",
    split: Annotated[str, typer.Option(help="Split of a prepared data set.")] = "test",
) -> None:
    """Measure a bundle on data that it was not trained on, as far as the data has labels.

    A prepared data set measures every task, by class, and with each set of modalities alone. A folder of
    public sets measures each encoder and the face detector, beside YuNet and TF-IDF with logistic
    regression.

    Example: [bold]affectstream train evaluate --data DATA[/bold]
    """
    from affectstream.engines.bundle.bundle import Bundle

    if (data / "dataset.json").is_file():
        from affectstream.train.evaluate.bundle_metrics import evaluate_bundle

        with Bundle.open(bundle) as opened:
            rows, by_class = evaluate_bundle(opened, data, split)
        _print(rows)
        print("\n".join(by_class))
        return
    from affectstream.train.evaluate import public_sets

    first, _, last = actors.partition("-")
    if not (first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first)):
        raise typer.BadParameter(f"{actors!r}: expected 17-20", param_hint="--actors")
    numbers = tuple(range(int(first), int(last or first) + 1))
    with Bundle.open(bundle) as opened:
        measured = [
            *public_sets.evaluate_detector(opened, data, rival=True),
            *public_sets.evaluate_face(opened, data, fer_split),
            *public_sets.evaluate_voice(opened, data, numbers),
            *public_sets.evaluate_text(opened, data, meld_split, rival=True),
        ]
    _print(measured)


def _print(rows: Sequence[Measurement]) -> None:
    for row in rows:
        print(f"{row.part:16} {row.data:38} {row.metric:22} {row.value:.4f}  (n = {row.count})")
