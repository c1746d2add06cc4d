"""Guards for every test: hypothesis profiles, a loop exception handler that fails the test."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from netsim.bench.installed import bytecode

# What a test starts has its bytecode, as what is installed has: hundreds of starts would compile all sources.
os.environ |= bytecode()
# No test, and nothing that a test starts, may ask the real Mainline DHT; tests of it have one of their own.
os.environ["MESHCALL_NO_MAINLINE"] = "1"
# Likewise the router of this machine's network.
os.environ["MESHCALL_NO_PORT_MAPPING"] = "1"

settings.register_profile(
    "ci", derandomize=True, max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", max_examples=50_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
