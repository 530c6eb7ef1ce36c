"""A bundle that does not match its manifest is refused, and the message says why."""

import json
import shutil

import msgspec
import numpy as np
import pytest

from affectstream.engines import Bundle, BundleError, EngineError, OnnxEngine
from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.cache.digest import sha256
from affectstream.engines.devices.open import open_engine
from affectstream.engines.devices.probe import SQUARE_GRAPH
from affectstream.engines.graphs.batching import batch_size_for, pad_rows
from affectstream.engines.manifest import FilePart, Manifest, encode_manifest


@pytest.fixture
def copy(tmp_path):
    """A copy of `pocket` that may be spoiled."""
    return shutil.copytree(POCKET, tmp_path / "bundle")


def edit(folder, change):
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def refused(folder, message):
    with pytest.raises(BundleError, match=message), Bundle.open(folder):
        pass


def test_pocket_opens_and_names_what_it_is_made_of():
    with Bundle.open() as bundle:
        assert bundle.manifest.labels[0] == "neutral"
        assert set(bundle.engines) == {
            "face_detector",
            "face_geometry",
            "face_encoder",
            "voice_encoder",
            "text_encoder",
            "fusion",
        }
        assert bundle.modalities == ("video", "voice", "text")


def test_pocket_is_small_and_has_a_card_and_a_licence():
    assert sum(path.stat().st_size for path in POCKET.iterdir()) < 12e6
    assert "Measured" in (POCKET / "CARD.md").read_text()
    assert "CC BY-NC-SA" in (POCKET / "LICENSE").read_text()


def test_the_manifest_comes_back_as_it_was():
    before = read_manifest(POCKET)
    assert msgspec.json.decode(encode_manifest(before), type=Manifest) == before


def test_a_changed_file_is_found_by_its_hash(copy):
    blob = bytearray((copy / "fusion.onnx").read_bytes())
    blob[-1] ^= 1
    (copy / "fusion.onnx").write_bytes(blob)
    refused(copy, r"fusion\.onnx was changed: SHA-256")


def test_a_missing_file_is_named(copy):
    (copy / "voice_encoder.onnx").unlink()
    refused(copy, r"voice_encoder\.onnx is missing")


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/dev/zero"])
def test_weights_outside_the_hash_are_refused(copy, location):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(copy / "fusion.onnx"))
    weight = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    for file in (copy / "weights.bin", copy.parent / "weights.bin"):
        file.write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    (copy / "fusion.onnx").write_bytes(graph.SerializeToString())
    edit(copy, lambda m: m["engines"]["fusion"].update(sha256=sha256(copy / "fusion.onnx")))
    refused(copy, r"fusion\.onnx keeps weights in another file")


@pytest.mark.parametrize(
    "file", ["../fusion.onnx", "/etc/passwd", "a/b.onnx", "..", "", "a\0b", "x.onnx\n", "é" * 300]
)
@pytest.mark.parametrize("model", [None, "yunet"])
def test_a_file_that_may_lie_elsewhere_is_refused(copy, file, model):
    shutil.copy(copy / "fusion.onnx", copy.parent / "fusion.onnx")
    origin = {"model": model} if model else {}
    edit(copy, lambda m: m["engines"]["fusion"].update(file=file, **origin))
    refused(copy, r"bundle\.json: .*engines\.fusion\.file")


def test_a_name_that_the_system_does_not_accept_is_not_there(copy):
    edit(copy, lambda m: m["engines"]["fusion"].update(file="é" * 200))
    refused(copy, r"is missing: the manifest names it")
    refused("x" * 5000, "not found")


@pytest.mark.parametrize(
    "content",
    [
        b'{"format": "\xff"}',
        b'{"format": "1.3", "name": "\xff"}',
        b"[" * 200_000,
        b'{"format": "1.3", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"format": "' + b"1" * 5000 + b'.0"}',
        b"\xff\xfe{",
        b"",
    ],
    ids=["format", "name", "deep", "deep-closed", "digits", "bytes", "empty"],
)
def test_a_manifest_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "bundle.json").write_bytes(content)
    refused(tmp_path, r"bundle\.json (is not a bundle manifest|has format)")


@pytest.mark.parametrize("name", [b"x", b"y", b"Mul", b"g"])
def test_a_name_that_is_not_utf8_is_reported(tmp_path, capfd, name):
    encoded = bytes([len(name)]) + name
    graph = SQUARE_GRAPH.replace(encoded, bytes([len(name)]) + b"\xff" * len(name))
    (tmp_path / "square.onnx").write_bytes(graph)
    if name == b"g":  # the name of the graph is never used
        open_engine(tmp_path / "square.onnx").__exit__()
        return
    with pytest.raises(EngineError, match=r"square\.onnx: "):
        open_engine(tmp_path / "square.onnx")
    assert capfd.readouterr().out == ""


