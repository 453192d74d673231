"""The command line, ``python -m fastact``: compare, info, list, cache, accuracy and plot.

Exit status: 0; 2 for arguments that make no sense, with one line on stderr; 130 when interrupted; 141 when nobody
reads the output any more.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    from fastact.cli.arguments import Problem
    from fastact.cli.parser import build

    try:
        options = build().parse_args(argv)
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except SystemExit as end:  # argparse ends so after --help and --version, and after its own complaints
        return end.code if isinstance(end.code, int) else 0
    except Problem as problem:
        print(f"fastact: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fastact: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # what is left in the buffer is not worth a complaint at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
