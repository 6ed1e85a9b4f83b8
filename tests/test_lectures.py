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
        runpy.run_path(str(LECTURES / name), run_name="__main__")
        return capsys.readouterr().out, {path.name for path in (tmp_path / "out").iterdir()}

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
        *("graph-elementary.png", "graph-complex.png"),
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
    assert files == {"four-ways.png"}


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


@needs_dot
def test_the_page_has_text_tables_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["page.py", "graphs.py", "--out", str(tmp_path)])
    runpy.run_path(str(LECTURES / "page.py"), run_name="__main__")
    page = (tmp_path / "index.html").read_text()
    headings = re.findall("<h3>(.*?)</h3>", page)
    assert headings[0] == "The lecture&#x27;s listing, with only the import changed"
    assert len(headings) == 4
    assert "x           z2     1.369306  0.876766     +1.200561  1.200561" in page
    sources = re.findall('<img src="(.*?)"', page)
    names = ["graph-complex.png", "graph-elementary.png", "graph-frames.svg", "graph.svg"]
    assert sources == [f"graphs/{name}" for name in names]
    assert all((tmp_path / source).is_file() for source in sources)


SCRIPT = """'A title.'
import sys
from pathlib import Path
from matplotlib.figure import Figure
out = Path(sys.argv[2])
out.mkdir(parents=True)
for name, width in ("narrow", 8), ("wide", 8.01):
    Figure(figsize=(width, 1)).savefig(out / f"{name}.png", dpi=100)
(out / "map-of-words.html").write_text("a page")
print("Heading\\n-------\\n1 < 2\\n\\npictures in", out)
"""


def test_pictures_and_pages_of_a_lecture(tmp_path, monkeypatch):
    script = tmp_path / "some.py"
    script.write_text(SCRIPT.replace("'A title.'", '"""A title."""'))
    monkeypatch.setattr(sys, "argv", ["page.py", str(script), "--out", str(tmp_path)])
    runpy.run_path(str(LECTURES / "page.py"), run_name="__main__")
    page = (tmp_path / "index.html").read_text()
    assert '<h2 id="some">A title</h2>\n<h3>Heading</h3>\n<pre>1 &lt; 2</pre>' in page
    assert '<figure class="half"><img src="some/narrow.png" alt="narrow">' in page
    assert '<figure class="whole"><img src="some/wide.png" alt="wide">' in page
    assert '<a href="some/map-of-words.html">map-of-words, to turn and search</a>' in page
    assert "pictures in" not in page


def test_a_lecture_that_fails_says_so(tmp_path, monkeypatch):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    monkeypatch.setattr(sys, "argv", ["page.py", str(broken), "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        runpy.run_path(str(LECTURES / "page.py"), run_name="__main__")


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
