"""A daemon whose media workers have aiortc's own SCTP parser: one packet freezes such a worker."""

from __future__ import annotations

import sys

from meshcall import daemon
from meshcall.aio.worker import pool

if __name__ == "__main__":
    pool.ZYGOTE = "tests.aio.unguarded_zygote"  # type: ignore[misc]
    sys.exit(daemon.main())
