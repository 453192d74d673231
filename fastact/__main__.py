"""``python -m fastact``: see `fastact.cli`."""

import sys

from fastact.cli import main

if __name__ == "__main__":
    sys.exit(main())
