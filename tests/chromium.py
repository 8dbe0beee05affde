"""A headless Chromium, steered over the DevTools protocol: what a page looks like, and whom it asks."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
    "--window-size=1000,640",
)


class Page:
    """One page.

    Attributes:
        asked: every address that it has asked for.
    """

    def __init__(self, url: str, folder: Path) -> None:
        from websockets.sync.client import connect

        self.process = subprocess.Popen(
            [str(PROGRAM), *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = self._port(folder / "DevToolsActivePort")
            self.socket = connect(f"ws://127.0.0.1:{port[0]}{port[1]}", max_size=None, proxy=None)
            self.asked: list[str] = []
            self.session, self.number = None, 0
            target = self.call("Target.getTargets")["targetInfos"][0]["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.call("Network.enable")
            self.call("Page.enable")
            self.call("Page.navigate", url=url)
        except BaseException:
            self.close()
            raise

    def _port(self, file: Path, seconds: float = 30.0) -> list[str]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if file.is_file() and len(lines := file.read_text().split()) == 2:
                return lines
            time.sleep(0.05)
        raise TimeoutError("Chromium did not start")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask, and keep what the page has asked for meanwhile."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            got = json.loads(self.socket.recv(timeout=60))
            if got.get("method") == "Network.requestWillBeSent":
                self.asked.append(got["params"]["request"]["url"])
            if got.get("method") == "Network.webSocketCreated":
                self.asked.append(got["params"]["url"])
            if got.get("id") == self.number:
                assert "error" not in got, got
                return dict(got["result"])

    def script(self, source: str) -> Any:
        """The value of an expression on the page."""
        return self.call("Runtime.evaluate", expression=source, returnByValue=True)["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key, down and up, where the focus is."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """With the left button, in pixels from the top left."""
        steps = [("mousePressed", start), ("mouseMoved", start), ("mouseMoved", end), ("mouseReleased", end)]
        for kind, (x, y) in steps:
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def wheel(self, place: tuple[int, int], turn: int) -> None:
        """Away from the user where ``turn`` is negative, towards what is seen."""
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=place[0], y=place[1], deltaX=0, deltaY=turn)

    def screenshot(self) -> np.ndarray:
        """(H, W, 3), uint8."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def hosts(self) -> set[str | None]:
        """That it has asked for something; data and blobs have none."""
        return {urllib.parse.urlsplit(url).hostname for url in self.asked if not url.startswith(("data:", "blob:"))}

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
