"""From a run of late fusion to a bundle: copy the members, fuse, calibrate, measure, put in place."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import MANIFEST, Member, file_parts
from affectstream.engines.bundle.training import (
    RECIPE,
    TRAINING,
    copy_training,
    free_part,
    write_recipe,
)
from affectstream.engines.manifest import Manifest, Role
from affectstream.train.calibration import COVERAGE, EVEN
from affectstream.train.data.dataset import read_info
from affectstream.train.errors import RunError
from affectstream.train.evaluate.parts.detector_metrics import measure_detector
from affectstream.train.export import card, steps
from affectstream.train.export.bundle_folder import (
    atomic_bundle,
    copy_texts,
    file_part,
    write_manifest,
)
from affectstream.train.export.merged_bundle import (
    MergeConfig,
    merged_manifest,
    trusted,
    write_merged,
)
from affectstream.train.fit.checkpoint import Trained, load_run
from affectstream.train.fit.loggers import Report
from affectstream.train.fit.unseen import was_trained_on
from affectstream.train.fit.warm_start import portable_recipe, read_run_or_bundle
from affectstream.train.late_fusion.members import fusion_manifest, reopen
from affectstream.train.late_fusion.recipe import (
    FUSION,
    UNUSED,
    FusionRecipe,
    FusionSpec,
    LateFusion,
)
from affectstream.train.recipe import count_parameters


def assemble(
    recipe: FusionRecipe,
    data: Path,
    runs: Path,
    output: Path,
    *,
    merge: Path | None = None,
    calibrate_on: Path | None = None,
    weights: bool = True,
    report: Report = print,
) -> None:
    """Write the bundle of the run ``runs/<recipe>``, members included, into `output`; without `weights` their
    `training/` says only what trained them.

    With `merge`, a file as `merged_bundle` describes it, the members become one bundle with one head. With
    `calibrate_on`, another prepared set, the bundle is calibrated on all of its samples. Raises as
    `net_bundle.assemble`, `RunError` for members that are gone, have changed, or were trained on
    `calibrate_on`, and as `merged_bundle.write_merged`.
    """
    trained = load_run(recipe, runs / recipe.name)
    bound, module = trained.recipe, trained.module
    assert isinstance(bound, FusionRecipe) and isinstance(module, LateFusion)
    spec = bound.spec
    steps.check_trained_on(spec.data, data, bound.name)
    members = reopen(spec.members)
    if calibrate_on is not None:
        _check_new(members, calibrate_on)
    config = None if merge is None else MergeConfig.read(merge, spec.labels)
    prior, source = spec.task.prior, f"{spec.data.source}: {spec.data.licence}"
    if config is not None:
        trusted(module, members, config)
        if config.prior:
            prior = tuple(config.prior[label] for label in spec.labels)
    with atomic_bundle(output) as folder:
        bound.export(module, folder)
        if config is None:
            for member in members:
                _copy(member, folder / member.name, weights=weights)
            _write_head(bound, {}, folder / TRAINING)
            fusion = file_part(folder, FUSION)
            manifest = fusion_manifest(members, bound.name, fusion, source, prior)
        else:
            engines = write_merged(members, config, folder)
            manifest = merged_manifest(members, config, engines, source, prior)
            if config.clips is not None:
                manifest = _with_detector(manifest, folder, Path(config.clips))
        exported = steps.calibrate_and_measure(
            folder,
            manifest,
            data,
            report,
            follow_prior=calibrate_on is not None or prior != spec.task.prior,
            calibrate_on=calibrate_on,
        )
        card.write_texts(
            folder,
            _card(exported, trained, members, config, folder, calibrate_on),
            _licence(exported.manifest, spec, members, count_parameters(module, all_=True)),
        )
        if config is not None:
            for member in members:
                copy_training(
                    member.folder, member.manifest, folder, exported.manifest, weights=weights
                )
            fused = exported.manifest.engines.fusion.sha256
            _write_head(bound, {"fusion": fused}, free_part(folder / TRAINING, bound.name))
        steps.check_opens(folder, exported.manifest, report)
    shares = zip(spec.members, _percent(module), strict=True)
    report("weights: " + ", ".join(f"{member.name} {share:.1f} %" for member, share in shares))


def write_uncalibrated(bound: FusionRecipe, module: LateFusion, folder: Path) -> None:
    """Write the bundle of the `module` of a bound recipe, members included, into an empty `folder`, with a
    manifest that does not calibrate it: enough to measure what calibration does not change. Raises `RunError`
    for members that are gone or have changed, `ParityError`."""
    spec, members = bound.spec, reopen(bound.spec.members)
    bound.export(module, folder)
    for member in members:
        _copy(member, folder / member.name, weights=False)
    fused, source = file_part(folder, FUSION), spec.data.source
    write_manifest(folder, fusion_manifest(members, bound.name, fused, source, spec.task.prior))


def _write_head(recipe: FusionRecipe, engines: Mapping[Role, str], folder: Path) -> None:
    """Write the part of `training/` that says on what the head learned. Only the data: the references to the
    members name folders of this machine."""
    folder.mkdir(parents=True)
    saved = {"recipe": recipe.name, "setting": {"data": recipe.spec_dict()["data"]}}
    write_recipe(portable_recipe(saved), engines, folder)


def _check_new(members: Sequence[Member], data: Path) -> None:
    """Raise `RunError` if a member was trained on samples of `data`: it is too sure of them."""
    for member in members:
        if was_trained_on(member.folder, data):
            raise RunError(
                f"--calibrate {data}: member {member.name!r} was trained on these samples, and is surer of "
                "them than of new ones: give a set of people whom no member learned from"
            )


def _with_detector(manifest: Manifest, folder: Path, clips: Path) -> Manifest:
    """The manifest with the metrics of the face detector in `folder`, which is measured on real clips."""
    write_manifest(folder, manifest)
    with Bundle.open(folder) as bundle:
        rows = measure_detector(bundle, clips)
    return structs.replace(manifest, results=(*rows, *manifest.results))


def _copy(member: Member, folder: Path, *, weights: bool) -> None:
    """Copy what serving and evaluation need; public models are pulled again, not copied."""
    folder.mkdir()
    own = [part.file for part in file_parts(member.manifest) if part.model is msgspec.UNSET]
    for name in [MANIFEST, *own]:
        if (member.folder / name).is_file():
            shutil.copyfile(member.folder / name, folder / name)
    copy_texts(member.folder, folder)
    copy_training(member.folder, member.manifest, folder, member.manifest, weights=weights)
    if (member.folder / RECIPE).is_file():  # of before there was `training/`
        write_recipe(portable_recipe(read_run_or_bundle(member.folder)), {}, folder)


def _percent(module: LateFusion) -> list[float]:
    """Each weight's share in percent, as in the methodology report (89.5 / 10.5). A negative weight counts by
    its size: it turns its member's logits around."""
    sizes = [abs(weight) for weight in module.weights.tolist()]
    return [100.0 * size / max(sum(sizes), 1e-12) for size in sizes]


