"""Card and licence of a bundle that joins others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectstream.engines.bundle.folder import Member
from affectstream.engines.manifest import Manifest
from affectstream.train.calibration import COVERAGE, Calibrated
from affectstream.train.export.card_parts import (
    DATA,
    MEASURED,
    USE,
    calibration_rows,
    facts_of,
    measured,
    settings_told,
)
from affectstream.train.fit.checkpoint import Trained
from affectstream.train.fusion.recipe import UNUSED, LateFusion, LateSetting

_LICENCE = """\
Weights of the Affectstream bundle "{name}"
===========================================

Each folder in here is a bundle with a LICENSE of its own, and all of them hold:

{members}

fusion.onnx, {count} numbers, was learned from: {source}
Licence of that data: {licence}
Use the bundle only as every one of these allows.

The code of Affectstream is under the MIT licence.
"""

_CARD = (
    """\
# Card of the bundle `{name}` {version}

{summary} Labels: {labels}.
Window {window} s, hop {hop} s.

"""
    + USE
    + """\

## Members
Frozen. What each says, as logits for a uniform prior, counts by its weight; one with nothing to go by is
left out.

| member | what it is | weight | share | SHA-256 |
|---|---|---|---|---|
{members}
{biases}
## Training
Recipe `{name}`, {count} trainable numbers. Best epoch {epoch} (the first is 0) by {figure} on split valid.
Options: {config}.

"""
    + DATA
    + """\

| label | training samples | assumed in use |
|---|---|---|
{counts}

"""
    + MEASURED
    + """\

## Calibration
Readings under the minimum confidence abstain; it lets {coverage:.0%} of split valid through.

| modalities | temperature | min confidence | ECE | accuracy | accuracy of what is let through |
|---|---|---|---|---|---|
{calibration}

## Limits
Those of its members, see their cards. How the members' mistakes go together is known only as far as the data
above shows it.{paired}
"""
)

_PAIRED = (
    " That data puts modalities of different people together by their label, so they are independent "
    "given the label, which those of one person are not: **its figures are not accuracies on real "
    "conversations.**"
)


def write(
    manifest: Manifest,
    members: Sequence[Member],
    trained: Trained,
    fixed: LateSetting,
    calibrated: Mapping[str, Calibrated],
    by_class: Sequence[str],
) -> dict[str, str]:
    """The texts of `CARD.md` and `LICENSE` by file name."""
    module, data = trained.module, fixed.data
    assert isinstance(module, LateFusion)
    count = sum(p.numel() for p in module.parameters())
    card = _CARD.format(
        name=manifest.name,
        version=manifest.version,
        summary=manifest.summary,
        labels=", ".join(manifest.labels),
        window=manifest.window_us / 1e6,
        hop=manifest.hop_us / 1e6,
        members=_members(members, module, fixed),
        biases=_biases(module, manifest.labels),
        count=count,
        epoch=trained.epoch,
        figure=next(iter(trained.metrics)),
        config=settings_told(trained.config, ("runs", "members", *UNUSED)),
        **facts_of(data),
        counts="\n".join(
            f"| {label} | {number} | {share:g} |"
            for label, number, share in zip(
                fixed.labels, fixed.counts, manifest.calibration.prior, strict=True
            )
        ),
        results=measured(manifest),
        by_class="\n".join(by_class),
        coverage=COVERAGE,
        calibration=calibration_rows(calibrated),
        paired=_PAIRED if data.source.startswith("label-paired") else "",
    )
    licence = _LICENCE.format(
        name=manifest.name,
        members="\n".join(
            f"- {m.name}: {m.manifest.licences.weights} (data: {m.manifest.licences.data})"
            for m in members
        ),
        count=count,
        source=data.source,
        licence=data.licence,
    )
    return {"CARD.md": card, "LICENSE": licence}


def shares(module: LateFusion, fixed: LateSetting) -> str:
    """The weights in per cent of all of them, as the methodology report gives them (89.5 / 10.5)."""
    parts = zip(fixed.members, _per_cent(module), strict=True)
    return "weights: " + ", ".join(f"{part.name} {share:.1f} %" for part, share in parts)


def _per_cent(module: LateFusion) -> list[float]:
    """By their size: a weight below zero turns around what its member says, but counts none the less."""
    sizes = [abs(weight) for weight in module.weights.tolist()]
    return [100.0 * size / max(sum(sizes), 1e-12) for size in sizes]


def _members(members: Sequence[Member], module: LateFusion, fixed: LateSetting) -> str:
    return "\n".join(
        f"| `{member.name}` | {member.manifest.summary} | {weight:.4f} | {share:.1f} % | "
        f"{part.sha256[:12]} |"
        for member, part, weight, share in zip(
            members, fixed.members, module.weights.tolist(), _per_cent(module), strict=True
        )
    )


def _biases(module: LateFusion, labels: Sequence[str]) -> str:
    if module.biases is None:
        return ""
    said = zip(labels, module.biases.tolist(), strict=True)
    return "\nBiases: " + ", ".join(f"{label} {bias:+.4f}" for label, bias in said) + ".\n"
