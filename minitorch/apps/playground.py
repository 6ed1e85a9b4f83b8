"""A page to play with small networks: minitorch trains them, the page draws what they do.

`serve` answers requests of this machine alone. What it understands, and answers in JSON:

- GET /options: names that the settings of a `PlanarConfig` may have, and its defaults.
- POST /start {"config": {...}, "session": S}: new data and a new network, in place of those of
  session S if that is given: {"session": S, "points": ..., "state": ...}.
- POST /train {"session": S, "epochs": N, "adjust": {"lr": ...}}: up to N epochs, as many as begin
  within a second: {"state": ...}.

Equal settings and seeds give equal numbers on one machine with one number of BLAS threads
(OPENBLAS_NUM_THREADS): others add up in another order, which after some epochs can be seen.

What is wrong with a request is told as {"error": text} with a status of 400 or more.
"""

from __future__ import annotations

import base64
import json
import math
import sys
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np

from minitorch.backend import Device
from minitorch.boundary import guard
from minitorch.core.tensor import Tensor
from minitorch.creation import tensor
from minitorch.data import PLANAR
from minitorch.train import planar
from minitorch.train.planar import PlanarConfig, PlanarExperiment

__all__ = ["PlaygroundServer", "options", "serve"]

PAGE = Path(__file__).parent / "pages" / "playground.html"
SESSIONS = 16  # the one that was used longest ago goes
EPOCHS, SECONDS = 100, 1.0  # of one request; at least one epoch is trained
BYTES = 1 << 16  # of a request
HALF, GRID = 6.0, 50  # the maps show [-HALF, HALF]² as GRID x GRID cells

Answer = dict[str, Any]


