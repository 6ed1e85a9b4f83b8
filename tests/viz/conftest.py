"""What the tests of the two pages share: a playground that is served, a browser."""

import shutil
import threading

import pytest

from minitorch.viz.playground import PlaygroundServer
from tests.browser import Browser


@pytest.fixture(scope="module")
def server(device):
    """A playground's server that answers."""
    with PlaygroundServer(0, device) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A window of Chromium."""
    if shutil.which("chromedriver") is None:
        pytest.skip("Debian's chromium-driver is not installed")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
