"""A headless Chromium, for tests that look into a page: asked in its own protocol, over a local socket."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import connect

FLAGS = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"]
FLAGS += ["--js-flags=--expose-gc", "--enable-precise-memory-info"]  # to see whether memory grows
PATIENCE = 120  # s


class Browser:
    """One tab. A context manager.

    Args:
        chromium: the program.
        folder: for its own files.

    Attributes:
        events: what it has told unasked.
    """

    def __init__(self, chromium: str, folder: Path):
        command = [chromium, *FLAGS, f"--user-data-dir={folder}", "--window-size=900,600", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.events: list[dict[str, Any]] = []
        self._asked = 0
        told = folder / "DevToolsActivePort"
        port = _until(lambda: told.is_file() and told.read_text().split("\n")[0])
        tabs = json.load(urlopen(f"http://127.0.0.1:{port}/json"))
        self._socket = connect(
            next(t for t in tabs if t["type"] == "page")["webSocketDebuggerUrl"], max_size=None
        )
        for domain in ("Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self.process.terminate()
        self.process.wait()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to a request."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": params}))
        while (said := json.loads(self._socket.recv(timeout=PATIENCE))).get("id") != self._asked:
            self.events.append(said)
        assert "error" not in said, said
        return said["result"]

    def run(self, code: str) -> Any:
        """The value of JavaScript, awaited."""
        said = self.ask("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def open(self, page: Path) -> None:
        """Open a live page and wait until it runs."""
        self.events.clear()
        self.ask("Page.navigate", url=page.as_uri())
        state = "document.getElementById('state')"
        _until(lambda: self.run(f"Boolean({state}?.hidden || {state}?.className == 'failed')"))
        assert self.run(f"{state}.hidden"), self.run(f"{state}.textContent")

    def asked_for(self) -> list[str]:
        """Addresses that the page has asked for."""
        sent = [e["params"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def complaints(self) -> list[Any]:
        """Errors and warnings that the page has caused."""
        bad = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                bad.append(params)
            if event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                bad.append(params["args"])
        return bad


def _until(ask: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while not (answer := ask()):
        assert time.monotonic() < end, "Chromium does not get there"
        time.sleep(0.05)
    return answer
