"""The folder that `bench batch` measures: recordings of their own, and damaged files that are listed."""

import csv
import json
import shutil

import numpy as np

from affectstream.bench.batch.corpus import DAMAGE, write_corpus
from affectstream.bench.batch.throughput import bare_costs
from tests.support.command import run_command
from tests.support.media import Sound, write_video


def test_a_corpus_is_scored_and_its_damaged_files_are_listed(tmp_path):
    hum = np.sin(np.arange(16_000 * 3) / 20.0, dtype=np.float32)[:, None]
    talk = write_video(tmp_path / "talk.mp4", 75, size=(96, 64), sound=Sound(hum, 16_000))
    folder, output = tmp_path / "in", tmp_path / "out"
    write_corpus([talk], folder, 5, seed=3)
    assert len(list(folder.glob("day*/*"))) == 5
    line = ("score", folder, "-o", output, "--workers", 1, "-f", "jsonl")
    assert run_command(*line) == 3
    rows = {row["recording"]: row for row in csv.DictReader((output / "failures.csv").open())}
    assert {name for name in rows if name.startswith("day")} == set()
    assert {f"damaged/{name}" for name in DAMAGE} - set(rows) <= {"damaged/noise.mp4"}
    assert {row["kind"] for row in rows.values()} == {"input"}
    for path in output.glob("day*/*/run.json"):
        assert 1 < json.loads(path.read_text())["media_s"] < 4
    for number in range(1, 5):
        shutil.rmtree(folder / f"day{number}")
    decode, infer = bare_costs(
        folder
    )  # of one recording, and what can be decoded of the damaged ones
    assert decode.cpu_s >= 0 and infer.cpu_s > 0
    assert run_command("bench", "batch", "--data", folder) == 2
