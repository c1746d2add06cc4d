"""A browser on a host of the lab: drives Chromium by Playwright, told what to do over a unix socket.

One JSON document a line each way: ``{"do": NAME, ...}`` and ``{"value": ...}`` or ``{"error": TEXT}``.
Run with the socket's path, and flags for Chromium.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from playwright.async_api import ConsoleMessage, Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
TIMEOUT_MS = 15_000
POLL_S = 0.03


class Driver:
    """Carries out what is asked of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.messages: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        page.set_default_timeout(TIMEOUT_MS)

    def _said(self, message: ConsoleMessage) -> None:
        """A line of the console. A resource that failed is named only by where it is."""
        self.messages.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    async def until(self, script: str) -> None:
        """Return when it is true. (The CSP forbids Playwright's own way.)"""
        end = time.monotonic() + TIMEOUT_MS / 1000
        while not await self.page.evaluate(script):
            if time.monotonic() > end:
                raise TimeoutError(script)
            await asyncio.sleep(POLL_S)

    async def do(self, name: str, **words: Any) -> Any:
        """The answer to one request."""
        page = self.page
        match name:
            case "open":
                await page.goto(words["url"])
            case "reload":
                await page.reload()
            case "eval":
                return await page.evaluate(words["script"])
            case "click":
                await page.locator(words["selector"]).first.click()
            case "press":
                await page.keyboard.press(words["key"])
            case "fill":
                await page.locator(words["selector"]).first.fill(words["text"])
            case "files":
                await page.locator(words["selector"]).first.set_input_files(words["paths"])
            case "download":
                async with page.expect_download() as coming:
                    await page.locator(words["selector"]).first.click()
                download = await coming.value
                await download.save_as(words["path"])
                return download.suggested_filename
            case "wait":
                await page.locator(words["selector"]).first.wait_for(
                    state=words["state"], timeout=1000 * words["timeout"]
                )
            case "until":
                await self.until(words["script"])
            case "text":
                return await page.locator(words["selector"]).first.text_content()
            case "count":
                return await page.locator(words["selector"]).count()
            case "size":
                await page.set_viewport_size({"width": words["width"], "height": words["height"]})
            case "screenshot":
                await page.screenshot(path=words["path"])
            case "messages":
                return self.messages
            case "close":
                await page.close()
            case _:
                raise ValueError(name)
        return None


async def main(path: str, flags: list[str]) -> None:
    """Serve until the socket's client goes."""
    permissions = [flag.removeprefix("--permit=") for flag in flags if flag.startswith("--permit=")]
    flags = [flag for flag in flags if not flag.startswith("--permit=")]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=[*FLAGS, *flags]
        )
        context = await browser.new_context(viewport={"width": 1440, "height": 900})
        if permissions:  # to grant none would deny what the flags grant
            await context.grant_permissions(permissions)
        drivers: dict[str, Driver] = {}
        gone = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                request = json.loads(line)
                tab = request.pop("tab", "")
                try:
                    if tab not in drivers:
                        drivers[tab] = Driver(await context.new_page())
                    answer: dict[str, Any] = {"value": await drivers[tab].do(request.pop("do"), **request)}
                except Exception as error:  # noqa: BLE001 - the test is told
                    answer = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
            writer.close()
            gone.set()

        server = await asyncio.start_unix_server(serve, path, limit=1 << 22)
        print("ready", flush=True)
        await gone.wait()
        server.close()
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
