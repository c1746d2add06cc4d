"""The findings of `meshcall doctor`, for the page: the same program, so that both say the same.

It looks at much that the daemon can't see in itself, and loads what the daemon leaves alone.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import msgspec

from meshcall.errors import InternalError, RequestTimedOut
from meshcall.paths import HomePaths
from meshcall.views import DoctorView

PATIENCE: Final = 25.0
"""Seconds; below what a request may take."""


async def look(paths: HomePaths) -> DoctorView:
    """All checks. Raises :class:`RequestTimedOut` or :class:`InternalError`."""
    # -P: no modules of the folder that we are in, which others may write to
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "meshcall", "--home", str(paths.path), "doctor", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, _ = await program.communicate()
    except TimeoutError:
        raise RequestTimedOut("looking took too long") from None
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    try:
        return msgspec.json.decode(out, type=DoctorView)
    except msgspec.MsgspecError:
        raise InternalError from None
