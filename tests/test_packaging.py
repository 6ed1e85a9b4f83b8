"""The package as a user gets it: what the wheel and the sdist hold, and that they run."""

import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minitorch.backend.cuda.driver import MAJORS

ROOT = Path(__file__).parent.parent
SOURCES = ("minitorch", "kernels")


def files_of(folder):
    """Paths of all files of a folder of the checkout that are not made by running it."""
    paths = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a wheel and a sdist of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_every_file_of_the_package_and_the_kernels(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    kernels = {f"minitorch/{name}" for name in files_of("kernels")}
    assert held == files_of("minitorch") | kernels
    assert "minitorch/kernels/common.cuh" in held
    assert {Path(name).suffix for name in held} >= {
        ".cu",
        ".cuh",
        ".h",
        ".cpp",
        ".py",
        ".gz",
        ".html",
    }


def test_the_sdist_holds_what_the_wheel_is_made_of(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [Path(member.name) for member in archive if member.isfile()]
    held = {Path(*name.parts[1:]).as_posix() for name in names}
    assert held >= {name for folder in SOURCES for name in files_of(folder)}
    assert held >= {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/conftest.py"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The interpreter of a fresh environment: the wheel, and the dependencies of the tests."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    options = ["install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, *options, str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    # A line of a .pth file is a folder to import from, in which .pth files are not looked at: so
    # the tests' own minitorch, if it is installed in place, is not seen.
    (site / "dependencies.pth").write_text(str(Path(np.__file__).parent.parent) + "\n")
    return python


def run_installed(python, script, tmp_path):
    """What a script prints that is run far from the checkout, with an empty cache folder."""
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [str(python), "-W", "error", "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


def test_the_installed_package_is_the_one_that_runs(installed, tmp_path):
    script = "import minitorch; from minitorch.backend import cuda_sources; "
    script += "print(minitorch.__file__, cuda_sources.folder(), *cuda_sources.files())"
    module, folder, *files = run_installed(installed, script, tmp_path)
    package = Path(module).parent
    assert package.is_relative_to(installed.parent.parent)
    assert Path(folder) == package / "kernels"
    assert files == sorted(path.stem for path in (ROOT / "kernels").glob("*.cu"))


TRAINING = """
import minitorch
from minitorch import nn, optim
from minitorch.data import digits
x, y = digits(train=True)[:32]
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)).to("sim")
optimizer = optim.Adam(model.parameters(), lr=0.05)
x, y = x.to("sim"), y.to("sim")
losses = []
for _ in range(5):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0], losses
print("trained")
"""


def test_the_installed_package_runs_kernels_on_sim(installed, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    script = "import minitorch; print((minitorch.arange(5.0, device='sim') * 2).sum().item())"
    assert run_installed(installed, script, tmp_path) == ["20.0"]
    assert any(path.suffix == ".so" for path in (tmp_path / "cache").rglob("*"))
    assert run_installed(installed, TRAINING, tmp_path) == ["trained"]


# ---------------------------------------------------------------------- extras
def extras():
    """Each extra on its own, and the sets of them that make and CI install."""
    project = (ROOT / "pyproject.toml").read_text().partition("optional-dependencies]")[2]
    found = set(re.findall(r"^(\w+) = \[", project.partition("\n[")[0], re.MULTILINE))
    for file in ("Makefile", ".ci/run"):
        for group in re.findall(r"/stamp-([a-z][\w,%*$]*)", (ROOT / file).read_text()):
            stem = re.sub(r"%|\$\*", "{}", group)
            found |= {stem.format(cuda) for cuda in MAJORS}
    return sorted(found)


def test_the_extras_are_all_found():
    assert {"viz", "lint", "annoy,hnswlib", "graph,symbolic"} < {*extras()}
    assert {"gpu12", "gpu13", "contestants12", "contestants13"} < {*extras()}


@pytest.mark.parametrize("chosen", extras())
def test_extras_can_be_installed_together(chosen):
    """On Linux, by the index alone; at most one CuPy, and all of one CUDA beside it."""
    uv = pytest.importorskip("uv", reason="uv is not installed")
    command = [uv.find_uv_bin(), "pip", "compile", "--quiet", "--no-annotate", "--no-header"]
    command += ["--no-config", "--python-platform", "x86_64-manylinux_2_28", "pyproject.toml"]
    command += [word for extra in chosen.split(",") for word in ("--extra", extra)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "error sending request" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    names = set(re.findall(r"^([\w-]+)==", done.stdout, re.MULTILINE))
    assert {"numpy", "scipy", "tqdm", "safetensors"} <= names
    cupys = {name for name in names if name.startswith("cupy-cuda")}
    assert len(cupys) <= 1
    toolkits = dict(re.findall(r"^(cuda-toolkit|cuda-bindings)==(\d+)", done.stdout, re.MULTILINE))
    majors = {int(cuda) for cuda in toolkits.values()}
    majors |= {int(name.removeprefix("cupy-cuda").rstrip("x")) for name in cupys}
    majors |= {12 for name in names if name.startswith("nvidia-") and name.endswith("-cu12")}
    if chosen[-2:] in ("12", "13"):
        assert majors == {int(chosen[-2:])}
