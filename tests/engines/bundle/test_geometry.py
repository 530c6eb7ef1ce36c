"""The optional engine `face_geometry` in a bundle."""

import json

import numpy as np
import pytest

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.bundle_plans import plan_requests
from affectstream.engines.bundle.folder import read_manifest
from affectstream.engines.cache.digest import sha256
from affectstream.engines.errors import BundleError
from affectstream.engines.landmarks import LANDMARKS, MEASURES
from affectstream.engines.plans.build import BuildOptions
from tests.support.small_bundles import (
    FLOAT,
    FRONTAL,
    GEOMETRY_SIZE,
    MEASURED,
    compound,
    plain,
    save_geometry,
)

FILE = "face_geometry.onnx"


def test_a_bundle_with_geometry_opens_and_its_engine_measures_faces(tmp_path):
    with Bundle.open(plain(tmp_path / "b", geometry=True)) as bundle:
        assert bundle.manifest.engines.face_geometry.scale == 1.5
        faces = np.zeros((2, GEOMETRY_SIZE, GEOMETRY_SIZE, 3), np.uint8)
        found = bundle.engines["face_geometry"].run({"pixels": faces})
    assert found["landmarks"].shape == (2, len(LANDMARKS), 2)
    assert found["measures"].shape == (2, len(MEASURES))
    assert np.array_equal(found["landmarks"][1], FRONTAL)
    assert found["measures"][0].tolist() == pytest.approx(MEASURED)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"size": 40}, r"face_geometry needs pixels \(N, 32, 32, 3\) uint8, found pixels \(N, 40"),
        ({"dtype": FLOAT}, r"face_geometry needs pixels .* uint8, found pixels .* float32"),
        ({"points": 5}, r"face_geometry needs landmarks \(N, 32, 2\) float32, found .*\(N, 5, 2\)"),
        (
            {"leave_out": "measures"},
            r"face_geometry needs measures \(N, 8\) float32, found nothing",
        ),
        ({"leave_out": "landmarks"}, r"face_geometry needs landmarks .*, found nothing"),
    ],
)
def test_an_engine_that_breaks_the_contract_is_refused(tmp_path, broken, message):
    folder = plain(tmp_path / "b", geometry=True)
    save_geometry(folder / FILE, **broken)
    edit(folder, lambda engines: engines["face_geometry"].update(sha256=sha256(folder / FILE)))
    with pytest.raises(BundleError, match=message), Bundle.open(folder):
        pass


def test_geometry_needs_a_detector(tmp_path):
    folder = plain(tmp_path / "b", geometry=True)
    edit(folder, lambda engines: engines.pop("face_detector"))
    with pytest.raises(BundleError, match="face_geometry needs a face_detector"):
        read_manifest(folder)


@pytest.mark.parametrize("change", [{"scale": 0.5}, {"input_size": 0}, {"turned": True}])
def test_a_wrong_setting_is_refused(tmp_path, change):
    folder = plain(tmp_path / "b", geometry=True)
    edit(folder, lambda engines: engines["face_geometry"].update(change))
    with pytest.raises(BundleError, match="face_geometry"):
        read_manifest(folder)


def test_members_share_the_geometry_of_a_face(tmp_path):
    folder = tmp_path / "joint"
    members = [plain(folder / name, geometry=name == "one") for name in ("one", "two")]
    joint = compound(folder, members, [1.0, 1.0])
    with pytest.raises(BundleError, match="'one' and 'two' have different face geometry engines"):
        Bundle.open(joint)


def test_it_has_a_plan_of_its_own_in_fp32(tmp_path):
    folder = plain(tmp_path / "b", geometry=True)
    (request,) = plan_requests(folder, read_manifest(folder), BuildOptions(), ["face_geometry"])
    assert request.options.precision == "fp32"


def test_a_bundle_of_an_older_format_has_none(tmp_path):
    manifest = read_manifest(plain(tmp_path / "b", format="1.3"))
    assert manifest.engines.face_geometry is None


def edit(folder, change):
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text())
    change(manifest["engines"])
    path.write_text(json.dumps(manifest))
