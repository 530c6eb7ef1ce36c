"""What the engine `face_geometry` measures of a face: landmarks, and numbers that follow from them.

Right and left are the subject's, so the right eye is on the left of an upright picture.
"""

from __future__ import annotations

MESH_POINTS = {
    "right_eye_outer": 33,
    "right_eye_inner": 133,
    "right_lid_upper": 159,
    "right_lid_lower": 145,
    "left_eye_inner": 362,
    "left_eye_outer": 263,
    "left_lid_upper": 386,
    "left_lid_lower": 374,
    "right_iris": 468,
    "left_iris": 473,
    "right_brow_outer": 70,
    "right_brow_middle": 105,
    "right_brow_inner": 107,
    "left_brow_inner": 336,
    "left_brow_middle": 334,
    "left_brow_outer": 300,
    "nose_bridge": 168,
    "nose_tip": 1,
    "right_nostril": 98,
    "left_nostril": 327,
    "mouth_right": 61,
    "mouth_left": 291,
    "lip_upper": 0,
    "lip_lower": 17,
    "lip_upper_inner": 13,
    "lip_lower_inner": 14,
    "forehead": 10,
    "chin": 152,
    "right_jaw": 172,
    "left_jaw": 397,
    "right_temple": 127,
    "left_temple": 356,
}
"""The landmarks in the order of the output `landmarks`, each with its number in MediaPipe's face mesh (478
points, irises included)."""

LANDMARKS = tuple(MESH_POINTS)
LANDMARK_INDEX = {name: index for index, name in enumerate(LANDMARKS)}

FIVE_POINTS = {
    "right_eye": ("right_eye_outer", "right_eye_inner"),
    "left_eye": ("left_eye_inner", "left_eye_outer"),
    "nose": ("nose_tip",),
    "right_mouth": ("mouth_right",),
    "left_mouth": ("mouth_left",),
}
"""The five points that place a face crop, each with the landmarks whose mean it is."""

MEASURES = (
    "yaw",
    "pitch",
    "roll",
    "right_eye_openness",
    "left_eye_openness",
    "mouth_openness",
    "gaze_yaw",
    "gaze_pitch",
)
"""The columns of the output `measures`. All angles are degrees: yaw is positive to the right of the picture,
pitch up, roll clockwise as seen in the picture. `gaze_yaw` and `gaze_pitch` are relative to the head, 0
straight ahead. The openness of an eye is the distance of its lids over the distance of its corners; that of
the mouth is the distance of the inner lips over the distance of the mouth's corners."""
