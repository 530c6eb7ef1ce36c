"""Late fusion: two numbers, or nine, over bundles that stay as they are."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import MANIFEST, read_manifest
from affectstream.engines.errors import BundleError
from affectstream.engines.labels import subsets
from affectstream.stream import Recognizer, exits
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.resplit import resplit
from affectstream.train.errors import DataError, RunError
from affectstream.train.export.fusion_bundle import assemble
from affectstream.train.fit.checkpoint import load_run
from affectstream.train.fit.loop import fit
from affectstream.train.fit.unseen import check_unseen, was_trained_on
from affectstream.train.late_fusion.member_logits import MemberLogits, hide_members
from affectstream.train.late_fusion.members import find_members
from affectstream.train.late_fusion.recipe import LateFusion, initial_weights
from affectstream.train.loader.augment_state import AugmentState
from affectstream.train.loader.batches import ValidBatches
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.bundle_samples import bundle_samples
from affectstream.train.recipe import count_parameters
from affectstream.train.recipes.registry import recipes
from affectstream.train.search_space import LATE_FUSION, space_of
from tests.support.command import run_command
from tests.support.prepared import samples, utterances, write
from tests.support.small_bundles import LABELS as OTHERS
from tests.support.small_bundles import compound, plain, rewrite
from tests.train.recipes.test_any_recipe import clip, untimed  # noqa: F401

NAMES = ("late_fusion", "enhanced_late_fusion", "evidence")
LABELS = ("neutral", "anger", "joy", "surprise")
NUMBERS = {"late_fusion": 2, "enhanced_late_fusion": 2 + 4, "evidence": 2 + 2 * 4}
LONG = 2_000_000, 500_000, 8


def member(folder, *takes, **options):
    return plain(folder, takes=takes, **{"labels": LABELS, **options})


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """One member that watches, and one of another window that hears and reads."""
    root = tmp_path_factory.mktemp("members")
    return member(root / "seen", "video"), member(root / "heard", "voice", "text", span=LONG)


def config_of(name, members, runs, **changes):
    config = replace(
        recipes()[name].defaults, epochs=3, learning_rate=1e-2, warmup_epochs=0.0, patience=0
    )
    return replace(
        config, members=tuple(map(str, members)), runs=str(runs), precision="32-true", **changes
    )


def learn(name, config, data, folder, **options):
    return fit(recipes()[name], config, data, folder, report=lambda _: None, **options)


def made(name, members, data, root, **changes):
    """The bundle of a run with these members."""
    learn(name, config_of(name, members, root / "runs", **changes), data, root / "runs" / name)
    assemble(recipes()[name], data, root / "runs", root / "bundle", report=lambda _: None)
    return root / "bundle"


# What is learned


def test_it_has_the_documented_numbers():
    assert count_parameters(LateFusion([0.5, 0.5], 7, biases="none")) == 2
    assert count_parameters(LateFusion([0.5, 0.5], 7, biases="class")) == 9
    assert count_parameters(LateFusion([0.2, 0.3, 0.5], 4, biases="none")) == 3
    assert count_parameters(LateFusion([1.0, 1.0, 1.0], 7, biases="member")) == 24


@pytest.mark.parametrize("biases", ["none", "class"])
def test_it_adds_up_the_members_that_are_present(biases):
    module = LateFusion([0.25, 2.0], 3, biases=biases)
    own = torch.zeros(3)
    if biases == "class":
        own = torch.tensor([0.5, -1.0, 2.0])
        module.biases.data.copy_(own)
    logits = torch.arange(24.0).reshape(4, 2, 3)
    mask = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]]).bool()
    found = module(logits, mask)
    wanted = [0.25 * logits[0, 0] + 2 * logits[0, 1], 0.25 * logits[1, 0], 2 * logits[2, 1]]
    torch.testing.assert_close(found[:3], torch.stack(wanted) + own)
    assert not found[3].any(), "nobody said anything"


def test_each_member_that_is_present_adds_its_bias():
    module = LateFusion([0.25, 2.0], 3, biases="member")
    module.biases.data.copy_(torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, -1.0]]))
    logits = torch.arange(18.0).reshape(3, 2, 3)
    mask = torch.tensor([[1, 1], [0, 1], [0, 0]]).bool()
    rows = 0.25 * logits[:, 0] + module.biases[0], 2 * logits[:, 1] + module.biases[1]
    expected = torch.stack([rows[0][0] + rows[1][0], rows[1][1], torch.zeros(3)])
    torch.testing.assert_close(module(logits, mask), expected)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_number(name, data, pair, tmp_path):
    config = config_of(name, pair, tmp_path)
    bound = recipes()[name].bind(data, config)
    module = bound.module()
    assert count_parameters(module) == NUMBERS[name]
    bound.loss(module, next(iter(bound.loaders(data, config).train.epoch(0)))).backward()
    assert all(p.grad is not None and p.grad.abs().min() > 0 for p in module.parameters())


def test_samples_that_are_silent_for_every_member_are_left_out(tmp_path):
    """Digital silence is sound to the data set, and nothing to go by to a bundle."""
    members = [member(tmp_path / f"ear-{n}", "voice") for n in range(2)]
    made = [*utterances(16, "train"), *utterances(8, "valid")]
    made[-3].audio = np.zeros_like(made[-3].audio)
    folder = write(tmp_path / "set", made)
    config = config_of("late_fusion", members, tmp_path / "runs")
    bound = recipes()["late_fusion"].bind(folder, config)
    told = bound.predict(bound.module(), folder, "valid", config)
    assert told.ids.tolist() == [s.id for s in made[16:] if s.audio.any()]


def test_members_that_learned_the_samples_are_found(data, pair, tmp_path):
    bundle = made("late_fusion", pair, data, tmp_path)
    dataset = Dataset(data)
    turned = tmp_path / "turned"
    splits = ["train"] * 16 + ["valid"] * 8 + [None] * 12
    resplit(dataset, splits, turned, name="turned", may_share=True)
    with pytest.raises(RunError, match="bundle was trained on these samples under other splits"):
        check_unseen(bundle, turned)
    check_unseen(bundle, data)

    (bundle / "training").rename(bundle / "seen/training")
    with pytest.raises(RunError, match=r"member 'seen' of .*bundle was trained on these samples"):
        check_unseen(bundle, turned)
    assert was_trained_on(bundle / "seen", data) and not was_trained_on(bundle / "heard", data)
    inside = bundle / "seen/training/net"  # as in a bundle of several networks
    inside.mkdir()
    (bundle / "seen/training/recipe.json").rename(inside / "recipe.json")
    with pytest.raises(RunError, match=r"member 'seen' of .*bundle was trained on these samples"):
        check_unseen(bundle, turned)
    config = config_of("late_fusion", (bundle / "seen", bundle / "heard"), tmp_path)
    with pytest.raises(
        RunError, match=r"seen/training/net was trained on these samples under other splits"
    ):
        recipes()["late_fusion"].bind(turned, config)


def test_the_correct_member_gains_weight():
    torch.manual_seed(0)
    truth = torch.arange(64) % 4
    right, random = 2.0 * torch.eye(4)[truth], 2.0 * torch.eye(4)[torch.randint(0, 4, (64,))]
    logits, mask = torch.stack([random, right], 1), torch.ones(64, 2).bool()
    module = LateFusion([0.5, 0.5], 4, biases="none")
    optimiser = torch.optim.Adam(module.parameters(), 0.05)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(logits, mask), truth).backward()
        optimiser.step()
    first, second = module.weights.tolist()
    assert second > 1.5 and abs(first) < 0.5


@pytest.mark.parametrize(
    ("watches", "expected"),
    [
        ([True, False], (0.7, 0.3)),
        ([False, True], (0.3, 0.7)),
        ([True, True], (0.7, 0.3)),
        ([False, False, True], (0.15, 0.15, 0.7)),
        ([False, False, False], (0.7, 0.15, 0.15)),
    ],
)
def test_it_begins_with_the_weight_of_the_video(watches, expected):
    assert initial_weights(watches, 0.7) == pytest.approx(expected)


def test_hiding_leaves_each_sample_something():
    mask = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0]]).bool().repeat(200, 1)

    def hidden():
        return hide_members(
            mask, AugmentState(torch.Generator().manual_seed(3), FitConfig(modality_dropout=0.6))
        )

    found = hidden()
    assert torch.equal(found, hidden())
    assert found.any(1).all()
    assert not (found & ~mask).any()
    assert int((found != mask).sum()) > 0
    spoken = MemberLogits(torch.ones(600, 3, 4), mask, torch.zeros(600).long(), torch.arange(600))
    batch = spoken.batch(
        range(600), AugmentState(torch.Generator().manual_seed(3), FitConfig(modality_dropout=0.6))
    )
    assert torch.equal(batch["members"].any(2), batch["mask"])


# Members that do not do


def test_members_are_two_or_more_bundles(pair, tmp_path, data):
    bound = recipes()["late_fusion"]
    with pytest.raises(OptionError, match="found 0 of them, expected 2 bundles or more"):
        bound.bind(data, config_of("late_fusion", [], tmp_path))
    with pytest.raises(OptionError, match="name one bundle twice"):
        find_members([str(pair[0]), str(pair[0])])
    with pytest.raises(BundleError, match="expected 'pocket' or a bundle's folder"):
        find_members([str(pair[0]), str(tmp_path / "nowhere")])


def test_members_of_one_name_get_names_of_their_own(pair, tmp_path):
    other = member(tmp_path / "seen", "voice")
    assert [m.name for m in find_members([str(pair[0]), str(other)])] == ["seen", "seen-2"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": OTHERS}, r"'odd' has labels \['neutral', 'joy', 'sadness'\], expected"),
        ({"labels": LABELS[::-1]}, "'odd' has labels .* expected"),
        ({"span": (1_000_000, 250_000, 4)}, "'odd' has hop_us 250000, expected 500000"),
        ({"labels": ()}, r"'odd' has labels \[\], expected"),
    ],
)
def test_members_that_do_not_match_are_refused_at_once(options, said, pair, tmp_path, data):
    odd = member(tmp_path / "odd", "voice", **options)
    with pytest.raises(BundleError, match=said):
        recipes()["late_fusion"].bind(data, config_of("late_fusion", [pair[0], odd], tmp_path))


def test_members_share_one_face_detector(pair, tmp_path):
    odd = member(tmp_path / "odd", "video")
    engines = read_manifest(odd).engines
    from msgspec import structs

    finder = structs.replace(engines.face_detector, threshold=0.9)
    rewrite(odd, engines=structs.replace(engines, face_detector=finder))
    with pytest.raises(BundleError, match="have different face detectors"):
        find_members([str(pair[0]), str(odd)])


def test_a_member_with_members_is_refused(pair, tmp_path):
    folder = tmp_path / "both"
    inside = [member(folder / name, "voice") for name in "ab"]
    both = compound(folder, inside, (1.0, 1.0))
    with pytest.raises(BundleError, match="'both' has members itself"):
        find_members([str(pair[0]), str(both)])


def test_a_data_set_has_something_for_every_member(pair, tmp_path):
    folder = write(tmp_path / "set", [*samples(8, "train"), *samples(8, "valid")])
    with pytest.raises(
        DataError, match="nothing for member 'heard' in split train: it takes voice"
    ):
        recipes()["late_fusion"].bind(folder, config_of("late_fusion", pair, tmp_path))


def test_a_data_set_of_unknown_labels_is_refused(tmp_path, data):
    few = [member(tmp_path / name, "voice", labels=LABELS[:2]) for name in "ab"]
    with pytest.raises(DataError, match="has samples of joy, surprise; every member knows neutral"):
        recipes()["late_fusion"].bind(data, config_of("late_fusion", few, tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": ("sentiment",)}, "--task sentiment: late_fusion joins emotions"),
        ({"options": {"depth": 2}}, "late_fusion has no such option"),
        ({"options": {"video_weight": 1.5}}, "expected a number between 0 and 1"),
        ({"options": {"video_weight": "much"}}, "expected a number between 0 and 1"),
        ({"size": 64}, "--size means nothing for late_fusion"),
        ({"init": "runs/cnn"}, "--init means nothing for late_fusion"),
    ],
)
def test_settings_without_effect_are_refused(changes, said, pair, data, tmp_path):
    with pytest.raises(OptionError, match=said):
        recipes()["late_fusion"].bind(data, config_of("late_fusion", pair, tmp_path, **changes))


def test_a_recipe_that_joins_nothing_takes_no_members(data):
    config = replace(recipes()["cnn"].defaults, members=("faces", "voices"))
    with pytest.raises(OptionError, match="--member means nothing for cnn"):
        recipes()["cnn"].bind(data, config)


# A run, and the bundle made of it


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_has_the_same_curve(name, data, pair, tmp_path, capsys):
    config = config_of(name, pair, tmp_path / "runs", modality_dropout=0.4)

    def stop(epoch, figures):
        raise KeyboardInterrupt

    learn(name, config, data, tmp_path / "whole")
    assert capsys.readouterr().err.count("running") == 4, "two members, two splits"
    with suppress(KeyboardInterrupt):
        learn(name, config, data, tmp_path / "half", on_epoch=stop)
    learn(name, config, data, tmp_path / "half", resume=True)
    assert "running" not in capsys.readouterr().err
    curves = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("half", "whole")]
    assert len(curves[0]) == 4
    assert untimed(curves[0]) == untimed(curves[1])


@pytest.fixture(scope="module")
def bundles(data, pair, tmp_path_factory):
    """Of both recipes: the folder with their runs and the bundle."""
    roots = {name: tmp_path_factory.mktemp(name) for name in NAMES}
    for name, root in roots.items():
        made(name, pair, data, root, modality_dropout=0.3)
    return roots


@pytest.mark.parametrize("name", NAMES)
def test_torch_and_engines_agree(name, bundles, data):
    trained = load_run(recipes()[name], bundles[name] / "runs" / name)
    module = trained.module
    with Bundle.open(bundles[name] / "bundle") as bundle, torch.no_grad():
        shown, _ = bundle_samples(bundle, data, "valid")
        batches = [list(ValidBatches(part, size=5)) for part in shown]
        parts = [
            bundle_outputs(m, own, missing=False)[None]
            for m, own in zip(bundle.members, batches, strict=True)
        ]
        members = np.zeros((12, 2, 4), np.float32)
        mask = np.zeros((12, 2), bool)
        for number, said in enumerate(parts):
            members[said.samples, number] = said.outputs["logits"]
            mask[said.samples, number] = True
        wanted = module(torch.from_numpy(members), torch.from_numpy(mask)).numpy()
        found = bundle_outputs(bundle, *batches, missing=True)
        np.testing.assert_allclose(found[None].outputs["logits"], wanted, atol=1e-3)
        alone = torch.from_numpy(members), torch.tensor([[True, False]]).expand(12, 2)
        np.testing.assert_allclose(
            found[("video",)].outputs["logits"], module(*alone).numpy(), atol=1e-3
        )
        nobody = {"members": members, "mask": np.zeros_like(mask)}
        assert not bundle.engines["fusion"].run(nobody)["logits"].any()


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_streams_a_clip(name, bundles, clip):  # noqa: F811
    with Recognizer.open(bundles[name] / "bundle", threads=1) as recognizer:
        result = recognizer.score(clip)
    assert result.complete, result.detail
    told = [event for event in result.events if event.type == "emotion" and event.scores]
    assert {m for event in told for m in event.modalities} == {"video", "voice", "text"}
    for event in told:
        assert set(event.scores) == set(LABELS)
        assert sum(event.scores.values()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_describes_itself(name, bundles, pair):
    folder = bundles[name] / "bundle"
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["members"] == ["seen", "heard"]
    assert manifest["window_us"] == LONG[0] and manifest["frame_hz"] == 4
    everything = ["+".join(subset) for subset in subsets(("video", "voice", "text"))]
    assert sorted(manifest["calibration"]["temperature"]) == sorted(everything)
    assert manifest["calibration"]["prior"] == pytest.approx([0.25] * 4)
    assert manifest["licences"]["weights"] == "seen: MIT; heard: MIT"
    for whole, inside in zip(pair, ("seen", "heard"), strict=True):
        assert (folder / inside / MANIFEST).read_bytes() == (whole / MANIFEST).read_bytes()
    module = load_run(recipes()[name], bundles[name] / "runs" / name).module
    card = (folder / "CARD.md").read_text()
    weights = module.weights.abs()
    for share in (100 * weights / weights.sum()).tolist():
        assert f"| {share:.1f} % |" in card
    assert ("Biases: neutral" in card) == (name == "enhanced_late_fusion")
    assert ("Biases of `seen`: neutral" in card) == (name == "evidence")
    assert f"{NUMBERS[name]} trainable numbers" in card
    assert "- heard: MIT (data: none)" in (folder / "LICENSE").read_text()


def test_three_members_join_and_the_labels_need_not_all_occur(data, pair, tmp_path, capsys):
    labels = (*LABELS, "disgust")
    trio = [
        member(tmp_path / name, takes, labels=labels)
        for name, takes in (("a", "voice"), ("b", "text"), ("c", "video"))
    ]
    folder = made("enhanced_late_fusion", trio, data, tmp_path)
    module = load_run(
        recipes()["enhanced_late_fusion"], tmp_path / "runs" / "enhanced_late_fusion"
    ).module
    assert count_parameters(module, all_=True) == 3 + 5
    assert (
        run_command("train", "evaluate", "--bundle", folder, "--data", data, "--split", "valid")
        == 0
    )
    assert "video+voice+text" in capsys.readouterr().out


def test_a_member_that_was_changed_or_moved_is_noticed(data, tmp_path):
    members = [member(tmp_path / name, "voice") for name in ("one", "two")]
    config = config_of("late_fusion", members, tmp_path / "runs")
    here = tmp_path / "runs" / "late_fusion"
    learn("late_fusion", config, data, here)
    kept = shutil.copytree(members[1], tmp_path / "kept")

    def export():
        assemble(recipes()["late_fusion"], data, tmp_path / "runs", tmp_path / "bundle")

    rewrite(members[1], summary="Another one.")
    with pytest.raises(RunError, match=r"member 'two' in .*two was changed since"):
        export()
    with pytest.raises(
        RunError, match=r"with the same flags but with members\.2\.sha256 \w{12}\.\.\., now"
    ):
        learn("late_fusion", config, data, here, resume=True)
    shutil.rmtree(members[1])
    with pytest.raises(RunError, match=r"member 'two' is not in .*two any more"):
        export()
    assert not (tmp_path / "bundle").exists()
    shutil.copytree(kept, members[1])
    (members[1] / "voice_encoder.onnx").write_bytes(b"spoiled")
    with pytest.raises(BundleError, match=r"voice_encoder\.onnx was changed"):
        export()


def test_other_data_than_it_was_trained_on_is_refused(bundles, tmp_path):
    other = write(tmp_path / "set", [*utterances(8, "train"), *utterances(8, "valid", seed=5)])
    with pytest.raises(RunError, match="is not what 'late_fusion' was trained on"):
        assemble(
            recipes()["late_fusion"], other, bundles["late_fusion"] / "runs", tmp_path / "bundle"
        )


# The command line


@pytest.mark.slow
def test_from_the_command_line_to_a_study(data, pair, tmp_path, capsys):
    words = ["--data", data, "--runs", tmp_path, "--threads", "1", "--epochs", "2"]
    words += ["--member", pair[0], "--member", pair[1], "--recipe", "enhanced_late_fusion"]
    assert run_command("train", "fit", *words, "--track", "none") == 0
    assert run_command("train", "export", *words[:4], *words[-2:], "-o", tmp_path / "bundle") == 0
    assert "weights: seen " in capsys.readouterr().out
    assert run_command("train", "fit", *words[:4], *words[-2:], "--eval-only") == 0
    assert "best: accuracy" in capsys.readouterr().out
    assert run_command("train", "tune", *words, "--trials", "3") == 0
    said = capsys.readouterr().out
    assert "3 trials" in said and "video_weight" in said
    assert run_command("train", "fit", *words[:2], "--recipe", "late_fusion") == exits.USAGE
    assert "expected 2 bundles or more" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_study_is_searched(name):
    assert space_of(recipes()[name]) == LATE_FUSION
