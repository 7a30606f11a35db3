"""A browser without a window, driven through chromedriver's HTTP interface (W3C WebDriver)."""

import base64
import contextlib
import io
import json
import shutil
import socket
import subprocess
import time
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
_LATEST_CLICK, _MOST_PRESSES = 5, 3  # seconds after a finger has gone up, on a busy machine
_LISTEN = "seen.addEventListener('click', () => (window.isClicked = true), { once: true });"
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
            self._show(selector)
            path = f"{self._session}/element/{self._element(selector)[_ELEMENT]}/screenshot"
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(self._ask("GET", path)))).convert("RGB"))

    def drag(self, selector: str, x: int, y: int, kind: str = "mouse") -> None:
        """Move the mouse or a finger ("touch") by x, y pixels, pressed, from the middle of an element."""
        self._act(self._fingers(selector, [((0, 0), (x, y))], kind))

    def click(self, selector: str, x: int = 0, y: int = 0, kind: str = "mouse") -> None:
        """Press the mouse or tap so many pixels beside the middle of an element, which is scrolled into sight.

        Chromium makes a click of a tap some time after the finger has gone up, and of some taps that follow other
        fingers none at all, however plainly the page gets its pointerup. Then it is tapped again, as a person would.
        """
        self._show(selector)
        self.run(f"const seen = document.querySelector({json.dumps(selector)}); window.isClicked = false; {_LISTEN}")
        for _ in range(_MOST_PRESSES):
            self._act(self._fingers(selector, [((x, y), (x, y))], kind))
            end = time.monotonic() + _LATEST_CLICK
            while time.monotonic() < end:
                if self.run("return window.isClicked"):
                    return
                time.sleep(0.02)
        raise AssertionError(f"{selector}: the presses have come to nothing")

    def pinch(self, selector: str, before: int, after: int) -> None:
        """Two fingers around the middle of an element, so many pixels from it before and after."""
        self._act(self._fingers(selector, [((side * before, 0), (side * after, 0)) for side in (-1, 1)], "touch"))

    def wheel(self, selector: str, steps: int) -> None:
        """Turn the mouse's wheel over the middle of an element; towards oneself is positive."""
        origin = self._element(selector)
        turn = {"type": "scroll", "x": 0, "y": 0, "deltaX": 0, "deltaY": steps, "origin": origin}
        self._act([{"type": "wheel", "id": "wheel", "actions": [turn]}])

    def keys(self, selector: str, keys: str) -> None:
        """Type on an element."""
        path = f"{self._session}/element/{self._element(selector)[_ELEMENT]}/value"
        self._ask("POST", path, {"text": keys})

    def computing(self, page: Path) -> float:
        """Seconds that the processor takes for a page until it is drawn, however busy it is with other things."""
        self._command("Performance.enable", timeDomain="threadTicks")
        self.open(page)
        self.settle()
        metrics = self._command("Performance.getMetrics")["metrics"]
        self._command("Performance.disable")
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    def _command(self, name: str, **parameters: str) -> Any:
        """One of Chromium's own commands."""
        return self._ask("POST", f"{self._session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def _show(self, selector: str) -> None:
        """Scroll an element to the middle of the window."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        self.settle()

    def _element(self, selector: str) -> dict[str, str]:
        return self._ask("POST", f"{self._session}/element", {"using": "css selector", "value": selector})

    def _fingers(self, selector: str, ways: list[tuple[tuple[int, int], tuple[int, int]]], kind: str) -> list[dict]:
        """Pointers that go down at the first and up at the second place, from the middle of an element."""
        found = self._element(selector)
        pointers = []
        for k, (start, end) in enumerate(ways):
            moves = [
                {"type": "pointerMove", "duration": 0, "origin": found, "x": start[0], "y": start[1]},
                {"type": "pointerDown", "button": 0},
                {"type": "pointerMove", "duration": 50, "origin": found, "x": end[0], "y": end[1]},
                {"type": "pointerUp", "button": 0},
            ]
            parameters = {"pointerType": kind}
            pointers.append({"type": "pointer", "id": f"{kind}{k}", "parameters": parameters, "actions": moves})
        return pointers

    def _act(self, actions: list[dict]) -> None:
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
