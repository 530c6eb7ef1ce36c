"""What other people's code may rely on. Directions of imports are held by `lint-imports`."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points, requires, version
from pathlib import Path

import pytest

import affectstream.engines
import affectstream.stream

ROOT = Path(__file__).parents[1]


def test_public_names_of_stream():
    assert affectstream.stream.__all__ == [
        "Recognizer",
        "Session",
        "PushStream",
        "Result",
        "BatchResult",
        "Outcome",
        "Explanation",
        "SourceOptions",
        "Assignment",
        "Event",
        "Emotion",
        "Attention",
        "Segment",
        "Stream",
        "parse_event",
        "json_schema",
        "AffectstreamError",
        "SourceError",
        "OutputError",
        "OptionError",
    ]
    for name in affectstream.stream.__all__:
        assert getattr(affectstream.stream, name) is not None


def test_public_names_of_engines():
    assert affectstream.engines.__all__ == [
        "Bundle",
        "Manifest",
        "Engine",
        "TensorSpec",
        "OnnxEngine",
        "AffectstreamError",
        "BundleError",
        "EngineError",
        "DeviceError",
    ]
    for name in affectstream.engines.__all__:
        assert getattr(affectstream.engines, name) is not None


def test_the_core_needs_no_torch_scipy_or_pandas():
    core = [r for r in requires("affectstream") or [] if "extra ==" not in r]
    assert core
    assert not [
        r for r in core if r.startswith(("torch", "scipy", "pandas", "scikit", "lightning"))
    ]


def test_commands():
    names = {point.name for point in entry_points(group="affectstream.commands")}
    assert names >= {"score", "demo", "schema", "doctor", "train", "bench"}


def test_every_folder_is_installed():
    """`packages` in pyproject.toml is a list, since setuptools cannot find packages under another name.

    What pytest collects stays in the checkout.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    places = {ROOT / place: name for name, place in package_dir().items()}
    folders = {
        places.get(path.parent) or ".".join(("affectstream", *path.parent.relative_to(ROOT).parts))
        for top in ("stream", "engines", "train", "bench")
        for path in (ROOT / top).rglob("*.py")
        if not (path.parent / "conftest.py").exists()
    }
    assert listed == folders


def package_dir():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return project["tool"]["setuptools"]["package-dir"]


def test_python_m_affectstream(tmp_path):
    """The namespace as it is installed, linked together here."""
    namespace = tmp_path / "affectstream"
    namespace.mkdir()
    for name, place in package_dir().items():
        if name == "affectstream":
            for file in (ROOT / place).glob("*.py"):
                (namespace / file.name).symlink_to(file)
        else:
            (namespace / name.partition(".")[2]).symlink_to(ROOT / place)
    assert not (namespace / "__init__.py").exists()
    done = subprocess.run(
        [sys.executable, "-m", "affectstream", "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "python -m affectstream" in done.stdout


@pytest.mark.parametrize("name", ["stream", "engines", "train", "bench"])
def test_every_package_has_the_version(name):
    package = import_module(f"affectstream.{name}")
    assert package.__version__ == version("affectstream")
    assert not hasattr(package, "no_such_name")


def test_help_loads_no_runtime():
    code = (
        "import sys\n"
        "from affectstream.stream.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        "heavy = {'torch', 'onnxruntime', 'cv2', 'av', 'pyarrow', 'numpy', 'tokenizers', 'msgspec'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command in ("score", "demo", "schema", "doctor", "train", "bench"):
        assert command in done.stdout
