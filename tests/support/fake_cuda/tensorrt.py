"""TensorRT's objects over numpy: as much of the API as `affectstream.engines` uses, and as strict.

They compute on raw addresses, so they run on the device in numpy as well as on memory from pycuda.
"""

from __future__ import annotations

import ctypes
import enum
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from affectstream.engines.runtimes.nvidia import Bindings, NvidiaLog
from affectstream.engines.runtimes.nvidia import NvidiaRuntime as Compiler
from affectstream.engines.spec import Array

Shape = tuple[int, ...]


class TensorIOMode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


class TensorLocation(enum.Enum):
    DEVICE, HOST = range(2)


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    LAZY, EAGER, NONE = range(3)


class DataType(enum.Enum):
    FLOAT = "float32"
    HALF = "float16"
    INT64 = "int64"
    UINT8 = "uint8"
    BOOL = "bool"
    BF16 = "bfloat16"
    FP8 = "float8"


def nptype(kind: DataType) -> Any:
    if kind in (DataType.BF16, DataType.FP8):
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return np.dtype(kind.value).type


@dataclass(eq=False)
class Network:
    """What a fake plan computes. Shapes have -1 for free axes."""

    inputs: Mapping[str, tuple[Shape, DataType]]
    outputs: Mapping[str, tuple[Shape, DataType]]
    compute: Callable[[Mapping[str, Array]], Mapping[str, Array]]
    profiles: Sequence[Mapping[str, tuple[Shape, Shape, Shape]]]
    host_tensors: frozenset[str] = frozenset()
    data_dependent: frozenset[str] = frozenset()
    refuse: set[str] = field(default_factory=set)
    """Calls that fail, by name; a call of TensorRT's does so with False, None or a RuntimeError."""
    executions: int = 0
    """How often the kernels ran."""
    enqueued: int = 0
    """How often `execute_async_v3` was called."""


class FakeTensorRT:
    """The module. `plans` maps the bytes of a plan to what it computes."""

    TensorIOMode = TensorIOMode
    TensorLocation = TensorLocation
    ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
    DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
    nptype = staticmethod(nptype)

    def __init__(
        self, plans: Mapping[bytes, Network], enqueue: Enqueue, runtime: Compiler = "tensorrt"
    ) -> None:
        self.runtime = runtime
        self.plans = plans
        self.enqueue = enqueue
        self.log = NvidiaLog()
        self.ends: list[tuple[str, str]] = []
        """What was destroyed, in order, and on which thread."""
        self.complaint = "Magic tag does not match"
        """What the log says of bytes that are no plan."""

    def Runtime(self, logger: object) -> Runtime:  # noqa: N802 - TensorRT's name
        return Runtime(self)

    def bindings(self) -> Bindings:
        return Bindings(self.runtime, self, "11.4.0.106", object(), self.log)

    def say(self, text: str) -> None:
        self.log.add("ERROR", text)


class _Mortal:
    """Tells when and on which thread it ends, and is used on one thread only."""

    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt = trt
        self.thread = threading.current_thread()

    def check(self) -> None:
        assert threading.current_thread() is self.thread, "used on another thread"

    def __del__(self) -> None:
        self.trt.ends.append((type(self).__name__, threading.current_thread().name))


class Runtime(_Mortal):
    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        if data not in self.trt.plans:
            self.trt.say(self.trt.complaint)
            return None
        return Engine(self, self.trt.plans[data])


class RuntimeConfig:
    strategy = ExecutionContextAllocationStrategy.STATIC
    dynamic_shapes_kernel_specialization_strategy: object = None

    def set_execution_context_allocation_strategy(
        self, strategy: ExecutionContextAllocationStrategy
    ) -> None:
        self.strategy = strategy


