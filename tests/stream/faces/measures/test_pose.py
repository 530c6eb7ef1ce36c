import cv2
import numpy as np
import pytest

from affectstream.stream.faces.measures.pose import FACE_MODEL_MM, solve_pose

FOCAL = 640.0
CAMERA = np.array([[FOCAL, 0, 320], [0, FOCAL, 180], [0, 0, 1.0]])


def seen(yaw=0.0, pitch=0.0, roll=0.0, at=(0.0, 0.0, 700.0)):
    """Landmarks of a head whose face normal points yaw to the right and pitch up (degrees)."""
    y, p, r = np.radians([yaw, pitch, roll])
    right = np.array([[np.cos(-y), 0, np.sin(-y)], [0, 1, 0], [-np.sin(-y), 0, np.cos(-y)]])
    up = np.array([[1, 0, 0], [0, np.cos(-p), -np.sin(-p)], [0, np.sin(-p), np.cos(-p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    turn, _ = cv2.Rodrigues(right @ up @ tilt)
    points, _ = cv2.projectPoints(FACE_MODEL_MM, turn, np.array(at, float), CAMERA, None)
    return points.reshape(5, 2).astype(np.float32)


@pytest.mark.parametrize("yaw", [-50, -20, 0, 25, 50])
@pytest.mark.parametrize("pitch", [-25, 0, 20])
def test_pose_is_found_again(yaw, pitch):
    pose = solve_pose(seen(yaw, pitch), (640, 360))
    assert pose is not None
    assert pose.yaw == pytest.approx(yaw, abs=1.0)
    assert pose.pitch == pytest.approx(pitch, abs=1.0)


def test_roll_and_distance_do_not_change_where_the_face_points():
    pose = solve_pose(seen(20, 5, roll=30, at=(120, -60, 1500)), (640, 360))
    assert pose is not None
    assert pose.yaw == pytest.approx(20, abs=1.5)
    assert pose.roll == pytest.approx(30, abs=3)


def test_the_solution_that_continues_the_track_is_kept():
    before = solve_pose(seen(18, -10), (640, 360))
    noisy = seen(20, -10) + np.array(
        [[0.6, 0], [-0.6, 0.4], [0, -0.5], [0.5, 0], [-0.4, 0.3]], np.float32
    )
    pose = solve_pose(noisy, (640, 360), before)
    assert pose is not None
    assert abs(pose.yaw - 20) < 12


def test_coinciding_landmarks_have_no_pose():
    assert solve_pose(np.full((5, 2), 100, np.float32), (640, 360)) is None


def test_the_head_on_a_real_portrait_faces_the_camera(portrait):
    landmarks = np.array([[203, 112], [248, 112], [227, 139], [207, 163], [244, 163]], np.float32)
    pose = solve_pose(landmarks, (512, 512))
    assert pose is not None
    assert abs(pose.yaw) < 15
    assert abs(pose.pitch) < 15
