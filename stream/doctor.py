"""What this machine can do, found out by looking, not by guessing."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import av
import onnxruntime

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.cache.home import home
from affectstream.engines.cache.sizes import format_size
from affectstream.engines.choose import candidates, choose
from affectstream.engines.errors import AffectstreamError, DeviceError, PlanError, UsageError
from affectstream.engines.models.registry import models
from affectstream.engines.plans.store import PlanStore
from affectstream.engines.probe import probe
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
_RIVALS = (
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
"""Packages that bring the same module, its name, and what to do about two of them."""
_FORMATS = ("mp4", "mov", "matroska", "webm", "avi", "mpegts", "wav", "flac", "mp3")
_CODECS = ("h264", "hevc", "vp9", "av1", "aac", "mp3", "opus", "flac", "subrip", "webvtt")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `ok` False is something to mend."""

    topic: str
    text: str
    ok: bool = True


def examine(bundle: str | Path = "pocket") -> Iterator[Finding]:
    """Every finding, in the order in which it is printed."""
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
        # Another build of the same module will do.
        builds = next((names for names, _, _ in _RIVALS if name in names), (name,))
        found = [f"{build} {installed[build]}" for build in builds if build in installed]
        if found:
            yield Finding("package", ", ".join(found))
        else:
            yield Finding("package", f"{name} is not installed: pip install {name}", ok=False)
    for names, module, mend in _RIVALS:
        rivals = [name for name in names if name in installed]
        if len(rivals) > 1:
            text = f"{' and '.join(rivals)} overwrite each other's {module}: {mend}"
            yield Finding("package", text, ok=False)


def _ffmpeg() -> Iterator[Finding]:
    libraries = ", ".join(
        f"{n} {'.'.join(map(str, v))}" for n, v in sorted(av.library_versions.items())
    )
    yield Finding("ffmpeg", libraries)
    readers = {name for known in av.formats_available for name in known.split(",")}
    yield _present("containers", _FORMATS, readers)
    yield _present("codecs", _CODECS, set(av.codecs_available) | {"av1"} & _av1())


def _av1() -> set[str]:
    return {"av1"} if {"libdav1d", "libaom-av1", "av1"} & set(av.codecs_available) else set()


def _present(what: str, wanted: tuple[str, ...], have: set[str]) -> Finding:
    missing = [name for name in wanted if name not in have]
    text = f"{what}: {', '.join(name for name in wanted if name in have)}"
    if missing:
        text += f"; missing: {', '.join(missing)}"
    return Finding("ffmpeg", text, ok=not missing)


def _devices() -> Iterator[Finding]:
    cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
    yield Finding("devices", f"cameras: {', '.join(cameras) or 'none seen'}")
    sound = Path("/proc/asound/cards")
    cards = sound.read_text().strip().splitlines() if sound.exists() else []
    named = [line.strip() for line in cards if "[" in line]
    yield Finding("devices", f"sound cards: {'; '.join(named) or 'none seen'}")


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
    """What the driver says, and what came of trying each way of computing on each GPU.

    A machine without a driver is as it should be; one whose GPU cannot be used has something to mend.
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
            yield Finding("gpu", f"nothing computes on GPU {number}: mend one of these", ok=False)


def _models() -> Iterator[Finding]:
    try:
        listed = models()
    except UsageError as error:  # a list of one's own
        yield Finding("models", str(error), ok=False)
        return
    here = [name for name, m in listed.items() if all(file.path.is_file() for file in m.files)]
    yield Finding("models", f"pulled: {', '.join(here) or 'none'}; kept in {home()}")


def _plans() -> Iterator[Finding]:
    store = PlanStore()
    try:
        plans, invalid = store.plans(), store.invalid()
    except PlanError as error:  # the folder itself is open to others
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
            yield Finding("bundle", f"every hash, name and shape agrees; engines: {roles}")
            yield Finding("bundle", f"labels: {', '.join(manifest.labels) or 'none'}")
            yield Finding("bundle", f"its head tells: {', '.join(sorted(opened.head_outputs))}")
            for result in manifest.results:
                figure = f"{result.metric} {result.value} (n = {result.count})"
                yield Finding("measured", f"{result.part} on {result.data}: {figure}")
            licences = manifest.licences
            yield Finding("licence", f"code: {licences.code}")
            yield Finding("licence", f"weights: {licences.weights}")
            yield Finding("licence", f"trained on: {licences.data}")
            if opened.folder == POCKET:
                yield Finding("licence", f"full text: {POCKET / 'LICENSE'}")
    except AffectstreamError as error:
        yield Finding("bundle", str(error), ok=False)
