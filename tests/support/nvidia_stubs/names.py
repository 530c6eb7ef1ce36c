"""Which names of NVIDIA's Python API our code uses, read from its source, and which of them exist.

python -m tests.support.nvidia_stubs.names tensorrt FOLDER     # prints a JSON list of the missing names
"""

from __future__ import annotations

import ast
import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import affectstream.engines

ENGINES = Path(affectstream.engines.__file__).parent
SONAMES = ("libnvinfer.so.11", "libnvonnxparser.so.11", "libnvinfer_plugin.so.11")

# What the variables of each file hold. The module itself is "".
HOLDS = {
    "runtimes/nvidia": {"module": ""},
    "runtimes/tensorrt": {"engine": "ICudaEngine"},
    "runtimes/cuda/slots": {
        "engine": "ICudaEngine",
        "context": "IExecutionContext",
        "_context": "IExecutionContext",
        "config": "IRuntimeConfig",
    },
    "runtimes/cuda/executor": {},
    "plans/inspector": {"engine": "ICudaEngine"},
    "plans/target": {},
    "plans/build": {
        "builder": "Builder",
        "config": "IBuilderConfig",
        "added": "IOptimizationProfile",
    },
    "plans/network": {
        "builder": "Builder",
        "definition": "INetworkDefinition",
        "parser": "OnnxParser",
        "e": "ParserError",
        "layer": "ILayer",
        "tensor": "ITensor",
    },
}
# What methods give.
GIVES = {
    "create_engine_inspector": "EngineInspector",
    "get_timing_cache": "ITimingCache",
    "get_output": "ITensor",
}


def used() -> set[str]:
    """Dotted names below the module, such as ``ICudaEngine.get_tensor_name``."""
    names = set()
    for file, holds in HOLDS.items():
        tree = ast.parse((ENGINES / f"{file}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                owner = _holder(node.value, {"trt": "", **holds})
                if owner is not None:
                    names.add(f"{owner}.{node.attr}".lstrip("."))
    return names


def _holder(node: ast.expr, holds: dict[str, str]) -> str | None:
    """The dotted name of the class, or the enumeration, that `node` is of."""
    if isinstance(node, ast.Name):
        return holds.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        made = _holder(node.func.value, holds)
        return node.func.attr if made == "" else GIVES.get(node.func.attr)
    if isinstance(node, ast.Attribute):
        if node.attr in holds:
            return holds[node.attr]
        owner = _holder(node.value, holds)
        return node.attr if owner == "" else None
    return None


def load_stubs(folder: Path) -> None:
    """Compile the libraries that the bindings ask for into `folder`, and load them."""
    for soname in SONAMES:
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", folder / soname]
        subprocess.run([*command, Path(__file__).with_name("stubs.c")], check=True)
        ctypes.CDLL(str(folder / soname), ctypes.RTLD_GLOBAL)


def missing(module: Any) -> list[str]:
    """Those of `used` that `module` lacks."""
    absent = []
    for name in sorted(used()):
        owner: Any = module
        for part in name.split("."):
            owner = getattr(owner, part, absent)
        if owner is absent:
            absent.append(name)
    return absent


if __name__ == "__main__":
    if sys.argv[1] == "tensorrt":
        load_stubs(Path(sys.argv[2]))
    from affectstream.engines.runtimes.nvidia import load

    print(json.dumps(missing(load(sys.argv[1]).trt)))
