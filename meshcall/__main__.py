"""``python -m meshcall`` is the command line."""

from __future__ import annotations

import sys

from meshcall.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
