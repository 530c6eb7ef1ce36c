"""Faces in one frame, and over time.

In one frame: `detect` (boxes) and `geometry` (landmarks, pose, gaze, openings), both called by `find`; then
`crop`, `quality`, `appearance` and `encode`, called by `perceive`. Over time: `track` (numbers) and `steady`
(poses and `eyes`), called by `follow`; then `blinks`. `turn` decides whether a recording lies on its side.
"""
