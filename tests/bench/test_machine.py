"""What a result says of the machine and of this process."""

import os
import subprocess
import sys

from affectstream.bench.machine import peak_memory_mb


def test_the_peak_of_a_process_leaves_out_what_its_parent_held():
    held = b"\1" * 300_000_000
    code = "from affectstream.bench.machine import peak_memory_mb; print(peak_memory_mb())"
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert peak_memory_mb() > len(held) / 1e6 > float(child.stdout)
