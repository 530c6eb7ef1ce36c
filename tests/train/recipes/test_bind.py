"""Recipes bound to a data set: what they are made for, what is refused, and the command line."""

import json
import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import MANIFEST, read_manifest
from affectstream.engines.bundle.training import RECIPE, TRAINING, WEIGHTS
from affectstream.engines.errors import AffectstreamError
from affectstream.engines.manifest import FaceCrop
from affectstream.stream import OptionError, exits
from affectstream.stream.cli import main
from affectstream.stream.faces.crop import scaled_template
from affectstream.train import model_spec
from affectstream.train.config import FitConfig
from affectstream.train.data.dataset import CropInfo, Dataset
from affectstream.train.data.sample import decode_crop
from affectstream.train.errors import DataError, DataMissing, RunError
from affectstream.train.evaluate.bundle.bundle_metrics import AS_THEY_ARE, measure_bundle
from affectstream.train.export.card import training_data
from affectstream.train.export.net_bundle import assemble
from affectstream.train.fit.checkpoint import load, load_run
from affectstream.train.fit.loop import fit
from affectstream.train.fit.warm_start import load_initial_weights
from affectstream.train.loader.batches import ValidBatches
from affectstream.train.networks.network import NetworkSpec
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.bundle_samples import bundle_samples
from affectstream.train.recipe import count_parameters
from affectstream.train.recipes.documented import (
    cnn,
    tiny_vit,
)
from affectstream.train.recipes.registry import recipes
from affectstream.train.tasks import Task
from tests.support.prepared import (
    SIDE,
    samples,
    utterances,
    write,
)
from tests.support.small_bundles import compound, plain


def evaluated(bundle, data, split):
    found = measure_bundle(bundle, data, split)
    return found.rows, found.by_class


FRAME = FaceCrop(size=48, kind="frame")

