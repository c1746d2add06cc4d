"""miniupnpd in a router: UPnP IGD, NAT-PMP and PCP.

Law 1: it writes into tables of its own, which are looked at before the router's; nothing else is changed.
Law 2: a protocol that is left out is not answered at all, as if the router had never heard of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.host import Host
from netsim.namespaces import find_tool
from netsim.process import LabProcess
from netsim.steps import nft_step
from netsim.tools import require_tools

TABLE = "upnp"
_RULES = f"""add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain input {{ type filter hook input priority filter; UNANSWERED }}
  chain forward_upnp {{ }}
  chain prerouting_upnp {{ }}
  chain postrouting_upnp {{ }}
  chain prerouting {{ type nat hook prerouting priority dstnat - 5; jump prerouting_upnp; }}
  chain postrouting {{ type nat hook postrouting priority srcnat - 5; jump postrouting_upnp; }}
}}
"""
PROTOCOLS = {
    "pcp": "udp dport 5351 @th,64,8 2 drop;",
    "nat-pmp": "udp dport 5351 @th,64,8 0 drop;",
    "upnp": "udp dport 1900 drop;",
}
"""What leaves each out: the first octet after the UDP header is the version."""


class Upnp:
    """A miniupnpd. Made by :meth:`netsim.site.Site.start_upnp`."""

    def __init__(
        self,
        router: Host,
        lan: str,
        gateway: str,
        protocols: Sequence[str] = tuple(PROTOCOLS),
        min_lifetime: int = 120,
    ) -> None:
        """``min_lifetime``: seconds that PCP mappings have at least."""
        self._protocols = tuple(protocols)
        self._min_lifetime = min_lifetime
        self._router = router
        self._lan = lan
        self._gateway = gateway
        self.process: LabProcess | None = None

    async def start(self) -> None:
        """Start it without any mappings. Raises LabError, LabUnavailable, NeverHappened."""
        require_tools("miniupnpd")
        await self.stop()
        unanswered = " ".join(rule for name, rule in PROTOCOLS.items() if name not in self._protocols)
        rules = _RULES.replace("UNANSWERED", unanswered)
        await self._router.sandbox.steps([nft_step(self._router.name, rules)])
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

    async def kill(self) -> None:
        """End it without a farewell; its mappings stay in the router's tables."""
        if self.process is not None:
            await self.process.kill()

    async def mappings(self) -> list[str]:
        """The rules that let others in."""
        shown = (await self._router.run(["nft", "list", "chain", "inet", TABLE, "prerouting_upnp"])).check()
        return [line.strip() for line in shown.stdout.splitlines() if "dnat" in line]

    def _configuration(self) -> list[str]:
        return [
            "ext_ifname=wan",
            "listening_ip=lan",
            "port=5000",
            "enable_natpmp=yes",
            "enable_upnp=yes",
            "secure_mode=yes",
            "system_uptime=yes",
            f"min_lifetime={self._min_lifetime}",
            "uuid=490fcade-ec09-4c44-85cb-662a430fecbd",
            f"upnp_table_name={TABLE}",
            f"upnp_nat_table_name={TABLE}",
            "upnp_forward_chain=forward_upnp",
            "upnp_nat_chain=prerouting_upnp",
            "upnp_nat_postrouting_chain=postrouting_upnp",
            f"allow 1024-65535 {self._lan} 1024-65535",
            "deny 0-65535 0.0.0.0/0 0-65535",
        ]
