"""Face recipes: from a prepared data set through fit, checkpoint, resume and export to a streamed clip."""

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

import affectstream.train.recipe as recipe_module  # noqa: E402
from affectstream.engines.bundle import MANIFEST, Bundle  # noqa: E402
from affectstream.stream import OptionError, Recognizer, exits  # noqa: E402
from affectstream.stream.cli import main  # noqa: E402
from affectstream.train.bundle import MeanHead, assemble  # noqa: E402
from affectstream.train.crops import Cropper, scaled_template  # noqa: E402
from affectstream.train.dataset import (  # noqa: E402
    CropInfo,
    Dataset,
)
from affectstream.train.errors import DataError, DataMissing, RunError  # noqa: E402
from affectstream.train.evaluate_face import evaluate_prepared  # noqa: E402
from affectstream.train.face import FaceNet, FaceRecipe, figures  # noqa: E402
from affectstream.train.face_batches import augment, mean_of_owner  # noqa: E402
from affectstream.train.loop import LAST, fit, load_best, load_run  # noqa: E402
from affectstream.train.models import cnn, tiny_vit  # noqa: E402
from affectstream.train.recipe import FitConfig, parameters, recipes  # noqa: E402
from affectstream.train.sample import Sample  # noqa: E402
from affectstream.train.shards import (  # noqa: E402
    Progress,
    ShardWriter,
    finish,
    shard_path,
)

from .media import write_video  # noqa: E402
from .prepared import write_info  # noqa: E402

LABELS = ("neutral", "joy", "surprise", "anger")
SIDE = 64
CONFIG = FitConfig(
    epochs=3, batch_size=8, learning_rate=2e-3, weight_decay=0.0, warmup_epochs=0.0, ema_decay=0.5
)
TINY = {
    "cnn": replace(
        cnn.RECIPE, body=partial(cnn.Cnn, widths=(8, 16, 16), width=32), side=56, defaults=CONFIG
    ),
    "tiny_vit": replace(
        tiny_vit.RECIPE,
        body=partial(tiny_vit.TinyVit, width=48, heads=3, layers=2),
        side=48,
        defaults=CONFIG,
    ),
}


