"""Options and fixtures of the whole suite: the device under test, seeds, strict referees."""

import re
import shutil
import sys

import hypothesis
import pytest

import minitorch
from minitorch import backend, library
from minitorch.backend import cuda_sources
from minitorch.core import device as devices
from minitorch.core import dispatch

# What CI installs: a test that is skipped for want of one of these has not been run at all.
REFEREES = re.compile(
    r"\b(torch|pytorch|gensim|sympy|sklearn|scikit-learn|matplotlib|graphviz|chromium|debian|cupy|nvrtc|nvdisasm|nvmath|pdoc|uv)\b|g\+\+",
    re.IGNORECASE,
)

hypothesis.settings.register_profile("any machine", deadline=None)  # a test asserts no time
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="default device of the tests")
    parser.addoption(
        "--checked",
        action="store_true",
        help="the simulated GPU checks every access of a kernel, in all tests (slow)",
    )
    parser.addoption(
        "--require-referees",
        action="store_true",
        help="a test skipped because a referee or data of Debian is missing fails instead",
    )


def pytest_configure(config):
    """Make the device under test the default one, for fixtures and tables of a module as well."""
    try:
        minitorch.set_default_device(config.getoption("--device"))
    except RuntimeError as error:
        raise pytest.UsageError(str(error)) from None
    if config.getoption("--checked"):
        minitorch.sim.config(checked=True)


def pytest_runtest_setup(item):
    """Skip what is said to be about the CPU on every other device; a test lists these."""
    mark = item.get_closest_marker("cpu_only")
    if mark is not None and item.config.getoption("--device") != "cpu":
        pytest.skip(f"about the cpu only: {mark.args[0]}")


@pytest.fixture(scope="session")
def device(request):
    """The name of the device under test."""
    return request.config.getoption("--device")


@pytest.fixture(scope="module")
def _repeatable(device):
    """Two runs are to give the same bits: a real GPU does so only when it is told to."""
    minitorch.use_deterministic_algorithms(device.startswith("cuda"))
    yield
    minitorch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _default_device_and_seeds(device):
    minitorch.set_default_device(device)
    minitorch.manual_seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    yield
    # What a kernel found wrong and no test has looked for is raised here, in the test's name.
    serving, index = backend.resolve(device)
    serving.synchronize(index)
    runtime = sys.modules.get("minitorch.backend.sim.cuda.runtime")
    if runtime is not None and (left := runtime.getDevice()):
        runtime.setDevice(0)
        pytest.fail(f"the test has left sim:{left} the current device")


@pytest.fixture
def own_ops():
    """Ops, kernels and sources that a test makes through `minitorch.library` are gone after it."""
    made, sources = set(library._made), set(cuda_sources._added)
    yield
    new = library._made - made
    library._made -= new
    for name in new:
        del dispatch.REGISTRY[name]
        for of_device in devices._kernels.values():
            of_device.pop(name, None)
        for serving in backend.registered():
            serving.kernels.pop(name, None)
    for name in cuda_sources._added.keys() - sources:
        del cuda_sources._added[name]
    cuda_sources.source.cache_clear()
    for gpu in (serving.gpu for serving in backend.registered() if serving.gpu is not None):
        for known in (gpu.kernels._modules, gpu.kernels._functions, gpu._in_rows):
            for key in [key for key in known if key[0] not in cuda_sources.files()]:
                del known[key]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A window of Chromium."""
    from tests.browser import Browser  # which a copy of this file elsewhere does without

    if shutil.which("chromedriver") is None:
        pytest.skip("Debian's chromium-driver is not installed")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def _reason(report):
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def _fail_if_referee(report, config):
    if report.skipped and config.getoption("--require-referees"):
        reason = _reason(report)
        if REFEREES.search(reason):
            report.outcome = "failed"
            report.longrepr = f"a referee is missing: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    return _fail_if_referee((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _fail_if_referee((yield), collector.config)
