"""The checks of `affectstream doctor`."""

import os
import shutil
import subprocess
import sys

import pytest

from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.cache.digest import sha256
from affectstream.stream.doctor import examine
from tests.engines.plans.test_store import Bench
from tests.support.fake_cuda.driver import build_driver, has_driver

no_driver = pytest.mark.skipif(has_driver(), reason="this machine has a driver")


def texts(topic, bundle="pocket"):
    return [finding.text for finding in examine(bundle) if finding.topic == topic]


@no_driver
def test_a_machine_without_a_gpu_passes():
    findings = list(examine())
    assert not [f for f in findings if not f.ok and f.topic in ("driver", "gpu", "device")]
    assert "NVIDIA's driver does not load" in texts("driver")[0]
    assert texts("device")[0].startswith("--device auto chooses cpu (auto: no GPU can be used: ")
    runtimes = " ".join(texts("runtime"))
    for name in ("onnxruntime 1", "tensorrt", "tensorrt-rtx"):
        assert name in runtimes


def test_pulled_models_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path))
    assert texts("models") == [f"pulled: none; kept in {tmp_path}"]


def test_an_invalid_tokenizer_fails(tmp_path):
    folder = shutil.copytree(POCKET, tmp_path / "bundle")
    old = sha256(folder / "tokenizer.json")
    (folder / "tokenizer.json").write_text("{}")
    manifest = (folder / "bundle.json").read_text()
    (folder / "bundle.json").write_text(manifest.replace(old, sha256(folder / "tokenizer.json")))
    broken = [f for f in examine(folder) if f.topic == "bundle"]
    assert [f.ok for f in broken] == [False]
    assert "tokenizer.json is not a tokenizer" in broken[0].text


def test_two_packages_of_one_module_fail(tmp_path, monkeypatch):
    for name in ("onnxruntime", "onnxruntime_gpu"):
        info = tmp_path / f"{name}-1.31.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = [f.text for f in examine() if f.topic == "package" and not f.ok]
    assert any(
        text.startswith("onnxruntime and onnxruntime-gpu overwrite each other's onnxruntime: pip")
        for text in broken
    )


@no_driver
def test_a_gpu_that_no_device_can_use_fails(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from affectstream.stream.cli import main; main(['doctor'])"],
        env=os.environ | {"LD_LIBRARY_PATH": str(build_driver(tmp_path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 3, done.stderr
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    gpus = [(mark, text) for mark, topic, text in lines if topic == "gpu"]
    assert gpus[0] == ("ok", "0 Fake RTX 0, 12.0 GiB, compute capability 8.9")
    for device in ("tensorrt:0", "tensorrt-rtx:0", "cuda:0"):
        assert any(text.startswith(f"{device} cannot be used: ") for _, text in gpus)
    assert gpus[-1] == ("FAIL", "no device works on GPU 0: fix one of the problems above")


def test_a_plan_cache_that_others_can_write_to_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path))
    assert texts("plans") == [f"0 plans, 0 B, in {tmp_path / 'plans'}"]
    bench = Bench(tmp_path)
    first, second = (bench.plan_for(bench.graph(f"g{seed}", seed=seed)) for seed in (0, 1))
    bench.store.quarantine(second, "refused")  # which is dealt with: passes
    assert texts("plans") == [f"1 plans, 1000 B, in {tmp_path / 'plans'}"]
    for opened in (first.path.with_suffix(".json"), first.path.parent, tmp_path / "plans"):
        mode = opened.stat().st_mode
        opened.chmod(mode | 0o020)
        broken = [f.text for f in examine() if f.topic == "plans" and not f.ok]
        assert broken[0].startswith(f"{opened} can be written by other users")
        opened.chmod(mode)