class Engine(_Mortal):
    device_memory_size_v2 = 4096

    def __init__(self, runtime: Runtime, network: Network) -> None:
        super().__init__(runtime.trt)
        self.runtime = runtime
        self.network = network
        self.tensors = {**network.inputs, **network.outputs}
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = len(network.profiles)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.network.inputs else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.HOST if name in self.network.host_tensors else TensorLocation.DEVICE

    def get_tensor_dtype(self, name: str) -> DataType:
        return self.tensors[name][1]

    def get_tensor_shape(self, name: str) -> Shape:
        return self.tensors[name][0]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[Shape]:
        return list(self.network.profiles[profile][name])

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, config: RuntimeConfig) -> Context | None:
        assert config.strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        eager = DynamicShapesKernelSpecializationStrategy.EAGER
        assert (
            config.dynamic_shapes_kernel_specialization_strategy is eager
            or self.trt.runtime == "tensorrt"
        )
        if "create_execution_context" in self.network.refuse:
            self.trt.say("out of memory")
            return None
        return Context(self)


class Context(_Mortal):
    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.trt)
        self.engine = engine
        self.network = engine.network
        self.profile = 0
        self.shapes = {n: s for n, (s, _) in self.network.inputs.items() if min(s, default=0) >= 0}
        self.addresses: dict[str, int] = {}
        self.scratch = 0

    def set_device_memory(self, memory: int, size: int) -> None:
        assert memory and size >= self.engine.device_memory_size_v2
        self.scratch = memory

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.check()
        if "set_optimization_profile_async" in self.network.refuse:
            return False
        self.profile = profile
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        self.check()
        low, _, high = self.network.profiles[self.profile][name]
        if not all(lo <= n <= hi for lo, n, hi in zip(low, shape, high, strict=True)):
            self.trt.say(f"{name} is outside the profile")
            return False
        self.shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        if "infer_shapes" in self.network.refuse:
            raise RuntimeError("shapes do not match")
        return [name for name in self.network.inputs if name not in self.shapes]

    def get_tensor_shape(self, name: str) -> Shape:
        if name in self.network.data_dependent:
            return (-1, *self.network.outputs[name][0][1:])
        zeros = {n: np.zeros(s, nptype(self.network.inputs[n][1])) for n, s in self.shapes.items()}
        return self.network.compute(zeros)[name].shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.check()
        self.addresses[name] = address
        return True

    def is_stream_capturable(self, stream: int) -> bool:
        self.check()
        return "is_stream_capturable" not in self.network.refuse

    def execute_async_v3(self, stream: int) -> bool:
        self.check()
        assert stream, "the default stream"
        assert self.scratch, "no device memory was given"
        assert self.addresses.keys() == self.engine.tensors.keys(), "a tensor has no address"
        if "execute_async_v3" in self.network.refuse:
            self.trt.say("enqueue failed")
            return False
        self.network.enqueued += 1
        # The kernels are bound to what is set now, as in a CUDA graph; they hold no reference to this.
        self.trt.enqueue(stream, Kernels(self.network, dict(self.shapes), dict(self.addresses)))
        return True


@dataclass(frozen=True)
class Kernels:
    """What one execution computes when it is called, on addresses of the host."""

    network: Network
    shapes: Mapping[str, Shape]
    """Of the inputs."""
    addresses: Mapping[str, int]

    def __call__(self) -> None:
        network = self.network
        network.executions += 1
        feeds = {
            name: at(self.addresses[name], shape, nptype(network.inputs[name][1])).copy()
            for name, shape in self.shapes.items()
        }
        for name, found in network.compute(feeds).items():
            kind = nptype(network.outputs[name][1])
            at(self.addresses[name], found.shape, kind)[...] = found


Enqueue = Callable[[int, Kernels], None]


def at(address: int, shape: Shape, kind: Any) -> Array:
    """The memory at `address` as an array."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    raw = (ctypes.c_char * max(size, 1)).from_address(address)
    return np.frombuffer(raw, kind, count=int(np.prod(shape))).reshape(shape)


def affine(
    *,
    profiles: Sequence[tuple[int, int, int]] = ((1, 8, 64),),
    width: int = 3,
    kind: DataType = DataType.FLOAT,
) -> Network:
    """``y = 2 x + 1`` over rows of `width`, and their sum; batch sizes as given."""

    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        y = 2 * feeds["x"] + 1
        return {"y": y, "total": y.sum(1)}

    return Network(
        inputs={"x": ((-1, width), kind)},
        outputs={"y": ((-1, width), kind), "total": ((-1,), kind)},
        compute=compute,
        profiles=[
            {"x": ((low, width), (usual, width), (high, width))} for low, usual, high in profiles
        ],
    )