CONFIG = FitConfig(
    epochs=1,
    batch_size=8,
    learning_rate=2e-3,
    weight_decay=0.0,
    warmup_epochs=0.0,
    ema_decay=0.5,
    size=56,
    tiny=True,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    return write(folder, [*samples(24, "train", crops=2), *samples(12, "valid", crops=3)])


def learn(recipe, data, run, config=CONFIG, **options):
    return fit(recipe, config, data, run, report=lambda _: None, **options)


def full(recipe, **options):
    return recipe.build(NetworkSpec(7, options={**recipe.options, **options}))


# --- the architectures ---


def test_parameters_of_cnn_are_those_of_its_layers():
    channels = (3, 32, 64, 128)
    pairs = list(pairwise(channels))
    convolutions = sum(9 * a * b for a, b in pairs)
    norms = sum(2 * b for _, b in pairs)
    layers = convolutions + norms + (6272 * 256 + 256) + (256 * 7 + 7)
    assert count_parameters(full(cnn.RECIPE)) == layers == 1_701_159
    fourth = 9 * 128 * 256 + 2 * 256
    assert count_parameters(full(cnn.RECIPE, blocks=4)) == (
        convolutions + norms + fourth + (256 * 7 + 7)
    )


@pytest.mark.parametrize(("layers", "total"), [(4, 1_966_855), (6, 2_856_583)])
def test_parameters_of_tiny_vit_are_those_of_its_layers(layers, total):
    d = 192
    patches, positions = 3 * 16 * 16 * d + d, (14 * 14 + 1) * d
    attention = (d * 3 * d + 3 * d) + (d * d + d)
    mlp = (d * 4 * d + 4 * d) + (4 * d * d + d)
    each = attention + mlp + 2 * 2 * d
    closed = patches + d + positions + layers * each + 2 * d + (d * 7 + 7)
    assert count_parameters(full(tiny_vit.RECIPE, layers=layers)) == closed == total


@pytest.mark.parametrize("recipe", [cnn.RECIPE, tiny_vit.RECIPE], ids=lambda r: r.name)
def test_the_documented_size_exports_in_operators_that_every_runtime_has(recipe, data, tmp_path):
    onnx = pytest.importorskip("onnx", reason="comes with the 'train' extra")
    bound = recipe.bind(data, recipe.defaults)
    assert bound.spec.window.size == 224
    for path in bound.export(bound.module().eval(), tmp_path):
        graph = onnx.load(path)
        assert {o.version for o in graph.opset_import if not o.domain} == {18}
        used = {n.op_type for n in graph.graph.node}
        assert not used & {"Loop", "If", "NonZero", "Resize", "GridSample"}
        assert {n.domain for n in graph.graph.node} == {""}


@pytest.mark.parametrize("temporal", ["transformer", "gru"])
def test_temporal_pools_learn_the_order_of_frames(temporal, data, tmp_path):
    config = replace(CONFIG, options={"temporal": temporal})
    bound = cnn.RECIPE.bind(data, config)
    assert not bound.spec.window.one_frame
    torch.manual_seed(0)
    head = bound.module().eval().head
    video, mask = torch.randn(1, 24, 32), torch.ones(1, 24).bool()
    with torch.no_grad():
        said = head({"video": video, "video_mask": mask})
        turned = head({"video": video.flip(1), "video_mask": mask})
        assert not torch.allclose(said, turned, atol=1e-4)
        mask[0, 12:] = False
        zeros = video * mask.unsqueeze(2)
        kept = head({"video": zeros, "video_mask": mask})
        assert kept.isfinite().all()
    learn(cnn.RECIPE, data, tmp_path / "runs/cnn", config)
    assemble(cnn.RECIPE, data, tmp_path / "runs", tmp_path / "made", report=lambda _: None)


# --- what a network is made for ---


def test_the_spec_follows_the_data_set(data):
    fixed = cnn.RECIPE.bind(data, CONFIG).spec
    (task,) = fixed.tasks
    assert task.labels == ("neutral", "anger", "joy", "surprise")
    assert task.counts == (6, 6, 6, 6)
    assert fixed.window.size == 56
    assert fixed.template == pytest.approx(np.asarray(scaled_template(56)))
    assert (fixed.data.name, fixed.data.source) == ("made-up", "spots on noise")
    plain = cnn.RECIPE.bind(data, CONFIG).spec_dict()
    assert cnn.RECIPE.restore(json.loads(json.dumps(plain))).spec == fixed


def test_one_picture_of_a_sample_is_decoded_once_color_was_found(tmp_path, monkeypatch):
    dataset = Dataset(write(tmp_path / "set", samples(6, "train", crops=5)))
    decoded = []

    def counted(blob):
        decoded.append(blob)
        return decode_crop(blob)

    monkeypatch.setattr(model_spec, "decode_crop", counted)
    assert model_spec.grey_and_tone(dataset, dataset.rows_of("train")) == (False, "natural")
    assert len(decoded) == 6


def test_color_is_removed_if_the_training_data_has_none(data, tmp_path):
    assert not cnn.RECIPE.bind(data, CONFIG).spec.grey
    made = [*samples(8, "train", grey=True), *samples(4, "valid", grey=True)]
    recipe = cnn.RECIPE.bind(write(tmp_path / "grey", made), CONFIG)
    assert recipe.spec.grey
    encoder = recipe.module().eval().video
    grey = torch.full((1, 56, 56, 3), 90, dtype=torch.uint8)
    grey[:, 20:40] = 200
    tinted = grey.clone()
    tinted[..., 0] += 20
    tinted[..., 2] = (grey[..., 2].float() - 20 * 0.299 / 0.114).round().to(torch.uint8)
    torch.testing.assert_close(encoder(tinted), encoder(grey), atol=5e-3, rtol=0)


def test_a_run_is_not_resumed_on_other_data_or_at_another_size(data, tmp_path):
    learn(cnn.RECIPE, data, tmp_path / "run")
    other = write(tmp_path / "other", [*samples(8, "train", seed=9), *samples(4, "valid")])
    with pytest.raises(
        RunError, match=r"other samples \(--data: content_sha256 \w+\.\.\., now \w+"
    ):
        learn(cnn.RECIPE, other, tmp_path / "run", resume=True)
    changed = replace(CONFIG, size=112, options={"blocks": 4})
    with pytest.raises(RunError) as error:
        learn(cnn.RECIPE, data, tmp_path / "run", changed, resume=True)
    said = str(error.value)
    assert (
        f"{tmp_path / 'run'} was started with --size 56, now 112; --set blocks 3, now 4: give"
        in said
    )
    assert "or choose another folder with --runs" in said
    spelled = replace(CONFIG, options={"blocks": 3})  # what it was, by the recipe
    learn(cnn.RECIPE, data, tmp_path / "run", spelled, resume=True)


def older(checkpoint, **view):
    """Make of a checkpoint one of a version that knew neither tones nor participants."""
    saved = load(checkpoint)
    del saved["setting"]["view"]["tone"], saved["setting"]["data"]["participants"]
    saved["setting"]["view"] |= view
    torch.save(saved, checkpoint)


def test_a_checkpoint_without_a_tone_is_read_exported_and_resumed(data, tmp_path):
    run = tmp_path / "runs/cnn"
    learn(cnn.RECIPE, data, run)
    for name in ("best.pt", "last.pt"):
        older(run / name)
    fixed = load_run(cnn.RECIPE, run).recipe.spec
    assert (fixed.window.tone, fixed.data.participants) == ("natural", None)
    assemble(cnn.RECIPE, data, tmp_path / "runs", tmp_path / "made", report=lambda _: None)
    assert read_manifest(tmp_path / "made").crop.tone == "natural"
    more = replace(CONFIG, epochs=CONFIG.epochs + 1)
    learn(cnn.RECIPE, data, run, more, resume=True)
    assert load_run(cnn.RECIPE, run, "last.pt").epoch == CONFIG.epochs


def test_sparse_pictures_are_reported_when_their_order_matters(tmp_path):
    made = [utterances(count, split, crops=2) for count, split in ((16, "train"), (8, "valid"))]
    data = write(tmp_path / "set", [*made[0], *made[1]])
    config = replace(CONFIG, size=48)
    for name, expected in (("temporal_vit", 1), ("resnet50", 0)):
        bound = recipes()[name].bind(data, config)
        notes = bound.loaders(data, config).notes
        assert len(notes) == expected, name
        assert all("pictures for 50% of the 10 points" in n and "--rate 4" in n for n in notes)


def test_resuming_names_the_part_of_the_spec_that_differs(data, tmp_path):
    learn(cnn.RECIPE, data, tmp_path)
    older(tmp_path / "last.pt", frame_hz=4)
    with pytest.raises(RunError, match=r"same flags but with view\.frame_hz 4, now 8"):
        learn(cnn.RECIPE, data, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("participants", "shared", "said"),
    [
        (0, 0, "The data names no participants: the same people may be in several splits."),
        (5, 0, "No participant that the data names is in two splits."),
        (5, 2, "2 participants are in several splits: the results say nothing about new people."),
    ],
)
def test_a_card_states_whether_splits_share_participants(data, participants, shared, said):
    source = cnn.RECIPE.bind(data, CONFIG).spec.data
    assert source.participants == 0
    told = replace(source, participants=participants, shared_participants=shared)
    assert training_data(told).splitlines()[1] == said


class Unsteady(torch.nn.Module):
    """Says something else each time it is asked."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x + 10.0 * self.calls


def test_a_graph_that_differs_from_its_network_is_reported_and_deleted(tmp_path):
    example, path = (torch.ones(2, 3),), tmp_path / "fusion.onnx"
    with pytest.raises(AffectstreamError) as error:
        to_onnx(Unsteady(), example, path, inputs=["x"], outputs=["logits"])
    said = str(error.value)
    assert said.startswith(
        "fusion.onnx: output 'logits' of the exported graph differs from the netw"
    )
    assert "limit 0.0" in said and "or train it anew" in said and "\n" not in said
    assert not list(tmp_path.iterdir())


class Words(torch.nn.Module):
    """The exporter names a value after each operator: here `embedding`, as the output."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(10, 4)

    def forward(self, ids):
        return self.words(ids).mean(1)


def test_a_graph_says_nothing_of_the_machine_and_names_nothing_twice(tmp_path):
    path = tmp_path / "text_encoder.onnx"
    ids = torch.arange(6).reshape(2, 3)
    to_onnx(Words(), (ids,), path, inputs=["ids"], outputs=["embedding"])
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        assert not part.metadata_props and not part.doc_string
    for word in (b"affectstream", b"site-packages", b"test_bind"):
        assert word not in path.read_bytes()
    shapes = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input
    ]
    assert shapes == [["N", 3]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 100}, "--size 100: cnn takes multiples of 56"),
        ({"tasks": ("smell",)}, "--task smell: no such task"),
        ({"options": {"blockz": 4}}, "cnn has no such option; did you mean 'blocks'"),
        ({"options": {"blocks": 2.5}}, "--set blocks=2.5: cnn expects a whole number"),
        ({"options": {"channels": -3}}, "--set channels=-3: cnn expects a whole number, 0 or more"),
        ({"options": {"blocks": 7}}, "--set blocks=7: expected one of 3, 4"),
        ({"options": {"temporal": "lstm"}}, "expected one of mean, transformer, gru"),
        ({"weights": {"video": "none"}}, "--weights video: cnn has no such part"),
    ],
)
def test_options_that_a_recipe_does_not_have_are_refused(changes, message, data):
    with pytest.raises(OptionError, match=message):
        cnn.RECIPE.bind(data, replace(CONFIG, **changes))


