"""What the geometry of a face says about its eyes: how open they are, and where they look.

The constants come from photos of faces in context that MediaPipe's mesh measured, and from what the engine
of `pocket` measures on those of them that it learned from; none of them is used for reported results. The
openness of the eyes of 2,686 faces within 20 degrees of the camera has the median 0.30 (5 %: 0.15, 95 %:
0.41).
"""

from __future__ import annotations

import math

import numpy as np

from affectstream.stream.faces.measures.geometry import Geometry

SHARE = 0.7
"""How much the measured direction of the eyes counts beside that of the head. On 388 photos that the engine
learned from, 0.75 separates best who looks at the camera from who looks elsewhere (0.5: 86 %, 0.75: 92 %, 1:
89 %). Eyes of other people are measured less exactly, so they count a little less."""
FULL_DEG, NONE_DEG = 25.0, 50.0
"""Yaw of the head up to which the direction of the eyes counts fully, and from which on it does not: one eye
is then hidden, and the other one seen from the side. Beyond 35 degrees the eyes of the photos vary by 24
degrees, twice as much as within 20 degrees."""
NONE_PX, FULL_PX = 12.0, 24.0
"""Distance of the eyes in pixels up to which their direction does not count, and from which on it counts
fully: ten degrees move an iris by 2 % of this distance, half a pixel in 24."""

CLOSED_OPENNESS, NORMAL_OPENNESS = 0.10, 0.30
"""Openness of closed eyes, and of normally open ones while nothing is known of a person."""
_MIN_COSINE = 0.5


def eye_openness(geometry: Geometry) -> float:
    """Openness of both eyes, of which the one nearer to the camera counts more.

    A turned head shows its eyes narrower than they are; this is corrected.
    """
    right = 0.5 + 0.5 * _clip(geometry.pose.yaw / 45.0, -1.0, 1.0)
    both = right * geometry.right_eye + (1 - right) * geometry.left_eye
    return both * _cosine(geometry.pose.yaw)


def open_share(openness: float, normal: float = NORMAL_OPENNESS) -> float:
    """An openness as a share of the `normal` one, from 0 (closed) to 1."""
    return _clip((openness - CLOSED_OPENNESS) / (normal - CLOSED_OPENNESS), 0.0, 1.0)


def eye_offset(geometry: Geometry) -> tuple[float, float]:
    """Yaw and pitch that the eyes add to the direction of the head, in degrees.

    They count by `SHARE`, and less the farther the head is turned, and the smaller the face is.
    """
    yaw = abs(geometry.pose.yaw)
    right, left = geometry.five_points[:2]
    apart = float(np.hypot(*(left - right))) / _cosine(yaw)
    turned = _clip((NONE_DEG - yaw) / (NONE_DEG - FULL_DEG), 0.0, 1.0)
    large = _clip((apart - NONE_PX) / (FULL_PX - NONE_PX), 0.0, 1.0)
    weight = SHARE * turned * large
    return weight * geometry.gaze[0], weight * geometry.gaze[1]


def gaze_in_frame(geometry: Geometry) -> tuple[float, float]:
    """Yaw and pitch of head and eyes together in one frame, in degrees."""
    offset = eye_offset(geometry)
    return geometry.pose.yaw + offset[0], geometry.pose.pitch + offset[1]


def _cosine(yaw: float) -> float:
    return max(_MIN_COSINE, math.cos(math.radians(yaw)))


def _clip(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))
