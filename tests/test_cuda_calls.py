"""Arrays on CUDA devices: what is said where none can be used, and calls in Numba's simulator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact.cuda import package
from fastact.cuda.arrays import on_device

HERE = Path(__file__).parent


def test_calls_in_the_simulator() -> None:
    pytest.importorskip("ml_dtypes")
    pytest.importorskip("numba.cuda.simulator")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += [str(HERE / "cuda_simulated.py"), str(HERE / "cuda_simulated_rows.py")]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(HERE.parent)}
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=HERE.parent, env=environment, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]


class Device:
    """An array that says it lies on a device."""

    def __init__(self) -> None:
        self.__cuda_array_interface__ = {
            "shape": (4,), "strides": None, "data": (4096, False), "typestr": "<f4", "version": 3,
        }  # fmt: skip


def test_without_the_compiler_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba.cuda", None)
    package.cuda.cache_clear()
    try:
        x = Device()
        for call in (
            lambda: fastact.mish.device("fast"), lambda: fastact.mish.cuda(), lambda: fastact.mish(x),
            lambda: fastact.swiglu(x, x), lambda: fastact.softmax(x), lambda: fastact.logsumexp.backward(x, x, ()),
            lambda: fastact.layer_norm(x), lambda: fastact.rms_norm.backward(x, x),
        ):  # fmt: skip
            with pytest.raises(ImportError, match=r"numba-cuda: pip install 'fastact\[cuda\]'$"):
                call()
    finally:
        package.cuda.cache_clear()


def test_without_a_driver_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba.cuda")
    monkeypatch.setattr(package, "_usable", lambda: False)
    monkeypatch.setattr(package, "_installed", lambda: True)
    for function in (fastact.mish, fastact.softmax, fastact.layer_norm):
        with pytest.raises(package.MissingDriver, match="no CUDA device can be used") as caught:
            function(Device())
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(package, "_installed", lambda: False)
    with pytest.raises(ImportError, match="fastact"):
        fastact.mish(Device())


def test_what_lies_on_a_device_is_known_without_imports() -> None:
    assert on_device(Device()) and on_device((Device(),)) and not on_device((1.0,))
    for value in (1.0, None, [1.0], np.zeros(3), np.zeros(3).__array_interface__, "x", object()):
        assert not on_device(value)
    torch = pytest.importorskip("torch")
    assert not on_device(torch.zeros(3)) and not on_device(torch.zeros(3, requires_grad=True))


def test_arrays_of_the_host_import_nothing_for_devices() -> None:
    code = (
        "import sys, numpy as np, fastact\n"
        "fastact.mish(np.zeros(3, np.float32), out=np.zeros(3, np.float32))\n"
        "fastact.mish([0.5], approx='fast')\n"
        "assert 'numba' not in sys.modules, 'numba'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=HERE.parent)


def test_python_numbers_adapt_to_the_others_when_compared() -> None:
    from fastact.cuda.call import Target, _check_ranges

    hardtanh = fastact.hardtanh
    target = Target("hardtanh", "hardtanh", hardtanh._form, hardtanh._declaration.rejections)
    for low in (np.float32(0.3), np.array(0.3, np.float16)):
        _check_ranges(target, [low, 0.3])
        with pytest.raises(ValueError, match="min_val is greater than max_val"):
            _check_ranges(target, [low, 0.2])
    with pytest.raises(ValueError, match="min_val is greater than max_val"):
        _check_ranges(target, [0.4, 0.3])
