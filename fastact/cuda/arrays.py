"""Arrays of other libraries on a CUDA device: where they lie, on which stream they are worked on, how to make another.

Nothing is imported for it: an object's own module is loaded already."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastact.cuda import package

DTYPES = ("float16", "bfloat16", "float32", "float64")
ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
_TYPESTR = {"<f2": "float16", "<f4": "float32", "<f8": "float64", "<V2": "bfloat16"}
_DLPACK = {(2, 16): "float16", (4, 16): "bfloat16", (2, 32): "float32", (2, 64): "float64"}
_CUDA, _CUDA_MANAGED = 2, 13
"""Kinds of device in DLPack."""


@dataclass(frozen=True)
class View:
    """Where an array lies. ``device`` and ``stream`` are None where the array does not say.

    ``strides`` are in bytes. A stream is the driver's handle as an integer; 0 stands for the default stream."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    device: int | None = None
    stream: int | None = None
    writeable: bool = True
    keep: Any = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def extent(self) -> tuple[int, int]:
        """The first address and the one behind the last."""
        if not self.size:
            return self.address, self.address
        reach = [(length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True)]
        low = self.address + sum(r for r in reach if r < 0)
        return low, self.address + sum(r for r in reach if r > 0) + ITEMSIZE[self.dtype]


class Unsuitable(TypeError):
    """An array that kernels cannot read, with the reason."""


