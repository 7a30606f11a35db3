"""A browser without a window, driven through chromedriver's HTTP interface (W3C WebDriver)."""

import base64
import contextlib
import io
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from helpers import PATIENCE, wait_until
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
_QUIET = ("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking")
_QUIET += ("--disable-component-update", "--disable-sync", "--hide-scrollbars")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's name for a reference to an element
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Browser:
    """A session of a browser."""

    def __init__(self, driver: str, options: dict[str, Any]) -> None:
        self._driver = driver
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def _ask(self, method: str, path: str, content: dict | None = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._driver + path, body, {"Content-Type": "application/json"}, method=method)
        with _OPENER.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path) -> None:
        """Show a page from the disk."""
        self._ask("POST", f"{self._session}/url", {"url": page.as_uri()})

    def run(self, script: str) -> Any:
        """What a function body of JavaScript returns."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def settle(self) -> None:
        """Wait until the browser has drawn what it was asked for."""
        script = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(1)));"
        self._ask("POST", f"{self._session}/execute/async", {"script": script, "args": []})

    def picture(self, selector: str | None = None) -> np.ndarray:
        """RGB uint8 [H, W, 3] of the window, or of the element that a selector finds."""
        path = f"{self._session}/screenshot"
        if selector is not None:
            found = self._ask("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
            path = f"{self._session}/element/{found[_ELEMENT]}/screenshot"
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(self._ask("GET", path)))).convert("RGB"))

    def drag(self, selector: str, x: int, y: int) -> None:
        """Move the mouse by x, y pixels with its button down, from the middle of an element."""
        found = self._ask("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        moves = [
            {"type": "pointerMove", "duration": 0, "origin": found, "x": 0, "y": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "duration": 50, "origin": "pointer", "x": x, "y": y},
            {"type": "pointerUp", "button": 0},
        ]
        actions = [{"type": "pointer", "id": "mouse", "actions": moves}]
        self._ask("POST", f"{self._session}/actions", {"actions": actions})

    def complaints(self) -> list[str]:
        """The console's errors and warnings since the last time, without those about slow reading of pixels."""
        entries = self._ask("POST", f"{self._session}/se/log", {"type": "browser"})
        texts = [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]
        return [text for text in texts if "GPU stall" not in text]

    def close(self) -> None:
        """End the session."""
        self._ask("DELETE", self._session)


@contextlib.contextmanager
def browser(folder: Path, *flags: str, **options: object) -> Iterator[Browser]:
    """A browser with a new profile in the folder, and further flags and options of chromedriver."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = subprocess.DEVNULL
    process = subprocess.Popen([DRIVER, f"--port={port}"], stdout=log, stderr=log)
    try:
        wait_until(lambda: _listens(port), process)
        arguments = [*_QUIET, f"--user-data-dir={folder / 'profile'}", *flags]
        session = Browser(f"http://127.0.0.1:{port}", {"binary": CHROMIUM, "args": arguments, **options})
        try:
            yield session
        finally:
            session.close()
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
