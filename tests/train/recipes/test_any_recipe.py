"""Any recipe becomes a bundle; any bundle streams. Each one at its smallest, on made-up samples."""

import json
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.bundle.training import RECIPE, TRAINING, WEIGHTS
from affectstream.engines.labels import subsets
from affectstream.stream import Recognizer
from affectstream.stream.demo import babble
from affectstream.train.config import FitConfig
from affectstream.train.export.net_bundle import assemble
from affectstream.train.fit.checkpoint import load_run
from affectstream.train.fit.loop import fit
from affectstream.train.networks.network import LastLayer
from affectstream.train.onnx.engine_files import served_head
from affectstream.train.onnx.stored_weights import store_weights_as_int8
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.recipes.registry import recipes
from tests.support.media import Sound, Text, write_video
from tests.support.prepared import (
    LABELS,
    again,
    utterances,
    write,
)

FAST = {"cnn"}
"""The others take seconds to minutes each."""
NAMES = [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name, recipe in sorted(recipes().items())
    if isinstance(recipe, NetRecipe)
]
LEAST_SIDE = 48


@cache
def recipe_of(name):
    return recipes()[name]


def config_of(name, **changes):
    multiple = recipe_of(name).multiple
    size = -(-LEAST_SIDE // multiple) * multiple
    fast = FitConfig(
        epochs=2, batch_size=8, learning_rate=2e-3, weight_decay=0.0, warmup_epochs=0.0
    )
    return replace(fast, ema_decay=0.5, tiny=True, size=size, **changes)


def learn(name, config, data, run, **options):
    return fit(recipe_of(name), config, data, run, report=lambda _: None, **options)


@pytest.fixture(scope="module")
def clip(portrait, tmp_path_factory):
    """Four seconds of a real face, of what a voice detector takes for speech, and of words."""
    frames = [np.roll(portrait, (i % 4, i % 6), axis=(0, 1)) for i in range(32)]
    return write_video(
        tmp_path_factory.mktemp("clip") / "face.mkv",
        frames,
        rate=8,
        sound=Sound(babble(6)[: 4 * 16_000, None], 16_000),
        text=Text([(0.1, 0.9, "oh no really")], codec="srt", language="eng"),
    )


@pytest.fixture(scope="module")
def network(data):
    """Of a recipe's name: the recipe for the data, its network and one batch."""

    @cache
    def made(name):
        config = config_of(name, augment=False, modality_dropout=0.0)
        bound = recipe_of(name).bind(data, config)
        torch.manual_seed(0)
        module = bound.module()
        return bound, module, next(iter(bound.loaders(data, config).train.epoch(0)))

    return made


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter_that_learns(name, network):
    bound, module, batch = network(name)
    module.train()
    # Each modality is missing once, as in training: some parameters stand in for what is.
    masks = {f"{m}_mask": batch[f"{m}_mask"].clone() for m in bound.modalities}
    for row, mask in enumerate(masks.values()):
        mask[row] &= len(masks) == 1
    bound.loss(module, {**batch, **masks}).backward()
    for called, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, called
            assert parameter.grad.isfinite().all(), called
            assert parameter.grad.abs().max() > 0, called
    module.zero_grad()


@pytest.mark.parametrize("name", ["mel_cnn", "ensemble"])
def test_without_augmentation_nothing_is_hidden_of_the_sound(name, data):
    """SpecAugment is part of the network, since that computes the log-mels."""

    def forward_twice(config):
        bound = recipe_of(name).bind(data, config)
        voice = bound.build(bound.spec.network_spec(load_weights=False)).voice.train()
        batch = next(iter(bound.loaders(data, config).train.epoch(0)))
        return voice(batch["samples"]), voice(batch["samples"])

    still = config_of(name, augment=False)
    first, second = forward_twice(still)
    assert torch.equal(first, second)
    first, second = forward_twice(replace(still, augment=True))
    assert not torch.equal(first, second)
    first, second = forward_twice(replace(still, options={"mel_bars": 2}))  # given, so it stays
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("clean", "least", "most"), [(0.0, 0, 0), (0.5, 12, 28), (0.99, 36, 40)])
def test_a_share_of_the_sounds_stays_as_it_is(clean, least, most, data):
    config = config_of("mel_cnn", clean_sound=clean, batch_size=4)
    bound = recipe_of("mel_cnn").bind(data, config)
    module, batches = bound.module(), bound.loaders(data, config).train
    same = count = 0

    def listen(encoder, inputs):
        nonlocal same, count
        same += int((inputs[0] == samples).all(1).sum())
        count += len(samples)

    module.voice.register_forward_pre_hook(listen)
    for epoch in range(40):
        batch = next(iter(batches.epoch(epoch)))
        samples = batch["samples"].clone()
        bound.loss(module, batch)
        if count >= 40:
            break
    assert count == 40 and least <= same <= most


