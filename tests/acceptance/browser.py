"""Open pages in a Chromium that is installed, without a window; nothing is downloaded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

DRIVER = "chromedriver"


@contextmanager
def open_browser(width: int = 1600, height: int = 1200) -> Iterator[Chrome]:
    """Have a headless Chromium of so many pixels while the block lasts."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    # Chromium's own sandbox does not start as root, nor in most containers.
    for argument in ("--headless=new", "--no-sandbox", f"--window-size={width},{height}"):
        options.add_argument(argument)
    browser = Chrome(options, ChromeService(shutil.which(DRIVER)))
    try:
        yield browser
    finally:
        browser.quit()
