"""What the tests of the playground share: a server that answers."""

import threading

import pytest

from minitorch.apps.playground import PlaygroundServer


@pytest.fixture(scope="module")
def server(device):
    """A playground's server that answers."""
    with PlaygroundServer(0, device) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
