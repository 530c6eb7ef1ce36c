"""The networks of the vision recipes: their sizes, their masks, their graphs and their weights."""

import urllib.request
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")
models = pytest.importorskip("torchvision.models", reason="training needs the 'train' extra")

import onnx
import onnxruntime
from safetensors.torch import save_file

from affectstream.stream.errors import OptionError
from affectstream.train.errors import WeightsError, WeightsMissing
from affectstream.train.fit.machine import recompute_activations
from affectstream.train.networks.network import NetworkSpec
from affectstream.train.networks.vision import IMAGENET, normalize_pixels
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipe import count_parameters
from affectstream.train.recipes.documented import (
    mimamo,
    resnet50,
    temporal_vit,
    vit_b16,
)

RECIPES = {m.RECIPE.name: m.RECIPE for m in (resnet50, vit_b16, temporal_vit, mimamo)}
SIDE = 64


def full_plan(recipe, **changes):
    spec = NetworkSpec(
        outputs=7,
        frames=recipe.window_us * recipe.frame_hz // 1_000_000,
        options=recipe.options,
        weights=dict.fromkeys(recipe.backbones, "none"),
        metadata=8 if recipe.metadata else 0,
    )
    return replace(spec, **changes)


def tiny_spec(recipe, options=(), **changes):
    """A window of few frames; the small stem of `resnet50` has fine maps of small pictures too."""
    sizes = {
        "options": recipe.options | recipe.tiny | dict(options),
        "size": SIDE // 2 if recipe.name == "resnet50" else SIDE,
        "frames": 5,
        "tokens": 12,
        "vocabulary": 50,
    }
    return full_plan(recipe, **{**sizes, **changes})


def tiny(recipe, options=(), seed=0, **changes):
    torch.manual_seed(seed)
    return recipe.build(tiny_spec(recipe, options, **changes))


