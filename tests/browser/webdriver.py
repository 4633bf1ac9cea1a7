"""A browser driven over WebDriver (W3C), with nothing but the standard library.

Chromium and chromedriver are Debian's packages `chromium` and `chromium-driver`. Everything is asked of chromedriver on
a port that it picks, and it is ended with its browser, by its process, when the block is left.
"""

import base64
import json
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

# As a test wants it: no window, nothing fetched for itself, a profile of its own.
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]
# Seconds for whatever should happen at once: a starved machine takes many for a page.
PATIENCE = 120
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"tab": "\ue004", "enter": "\ue007", "space": "\ue00d", "left": "\ue012", "up": "\ue013", "right": "\ue014", "down": "\ue015"}


class Browser:
    """One session."""

    def __init__(self, flags=()):
        self.profile = tempfile.TemporaryDirectory(prefix="browser-")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        port = None
        for line in self.driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                port = found[1]
                break
        if port is None:
            raise RuntimeError("chromedriver did not start")
        self.base = f"http://127.0.0.1:{port}"
        options = {"args": [*FLAGS, f"--user-data-dir={self.profile.name}", *flags]}
        asked = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": asked}})
        self.base += f"/session/{session['sessionId']}"
        self.ask("POST", "/timeouts", {"script": 1000 * PATIENCE, "pageLoad": 1000 * PATIENCE})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.ask("DELETE", "", None)
        except OSError:
            pass
        self.driver.terminate()
        self.driver.wait(PATIENCE)
        self.driver.stdout.close()
        try:
            self.profile.cleanup()
        except OSError:
            pass  # a helper process of the browser may still write: the system's folder of temporary files is cleaned

    def ask(self, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=2 * PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise RuntimeError(f"{method} {path}: {value['error']}: {value['message'][:400]}") from None

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What a function body returns in the page."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def wait(self, what, script, *arguments, seconds=PATIENCE):
        """Waits until a function body returns something true, and returns it."""
        end = time.monotonic() + seconds
        while not (found := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {what}")
            time.sleep(0.05)
        return found

    def find(self, selector):
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.ask("POST", f"/element/{self.find(selector)}/click", {})

    def write(self, selector, text):
        self.ask("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *names):
        """Keys, by name or as they are, to whatever has the focus."""
        keys = [KEYS.get(name, name) for name in names]
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def devtools(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, narrow=False):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=narrow)

    def scheme(self, name):
        """`light` or `dark`, as the system would ask for it."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def log(self, kind):
        """What was logged since it was last asked: `browser` or `performance`."""
        return self.ask("POST", "/se/log", {"type": kind})

    def shot(self, path, whole=False, height=None):
        """What is seen, the whole page, or its first `height` pixels."""
        clip = {} if not whole and height is None else {"clip": {**self.extent(), **({} if whole else {"height": height})}}
        shot = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=bool(clip), **clip)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def extent(self):
        width, height = self.run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        return {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