def serve(port: int = 8000, device: str | Device = "cpu", *, browser: bool = True) -> None:
    """Serve the playground at http://127.0.0.1:port until Ctrl-C (port 0: any that is free).

    device: where it trains. browser: open the page there. Raises OSError if the port is taken,
    ValueError and RuntimeError for a port or device that is none.
    """
    with PlaygroundServer(port, device) as server:
        print(f"playground on {server.device}: {server.url} (Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


class PlaygroundServer(ThreadingHTTPServer):
    """Sessions by their names; one request at a time computes."""

    daemon_threads = True
    request_queue_size = 128  # pages that connect at once

    def __init__(self, port: int = 8000, device: str | Device = "cpu") -> None:
        if not isinstance(port, int) or not 0 <= port < 1 << 16:
            raise ValueError(f"port: expected an integer from 0 to 65535, got {port!r}")
        self.device = tensor(0.0, device=device).device
        self._sessions: dict[str, PlanarExperiment] = {}
        self._lock = Lock()
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise OSError(f"port {port}: {error.strerror}: choose another one") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error, unless it is that the page has gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/"

    def start(self, request: Mapping[str, Any]) -> Answer:
        """Begin with new data and a new network."""
        config = PlanarConfig.of(_field(request, "config", dict, {}))
        name = _field(request, "session", str, "")
        with self._lock:
            experiment = PlanarExperiment(config, self.device)
            if self._sessions.pop(name, None) is None:
                name = token_hex(8)
            while len(self._sessions) >= SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[name] = experiment
            state = _state(experiment, [experiment.losses()])
            return {"session": name, "points": _points(experiment), "state": state}

    def train(self, request: Mapping[str, Any]) -> Answer:
        """Go on by some epochs; the state has the losses behind each."""
        epochs = _field(request, "epochs", int, 1)
        if not 0 <= epochs <= EPOCHS:
            raise ValueError(f"epochs: expected an integer from 0 to {EPOCHS}, got {epochs}")
        adjust = _field(request, "adjust", dict, {})
        name = _field(request, "session", str, "")
        with self._lock:
            if name not in self._sessions:
                raise _UnknownSession(
                    f"session: expected a name that /start gave, one of the last {SESSIONS}, "
                    f"got {name[:40]!r}"
                )
            experiment = self._sessions[name] = self._sessions.pop(name)  # the newest again
            if adjust:
                experiment.adjust(adjust)
            history: list[tuple[float, float]] = []
            end = monotonic() + SECONDS
            while len(history) < epochs and (not history or monotonic() < end):
                experiment.train_epoch()
                history.append(experiment.losses())
            return {"state": _state(experiment, history)}


class _UnknownSession(ValueError):
    pass


def _field(request: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    """A field of a request, or the default where there is none."""
    given = request.get(name)
    given = default if given is None else given
    if type(given) is not kind:
        names = {dict: "an object", str: "a string", int: "an integer"}
        raise ValueError(f"{name}: expected {names[kind]}, got {repr(given)[:80]}")
    return given


# ---------------------------------------------------------------------- what the page is told
def options() -> Answer:
    """The names that settings may have, and the defaults of all settings."""
    names = {
        "data": list(PLANAR),
        "features": list(planar.FEATURES),
        "activation": list(planar.ACTIVATIONS),
        "optimizer": list(planar.OPTIMIZERS),
        "penalty": list(planar.PENALTIES),
    }
    return {
        "names": names,
        "defaults": asdict(PlanarConfig()),
        "adjustable": planar.ADJUSTABLE,
        "half": HALF,
        "grid": GRID,
    }


def _points(experiment: PlanarExperiment) -> Answer:
    """[x1, x2, value] of each training and test point."""

    def rows(points: Tensor, values: Tensor) -> list[list[float]]:
        return [[*point, value] for point, value in zip(points.tolist(), values.tolist())]

    return {
        "train": rows(experiment.train_points, experiment.train_values),
        "test": rows(experiment.test_points, experiment.test_values),
    }


def _state(experiment: PlanarExperiment, history: list[tuple[float, float]]) -> Answer:
    """Losses [training, test] behind the last epochs, accuracies, weights, a map of each unit.

    maps: for each layer, the features first, a string for each unit: GRID * GRID bytes in base64,
    from the top left on, 0 for -1 and less, 255 for 1 and more. Numbers that are not finite are
    null.
    """
    axis = np.linspace(-HALF, HALF, GRID + 1, dtype=np.float32)
    centres = (axis[1:] + axis[:-1]) / 2
    cells = np.stack(np.meshgrid(centres, centres[::-1]), axis=-1).reshape(-1, 2)
    units = experiment.units(tensor(cells, device=experiment.train_points.device))
    return {
        "epoch": experiment.epoch,
        "history": [list(map(_finite, losses)) for losses in history],
        "accuracy": list(map(_finite, experiment.accuracies())) if experiment.classes else None,
        "maps": [[_map(column) for column in unit.to("cpu").numpy().T] for unit in units],
        "weights": [_rows(layer.weight) for layer in experiment.linears],
    }


def _map(values: Any) -> str:
    levels = np.nan_to_num(127.5 + 127.5 * np.clip(values, -1, 1), nan=127.5)
    return base64.b64encode(levels.round().astype(np.uint8).tobytes()).decode()


def _rows(weight: Tensor) -> list[list[float | None]]:
    return [list(map(_finite, row)) for row in weight.tolist()]


def _finite(number: float) -> float | None:
    return float(f"{number:.6g}") if math.isfinite(number) else None


# ---------------------------------------------------------------------- HTTP
class _Handler(BaseHTTPRequestHandler):
    """One connection: files and options by GET, start and train by POST."""

    server: PlaygroundServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the page's acknowledgement
    timeout = 60  # seconds of an idle connection

    def do_GET(self) -> None:
        if self.path == "/":
            self._guarded(lambda: self._send(PAGE.read_bytes(), "text/html; charset=utf-8"))
        elif self.path == "/options":
            self._guarded(lambda: self._json(options()))
        else:
            self._fail(HTTPStatus.NOT_FOUND, f"{self.path[:80]}: there is / and /options")

    def do_POST(self) -> None:
        actions = {"/start": self.server.start, "/train": self.server.train}
        if self.path in actions:
            self._guarded(lambda: self._json(actions[self.path](self._request())))
        else:
            self._fail(HTTPStatus.NOT_FOUND, f"{self.path[:80]}: there is /start and /train")

    def _guarded(self, answer: Callable[[], None]) -> None:
        host = self.headers.get("Host", "").partition(":")[0]
        if host not in ("127.0.0.1", "localhost"):  # a foreign page whose name leads here
            self._fail(HTTPStatus.FORBIDDEN, f"Host: expected 127.0.0.1, got {host[:80]!r}")
            return
        try:
            answer()
        except _UnknownSession as error:
            self._fail(HTTPStatus.NOT_FOUND, str(error))
        except ValueError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except ConnectionError:  # the page has gone
            self.close_connection = True
        except Exception as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")
            raise  # the traceback goes to the terminal

    def _request(self) -> dict[str, Any]:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > BYTES:
            self.close_connection = True
            raise ValueError(f"Content-Length: expected up to {BYTES} bytes, got {size[:20]!r}")
        body = self.rfile.read(int(size))
        kind = self.headers.get_content_type()
        if kind != "application/json":  # which a foreign page cannot send
            raise ValueError(f"Content-Type: expected application/json, got {kind[:80]!r}")
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"body: expected JSON, got something else: {error}") from None
        if not isinstance(request, dict):
            raise ValueError(f"body: expected an object, got {repr(request)[:80]}")
        return request

    def _json(self, answer: Answer, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(answer, allow_nan=False).encode(), "application/json", status)

    def _fail(self, status: HTTPStatus, text: str) -> None:
        if self.command == "POST" and status is not HTTPStatus.BAD_REQUEST:
            self.close_connection = True  # its body may not have been read
        self._json({"error": text}, status)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing about requests."""


guard(globals())
