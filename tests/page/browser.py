"""A browser on a host of the lab, and meshcall's page in it, as a test uses them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from netsim.host import Host
from netsim.peer import Peer

WORKER = Path(__file__).with_name("worker.py")
GRANTED = ("--use-fake-ui-for-media-stream", "--permit=camera", "--permit=microphone")
"""As when a person has allowed camera and microphone: no question, and addresses of all interfaces."""


class Tab:
    """One tab."""

    def __init__(self, browser: Browser, name: str = "") -> None:
        self._browser = browser
        self._name = name

    async def do(self, name: str, **words: Any) -> Any:
        """See :class:`tests.page.worker.Driver`. Raises AssertionError with what the page said."""
        return await self._browser.ask({"tab": self._name, "do": name, **words})

    async def eval(self, script: str) -> Any:
        """The value of an expression in the page."""
        return await self.do("eval", script=script)

    async def until(self, script: str) -> None:
        """Return when the expression is true."""
        await self.do("until", script=script)

    async def click(self, selector: str) -> None:
        """Click the first one."""
        await self.do("click", selector=selector)

    async def fill(self, selector: str, text: str) -> None:
        """Write into a field."""
        await self.do("fill", selector=selector, text=text)

    async def wait(self, selector: str, state: str = "visible", *, timeout: float = 15.0) -> None:
        """Return when it is there, within ``timeout`` seconds."""
        await self.do("wait", selector=selector, state=state, timeout=timeout)

    async def text(self, selector: str) -> str:
        """What it says."""
        return str(await self.do("text", selector=selector))

    async def frames(self) -> tuple[int, float]:
        """Pictures decoded, and seconds of sound, in the call."""
        found = await self.eval(
            "meshcall.peers().map(p => [p.stats?.decoded ?? 0, p.stats?.soundSeconds ?? 0])"
        )
        return (int(found[0][0]), float(found[0][1])) if found else (0, 0.0)

    async def sees(self, pictures: int = 10) -> None:
        """Return when so many pictures more were decoded, and sound with them."""
        before = await self.frames()
        await self.until(
            "meshcall.peers().some(p => p.stats"
            f" && p.stats.decoded >= {before[0] + pictures} && p.stats.soundSeconds > {before[1]})"
        )

    async def shows(self, selector: str, pictures: int = 5) -> None:
        """Return when that video has shown so many pictures more."""
        count = f"document.querySelector({json.dumps(selector)}).getVideoPlaybackQuality().totalVideoFrames"
        await self.until(f"{count} >= {int(await self.eval(count)) + pictures}")


class Browser(Tab):
    """Chromium, with its first tab."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(self)
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()

    async def ask(self, request: dict[str, Any]) -> Any:
        """One request, one answer."""
        async with self._turn:
            self._writer.write(json.dumps(request).encode() + b"\n")
            await self._writer.drain()
            line = await self._reader.readline()
        assert line, "the browser is gone"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def tab(self, name: str) -> Tab:
        """Another tab of the same browser, opened when it is used."""
        return Tab(self, name)


@asynccontextmanager
async def browser_on(host: Host, *flags: str) -> AsyncIterator[Browser]:
    """Chromium on ``host``; its own flags, and ``--permit=NAME`` for Playwright's permissions."""
    path = host.directory / "browser.sock"
    path.unlink(missing_ok=True)
    process = await host.popen([sys.executable, WORKER, str(path), *flags])
    await process.wait_for_line("^ready$", timeout=30)
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 22)
    try:
        yield Browser(reader, writer)
    finally:
        writer.close()
        await process.stop()


async def open_page(peer: Peer, browser: Tab) -> None:
    """Log the browser in at the peer's page, and pass by the welcome, which comes once."""
    url = (await peer.cli("open", "--print-url")).check().stdout.strip()
    welcomed = (await peer.cli("config", "get", "welcomed")).check().stdout.strip()
    await browser.do("open", url=url)
    if welcomed == "off":
        await browser.wait("dialog[open]")
        await browser.click("dialog[open] button.primary")
    await browser.wait("#contacts-title")
    await browser.until("document.querySelector('.link')?.dataset.up === 'true'")


async def add_by_link(browser: Tab, link: str, name: str) -> None:
    """Add a contact as a person does."""
    await browser.click(".title button.primary")
    await browser.fill("#add-text", link)
    await browser.fill("#add-name", name)
    await browser.click("dialog button[type=submit]")
    await browser.wait("dialog", "detached")


async def call_and_answer(caller: Tab, callee: Tab, name: str) -> None:
    """Call ``name`` with video, answer with camera, and wait for moving pictures at both ends."""
    await caller.click(f"button[aria-label='Call {name} with video']")
    await callee.wait("#answer-video")
    await callee.click("#answer-video")
    await asyncio.gather(caller.sees(), callee.sees())


async def no_errors(*tabs: Tab) -> None:
    """Nothing went wrong in a page, nor against its Content-Security-Policy."""
    for tab in tabs:
        errors = [text for text in await tab.do("messages") if text.startswith("error")]
        assert errors == [], "\n".join(errors)
