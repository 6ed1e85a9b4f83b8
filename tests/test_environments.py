"""Machines that lack something: `import minitorch` works, and errors say what to install."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

import minitorch
from minitorch import cli
from minitorch.backend.cuda import driver, installed

# Records what is started by the interpreter, from its first line on.
SPY = """
import sys
started = []
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
sys.addaudithook(lambda event, args: started.append(args) if event in STARTS else None)
"""
NO_CUPY = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("cupy", "cupyx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
"""
TRY = """
def error_of(device):
    import minitorch
    try:
        minitorch.zeros(1, device=device)
    except RuntimeError as error:
        return str(error)
"""
CUPY = importlib.util.find_spec("cupy") is not None


def run(script, tmp_path, **environment):
    """What a script prints in a process of its own, on a machine without a GPU."""
    hidden = {"CUDA_VISIBLE_DEVICES": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=os.environ | hidden | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_import_touches_neither_cupy_nor_the_simulator_nor_a_compiler(tmp_path):
    script = SPY + "import minitorch, minitorch.text, minitorch.train\n"
    script += "modules = [m for m in sys.modules if m.split('.')[0] == 'cupy'"
    script += " or m.startswith('minitorch.backend.sim')]\n"
    script += "assert minitorch.device('cpu').type == 'cpu' and not modules, modules\n"
    script += "assert not started, started\n"
    script += "import minitorch.cli; assert 'cupy' not in sys.modules and not started"
    run(script, tmp_path)


WITHOUT_CUPY = (
    "device 'cuda' is not available: CuPy is not installed: "
    'pip install -e ".[cuda12]" in the clone of minitorch (or [cuda13])\n'
)


def test_without_cupy(tmp_path):
    script = NO_CUPY + TRY + "print(error_of('cuda'))"
    assert run(script, tmp_path) == WITHOUT_CUPY
    script = NO_CUPY + TRY + "print(error_of('cuda:1'))"
    assert run(script, tmp_path) == WITHOUT_CUPY


def test_with_cupy_but_no_driver(tmp_path):
    if not CUPY:
        pytest.skip("cupy is not installed")
    found = run(TRY + "print(error_of('cuda'))", tmp_path)
    assert found.startswith("device 'cuda' is not available: CuPy finds no NVIDIA driver or GPU: ")


def test_with_neither_a_compiler_nor_a_gpu(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    found = run(TRY + "print(error_of('sim'))", tmp_path, PATH=str(empty))
    assert found.startswith("device 'sim' is not available: ")
    assert "g++" in found
    assert "install" in found
    script = "import minitorch; print(minitorch.device('auto'), minitorch.ones(2).sum().item())"
    assert run(script, tmp_path, PATH=str(empty)).split() == ["cpu", "2.0"]


WINDOWS = "import os, sys; sys.modules['fcntl'] = None; del os.fork, os.memfd_create\n"
WINDOWS_WORDS = """
from minitorch.text import Word2Vec
from minitorch.text.word2vec.parallel import usable_cores
model = Word2Vec([["a", "b"]] * 50, min_count=1, vector_size=4, sample=0, workers=3)
print(usable_cores(), len(model.wv))
"""


def test_where_nothing_forks_there_is_no_simulator_and_one_worker(tmp_path):
    script = WINDOWS + "import minitorch.cli; minitorch.cli.main(['info'])"
    assert ("device sim       missing: the simulated GPU needs Linux (on Windows: WSL)\n") in run(
        script, tmp_path
    )
    assert run(WINDOWS + WINDOWS_WORDS, tmp_path) == "1 2\n"


@pytest.mark.parametrize("prelude", ["", NO_CUPY], ids=["cupy", "no cupy"])
def test_auto_is_the_cpu_where_there_is_no_gpu(prelude, tmp_path):
    script = prelude + "import minitorch; x = minitorch.ones(1, device='auto'); print(x.device)"
    assert run(script, tmp_path) == "cpu\n"


def test_info_tells_the_state_of_each_device(tmp_path):
    script = "import minitorch.cli; minitorch.cli.main(['info'])"
    shown = run(NO_CUPY + script, tmp_path, PATH=str(tmp_path / "none"))
    lines = {line[:17].strip(): line[17:] for line in shown.splitlines()}
    assert lines["device cpu"] == "available"
    assert lines["device cuda"].startswith("missing: CuPy is not installed: pip install ")
    assert lines["device sim"].startswith("missing: ")
    assert "g++" in lines["device sim"]
    if CUPY:
        assert "device cuda      missing: CuPy finds no NVIDIA driver" in run(script, tmp_path)
    if shutil.which("g++"):
        assert "device sim       available" in run(script, tmp_path)


def _require_compiler():
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")


def test_info_tells_of_driver_gpus_and_libraries(monkeypatch, capsys):
    monkeypatch.setattr(driver, "cuda_version", lambda: (13, 0))
    monkeypatch.setattr(cli, "cuda", minitorch.sim)
    monkeypatch.setattr(installed, "library", lambda name: "13.0, somewhere")
    cli.main(["info"])
    lines = {line[:17].strip(): line[17:] for line in capsys.readouterr().out.splitlines()}
    assert lines["NVIDIA driver"] == "runs CUDA 13.0"
    assert lines["NVRTC"] == lines["cuBLAS"] == "13.0, somewhere"
    if shutil.which("g++"):
        assert lines["cuda:1"] == "Simulated GPU, sm_90, 16 GiB"


def test_two_cupys_are_told_apart_from_none(tmp_path):
    for name in ("cupy-cuda12x", "cupy-cuda13x"):
        folder = tmp_path / f"{name.replace('-', '_')}-14.2.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 14.2.0\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert run(TRY + "print(error_of('cuda'))", tmp_path, PYTHONPATH=path).startswith(
        "device 'cuda' is not available: cupy-cuda12x and cupy-cuda13x are installed over each "
        "other: pip uninstall cupy-cuda12x cupy-cuda13x, then pip install -e "
    )


def test_a_device_number_that_does_not_exist(tmp_path):
    _require_compiler()
    found = run(TRY + "print(error_of('sim:7'))", tmp_path)
    assert found == "device 'sim:7' does not exist: there are 2 of 'sim'\n"


BROKEN = """
import pathlib, shutil, sys
from minitorch.backend import cuda_sources
folder = pathlib.Path("broken")
shutil.copytree(cuda_sources.folder(), folder)
(folder / "reduce.cu").write_text('#include "common.cuh"' + 10 * chr(10) + "\\nint nonsense = ;\\n")
cuda_sources.folder = lambda: folder
import minitorch
x = minitorch.ones(1000, device="sim")
pool = minitorch.backend.sim.get_default_memory_pool()
before = pool.used_bytes()
for _ in range(3):
    try:
        x.sum()
    except RuntimeError as error:
        message = str(error)
assert pool.used_bytes() == before, (before, pool.used_bytes())
print(message)
assert (x + x)[:2].tolist() == [2.0, 2.0]  # other files go on
"""


def test_a_kernel_that_does_not_compile_shows_the_compiler_s_log(tmp_path):
    _require_compiler()
    message = run(BROKEN, tmp_path)
    assert message.startswith("kernels/reduce.cu does not compile for float32:\n")
    assert "reduce.cu:12" in message
    assert "error: expected primary-expression" in message