def compact(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The strides of an array of one piece, last axis first."""
    strides = []
    for length in reversed(shape):
        strides.append(itemsize)
        itemsize *= max(length, 1)
    return tuple(reversed(strides))


def on_device(value: Any) -> bool:
    """Whether a value is an array on a CUDA device, or a tuple that holds one."""
    if type(value) is tuple:
        return any(map(on_device, value))
    if getattr(value, "__cuda_ndarray__", False) or getattr(value, "is_cuda", None) is True:
        return True
    try:
        if getattr(value, "__cuda_array_interface__", None) is not None:
            return True
        device = getattr(type(value), "__dlpack_device__", None)
        return device is not None and int(device(value)[0]) in (_CUDA, _CUDA_MANAGED)
    except Exception:  # whatever it is, no kernel can read it
        return False


def kind(value: Any) -> str:
    """The library that a device array belongs to: numba, cupy, torch or other."""
    if getattr(value, "__cuda_ndarray__", False):
        return "numba"
    top = type(value).__module__.partition(".")[0]
    if getattr(value, "is_cuda", None) is True:  # subclasses of tensors live anywhere
        return "torch"
    return top if top == "cupy" else "other"


def view(value: Any) -> View:
    """What kernels have to know of a device array; Unsuitable says why there is nothing to be had."""
    found = {"numba": _numba, "torch": _torch}.get(kind(value))
    if found is not None:
        return found(value)
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is not None:
        return _interface(interface, value)
    return _dlpack(value)


def _interface(found: dict[str, Any], value: Any) -> View:
    if found.get("mask") is not None:
        raise Unsuitable("is a masked array")
    dtype = _dtype_name(found["typestr"], value)
    shape = tuple(map(int, found["shape"]))
    strides = found.get("strides")
    address, read_only = found["data"]
    stream = found.get("stream")
    if kind(value) == "cupy":
        stream = sys.modules["cupy"].cuda.get_current_stream(_ordinal(value)).ptr
    strides = compact(shape, ITEMSIZE[dtype]) if strides is None else tuple(map(int, strides))
    return View(int(address or 0), shape, strides, dtype, _ordinal(value), stream, not read_only)


def _dtype_name(text: str, value: Any) -> str:
    """The name of a dtype given as in NumPy's array interface."""
    name = _TYPESTR.get(text.replace("|V2", "<V2"))
    own = str(getattr(value, "dtype", ""))
    if name is None or (name == "bfloat16" and own and "bfloat16" not in own):
        raise Unsuitable(f"is {own or text}")
    return name


def _ordinal(value: Any) -> int | None:
    device = getattr(value, "device", None)
    found = getattr(device, "id", getattr(device, "index", None))
    return found if isinstance(found, int) else None


def _numba(value: Any) -> View:
    if package.simulated():
        array = value._ary
        dtype = _dtype_name(array.dtype.str, array)
        return View(array.ctypes.data, array.shape, array.strides, dtype, 0, None, array.flags.writeable)
    found = value.__cuda_array_interface__
    view = _interface({**found, "stream": None}, value)
    stream = getattr(value, "stream", 0)
    device = getattr(getattr(getattr(value, "gpu_data", None), "context", None), "device", None)
    number = getattr(device, "id", None)
    return View(
        view.address, view.shape, view.strides, view.dtype, number if isinstance(number, int) else None,
        int(stream) if stream else None, view.writeable,
    )  # fmt: skip


def _torch(value: Any) -> View:
    name = str(value.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise Unsuitable(f"is {name}")
    if value.requires_grad:
        raise Unsuitable("is a tensor that requires grad; use its .detach(), and .backward of this function")
    if value.layout is not sys.modules["torch"].strided:
        raise Unsuitable(f"is a tensor of layout {value.layout}")
    itemsize = ITEMSIZE[name]
    strides = tuple(step * itemsize for step in value.stride())
    stream = sys.modules["torch"].cuda.current_stream(value.device).cuda_stream
    return View(value.data_ptr(), tuple(value.shape), strides, name, value.device.index, stream)


# -- DLPack -----------------------------------------------------------------------------------------------------------
class _Tensor(ctypes.Structure):
    """DLTensor, the first member of a DLManagedTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device", ctypes.c_int32),
        ("axes", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )  # fmt: skip


def _dlpack(value: Any) -> View:
    """The capsule is kept, unused, as long as the view: its destructor gives the memory back."""
    capsule = value.__dlpack__(stream=1)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    dtype = _DLPACK.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    if dtype is None:
        raise Unsuitable(f"is {getattr(value, 'dtype', 'of a dtype')}")
    shape = tuple(tensor.shape[: tensor.axes])
    itemsize = ITEMSIZE[dtype]
    strides = tuple(s * itemsize for s in tensor.strides[: tensor.axes]) if tensor.strides else compact(shape, itemsize)
    return View((tensor.data or 0) + tensor.offset, shape, strides, dtype, tensor.device, None, True, capsule)


# -- results ----------------------------------------------------------------------------------------------------------
def empty_like(
    value: Any, view: View, shape: tuple[int, ...], strides: tuple[int, ...], name: str | None = None
) -> Any:
    """A new array of the same library, device and dtype, or one of float64 if that is its ``name``; Numba's where the
    library is none of those known."""
    library = kind(value)
    if library == "torch":
        torch = sys.modules["torch"]
        itemsize = ITEMSIZE[name or view.dtype]
        steps = tuple(step // itemsize for step in strides)
        return torch.empty_strided(
            shape, steps, dtype=getattr(torch, name) if name else value.dtype, device=value.device
        )
    if library == "cupy":
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(view.device):
            memory = cupy.cuda.alloc(max(1, int(np.prod(shape, dtype=np.int64))) * ITEMSIZE[name or view.dtype])
            return cupy.ndarray(shape, name or value.dtype, memory, strides)
    module = package.cuda()
    dtype = numpy_dtype(name or view.dtype)
    if package.simulated():
        size = int(np.prod(shape, dtype=np.int64))
        room = _aligned(max(size, 1) * dtype.itemsize)[: size * dtype.itemsize].view(dtype)
        simulated = type(module.to_device(np.zeros(1)))
        return simulated(np.lib.stride_tricks.as_strided(room, shape, strides))
    stream = getattr(value, "stream", 0) if library == "numba" else 0
    return module.device_array(shape, dtype, strides=strides, stream=stream)


def _aligned(size: int) -> np.ndarray[Any, Any]:
    """Memory that starts where a device's would."""
    room = np.zeros(size + 256, np.uint8)
    start = -room.ctypes.data % 256
    return room[start : start + size]


def numpy_dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)
