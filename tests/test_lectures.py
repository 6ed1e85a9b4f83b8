"""The scripts of examples/lectures print the lectures' figures and leave their pictures."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch

import minitorch

LECTURES = Path(__file__).parent.parent / "examples" / "lectures"
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a script; return what it prints and the names of the files it leaves."""

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [name, "--out", str(tmp_path / "out"), *words])
        monkeypatch.syspath_prepend(LECTURES)  # as Python does with a script
        runpy.run_path(str(LECTURES / name), run_name="__main__")
        out, files = capsys.readouterr().out, {path.name for path in (tmp_path / "out").iterdir()}
        said = re.findall(rf"^see {tmp_path}/out/(\S+): \w+", out, re.MULTILINE)
        assert {Path(name).stem for name in said} == {Path(name).stem for name in files}
        return out, files

    return call


def lines_of(text):
    return [line for line in text.strip().splitlines() if line]


def test_the_decks_listing_runs_with_only_the_import_changed(capsys):
    text = (LECTURES / "listing.py").read_text()
    theirs = text.replace("import minitorch as torch", "import torch")
    assert theirs != text
    precision = minitorch.get_printoptions()["precision"]
    printed = []
    for source in (text, theirs):
        exec(compile(source, "listing.py", "exec"), {})
        printed.append(capsys.readouterr().out)
    minitorch.set_printoptions(precision=precision)
    torch.set_printoptions(profile="default")
    assert lines_of(printed[1])[0] == "x  tensor(1.20) tensor(0.14)"
    assert len(lines_of(printed[1])) == 6
    on_gpu = ", device='" in printed[0]  # which PyTorch's, on the CPU, does not say
    assert on_gpu or printed[0] == printed[1]


GRAPHS = """
contributions into x: +1.20, +2.74, -3.80
their running sum: 1.20, 3.94, 0.14
elementary: 8 nodes, the gradient of x is 0.135545
complex: 6 nodes, the gradient of x is 0.135545
second derivative of y: 5.83915
chain rule, y = (e^-x)²/x at 1: 0.135335 and -0.406006
"""


@needs_dot
def test_graphs(run):
    out, files = run("graphs.py")
    for line in lines_of(GRAPHS):
        assert line in out.splitlines()
    assert minitorch.get_printoptions()["precision"] == 4
    assert files == {
        *("graph.svg", "graph.png", "graph-frames.svg", "graph-frames.gif"),
        *("graph-elementary.svg", "graph-complex.svg"),
    }


FOUR_WAYS = """
float64  1e-06                  4.8e-07  4.5e-10
f = x1*x2 + log(x1) - sin(x2): 10 nodes, the graph 7
∂f/∂x1 = x2 + 1/x1 = 5.500000, and by reverse mode 5.500000
∂f/∂x2 = x1 - cos(x2) = 1.716338, and by reverse mode 1.716338
v4 = sin(v1)  -0.958924     0.000000  -1.000000
v6 = v5 − v4  11.652071     5.500000   1.000000
-0.250000   1.000000
 1.000000  -0.958924
"""


@needs_dot
def test_four_ways(run):
    out, files = run("four_ways.py")
    for line in lines_of(FOUR_WAYS):
        assert line in out.splitlines()
    single, wide = [line.split() for line in out.splitlines() if line.startswith("float32")]
    assert float(single[3]) > 0.1  # useless with so small a step
    assert float(wide[3]) < 1e-4
    assert "forward mode: 5 passes; reverse mode: 3;" in out
    assert files == {"four-ways.svg"}


LEARNING = """
w·x + b = 3.2, σ = 0.960834
OR, one unit: 4/4
AND, one unit: 4/4
x1 AND NOT x2, one unit: 4/4
XOR, one hidden layer: 4/4
BCE 1.026645, MSE 0.331750
lr 0.1: 67 steps to 1e-6
lr 0.5: 1 step to 1e-6
lr 1.0: 2, -4, 2, -4, 2, ..., 2
lr 1.1: 2, -4.6, 3.32, -6.184, 5.2208, ..., 2.48e+08
a true cycle: cannot register Sequential as 'itself' of LSTM: a module may not contain itself
"""