def _licence(
    manifest: Manifest, spec: FusionSpec, members: Sequence[Member], numbers: int
) -> list[str]:
    rules = (
        f"- {m.name}: {m.manifest.licences.weights} (data: {m.manifest.licences.data})"
        for m in members
    )
    return card.licence(
        manifest.name,
        "Each folder in here is a bundle with a LICENSE of its own, and all of them apply:"
        if manifest.members
        else "The engines come from these, whose licenses all apply:",
        "\n".join(rules),
        f"fusion.onnx, {numbers} numbers, was learned from: {spec.data.source}\n"
        f"Licence of that data: {spec.data.licence}\n"
        "Use the bundle only as every one of these licences allows.",
    )


def _card(
    exported: steps.Exported,
    trained: Trained,
    members: Sequence[Member],
    config: MergeConfig | None,
    folder: Path,
    calibrate_on: Path | None,
) -> list[str]:
    assert isinstance(trained.recipe, FusionRecipe) and isinstance(trained.module, LateFusion)
    manifest, spec, module = exported.manifest, trained.recipe.spec, trained.module
    on = "split valid" if calibrate_on is None else _described(calibrate_on)
    rows = (
        (f"`{ref.name}`", m.manifest.summary, f"{weight:.4f}", f"{share:.1f} %", ref.sha256[:12])
        for m, ref, weight, share in zip(
            members, spec.members, module.weights.tolist(), _percent(module), strict=True
        )
    )
    assumed = (f"{share:g}" for share in manifest.calibration.prior)
    counts = zip(spec.labels, spec.counts, assumed, strict=True)
    network = f"{count_parameters(module, all_=True)} trainable numbers"
    sizes = ((f"`{p.name}`", f"{p.stat().st_size:,}") for p in sorted(folder.glob("*.onnx")))
    return [
        card.title(manifest),
        card.USE,
        "" if config is None else f"## Engines\n{card.table(('file', 'bytes'), sizes)}",
        "## Members\nThe members are frozen. The logits of each, for a uniform prior, are multiplied by its "
        "weight and\nadded up; a member without any of its modalities is left out.",
        card.table(("member", "what it is", "weight", "share", "SHA-256"), rows),
        _biases(module, spec),
        _trust(config),
        card.training(trained, network, unused=("runs", "members", *UNUSED)),
        card.training_data(spec.data),
        card.table(("label", "training samples", "assumed in use"), counts),
        card.measured(manifest, card.MEASURED_ON_VALID, exported.by_class),
        f"## Calibration\nFitted and measured here on {on}.\nReadings under the minimum confidence abstain: "
        f"under {EVEN}, or under what {COVERAGE:.0%} of these\nsamples reach if that is less.\n\n"
        f"{card.calibration(exported.calibrated)}",
        f"## Limits\n{config.limits.strip() if config else 'Those of its members, see their cards.'} "
        "How the members' mistakes go together is known only as far as the data\nabove shows it."
        + (_PAIRED if spec.data.source.startswith("label-paired") else ""),
    ]


def _biases(module: LateFusion, spec: FusionSpec) -> str:
    """A line for each member that has its own biases, or one line for all."""
    if module.biases is None:
        return ""
    owners = [""] if module.biases.dim() == 1 else [f" of `{ref.name}`" for ref in spec.members]
    lines = []
    for owner, row in zip(owners, module.biases.view(len(owners), -1).tolist(), strict=True):
        values = (f"{name} {bias:+.4f}" for name, bias in zip(spec.labels, row, strict=True))
        lines.append(f"Biases{owner}: {', '.join(values)}.")
    return "\n".join(lines)


def _trust(config: MergeConfig | None) -> str:
    if config is None or not config.trust:
        return ""
    shares = ", ".join(f"{modality} {share:g}" for modality, share in config.trust.items())
    return f"Shares of what the head learned that count in use: {shares}; weights and biases are after it."


def _described(data: Path) -> str:
    info = read_info(data)
    return f"all {info.rows:,} samples of {info.source} ({data.name})"


_PAIRED = (
    " That data pairs modalities of different people by their label, so the modalities are\nindependent "
    "given the label, which those of one person are not: **these results are not accuracies on real\n"
    "conversations.**"
)
