"""Every example in the README and the docs runs."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from affectstream.stream.demo import write_clip

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    for page in PAGES:
        found = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)
        for number, text in enumerate(found):
            yield pytest.param(text, id=f"{page.stem}-{number}")


def commands():
    """Lines that score a recording by its name alone; others need data or a second file."""
    for text in blocks(""):
        for line in text.values[0].splitlines():
            command = line.partition("#")[0].strip()
            if (
                command.startswith("affectstream score interview.mp4")
                and "my-bundle" not in command
            ):
                yield pytest.param(command, id=command)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(write_clip(folder), folder / "interview.mp4")
    return folder


@pytest.mark.parametrize("code", list(blocks("python")))
def test_python_examples(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", list(commands()))
def test_commands(command, folder):
    words = [sys.executable, "-c", "from affectstream.stream.cli import main; main()"]
    done = subprocess.run(
        words + shlex.split(command)[1:], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_every_link_to_a_file_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_help_of_every_command_has_an_example():
    from importlib.metadata import entry_points

    for point in entry_points(group="affectstream.commands"):
        loaded = point.load()
        callbacks = [c.callback for c in getattr(loaded, "registered_commands", [])] or [loaded]
        for callback in callbacks:
            assert "Example: [bold]affectstream" in callback.__doc__, callback