def batch_of(network, spec, rows=3, seed=0):
    """Everything there is, of made-up samples."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, spec.frames, spec.size, spec.size, 3)
    batch = {
        "pixels": torch.randint(0, 256, shape, generator=generator).to(torch.uint8),
        "video_mask": torch.ones(rows, spec.frames, dtype=torch.bool),
    }
    if network.text is not None:
        ids = torch.randint(1, spec.vocabulary, (rows, spec.tokens), generator=generator)
        batch |= {"ids": ids, "tokens_mask": ids > 10, "text_mask": torch.ones(rows, 1) > 0}
    if "metadata" in network.head.takes:
        numbers = torch.rand(rows, spec.metadata, generator=generator)
        batch |= {"metadata": numbers, "metadata_mask": torch.ones_like(numbers) > 0}
    return batch


def served(network, batch):
    with torch.no_grad():
        return network.eval()(batch)


# Sizes


def linear(inputs, outputs):
    return inputs * outputs + outputs


def backbone(weights, last):
    """What torchvision says that a network has, without its 1,000 classes on embeddings of `last`."""
    return weights.meta["num_params"] - linear(last, 1000)


def transformer(width, inner, layers, frames):
    norm = 2 * width
    layer = linear(width, 3 * width) + linear(width, width) + 2 * norm
    layer += linear(width, inner) + linear(inner, width)
    return layers * layer + norm + frames * width


RESNET50 = backbone(models.ResNet50_Weights.IMAGENET1K_V2, 2048)
VIT = backbone(models.ViT_B_16_Weights.IMAGENET1K_V1, 768)
RESNET18 = backbone(models.ResNet18_Weights.IMAGENET1K_V1, 512)
BERT_BASE = 109_482_240
"""With its pooler: bert-base-uncased."""
GRU = 2 * 3 * (512 * 256 + 256 * 256 + 2 * 256)
"""Two directions, three gates, two biases each as torch has it."""
CLOSED = {
    "resnet50": RESNET50 + linear(2048, 512) + linear(512, 7),
    "vit_b16": VIT + linear(768, 256) + linear(256, 7),
    "temporal_vit": VIT + transformer(768, 2048, 2, 10) + linear(768, 256) + linear(256, 7),
    "mimamo": RESNET18
    + 512
    + BERT_BASE
    + GRU
    + linear(768, 256)
    + linear(512 + 256 + 16, 256)
    + linear(256, 7),
}
COUNTS = {
    "resnet50": 24_560_711,
    "vit_b16": 85_997_319,
    "temporal_vit": 97_034_503,
    "mimamo": 122_241_607,
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_parameters_at_full_size_are_those_of_the_layers(recipe):
    with torch.device("meta"):
        network = recipe.build(full_plan(recipe))
    assert count_parameters(network) == CLOSED[recipe.name] == COUNTS[recipe.name]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_phases_name_existing_parameters(recipe):
    with torch.device("meta"):
        network = recipe.build(full_plan(recipe))
    names = [name for name, _ in network.named_parameters()]
    for phase in recipe.phases:
        for prefix in (*phase.frozen, *phase.rates):
            assert any(name.startswith(f"{prefix}.") or name == prefix for name in names), prefix


@pytest.mark.parametrize(("name", "free"), [("vit_b16", 5), ("temporal_vit", 5)])
def test_eight_of_twelve_blocks_join_last(name, free):
    """Four blocks, and the norm behind them."""
    *_, second, last = RECIPES[name].phases
    with torch.device("meta"):
        video = RECIPES[name].build(full_plan(RECIPES[name])).video
    parts = [f"video.backbone.encoder.layers.encoder_layer_{i}" for i in range(12)]
    parts += ["video.backbone.encoder.ln"]
    assert len(parts) - sum(part in second.frozen for part in parts) == free
    assert not last.frozen and last.rates == {"video": 0.1}
    assert len(video.backbone.encoder.layers) == 12


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_windows_are_whole_hops_of_whole_frames(recipe):
    assert recipe.window_us % recipe.hop_us == 0
    assert recipe.hop_us * recipe.frame_hz % 1_000_000 == 0


# What goes in


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_shapes_and_gradients_of_every_parameter(recipe):
    network, spec = tiny(recipe), tiny_spec(recipe)
    out = network(batch_of(network, spec))
    assert out.shape == (3, 7) and out.dtype == torch.float32
    out.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if parameter.ndim > 1:
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_activation_checkpointing_gives_the_same_gradients(recipe):
    spec = tiny_spec(recipe)
    found = []
    for checkpointing in (False, True):
        network = tiny(recipe)
        network.video.checkpointing = checkpointing
        torch.manual_seed(1)  # of the dropout
        network(batch_of(network, spec)).square().sum().backward()
        found.append([p.grad for p in network.video.parameters()])
    for kept, again in zip(*found, strict=True):
        torch.testing.assert_close(again, kept)


POOLS = [(name, "") for name in RECIPES]
POOLS += [("resnet50", "gru"), ("vit_b16", "transformer")]


@pytest.mark.parametrize(("name", "temporal"), POOLS)
def test_a_masked_frame_has_no_effect_and_a_present_one_has(name, temporal):
    recipe = RECIPES[name]
    options = {"temporal": temporal} if temporal else {}
    network, spec = tiny(recipe, options), tiny_spec(recipe, options)
    batch = batch_of(network, spec)
    everything = served(network, batch)
    batch["video_mask"][:, 1] = False
    without = served(network, batch)
    assert not torch.allclose(without, everything, atol=1e-6)
    batch["pixels"][:, 1] = 0
    assert torch.equal(served(network, batch), without)
    inputs = network.encode(batch)
    inputs["video"] = inputs["video"].masked_fill(~batch["video_mask"].unsqueeze(2), 100.0)
    with torch.no_grad():
        torch.testing.assert_close(network.head(inputs), without)


@pytest.mark.parametrize(("name", "temporal"), POOLS)
def test_a_row_without_input_gives_finite_numbers(name, temporal):
    recipe = RECIPES[name]
    options = {"temporal": temporal} if temporal else {}
    network, spec = tiny(recipe, options), tiny_spec(recipe, options)
    batch = batch_of(network, spec)
    for key in batch:
        if key.endswith("_mask"):
            batch[key] = torch.zeros_like(batch[key])
    assert torch.isfinite(served(network, batch)).all()


@pytest.mark.parametrize(
    ("name", "temporal", "matters"),
    [
        ("vit_b16", "mean", False),
        ("vit_b16", "gru", True),
        ("vit_b16", "transformer", True),
        ("temporal_vit", "", True),
        ("mimamo", "", True),
    ],
)
def test_whether_the_order_of_the_frames_matters(name, temporal, matters):
    recipe = RECIPES[name]
    options = {"temporal": temporal} if temporal else {}
    network, spec = tiny(recipe, options), tiny_spec(recipe, options)
    batch = batch_of(network, spec)
    forward = served(network, batch)
    batch["pixels"] = batch["pixels"].flip(1)
    assert torch.allclose(served(network, batch), forward, atol=1e-6) != matters


@pytest.mark.parametrize("hidden", ["text_mask", "metadata_mask", "video_mask"])
def test_every_input_of_mimamo_counts_and_may_be_absent(hidden):
    recipe = RECIPES["mimamo"]
    network, spec = tiny(recipe), tiny_spec(recipe)
    batch = batch_of(network, spec)
    everything = served(network, batch)
    batch[hidden] = torch.zeros_like(batch[hidden])
    without = served(network, batch)
    assert torch.isfinite(without).all()
    assert ((without - everything).abs().amax(1) > 1e-5).all()
    # What is hidden may be anything.
    other = {"text_mask": "ids", "metadata_mask": "metadata", "video_mask": "pixels"}[hidden]
    batch[other] = torch.zeros_like(batch[other])
    assert torch.equal(served(network, batch), without)


def test_attention_of_mimamo_peaks_where_the_picture_differs():
    """A cell that the scores prefer gets the attention, and the embedding is that cell's."""
    network = tiny(RECIPES["mimamo"], size=128)
    encoder = network.video.eval()
    pixels = torch.zeros(1, 128, 128, 3, dtype=torch.uint8)
    pixels[:, 96:, :32] = torch.randint(0, 256, (1, 32, 32, 3)).to(torch.uint8)
    with torch.no_grad():
        embedding, attention = encoder(pixels)
        encoder.attend.weight.mul_(100)
        sharp, picked = encoder(pixels)
    assert embedding.shape == (1, 512) and attention.shape == (1, 4, 4)
    torch.testing.assert_close(attention.sum((1, 2)), torch.ones(1))
    assert picked.max() > attention.max()
    assert not torch.allclose(sharp, embedding)