def test_learning(run, device):
    # The simulated GPU would take minutes; its training is tested in test_figures_learning.py.
    out, files = run("learning.py", "--device", "cpu" if device == "sim" else device)
    for line in lines_of(LEARNING):
        assert line in out.splitlines()
    (xor,) = [line for line in out.splitlines() if line.startswith("XOR, one unit")]
    assert int(xor[-3]) <= 3
    errors = [float(line.split()[-1]) for line in out.splitlines() if line.startswith("width")]
    assert errors[0] > errors[1] > 10 * errors[2]
    gates = ["OR-one-unit", "AND-one-unit", "x1-AND-NOT-x2-one-unit"]
    gates += ["XOR-one-unit", "XOR-one-hidden-layer"]
    others = ["approximation", "flights", "optimizers", "optimizers-losses"]
    others += ["recurrence", "recurrence-losses"]
    assert files == {f"gate-{name}.png" for name in gates} | {f"{name}.png" for name in others}


PLAYGROUND = """
circle     2-4-2-1  SGD
xor        2-4-2-1  SGD
gauss      2-1      SGD
spiral     4-8-8-1  Adam
reg-plane  2-1      SGD
reg-gauss  2-8-8-1  Adam
"""


def test_playground(run, device):
    """Its default epochs on the CPU; the simulated GPU, which takes minutes, does the same."""
    out, files = run("playground.py", "--device", "cpu" if device == "sim" else device)
    rows = [line for line in out.splitlines() if ", of test " in line]
    assert [row[:24].strip() for row in rows] == lines_of(PLAYGROUND)
    right = [float(line.split()[-1].strip("%")) for line in rows if "right" in line]
    assert len(right) == 4
    assert min(right) > 95
    losses = [float(line.split()[-1]) for line in rows if "right" not in line]
    assert max(losses) < 0.03
    names = ["circle", "xor", "gauss", "spiral", "reg-plane", "reg-gauss", "losses"]
    assert files == {f"playground-{name}.png" for name in names}


@pytest.fixture
def made(monkeypatch, tmp_path, capfd):
    """Make the page of scripts; return its text and what is printed on the way."""

    def call(*scripts):
        monkeypatch.setattr(sys, "argv", ["page.py", *map(str, scripts), "--out", str(tmp_path)])
        runpy.run_path(str(LECTURES / "page.py"), run_name="__main__")
        return (tmp_path / "index.html").read_text(encoding="utf-8"), capfd.readouterr().out

    return call


GRAPHS_SEEN = {
    "The lecture's listing, with only the import changed": [],
    "Values, tangents and adjoints, and what each edge brings": ["graph.svg", "graph-frames.svg"],
    "Granularity: 3√x as √ then ×3, or as one function": [
        *("graph-elementary.svg", "graph-complex.svg")
    ],
    "More derivatives": [],
}
# By heading of a section: its pictures as a browser shows them, their captions, and its code.
READ = """
return [...document.querySelectorAll("section")].map(section => ({
    heading: section.querySelector("h3").textContent,
    pictures: [...section.querySelectorAll("figure")].map(figure => ({
        name: figure.querySelector("img").src.split("/").pop(),
        width: figure.querySelector("img").naturalWidth,
        caption: figure.querySelector("figcaption").textContent,
        beside: figure.offsetLeft > section.querySelector("pre.text").offsetLeft,
    })),
    text: section.querySelector("pre.text").textContent,
    code: section.querySelector("pre.code").textContent,
    wide: section.scrollWidth > section.clientWidth,
}))
"""


@needs_dot
def test_a_picture_stands_with_its_text_its_code_and_what_one_sees(made, browser, tmp_path):
    made("graphs.py")
    browser.open((tmp_path / "index.html").as_uri())
    browser.wait("[...document.images].every(image => image.complete)")
    sections = browser.run(READ)
    seen = {s["heading"]: [p["name"] for p in s["pictures"]] for s in sections}
    assert seen == GRAPHS_SEEN
    for section in sections:
        assert not section["wide"]
        assert "    heading(" in section["code"]
        assert all(p["width"] > 0 and len(p["caption"]) > 20 for p in section["pictures"])
    tables = sections[1]
    assert "x           z2     1.369306  0.876766     +1.200561  1.200561" in tables["text"]
    assert tables["code"].startswith("def number(value):")  # what `steps` and `tables` call
    assert "def steps():" in tables["code"] and "animate_graph(" in tables["code"]
    assert browser.errors() == []


