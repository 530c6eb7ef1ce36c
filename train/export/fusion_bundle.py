"""From a run of late fusion to a bundle: members copied in, fused, calibrated, measured, put in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from affectstream.engines.bundle.bundle import MANIFEST, Bundle
from affectstream.engines.bundle.folder import Member, parts
from affectstream.engines.manifest import Calibration, encode
from affectstream.train.data.dataset import read_info
from affectstream.train.errors import RunError
from affectstream.train.export import fusion_card as late_card
from affectstream.train.export.atomic_dir import placed
from affectstream.train.export.bundle import file_part, temperatures
from affectstream.train.fit.checkpoint import Trained, load_run
from affectstream.train.fit.warm_start import RECIPE, read_run_or_bundle, write_recipe_json
from affectstream.train.fusion.members import again, joint
from affectstream.train.fusion.recipe import FUSION, LateFusion, LateRecipe
from affectstream.train.loader.batches import ValidBatches, valid_batch_size
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.prepared import measured, shown_to, table

_TEXTS = ("CARD.md", "LICENSE")
"""Of a member, beside its manifest and what that names; what it could be trained on from stays behind."""


def assemble(
    recipe: LateRecipe,
    data: Path,
    runs: Path,
    output: Path,
    *,
    report: Callable[[str], None] = print,
) -> None:
    """Write the bundle of the run ``runs/<recipe>``, members included, into `output`.

    An older bundle there is replaced. Raises `RunError` for a run that is missing or was trained on other
    data than `data` holds, for members that are gone or were changed since, and for an `output` that
    holds something else; otherwise as `bundle.assemble`.
    """
    trained = load_run(recipe, runs / recipe.name)
    made = trained.recipe
    assert isinstance(made, LateRecipe)
    _check_data(made, data)
    members = again(made.fixed.members)
    with placed(output) as folder:
        for member in members:
            _copy(member, folder / member.name)
        made.export(trained.module, folder)
        _fill(folder, trained, made, members, data, report)


def _check_data(made: LateRecipe, data: Path) -> None:
    info = read_info(data)
    hashes = ("content_sha256", "split_sha256")
    if different := [n for n in hashes if getattr(info, n) != getattr(made.fixed.data, n)]:
        raise RunError(
            f"{data} is not what {made.name!r} was trained on ({', '.join(different)} differ): "
            "give the same data set"
        )


def _copy(member: Member, into: Path) -> None:
    """What serving and evaluation need of a member; its public models are pulled, not copied."""
    into.mkdir()
    own = [part.file for part in parts(member.manifest) if part.model is msgspec.UNSET]
    for name in [MANIFEST, *own, *_TEXTS]:
        if (member.folder / name).is_file():
            shutil.copyfile(member.folder / name, into / name)
    if (member.folder / RECIPE).is_file():
        write_recipe_json(read_run_or_bundle(member.folder), into)


def _fill(
    folder: Path,
    trained: Trained,
    made: LateRecipe,
    members: Sequence[Member],
    data: Path,
    report: Callable[[str], None],
) -> None:
    """Write manifest, card and licence, by what the engine files in `folder` say."""
    fixed = made.fixed
    plain = Calibration(prior=fixed.prior, temperature={}, min_confidence={})
    rules = f"{fixed.data.source}: {fixed.data.licence}"
    manifest = joint(members, made.name, file_part(folder, FUSION), plain, rules)
    (folder / MANIFEST).write_bytes(encode(manifest))
    with Bundle.open(folder) as bundle:
        shown, (known,) = shown_to(bundle, data, "valid")
        size = min(map(valid_batch_size, shown))
        found = bundle_outputs(
            bundle, *(ValidBatches(part, size=size) for part in shown), missing=True
        )
    task = replace(known, counts=fixed.counts)
    calibrated = temperatures(found, shown[0], task, fixed.prior)
    for name, part in calibrated.items():
        report(
            f"calibrated {name}: temperature {part.temperature}, threshold {part.min_confidence}, "
            f"ECE {part.ece:.3f}"
        )
    calibration = Calibration(
        prior=fixed.prior,
        temperature={name: part.temperature for name, part in calibrated.items()},
        min_confidence={name: part.min_confidence for name, part in calibrated.items()},
    )
    results = measured(found, shown[0], [task], calibration, f"{fixed.data.name} valid")
    manifest = joint(members, made.name, manifest.engines.fusion, calibration, rules, results)
    (folder / MANIFEST).write_bytes(encode(manifest))
    assert isinstance(trained.module, LateFusion)
    by_class = table(found[None], shown[0], [task], calibration)
    texts = late_card.write(manifest, members, trained, fixed, calibrated, by_class)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Bundle.open(folder):
        pass
    report(late_card.shares(trained.module, fixed))
    for row in results:
        report(f"{row.part} {row.data} {row.metric} {row.value}")
