"""The CUDA that is chosen for a driver, and what is said where nothing fits; no GPU is needed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minitorch.backend.cuda import driver, installed

ROOT = Path(__file__).parents[3]


def fake_driver(folder, number):
    """A libcuda.so.1 in the folder, of a driver that runs CUDA number / 1000."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    source = f'extern "C" int cuDriverGetVersion(int* n) {{ *n = {number}; return {number} == 0; }}'
    command = ["g++", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(folder / "libcuda.so.1")]
    subprocess.run(command, input=source, text=True, check=True)


def fake_smi(folder, text):
    """An nvidia-smi in the folder that prints a text."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)


def alone(folder):
    """What driver.py prints as a script, with no package at hand."""
    return subprocess.run(
        [sys.executable, "-I", "-S", driver.__file__],
        env={"LD_LIBRARY_PATH": str(folder), "PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("number", "major"), [(12000, 12), (12080, 12), (13000, 13), (13020, 13), (14010, 13)]
)
def test_the_driver_chooses_the_cuda(tmp_path, number, major):
    fake_driver(tmp_path, number)
    done = alone(tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"{major}\n", "", 0)


def test_a_driver_too_old(tmp_path):
    fake_driver(tmp_path, 11040)
    done = alone(tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        "the NVIDIA driver is too old: it runs CUDA 11.4, expected 12.0 or newer; "
        "install driver 525 or newer\n"
    )


def test_where_the_library_tells_nothing_nvidia_smi_does(tmp_path):
    fake_driver(tmp_path, 0)
    fake_smi(tmp_path, "| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4     |")
    assert alone(tmp_path).stdout == "12\n"
    fake_smi(tmp_path, "NVIDIA-SMI has failed")
    done = alone(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("there is no NVIDIA driver: found neither libcuda.so.1 nor ")


def test_make_gpu_installs_what_the_driver_runs(tmp_path):
    fake_driver(tmp_path, 12040)
    env = {"LD_LIBRARY_PATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = ["make", "--dry-run", "gpu", f"PYTHON={sys.executable}", "OUT=there"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"'\.\[(\w+)\]'", done.stdout) == ["gpu12", "contestants12"]
    fake_driver(tmp_path, 11040)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the NVIDIA driver is too old" in done.stderr and ".[gpu" not in done.stdout


LOGGING = """#!/bin/sh
echo "$(basename $0) $@" >> log
case "$*" in *pytest*) exit %d;; *benchmarks*) exit %d;; *"--editable .[contestants"*) exit 1;; esac
"""


@pytest.mark.parametrize(("tests", "benchmarks", "status"), [(0, 0, 0), (1, 0, 2), (0, 1, 2)])
def test_make_gpu_goes_on_after_tests_that_fail_and_says_so(tmp_path, tests, benchmarks, status):
    """Also where those to time beside cannot be installed; the programs write down their calls."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for folder, names in (
        (".venv-gpu", ["python", "minitorch"]),
        (".venv-contestants", ["python"]),
    ):
        (tmp_path / folder / "bin").mkdir(parents=True)
        for name in names:
            path = tmp_path / folder / "bin" / name
            path.write_text(LOGGING % (tests, benchmarks))
            path.chmod(0o755)
    command = ["env", "-i", f"PATH={os.environ['PATH']}"]  # without an outer make's settings
    command += ["make", "gpu-13", "VENV=.venv-gpu", "OUT=there"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    calls = (tmp_path / "log").read_text().splitlines()
    assert [call.split()[0] for call in calls] == [
        *["python"] * 2,
        *["minitorch"] * 2,
        *["python"] * 2,
    ]
    for call, word in zip(
        calls, (".[gpu13]", ".[contestants13]", "info", "compile", "pytest", "--out there")
    ):
        assert word in call


# ---------------------------------------------------------------------- CuPy and its libraries
@pytest.mark.parametrize(
    ("cupys", "runs", "wrong"),
    [
        ({"cupy-cuda12x": 12}, (12, 0), None),
        ({"cupy-cuda12x": 12}, (13, 1), None),
        ({"cupy-cuda13x": 13}, (13, 0), None),
        ({"cupy": None}, (12, 0), None),
        ({}, (12, 0), None),
        ({}, (11, 8), "the NVIDIA driver is too old: it runs CUDA 11.8"),
        (
            {"cupy-cuda13x": 13},
            (12, 8),
            "cupy-cuda13x is for CUDA 13, the NVIDIA driver runs 12.8: pip uninstall "
            'cupy-cuda13x, then pip install -e ".[cuda12]" in the clone',
        ),
        (
            {"cupy-cuda11x": 11},
            (13, 0),
            "cupy-cuda11x is for CUDA 11, the NVIDIA driver runs 13.0: pip uninstall "
            'cupy-cuda11x, then pip install -e ".[cuda13]" in the clone',
        ),
        (
            {"cupy-cuda12x": 12, "cupy-cuda13x": 13},
            (13, 0),
            "cupy-cuda12x and cupy-cuda13x are installed over each other: pip uninstall "
            'cupy-cuda12x cupy-cuda13x, then pip install -e ".[cuda13]" in the clone',
        ),
    ],
)
def test_what_does_not_fit_is_said_with_the_command_that_mends_it(monkeypatch, cupys, runs, wrong):
    monkeypatch.setattr(installed, "cupys", lambda: cupys)
    monkeypatch.setattr(driver, "cuda_version", lambda: runs)
    found = installed.conflict()
    assert found == wrong if wrong is None else found.startswith(wrong)


def test_nvrtc_of_another_cuda_than_cupy(monkeypatch):
    pytest.importorskip("cupy", reason="CuPy is not installed")
    (major,) = {cuda for cuda in installed.cupys().values() if cuda is not None}
    told = installed.library("NVRTC")
    assert re.match(rf"{major}\.\d+, /.*nvrtc", told)
    monkeypatch.setattr(installed, "cupys", lambda: {f"cupy-cuda{major + 1}x": major + 1})
    with pytest.raises(RuntimeError, match=rf"NVRTC is of CUDA {major}.*CuPy for CUDA {major + 1}"):
        installed.library("NVRTC")


def test_a_library_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", None)
    with pytest.raises(RuntimeError, match=r'^cuBLAS is not installed: pip install -e "\.\[cuda'):
        installed.library("cuBLAS")
