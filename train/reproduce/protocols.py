"""What the source documents did, and what they report of their own, mostly private data."""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.errors import OptionError


@dataclass(frozen=True, slots=True)
class Step:
    """One network of a protocol. Its settings are the defaults of the recipe, which are the source's."""

    recipe: str
    reported: str
    """Accuracy in per cent as the source reports it, and weighted F1 where it does; empty if it does not."""
    members: tuple[str, ...] = ()
    """Recipes of earlier steps that are fused."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Protocol:
    """The networks of one source."""

    name: str
    title: str
    data: str
    """What the source measured on."""
    task: str
    steps: tuple[Step, ...]
    obtain: str = ""
    """How data with labels of this task can be prepared, as the end of a message."""


PROTOCOLS = (
    Protocol(
        "S0",
        "attention in interviews",
        "GENEX interviews, face crops labeled by AFFDEX; split 70 / 30",
        "attention",
        (
            Step("cnn", "60 to 70"),
            Step("tiny_vit", "60 to 83"),
            Step("resnet50", "60 to 97", note="97 on 100 frames, 80 of them recolored copies"),
            Step("vit_b16", "83.3 to 100", note="on the same copied frames"),
        ),
        "; 'train prepare affdex' reads such labels from iMotions exports beside their videos",
    ),
    Protocol(
        "S3",
        "emotion from three modalities",
        "MELD with its clips: video, voice and words; split test",
        "emotion",
        (
            Step("ensemble", "62.4; weighted F1 59.7"),
            Step("sentence", "", note="words alone, not in the source"),
        ),
    ),
    Protocol(
        "S4",
        "deep fusion",
        "conversation clips with age and gender of both speakers; split 70 / 15 / 15",
        "emotion",
        (
            Step("mimamo", "58.04"),
            Step("multimodal_lstm", "83.15"),
            Step("late_fusion", "60.42", ("mimamo", "multimodal_lstm"), "weights 89.5 / 10.5"),
            Step(
                "enhanced_late_fusion",
                "85.04",
                ("mimamo", "multimodal_lstm"),
                "on its validation split",
            ),
        ),
    ),
)


def find(name: str) -> Protocol:
    """The protocol of a source. Raises `OptionError` for one that has none."""
    for protocol in PROTOCOLS:
        if protocol.name == name.upper():
            return protocol
    known = ", ".join(one.name for one in PROTOCOLS)
    raise OptionError(f"{name} is no source with a protocol: expected one of {known}")
