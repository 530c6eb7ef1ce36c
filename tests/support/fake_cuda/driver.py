"""A driver of NVIDIA's that has GPUs, or a fault, for tests on machines without either."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from affectstream.engines.runtimes.cuda.driver import LIBRARY

SOURCE = r"""
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#ifndef FAULT
#define FAULT 0
#endif
#ifndef GPUS
#define GPUS 1
#endif
int cuInit(unsigned flags) {
#ifdef CRASH
    raise(SIGSEGV);
#endif
#ifdef FORK  /* something that outlives the process, with its stdout and stderr */
    if (fork() == 0) { sleep(30); _exit(0); }
#endif
#ifdef HANG
    sleep(600);
#endif
    return FAULT;
}
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuDeviceGetCount(int *count) { *count = GPUS; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < GPUS ? 0 : 101; }
int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, size, "Fake RTX %d", device);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 12ul << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : 46;
    return 0;
}
"""


def has_driver() -> bool:
    """Whether this machine has a real one."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def build_driver(folder: Path, *defines: str) -> Path:
    """`folder` with a libcuda.so.1 in it, for LD_LIBRARY_PATH."""
    compiler = shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a fake driver is built with gcc, on Linux")
    source = folder / "driver.c"
    source.write_text(SOURCE)
    library = folder / "libcuda.so.1"
    flags = ["-shared", "-fPIC", *(f"-D{define}" for define in defines)]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    return folder
