"""Members of one modality each as one bundle, and one modality of a bundle as a member."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.bundle.taught import TAUGHT
from affectstream.engines.bundle.training import TRAINING, check_training
from affectstream.stream.errors import OptionError
from affectstream.train.errors import RunError
from affectstream.train.export import fusion_bundle
from affectstream.train.export.fusion_bundle import assemble
from affectstream.train.export.merged_bundle import face_engine
from affectstream.train.export.one_modality import write_one_modality
from affectstream.train.fit.unseen import check_unseen, taught_samples_of
from affectstream.train.networks.sequences import MeanPool
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.bundle_samples import bundle_samples, valid_batches
from affectstream.train.recipes.registry import recipes
from tests.support.prepared import utterances, write
from tests.support.small_bundles import write_training_part
from tests.train.late_fusion.test_late_fusion import config_of, learn, member

FILE = 'name = "both"\nversion = "1.2.3"\nsummary = "Two in one."\nlimits = "Many."\n'


def silent(_):
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of `evidence` over a face and a voice, its data set, and its folder of runs."""
    root = tmp_path_factory.mktemp("merge")
    data = write(root / "set", [*utterances(24, "train"), *utterances(12, "valid")])
    members = [member(root / "face", "video"), member(root / "voice", "voice")]
    for folder, role in zip(members, ("face_encoder", "voice_encoder"), strict=True):
        write_training_part(folder, folder / TRAINING / "net", role, "fusion")
        (folder / TAUGHT).write_text(f'{{"lesson": {{"recordings": {len(folder.name)}}}}}')
    config = config_of("evidence", members, root / "runs", modality_dropout=0.3)
    learn("evidence", config, data, root / "runs/evidence")
    return root, data


def head(folder, feeds):
    """The logits of the head in `folder`, of those of `feeds` that it takes."""
    session = onnxruntime.InferenceSession(folder / "fusion.onnx")
    return session.run(["logits"], {i.name: feeds[i.name] for i in session.get_inputs()})[0]


def random_feeds(folder, rows=5):
    """Sequences for the head in `folder`: in the last rows one modality each is absent, then all are."""
    rng, feeds = np.random.default_rng(0), {}
    session = onnxruntime.InferenceSession(folder / "fusion.onnx")
    shapes = {i.name: (rows, *i.shape[1:]) for i in session.get_inputs()}
    for number, name in enumerate(("video", "voice")):
        mask = rng.random(shapes[f"{name}_mask"]) < 0.7
        mask[0], mask[-2 - number], mask[-1] = True, False, False
        feeds[f"{name}_mask"] = mask
        feeds[name] = rng.normal(size=shapes[name]).astype(np.float32) * mask[..., None]
    return feeds


def test_one_bundle_gives_what_its_members_give(trained):
    root, data = trained
    recipe = recipes()["evidence"]
    (root / "merge.toml").write_text(FILE)
    assemble(recipe, data, root / "runs", root / "nested", report=silent)
    assemble(recipe, data, root / "runs", root / "one", merge=root / "merge.toml", report=silent)
    manifest = read_manifest(root / "one")
    assert (manifest.name, manifest.version, manifest.members) == ("both", "1.2.3", ())
    assert manifest.engines.face_encoder and manifest.engines.voice_encoder
    assert set(manifest.calibration.temperature) == {"video", "voice", "video+voice"}
    feeds = random_feeds(root / "one")
    mask = np.stack([feeds[f"{name}_mask"].any(1) for name in ("video", "voice")], 1)
    apart = np.stack([head(root / "nested" / name, feeds) for name in ("face", "voice")], 1)
    expected = head(root / "nested", {"members": apart * mask[..., None], "mask": mask})
    np.testing.assert_allclose(head(root / "one", feeds), expected, atol=1e-4)
    assert not head(root / "one", feeds)[-1].any()
    assert "Many." in (root / "one/CARD.md").read_text()
    parts = check_training(root / "one", manifest)
    roles = {role for part in parts for role in part.engines}
    assert roles == {"face_encoder", "voice_encoder", "fusion"}
    with pytest.raises(RunError, match=r"evidence was trained on all of split train"):
        check_unseen(root / "one", data, "train")
    check_unseen(root / "one", data, "valid")
    for whole in ("one", "nested"):  # face: 4, voice: 5
        assert taught_samples_of(root / whole, data, "valid").in_doubt == 9
    for name in ("face", "voice"):
        (kept,) = check_training(root / "nested" / name, read_manifest(root / "nested" / name))
        assert kept.is_whole and "fusion" in kept.engines


