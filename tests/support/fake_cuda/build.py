"""Compile the stand-in for libcuda that the installed pycuda can be loaded with."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def missing() -> str:
    """Why the stand-in cannot be compiled and used here, empty when it can."""
    if importlib.util.find_spec("pycuda") is None:
        return "pycuda is not installed: tests/support/fake_cuda/build_pycuda.sh builds it without a GPU"
    if importlib.util.find_spec("cuda") is None or not importlib.util.find_spec("cuda.bindings"):
        return "cuda-python is not installed: pip install cuda-bindings"
    if shutil.which("gcc") is None or shutil.which("nm") is None:
        return "gcc and nm are needed to compile the stand-in for libcuda"
    return ""


def compile_into(folder: Path) -> Path:
    """``libcuda.so.1`` in `folder`: the functions of ``libcuda.c``, and refusals for all others."""
    spec = importlib.util.find_spec("pycuda")
    assert spec is not None and spec.origin is not None
    (module,) = Path(spec.origin).parent.glob("_driver*.so")
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", module], check=True, capture_output=True, text=True
    ).stdout.split()
    source = (HERE / "libcuda.c").read_text()
    absent = [s for s in symbols if s.startswith("cu") and f" {s}(" not in source]
    refusals = folder / "refusals.c"
    refusals.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in absent))
    library = folder / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-w", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["gcc", *flags, "-o", library, HERE / "libcuda.c", refusals, "-ldl"], check=True)
    return library
