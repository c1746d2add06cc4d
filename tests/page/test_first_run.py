"""The first run, and settings: a name that the daemon keeps, devices, and what to do when there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.page.screens import chromium, enter, page_of, view

pytestmark = pytest.mark.timeout(120)

REFUSES = """
  window.refusal = {name};
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = wanted => {
    const {refusal} = window;
    if (refusal === 'no camera' && wanted.video) return Promise.reject(new DOMException('', 'NotFoundError'));
    return refusal && refusal !== 'no camera' ? Promise.reject(new DOMException('', refusal)) : real(wanted);
  };
"""


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.02)


async def test_a_person_gives_a_name_tests_devices_and_sees_the_id(tmp_path: Path) -> None:
    """By keyboard where it is text; once, and again from the settings."""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        dialog = tab.locator("dialog[open]")
        assert await tab.evaluate("document.activeElement.id") == "welcome-own-name"
        await tab.keyboard.press("Control+A")
        await tab.keyboard.type("<b>Zoë</b>")
        await tab.keyboard.press("Enter")
        await until(lambda: node.settings.now.name == "<b>Zoë</b>")
        await tab.locator("#own-link", has_text="Zo%C3%AB").wait_for()
        assert await dialog.locator("#own-id").text_content()
        await tab.locator("img.qr").evaluate("one => one.decode()")
        await dialog.locator(".buttons button").get_by_text("Test camera").click()
        await dialog.locator(".heard:not(:empty)").wait_for()
        await dialog.locator(".preview").evaluate(
            "one => new Promise(done => one.requestVideoFrameCallback(done))"
        )
        camera = dialog.locator("#welcome-device-video")
        await camera.select_option(index=1)
        assert await tab.evaluate("localStorage.getItem('camera')") == await camera.input_value() != ""
        await dialog.locator("button.primary").click()
        await dialog.wait_for(state="detached")
        await until(lambda: node.settings.now.welcomed)
        await tab.reload()
        await tab.locator("#contacts-title").wait_for()
        await tab.locator(".link[data-up=true]").wait_for()
        assert await dialog.count() == 0
        assert await tab.locator(".own").text_content() == "<b>Zoë</b>"
        await view(tab, "settings")
        await tab.get_by_role("button", name="First steps again").click()
        await dialog.wait_for()
        assert await dialog.locator("#welcome-own-name").input_value() == "<b>Zoë</b>"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotAllowedError", "allow both"),
        ("NotFoundError", "Plug one in"),
        ("no camera", "The microphone works"),
        ("StrangeError", "Plug them in anew"),
    ],
)
async def test_without_devices_it_is_said_what_to_do(tmp_path: Path, name: str, said: str) -> None:
    """The first run can be finished all the same; what was mended works at the next try."""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        await tab.add_init_script(REFUSES.replace("{name}", f"'{name}'"))
        await tab.reload()
        dialog = tab.locator("dialog[open]")
        await dialog.wait_for()
        start = dialog.get_by_text("Test camera")
        await start.click()
        await dialog.locator(".devices .problem", has_text=said).wait_for()
        await tab.evaluate("window.refusal = ''")
        await start.click()
        await dialog.locator(".devices .problem:empty").wait_for(state="attached")
        await dialog.locator("button.primary").click()
        await until(lambda: node.settings.now.welcomed)


async def test_settings_are_kept_by_the_daemon(tmp_path: Path) -> None:
    """Each by its label; what can't be is said, and nothing that somebody writes is drawn over."""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        await view(tab, "settings")
        name = tab.get_by_label("Name")
        await name.fill("ü" * 33)
        await tab.get_by_role("button", name="Save").click()
        await tab.locator("#own-name-problem", has_text="too long").wait_for()
        await name.fill("Half a na")
        await tab.evaluate("import('./js/store.js').then(module => module.store.changed('peers'))")
        assert await name.input_value() == "Half a na"
        assert node.settings.now.name == "Ann"
        await name.press("Enter")
        await until(lambda: node.settings.now.name == "Half a na")
        await tab.get_by_label("Show me to everybody on this LAN").check()
        await until(lambda: node.settings.now.visible)
        await tab.get_by_label("Answer calls without asking").select_option("contacts")
        await until(lambda: node.settings.now.auto_answer == "contacts")
        await _shows_what_others_set(tab, node.settings.change)


async def _shows_what_others_set(tab: Page, change: Callable[[dict[str, object]], object]) -> None:
    change({"visible": False, "name": "Zoe"})
    await tab.evaluate(
        "fetch('/api/v1/settings').then(answer => answer.json())"
        ".then(now => import('./js/store.js').then(module => module.store.take(now)))"
    )
    assert await tab.get_by_label("Show me to everybody on this LAN").is_checked() is False
    assert await tab.locator(".own").text_content() == "Zoe"


@pytest.mark.parametrize(
    ("refusal", "said", "sound"),
    [("NotAllowedError", "may not use", False), ("no camera", "there is no camera", True)],
)
async def test_a_meeting_without_devices_says_so(
    tmp_path: Path, refusal: str, said: str, sound: bool
) -> None:
    """Everybody sees why; what is not there is shown as off, and its button tries again."""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        script = REFUSES.replace("{name}", f"'{refusal}'")
        await tab.evaluate(f"() => {{{script}}}")
        await enter(tab, node, people=2)
        await tab.locator(".toast", has_text=said).wait_for()
        pressed = {"mic": str(sound).lower(), "camera": "false"}
        for tool, shown in pressed.items():
            assert await tab.locator(f"#tool-{tool}").get_attribute("aria-pressed") == shown
        mine = tab.locator(".tile.me .tile-notes")
        assert ("microphone off" in str(await mine.text_content())) is not sound
        await tab.evaluate("window.refusal = ''")
        await tab.locator("#tool-camera").click()
        await tab.locator("#tool-camera[aria-pressed=true]").wait_for()
        await tab.locator(".tile.me:not(.no-picture)").wait_for()
