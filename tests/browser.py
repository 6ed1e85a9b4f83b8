"""A headless Chromium for tests, driven through chromedriver by plain HTTP (W3C WebDriver)."""

import base64
import json
import re
import subprocess
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-proxy-server", "--window-size=1280,820"),
]
SECONDS = 120  # that something may take on a busy machine
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name of a reference to an element


class Browser:
    """One window."""

    def __init__(self, profile):
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
        )
        try:
            started = (re.search(r"started successfully on port (\d+)", x) for x in self._lines())
            self._url = f"http://127.0.0.1:{next(filter(None, started))[1]}/session"
            options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
            logged = {"goog:loggingPrefs": {"browser": "ALL"}}
            capabilities = {"alwaysMatch": {"goog:chromeOptions": options, **logged}}
            self._url += "/" + self._send("", capabilities=capabilities)["sessionId"]
        except BaseException:
            self._stop()
            raise

    def _lines(self):
        yield from self._driver.stdout
        raise RuntimeError("chromedriver did not start")

    def _send(self, path, **body):
        request = Request(self._url + path, json.dumps(body).encode())
        try:
            with urlopen(request, timeout=SECONDS) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def _stop(self):
        self._driver.terminate()
        self._driver.wait(SECONDS)
        self._driver.stdout.close()

    def close(self):
        try:
            with urlopen(Request(self._url, method="DELETE"), timeout=SECONDS):
                pass
        finally:
            self._stop()

    def open(self, url):
        self._send("/url", url=url)

    def run(self, script, *args):
        """What a JavaScript function body returns."""
        return self._send("/execute/sync", script=script, args=args)

    def wait(self, condition):
        """Wait until a JavaScript expression is true, and return it."""
        end = time.monotonic() + SECONDS
        while not (value := self.run(f"return {condition}")):
            assert time.monotonic() < end, f"{condition} is not true; {self.errors()}"
            time.sleep(0.02)
        return value

    def click(self, selector):
        """Click in the middle of an element, where something else may be in the way."""
        found = self._send("/element", using="css selector", value=selector)
        self._send(f"/element/{found[ELEMENT]}/click")

    def drag(self, start, end, button=0):
        """Press at one place of the window, move to another, release."""
        move = {"type": "pointerMove", "origin": "viewport", "duration": 0}
        moves = [{**move, "x": round(x), "y": round(y)} for x, y in (start, end)]
        press, release = ({"type": f"pointer{kind}", "button": button} for kind in ("Down", "Up"))
        steps = [moves[0], press, moves[1], release]
        self._send("/actions", actions=[{"type": "pointer", "id": "mouse", "actions": steps}])

    def type(self, selector, text):
        found = self._send("/element", using="css selector", value=selector)
        self._send(f"/element/{found[ELEMENT]}/value", text=text)

    def errors(self):
        """What the page has complained about since the last call."""
        return [entry["message"] for entry in self._send("/se/log", type="browser")]

    def screenshot(self, path):
        with urlopen(f"{self._url}/screenshot", timeout=SECONDS) as answer:
            path.write_bytes(base64.b64decode(json.load(answer)["value"]))
