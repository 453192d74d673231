"""Pages that are written by hand but for some places, which scripts fill: each between two comments,

    <!-- NAME: COMMAND -->
    <!-- end -->
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

Made = Callable[[], dict[str, str]]
"""Makes what stands in the places, by their names."""


def filled(page: Path, made: Made) -> str:
    """The text of a page with its places filled anew."""
    text = page.read_text()
    for name, table in made().items():
        pattern = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text, places = pattern.subn(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", text)
        if places != 1:
            raise SystemExit(f"{page.name} has {places} places for {name}")
    return text


def main(page: Path, made: Made, script: str, description: str | None) -> int:
    """What a script does that fills a page, or with --check only says whether it is up to date."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a table is not up to date")
    check = parser.parse_args().check
    text = filled(page, made)
    if not check:
        page.write_text(text)
    elif text != page.read_text():
        print(f"{page.name} is not up to date: run python scripts/{Path(script).name}", file=sys.stderr)
        return 1
    return 0