def test_without_graphviz_the_page_says_what_is_left_out(made, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    page, printed = made("graphs.py", "four_ways.py")
    left_out = ["graph.svg", "graph-frames.svg", "graph-elementary.svg", "graph-complex.svg"]
    left_out.append("four-ways.svg")
    for text in (page, printed):
        assert re.findall(r"left out: (\S+): .*the program dot of Graphviz", text) == left_out
    assert "<img" not in page
    assert "second derivative of y: 5.83915" in page
    assert re.findall(r"^\S+\.py$", printed, re.MULTILINE) == ["graphs.py", "four_ways.py"]
    assert all(f"  {line}\n" in printed for line in GRAPHS_SEEN)


SCRIPT = """'A title.'
import sys
from pathlib import Path
from matplotlib.figure import Figure

def heading(text):
    print(f"{text}\\n{'-' * len(text)}")

def wide(n):
    return n + 0.01

def lesson(n):
    heading(f"Heading {n}")
    for name, width in ("narrow", n), ("wide", wide(n)):
        Figure(figsize=(width, 1)).savefig(out / f"{name}.png", dpi=100)
        print(f"see {out / name}.png: a {name} <picture>")
    print("1 < 2")
    print(f"see {out / 'map-of-words.html'}: a page")

out = Path(sys.argv[2])
out.mkdir(parents=True)
(out / "map-of-words.html").write_text("a page")
(out / "old.png").write_text("of another run")
lesson(9)
"""


def test_pictures_and_pages_of_a_lecture(made, browser, tmp_path):
    script = tmp_path / "some.py"
    script.write_text(SCRIPT.replace("'A title.'", '"""A title."""'))
    page, printed = made(script)
    assert printed.splitlines() == [str(script), "  Heading 9", str(tmp_path / "index.html")]
    assert '<h2 id="some">A title</h2>\n<section><h3>Heading 9</h3>' in page
    code = page.partition('<pre class="code">')[2].partition("</pre>")[0]
    assert code.startswith("def wide(n):\n    return n + 0.01\n\n\ndef lesson(n):\n")
    assert '<pre class="text">1 &lt; 2</pre>' in page
    assert '<figure class="half"><img src="some/narrow.png" alt="narrow">' in page
    assert '<figure class="whole"><img src="some/wide.png" alt="wide">' in page
    assert "<figcaption>a wide &lt;picture&gt;</figcaption>" in page
    assert '<a href="some/map-of-words.html">map-of-words</a>: a page' in page
    assert "old.png" not in page
    browser.open((tmp_path / "index.html").as_uri())
    browser.wait("[...document.images].every(image => image.complete)")
    (section,) = browser.run(READ)
    assert [picture["beside"] for picture in section["pictures"]] == [True, False]


def test_a_lecture_that_fails_says_so(made, tmp_path, capfd):
    broken = tmp_path / "broken.py"
    broken.write_text('"""A title."""\n1 / 0')
    with pytest.raises(SystemExit, match=r"broken.py failed"):
        made(broken)
    assert "ZeroDivisionError" in capfd.readouterr().err


COST = """
6      19          318             4194
FLOPs: forward 2,140,160, backward 4,280,320: 2.00 times
backward through a checkpoint, which runs forward again: 3.00 times
all layers: 36 arrays held, at most 38 in backward
6 checkpoints: 10 arrays held, at most 15 in backward
204,800 x 204,800 numbers: 168 GB
"""


def test_cost(run):
    out, files = run("cost.py", "--batch", "2")
    for line in lines_of(COST):
        assert line in map(str.strip, out.splitlines()), line
    peak = re.search(r"its peak is .* MB, ([\d.]+) arrays of 0.8 MB", out)
    assert peak and 1 <= float(peak[1]) < 6
    assert re.search(r"^time: forward .* ms, backward .* ms: .* times$", out, re.MULTILINE)
    assert "detect_anomaly: the backward of sqrt made inf at [1] out of finite numbers" in out
    assert "x.sqrt().sum().backward()" in out
    assert files == set()
