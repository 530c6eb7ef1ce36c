"""`late_fusion`: a learned weight for each of two or more trained bundles (methodology report).

Two members have 2 trainable numbers. The report fused its video-text and its audio-text model.
"""

from __future__ import annotations

from affectstream.train.config import FitConfig
from affectstream.train.late_fusion.recipe import VIDEO_WEIGHT, FusionRecipe

RECIPE = FusionRecipe(
    name="late_fusion",
    summary="two or more frozen bundles (--member DIR each), a learned weight for each",
    defaults=FitConfig(
        epochs=100, batch_size=4, accumulate=4, learning_rate=1e-3, weight_decay=1e-4, patience=10
    ),
    options={VIDEO_WEIGHT: 0.5},
    biases="none",
)
