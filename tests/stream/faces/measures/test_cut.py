"""Cuts, on pictures made by hand."""

import cv2
import numpy as np

from affectstream.stream.faces.measures.cut import CutDetector, describe_picture

RNG = np.random.default_rng(8)


def picture(seed):
    """A picture (180, 320, 3) of large patches."""
    patches = np.random.default_rng(seed).integers(0, 255, (6, 9, 3)).astype(np.uint8)
    return cv2.resize(patches, (320, 180), interpolation=cv2.INTER_CUBIC)


def cuts(pictures):
    detector = CutDetector()
    return [detector.push(None if one is None else describe_picture(one)) for one in pictures]


def test_the_first_picture_is_no_cut():
    assert cuts([picture(1)]) == [False]


def test_another_picture_is_a_cut():
    assert cuts([picture(1), picture(1), picture(2), picture(2)]) == [False, False, True, False]


def test_noise_and_light_are_no_cut():
    one = picture(1)
    noisy = np.clip(one + RNG.normal(0, 20, one.shape), 0, 255).astype(np.uint8)
    assert not any(cuts([one, noisy, one // 3, np.clip(one * 1.2, 0, 255).astype(np.uint8)]))


def test_a_small_movement_is_no_cut():
    one = picture(1)
    assert not any(cuts([one, np.roll(one, 12, axis=1), np.roll(one, 20, axis=1)]))


def test_looks_without_a_picture_are_no_cut():
    assert not any(cuts([picture(1), None, picture(2)]))


def test_a_gray_picture_has_a_description():
    assert np.isfinite(describe_picture(np.full((90, 160, 3), 128, np.uint8))).all()
    assert np.isfinite(describe_picture(np.zeros((1, 1, 3), np.uint8))).all()
