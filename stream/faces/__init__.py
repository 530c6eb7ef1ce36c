"""Faces in one frame, and over time.

In one frame: `detection` finds boxes and `measures` landmarks, pose, gaze and openings, both called by
`detection.find`; then `crop`, `measures.quality`, `measures.appearance` and `encode`, called by `perceive`.
Over time: `tracking.track` (numbers) and `tracking.steady` (poses and eyes), called by `tracking.follow`;
then `tracking.blinks`. `turn` decides whether a recording lies on its side.
"""
