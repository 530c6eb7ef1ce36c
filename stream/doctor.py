"""The checks of `affectstream doctor`: what works on this machine."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import av
import onnxruntime

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.chance import chance_warning
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.bundle.training import check_training
from affectstream.engines.cache.home import home
from affectstream.engines.cache.sizes import format_size
from affectstream.engines.devices.choose import candidates, choose
from affectstream.engines.devices.probe import probe
from affectstream.engines.errors import AffectstreamError, DeviceError, PlanError, UsageError
from affectstream.engines.models.registry import models
from affectstream.engines.plans.store import PlanStore
from affectstream.engines.runtimes.nvidia import NVIDIA_RUNTIMES, load

_PACKAGES = (
    "affectstream",
    "av",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "pyarrow",
    "tokenizers",
)
_CONFLICTS = (
    (
        (
            "opencv-python",
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        ),
        "cv2",
        "keep opencv-python-headless only",
    ),
    (
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"),
        "onnxruntime",
        "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one that you want",
    ),
)
"""Packages that install the same module, the module, and what to do if two are installed."""
_FORMATS = ("mp4", "mov", "matroska", "webm", "avi", "mpegts", "wav", "flac", "mp3")
_CODECS = ("h264", "hevc", "vp9", "av1", "aac", "mp3", "opus", "flac", "subrip", "webvtt")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `ok` is False if a check failed."""

    topic: str
    text: str
    ok: bool = True


def examine(bundle: str | Path = "pocket") -> Iterator[Finding]:
    """Run all checks, in the order in which they are printed."""
    yield Finding("system", f"Python {platform.python_version()} on {platform.platform()}")
    yield from _packages()
    yield from _ffmpeg()
    yield from _devices()
    yield from _runtimes()
    yield from _models()
    yield from _plans()
    yield from _bundle(bundle)


def _packages() -> Iterator[Finding]:
    installed = {str(d.name).lower(): d.version for d in distributions()}
    for name in _PACKAGES:
        # Another package with the same module is as good.
        builds = next((names for names, _, _ in _CONFLICTS if name in names), (name,))
        found = [f"{build} {installed[build]}" for build in builds if build in installed]
        if found:
            yield Finding("package", ", ".join(found))
        else:
            yield Finding("package", f"{name} is not installed: pip install {name}", ok=False)
    for names, module, advice in _CONFLICTS:
        found = [name for name in names if name in installed]
        if len(found) > 1:
            text = f"{' and '.join(found)} overwrite each other's {module}: {advice}"
            yield Finding("package", text, ok=False)


def _ffmpeg() -> Iterator[Finding]:
    libraries = ", ".join(
        f"{n} {'.'.join(map(str, v))}" for n, v in sorted(av.library_versions.items())
    )
    yield Finding("ffmpeg", libraries)
    readers = {name for known in av.formats_available for name in known.split(",")}
    yield _compare("containers", _FORMATS, readers)
    yield _compare("codecs", _CODECS, set(av.codecs_available) | {"av1"} & _av1())


def _av1() -> set[str]:
    return {"av1"} if {"libdav1d", "libaom-av1", "av1"} & set(av.codecs_available) else set()


def _compare(kind: str, expected: tuple[str, ...], available: set[str]) -> Finding:
    missing = [name for name in expected if name not in available]
    text = f"{kind}: {', '.join(name for name in expected if name in available)}"
    if missing:
        text += f"; missing: {', '.join(missing)}"
    return Finding("ffmpeg", text, ok=not missing)


def _devices() -> Iterator[Finding]:
    cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
    yield Finding("devices", f"cameras: {', '.join(cameras) or 'none found'}")
    sound = Path("/proc/asound/cards")
    cards = sound.read_text().strip().splitlines() if sound.exists() else []
    named = [line.strip() for line in cards if "[" in line]
    yield Finding("devices", f"sound cards: {'; '.join(named) or 'none found'}")


def _runtimes() -> Iterator[Finding]:
    providers = ", ".join(onnxruntime.get_available_providers())
    yield Finding("runtime", f"onnxruntime {onnxruntime.__version__}: {providers}")
    for runtime in NVIDIA_RUNTIMES:
        try:
            yield Finding("runtime", f"{runtime} {load(runtime).version}")
        except DeviceError as error:
            yield Finding("runtime", str(error))
    yield from _gpus()
    choice = choose("auto")
    yield Finding("device", f"--device auto chooses {choice.device} ({choice.reason})")


def _gpus() -> Iterator[Finding]:
    """The driver, and each device on each GPU, by trying it.

    A machine without a driver passes; a driver that fails or a GPU that no device can use does not.
    """
    driver = probe("driver")
    yield Finding("driver", driver.text, ok=driver.works or not driver.loads)
    for number, gpu in enumerate(driver.gpus):
        memory = f"{gpu.memory_bytes / 2**30:.1f} GiB"
        capability = f"compute capability {gpu.capability // 10}.{gpu.capability % 10}"
        yield Finding("gpu", f"{number} {gpu.name}, {memory}, {capability}")
        tried = list(candidates(number))
        for device, found in tried:
            state = "works" if found.works else "cannot be used"
            yield Finding("gpu", f"{device} {state}: {found.text}")
        if not any(found.works for _, found in tried):
            yield Finding(
                "gpu", f"no device works on GPU {number}: fix one of the problems above", ok=False
            )


def _models() -> Iterator[Finding]:
    try:
        listed = models()
    except UsageError as error:  # in a list of the user
        yield Finding("models", str(error), ok=False)
        return
    pulled = [name for name, m in listed.items() if all(file.path.is_file() for file in m.files)]
    yield Finding("models", f"pulled: {', '.join(pulled) or 'none'}; kept in {home()}")


def _plans() -> Iterator[Finding]:
    store = PlanStore()
    try:
        plans, invalid = store.plans(), store.invalid()
    except PlanError as error:  # others can write to the folder
        yield Finding("plans", str(error), ok=False)
        return
    size = format_size(sum(plan.meta.bytes for plan in plans))
    yield Finding("plans", f"{len(plans)} plans, {size}, in {store.root}")
    for reason in invalid:
        yield Finding("plans", reason, ok=False)


def _bundle(bundle: str | Path) -> Iterator[Finding]:
    try:
        with Bundle.open(bundle) as opened:
            manifest = opened.manifest
            roles = ", ".join(opened.all_engines)
            yield Finding("bundle", f"{manifest.name} {manifest.version} in {opened.folder}")
            yield Finding("bundle", f"all hashes, names and shapes match; engines: {roles}")
            yield Finding("bundle", f"labels: {', '.join(manifest.labels) or 'none'}")
            yield Finding("bundle", f"its head predicts: {', '.join(sorted(opened.head_outputs))}")
            parts = [
                part
                for one in (opened, *opened.members)
                for part in check_training(one.folder, one.manifest)
            ]
            training = "; ".join(map(str, parts)) or "none, so only its head can be taught"
            yield Finding("bundle", f"training/: {training}")
            for result in manifest.results:
                value = f"{result.metric} {result.value} (n = {result.count})"
                yield Finding("measured", f"{result.part} on {result.data}: {value}")
            if (warning := chance_warning(manifest)) is not None:
                yield Finding("measured", f"warning: {warning}")
            licences = manifest.licences
            yield Finding("license", f"code: {licences.code}")
            yield Finding("license", f"weights: {licences.weights}")
            yield Finding("license", f"trained on: {licences.data}")
            if opened.folder == POCKET:
                yield Finding("license", f"full text: {POCKET / 'LICENSE'}")
    except AffectstreamError as error:
        yield Finding("bundle", str(error), ok=False)
