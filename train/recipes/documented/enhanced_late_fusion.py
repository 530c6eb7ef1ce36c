"""`enhanced_late_fusion`: a learned weight for each frozen bundle and a bias for each class.

Methodology report: two members and seven classes have 9 trainable numbers; focal loss (alpha 1, gamma
2), balanced classes, mixed precision, four batches of four per step, warm-up, early stopping after ten
epochs. `train tune` searches the space of the report's study.
"""

from __future__ import annotations

from affectstream.train.config import FitConfig
from affectstream.train.late_fusion.recipe import VIDEO_WEIGHT, FusionRecipe

RECIPE = FusionRecipe(
    name="enhanced_late_fusion",
    summary="two or more frozen bundles (--member DIR each), weights and a bias for each class",
    defaults=FitConfig(
        epochs=100,
        batch_size=4,
        accumulate=4,
        learning_rate=1e-3,
        weight_decay=1e-4,
        warmup_epochs=2.0,
        patience=10,
        precision="bf16-mixed",
        class_weights=True,
        focal_gamma=2.0,
    ),
    options={VIDEO_WEIGHT: 0.5},
    biases="class",
)