def face(rng, label, size=SIDE, grey=False):
    """A made-up picture: coarse noise, with a bright spot where the label is."""
    coarse = rng.integers(60, 140, (4, 4, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    x, y = (0.3 + 0.4 * (label & 1)) * size, (0.3 + 0.4 * (label >> 1)) * size
    cv2.circle(picture, (round(x), round(y)), size // 6, (230, 230, 210), -1)
    return np.repeat(picture[..., :1], 3, axis=2) if grey else picture


def samples(count, split, *, crops=1, grey=False, labels=LABELS, seed=0):
    rng = np.random.default_rng([seed, len(split)])
    for number in range(count):
        label = number % len(labels)
        yield Sample(
            id=f"{split}{number:03d}",
            split=split,
            frames_seen=crops,
            crops=np.stack([face(rng, label, grey=grey) for _ in range(crops)]),
            crop_times_us=np.arange(crops) * 125_000,
            emotion=labels[label],
        )


def write(folder, made, crop=None):
    """A prepared data set of `made`, written as `train prepare` writes it."""
    made = list(made)
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, Progress({}))
    for sample in made:
        writer.add(sample)
    writer.end_job([], [])
    writer.close()
    shards = finish(folder, writer.progress.shards, {s.id: s.split for s in made})
    crop = crop or CropInfo("face", SIDE, scaled_template(SIDE))
    write_info(folder, shards, name="made-up", source="spots on noise", crop=crop)
    shard_path(folder, 0).unlink()
    return folder


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are too small for more, and the same on every machine this way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    return write(folder, [*samples(24, "train", crops=2), *samples(12, "valid", crops=3)])


def learn(recipe, data, run, config=None, **options):
    return fit(recipe, config or recipe.defaults, data, run, report=lambda _: None, **options)


def curve(run):
    return (run / "log.csv").read_text().splitlines()


# --- the architectures ---


def test_parameters_of_cnn_are_those_of_its_layers():
    channels = (3, 32, 64, 128)
    pairs = list(pairwise(channels))
    convolutions = sum(9 * a * b for a, b in pairs)
    norms = sum(2 * b for _, b in pairs)
    layers = convolutions + norms + (6272 * 256 + 256) + (256 * 7 + 7)
    net = FaceNet(cnn.Cnn(), 7, dropout=0.5, grey=False)
    assert parameters(net) == layers == 1_701_159


@pytest.mark.parametrize(("layers", "total"), [(4, 1_966_855), (6, 2_856_583)])
def test_parameters_of_tiny_vit_are_those_of_its_layers(layers, total):
    d = 192
    patches, positions = 3 * 16 * 16 * d + d, (14 * 14 + 1) * d
    attention = (d * 3 * d + 3 * d) + (d * d + d)
    mlp = (d * 4 * d + 4 * d) + (4 * d * d + d)
    each = attention + mlp + 2 * 2 * d
    closed = patches + d + positions + layers * each + 2 * d + (d * 7 + 7)
    net = FaceNet(tiny_vit.TinyVit(layers=layers), 7, dropout=0.1, grey=False)
    assert parameters(net) == closed == total


@pytest.mark.parametrize("name", TINY)
def test_gradients_reach_every_parameter(name, data):
    recipe = TINY[name].for_data(data, CONFIG)
    torch.manual_seed(0)
    module = recipe.module().train()
    recipe.loss(module, next(iter(recipe.loaders(data, CONFIG).train.epoch(0)))).backward()
    for called, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-9, called


@pytest.mark.parametrize("name", TINY)
def test_it_learns_32_samples_by_heart(name, tmp_path):
    train, again = samples(32, "train"), samples(32, "train")
    held = [replace_split(sample) for sample in again]
    folder = write(tmp_path / "set", [*train, *held])
    config = replace(CONFIG, epochs=40, augment=False)
    assert learn(TINY[name], folder, tmp_path / "run", config)["accuracy"] >= 0.95


def replace_split(sample):
    sample.id, sample.split = f"again-{sample.id}", "valid"
    return sample


@pytest.mark.parametrize("recipe", [cnn.RECIPE, tiny_vit.RECIPE], ids=lambda r: r.name)
def test_the_documented_size_exports_in_operators_that_every_runtime_has(recipe, data, tmp_path):
    onnx = pytest.importorskip("onnx", reason="comes with the 'train' extra")
    bound = recipe.for_data(data, recipe.defaults)
    assert bound.fixed.size == 224
    (path,) = bound.export(bound.module().eval(), tmp_path)
    graph = onnx.load(path)
    assert {o.version for o in graph.opset_import if not o.domain} == {18}
    assert not {n.op_type for n in graph.graph.node} & {
        "Loop",
        "If",
        "NonZero",
        "Resize",
        "GridSample",
    }
    assert {n.domain for n in graph.graph.node} == {""}


# --- runs ---


@pytest.mark.parametrize("name", TINY)
def test_a_resumed_run_has_the_same_curve(name, data, tmp_path):
    learn(TINY[name], data, tmp_path / "whole")

    class Stopped(FaceRecipe):
        def score(self, module, batches):
            if (tmp_path / "half/log.csv").exists():
                raise KeyboardInterrupt
            return super().score(module, batches)

    with pytest.raises(KeyboardInterrupt):
        learn(Stopped(**vars(TINY[name])), data, tmp_path / "half")
    learn(TINY[name], data, tmp_path / "half", resume=True)
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")
    assert len(curve(tmp_path / "whole")) == 4


def test_a_run_is_not_resumed_on_other_data_or_at_another_size(data, tmp_path):
    recipe, once = TINY["cnn"], replace(CONFIG, epochs=1)
    learn(recipe, data, tmp_path / "run", once)
    other = write(tmp_path / "other", [*samples(8, "train", seed=9), *samples(4, "valid")])
    with pytest.raises(RunError, match=r"other data or options \(counts, .*content_sha256"):
        learn(recipe, other, tmp_path / "run", once, resume=True)
    with pytest.raises(RunError, match=r"other data or options \(size, template\)"):
        learn(recipe, data, tmp_path / "run", replace(once, size=112), resume=True)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_epoch(data, tmp_path):
    class Breaking(FaceRecipe):
        calls = 0

        def loss(self, module, batch):
            Breaking.calls += 1
            factor = float("nan") if Breaking.calls == 5 else 1.0
            return factor * super().loss(module, batch)

    with pytest.raises(
        RunError, match=r"loss is nan in epoch 1, batch 1 of 3; .*last\.pt holds epoch 0"
    ):
        learn(Breaking(**vars(TINY["cnn"])), data, tmp_path / "run")
    saved = torch.load(tmp_path / "run" / LAST, weights_only=False)
    assert saved["epoch"] == 0
    assert all(v.isfinite().all() for v in saved["module"].values())


# --- data ---


def test_the_same_epoch_gives_the_same_batches_and_another_gives_others(data):
    recipe = TINY["cnn"].for_data(data, CONFIG)

    def pixels(epoch, **options):
        loaders = recipe.loaders(data, replace(CONFIG, **options))
        return torch.cat([batch["pixels"] for batch in loaders.train.epoch(epoch)])

    assert pixels(0).shape == (24, 56, 56, 3)
    assert torch.equal(pixels(0), pixels(0))
    assert not torch.equal(pixels(0), pixels(1))
    assert not torch.equal(pixels(0), pixels(0, seed=1))
    assert not torch.equal(pixels(0), pixels(0, augment=False))


def test_augmented_pictures_stay_pictures_and_grey_ones_grey(portrait):
    crop = cv2.resize(portrait[0:224, 130:354], (64, 64)).astype(np.float32)
    batch = torch.from_numpy(np.stack([crop] * 16))
    out = augment(batch, torch.Generator().manual_seed(0))
    assert out.shape == batch.shape
    assert out.min() >= 0 and out.max() <= 255
    flipped = [
        bool((o - b).abs().mean() > (o - b.flip(1)).abs().mean())
        for o, b in zip(out, batch, strict=True)
    ]
    assert 2 <= sum(flipped) <= 14
    grey = augment(batch[..., :1].repeat(1, 1, 1, 3), torch.Generator().manual_seed(0))
    assert (grey - grey[..., :1]).abs().max() < 1e-3


def test_a_sample_is_judged_by_the_mean_of_its_crops(data):
    recipe = TINY["cnn"].for_data(data, CONFIG)
    (batch,) = recipe.loaders(data, CONFIG).valid
    assert batch["pixels"].shape == (36, 56, 56, 3)
    assert batch["owner"].tolist() == np.repeat(np.arange(12), 3).tolist()
    values = torch.arange(6.0).reshape(3, 2)
    assert mean_of_owner(values, torch.tensor([0, 1, 1]), 2).tolist() == [[0, 1], [3, 4]]


def test_what_is_learned_without_colour_is_served_without_colour(data, tmp_path):
    assert not TINY["cnn"].for_data(data, CONFIG).fixed.grey
    made = [*samples(8, "train", grey=True), *samples(4, "valid", grey=True)]
    recipe = TINY["cnn"].for_data(write(tmp_path / "grey", made), CONFIG)
    assert recipe.fixed.grey
    module = recipe.module().eval()
    grey = torch.full((1, 56, 56, 3), 90, dtype=torch.uint8)
    grey[:, 20:40] = 200
    tinted = grey.clone()
    tinted[..., 0] += 20
    tinted[..., 2] = (grey[..., 2].float() - 20 * 0.299 / 0.114).round().to(torch.uint8)
    torch.testing.assert_close(module(tinted)[1], module(grey)[1], atol=5e-3, rtol=0)


def test_class_weights_count_every_label_alike(tmp_path):
    made = [
        *samples(12, "train", labels=("joy", "joy", "anger")),
        *samples(3, "valid", labels=("joy",)),
    ]
    folder = write(tmp_path / "set", made)
    module, losses = None, {}
    for weighted in (False, True):
        config = replace(CONFIG, class_weights=weighted, augment=False, batch_size=12)
        recipe = TINY["cnn"].for_data(folder, config)
        assert recipe.fixed.labels == ("anger", "joy")
        assert recipe.fixed.counts == (4, 8)
        module = module or recipe.module().eval().requires_grad_(False)
        (batch,) = recipe.loaders(folder, config).train.epoch(0)
        losses[weighted] = float(recipe.loss(module, batch))
        each = -torch.log_softmax(module(batch["pixels"])[1], 1)[range(12), batch["label"]]
        by_label = [float(each[batch["label"] == k].mean()) for k in (0, 1)]
    assert losses[False] == pytest.approx(float(each.mean()), abs=1e-5)
    assert losses[True] == pytest.approx(np.mean(by_label), abs=1e-5)


def test_figures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="comes with the 'train' extra")
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    assert figures(truth, guess, 7) == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(truth, guess),
            "macro_f1": metrics.f1_score(truth, guess, average="macro"),
            "uar": metrics.balanced_accuracy_score(truth, guess),
        }
    )