@pytest.mark.parametrize("normalization", [None, IMAGENET])
def test_pictures_are_normalized_as_the_weights_need(normalization):
    pixels = torch.randint(0, 256, (2, 8, 8, 3)).to(torch.uint8)
    found = normalize_pixels(pixels, grey=False, normalization=normalization)
    assert found.shape == (2, 3, 8, 8)
    torch.testing.assert_close(
        normalize_pixels(pixels.float(), grey=False, normalization=normalization), found
    )
    if normalization is None:
        torch.testing.assert_close(found.mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
        deviation = found.std((1, 2, 3), correction=0)
        assert ((deviation > 0.85) & (deviation < 1.0)).all()
    else:
        means, deviations = np.float32(normalization.mean), np.float32(normalization.deviation)
        wanted = (pixels.numpy() / np.float32(255) - means) / deviations
        np.testing.assert_allclose(found.numpy(), wanted.transpose(0, 3, 1, 2), atol=1e-5)


def test_a_grey_network_ignores_color():
    network = tiny(RECIPES["resnet50"], grey=True, size=SIDE)
    pixels = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    pixels[0, :32, :, 0] = 100  # red and green of the same brightness
    pixels[1, :32, :, 1] = round(100 * 0.299 / 0.587)
    with torch.no_grad():
        red, green = network.video.eval()(pixels)
    torch.testing.assert_close(red, green, atol=2e-3, rtol=1e-2)


def test_the_small_stem_keeps_a_finer_map_and_the_same_tensors():
    coarse, fine = (
        tiny(RECIPES["resnet50"], {"stem": stem}, size=SIDE).video.eval()
        for stem in ("imagenet", "small")
    )
    fine.load_state_dict(coarse.state_dict())
    sides = []
    for encoder in (coarse, fine):
        encoder.backbone.layer4.register_forward_hook(lambda *a: sides.append(a[2].shape[-1]))
        with torch.no_grad():
            encoder(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8))
    assert sides == [SIDE // 32, SIDE // 16]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "resnet50",
            {"blocks": "3-4-6"},
            "expected the blocks of the four stages, such as 3-4-6-3",
        ),
        ("resnet50", {"blocks": "3-4-x-3"}, "--set blocks=3-4-x-3"),
        (
            "vit_b16",
            {"heads": 5},
            "--set heads=5: vit_b16 cannot be built so: embed_dim must be divisible",
        ),
        ("vit_b16", {"patch": 24}, "patches do not divide a side of 64 pixels"),
        (
            "temporal_vit",
            {"width": 44},
            "--set width=44: temporal_vit cannot be built so: embed_dim",
        ),
    ],
)
def test_options_that_do_not_fit_are_named(name, options, message):
    recipe, spec = RECIPES[name], tiny_spec(RECIPES[name], options)
    bound = replace(recipe, bound_spec=SimpleNamespace(network_spec=lambda **_: spec))
    with pytest.raises(OptionError, match=message):
        replace(bound, user_options=options).module()