def test_the_prior_of_the_file_is_assumed_in_use(trained):
    root, data = trained
    shares = {"neutral": 0.4, "anger": 0.3, "joy": 0.2, "surprise": 0.1}
    prior = "[prior]\n" + "".join(f"{label} = {share}\n" for label, share in shares.items())
    (root / "prior.toml").write_text(FILE + prior)
    recipe = recipes()["evidence"]
    assemble(recipe, data, root / "runs", root / "prior", merge=root / "prior.toml", report=silent)
    assert read_manifest(root / "prior").calibration.prior == tuple(shares.values())
    (root / "wrong.toml").write_text(FILE + "[prior]\nneutral = 1.0\n")
    with pytest.raises(OptionError, match="expected shares of neutral, anger"):
        assemble(recipe, data, root / "runs", root / "x", merge=root / "wrong.toml", report=silent)


def test_a_bundle_is_calibrated_on_the_people_of_another_set(trained):
    root, data = trained
    recipe = recipes()["evidence"]
    assemble(recipe, data, root / "runs", root / "own", report=silent)
    own = read_manifest(root / "own")
    said = list(utterances(24, "test"))
    others = write(root / "others", said)
    with Bundle.open(root / "own") as bundle:
        samples, _ = bundle_samples(bundle, others, None)
        logits = bundle_outputs(bundle, *valid_batches(samples), missing=False)[None].outputs[
            "logits"
        ]
    # People who show whatever the bundle takes them to show: it may be surer of them than of its own.
    labels = [own.labels[k] for k in logits.argmax(1)]
    agreeing = [replace(one, emotion=label) for one, label in zip(said, labels, strict=True)]
    others = write(root / "agreeing", agreeing)
    assemble(recipe, data, root / "runs", root / "foreign", calibrate_on=others, report=silent)
    foreign = read_manifest(root / "foreign")
    assert (
        foreign.calibration.temperature["video+voice"] < own.calibration.temperature["video+voice"]
    )
    assert {row.data for row in foreign.results} == {row.data for row in own.results}
    assert "all 24 samples of" in (root / "foreign/CARD.md").read_text()


@pytest.mark.parametrize("elsewhere", [True, False])
def test_labels_of_another_set_are_drawn_by_the_prior(trained, monkeypatch, elsewhere):
    root, data = trained
    given = {}

    def stop(*_, **options):
        given.update(options)
        raise RunError("stopped")

    monkeypatch.setattr(fusion_bundle.steps, "calibrate_and_measure", stop)
    recipe, other = recipes()["evidence"], data if elsewhere else None
    with pytest.raises(RunError, match="stopped"):
        assemble(recipe, data, root / "runs", root / "x", calibrate_on=other, report=silent)
    assert given["follow_prior"] == elsewhere


def test_a_set_that_a_member_learned_from_is_refused_for_calibration(trained, monkeypatch):
    root, data = trained
    monkeypatch.setattr(fusion_bundle, "was_trained_on", lambda folder, _: folder.name == "voice")
    recipe = recipes()["evidence"]
    with pytest.raises(RunError, match="member 'voice' was trained on these samples"):
        assemble(recipe, data, root / "runs", root / "x", calibrate_on=data, report=silent)
    assert not (root / "x").exists()


