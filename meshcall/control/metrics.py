"""``/metrics``: the node's status in the text format of Prometheus (version 0.0.4).

Law: no ID, no address and no name is ever a label.
"""

from __future__ import annotations

from typing import Final

from meshcall.views import NodeStatus

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def format_metrics(status: NodeStatus) -> bytes:
    """All metrics of one moment."""
    # late: 2 MB that only a daemon which is watched needs
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
    from prometheus_client.registry import Collector

    class Snapshot(Collector):
        def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily]:
            gauges = {
                "uptime_seconds": ("Seconds since the daemon's start", status.uptime_s),
                "calls": ("Calls that have not ended", status.calls),
                "missed_calls": ("Missed calls that nobody has looked at", status.missed),
                "lan_peers": ("meshcall daemons on the LAN", status.lan.peers),
                "dht_nodes": ("Contacts in the routing tables", status.dht.nodes),
                "dht_records": ("Records kept for others", status.dht.stored),
                "dht_watches": ("Leases held at other nodes", status.dht.watches),
                "dht_routes": ("1: other nodes route through us", float(status.dht.role == "router")),
                "relay_allocations": ("Relayed addresses lent now", status.relay.allocations),
                "relay_streams": ("TCP and TLS connections to our relay", status.relay.streams),
                "warnings": ("What works less well than it should", len(status.warnings)),
            }
            found: list[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily] = [
                InfoMetricFamily("meshcall", "The version", {"version": status.version})
            ]
            for name, (summary, value) in gauges.items():
                found.append(GaugeMetricFamily(f"meshcall_{name}", summary, float(value)))
            octets = CounterMetricFamily(
                "meshcall_relayed_octets", "Octets relayed for others", labels=["direction"]
            )
            octets.add_metric(["to_peers"], status.relay.to_peers)
            octets.add_metric(["to_clients"], status.relay.to_clients)
            happened = CounterMetricFamily(
                "meshcall_events", "What was refused, dropped and answered", labels=["reason"]
            )
            for reason, count in status.counters.items():
                happened.add_metric([reason], count)
            return [*found, octets, happened]

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot())
    return generate_latest(registry)
