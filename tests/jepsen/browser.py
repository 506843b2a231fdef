"""A headless Chromium over the W3C WebDriver protocol, which is HTTP and JSON."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER: Final = shutil.which("chromedriver")
ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
)
PATIENCE_S: Final = 60.0


class Browser:
    """One window. What it loads, it loads from files."""

    def __init__(self, address: str, profile: Path) -> None:
        self._address = address
        asked = {
            "goog:chromeOptions": {
                "binary": CHROMIUM,
                "args": [*ARGUMENTS, f"--user-data-dir={profile}"],
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        said = self._call("POST", "/session", {"capabilities": {"alwaysMatch": asked}})
        self._session = f"/session/{said['sessionId']}"

    def open(self, page: Path, *, fragment: str = "") -> None:
        """Load a page."""
        self._do("url", {"url": page.as_uri() + fragment})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns in the page."""
        return self._do("execute/sync", {"script": script, "args": list(arguments)})

    def until(self, script: str) -> None:
        """Wait until a function body returns something true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.run(script):
            assert time.monotonic() < deadline, f"it never became true: {script}"

    def click(self, selector: str) -> None:
        """Click on an element, as a person would: it has to be there to be seen."""
        found = self._do("element", {"using": "css selector", "value": selector})
        [element] = found.values()
        self._do(f"element/{element}/click", {})

    def open_again(self) -> None:
        """Load the page anew."""
        self._do("refresh", {})

    def print_media(self) -> None:
        """Be paper, of a system that prefers dark, until the next `prefer`."""
        wish = {"name": "prefers-color-scheme", "value": "dark"}
        self.devtools("Emulation.setEmulatedMedia", media="print", features=[wish])

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Ask the browser itself."""
        return self._do("goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last time: "browser" is the console."""
        found = self._do("se/log", {"type": kind})
        return list(found)

    def resize(self, width: int, height: int) -> None:
        """Be a screen of this size; a narrow one is a phone's."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def prefer(self, scheme: str) -> None:
        """Let the system prefer light or dark."""
        wish = {"name": "prefers-color-scheme", "value": scheme}
        self.devtools("Emulation.setEmulatedMedia", media="", features=[wish])

    def screenshot(self, path: Path) -> None:
        """What is to be seen, as a PNG."""
        path.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """Close the window."""
        self._call("DELETE", self._session)

    def _do(self, what: str, body: Any) -> Any:
        return self._call("POST", f"{self._session}/{what}", body)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["value"]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile, until the end of the block."""
    assert DRIVER is not None, "the tests are skipped without it"
    driver = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        window = Browser(f"http://127.0.0.1:{_port(driver)}", profile)
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait(timeout=PATIENCE_S)
        assert driver.stdout is not None
        driver.stdout.close()


def _port(driver: subprocess.Popen[str]) -> int:
    """The port that the driver took, which it says when it listens."""
    assert driver.stdout is not None
    deadline = time.monotonic() + PATIENCE_S
    for line in driver.stdout:
        found = re.search(r"started successfully on port (\d+)", line)
        if found:
            return int(found[1])
        if time.monotonic() > deadline:
            break
    raise RuntimeError("chromedriver did not start")
