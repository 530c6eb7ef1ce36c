"""The optional folder `training/`: found, tied to the engines by their hashes, checked, and copied."""

import json
import shutil

import pytest

from affectstream.engines.bundle.folder import MANIFEST, find_bundle, read_manifest
from affectstream.engines.bundle.training import (
    RECIPE,
    TRAINING,
    WEIGHTS,
    check_training,
    copy_training,
    recipe_file,
    training_parts,
)
from affectstream.engines.errors import BundleError
from affectstream.stream.doctor import examine
from tests.support.small_bundles import plain, write_training_part


@pytest.fixture
def bundle(tmp_path):
    folder = plain(tmp_path / "base", takes=("voice", "text"))
    write_training_part(folder, folder / TRAINING, "voice_encoder", "text_encoder", "fusion")
    return folder


def test_a_part_names_the_engines_that_it_gave(bundle):
    (found,) = check_training(bundle, read_manifest(bundle))
    assert found.is_whole and str(found) == "toy (voice_encoder, text_encoder, fusion)"
    assert recipe_file(bundle) == bundle / TRAINING / RECIPE


def test_a_bundle_without_it_is_as_before(bundle):
    shutil.rmtree(bundle / TRAINING)
    assert check_training(bundle, read_manifest(bundle)) == []
    said = {finding.text for finding in examine(bundle)}
    assert "training/: none, so only its head can be taught" in said


def test_pocket_says_what_trained_its_networks():
    pocket = find_bundle("pocket")
    parts = check_training(pocket, read_manifest(pocket))
    assert {role for part in parts for role in part.engines} == {
        "face_encoder",
        "voice_encoder",
        "text_encoder",
        "fusion",
    }
    for part in parts:
        data = json.loads((part.folder / RECIPE).read_text())["setting"]["data"]
        assert len(data["samples"]) == (0 if "fusion" in part.engines else 1000 * 12)
        assert len(data["content_sha256"]) == 64 and part.weights_sha256 is None


def test_a_copy_without_weights_says_only_what_trained_it(bundle, tmp_path):
    other = plain(tmp_path / "other", takes=("voice", "text"))
    shutil.rmtree(other / TRAINING, ignore_errors=True)
    manifest = read_manifest(bundle)
    copy_training(bundle, manifest, other, manifest, weights=False)
    (found,) = check_training(other, manifest)
    assert not found.weights.exists() and "without weights" in str(found)


def test_doctor_shows_and_checks_it(bundle):
    said = {finding.text for finding in examine(bundle) if finding.ok}
    assert "training/: toy (voice_encoder, text_encoder, fusion)" in said
    (bundle / TRAINING / WEIGHTS).write_bytes(b"others")
    (fault,) = [each.text for each in examine(bundle) if "weights" in each.text and not each.ok]
    assert "weights.safetensors was changed: SHA-256 is" in fault


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "is missing: recipe.json beside it names it"),
        (lambda folder: (folder / RECIPE).write_text("{"), "cannot be read"),
        (lambda folder: (folder / RECIPE).write_text('{"engines": {}}'), "cannot be read"),
        (lambda folder: (folder / RECIPE).write_text('{"recipe": "../../x"}'), "cannot be read"),
    ],
)
def test_damage_is_named(bundle, harm, match):
    harm(bundle / TRAINING)
    with pytest.raises(BundleError, match=match):
        check_training(bundle, read_manifest(bundle))


def test_a_part_whose_engines_were_replaced_is_none(bundle):
    manifest = read_manifest(bundle)
    ties = json.loads((bundle / TRAINING / RECIPE).read_text())
    ties["engines"] = dict.fromkeys(ties["engines"], "0" * 64)
    (bundle / TRAINING / RECIPE).write_text(json.dumps(ties))
    assert training_parts(bundle, manifest) == []


def test_a_copy_keeps_what_its_engines_came_from(bundle, tmp_path):
    manifest = read_manifest(bundle)
    other = plain(tmp_path / "other", takes=("voice",))
    shutil.rmtree(tmp_path / "other" / TRAINING, ignore_errors=True)
    copy_training(bundle, manifest, other, read_manifest(other))
    (found,) = check_training(other, read_manifest(other))
    assert "voice_encoder" in found.engines and "text_encoder" not in found.engines
    assert found.folder == other / TRAINING / "toy"  # the network gave more than this
    copy_training(bundle, manifest, other, read_manifest(other))
    assert len(check_training(other, read_manifest(other))) == 2
    assert (other / MANIFEST).is_file() and recipe_file(other) == other / RECIPE  # none for all
