"""Threads change nothing but the time."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.cpu import cores, pool, threads

N = 40_000
SMALLEST = threads.SMALLEST


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads for nearly every array, in small pieces, however few cores there are."""
    settings = {"SMALLEST": 64, "WORTH": 0, "SHARE": 1, "SHORTEST": 64, "LONGEST": 256, "PIECE": 1}
    for name, value in settings.items():
        monkeypatch.setattr(threads, name, value)
    monkeypatch.setattr(threads, "loops", {})
    usual = {key: limit.value for key, limit in threads._limits.items()}
    for limit in threads._limits.values():
        limit.value = settings["SMALLEST"]
    monkeypatch.setattr(pool, "REST", 0)
    pool.current.rest = 0.0
    with fastact.num_threads(4):
        yield
    for key, limit in threads._limits.items():
        limit.value = usual.get(key, SMALLEST)


@pytest.fixture
def joined(eager: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Calls in which the caller waits until a helper has taken a piece; lists how many pieces helpers took."""
    pieces: list[int] = []
    opened: set[Any] = set()
    helped: set[Any] = set()
    news = threading.Condition()
    work, opening = pool.Job.work, pool.Pool.open
    caller = threading.current_thread()

    def patched_work(job: Any) -> int:
        if threading.current_thread() is caller:
            if job in opened:
                with news:
                    assert news.wait_for(lambda: job in helped, 30)
            return work(job)
        taken = work(job)
        with news:
            pieces.append(taken)
            helped.add(job)
            news.notify_all()
        return taken

    def patched_open(helpers: Any, job: Any, *rest: Any) -> None:
        opened.add(job)
        opening(helpers, job, *rest)

    monkeypatch.setattr(pool.Job, "work", patched_work)
    monkeypatch.setattr(pool.Pool, "open", patched_open)
    return pieces


def took(joined: list[int]) -> bool:
    """Whether helpers took pieces: the one that did may be the last to say so."""
    deadline = time.monotonic() + 30
    while not sum(joined) and time.monotonic() < deadline:
        time.sleep(0.001)
    return sum(joined) > 0


def plain(call: Callable[[], Any]) -> Any:
    with fastact.num_threads(1):
        return call()


def material(dtype: Any = np.float32, count: int = N) -> np.ndarray:
    return np.linspace(-30, 30, count).astype(dtype)


def bits(a: Any) -> list[Any]:
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}").tolist()


# -- results ----------------------------------------------------------------------------------------------------------
def test_helpers_take_pieces(joined: list[int]) -> None:
    x = material()
    assert bits(fastact.mish(x)) == bits(plain(lambda: fastact.mish(x)))
    assert took(joined)


@pytest.mark.parametrize("tier", ["exact", "fast", "rough"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("count", [64, 65, 255, 257, 4095, N])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_bits_do_not_depend_on_threads(eager: None, dtype: Any, tier: str, count: int) -> None:
    x = material(dtype, count)
    one = plain(lambda: fastact.exp(x, approx=tier))
    for threads_used in (2, 3, 8):
        with fastact.num_threads(threads_used):
            assert bits(fastact.exp(x, approx=tier)) == bits(one)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_bfloat16(eager: None) -> None:
    x = material(pytest.importorskip("ml_dtypes").bfloat16)
    got = fastact.exp(x)
    assert got.dtype == x.dtype and bits(got) == bits(plain(lambda: fastact.exp(x)))


def test_calls_that_one_thread_does_sooner_do_not_ask_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of kernels that are known to be over before threads pay, and those that were told to do without."""
    asked: list[int] = []
    x, ufunc = material(), fastact.mish.ufunc("exact")
    def run(ufunc: np.ufunc, loop: Any, operands: list[Any], x: Any, count: int) -> Any:
        asked.append(x.size)
        return ufunc(*operands[: ufunc.nin])

    monkeypatch.setattr(threads, "_run", run)
    monkeypatch.setattr(threads, "loops", {})
    monkeypatch.setattr(threads, "_chosen", None)
    monkeypatch.setattr(pool, "current", pool.Pool())
    limit = threads.limit(ufunc, x.dtype)
    monkeypatch.setattr(limit, "value", threads.SMALLEST)

    def asks() -> bool:
        """Whether calls do, by the function as by the ufunc."""
        by = []
        for called in (lambda: fastact.mish(x), lambda: threads.call(ufunc, (x,), {}, x)):
            asked.clear()
            assert bits(called()) == expected
            by.append(bool(asked))
        assert len(set(by)) == 1
        return by[0]

    expected = bits(ufunc(x))
    with fastact.num_threads(2):
        assert asks(), "of an unknown kernel"
        threads.loops[ufunc, x.dtype] = threads._Loop(1, limit)
        for least, more in ((x.size + 1, False), (x.size, True), (x.size - 1, True)):
            limit.value = least
            assert asks() is more
        with fastact.num_threads(1):
            assert not asks()
        threads.set_num_threads(1)
        assert asks(), "what surrounds the call counts"
    assert not asks()
    threads.set_num_threads(2)
    assert asks()
    threads.set_num_threads(None)


CALLS: dict[str, Callable[[], Any]] = {
    "matrix": lambda: fastact.swish(material().reshape(200, 200)),
    "Fortran": lambda: fastact.swish(np.asfortranarray(material().reshape(200, 200))),
    "transposed": lambda: fastact.swish(material().reshape(100, 20, 20).transpose(2, 0, 1)),
    "every other": lambda: fastact.swish(material()[::2]),
    "reversed": lambda: fastact.swish(material()[::-1]),
    "cut out": lambda: fastact.swish(material().reshape(200, 200)[3:150, 7:99]),
    "repeated": lambda: fastact.swish(np.broadcast_to(material(count=100), (70, 100))),
    "number": lambda: fastact.swish(material(), 2.0),
    "scalar": lambda: fastact.swish(material(), np.float32(2)),
    "wider scalar": lambda: fastact.swish(material(), np.float64(2)),
    "one per element": lambda: fastact.swish(material(), material()[::-1]),
    "one per column": lambda: fastact.swish(material().reshape(100, 400), material(count=400)),
    "one per row": lambda: fastact.swish(material().reshape(100, 400), material(count=100)[:, None]),
    "one per channel": lambda: fastact.swish(material().reshape(4, 10, 25, 40), material(count=10)[:, None, None]),
    "Fortran, one per row": lambda: fastact.swish(material().reshape(400, 100).T, np.ones((100, 1), "f4")),
    "more rows than x": lambda: fastact.swish(material(count=400), np.ones((5, 1), "f4")),
    "two layouts": lambda: fastact.swish(material().reshape(200, 200), material().reshape(200, 200).T),
    "wider parameter": lambda: fastact.swish(material(), np.ones(N)),
    "backward": lambda: fastact.mish.backward(material(), material()[::-1]),
    "backward of a number": lambda: fastact.mish.backward(1.0, material()),
    "from output": lambda: fastact.exp.backward_from_output(material(), material()),
    "whole numbers": lambda: fastact.exp(np.arange(N) % 7),
    "big-endian": lambda: fastact.exp(material(">f4")),
    "unaligned": lambda: fastact.exp(np.frombuffer(b"x" + material().tobytes(), "f4", offset=1)),
    "out": lambda: fastact.exp(material(), out=np.zeros(N, np.float32)),
    "out, strided": lambda: fastact.exp(material(), out=np.zeros(2 * N, np.float32)[::2]),
    "out, wider": lambda: fastact.exp(material(), np.zeros(N)),
    "out, more rows": lambda: fastact.exp(material(count=400), np.zeros((9, 400), np.float32)),
    "out, other layout": lambda: fastact.exp(material().reshape(200, 200), np.zeros((200, 200), "f4", order="F")),
    "in place": lambda: (lambda x: fastact.exp(x, x))(material()),
    "in place, reversed": lambda: (lambda x: fastact.exp(x, x[::-1]))(material()),
    "shifted": lambda: (lambda x: fastact.exp(x[:-1], x[1:]))(material()),
    "overlapping a parameter": lambda: (lambda x, b: fastact.swish(x, b, out=b[::-1]))(material(), material()),
    "where": lambda: fastact.exp(material(), where=material() > 0, out=np.zeros(N, np.float32)),
    "dtype": lambda: fastact.exp(material(), dtype=np.float64),
    "order": lambda: fastact.exp(material().reshape(200, 200), order="F"),
    "subclass": lambda: fastact.exp(material().view(np.matrix)),
    "masked": lambda: fastact.exp(np.ma.masked_array(material(), material() > 0)),
    "list": lambda: fastact.exp(material().tolist()),
    "frozen": lambda: fastact.exp(np.broadcast_to(material(), (2, N))),
    "empty": lambda: fastact.exp(np.empty((0, 100))),
    "number beyond float16": lambda: fastact.swish(material(np.float16), 1e6),
}


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("name", CALLS)
def test_calls_are_the_same(eager: None, name: str) -> None:
    one, many = plain(CALLS[name]), CALLS[name]()
    assert type(one) is type(many)
    assert (one.dtype, one.shape, one.strides) == (many.dtype, many.shape, many.strides)
    assert one.tobytes() == many.tobytes()


def test_out_is_returned(eager: None) -> None:
    x, out = material(), np.empty(N, np.float32)
    assert fastact.exp(x, out) is out
    assert fastact.exp(x, out=out) is out
    assert fastact.exp(x, out=(out,)) is out
    assert fastact.exp(x, x) is x


@pytest.mark.parametrize(
    "call",
    [
        lambda: fastact.exp(material(), np.empty(7, np.float32)),
        lambda: fastact.exp(material(), out=np.empty(N, np.int32)),
        lambda: fastact.exp(material(), np.empty(N, np.float32), out=np.empty(N, np.float32)),
        lambda: fastact.swish(material(), np.ones(3, np.float32)),
        lambda: fastact.exp(np.ones(N, complex)),
        lambda: fastact.exp(material(), out=np.broadcast_to(np.float32(1), (N,))),
    ],
)
def test_errors_are_the_same(eager: None, call: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as alone:
        plain(call)
    with pytest.raises(type(alone.value)) as together:
        call()
    assert str(together.value) == str(alone.value)


# -- floating-point errors --------------------------------------------------------------------------------------------
def spoiled(place: int, value: float, dtype: Any = np.float32) -> np.ndarray:
    x = np.ones(N, dtype)
    x[place] = value
    return x


ERRORS = [
    (fastact.exp, 1000.0, "overflow"),
    (fastact.exp, -100.0, "underflow"),
    (fastact.log, 0.0, "divide by zero"),
    (fastact.log, -1.0, "invalid value"),
    (fastact.exp, 0.0, None),
]


@pytest.mark.parametrize(("function", "value", "word"), ERRORS)
@pytest.mark.parametrize("place", [0, N // 2, N - 1])
def test_errstate(joined: list[int], function: Any, value: float, word: str | None, place: int) -> None:
    x = spoiled(place, value)
    text = f"{word} encountered in {function.ufunc('fast').__name__}"
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="warn"):
        warnings.simplefilter("always")
        function(x, approx="fast")
    assert [(w.category, str(w.message)) for w in caught] == ([(RuntimeWarning, text)] if word else [])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        function(x, approx="fast")
    told: list[tuple[str, int]] = []
    with np.errstate(all="call", call=lambda *what: told.append(what)):
        function(x, approx="fast")
        plain(lambda: function(x, approx="fast"))
    assert len(told) == (2 if word else 0) and told[:1] == told[1:]

    with np.errstate(all="log", call=(log := io.StringIO())):
        function(x, approx="fast")
    assert log.getvalue() == (f"Warning: {text}\n" if word else "")
    out = np.zeros(N, np.float32)
    with np.errstate(all="raise"):
        if word is None:
            function(x, out, approx="fast")
        else:
            with pytest.raises(FloatingPointError, match=f"^{text}$"):
                function(x, out, approx="fast")
    assert (out[1:-1] != 0).sum() > N // 2 or function is fastact.log  # log 1 is 0


def test_errors_of_several_kinds_come_in_numpys_order(eager: None) -> None:
    x = spoiled(5, 0.0)
    x[-5] = -1.0
    texts = []
    for limit in (1, 4):
        with fastact.num_threads(limit), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fastact.log(x, approx="fast")
        texts.append([str(w.message) for w in caught])
    assert texts[0] == texts[1] and len(texts[0]) == 2


def test_flags_of_one_call_are_not_those_of_the_next(eager: None) -> None:
    with np.errstate(all="ignore"):
        fastact.exp(spoiled(77, 1000.0))
    with np.errstate(all="raise"):
        fastact.exp(np.ones(N, np.float32))


# -- how many ---------------------------------------------------------------------------------------------------------
def test_number_of_threads() -> None:
    default = fastact.get_num_threads()
    assert 1 <= default == cores.available()
    try:
        fastact.set_num_threads(3)
        assert fastact.get_num_threads() == 3
        with fastact.num_threads(2) as n:
            assert n == fastact.get_num_threads() == 2
            with fastact.num_threads(5):
                assert fastact.get_num_threads() == 5
            assert fastact.get_num_threads() == 2
            with ThreadPoolExecutor(1) as executor:
                assert executor.submit(fastact.get_num_threads).result() == 3
        assert fastact.get_num_threads() == 3
    finally:
        fastact.set_num_threads(None)
    assert fastact.get_num_threads() == default


@pytest.mark.parametrize("bad", [0, -1, np.int64(0)])
def test_fewer_than_one_thread(bad: Any) -> None:
    for call in (fastact.set_num_threads, lambda n: fastact.num_threads(n).__enter__()):
        with pytest.raises(ValueError, match="at least 1"):
            call(bad)


@pytest.mark.parametrize("bad", [1.5, "2", True])
def test_no_number_of_threads(bad: Any) -> None:
    for call in (fastact.set_num_threads, lambda n: fastact.num_threads(n).__enter__()):
        with pytest.raises(TypeError, match="whole number"):
            call(bad)


def test_one_thread_starts_none() -> None:
    code = (
        "import threading, numpy as np, fastact\n"
        "fastact.set_num_threads(1)\n"
        "fastact.exp(np.ones(1 << 21, np.float32), approx='fast')\n"
        "assert threading.active_count() == 1"
    )
    run(code)


def run(code: str, **environment: str) -> str:
    """The output of a fresh interpreter that runs the code."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_environment() -> None:
    code = "import fastact; print(fastact.get_num_threads())"
    assert run(code, FASTACT_NUM_THREADS="7").strip() == "7"
    assert run(code, FASTACT_NUM_THREADS="").strip() == str(cores.available())
    nonsense = run(code, FASTACT_NUM_THREADS="many")
    assert "RuntimeWarning" in nonsense and "'many'" in nonsense and str(cores.available()) in nonsense


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_affinity() -> None:
    run(
        "import os, fastact\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "assert fastact.get_num_threads() == 1"
    )


@pytest.mark.parametrize(
    ("files", "member", "want"),
    [
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 4.0),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, "0::/a/b", 0.5),
        ({"cpu,x/d/cpu.cfs_quota_us": "-1", "cpu,x/d/cpu.cfs_period_us": "100000"}, "3:cpu,x:/d", None),
        ({"cpu,x/cpu.cfs_quota_us": "300000", "cpu,x/cpu.cfs_period_us": "100000"}, "3:cpu,x:/d", 3.0),
        ({"cpu.max": "nonsense"}, "0::/", None),
        ({"cpu.max": "100000 100000"}, "5:memory:/", None),
        ({}, "", None),
    ],
)
def test_control_groups(tmp_path: Path, files: dict[str, str], member: str, want: float | None) -> None:
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    membership = tmp_path / "cgroup"
    membership.write_text(member + "\n")
    assert cores.granted(tmp_path / "groups", membership) == want
    assert cores.granted(tmp_path / "groups", tmp_path / "missing") is None


# -- many callers, processes, the end ---------------------------------------------------------------------------------
def test_many_callers(eager: None) -> None:
    x = material()
    want = bits(plain(lambda: fastact.mish(x)))

    def repeat(k: int) -> bool:
        with fastact.num_threads(1 + k % 4):
            results = [fastact.mish(x) for _ in range(20)]
        return all(bits(y) == want for y in results)

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(repeat, range(8)))


def test_calls_within_calls(eager: None) -> None:
    """A handler of floating-point errors calls again, while the outer call has not returned."""
    inner: list[Any] = []
    with np.errstate(over="call", call=lambda *_: inner.append(fastact.mish(material()))):
        fastact.exp(spoiled(9, 1000.0))
    assert bits(inner[0]) == bits(plain(lambda: fastact.mish(material())))


def _work(count: int) -> float:
    return float(fastact.mish(np.full(count, 0.5, np.float32)).sum(dtype=np.float64))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_process_pools(eager: None, method: str) -> None:
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("the system cannot fork")
    want = _work(N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        with ProcessPoolExecutor(2, mp_context=get_context(method)) as executor:
            assert list(executor.map(_work, [N] * 4, timeout=100)) == [want] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_helpers_of_its_own(joined: list[int]) -> None:
    x = material()
    want = bits(fastact.mish(x))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            before = pool.current.started
            joined.clear()
            good = bits(fastact.mish(x)) == want and took(joined)
            status = 0 if before == 0 and good else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bits(fastact.mish(x)) == want


def test_the_interpreter_ends_with_helpers_about() -> None:
    code = (
        "import threading, time, numpy as np, fastact\n"
        "fastact.set_num_threads(4)\n"
        "x = np.ones(1 << 22, np.float32)\n"
        "def forever():\n"
        "    while True: fastact.exp(x, approx='fast')\n"
        "for _ in range(2): threading.Thread(target=forever, daemon=True).start()\n"
        "time.sleep(0.5)\n"
        "assert any(t.name.startswith('fastact') for t in threading.enumerate())"
    )
    run(code)
