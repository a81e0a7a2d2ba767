"""Open pages in Debian's Chromium, headless, and see what it sees."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

SCREENSHOTS = "TAGSWEEP_SCREENSHOTS"
"""The environment variable with the folder that screenshots are kept in."""


@contextmanager
def open_browser(width: int = 1600, height: int = 1000) -> Iterator[Chrome]:
    """Have a browser for as long as the block lasts; nothing is downloaded for it."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium, "chromium is missing: apt-get install chromium chromium-driver"
    assert driver, "chromedriver is missing: apt-get install chromium-driver"
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options, Service(driver))
    try:
        resize(browser, width, height)
        yield browser
    finally:
        browser.quit()


def resize(browser: Chrome, width: int, height: int) -> None:
    """Give the page a width and height in pixels, which may be less than a window's least."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(browser: Chrome, scheme: str) -> None:
    """Prefer the colour scheme `light` or `dark`."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def console_of(browser: Chrome) -> list[str]:
    """Return the warnings and errors of the console since it was last asked."""
    return [
        entry["message"]
        for entry in browser.get_log("browser")
        if entry["level"] in {"SEVERE", "WARNING"}
    ]


def requests_of(browser: Chrome) -> list[str]:
    """Return the URLs that were requested since it was last asked, over the network or not."""
    messages = (json.loads(entry["message"]) for entry in browser.get_log("performance"))
    return [
        message["message"]["params"]["request"]["url"]
        for message in messages
        if message["message"]["method"] == "Network.requestWillBeSent"
    ]


def screenshot(browser: Chrome, name: str) -> None:
    """Keep what is in sight as NAME.png, in the folder that the environment names, if any."""
    folder = os.environ.get(SCREENSHOTS)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        assert browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def evaluate(browser: Chrome, script: str) -> Any:
    """Return what a JavaScript expression is on the page."""
    return browser.execute_script(f"return {script}")
