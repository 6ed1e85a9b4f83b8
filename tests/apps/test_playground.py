"""The playground's server, asked over HTTP as its page does."""

import base64
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Thread
from time import sleep

import numpy as np
import pytest

import minitorch
from minitorch import cli
from minitorch.apps import playground
from minitorch.train import PlanarConfig, PlanarExperiment, planar
from tests.referee import array

JSON = {"Content-Type": "application/json"}


def send(server, method, path, body=None, headers=JSON):
    """Status, content type and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read()
    finally:
        connection.close()


def ask(server, path, request=None):
    """Status and JSON of an answer."""
    method, body = ("GET", None) if request is None else ("POST", json.dumps(request))
    status, kind, answer = send(server, method, path, body)
    assert kind == "application/json"
    return status, json.loads(answer)


def good(server, path, request=None):
    status, answer = ask(server, path, request)
    assert status == 200, answer
    return answer


def learn(server, config, epochs):
    """The first and the last state of a session; the losses behind each epoch."""
    begun = good(server, "/start", {"config": config})
    session, history = begun["session"], begun["state"]["history"]
    while len(history) <= epochs:
        state = good(server, "/train", {"session": session, "epochs": epochs + 1 - len(history)})
        history += state["state"]["history"]
    assert state["state"]["epoch"] == epochs == len(history) - 1
    return begun["state"], state["state"], history


def test_the_page(server):
    status, kind, body = send(server, "GET", "/")
    assert (status, kind) == (200, "text/html")
    page = body.decode()
    assert "<title>minitorch playground</title>" in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []  # all in one file, no network


def test_the_options(server):
    options = good(server, "/options")
    assert options["names"]["data"] == list(minitorch.data.PLANAR)
    assert options["names"]["features"] == list(planar.FEATURES)
    assert options["adjustable"] == ["lr", "penalty", "penalty_rate", "batch_size"]
    assert PlanarConfig.of(options["defaults"]) == PlanarConfig()


def test_all_that_the_page_offers_is_allowed(server):
    page, names = playground.PAGE.read_text(encoding="utf-8"), good(server, "/options")["names"]
    offered = {name: values for name, values in names.items() if name != "features"}
    for name, options in re.findall(r'<select name="(\w+)".*?>(.*?)</select>', page, re.DOTALL):
        if options:
            offered[name] = [float(text) for text in re.findall(r"<option>\s*([\d.]+)", options)]
    slider = r'type="range" name="(\w+)" min="(\d+)" max="(\d+)".*?data-scale="(\d+)"'
    for name, low, high, scale in re.findall(slider, page):
        ends = [int(end) / int(scale) for end in (low, high)]
        offered[name] = [round(end) for end in ends] if scale == "1" else ends
    assert set(offered) == set(planar.RULES) - {"features", "hidden", "seed"}
    for name, values in offered.items():
        assert len(values) >= 2
        for value in values:
            PlanarConfig.of({name: value})


ADAM = {"optimizer": "Adam", "lr": 0.03}
SINES = ["x1", "x2", "sin(x1)", "sin(x2)"]
LEARNED = {  # epochs, and the share of test points that must be right
    "circle": ({"hidden": [6], **ADAM}, 20, 0.97),
    "xor": ({"hidden": [4, 2], **ADAM}, 10, 0.97),
    "gauss": ({"hidden": []}, 5, 0.99),
    "spiral": ({"hidden": [8, 8], "features": SINES, **ADAM}, 50, 0.95),
}


def test_fifty_pages_may_connect_at_once():
    """Before the first of them is answered."""
    with playground.PlaygroundServer(0) as server:
        pages = [socket.create_connection(("127.0.0.1", server.server_port), 9) for _ in range(50)]
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            for page in pages:
                page.sendall(b"GET /options HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert all(page.recv(12) == b"HTTP/1.1 200" for page in pages)
        finally:
            for page in pages:
                page.close()
            server.shutdown()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        b"POST /start HTTP/1.1\r\nHost: localhost\r\nContent-Length: -\r\n\r\n",
    ],
)
def test_a_page_that_leaves_is_no_error(server, said, capfd):
    closed = server.shutdown_request
    done = Event()

    def shutdown(request):
        closed(request)
        done.set()

    server.shutdown_request = shutdown
    try:
        with socket.create_connection(("127.0.0.1", server.server_port), 9) as page:
            page.sendall(said)
            # Closed at once and with a reset, whatever is on its way.
            page.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert done.wait(60)
    finally:
        del server.shutdown_request
    good(server, "/options")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("data", LEARNED)
def test_classes_are_learned(server, data):
    config, epochs, share = LEARNED[data]
    first, last, history = learn(server, {"data": data, **config}, epochs)
    assert first["accuracy"][1] < 0.8
    assert last["accuracy"][1] >= share
    assert history[-1][0] < history[0][0] / 4


@pytest.mark.parametrize(
    ("data", "config", "epochs", "loss"),
    [("reg-plane", {"hidden": []}, 5, 1e-4), ("reg-gauss", {"hidden": [8], **ADAM}, 20, 0.03)],
)
def test_regression_is_learned(server, data, config, epochs, loss):
    first, last, history = learn(server, {"data": data, **config}, epochs)
    assert first["accuracy"] is last["accuracy"] is None
    assert max(history[-1]) < loss < min(history[0]) / 2


def test_the_state_is_that_of_the_network(server, device):
    config = {"data": "reg-gauss", "hidden": [3, 2], "seed": 5}
    begun = good(server, "/start", {"config": config})
    state = good(server, "/train", {"session": begun["session"], "epochs": 2})["state"]
    twin = PlanarExperiment(PlanarConfig.of(config), device)
    for kind, x, y in (
        ("train", twin.train_points, twin.train_values),
        ("test", twin.test_points, twin.test_values),
    ):
        rows = np.array(begun["points"][kind])
        np.testing.assert_allclose(rows, np.column_stack([array(x), array(y)]), rtol=1e-6)
    losses = [twin.losses()]
    for _ in range(2):
        twin.train_epoch()
        losses.append(twin.losses())
    told = begun["state"]["history"] + state["history"]
    np.testing.assert_allclose(told, losses, rtol=1e-4)
    for rows, layer in zip(state["weights"], twin.linears, strict=True):
        np.testing.assert_allclose(rows, array(layer.weight), rtol=1e-3, atol=1e-5)
    assert [len(maps) for maps in state["maps"]] == [2, 3, 2, 1]
    grid, half = playground.GRID, playground.HALF
    cells = -half + (np.arange(grid) + 0.5) * 2 * half / grid
    places = [[x, y] for y in cells[::-1] for x in cells]  # from the top left on
    units = twin.units(minitorch.tensor(places).float())
    for maps, unit in zip(state["maps"], units, strict=True):
        levels = np.array([list(base64.b64decode(text)) for text in maps])
        expected = 127.5 + 127.5 * np.clip(array(unit).T, -1, 1)
        assert np.abs(levels - expected).max() < 0.6


def test_reset_gives_the_same_losses_again(server):
    begun = good(server, "/start", {"config": {"seed": 7}})
    train = {"session": begun["session"], "epochs": 4}
    first = good(server, "/train", train)
    again = good(server, "/start", {"config": {"seed": 7}, "session": begun["session"]})
    assert again == begun
    assert good(server, "/train", train) == first
    other = good(server, "/start", {"config": {"seed": 8}, "session": begun["session"]})
    assert other["session"] == begun["session"]
    assert other["state"]["history"] != begun["state"]["history"]


def test_settings_may_change_while_it_learns(server):
    session = good(server, "/start", {})["session"]
    request = {"session": session, "epochs": 1, "adjust": {"lr": 1, "penalty": "L1"}}
    assert good(server, "/train", request)["state"]["epoch"] == 1
    nothing = good(server, "/train", {"session": session, "epochs": 0})["state"]
    assert (nothing["epoch"], nothing["history"]) == (1, [])
    status, answer = ask(server, "/train", {**request, "adjust": {"hidden": [1]}})
    assert status == 400
    assert answer["error"].startswith("hidden: unknown here, expected some of lr, penalty, ")


def test_a_request_is_answered_in_time(server, monkeypatch):
    """However many epochs it asks for: those that begin in time, at least one."""
    monkeypatch.setattr(playground, "SECONDS", 0.0)
    session = good(server, "/start", {})["session"]
    for epoch in (1, 2):
        state = good(server, "/train", {"session": session, "epochs": 100})["state"]
        assert (state["epoch"], len(state["history"])) == (epoch, 1)


def test_losses_that_are_not_finite_are_null(server):
    config = {"data": "reg-gauss", "activation": "linear", "features": ["x1^2", "x2^2"], "lr": 10}
    _, state, history = learn(server, config, 3)
    assert history[-1] == [None, None]
    assert state["weights"][0][0][0] is None
    assert set(base64.b64decode(state["maps"][-1][0])) <= {0, 128, 255}


BAD = [
    ("/start", {"config": {"noise": 3}}, "noise: expected a number from 0 to 0.5, got 3"),
    ("/start", {"config": {"lr": "fast"}}, "lr: expected a number from 1e-05 to 10, got 'fast'"),
    ("/start", {"config": {"hidden": 4}}, "hidden: expected a list of 0 to 6, each an integer "
     "from 1 to 8, got 4"),
    ("/start", {"config": {"colour": 1}}, "colour: unknown here, expected some of data, noise, "
     "train_fraction, features, hidden, activation, optimizer, lr, penalty, penalty_rate, "
     "batch_size, seed"),
    ("/start", {"config": [1]}, "config: expected an object, got [1]"),
    ("/start", {"session": 1}, "session: expected a string, got 1"),
    ("/start", [1], "body: expected an object, got [1]"),
    ("/train", {"epochs": 101}, "epochs: expected an integer from 0 to 100, got 101"),
    ("/train", {"epochs": -1}, "epochs: expected an integer from 0 to 100, got -1"),
    ("/train", {"epochs": True}, "epochs: expected an integer, got True"),
    ("/train", {"adjust": "lr"}, "adjust: expected an object, got 'lr'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "request_", "said"), BAD)
def test_what_is_wrong_is_named(server, path, request_, said):
    assert ask(server, path, request_) == (400, {"error": said})


def test_requests_that_are_not_of_the_page(server):
    status, answer = ask(server, "/train", {"session": "nobody's"})
    assert status == 404
    assert answer["error"].startswith("session: expected a name that /start gave, one of the last ")
    assert ask(server, "/nothing")[0] == ask(server, "/nothing", {})[0] == 404
    for body in ("{", "", "[" * 10_000, b"\xff"):
        status, _, answer = send(server, "POST", "/start", body)
        assert status == 400, body
        assert json.loads(answer)["error"].startswith("body: expected JSON, got something else: ")
    large = send(server, "POST", "/start", "{}" + " " * playground.BYTES)
    assert large[0] == 400 and b"Content-Length: expected up to 65536 bytes" in large[2]
    form = send(server, "POST", "/start", "{}", {"Content-Type": "text/plain"})
    assert form[0] == 400 and b"Content-Type: expected application/json" in form[2]
    for method, path in (("GET", "/"), ("GET", "/options"), ("POST", "/start")):
        status, _, answer = send(server, method, path, "{}", {**JSON, "Host": "evil.example:80"})
        assert status == 403, answer
    assert send(server, "DELETE", "/")[0] == 501


def test_what_fails_inside_is_told_too(server, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of order")

    session = good(server, "/start", {})["session"]
    monkeypatch.setattr(PlanarExperiment, "train_epoch", broken)
    monkeypatch.setattr(server, "handle_error", lambda *_: None)
    status, answer = ask(server, "/train", {"session": session})
    assert (status, answer) == (500, {"error": "RuntimeError: out of order"})
    monkeypatch.undo()
    assert good(server, "/train", {"session": session})["state"]["epoch"] == 1


def test_sessions_at_once_do_not_disturb_each_other(server):
    def losses(seed):
        return learn(server, {"seed": seed, "hidden": [3]}, 3)[2]

    seeds = list(range(6))
    alone = [losses(seed) for seed in seeds]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(losses, seeds)) == alone
    assert len({str(history) for history in alone}) == 6


def test_one_session_asked_many_times_at_once(server, monkeypatch):
    train_epoch, inside = PlanarExperiment.train_epoch, Lock()

    def alone(experiment):
        assert inside.acquire(blocking=False)
        sleep(0.01)
        train_epoch(experiment)
        inside.release()

    monkeypatch.setattr(PlanarExperiment, "train_epoch", alone)
    session = good(server, "/start", {})["session"]
    with ThreadPoolExecutor(8) as pool:
        request = {"session": session, "epochs": 1}
        states = list(pool.map(lambda _: good(server, "/train", request)["state"], range(8)))
    assert sorted(state["epoch"] for state in states) == list(range(1, 9))


def test_the_oldest_session_goes(server, monkeypatch):
    monkeypatch.setattr(playground, "SESSIONS", 2)
    first, second = (good(server, "/start", {})["session"] for _ in range(2))
    good(server, "/train", {"session": first})  # so the second is the oldest
    third = good(server, "/start", {})["session"]
    good(server, "/start", {"session": third})  # in its own place
    found = [ask(server, "/train", {"session": s})[0] for s in (first, second, third)]
    assert found == [200, 404, 200]


# ---------------------------------------------------------------------- serve and the command
@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("options", [[], ["--no-browser"]])
def test_the_command_serves_until_ctrl_c(device, options):
    command = [sys.executable, "-m", "minitorch", "playground", "--port", "0", "--device", device]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BROWSER": "echo opened %s"},
    )
    with process:
        said = process.stdout.readline()
        place = re.match(r"playground on (\S+): (http://127\.0\.0\.1:(\d+)/) \(Ctrl-C ends", said)
        connection = http.client.HTTPConnection("127.0.0.1", int(place[3]), timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert b"minitorch playground" in answer.read()
        connection.close()
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
    assert (process.returncode, err) == (0, "")
    assert place[1].partition(":")[0] == device.partition(":")[0]
    assert out.split() == ([] if options else ["opened", place[2]])


def test_a_port_that_cannot_be(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["playground", "--port", str(port), "--no-browser"]) == 2
    said = f"minitorch: error: port {port}: Address already in use: choose another one\n"
    assert capsys.readouterr().err == said
    assert cli.main(["playground", "--port", "65536"]) == 2
    assert "port: expected an integer from 0 to 65535, got 65536" in capsys.readouterr().err
    with pytest.raises(ValueError, match="port: expected an integer from 0 to 65535, got '80'"):
        playground.serve("80")
