"""A real browser for tests: headless Chromium of the system, driven by selenium. Skips where there is none."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 20.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


class Browser:
    """One window. Nothing waits for a fixed time: what is looked for is looked for until it is there."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def open(self, url: str) -> None:
        self._driver.get(url)

    @property
    def address(self) -> str:
        return str(self._driver.current_url)

    @property
    def source(self) -> str:
        return str(self._driver.page_source)

    @property
    def text(self) -> str:
        """What a person can read on the page."""
        return str(self._driver.find_element("tag name", "body").text)

    def sees(self, words: str) -> None:
        """Wait until the page shows ``words``."""
        self._until(lambda: words in self.text, f"the page does not show {words!r}")

    def write(self, field: str, words: str) -> None:
        """Type into the field called ``field``."""
        box = self._driver.find_element("name", field)
        box.clear()
        box.send_keys(words)

    def click(self, label: str) -> None:
        """Press the button or the link that says ``label``, and wait for the next page."""
        quoted = f"normalize-space(.)='{label}'"
        button = self._driver.find_element("xpath", f"//button[{quoted}] | //a[{quoted}] | //input[@value='{label}']")
        button.click()

    def buttons(self) -> list[str]:
        """What can be pressed."""
        return [one.text or one.get_attribute("value") for one in self._driver.find_elements("css selector", "button")]

    def _until(self, condition: Any, otherwise: str) -> None:
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(
            self._driver, PATIENCE, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException]
        )
        try:
            wait.until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"{otherwise}, but:\n{self.text}") from None


@contextmanager
def chromium(folder: Path, *, scripts: bool = True) -> Iterator[Browser]:
    """A browser whose profile lives in ``folder``; without ``scripts`` it runs no JavaScript of pages."""
    binary, driver_binary = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver_binary is None:
        pytest.skip("needs chromium and chromedriver (apt-get install chromium chromium-driver)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for one in (*_OPTIONS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(one)
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    service = webdriver.ChromeService(executable_path=driver_binary, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
