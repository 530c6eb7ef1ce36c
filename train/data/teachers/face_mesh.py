"""Ask MediaPipe's face mesh for the landmarks, pose and gaze that `face_geometry` learns.

MediaPipe needs NumPy 1, so this file runs by itself, in an environment with ``mediapipe==0.10.21`` and ``av``
(CPython 3.9 to 3.12), and imports nothing of Affectstream:

    python face_mesh.py DATA OUT

DATA holds ``fer2013.zip``, ``faces_in_context.zip`` and ``video/``; OUT gets ``fer2013.npz``,
``faces_in_context.npz`` and ``video.npz`` (for measuring only), each with a row for each face:

- ``name`` of the file, ``picture`` number, ``size`` (width, height), ``time_s`` since the recording
  began (recordings);
- ``landmarks`` (N, 478, 2) in pixels: x right, y down, 0 at the picture's edge;
- ``rotation`` (N, 3, 3) and ``pose`` (N, 3) of the head: yaw, pitch, roll in degrees as the face's own crop
  shows it, 0 for a face that is turned to the camera; ``pose_frame`` likewise in the axes of a camera whose
  focal length is the picture's width;
- ``gaze`` (N, 3), the direction of the eyes in the axes of the crop's camera (x right, y down, z away), and
  ``gaze_angles`` (N, 2), its yaw and pitch less the head's;
- ``eyes`` (N, 2) opening of the right and the left eye: distance of the lids over distance of the corners;
  ``mouth`` (N,) likewise;
- the two sets of pictures also hold their files: picture k is ``files[ends[k - 1]:ends[k]]``.
"""

from __future__ import annotations

import math
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POSE_POINTS = (1, 152, 33, 263, 61, 291, 133, 362, 10)
_CANONICAL = np.array(
    [
        [0.0, -1.126865, 7.475604],
        [0.0, -9.403378, 4.264492],
        [-4.445859, 2.663991, 3.173422],
        [4.445859, 2.663991, 3.173422],
        [-2.456206, -4.342621, 4.283884],
        [2.456206, -4.342621, 4.283884],
        [-1.856432, 2.585245, 3.757904],
        [1.856432, 2.585245, 3.757904],
        [0.0, 8.261778, 4.481535],
    ]
) * [1, -1, -1]
TILT = math.radians(9.5)
"""The canonical face looks down by this much: the median of the photos' people whose head is not turned."""
CANONICAL_CM = _CANONICAL @ cv2.Rodrigues(np.array([TILT, 0.0, 0.0]))[0].T
"""`POSE_POINTS` of MediaPipe's canonical face, tilted back, in centimeters: x right, y down, z away."""
EYES = ((33, 133, 159, 145, 468), (263, 362, 386, 374, 473))
"""Outer corner, inner corner, upper lid, lower lid and iris of the subject's right and left eye."""
EYEBALL_CM, DEPTH_CM, RAISE_CM = 1.1, 0.2, 0.16
"""Center of the eyeball to the iris; the same to the middle of the eye's corners, in front of it; and how far
the iris is above that middle in eyes that look straight ahead. The last two come from photos of people: the
commonest place of the iris is that of people who look into the camera, however their head is turned."""
FOCAL = 12.0
"""Focal length of the crop's camera in root mean square distances of the mesh from its center, which is about
four lengths of the face: a face two thirds of a meter away from a webcam."""


def head_rotation(mesh: Floats, focal: float, center: Floats) -> tuple[Floats, Floats] | None:
    """Rotation (3, 3) and place (3,) of a head by SQPNP, from its mesh (478, 2) in pixels."""
    camera = np.array([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1.0]])
    points = np.ascontiguousarray(mesh[list(POSE_POINTS)], np.float64)
    try:
        found, turn, place = cv2.solvePnP(
            CANONICAL_CM, points, camera, None, flags=cv2.SOLVEPNP_SQPNP
        )
    except cv2.error:
        return None
    if not found or place[2, 0] <= 0 or not np.isfinite(turn).all():
        return None
    return np.asarray(cv2.Rodrigues(turn)[0], np.float64), np.asarray(place[:, 0], np.float64)


