"""The card of a bundle that public models were put into: what of the old card no longer holds."""

from __future__ import annotations

from msgspec import UNSET

from affectstream.engines.bundle.folder import engine_parts
from affectstream.engines.manifest import FilePart, Manifest

CARD = "CARD.md"
_BELOW = "<!-- below: the card of the bundle that this one was made of -->"


def card_of(manifest: Manifest, before: str) -> str:
    """The text of `CARD.md` for a bundle with public models in it, over its card from `before`.

    Rows of tables that tell of a part that was replaced are taken out of that.
    """
    public = {role: p for role, p in engine_parts(manifest).items() if p.model is not UNSET}
    old = before.rpartition(_BELOW)[2].strip()
    kept = [line for line in old.splitlines() if not _tells_of(line, public)]
    return "\n".join([*_head(manifest, public), "", _BELOW, "", *kept, ""])


def _head(manifest: Manifest, public: dict[str, FilePart]) -> list[str]:
    base = manifest.name.partition("+")[0]
    return [
        f"# Card of the bundle `{manifest.name}` {manifest.version}",
        "",
        f"The bundle `{base}` with models of others in the place of some of its parts:",
        "",
        "| part | model | SHA-256 |",
        "|---|---|---|",
        *(f"| {role} | {part.model} | {part.sha256} |" for role, part in public.items()),
        "",
        f"Licences of the weights: {manifest.licences.weights}.",
        "",
        "**Nobody has measured this bundle.** Its head, probabilities and thresholds were made for the parts",
        "that were replaced: measure it (`affectstream train evaluate --bundle FOLDER`) before relying on",
        f"them. Below is the card of `{base}`. It holds for the parts that were kept; its figures of the",
        "whole do not hold here.",
    ]


def _tells_of(line: str, roles: dict[str, FilePart]) -> bool:
    first = line.strip("| ").partition("|")[0].strip().replace(" ", "_")
    return line.startswith("|") and first in roles
