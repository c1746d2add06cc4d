"""The plugin as a stranger's tests use it."""

from __future__ import annotations

import pytest

from netsim.lab import ROOT

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from netsim.tools import require_tools

async def test_a_lab(lab):
    site = await lab.site("alice", "full_cone")
    assert site.host.ipv4

async def test_two_labs(make_lab):
    one, other = await make_lab(), await make_lab()
    await one.lan(["alice"])
    await other.lan(["alice"])

async def test_a_missing_tool(lab, monkeypatch):
    monkeypatch.setattr("netsim.tools.find_tool", lambda name: None)
    await lab.server()

async def test_a_failure(lab):
    assert lab.sandbox.pid == 0
"""


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run the stranger's tests in a process of its own."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(TESTS)
    return pytester.runpytest_subprocess("-p", "netsim.pytest_plugin", "-rs", *args)


def test_tests_get_labs_and_are_skipped_with_the_reason(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fixture, a factory, a failure that stays one; a missing tool is a skip that says what to install."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    result = run(pytester)
    result.assert_outcomes(passed=2, skipped=1, failed=1)
    result.stdout.fnmatch_lines(["SKIPPED*sudo apt-get install --no-install-recommends coturn openssl*"])


def test_a_machine_without_namespaces_skips_everything(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lab can't run at all, the reason is the kernel's."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(
        "import netsim.namespaces\nnetsim.namespaces._SETUP = 'echo forbidden >&2; exit 1'\n"
    )
    result = run(pytester)
    result.assert_outcomes(skipped=4, errors=0, failed=0, passed=0)
    result.stdout.fnmatch_lines(["SKIPPED*this system forbids them (forbidden)*"])