def without(field, made):
    for sample in made:
        setattr(sample, field, None)
        if field == "crops":
            sample.crop_times_us = None
        yield sample


@pytest.mark.parametrize(
    ("made", "crop", "message"),
    [
        (lambda: without("crops", samples(8, "train")), None, "has video; the recipe needs pict"),
        (lambda: without("emotion", samples(8, "train")), None, "split train and task emotion"),
        (lambda: samples(8, "train"), None, "no samples for split valid"),
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
            CropInfo("face", SIDE),
            "does not say how they were cropped",
        ),
    ],
)
def test_an_unusable_data_set_is_refused_in_one_line(made, crop, message, tmp_path):
    folder = write(tmp_path / "set", made(), crop)
    with pytest.raises(DataError, match=message) as error:
        learn(cnn.RECIPE, folder, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_no_data_set(tmp_path):
    with pytest.raises(DataMissing, match="is not a prepared data set"):
        learn(cnn.RECIPE, tmp_path, tmp_path / "run")


# --- bundles ---


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """A run's folder and the bundle made of it."""
    root = tmp_path_factory.mktemp("cnn")
    learn(cnn.RECIPE, data, root / "runs/cnn")
    assemble(cnn.RECIPE, data, root / "runs", root / "bundle", report=lambda _: None)
    return root / "runs/cnn", root / "bundle"


def test_a_failed_export_leaves_the_older_bundle(exported, data, tmp_path):
    run, _ = exported
    other = write(tmp_path / "other", [*samples(8, "train", seed=9), *samples(4, "valid")])
    with pytest.raises(RunError, match=r"is not what .* was trained on \(content_sha256"):
        assemble(cnn.RECIPE, other, run.parent, tmp_path / "bundle")
    with pytest.raises(RunError, match=r"train '.*' first"):
        assemble(cnn.RECIPE, data, tmp_path, tmp_path / "bundle")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")
    with pytest.raises(RunError, match="holds something that is no bundle"):
        assemble(cnn.RECIPE, data, run.parent, tmp_path / "thesis")
    assert (tmp_path / "thesis/chapter.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "thesis"]


def test_warm_start_refuses_a_bundle_without_weights(exported, data, tmp_path):
    run, folder = exported
    network = load_run(cnn.RECIPE, run).module
    bare = tmp_path / "bare"
    assemble(cnn.RECIPE, data, run.parent, bare, weights=False, report=lambda _: None)
    kept = [path.name for path in (bare / TRAINING).iterdir()]
    assert kept == [RECIPE] and not (bare / WEIGHTS).exists()
    with pytest.raises(RunError, match=r"has no weights\.safetensors: export it again"):
        load_initial_weights(network, bare, ())
    with pytest.raises(RunError, match="neither a run nor a bundle"):
        load_initial_weights(network, tmp_path, ())
    stranger = torch.nn.Module()
    stranger.out = torch.nn.Linear(2, 2)
    with pytest.raises(RunError, match=r"none of its \d+ tensors fits this network"):
        load_initial_weights(stranger, folder, ())


def test_warm_start_skips_tensors_that_do_not_fit(exported, data, tmp_path, capsys):
    run, folder = exported
    made = [*samples(8, "train", labels=("joy", "anger")), *samples(4, "valid", labels=("joy",))]
    few = write(tmp_path / "few", made)
    module = cnn.RECIPE.bind(few, replace(CONFIG, init=str(folder))).module()
    assert "2 not: head.out.weight, head.out.bias" in capsys.readouterr().err
    before = load_run(cnn.RECIPE, run).module.state_dict()
    assert torch.equal(
        module.state_dict()["video.blocks.0.weight"], before["video.blocks.0.weight"]
    )


def test_warm_start_skips_a_last_layer_of_other_labels(exported, tmp_path, capsys):
    """The same number of labels, so every tensor would fit."""
    others = ("disgust", "joy", "fear", "anger")
    made = [*samples(8, "train", labels=others), *samples(4, "valid", labels=others)]
    other = write(tmp_path / "other", made)
    for folder in exported:  # a run, and a bundle
        states = load_run(cnn.RECIPE, exported[0]).module.state_dict()
        bound = cnn.RECIPE.bind(other, replace(CONFIG, init=str(folder)))
        begun = bound.module().state_dict()
        differ = [name for name in begun if not torch.equal(begun[name], states[name])]
        assert differ == ["head.out.weight", "head.out.bias"]
        said = capsys.readouterr().err
        assert "2 not: head.out.weight, head.out.bias" in said
        assert (
            f"the last layer is initialized anew: {folder} predicts emotion (neutral, anger, joy, surprise); "
            "this network predicts emotion (anger, disgust, fear, joy)"
        ) in said


def test_warm_start_skips_a_last_layer_of_another_order_or_task(exported, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(exported[1], bundle)
    network = load_run(cnn.RECIPE, exported[0]).module
    own = Task("emotion", ("neutral", "anger", "joy", "surprise"))
    last = ["head.out.weight", "head.out.bias"]
    assert load_initial_weights(network, bundle, [own]) == []
    assert load_initial_weights(network, bundle, [Task("emotion", own.labels[::-1])]) == last
    assert load_initial_weights(network, bundle, [Task("emotion_multilabel", own.labels)]) == last
    (bundle / TRAINING / RECIPE).rename(bundle / RECIPE)  # as bundles were before
    (bundle / TRAINING / WEIGHTS).rename(bundle / WEIGHTS)
    assert load_initial_weights(network, bundle, [own]) == []
    (bundle / RECIPE).unlink()
    assert load_initial_weights(network, bundle, [own]) == last


def test_warm_start_takes_over_options_and_side(exported, data):
    for folder in exported:  # a run, and a bundle
        config = replace(CONFIG, init=str(folder), tiny=False, size=None)
        fixed = cnn.RECIPE.bind(data, config).spec
        assert fixed.window.size == 56
        assert fixed.options == {**cnn.RECIPE.options, **cnn.RECIPE.tiny}
        told = replace(config, options={"width": 16}, size=112)
        fixed = cnn.RECIPE.bind(data, told).spec
        assert (fixed.options["width"], fixed.options["channels"]) == (16, 8)
        assert fixed.window.size == 112


def test_warm_start_augments_as_its_own_run_says(tmp_path):
    recipe = recipes()["mel_cnn"]
    data = write(tmp_path / "set", [*utterances(16, "train"), *utterances(8, "valid")])
    learn(recipe, data, tmp_path / "run", replace(CONFIG, augment=False))
    again = replace(CONFIG, init=str(tmp_path / "run"))
    assert recipe.bind(data, again).spec.options["mel_bars"] == recipe.options["mel_bars"] > 0
    assert recipe.bind(data, replace(again, augment=False)).spec.options["mel_bars"] == 0


def test_warm_start_takes_over_the_tokenizer(tmp_path):
    """Learned anew from other words, the same number would stand for another piece."""
    recipe = recipes()["sentence"]
    first = write(tmp_path / "first", [*utterances(16, "train"), *utterances(8, "valid")])
    learn(recipe, first, tmp_path / "run", replace(CONFIG, size=None))
    made = [*utterances(16, "train"), *utterances(8, "valid")]
    for sample in made:
        sample.text = f"{sample.text} quite otherwise"
    other = write(tmp_path / "other", made)
    begun = recipe.bind(first, replace(CONFIG, size=None)).spec
    config = FitConfig(init=str(tmp_path / "run"))
    fixed = recipe.bind(other, config).spec
    assert (fixed.window.tokenizer, fixed.vocabulary) == (begun.window.tokenizer, begun.vocabulary)
    fresh = recipe.bind(other, replace(CONFIG, size=None)).spec
    assert fresh.window.tokenizer != begun.window.tokenizer


def test_a_resumed_run_does_not_need_its_initial_weights(exported, data, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(exported[1], start)
    config = replace(CONFIG, init=str(start), size=None)
    learn(cnn.RECIPE, data, tmp_path / "run", config)
    shutil.rmtree(start)
    learn(cnn.RECIPE, data, tmp_path / "run", replace(config, epochs=2), resume=True)
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 1 + 2


def test_a_card_names_no_folder_of_this_machine(exported, data, tmp_path):
    folder = exported[1]
    config = replace(CONFIG, epochs=1, init=str(folder), size=None)
    learn(cnn.RECIPE, data, tmp_path / "runs" / "cnn", config)
    assemble(cnn.RECIPE, data, tmp_path / "runs", tmp_path / "made", report=lambda _: None)
    card = (tmp_path / "made" / "CARD.md").read_text()
    assert f"from the weights of `{folder.name}`" in " ".join(card.split())
    for file in filter(Path.is_file, (tmp_path / "made").rglob("*")):
        assert str(folder.parent).encode() not in file.read_bytes(), file.name


@pytest.mark.parametrize("options", [{"width": 0}, {"temporal": "transformer", "width": 6}])
def test_options_that_build_no_network_are_refused(data, options):
    bound = cnn.RECIPE.bind(data, replace(CONFIG, options=options))
    with pytest.raises(OptionError, match=r"a layer would be empty|must be divisible"):
        bound.module()


def test_all_tasks_become_one_bundle(tmp_path):
    tasks = ("emotion", "sentiment", "attention", "valence", "engagement", "intensity")
    folder = write(tmp_path / "set", [*utterances(16, "train"), *utterances(8, "valid")])
    learn(cnn.RECIPE, folder, tmp_path / "runs/cnn", replace(CONFIG, tasks=tasks))
    assemble(cnn.RECIPE, folder, tmp_path / "runs", tmp_path / "made", report=lambda _: None)
    with Bundle.open(tmp_path / "made") as bundle:
        assert set(bundle.engines["fusion"].outputs) == {"logits", *tasks[1:]}
        rows, by_class = evaluated(bundle, folder, "valid")
    figures = {row.metric for row in rows}
    assert {f"{task}/accuracy" for task in tasks[:3]} <= figures
    assert {f"{task}/ccc" for task in tasks[3:]} <= figures
    assert [line.split()[0] for line in by_class if "precision" in line] == list(tasks[:3])


def test_a_bundle_may_predict_attention_alone(tmp_path):
    folder = write(tmp_path / "set", [*utterances(16, "train"), *utterances(8, "valid")])
    learn(cnn.RECIPE, folder, tmp_path / "runs/cnn", replace(CONFIG, tasks=("attention",)))
    assemble(cnn.RECIPE, folder, tmp_path / "runs", tmp_path / "made", report=lambda _: None)
    with Bundle.open(tmp_path / "made") as bundle:
        assert bundle.manifest.labels == ()
        assert set(bundle.engines["fusion"].outputs) == {"attention"}
        rows, _ = evaluated(bundle, folder, "valid")
    assert [row.metric for row in rows] == ["accuracy", "f1", "balanced_accuracy", "auc"]


def test_whole_frames_need_no_detector(tmp_path):
    made = [*samples(8, "train"), *samples(4, "valid")]
    folder = write(tmp_path / "set", made, CropInfo("frame", SIDE))
    learn(cnn.RECIPE, folder, tmp_path / "runs/cnn")
    assemble(cnn.RECIPE, folder, tmp_path / "runs", tmp_path / "made", report=lambda _: None)
    with Bundle.open(tmp_path / "made") as bundle:
        assert bundle.manifest.crop.kind == "frame"
        assert "face_detector" not in bundle.engines


def test_pocket_can_be_measured_on_prepared_samples(data, tmp_path):
    with Bundle.open("pocket") as bundle:
        rows, by_class = evaluated(bundle, data, "valid")
        assert {(row.part, row.count) for row in rows} == {("video", 12)}
        assert {"accuracy", "macro_f1", "uar", "ece"} <= {row.metric for row in rows}
        assert all(0 <= row.value <= 1 for row in rows)
        assert len(by_class) == 1 + 7
        made = list(utterances(8, "test"))
        made[0].audio = None
        found = measure_bundle(bundle, write(tmp_path / "talk", made), "test")
    counts = {row.part: row.count for row in found.rows}
    worth = found.importance
    assert (worth.task, worth.metric, worth.samples) == ("emotion", "accuracy", 7)
    assert [one.modality for one in worth.modalities] == ["video", "voice", "text"]
    shares = [one.ablation_percent for one in worth.modalities]
    assert shares == [None] * 3 or sum(shares) == pytest.approx(100, abs=0.2)
    assert counts[AS_THEY_ARE] == 8
    assert (counts["video+voice+text"], counts["voice"], counts["video+text"]) == (7, 7, 8)


def test_a_fused_bundle_is_measured_as_serving_fuses_it(tmp_path):
    made = list(utterances(8, "test"))
    for sample in made:
        sample.emotion = "joy" if sample.emotion in ("joy", "surprise") else "neutral"
    made[0].audio = made[0].text = None  # nothing for the second member
    data = write(tmp_path / "set", made, CropInfo("frame", SIDE))
    both = tmp_path / "both"
    members = [
        plain(both / "seen", takes=("video",), crop=FRAME),
        plain(both / "heard", takes=("voice", "text"), span=(3_000_000, 500_000, 8)),
    ]
    weights = (2.0, 0.5)
    with Bundle.open(compound(both, members, weights)) as bundle:
        shown, (task,) = bundle_samples(bundle, data, "test")
        batches = [ValidBatches(part, size=4) for part in shown]
        joined = bundle_outputs(bundle, *batches, missing=True)
        expected = np.zeros((8, 3))
        for weight, expert, part in zip(weights, bundle.member_bundles, batches, strict=True):
            said = bundle_outputs(expert, part, missing=False)[None]
            expected[said.samples] += weight * said.outputs["logits"]
        assert task.name == "emotion"
        np.testing.assert_allclose(joined[None].outputs["logits"], expected, atol=1e-4)
        assert joined[None].modalities[:2] == ("video", "video+voice+text")
        assert len(joined["voice", "text"].samples) == 7
        rows, _ = evaluated(bundle, data, "test")
    assert {row.part for row in rows} >= {AS_THEY_ARE, "video", "video+voice+text"}


def test_samples_that_a_bundle_cannot_be_measured_on_are_refused(exported, tmp_path):
    _, folder = exported
    strange = write(tmp_path / "set", samples(4, "test", labels=("joy", "contempt")))
    silent = write(tmp_path / "silent", without("crops", utterances(4, "test")))
    whole = write(tmp_path / "whole", samples(4, "test"), CropInfo("frame", SIDE))
    with Bundle.open(folder) as bundle:
        for at, message in (
            (strange, r"samples of contempt; bundle .* knows neutral, anger"),
            (silent, "has none of the modalities of bundle 'cnn': video"),
            (whole, "crops of kind frame, expected face"),
        ):
            with pytest.raises(DataError, match=message):
                measure_bundle(bundle, at, "test")


# --- the command line ---


def test_fit_and_export_from_the_command_line(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    common = ["--recipe", "cnn", "--data", str(data)]
    fitting = [*common, "--epochs", "1", "--batch-size", "8", "--size", "56", "--class-weights"]
    assert code_of(["train", "fit", *fitting]) == 0
    assert "accuracy" in capsys.readouterr().out
    export = ["train", "export", *common, "--output", "made"]
    assert code_of(export) == 0
    assert "uar" in capsys.readouterr().out
    before = Path("made", MANIFEST).read_bytes()
    assert code_of(export) == exits.USAGE
    assert "already holds a bundle: replace it with --overwrite" in capsys.readouterr().err
    assert Path("made", MANIFEST).read_bytes() == before
    assert code_of([*export, "--overwrite"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "runs"]
    with Bundle.open(tmp_path / "made") as bundle:
        assert bundle.manifest.name == "cnn"
    capsys.readouterr()
    asked = ["train", "evaluate", "--bundle", "made", "--data", str(data), "--split"]
    assert code_of([*asked, "valid"]) == 0
    told = capsys.readouterr().out
    manifest = json.loads((tmp_path / "made" / MANIFEST).read_text())
    measured = [line for line in told.splitlines() if "(n = 12)" in line]
    assert [float(line.split()[4]) for line in measured] == [
        row["value"] for row in manifest["results"]
    ]
    assert "precision" in told and "surprise" in told
    assert code_of([*asked, "test"]) == exits.NOTHING
    assert "no samples for split test" in capsys.readouterr().err


@pytest.mark.slow
def test_export_goes_on_to_build_plans(exported, data, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    run, _ = exported
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "home"))
    made = ["--recipe", "cnn", "--data", str(data), "--runs", str(run.parent)]
    asked = ["train", "export", *made, "-o", str(tmp_path / "made"), "--no-weights", "--build"]
    assert code_of(asked) == 0
    told = capsys.readouterr().out
    assert "face_encoder" in told and "plans are in" in told
    plans = [path for path in (tmp_path / "home/plans").rglob("*") if path.is_file()]
    assert len(plans) >= 3


def test_export_says_where_no_plan_can_be_built_and_leaves_the_bundle(
    exported, data, tmp_path, monkeypatch, capsys
):
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}_bindings", None)
    monkeypatch.setattr("affectstream.engines.runtimes.nvidia._loaded", {})
    run, _ = exported
    made = ["--recipe", "cnn", "--data", str(data), "--runs", str(run.parent)]
    asked = ["train", "export", *made, "-o", str(tmp_path / "made"), "--no-weights", "--build"]
    assert code_of(asked) == exits.NOTHING
    told = capsys.readouterr().err
    assert (
        "--build: no plan was built" in told and f"the bundle in {tmp_path / 'made'} works" in told
    )
    assert "tensorrt-rtx is not installed" in told and "pip install" in told
    with Bundle.open(tmp_path / "made"):
        pass


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "--recipe", "cnn", "--data", "."], exits.NOTHING, "is not a prepared data set"),
        (["fit", "--recipe", "cnn", "--size", "100"], exits.USAGE, "takes multiples of 56"),
        (["export", "--recipe", "face_detector"], exits.USAGE, "is one engine of a bundle"),
        (["export", "--recipe", "cnn"], exits.NOTHING, "best.pt not found: train 'cnn' first"),
        (["fit", "--recipe", "resnet"], exits.USAGE, "'resnet' is not one of cnn"),
    ],
)
def test_impossible_commands_state_the_reason(
    arguments, code, message, data, tmp_path, monkeypatch, capsys
):
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