def angles(direction: Floats) -> tuple[float, float]:
    """Yaw (positive to the right of the picture) and pitch (positive up) of a direction, in degrees."""
    x, y, z = direction / np.linalg.norm(direction)
    return math.degrees(math.atan2(x, -z)), math.degrees(math.asin(-y))


def pose_of(rotation: Floats) -> tuple[float, float, float]:
    """Yaw, pitch and roll (positive clockwise in the picture) in degrees."""
    yaw, pitch = angles(-rotation[:, 2])
    return yaw, pitch, math.degrees(math.atan2(rotation[1, 0], rotation[0, 0]))


def eye_direction(mesh: Floats, rotation: Floats, scale: float) -> Floats:
    """Where the eyes look, (3,) in the camera's axes; `scale` is pixels for a centimeter at the face. Eyes
    count by their width in the picture: the nearer one shows more."""
    center = rotation[:2] @ [0.0, -RAISE_CM, DEPTH_CM]
    total, weights = np.zeros(2), 0.0
    for outer, inner, _, _, iris in EYES:
        width = float(np.linalg.norm(mesh[inner] - mesh[outer])) ** 2
        offset = (mesh[iris] - (mesh[outer] + mesh[inner]) / 2) / scale
        total += width * (offset - center) / EYEBALL_CM
        weights += width
    side = total / max(weights, 1e-9)
    length = min(float(np.linalg.norm(side)), 0.98)
    side *= length / max(float(np.linalg.norm(side)), 1e-9)
    return np.array([*side, -math.sqrt(1 - length**2)])


def measure(mesh: Floats, size: tuple[int, int]) -> dict[str, Any] | None:
    """All that is derived from one mesh (478, 2) in pixels of a picture of `size` (width, height)."""
    center = mesh[:468].mean(0)
    radius = math.sqrt(((mesh[:468] - center) ** 2).sum(1).mean())
    crop = head_rotation(mesh, FOCAL * radius, center)
    frame = head_rotation(mesh, float(size[0]), np.array(size) / 2)
    if crop is None or frame is None:
        return None
    rotation, place = crop
    gaze = eye_direction(mesh, rotation, FOCAL * radius / place[2])
    head = pose_of(rotation)
    yaw, pitch = angles(gaze)

    def distance(a: int, b: int) -> float:
        return float(np.linalg.norm(mesh[a] - mesh[b]))

    return {
        "landmarks": mesh,
        "rotation": rotation,
        "pose": head,
        "pose_frame": pose_of(frame[0]),
        "gaze": gaze,
        "gaze_angles": (yaw - head[0], pitch - head[1]),
        "eyes": [distance(up, low) / max(distance(a, b), 1e-6) for a, b, up, low, _ in EYES],
        "mouth": distance(13, 14) / max(distance(61, 291), 1e-6),
    }


Meshes = Callable[[NDArray[np.uint8], tuple[float, ...]], list[Floats]]


def face_mesh(faces: int) -> Meshes:
    """MediaPipe's face mesh for up to so many `faces` in single pictures."""
    import mediapipe  # type: ignore[import-not-found]

    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, max_num_faces=faces
    )

    def meshes(picture: NDArray[np.uint8], paddings: tuple[float, ...]) -> list[Floats]:
        """Meshes (478, 2) in pixels of an RGB picture. `paddings` are borders in shares of the longer side:
        the next one is tried where the mesh finds no face."""
        height, width = picture.shape[:2]
        for padding in paddings:
            # Square, since the mesh scales x and y alike.
            side = max(height, width) + 2 * round(padding * max(height, width))
            top, left = (side - height) // 2, (side - width) // 2
            borders = (top, side - height - top, left, side - width - left)
            padded = cv2.copyMakeBorder(picture, *borders, cv2.BORDER_REPLICATE)
            if found := mesh.process(padded).multi_face_landmarks:
                points = [np.array([(p.x, p.y) for p in face.landmark]) for face in found]
                return [each * side - (left, top) for each in points]
        return []

    return meshes