# Graphs


class Flat(torch.nn.Module):
    """A head with its inputs one after the other, as a graph has them."""

    def __init__(self, head, names):
        super().__init__()
        self.head, self.names = head, names

    def forward(self, *arrays):
        return self.head(dict(zip(self.names, arrays, strict=True)))


@pytest.mark.filterwarnings("ignore")  # the exporter warns of itself
@pytest.mark.parametrize(("name", "temporal"), POOLS)
def test_graphs_agree_for_any_batch(name, temporal, tmp_path):
    """`to_onnx` compares them on its example of two rows; here on others."""
    recipe = RECIPES[name]
    options = {"temporal": temporal} if temporal else {}
    network, spec = tiny(recipe, options).eval(), tiny_spec(recipe, options)
    exported = exports(network, spec, tmp_path)
    for rows in (1, 5):
        batch = batch_of(network, spec, rows, seed=rows)
        batch["video_mask"][:, 2:] = torch.rand(rows, spec.frames - 2) > 0.5
        pictures = batch["pixels"].flatten(0, 1)
        with torch.no_grad():
            looked, inputs = network.video(pictures), network.encode(batch)
            wanted = [network.head(inputs)]
        wanted += looked if network.video.extra_outputs else [looked]
        found = run(exported["head"], inputs)
        found += run(exported["video"], {"pixels": pictures})
        for want, got in zip(wanted, found, strict=True):
            np.testing.assert_allclose(got, want.numpy(), atol=1e-3)


def exports(network, spec, folder):
    """The files of the picture encoder and of the head."""
    files = {"video": folder / "video.onnx", "head": folder / "head.onnx"}
    batch = batch_of(network, spec, 2)
    with torch.no_grad():
        inputs = network.encode(batch)
    outputs = ["embedding", *network.video.extra_outputs]
    example = (batch["pixels"][:, 0],)
    to_onnx(network.video, example, files["video"], inputs=["pixels"], outputs=outputs)
    flat = Flat(network.head, list(inputs))
    example = tuple(inputs.values())
    to_onnx(flat, example, files["head"], inputs=list(inputs), outputs=["logits"])
    return files