def test_a_label_too_many_is_found_against_the_head(copy):
    def change(manifest):
        manifest["labels"].append("contempt")
        manifest["calibration"]["prior"].append(0.1)

    edit(copy, change)
    refused(copy, r"fusion needs logits \(N, 8\), found logits \(N, 7\)")


def test_a_shape_that_two_parts_do_not_share_is_found(copy):
    edit(copy, lambda manifest: manifest.update(window_us=2_000_000))
    refused(copy, r"fusion needs video \(N, 16, \d+\), found video \(N, 24, \d+\)")


def test_a_file_that_is_not_a_graph_is_refused(copy):
    (copy / "fusion.onnx").write_bytes(b"not a graph")
    edit(copy, lambda m: m["engines"]["fusion"].update(sha256=sha256(copy / "fusion.onnx")))
    refused(copy, r"fusion\.onnx is not an ONNX graph")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="2.0"), r"format 2\.0, this version reads up to 1\.8"),
        (lambda m: m.update(colour="red"), "unknown field"),
        (lambda m: m.update(format="1.99", colour="red"), r"unknown field .* upgrade affectstream"),
        (lambda m: m.update(hop_us=300_001), "whole"),
        (lambda m: m["labels"].__setitem__(0, "Very bored"), r"\['Very bored'\]: expected words"),
        (lambda m: m["calibration"]["prior"].pop(), "6 prior probabilities for 7 labels"),
        (lambda m: m.pop("crop"), "belong together"),
        (lambda m: m.pop("window_us"), "window_us"),
        (lambda m: m["engines"]["fusion"].update(sha256="x"), "sha256"),
        (
            lambda m: m["engines"]["face_detector"].update(clear=0.7),
            r"clear is 0\.7 and certain 0\.8",
        ),
        (
            lambda m: m["engines"]["face_detector"].update(leaning=0.6),
            r"leaning is 0\.6 and threshold 0\.55",
        ),
    ],
)
def test_a_spoiled_manifest_is_refused_with_the_reason(copy, change, message):
    edit(copy, change)
    refused(copy, message)


@pytest.mark.parametrize(
    "version", ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9"]
)
def test_any_minor_format_of_the_same_major_is_read(copy, version):
    edit(copy, lambda m: m.update(format=version))
    with Bundle.open(copy) as bundle:
        assert bundle.manifest.format == version


def test_only_a_part_that_is_a_public_model_names_one():
    assert encode_manifest(FilePart("a.onnx", "0" * 64)).count(b"model") == 0
    assert b'"model": "yunet"' in encode_manifest(FilePart("a.onnx", "0" * 64, model="yunet"))


def test_an_invalid_tokenizer_is_refused_when_the_bundle_opens(copy):
    (copy / "tokenizer.json").write_text("[]")
    digest = sha256(copy / "tokenizer.json")
    edit(copy, lambda m: m["engines"]["text_encoder"]["tokenizer"].update(sha256=digest))
    refused(copy, r"tokenizer\.json is not a tokenizer")


def test_a_folder_that_is_not_a_bundle_is_refused(tmp_path):
    refused(tmp_path / "nowhere", "not found: expected 'pocket' or a bundle's folder")
    refused(tmp_path, r"has no bundle\.json")
    (tmp_path / "bundle.json").write_text("{")
    refused(tmp_path, "not a bundle manifest")


def test_wrong_inputs_are_named():
    with OnnxEngine(POCKET / "face_encoder.onnx") as engine:
        with pytest.raises(EngineError, match=r"the inputs are \['pixel'\], expected \['pixels'\]"):
            engine.run({"pixel": np.zeros((1, 48, 48, 3), np.uint8)})
        with pytest.raises(EngineError, match=r"is \(1, 48, 48, 3\) float32, expected pixels"):
            engine.run({"pixels": np.zeros((1, 48, 48, 3), np.float32)})
        with pytest.raises(EngineError, match=r"\(1, 40, 48, 3\)"):
            engine.run({"pixels": np.zeros((1, 40, 48, 3), np.uint8)})
    with pytest.raises(EngineError, match="was closed"):
        engine.run({"pixels": np.zeros((1, 48, 48, 3), np.uint8)})


def test_padding_a_batch_changes_no_row():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), np.uint8)
    with OnnxEngine(POCKET / "face_encoder.onnx") as engine:
        whole = engine.run({"pixels": pad_rows(pixels, batch_size_for(5))})["logits"][:5]
        other = pixels.copy()
        other[1:] = 0
        first = engine.run({"pixels": pad_rows(other, batch_size_for(5))})["logits"][0]
    assert np.array_equal(whole[0], first)
