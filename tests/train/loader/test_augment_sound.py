"""Sound that is changed: by how much, and what must stay as it was."""

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from affectstream.train.loader.augment_sound import (
    SNR_DB,
    augment,
    change,
    spec_augment,
)

LENGTH = 48_000


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Hundreds of small steps: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SEMITONE = 2 ** (1 / 12)


def sine(hertz, length=LENGTH):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(length) / 16_000).unsqueeze(0)


def loudest_hertz(sound):
    spectrum = torch.fft.rfft(sound * torch.hann_window(len(sound)), n=4 * len(sound)).abs()
    return int(spectrum.argmax()) * 16_000 / (4 * len(sound))


def factors(*values):
    return torch.tensor(values, dtype=torch.float32)


def decibels(ratio):
    return 10 * math.log10(float(ratio))


@pytest.mark.parametrize("semitones", [-2, 0, 2])
@pytest.mark.parametrize("tempo", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("hertz", [220.0, 3000.0])
def test_pitch_moves_by_its_ratio_whatever_the_tempo(hertz, tempo, semitones):
    pitch = SEMITONE**semitones
    changed = change(sine(hertz), factors(tempo), factors(pitch))[0, 8_000:-4_000]
    assert loudest_hertz(changed) == pytest.approx(hertz * pitch, rel=1e-3)
    # As loud as before: phases that fall out of step would show here.
    assert float(changed.square().mean()) == pytest.approx(0.125, rel=0.01)


@pytest.mark.parametrize("semitones", [-2, 0, 2])
@pytest.mark.parametrize("tempo", [0.9, 1.1])
def test_a_beat_changes_its_tempo_and_keeps_its_place_before_the_end(tempo, semitones):
    bursts = torch.zeros(1, LENGTH)
    before_end = [6_000, 18_000, 30_000]
    for back in before_end:
        bursts[0, LENGTH - back - 400 : LENGTH - back + 400] = sine(1000, 800)[0]
    changed = change(bursts, factors(tempo), factors(SEMITONE**semitones))
    assert changed.shape == bursts.shape
    for back in before_end:
        middle = LENGTH - round(back / tempo)
        near = changed[0, middle - 1_600 : middle + 1_600].square()
        centre = float((near * torch.arange(len(near))).sum() / near.sum()) - 1_600
        assert abs(centre) < 80  # 5 ms


def test_a_faster_window_begins_with_zeros_and_a_slower_one_is_full():
    faster, slower = change(sine(440).repeat(2, 1), factors(1.1, 0.9), factors(1, 1))
    start = LENGTH - LENGTH / 1.1
    assert not faster[: int(start)].any()
    assert faster[int(start) + 1 :].square().mean() > 0.12
    assert slower[:1_000].square().mean() > 0.12


def test_rows_do_not_mix():
    both = torch.cat([sine(300), sine(2000)])
    tempo, pitch = factors(0.95, 1.1), factors(1.1, 0.9)
    together = change(both, tempo, pitch)
    for i in range(2):
        alone = change(both[i : i + 1], tempo[i : i + 1], pitch[i : i + 1])
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-4)


def test_what_would_fold_is_left_out():
    whistle = sine(7_600)  # two semitones up would be 8,530 Hz, which folds to 7,470
    changed = change(whistle, factors(1.0), factors(SEMITONE**2))[0, 8_000:-4_000]
    assert decibels(changed.square().mean() / 0.125) < -40


def test_a_length_that_is_no_whole_number_of_frames():
    odd = sine(500, 16_001)
    changed = change(odd, factors(1.0), factors(1.0))
    assert changed.shape == odd.shape
    torch.testing.assert_close(changed[0, 600:-600], odd[0, 600:-600], rtol=0, atol=5e-3)


def test_noise_lies_fifteen_decibels_under_the_sound():
    rows = torch.zeros(200, 8_000)
    hiss = torch.randn(200, 6_000, generator=torch.Generator().manual_seed(1))
    rows[:, 2_000:] = hiss * torch.linspace(0.001, 0.2, 200).unsqueeze(1)
    changed = augment(rows, torch.Generator().manual_seed(0))
    error = (changed - rows)[:, 2_000:].square().mean(1) / rows[:, 2_000:].square().mean(1)
    assert (error == 0).sum() > 10  # some rows are left as they are
    # Of 200 rows an eighth keep tempo and pitch and get noise; of hiss at another tempo hardly anything
    # is where it was.
    noisy = [decibels(e) for e in error.tolist() if e > 0]
    assert 12 < sum(abs(found + SNR_DB) < 0.3 for found in noisy) < 45


def test_zeros_in_front_stay_zeros_and_silence_stays_silence():
    rows = torch.zeros(64, LENGTH // 2)
    rows[:32, 15_000:] = torch.randn(32, 9_000, generator=torch.Generator().manual_seed(1)) * 0.1
    changed = augment(rows, torch.Generator().manual_seed(2))
    assert not changed[32:].any()
    # A slower one begins up to a tenth earlier; nothing is heard before that.
    assert not changed[:32, : 24_000 - 10_000 - 1].any()
    assert (changed[:32] != rows[:32]).any(1).sum() > 16
    assert torch.isfinite(changed).all() and changed.abs().max() <= 1


def test_the_same_seed_gives_the_same_sound_and_another_another():
    rows = sine(700, 16_000).repeat(8, 1)
    once, again, other = (augment(rows, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(rows, sine(700, 16_000).repeat(8, 1)), "the samples given are left alone"


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
