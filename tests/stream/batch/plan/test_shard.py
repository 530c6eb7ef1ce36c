"""Parts of a batch: together everything, each once, and about the same length."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream import OptionError, SourceOptions
from affectstream.stream.batch.plan.shard import Shard, take_shard
from affectstream.stream.batch.plan.task import Task
from tests.stream.batch.test_run import contents, status
from tests.support.command import run_command


def tasks(count):
    return [Task(Path(f"{n}.mp4"), f"{n}.mp4", SourceOptions()) for n in range(count)]


@given(st.lists(st.floats(0, 7200), max_size=60), st.integers(1, 9), st.randoms())
def test_parts_are_everything_once_in_any_order_and_balanced(lengths_s, count, chance):
    every = list(zip(tasks(len(lengths_s)), lengths_s, strict=True))
    shuffled = chance.sample(every, len(every))
    parts = [
        take_shard([t for t, _ in one], [s for _, s in one], Shard(number, count))
        for number, one in ((n, chance.choice((every, shuffled))) for n in range(1, count + 1))
    ]
    named = [task.name for part in parts for task in part]
    assert sorted(named) == sorted(task.name for task, _ in every)
    length_s = {task.name: s for task, s in every}
    loads = [sum(length_s[task.name] + 1 for task in part) for part in parts]
    assert max(loads) - min(loads) <= max(lengths_s, default=0) + 1.01


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_other_parts_are_refused(text):
    with pytest.raises(OptionError, match="expected a part and the number of parts"):
        Shard.parse(text)


def test_three_parts_write_what_one_run_writes(damaged, tmp_path, capsys):
    assert run_command("score", damaged, "-o", tmp_path / "one", "--workers", 1) == 3
    codes = [
        run_command("score", damaged, "-o", tmp_path / "out", "--workers", 1, "--shard", f"{n}/3")
        for n in (1, 2, 3)
    ]
    assert set(codes) <= {0, 3, 4} and max(codes) >= 3
    assert status(tmp_path / "out") == status(tmp_path / "one")
    assert contents(tmp_path / "out") == contents(tmp_path / "one")
    run_command("score", damaged, "-o", tmp_path / "more", "--shard", "9/9")
    assert "part 9/9: 0 of 5 recordings" in capsys.readouterr().err


PAGE = Path(__file__).parents[4] / "docs/guides/clusters.md"


@pytest.fixture
def job(talks, tmp_path):
    """A function that runs a command in a folder with `recordings`, where `affectstream` is this one."""
    command = tmp_path / "bin/affectstream"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom affectstream.stream.cli import main\n\nmain()\n")
    command.chmod(0o755)
    talks.rename(tmp_path / "recordings")
    path = os.pathsep.join((str(command.parent), os.environ["PATH"]))

    def run(*words, **variables):
        return subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, **variables, "PATH": path},
            capture_output=True,
            text=True,
        )

    return run


def example(language):
    return re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)[1]


@pytest.mark.slow
def test_the_script_for_slurm_runs_as_the_page_shows_it(job, tmp_path):
    for number in "12":
        array = {"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_COUNT": "2"}
        done = job("bash", "-c", example("bash"), **array)
        assert done.returncode == 0, done.stderr
    assert list(status(tmp_path / "results").values()) == ["complete"] * 3


@pytest.mark.slow
def test_the_rule_for_snakemake_runs_as_the_page_shows_it(job, tmp_path):
    """A damaged recording is no failed part; what is done is not done again."""
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed: pip install snakemake, best where torch is not")
    (tmp_path / "Snakefile").write_text(example("snakemake").replace("PARTS = 8", "PARTS = 2"))
    (tmp_path / "recordings/torn.mp4").write_bytes(b"torn")
    done = job(snakemake, "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["1", "2"]
    assert sorted(status(tmp_path / "results").values()) == ["complete"] * 3 + ["failed"]
    again = job(snakemake, "--cores", "2")
    assert "Nothing to be done" in again.stdout + again.stderr
