#!/usr/bin/env bash
# Build pycuda's wheel where there is neither a driver nor a whole CUDA toolkit (80 s on two cores).
#
#   tests/support/fake_cuda/build_pycuda.sh WHEELS     # then: pip install WHEELS/pycuda-*.whl
#
# Needed: nvcc on PATH beside the toolkit's headers (curand.h may be missing), gcc, and pip with a package
# registry. The module wants libcuda.so.1 as it is loaded: a driver's, or the one in this folder.
set -euo pipefail
wheels=$(realpath -m "$1")
compgen -G "$wheels/pycuda-*.whl" > /dev/null && exit 0
command -v nvcc > /dev/null || {
    echo "nvcc is not on PATH: add the bin folder of a CUDA toolkit, whose headers pycuda needs" >&2
    exit 1
}
toolkit=$(nvcc --dryrun -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Something to link against. It has none of the driver's functions, so the linker is told to keep the
# dependency all the same: without it the module would not find the driver even where there is one.
echo 'const int stand_in = 1;' > "$work/cuda.c"
gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$work/libcuda.so" "$work/cuda.c"
cat > "$work/.aksetup-defaults.py" <<SETTINGS
CUDA_ROOT = "$toolkit"
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = ["$work"]
CXXFLAGS = ["-O1", "-g0", "-w"]
LDFLAGS = ["-Wl,--no-as-needed", "-L$work", "-lcuda"]
SETTINGS

# pycuda reads its settings from the home folder.
cache=$(python3 -m pip cache dir)
HOME=$work PIP_CACHE_DIR=$cache python3 -m pip wheel --quiet --no-deps --no-binary pycuda \
    --wheel-dir "$wheels" "pycuda==2026.1"
