"""The lab for pytest: ``pytest_plugins = ["netsim.pytest_plugin"]``, or ``pytest -p netsim.pytest_plugin``.

::

    async def test_call(lab):
        site = await lab.site("alice", "full_cone")

Law: a test that this machine can't run is skipped with the reason and what to install, wherever in the test
that comes to light.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path

import pytest

from netsim.errors import LabUnavailable
from netsim.lab import Lab

LabFactory = Callable[[], Awaitable[Lab]]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """A tool that a test lacks skips it."""
    try:
        return (yield)
    except LabUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
async def make_lab(tmp_path: Path) -> AsyncIterator[LabFactory]:
    """Makes any number of labs, whose logs stay in the test's ``tmp_path``; they end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        count = 0

        async def make() -> Lab:
            nonlocal count
            count += 1
            return await stack.enter_async_context(Lab(directory=tmp_path / f"lab{count}"))

        yield make


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """An isolated network; its logs stay in the test's ``tmp_path``."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            lab = await stack.enter_async_context(Lab(directory=tmp_path / "lab"))
        except LabUnavailable as error:
            pytest.skip(str(error))
        yield lab