Row = dict[str, Any]


def progress(done: int, total: int) -> None:
    """Print how far it is, now and then."""
    if done % 1000 == 0 or done == total:
        print(f"{done} of {total}", flush=True)


def photos(
    archive: Path, mesh: Meshes, enlarge: int, paddings: tuple[float, ...]
) -> tuple[list[Row], dict[str, Any]]:
    """Rows of every face in the pictures of a ZIP file, and the files themselves."""
    rows: list[Row] = []
    blobs: list[bytes] = []
    with zipfile.ZipFile(archive) as zipped:
        names = sorted(n for n in zipped.namelist() if n.endswith((".png", ".jpg")))
        for number, name in enumerate(names):
            blobs.append(zipped.read(name))
            picture = np.asarray(
                cv2.imdecode(np.frombuffer(blobs[-1], np.uint8), cv2.IMREAD_COLOR), np.uint8
            )
            size = picture.shape[1], picture.shape[0]
            rgb = picture[..., ::-1].copy()
            large = cv2.resize(rgb, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
            for points in mesh(np.asarray(large, np.uint8), paddings):
                # Pixel k of the small picture covers pixels e k ... e k + e - 1 of the large one.
                if (row := measure(points / enlarge, size)) is not None:
                    rows.append({"name": name, "picture": number, "size": size, **row})
            progress(number + 1, len(names))
    ends = np.cumsum([len(blob) for blob in blobs])
    return rows, {"files": np.frombuffer(b"".join(blobs), np.uint8), "ends": ends}


def recordings(folder: Path, mesh: Meshes) -> list[Row]:
    """Rows of every face in every frame of the recordings of a folder."""
    rows: list[Row] = []
    paths = sorted(p for p in folder.iterdir() if p.suffix in (".mp4", ".mov"))
    for done, path in enumerate(paths):
        capture, number, start_s = cv2.VideoCapture(str(path)), 0, pictures_start_s(path)
        while (read := capture.read())[0]:
            picture = np.asarray(read[1][..., ::-1], np.uint8).copy()
            size = picture.shape[1], picture.shape[0]
            time_s = start_s + capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            place = {"name": path.name, "picture": number, "time_s": time_s, "size": size}
            for points in mesh(picture, (0.0,)):
                if (row := measure(points, size)) is not None:
                    rows.append({**place, **row})
            number += 1
        progress(done + 1, len(paths))
    return rows


def pictures_start_s(path: Path) -> float:
    """How long after the start of a recording its pictures begin: OpenCV counts from there, others from the
    start, which may be that of the sound."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        first_s = float((stream.start_time or 0) * (stream.time_base or 0))
        return first_s - (container.start_time or 0) / av.time_base


def save(path: Path, rows: list[Row], **more: Any) -> None:
    """Write rows as columns; numbers become float32."""
    columns: dict[str, Any] = dict(more)
    for key in rows[0]:
        column = np.array([row[key] for row in rows])
        columns[key] = column.astype(np.float32) if column.dtype == np.float64 else column
    np.savez_compressed(path, **columns)


def main(data: Path, output: Path) -> None:
    """Write the three files into `output`; files that are there already are not made again."""
    output.mkdir(parents=True, exist_ok=True)
    if not (path := output / "faces_in_context.npz").exists():
        rows, files = photos(data / "faces_in_context.zip", face_mesh(4), 1, (0.0, 0.25, 0.5))
        save(path, rows, **files)
    if not (path := output / "video.npz").exists():
        save(path, recordings(data / "video", face_mesh(4)))
    if not (path := output / "fer2013.npz").exists():
        rows, files = photos(data / "fer2013.zip", face_mesh(1), 4, (0.2, 0.0, 0.5))
        save(path, rows, **files)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python face_mesh.py DATA OUT")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
