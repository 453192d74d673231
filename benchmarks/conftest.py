"""Settings of the benchmarks: short measurements, one thread for every library, an error beside every time."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from fastact.accuracy.peers import one_thread

DEFAULTS = {"max-time": "0.1", "min-rounds": "5", "columns": "min,median,iqr,rounds"}
"""Options of pytest-benchmark that hold unless the command line says otherwise."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "computes_nothing: a benchmark whose result has no errors")
    options = config.option
    if not hasattr(options, "benchmark_only"):
        return
    if options.benchmark_only:  # asked for, so they run even where the project's settings turn benchmarks off
        options.benchmark_disable = False
    given = [str(argument).split("=")[0] for argument in config.invocation_params.args]
    parser = config._parser
    for name, value in DEFAULTS.items():
        if f"--benchmark-{name}" not in given:
            parsed = parser.parse_known_args([f"--benchmark-{name}={value}"])
            attribute = f"benchmark_{name.replace('-', '_')}"
            setattr(options, attribute, getattr(parsed, attribute))


@pytest.fixture(scope="session", autouse=True)
def _single_threaded() -> Iterator[None]:
    with one_thread():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A time without the error that was made in it says little."""
    result = yield
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    if benchmark is not None and item.get_closest_marker("computes_nothing") is None:
        assert "max_ulp" in benchmark.extra_info, "a benchmark says what its largest error is"
    return result
