"""A world in virtual time: thousands of DHT engines, one heap of moments, one seed.

Law 1: the same settings and the same seed give the same run, octet by octet; nothing here reads a clock.
Law 2: the nodes are the product's own engine; the world only carries datagrams, kills, hides and lies.

``python -m netsim.universe --help`` runs one; ``docs/universe.md`` says what is modelled and what is not.
"""

from __future__ import annotations

from netsim.universe.settings import Settings
from netsim.universe.world import Node, Role, World

__all__ = ["Node", "Role", "Settings", "World"]
