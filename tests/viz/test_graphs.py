"""Pictures of graphs: what stands in them, frame by frame, and the files they leave."""

import io
import re
import shutil
import sys
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

import minitorch
from minitorch.viz import animate_graph, draw_graph, graphs, trace

SVG = "{http://www.w3.org/2000/svg}"
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")


def deck():
    """y = 3√x · (log x + 1/x²) at 1.2, in the lecture's steps."""
    x = minitorch.tensor(1.2, dtype=minitorch.float64, requires_grad=True)
    z2, z3, z4 = 3 * x.sqrt(), x.log(), 1 / x
    z1 = z4**2 + z3
    return {"x": x, "z2": z2, "z3": z3, "z4": z4, "z1": z1, "y": z1 * z2}


def drawn_nodes(svg):
    """By name of a node: the texts of its box that are seen, and its frame (x0, y0, x1, y1)."""
    nodes = {}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        if group.get("class") == "node":
            texts = [t.text for t in group.iter(f"{SVG}text") if t.get("fill") != "none"]
            points = [
                tuple(map(float, point.split(",")))
                for polygon in group.iter(f"{SVG}polygon")
                for point in polygon.get("points").split()
            ]
            xs, ys = zip(*points)
            nodes[group.find(f"{SVG}title").text] = texts, (min(xs), min(ys), max(xs), max(ys))
    return nodes


def drawn_edges(svg):
    """By (node, child): the text on the edge that is seen."""
    edges = {}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        if group.get("class") == "edge":
            texts = [t.text for t in group.iter(f"{SVG}text") if t.get("fill") != "none"]
            edges[tuple(group.find(f"{SVG}title").text.split("->"))] = "".join(texts)
    return edges


@needs_dot
def test_boxes_show_data_and_grad_and_edges_their_contribution():
    steps = deck()
    svg = draw_graph(steps["y"], names=steps, named_only=True)
    boxes = {name: texts for name, (texts, _) in drawn_nodes(svg).items()}
    assert boxes == {
        "x": ["x", "data", "1.20", "grad", "0.14"],
        "z2": ["z2", "\u00a0= 3 · sqrt(x)", "data", "3.29", "grad", "0.88"],
        "z3": ["z3", "\u00a0= log(x)", "data", "0.18", "grad", "3.29"],
        "z4": ["z4", "\u00a0= 1 / x", "data", "0.83", "grad", "5.48"],
        "z1": ["z1", "\u00a0= z4 · z4 + z3", "data", "0.88", "grad", "3.29"],
        "y": ["y", "\u00a0= z1 · z2", "data", "2.88", "grad", "1.00"],
    }
    assert drawn_edges(svg) == {
        ("x", "z2"): "+1.20",
        ("x", "z3"): "+2.74",
        ("x", "z4"): "-3.80",
        ("z4", "z1"): "+5.48",
        ("z3", "z1"): "+3.29",
        ("z1", "y"): "+3.29",
        ("z2", "y"): "+0.88",
    }
    assert "grad: the adjoint" in svg


@needs_dot
def test_boxes_do_not_overlap():
    model = minitorch.nn.Sequential(minitorch.nn.Linear(3, 4), minitorch.nn.Linear(4, 2))
    loss = (model(minitorch.randn(5, 3)) ** 2).mean()
    frames = [frame for _, frame in drawn_nodes(draw_graph(loss)).values()]
    assert len(frames) == 8
    for i, (a0, b0, a1, b1) in enumerate(frames):
        for c0, d0, c1, d1 in frames[:i]:
            assert a1 < c0 or c1 < a0 or b1 < d0 or d1 < b0


@needs_dot
def test_frames_fill_forward_then_backward(tmp_path):
    """The running sums of x's grad are the lecture's +1.20, 3.94 and 0.14."""
    steps = deck()
    path = animate_graph(steps["y"], tmp_path / "new" / "y.svg", steps, seconds=0.5)
    frames = [frame for frame in ET.parse(path).getroot() if frame.tag == f"{SVG}g"]
    assert len(frames) == 1 + 8 + 1 + 7 + 1
    data, grads, captions = [], [], []
    for frame in frames:
        boxes = {k: texts for k, (texts, _) in drawn_nodes(ET.tostring(frame)).items()}
        assert boxes.keys() == {*steps, "v0", "v1"}
        numbers = {
            k: [t for t in texts[1:] if re.fullmatch(r"-?\d+\.\d+", t)]
            for k, texts in boxes.items()
        }
        data.append(sum(bool(found) for found in numbers.values()))
        grads.append(numbers["x"][1:])
        captions += [t.text for t in frame.iter(f"{SVG}text") if t.get("font-size") == "15.00"]
    assert data == [0, 1, 2, 3, 4, 5, 6, 7, 8] + [8] * 9
    assert grads == [[]] * 12 + [["1.20"]] * 2 + [["3.94"]] * 2 + [["0.14"]] * 2
    assert captions[2] == "forward: v0 = sqrt(x), v0 = 1.10"
    assert captions[9] == "backward: the grad of y is 1.00"
    assert captions[10].split(", ")[0] == "backward: y sends +0.88 to z2"
    assert captions[-1] == "all grads are known"


