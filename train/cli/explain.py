"""`affectstream train explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectstream.train.cli.flags import Data, folder_option


def explain(
    network: Annotated[
        Path, typer.Argument(help="A run, a checkpoint (best.pt), or a bundle with its weights.")
    ],
    data: Data,
    output: Annotated[Path, folder_option(help="Folder for numbers and pictures.")],
    sample: Annotated[
        str, typer.Option(help="The id of a sample, or its number in the split.")
    ] = "0",
    split: Annotated[
        str | None, typer.Option(help="Count the samples of this split only.", show_default="all")
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            help="The label or output to explain.", show_default="the most probable label"
        ),
    ] = None,
) -> None:
    """Explain what a network predicts of one sample, from its inside.

    Transformers of pictures: attention of each layer and head, how much heads differ, rollout. Convolutions:
    Grad-CAM. Voice: integrated gradients over the spectrogram. Words: the effect of each token. `mimamo`: its
    attention over the regions of the face. A sanity check compares the maps with those of random weights;
    explanation.html shows all.

    Example: [bold]affectstream train explain runs/cnn --data prepared/fer2013 --sample 5 -o why[/bold]
    """
    from affectstream.train.explain.explain import explain_sample

    found = explain_sample(network, data, sample, split=split, explained=of)
    explained, label = found.document["explained"], found.document["label"]
    share = explained["probability"]
    print(
        f"{found.document['sample']}: {explained['name']}"
        + ("" if share is None else f" {share:.2f}")
        + ("" if label is None else f"; the label is {label}")
    )
    for layer in found.document.get("attention", ()):
        if layer["diversity"] is not None:
            print(f"  layer {layer['layer']}: heads differ by {layer['diversity']:.2f} bit")
    for token in found.document.get("tokens", ()):
        print(f"  {token['token']}: {token['without']:+.3f}")
    for one in found.document["sanity"]:
        print(f"  {one['part']}: correlation with maps of random weights {one['correlation']:.2f}")
    for path in found.write(output):
        print(path)
