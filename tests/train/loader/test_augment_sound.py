"""Sound that is changed: by how much, and what must stay as it was."""

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from affectstream.train.loader import augment_sound
from affectstream.train.loader.augment_sound import SPEED, augment, change_speed, spec_augment

LENGTH = 48_000


def sine(hertz, length=LENGTH):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(length) / 16_000).unsqueeze(0)


def loudest_hertz(sound):
    spectrum = torch.fft.rfft(sound * torch.hann_window(len(sound)), n=4 * len(sound)).abs()
    return int(spectrum.argmax()) * 16_000 / (4 * len(sound))


def factors(*values):
    return torch.tensor(values, dtype=torch.float32)


def decibels(ratio):
    return 10 * math.log10(float(ratio))


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("hertz", [220.0, 3000.0])
def test_pitch_moves_with_the_speed(hertz, speed):
    changed = change_speed(sine(hertz), factors(speed))[0, 8_000:-4_000]
    assert loudest_hertz(changed) == pytest.approx(hertz * speed, rel=1e-3)
    assert float(changed.square().mean()) == pytest.approx(
        0.125, rel=0.06
    )  # a cubic is a soft low-pass


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_beat_changes_its_tempo_and_keeps_its_place_before_the_end(speed):
    bursts = torch.zeros(1, LENGTH)
    before_end = [6_000, 18_000, 30_000]
    for back in before_end:
        bursts[0, LENGTH - back - 400 : LENGTH - back + 400] = sine(1000, 800)[0]
    changed = change_speed(bursts, factors(speed))
    assert changed.shape == bursts.shape
    for back in before_end:
        middle = LENGTH - round(back / speed)
        near = changed[0, middle - 1_600 : middle + 1_600].square()
        centre = float((near * torch.arange(len(near))).sum() / near.sum()) - 1_600
        assert abs(centre) < 80  # 5 ms


def test_a_faster_window_begins_with_zeros_and_a_slower_one_is_full():
    faster, slower = change_speed(sine(440).repeat(2, 1), factors(1.1, 0.9))
    start = LENGTH - LENGTH / 1.1
    assert not faster[: int(start) - 2].any()
    assert faster[int(start) + 1 :].square().mean() > 0.12
    assert slower[:1_000].square().mean() > 0.12


def test_the_speed_of_one_is_the_sound_itself():
    odd = sine(500, 16_001)
    torch.testing.assert_close(change_speed(odd, factors(1.0)), odd, rtol=0, atol=1e-6)


def test_zeros_in_front_stay_zeros_and_silence_stays_silence():
    rows = torch.zeros(64, LENGTH // 2)
    rows[:32, 15_000:] = torch.randn(32, 9_000, generator=torch.Generator().manual_seed(1)) * 0.1
    changed = augment(rows, torch.Generator().manual_seed(2))
    assert not changed[32:].any()
    # A slower one begins up to an eighth earlier; nothing is heard before that.
    assert not changed[:32, : 24_000 - round(9_000 * math.exp(SPEED)) - 3].any()
    assert (changed[:32] != rows[:32]).any(1).sum() > 16
    assert torch.isfinite(changed).all() and changed.abs().max() <= 1


def test_the_same_seed_gives_the_same_sound_and_another_another():
    rows = sine(700, 16_000).repeat(8, 1)
    once, again, other = (augment(rows, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(rows, sine(700, 16_000).repeat(8, 1)), "the samples given are left alone"


def test_noise_is_at_most_as_loud_as_the_sound(monkeypatch):
    """Of a tone, all that is not the tone: noise 0 to 35 dB below it, in about half of the rows."""
    for share in ("SPEED_SHARE", "ROOM_SHARE", "LINE_SHARE", "BABBLE_SHARE", "COARSE_SHARE"):
        monkeypatch.setattr(augment_sound, share, 0.0)
    rows = 0.2 * sine(1_000, 16_000).repeat(200, 1)
    changed = augment(rows, torch.Generator().manual_seed(0))
    gain = (changed * rows).sum(1) / (rows * rows).sum(1)
    rest = (changed - gain.unsqueeze(1) * rows).square().mean(1) / (
        gain.unsqueeze(1) * rows
    ).square().mean(1)
    found = [decibels(r) for r in rest.tolist() if r > 1e-6]
    assert 70 < len(found) < 130
    assert -37 < min(found) < -25 and -6 < max(found) < 2


def test_a_room_adds_an_echo_after_the_sound(monkeypatch):
    for share in ("SPEED_SHARE", "LINE_SHARE", "NOISE_SHARE", "BABBLE_SHARE", "COARSE_SHARE"):
        monkeypatch.setattr(augment_sound, share, 0.0)
    monkeypatch.setattr(augment_sound, "ROOM_SHARE", 1.0)
    rows = torch.zeros(16, 16_000)
    rows[:, 4_000:4_400] = sine(1_000, 400)
    changed = augment(rows, torch.Generator().manual_seed(0))
    assert not changed[:, :4_000].any()
    near, far = (changed[:, a:b].square().mean(1) for a, b in ((4_450, 5_000), (11_000, 12_000)))
    assert (near > 1e-7).all() and (far < near).all()


def test_bars_of_a_spectrogram_are_hidden_behind_its_mean():
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(300, 40, 90, generator=generator)
    hidden = spec_augment(mel, generator)
    gone = hidden != mel
    rows, mean = torch.nonzero(gone)[:, 0], mel.mean((1, 2))
    torch.testing.assert_close(hidden[gone], mean[rows])
    bands, frames = gone.all(2).sum(1), gone.all(1).sum(1)
    # Two bars of up to 15 % each: half of that on average, less where they overlap.
    assert int(bands.max()) <= 12 and int(frames.max()) <= 27
    assert 0.1 < float(bands.float().mean()) / 40 < 0.16
    assert 0.1 < float(frames.float().mean()) / 90 < 0.16
    # Nothing but whole bars.
    expected = gone.all(2, keepdim=True) | gone.all(1, keepdim=True)
    assert torch.equal(gone, expected)


def test_bars_are_the_same_for_the_same_seed_and_gradients_pass_between_them():
    mel = torch.randn(4, 16, 30, requires_grad=True)
    once, again = (spec_augment(mel, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(once, again)
    torch.manual_seed(1)
    assert not torch.equal(spec_augment(mel), spec_augment(mel))
    once.sum().backward()
    assert mel.grad is not None and mel.grad.abs().sum() > 0
