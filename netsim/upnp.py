"""miniupnpd in a router: UPnP IGD, NAT-PMP and PCP.

Law: it writes into tables of its own, which are looked at before the router's; nothing else is changed.
"""

from __future__ import annotations

from netsim.host import Host
from netsim.namespaces import find_tool
from netsim.process import LabProcess
from netsim.steps import nft_step
from netsim.tools import require_tools

TABLE = "upnp"
_RULES = f"""add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain forward_upnp {{ }}
  chain prerouting_upnp {{ }}
  chain postrouting_upnp {{ }}
  chain prerouting {{ type nat hook prerouting priority dstnat - 5; jump prerouting_upnp; }}
  chain postrouting {{ type nat hook postrouting priority srcnat - 5; jump postrouting_upnp; }}
}}
"""


class Upnp:
    """A miniupnpd. Made by :meth:`netsim.site.Site.start_upnp`."""

    def __init__(self, router: Host, lan: str, gateway: str) -> None:
        self._router = router
        self._lan = lan
        self._gateway = gateway
        self.process: LabProcess | None = None

    async def start(self) -> None:
        """Start it without any mappings. Raises LabError, LabUnavailable, NeverHappened."""
        require_tools("miniupnpd")
        await self.stop()
        await self._router.sandbox.steps([nft_step(self._router.name, _RULES)])
        config = self._router.directory / "miniupnpd.conf"
        config.write_text("\n".join(self._configuration()) + "\n")
        self.process = await self._router.popen(
            [
                *(find_tool("miniupnpd") or "miniupnpd", "-d", "-f", config),
                *("-P", self._router.directory / "miniupnpd.pid"),
            ]
        )
        await self.process.wait_for_line("Listening for NAT-PMP")

    async def stop(self) -> None:
        """Stop it; its mappings stay in the router's tables."""
        if self.process is not None and self.process.running:
            await self.process.stop()

    def _configuration(self) -> list[str]:
        return [
            "ext_ifname=wan",
            "listening_ip=lan",
            "port=5000",
            "enable_natpmp=yes",
            "enable_upnp=yes",
            "secure_mode=yes",
            "system_uptime=yes",
            "uuid=490fcade-ec09-4c44-85cb-662a430fecbd",
            f"upnp_table_name={TABLE}",
            f"upnp_nat_table_name={TABLE}",
            "upnp_forward_chain=forward_upnp",
            "upnp_nat_chain=prerouting_upnp",
            "upnp_nat_postrouting_chain=postrouting_upnp",
            f"allow 1024-65535 {self._lan} 1024-65535",
            "deny 0-65535 0.0.0.0/0 0-65535",
        ]
