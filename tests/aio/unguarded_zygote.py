"""The process that forks workers, with aiortc's own SCTP parser: one packet freezes such a worker."""

from __future__ import annotations

import aiortc.rtcsctptransport

from meshcall.aio.rtc.hooks import library
from meshcall.aio.worker import zygote

library.decode_params = aiortc.rtcsctptransport.decode_params

if __name__ == "__main__":
    zygote.main()