@pytest.mark.parametrize("name", NAMES)
def test_every_input_matters_and_none_is_required(name, network):
    bound, module, batch = network(name)
    module.eval()
    masks = [f"{m}_mask" for m in bound.modalities] + ["metadata_mask"] * bound.metadata
    with torch.no_grad():
        whole = module(batch)
        assert whole.isfinite().all()
        for mask in masks:
            hidden = {**batch, mask: torch.zeros_like(batch[mask])}
            said = module(hidden)
            assert said.isfinite().all(), mask
            assert (said - whole).abs().max() > 1e-6, mask
        nothing = {**batch, **{mask: torch.zeros_like(batch[mask]) for mask in masks}}
        assert module(nothing).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_it_overfits_32_samples(name, tmp_path):
    folder = write(tmp_path / "set", [*utterances(32, "train"), *again(utterances(32, "train"))])
    config = config_of(name, augment=False, modality_dropout=0.0, epochs=60)
    reached = []

    def watch(epoch, figures):
        reached.append(figures["accuracy"])
        if reached[-1] >= 0.95:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        learn(name, config, folder, tmp_path / "run", on_epoch=watch)
    assert max(reached) >= 0.95, reached


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_has_the_same_curve(name, data, tmp_path):
    config = config_of(name)

    def stop(epoch, figures):
        raise KeyboardInterrupt

    learn(name, config, data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        learn(name, config, data, tmp_path / "half", on_epoch=stop)
    learn(name, config, data, tmp_path / "half", resume=True)
    curves = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("half", "whole")]
    assert len(curves[0]) == 3
    assert untimed(curves[0]) == untimed(curves[1])


def untimed(lines):
    """Rows of a log without what the clock and the machine say."""
    names = lines[0].split(",")
    keep = [i for i, n in enumerate(names) if n not in ("seconds", "megabytes", "peak_mb")]
    return [[line.split(",")[i] for i in keep] for line in lines]


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """Of a recipe's name: its run's folder and the bundle made of it."""

    @cache
    def made(name):
        root = tmp_path_factory.mktemp(name)
        learn(name, config_of(name), data, root / "runs" / name)
        assemble(recipe_of(name), data, root / "runs", root / "bundle", report=lambda _: None)
        return root / "runs" / name, root / "bundle"

    return made


@pytest.mark.parametrize("name", NAMES)
def test_torch_and_engines_agree(name, exported, data):
    run, folder = exported(name)
    trained = load_run(recipe_of(name), run)
    bound, module = trained.recipe, trained.module
    (batch,) = bound.loaders(data, config_of(name)).valid
    head = served_head(module, bound.spec)
    # Weights in 8 bits are other weights, a little.
    close = 0.05 if bound.store_weights is store_weights_as_int8 else 1e-3
    with Bundle.open(folder) as bundle, torch.no_grad():
        said = bundle_outputs(bundle, [batch], missing=True)
        for subset in [None, *subsets(bound.modalities)]:
            gone = [m for m in bound.modalities if subset and m not in subset]
            shown = {**batch, **{f"{m}_mask": batch[f"{m}_mask"] & False for m in gone}}
            inputs = module.encode(shown)
            wanted = head(*(inputs[name] for name in head.inputs))
            for output, expected in zip(head.outputs, wanted, strict=True):
                found = said[subset].outputs[output]
                np.testing.assert_allclose(found, expected.numpy(), atol=close)


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_streams_a_clip(name, exported, clip):
    _, folder = exported(name)
    wanted = recipe_of(name).modalities
    with Recognizer.open(folder, threads=1) as recognizer:
        assert recognizer.bundle.modalities == wanted
        result = recognizer.score(clip)
    assert result.complete, result.detail
    told = [event for event in result.events if event.type == "emotion" and event.scores]
    assert told
    assert {m for event in told for m in event.modalities} == set(wanted)
    for event in told:
        assert set(event.scores) == set(LABELS)
        assert sum(event.scores.values()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_describes_itself(name, exported):
    run, folder = exported(name)
    manifest = json.loads((folder / MANIFEST).read_text())
    recipe = recipe_of(name)
    assert manifest["name"] == name
    assert manifest["labels"] == ["neutral", "anger", "joy", "surprise"]
    assert manifest["window_us"] == recipe.window_us
    assert len(manifest.get("metadata", [])) == 8 * recipe.metadata
    everything = ["+".join(subset) for subset in subsets(recipe.modalities)]
    assert sorted(manifest["calibration"]["temperature"]) == sorted(everything)
    measured = {row["part"]: row["count"] for row in manifest["results"]}
    assert measured == dict.fromkeys(everything, 12)
    figures = load_run(recipe, run).metrics
    exact = {r["metric"]: r["value"] for r in manifest["results"] if r["part"] == everything[0]}
    assert set(figures) - {"valid_loss"} == set(exact) - {"ece"}
    assert "spots on noise" in (folder / "CARD.md").read_text()
    assert "spots on noise" in (folder / "LICENSE").read_text()
    assert (folder / TRAINING / RECIPE).is_file() and (folder / TRAINING / WEIGHTS).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_layers_that_depend_on_the_labels_are_last_layers(name, network):
    bound, module, _ = network(name)
    wider = replace(bound.spec.network_spec(load_weights=False), outputs=len(LABELS) + 1)
    shapes = {key: value.shape for key, value in bound.build(wider).state_dict().items()}
    depends = {key for key, value in module.state_dict().items() if shapes[key] != value.shape}
    marked = {
        f"{key}.{part}"
        for key, layer in module.named_modules()
        if isinstance(layer, LastLayer)
        for part in ("weight", "bias")
    }
    assert depends == marked != set()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_and_a_bundle_can_be_started_from(name, exported, data, capsys):
    run, folder = exported(name)
    states = load_run(recipe_of(name), run).module.state_dict()
    for start in (run, folder):
        bound = recipe_of(name).bind(data, config_of(name, init=str(start)))
        begun = bound.module().state_dict()
        assert set(begun) == set(states)
        assert all(torch.equal(begun[key], states[key]) for key in states)
        assert f"{len(states)} of {len(states)} tensors loaded" in capsys.readouterr().err
