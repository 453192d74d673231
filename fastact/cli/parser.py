"""The parser of all commands."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

import fastact
from fastact.cli.arguments import Parser, duration, positive

EXAMPLES = """\
examples:
  python -m fastact compare mish
  python -m fastact compare gelu --input activations.npy --dtype float16
  python -m fastact plot mish --dtype float32 --peers torch -o mish.png
  python -m fastact cache --warm mish gelu
"""


def _runs(module: str) -> Callable[[argparse.Namespace], int]:
    """The command of a module of this package, imported when it is run."""

    def run(options: argparse.Namespace) -> int:
        status: int = importlib.import_module(f"fastact.cli.{module}").run(options)
        return status

    return run


def build() -> Parser:
    parser = Parser(
        prog="python -m fastact",
        description=fastact.__doc__ and fastact.__doc__.splitlines()[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fastact {fastact.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)

    def command(name: str, summary: str, module: str, json: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        added.set_defaults(run=_runs(module))
        if json:
            added.add_argument("--json", action="store_true", help="print one JSON object")
        return added

    compare = command("compare", "errors and speed of a function and its gradient, beside installed peers", "compare")
    compare.add_argument("name", metavar="NAME", help="a function or an alias; `list` shows them")
    compare.add_argument("--input", metavar="FILE", help="a .npy file of any shape to take the data from")
    compare.add_argument("--dtype", help="float16, bfloat16, float32 or float64; by default that of FILE, or float32")
    compare.add_argument(
        "--size", type=positive, metavar="N", help="how many elements: drawn (default 1,000,000), or the first of FILE"
    )
    compare.add_argument("--tiers", help="comma-separated; by default exact,fast,rough")
    compare.add_argument(
        "--peers", help="of numpy, scipy, torch, jax, numexpr, numba; by default all installed; '' for none"
    )
    compare.add_argument(
        "--sample", type=positive, default=100_000, metavar="N", help="errors are taken on N elements (default 100,000)"
    )
    compare.add_argument(
        "--seconds", type=duration, default=4.0, metavar="S", help="time to spend on each timing (default 4)"
    )
    _add_set(compare)

    command("info", "versions, processor, threads, kernel cache and peers", "info")
    command("list", "all functions with their formulas, parameters and gradients", "listing")

    cache = command("cache", "show, fill or clear the cache of compiled kernels", "cache")
    action = cache.add_mutually_exclusive_group()
    action.add_argument("--clear", action="store_true", help="remove all kernels from the disk")
    action.add_argument(
        "--warm", nargs="+", metavar="NAME", help="compile the kernels of these functions; `all` elementwise ones"
    )
    cache.add_argument("--tiers", help="warm only these tiers")
    cache.add_argument("--dtypes", help="warm only these dtypes")

    accuracy = command("accuracy", "the published error bounds", "accuracy")
    accuracy.add_argument("name", metavar="NAME", nargs="?", help="a function; by default all")

    plot = command("plot", "draw the errors over the inputs", "plot", json=False)
    plot.add_argument("name", metavar="NAME", help="a function or an alias")
    plot.add_argument("--dtype", default="float32", help="float16, bfloat16, float32 (default) or float64")
    plot.add_argument("--tier", "--tiers", dest="tiers", help="comma-separated; by default exact,fast,rough")
    plot.add_argument("--peers", help="comma-separated; by default all installed; '' for none")
    plot.add_argument("--gradient", action="store_true", help="the gradient's errors instead of the value's")
    plot.add_argument("--points", type=positive, default=40_000, metavar="N", help="inputs (default 40,000)")
    plot.add_argument("-o", "--output", metavar="FILE", help="by default NAME.png")
    _add_set(plot)
    return parser


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings", help="a parameter of the function"
    )