def run(path, feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = [i.name for i in session.get_inputs()]
    return session.run(None, {name: feeds[name].numpy() for name in taken})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "temporal"), POOLS)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_graphs_become_plans(name, temporal, precision, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    from affectstream.bench.engines.plans import PROFILE
    from affectstream.engines.fp16.graph import fp16_model
    from affectstream.engines.plans.build import BuildOptions, build
    from affectstream.engines.plans.target import target_for

    recipe = RECIPES[name]
    options = {"temporal": temporal} if temporal else {}
    network, spec = tiny(recipe, options).eval(), tiny_spec(recipe, options)
    for path in exports(network, spec, tmp_path).values():
        graph = path
        if precision == "fp16":
            graph = path.with_suffix(".half.onnx")
            onnx.save(fp16_model(onnx.load(str(path)), path.name), str(graph))
        wanted = BuildOptions(precision=precision, profiles=(PROFILE,))
        built = build(graph, wanted, target_for("tensorrt-rtx"), name=path.name)
        assert built.types.precision == precision


# Weights


def bare(network):
    """A network of torchvision with its classifier, and the tensors of it that are loaded."""
    states = network.state_dict()
    classifier = ("fc.", "heads.")
    return states, {k: v for k, v in states.items() if not k.startswith(classifier)}


def tiny_vit(size=SIDE):
    torch.manual_seed(5)
    return models.VisionTransformer(size, 16, 2, 4, 48, 192)


def with_weights(name, source, **changes):
    return tiny(RECIPES[name], weights={"video": str(source), "text": "none"}, **changes)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file_or_a_folder(suffix, tmp_path):
    states, kept = bare(tiny_vit())
    path = tmp_path / f"some{suffix}"
    save_file(states, path) if suffix == ".safetensors" else torch.save(states, path)
    for source in (path, tmp_path):
        encoder = with_weights("vit_b16", source).video
        assert encoder.normalization == IMAGENET
        for name, value in encoder.backbone.state_dict().items():
            assert torch.equal(value, kept[name]), name
    assert tiny(RECIPES["vit_b16"]).video.normalization is None


def test_positions_are_interpolated_to_another_side(tmp_path):
    states, kept = bare(tiny_vit())
    torch.save(states, tmp_path / "w.pth")
    found = with_weights("vit_b16", tmp_path / "w.pth", size=96).video.backbone
    name = "encoder.pos_embedding"
    before, after = kept[name][0], found.state_dict()[name][0]
    assert after.shape == (37, 48)
    for old, new in ((0, 0), (1, 1), (4, 6), (16, 36)):  # the class token, and three corners
        torch.testing.assert_close(after[new], before[old], atol=1e-6, rtol=1e-5)
    assert torch.equal(found.conv_proj.weight, kept["conv_proj.weight"])


def test_a_checkpoint_needs_no_weights_but_keeps_their_normalization(tmp_path):
    states, _ = bare(tiny_vit())
    torch.save(states, tmp_path / "w.pth")
    network, spec = with_weights("vit_b16", tmp_path / "w.pth"), tiny_spec(RECIPES["vit_b16"])
    (tmp_path / "w.pth").unlink()
    again = with_weights("vit_b16", tmp_path / "w.pth", load_weights=False, seed=1)
    again.load_state_dict(network.state_dict())
    batch = batch_of(network, spec)
    assert torch.equal(served(again, batch), served(network, batch))


def test_a_public_name_is_found_in_the_folder_of_torch_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    states, kept = bare(models.resnet18())
    torch.save(states, file)
    found = with_weights("mimamo", "ResNet18_Weights.IMAGENET1K_V1", options={"depth": 2})
    assert torch.equal(found.video.backbone.layer4[1].conv2.weight, kept["layer4.1.conv2.weight"])
    file.write_bytes(b"not a file of tensors")
    with pytest.raises(WeightsError, match=r"resnet18-f37072fd\.pth: cannot be read"):
        with_weights("mimamo", "ResNet18_Weights.IMAGENET1K_V1", options={"depth": 2})


def test_offline_errors_say_how_to_get_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)
    with pytest.raises(WeightsMissing) as told:
        RECIPES["resnet50"].build(
            full_plan(RECIPES["resnet50"], weights=RECIPES["resnet50"].backbones)
        )
    message = str(told.value)
    for part in (
        "video=ResNet50_Weights.IMAGENET1K_V2",
        str(tmp_path / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"),
        "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        "$TORCH_HOME",
        "--weights video=FILE",
        "--weights video=none",
    ):
        assert part in message
    assert not list((tmp_path / "hub" / "checkpoints").iterdir())


def spoiled(states, change):
    states = dict(states)
    if change == "shape":
        states["conv_proj.bias"] = torch.zeros(5)
    elif change == "missing":
        del states["encoder.ln.weight"]
    elif change == "unknown":
        states["extra"] = torch.zeros(1)
    return states


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("shape", r"conv_proj\.bias is \[5\], expected \[48\]"),
        ("missing", r"encoder\.ln\.weight is missing"),
        ("unknown", r"extra is not known"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message, tmp_path):
    torch.save(spoiled(tiny_vit().state_dict(), change), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        with_weights("vit_b16", tmp_path / "w.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(models.resnet18().state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"and \d+ more: take weights of ViT_B_16_Weights"):
        with_weights("vit_b16", tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.pth", "no such file"),
        ("ResNet18_Weights.IMAGENET1K_V9", r"expected ResNet18_Weights\.IMAGENET1K_V1"),
        ("ResNet50_Weights.IMAGENET1K_V2", r"no such weights for this network"),
        (".", r"expected one file of .*, found none"),
    ],
)
def test_unknown_sources_are_refused(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsMissing, match=message):
        with_weights("mimamo", source)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_loop_turns_on_activation_checkpointing(recipe):
    with torch.device("meta"):
        network = recipe.build(full_plan(recipe))
    assert recompute_activations(network) and network.video.checkpointing


def test_files_without_tensors_are_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        with_weights("vit_b16", tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot be read as a file of tensors"):
        with_weights("vit_b16", tmp_path / "w.safetensors")
    with pytest.raises(WeightsMissing, match=r"found w\.pth, w\.safetensors: name the file"):
        with_weights("vit_b16", tmp_path)
