"""The engines of encoders whose last layers were fitted, and their networks in `training/`."""

from __future__ import annotations

import copy
from pathlib import Path

import msgspec
from msgspec import structs

from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.bundle.training import TRAINING, free_part
from affectstream.engines.manifest import Engines
from affectstream.train.export.bundle_folder import file_part
from affectstream.train.teach.fit.encoder_step import EncoderStep, Refitted


def write_encoders(
    step: EncoderStep, refitted: Refitted, engines: Engines, folder: Path
) -> Engines:
    """Write the new engines and networks into a bundle's `folder`, and return the engines with their hashes.

    Raises `ParityError` if a graph differs from its network.
    """
    from affectstream.train.fit.warm_start import read_run_or_bundle, write_training
    from affectstream.train.onnx.engine_files import write_encoder

    for modality, weights in refitted.weights.items():
        layers, role = step.layers[modality], ENCODER_ROLES[modality]
        network = copy.deepcopy(layers.network)
        getattr(network, modality).load_state_dict(dict(weights), strict=False)
        part = getattr(engines, role)
        path = folder / part.file
        write_encoder(network, modality, layers.recipe.spec, path)
        if layers.recipe.store_weights is not None:
            layers.recipe.store_weights(path)
        digest = file_part(folder, part.file).sha256
        new = structs.replace(part, sha256=digest, model=msgspec.UNSET)
        engines = structs.replace(engines, **{role: new})
        saved = dict(read_run_or_bundle(layers.part.folder))
        saved.pop("fit", None)  # that is what the last layers were, not what they are
        write_training(
            network, saved, {role: digest}, free_part(folder / TRAINING, layers.recipe.name)
        )
    return engines
