"""Bundles of members: each keeps its window, grid and crop, and a late-fusion head fuses their logits."""

import hashlib

import numpy as np
import pytest

from affectstream.bench.engines.feeds import record_feeds
from affectstream.engines import Bundle, BundleError
from affectstream.engines.bundle.bundle_plans import plan_requests
from affectstream.engines.bundle.folder import engine_files, read_manifest
from affectstream.engines.errors import UsageError
from affectstream.engines.graphs.feeds import random_feeds, read_feeds
from affectstream.engines.manifest import FaceCrop
from affectstream.engines.plans.build import BuildOptions
from affectstream.stream import Recognizer, SourceOptions
from affectstream.stream.demo import babble
from affectstream.stream.doctor import examine
from affectstream.stream.events import encode
from tests.support.media import Sound, write_video
from tests.support.small_bundles import (
    SPAN,
    compound,
    plain,
    rewrite,
)

FRAME = FaceCrop(size=16, kind="frame")
LONG = 2_000_000, 500_000, 8
"""A longer window than `SPAN`, on a finer grid."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three seconds of pictures that get brighter; made-up speech in the first half; some words."""
    frames = [np.full((48, 48, 3), n // 2, np.uint8) for n in range(48)]
    talk = babble(4)[:48_000, None].copy()
    talk[20_000:] = 0
    folder = tmp_path_factory.mktemp("film")
    (folder / "film.vtt").write_text("WEBVTT\n\n00:00.600 --> 00:01.100\nyes well\n")
    return write_video(
        folder / "film.mp4", frames, size=(48, 48), rate=16, sound=Sound(talk, 16_000)
    )


@pytest.fixture
def both(tmp_path):
    """A video member of a short window and coarse grid, and one of voice and words with a longer."""
    folder = tmp_path / "both"
    seen = plain(folder / "seen", takes=("video",), crop=FRAME, span=SPAN)
    heard = plain(folder / "heard", takes=("voice", "text"), span=LONG, metadata=("age",))
    return compound(folder, [seen, heard], (2.0, 0.5))


def score(bundle, path, threads=1):
    with Recognizer.open(bundle, device="cpu", threads=threads) as recognizer:
        return recognizer.score(path, SourceOptions())


def emotions(result):
    return [event for event in result.events if event.type == "emotion"]


def total(event):
    """The sum s of a reading whose three logits are 0, s and 2 s (see `small_bundles`)."""
    first, second, _ = event.scores.values()
    return np.log(second / first)


def test_the_members_logits_are_fused_by_their_weights(both, film):
    seen, heard, joined = (
        emotions(score(at, film)) for at in (both / "seen", both / "heard", both)
    )
    assert len(seen) == len(heard) == len(joined) == 6
    for one, other, event in zip(seen, heard, joined, strict=True):
        parts = [(2.0, one), (0.5, other)]
        expected = sum(weight * total(part) for weight, part in parts if part.scores is not None)
        assert total(event) == pytest.approx(expected, abs=0.02)
        assert set(event.modalities) == {*one.modalities, *other.modalities}
    assert any(len(event.modalities) == 3 for event in joined)
    assert any(event.modalities == ("video",) for event in joined)


def test_a_member_without_input_is_masked(both, film):
    with Recognizer.open(both, device="cpu", threads=1) as recognizer:
        fed = record_feeds(recognizer, film)
    masks = np.concatenate([call["mask"] for call in fed["fusion"]])
    assert masks[:, 0].all()
    assert 0 < masks[:, 1].sum() < len(masks)
    members = np.concatenate([call["members"] for call in fed["fusion"]])
    assert not members[~masks].any()


def test_each_member_has_its_own_window_and_grid(tmp_path, film):
    folder = tmp_path / "pair"
    near = plain(folder / "near", takes=("video",), crop=FRAME, span=SPAN)
    far = plain(folder / "far", takes=("video",), crop=FRAME, span=LONG)
    pair = compound(folder, [near, far], (1.0, 1.0))
    with Recognizer.open(pair, device="cpu", threads=1) as recognizer:
        inside = record_feeds(recognizer, film)
    for member in (near, far):
        with Recognizer.open(member, device="cpu", threads=1) as recognizer:
            alone = record_feeds(recognizer, film)["fusion"]
        for one, other in zip(alone, inside[f"{member.name}/fusion"], strict=True):
            assert np.array_equal(one["video_mask"], other["video_mask"])
            assert np.allclose(one["video"], other["video"], atol=1e-6)


def test_an_engine_that_members_share_is_opened_once_and_run_once_for_an_input(tmp_path, film):
    folder = tmp_path / "twins"
    twins = [
        plain(folder / name, takes=("video", "voice", "text"), crop=FRAME) for name in ("a", "b")
    ]
    pair = compound(folder, twins, (1.0, 1.0))
    with Bundle.open(pair) as bundle:
        one, other = bundle.members
        assert all(one.engines[role] is other.engines[role] for role in one.engines)
    with Recognizer.open(pair, device="cpu", threads=1) as recognizer:
        inside = record_feeds(recognizer, film)
    with Recognizer.open(twins[0], device="cpu", threads=1) as recognizer:
        alone = record_feeds(recognizer, film)
    for role in ("face_encoder", "voice_encoder", "text_encoder"):
        assert len(inside[f"a/{role}"]) == len(alone[role]), role


def test_two_runs_give_the_same_bytes_however_many_threads(both, film):
    def digest(threads):
        events = score(both, film, threads).events
        return hashlib.sha256(b"\n".join(map(encode, events))).hexdigest()

    assert digest(1) == digest(1) == digest(3)


def test_a_face_and_the_whole_picture_are_fused_for_the_only_track_in_view(tmp_path):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    from affectstream.stream.demo import portrait

    picture = np.ascontiguousarray(portrait()[:288])
    size = (picture.shape[1], picture.shape[0])
    path = write_video(tmp_path / "face.mp4", [picture] * 10, size=size, rate=10)
    folder = tmp_path / "three"
    crops = {"face": None, "person": FaceCrop(32, kind="person"), "frame": FRAME}
    members = [
        plain(folder / kind, takes=("video",), **({"crop": crop} if crop else {}))
        for kind, crop in crops.items()
    ]
    bundle = compound(folder, members, (1.0, 1.0, 1.0))
    with Recognizer.open(bundle, device="cpu", threads=1) as recognizer:
        fed = record_feeds(recognizer, path)
        result = recognizer.score(path)
    assert fed["fusion"][-1]["mask"].all()
    assert {event.track for event in emotions(result)} == {1}
    sides = {name: call[0]["pixels"].shape[1] for name, call in fed.items() if "face_enc" in name}
    assert sides == {"face/face_encoder": 48, "person/face_encoder": 32, "frame/face_encoder": 16}


def test_members_of_the_same_face_detector_share_it(tmp_path):
    folder = tmp_path / "faces"
    members = [
        plain(folder / "one", takes=("video",)),
        plain(folder / "two", takes=("video",), crop=FaceCrop(32, kind="person")),
    ]
    bundle = compound(folder, members, (1.0, 1.0))
    detector = read_manifest(members[1]).engines.face_detector
    from msgspec import structs

    other = structs.replace(detector, threshold=0.7)
    rewrite(
        members[1], engines=structs.replace(read_manifest(members[1]).engines, face_detector=other)
    )
    with pytest.raises(BundleError, match="'one' and 'two' have different face detectors"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    ("where", "changes", "message"),
    [
        ("", {"members": ("seen",)}, r"members \['seen'\]: expected at least 2"),
        ("", {"members": ("seen", "seen")}, "each named once"),
        ("", {"members": ("seen", "../other")}, "matching regex"),
        (
            "",
            {"members": ("seen", "gone")},
            "names the member 'gone', but .*gone has no bundle.json",
        ),
        ("", {"window_us": 4_000_000}, "window_us is 4000000, expected the longest.*: 2000000"),
        ("", {"frame_hz": 6}, "'seen' has frame_hz 4: the bundle's 6 must be a multiple"),
        ("", {"crop": FRAME}, "has a fusion engine alone"),
        ("", {"labels": ("neutral", "sadness", "joy")}, r"'seen' has labels \['neutral', 'joy',"),
        ("seen", {"hop_us": 250_000}, "'seen' has hop_us 250000, expected 500000"),
        ("heard", {"members": ("a", "b")}, "has a fusion engine alone"),
    ],
)
def test_members_that_do_not_fit_together_are_refused(both, where, changes, message):
    rewrite(both / where, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(both)


def test_only_one_level_can_be_nested(both, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    both.rename(outer / "both")
    third = plain(outer / "third", takes=("text",), span=LONG)
    bundle = compound(outer, [outer / "both", third], (1.0, 1.0))
    with pytest.raises(
        BundleError, match="'both' has members itself: only one level can be nested"
    ):
        Bundle.open(bundle)


def test_a_member_must_have_logits(tmp_path):
    folder = tmp_path / "pair"
    members = [
        plain(folder / "a", takes=("text",)),
        plain(folder / "b", takes=("text",), answers=("intensities",)),
    ]
    with pytest.raises(BundleError, match="member 'b' has a head without logits"):
        Bundle.open(compound(folder, members, (1.0, 1.0)))


def test_a_fusion_of_another_number_of_members_is_refused(tmp_path):
    folder = tmp_path / "pair"
    members = [plain(folder / name, takes=("text",)) for name in "ab"]
    bundle = compound(folder, members, (1.0, 1.0, 1.0))
    with pytest.raises(BundleError, match=r"needs members \(N, 2, 3\), found members \(N, 3, 3\)"):
        Bundle.open(bundle)


def test_a_changed_file_of_a_member_is_found(both):
    blob = bytearray((both / "heard" / "voice_encoder.onnx").read_bytes())
    blob[-1] ^= 1
    (both / "heard" / "voice_encoder.onnx").write_bytes(blob)
    with pytest.raises(BundleError, match=r"heard/voice_encoder\.onnx was changed"):
        Bundle.open(both)


ROLES = [
    "fusion",
    "seen/fusion",
    "seen/face_encoder",
    "heard/fusion",
    "heard/voice_encoder",
    "heard/text_encoder",
]


def test_the_engines_of_members_are_built_and_compared_by_their_own_names(both, tmp_path):
    files = engine_files(both, read_manifest(both))
    assert list(files) == ROLES
    plans = plan_requests(both, read_manifest(both), BuildOptions())
    assert [plan.role for plan in plans] == ROLES
    (plan,) = plan_requests(both, read_manifest(both), BuildOptions(), ["heard/voice_encoder"])
    assert plan.source == both / "heard" / "voice_encoder.onnx"
    with pytest.raises(
        UsageError, match="has no voice_encoder: its engines are fusion, seen/fusion"
    ):
        plan_requests(both, read_manifest(both), BuildOptions(), ["voice_encoder"])
    with Bundle.open(both) as bundle:
        assert list(bundle.all_engines) == ROLES
        fusion = random_feeds(bundle.engines["fusion"].inputs, 1, 0)[0]
    path = tmp_path / "feeds.npz"
    np.savez(path, **{f"heard/fusion/1/{name}": array for name, array in fusion.items()})
    assert set(read_feeds(path)["heard/fusion"][0]) == {"members", "mask"}


def test_two_precisions_of_a_bundle_of_members_are_compared(both):
    from typer.testing import CliRunner

    from affectstream.engines.cli import application

    words = ["compare", "cpu", "cpu:fp32", "--bundle", str(both), "--repeats", "1"]
    done = CliRunner().invoke(application, words)
    assert done.exit_code == 0, done.output
    assert "heard/text_encoder: onnxruntime" in done.output


def test_the_doctor_names_the_engines_of_members(both):
    found = [finding.text for finding in examine(both) if finding.topic == "bundle"]
    assert any("seen/face_encoder" in text and "heard/text_encoder" in text for text in found)
    assert "its head predicts: logits" in found