def test_a_modality_of_a_bundle_gives_what_the_bundle_gives_without_the_others(trained, tmp_path):
    root, data = trained
    (root / "merge.toml").write_text(FILE)
    recipe = recipes()["evidence"]
    assemble(
        recipe, data, root / "runs", tmp_path / "one", merge=root / "merge.toml", report=silent
    )
    feeds = random_feeds(tmp_path / "one")
    for modality, other in (("video", "voice"), ("voice", "video")):
        write_one_modality(str(tmp_path / "one"), modality, tmp_path / modality, report=silent)
        assert read_manifest(tmp_path / modality).calibration.temperature.keys() == {modality}
        without = {n: np.zeros_like(v) if n.startswith(other) else v for n, v in feeds.items()}
        np.testing.assert_array_equal(
            head(tmp_path / modality, feeds), head(tmp_path / "one", without)
        )
        (part,) = check_training(tmp_path / modality, read_manifest(tmp_path / modality))
        assert list(part.engines) == [{"video": "face_encoder", "voice": "voice_encoder"}[modality]]
    with pytest.raises(OptionError, match="takes no text"):
        write_one_modality(str(tmp_path / "one"), "text", tmp_path / "text", report=silent)


def test_trust_weakens_a_modality_beside_others_and_leaves_it_as_sure_alone(trained):
    root, data = trained
    recipe = recipes()["evidence"]
    for name, trust in (("all", ""), ("half", "[trust]\nvoice = 0.5\n")):
        (root / "trust.toml").write_text(FILE + trust)
        assemble(recipe, data, root / "runs", root / name, merge=root / "trust.toml", report=silent)
    feeds = random_feeds(root / "all")
    alone = {
        kept: {n: np.zeros_like(v) if n.startswith(left) else v for n, v in feeds.items()}
        for kept, left in (("voice", "video"), ("video", "voice"))
    }
    for kept, share in (("voice", 0.5), ("video", 1.0)):
        found, whole = (head(root / name, alone[kept]) for name in ("half", "all"))
        np.testing.assert_allclose(found, share * whole, atol=1e-4)
    half, whole = (read_manifest(root / name).calibration.temperature for name in ("half", "all"))
    assert half["voice"] <= whole["voice"] and half["video"] == whole["video"]
    assert "count in use: voice 0.5" in (root / "half/CARD.md").read_text()
    for trust, message in (("text = 0.5", "trust has text"), ("voice = 1.5", "voice|trust")):
        (root / "wrong.toml").write_text(f"{FILE}[trust]\n{trust}\n")
        with pytest.raises(OptionError, match=message):
            assemble(
                recipe, data, root / "runs", root / "no", merge=root / "wrong.toml", report=silent
            )


def test_a_face_engine_comes_from_a_bundle_or_a_file_with_its_settings(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    part = face_engine("face_detector", {"source": "pocket"}, folder)
    assert part == read_manifest(POCKET).engines.face_detector
    terms = (POCKET / "LICENSE.yunet").read_text()
    assert (folder / "LICENSE.yunet").read_text() == terms, "they go where YuNet goes"
    write_one_modality("pocket", "video", tmp_path / "video", report=silent)
    assert (tmp_path / "video" / "LICENSE.yunet").read_text() == terms
    graph = str(POCKET / part.file)
    with pytest.raises(OptionError, match="input_size"):
        face_engine("face_detector", {"source": graph}, folder)
    settings = {"source": graph, "input_size": 320, "threshold": 0.5}
    mine = face_engine("face_detector", settings, folder)
    assert (mine.input_size, mine.threshold, mine.sha256) == (320, 0.5, part.sha256)
    with pytest.raises(RunError, match="neither a bundle"):
        face_engine("face_geometry", {"source": "nowhere"}, folder)


def test_the_newest_frames_can_count_most():
    pool = MeanPool(1)
    video = torch.zeros(2, 24, 1)
    video[:, -4:] = 1.0
    mask = torch.ones(2, 24).bool()
    mask[1, -2:] = False
    assert pool(video, mask)[0] == pytest.approx(4 / 24)
    pool.half_life = 2.0
    found = pool(video, mask)[:, 0]
    assert found[0] == pytest.approx(0.75, abs=0.01)
    assert found[1] == pytest.approx(0.5, abs=0.01)
    assert not pool(video, torch.zeros(2, 24).bool()).any()