@needs_dot
def test_the_box_at_work_has_another_colour(tmp_path):
    steps = deck()
    path = animate_graph(steps["y"], tmp_path / "y.svg", steps, named_only=True)
    at_work = []
    for frame in [g for g in ET.parse(path).getroot() if g.tag == f"{SVG}g"]:
        at_work.append(
            [
                group.find(f"{SVG}title").text
                for group in frame.iter(f"{SVG}g")
                if any(p.get("fill") == "#ffd9a0" for p in group.findall(f"{SVG}polygon"))
            ]
        )
    forward, backward = [[name] for name in steps], [["y"], ["z2"], ["z1"], ["z3"], ["z4"]]
    assert at_work == [[], *forward, ["y"], *backward, []]


@needs_dot
def test_each_frame_is_seen_in_its_turn(tmp_path):
    steps = deck()
    path = animate_graph(steps["y"], tmp_path / "y.svg", steps, named_only=True, seconds=0.5)
    animations = list(ET.parse(path).getroot().iter(f"{SVG}animate"))
    n = len(animations)
    assert {a.get("dur") for a in animations} == {f"{(n + 2) * 0.5:g}s"}  # the last stays
    for k in range(n + 2):
        now = (k + 0.5) / (n + 2)
        visible = []
        for a in animations:
            times = list(map(float, a.get("keyTimes").split(";")))
            assert times[0] == 0 and times == sorted(times)
            place = max(i for i, t in enumerate(times) if t <= now)
            visible.append(a.get("values").split(";")[place] == "visible")
        assert visible.index(True) == min(k, n - 1)
        assert sum(visible) == 1
    ids = re.findall(r'\sid="([^"]*)"', path.read_text())
    assert len(ids) == len(set(ids))


@needs_dot
def test_gif_has_the_same_frames(tmp_path):
    steps = deck()
    path = animate_graph(steps["y"], tmp_path / "y.gif", steps, named_only=True, seconds=0.5)
    with Image.open(path) as picture:
        assert picture.n_frames == 1 + 6 + 1 + 5 + 1
        assert picture.info["loop"] == 0
        durations = []
        for k in range(picture.n_frames):
            picture.seek(k)
            durations.append(picture.info["duration"])
    assert durations == [500] * 13 + [1500]
    assert [p.name for p in tmp_path.iterdir()] == ["y.gif"]


@needs_dot
def test_formats_and_paths(tmp_path):
    steps = deck()
    found = trace(steps["y"], steps, show=False)
    png = draw_graph(found, "png", path=tmp_path / "y.png")
    assert (tmp_path / "y.png").read_bytes() == png
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
    dot = draw_graph(found, "dot", path=tmp_path / "y.dot")
    assert (tmp_path / "y.dot").read_text() == dot
    assert dot.startswith("digraph trace {")
    steps["y"].backward()
    assert draw_graph(found, "dot") == dot  # a trace outlives its graph


@needs_dot
@pytest.mark.parametrize(
    ("name", "start"),
    [("y.svg", b"<?xml"), ("y.PNG", b"\x89PNG"), ("y.pdf", b"%PDF-"), ("y.dot", b"digraph")],
)
def test_the_suffix_is_the_format(tmp_path, name, start):
    steps = deck()
    drawn = draw_graph(steps["y"], names=steps, path=tmp_path / name)
    held = (tmp_path / name).read_bytes()
    assert held.startswith(start)
    assert held == (drawn if isinstance(drawn, bytes) else drawn.encode())
    with pytest.raises(ValueError, match="format: expected one of svg, png, pdf, dot, got gif"):
        draw_graph(steps["y"], path=tmp_path / "y.gif")
    assert animate_graph(steps["z4"], tmp_path / "z.SVG").read_bytes().startswith(b"<?xml")


@needs_dot
def test_names_with_special_characters():
    x = minitorch.tensor(2.0, requires_grad=True)
    name = 'a<b>&"c\\d'
    svg = draw_graph(x.exp(), names={name: x})
    assert name in [texts[0] for texts, _ in drawn_nodes(svg).values()]


def test_dot_needs_neither_package_nor_program(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    monkeypatch.setenv("PATH", "")
    steps = deck()
    assert '"z1" -> "y"' in draw_graph(steps["y"], "dot", steps)
    with pytest.raises(ImportError, match=r"pip install .*\[graph\].*program dot"):
        draw_graph(steps["y"])


def test_without_the_program_the_error_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"program dot of Graphviz .* apt install graphviz"):
        draw_graph(deck()["y"], path=tmp_path / "y.svg")
    assert list(tmp_path.iterdir()) == []


def test_without_pillow_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr(graphs, "_rendered", lambda format, text: b"")
    with pytest.raises(ImportError, match=r"pip install .*\[viz\]"):
        animate_graph(deck()["y"], tmp_path / "y.gif")


def test_bad_input(tmp_path):
    y = deck()["y"]
    for call, message in [
        (lambda: draw_graph(y, "jpg"), "format: expected one of svg, png, pdf, dot, got jpg"),
        (lambda: animate_graph(y, tmp_path / "y.png"), r"in .svg or .gif, got y.png"),
        (lambda: animate_graph(y, tmp_path / "y.svg", seconds=0), "seconds: expected a positive"),
        (lambda: draw_graph(y, "dot", {"w": minitorch.ones(1)}), "'w' is not part of the graph"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert list(tmp_path.iterdir()) == []
