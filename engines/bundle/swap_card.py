"""The card of a bundle with public models: it says which parts of the old card are no longer valid."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET

from affectstream.engines.bundle.folder import engine_parts
from affectstream.engines.manifest import FilePart, Manifest

CARD = "CARD.md"
_BELOW = "<!-- below: the card of the bundle that this one was made of -->"


def card_text(manifest: Manifest, old_card: str) -> str:
    """The text of `CARD.md`: a new beginning, then the old card without table rows of replaced parts."""
    public = {role: p for role, p in engine_parts(manifest).items() if p.model is not UNSET}
    old = old_card.rpartition(_BELOW)[2].strip()
    valid = [line for line in old.splitlines() if not _is_row_of(line, public)]
    return "\n".join([*_beginning(manifest, public), "", _BELOW, "", *valid, ""])


def _beginning(manifest: Manifest, public: Mapping[str, FilePart]) -> list[str]:
    base = manifest.name.partition("+")[0]
    return [
        f"# Card of the bundle `{manifest.name}` {manifest.version}",
        "",
        f"The bundle `{base}`, in which public models replace these parts:",
        "",
        "| part | model | SHA-256 |",
        "|---|---|---|",
        *(f"| {role} | {part.model} | {part.sha256} |" for role, part in public.items()),
        "",
        f"Licenses of the weights: {manifest.licences.weights}.",
        "",
        "**Nobody has measured this bundle.** Its head, probabilities and thresholds were made for the parts",
        "that were replaced: measure it (`affectstream train evaluate --bundle FOLDER`) before you rely on",
        f"them. Below is the card of `{base}`. It is valid for the parts that were not replaced; its results",
        "of the whole bundle are not valid here.",
    ]


def _is_row_of(line: str, roles: Mapping[str, FilePart]) -> bool:
    first = line.strip("| ").partition("|")[0].strip().replace(" ", "_")
    return line.startswith("|") and first in roles
