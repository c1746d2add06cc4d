"""The API keeps to its own description, whatever it is sent (schemathesis)."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.page.screens import page_of

STREAMS = "/(page|events|pings|doctor)$"
"""Addresses that answer for long; doctor starts a program each time."""
EXAMPLES = 60
SEED = 20268


@pytest.mark.timeout(180)
async def test_nothing_that_is_sent_is_a_server_error(tmp_path: Path) -> None:
    """Good, odd and malformed requests to every address: no answer of 500, and each as it is described."""
    async with page_of(tmp_path / "home") as (page, _):
        base = f"http://127.0.0.1:{page.port}"
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
            session.post(
                f"{base}/login",
                json={"token": page.login_url().partition("#login=")[2]},
                headers={"Origin": base},
            ) as response,
        ):
            cookie = response.headers["Set-Cookie"].partition(";")[0]
        tool = await asyncio.create_subprocess_exec(
            *(Path(sys.executable).with_name("st"), "run", f"{base}/openapi.json"),
            *("-H", f"Cookie: {cookie}", "-H", f"Origin: {base}"),
            *("--checks", "not_a_server_error,response_schema_conformance,content_type_conformance"),
            *("--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing", "--seed", str(SEED)),
            *("--exclude-path-regex", STREAMS, "--request-timeout", "10", "--no-color"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(tool.communicate(), 150)
    text = out.decode()
    print(text[-3000:])
    assert tool.returncode == 0, text[-6000:]
    found = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", text)
    assert found is not None
    selected, described, tested = map(int, found.groups())
    assert tested == selected > 40, "every address was tried"
    assert described - selected == 4, "but for the streams"
