"""python-zeroconf as its documentation uses it: announces a service, or waits for one. For comparison.

``zeroconf_node.py announce NAME ADDRESS`` or ``zeroconf_node.py browse``; prints JSON lines with monotonic
times, and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time

from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

KIND = "_netsim-bench._udp.local."


def say(event: str, **fields: object) -> None:
    """Print one event."""
    print(json.dumps({"event": event, "at": time.monotonic(), **fields}), flush=True)


def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
    """Something was seen."""
    if state_change is ServiceStateChange.Added:
        say("seen", name=name)


async def main() -> None:
    """One or the other."""
    zeroconf = AsyncZeroconf()
    if sys.argv[1] == "browse":
        browser = AsyncServiceBrowser(zeroconf.zeroconf, KIND, handlers=[changed])
        say("ready")
    else:
        name = f"{sys.argv[2]}.{KIND}"
        info = AsyncServiceInfo(KIND, name, addresses=[socket.inet_aton(sys.argv[3])], port=4000)
        say("announce", name=name)
        await zeroconf.async_register_service(info)
    await asyncio.to_thread(sys.stdin.read)
    if sys.argv[1] == "browse":
        await browser.async_cancel()
    await zeroconf.async_close()


if __name__ == "__main__":
    asyncio.run(main())
