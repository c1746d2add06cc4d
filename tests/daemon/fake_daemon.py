"""The real daemon program around a node without a network. Run as a script, with the daemon's flags."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from meshcall import daemon
from tests.unit.control.fake_node import FakeNode

if __name__ == "__main__":
    sys.exit(daemon.main(make_node=FakeNode))