def without(field, made):
    for sample in made:
        setattr(sample, field, None)
        if field == "crops":
            sample.crop_times_us = None
        yield sample


@pytest.mark.parametrize(
    ("made", "crop", "message"),
    [
        (lambda: without("crops", samples(8, "train")), None, "split train has a face crop"),
        (lambda: without("emotion", samples(8, "train")), None, "split train and task emotion"),
        (lambda: samples(8, "train"), None, "no samples for split valid and task emotion"),
        (
            lambda: [*samples(8, "train", labels=("joy",)), *samples(4, "valid", labels=("joy",))],
            None,
            "all training samples are joy",
        ),
        (
            lambda: [*samples(8, "train", labels=("joy", "fear")), *samples(4, "valid")],
            None,
            "anger, neutral, surprise is in split valid and not in train",
        ),
        (
            lambda: [*samples(8, "train"), *samples(4, "valid")],
            CropInfo("frame", SIDE),
            "crops of kind frame, expected face",
        ),
    ],
)
def test_a_data_set_that_does_not_do_is_refused_in_one_line(made, crop, message, tmp_path):
    folder = write(tmp_path / "set", made(), crop)
    with pytest.raises(DataError, match=message) as error:
        learn(TINY["cnn"], folder, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_no_data_set_and_a_side_that_cannot_be(data, tmp_path):
    with pytest.raises(DataMissing, match="no prepared data set"):
        learn(TINY["tiny_vit"], tmp_path, tmp_path / "run")
    for recipe, multiple in ((cnn.RECIPE, 56), (tiny_vit.RECIPE, 16)):
        with pytest.raises(
            OptionError, match=f"--size 100: {recipe.name} takes multiples of {multiple}"
        ):
            recipe.for_data(data, replace(CONFIG, size=100))


# --- bundles ---


@pytest.fixture(scope="module", params=list(TINY))
def exported(request, data, tmp_path_factory):
    """The recipe, its run's folder and the bundle made of it."""
    recipe, root = TINY[request.param], tmp_path_factory.mktemp(request.param)
    learn(recipe, data, root / "runs" / recipe.name, replace(CONFIG, epochs=6))
    assemble(recipe, data, root / "runs", root / "bundle", report=lambda _: None)
    return recipe, root / "runs" / recipe.name, root / "bundle"


@pytest.fixture(scope="module")
def clip(portrait, tmp_path_factory):
    """Two seconds of a real face that moves a little."""
    frames = [np.roll(portrait, (i % 4, i % 6), axis=(0, 1)) for i in range(16)]
    return write_video(tmp_path_factory.mktemp("clip") / "face.mp4", frames, rate=8)


def test_torch_and_engine_agree(exported, portrait, data):
    recipe, run, folder = exported
    module, _ = load_best(recipe, run)
    size = recipe.side
    with Cropper("face", size) as cropper:
        (crop,) = cropper.cut([portrait])
    made = next(iter(Dataset(data))).crops[0]
    made = cv2.resize(made, (size, size))
    pixels = np.stack([crop, made, np.zeros_like(crop), np.full_like(crop, 255), crop[:, ::-1]])
    head = MeanHead(module.head, torch.tensor([1 / 4] * 4))
    with Bundle.open(folder) as bundle, torch.no_grad():
        out = bundle.engines["face_encoder"].run({"pixels": pixels})
        for name, wanted in zip(
            ("embedding", "logits"), module(torch.from_numpy(pixels)), strict=True
        ):
            np.testing.assert_allclose(out[name], wanted.numpy(), atol=1e-3)
        video = np.zeros((2, 24, out["embedding"].shape[1]), np.float32)
        mask = np.zeros((2, 24), bool)
        video[0, 3:8], mask[0, 3:8] = out["embedding"], True
        video[0, 20] = 1e3  # masked: it must not matter
        said = bundle.engines["fusion"].run({"video": video, "video_mask": mask})["logits"]
        wanted = head.head(torch.from_numpy(out["embedding"]).mean(0))
        np.testing.assert_allclose(said[0], wanted.numpy(), atol=1e-3)
        assert (said[1] == 0).all()


def test_the_bundle_streams_a_clip(exported, clip):
    *_, folder = exported
    with Recognizer.open(folder, threads=1) as recognizer:
        assert recognizer.bundle.modalities == ("video",)
        result = recognizer.score(clip)
    assert result.complete
    emotions = [e for e in result.events if e.type == "emotion" and e.track == 1]
    assert [event.t_start for event in emotions] == [0.0, 0.5, 1.0, 1.5]
    for event in emotions:
        assert event.modalities == ("video",)
        assert set(event.scores) == set(LABELS)
        assert sum(event.scores.values()) == pytest.approx(1.0, abs=1e-3)


def test_the_bundle_says_what_it_is(exported, data):
    recipe, run, folder = exported
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["name"] == recipe.name
    assert manifest["labels"] == ["neutral", "anger", "joy", "surprise"]
    assert manifest["crop"]["size"] == recipe.side
    assert manifest["crop"]["template"] == [
        pytest.approx(point) for point in scaled_template(recipe.side)
    ]
    kept = load_run(recipe, run).figures
    measured = {row["metric"]: row["value"] for row in manifest["results"]}
    assert set(measured) == set(kept)
    assert all(row["count"] == 12 for row in manifest["results"])
    card = (folder / "CARD.md").read_text()
    assert "spots on noise" in card and Dataset(data).info.content_sha256[:12] in card
    assert "CC BY-NC-SA 4.0" in (folder / "LICENSE").read_text()


def test_the_prior_of_training_is_taken_off_the_head():
    head = torch.nn.Linear(3, 2)
    prior = torch.tensor([0.8, 0.2])
    video, mask = torch.randn(4, 5, 3), torch.ones(4, 5).bool()
    said = torch.softmax(MeanHead(head, prior)(video, mask) + prior.log(), 1)
    torch.testing.assert_close(said, torch.softmax(head(video.mean(1)), 1))


def test_what_cannot_be_exported_leaves_what_was_there(exported, data, tmp_path):
    recipe, run, _ = exported
    other = write(tmp_path / "other", [*samples(8, "train", seed=9), *samples(4, "valid")])
    with pytest.raises(RunError, match=r"is not what .* was trained on \(counts"):
        assemble(recipe, other, run.parent, tmp_path / "bundle")
    with pytest.raises(RunError, match=r"train '.*' first"):
        assemble(recipe, data, tmp_path, tmp_path / "bundle")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")
    with pytest.raises(RunError, match="holds something that is no bundle"):
        assemble(recipe, data, run.parent, tmp_path / "thesis")
    assert (tmp_path / "thesis/chapter.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "thesis"]


def test_pocket_is_measured_on_prepared_faces_too(data):
    with Bundle.open("pocket") as bundle:
        rows = evaluate_prepared(bundle, data, "valid")
    assert [(row.metric, row.count) for row in rows] == [
        ("accuracy", 12),
        ("macro_f1", 12),
        ("uar", 12),
    ]
    assert all(0 <= row.value <= 1 for row in rows)


def test_faces_of_a_label_that_a_bundle_does_not_know_are_refused(exported, tmp_path):
    *_, folder = exported
    other = write(tmp_path / "set", samples(4, "test", labels=("joy", "contempt")))
    with (
        Bundle.open(folder) as bundle,
        pytest.raises(DataError, match=r"samples of contempt; bundle .* knows neutral, anger"),
    ):
        evaluate_prepared(bundle, other, "test")


# --- the command line ---


def test_fit_and_export_from_the_command_line(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recipe_module, "recipes", lambda: {**recipes(), **TINY})
    monkeypatch.chdir(tmp_path)
    common = ["--recipe", "cnn", "--data", str(data)]
    fitting = ["train", "fit", *common, "--epochs", "1", "--batch-size", "8", "--class-weights"]
    assert code_of(fitting) == 0
    assert "best: accuracy" in capsys.readouterr().out
    for _again in range(2):  # an older bundle is replaced
        assert code_of(["train", "export", *common, "--output", "made"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "runs"]
    with Bundle.open(tmp_path / "made") as bundle:
        assert bundle.manifest.name == "cnn"
    asked = ["train", "evaluate", "--bundle", "made", "--data", str(data), "--split"]
    assert code_of([*asked, "valid"]) == 0
    measured = capsys.readouterr().out.splitlines()[-3:]
    manifest = json.loads((tmp_path / "made" / MANIFEST).read_text())
    assert [float(line.split()[4]) for line in measured] == [
        row["value"] for row in manifest["results"]
    ]
    assert code_of([*asked, "test"]) == exits.NOTHING
    assert "no samples for split test" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "--recipe", "cnn", "--data", "."], exits.NOTHING, "no prepared data set"),
        (["fit", "--recipe", "cnn", "--size", "100"], exits.USAGE, "takes multiples of 56"),
        (["fit", "--recipe", "pocket_face", "--size", "48"], exits.USAGE, "takes none of --size"),
        (["export", "--recipe", "pocket_face"], exits.USAGE, "is a part of pocket"),
        (["export", "--recipe", "cnn"], exits.NOTHING, "best.pt not found: train 'cnn' first"),
        (["fit", "--recipe", "resnet"], exits.USAGE, "'resnet' is not one of cnn, pocket_"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, code, message, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if "--data" not in arguments:
        arguments = [*arguments, "--data", str(data)]
    assert code_of(["train", *arguments]) == code
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert message in " ".join(told.replace("│", " ").split())


def code_of(arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code
