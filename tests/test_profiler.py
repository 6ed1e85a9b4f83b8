"""The profiler: what it counts, the order of its ranges, its files."""

import json
import threading

import pytest
import torch

import minitorch
from minitorch import nn
from minitorch.profiler import (
    ProfilerAction,
    ProfilerActivity,
    emit_nvtx,
    profile,
    record_function,
    schedule,
    tensorboard_trace_handler,
)


def step():
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    x = minitorch.ones(5, 6)
    optimizer = minitorch.optim.SGD(model.parameters(), lr=0.1)

    def run():
        with record_function("loss"):
            loss = nn.functional.cross_entropy(model(x), minitorch.zeros(5, dtype=minitorch.int64))
        loss.backward()
        optimizer.step()

    return run


def by_name(prof, **options):
    return {(a.key, a.kind): a for a in prof.key_averages(**options)}


def test_what_a_step_calls():
    run = step()
    with profile() as prof:
        run()
        run()
    found = by_name(prof)
    assert found["loss", "range"].count == 2
    assert found["Sequential", "layer"].count == 2 and found["Linear", "layer"].count == 4
    assert found["linear", "op"].count == found["linear_backward", "op"].count == 4
    assert found["linear backward", "rule"].count == 4
    assert found["sgd_", "op"].count == 2
    linear = found["linear", "op"]
    assert linear.flops == 2 * (2 * 5 * 6 * 4 + 2 * 5 * 4 * 3)
    assert linear.bytes == 2 * 4 * ((30 + 24 + 4 + 20) + (20 + 12 + 3 + 15))
    assert linear.cpu_time == linear.cpu_time_total / 4 > 0
    apart = by_name(prof, group_by_input_shape=True) and prof.key_averages(True)
    assert {a.input_shapes[0]: a.count for a in apart if a.key == "linear"} == {
        (5, 6): 2,
        (5, 4): 2,
    }


def test_times_lie_within_each_other():
    run = step()
    with profile() as prof:
        run()
    spans = prof.events()
    for span in spans:
        inner = [s for s in spans if s.within is span]
        assert span.inner == sum(s.end - s.start for s in inner) <= span.end - span.start
        assert all(span.start <= s.start <= s.end <= span.end for s in inner)
    whole = sum(a.self_cpu_time_total for a in prof.key_averages())
    outer = sum(s.end - s.start for s in spans if s.within is None)
    assert whole == pytest.approx(outer / 1e3)


def test_time_of_the_device():
    run = step()
    with profile() as prof:
        run()
    found = by_name(prof)
    linear, loss = found["linear", "op"], found["loss", "range"]
    if minitorch.ones(1).device.type == "cpu":
        assert linear.device_time == loss.device_time == 0
        return
    assert linear.self_device_time_total == linear.device_time_total > 0
    assert loss.self_device_time_total == 0 and loss.device_time_total > linear.device_time_total
    assert 0 < linear.least_device_time < linear.device_time_total
    assert "Self device time total" in prof.key_averages().table()


def test_roofs_of_devices():
    """3 GHz, twice a cycle, on 6,144 bits are 4.6 TB/s; 132 x 128 cores at 2 GHz 68 TFLOP/s."""
    of = minitorch.backend.named("sim").gpu._roofs_of
    told = {"MemoryClockRate": 3_000_000, "GlobalMemoryBusWidth": 6144, "ClockRate": 2_000_000}
    told |= {"ComputeCapabilityMajor": 9, "ComputeCapabilityMinor": 0, "MultiProcessorCount": 132}
    assert of(told) == pytest.approx((4.608e12, 67.584e12))
    assert of(told | {"ComputeCapabilityMajor": 8})[1] == pytest.approx(33.792e12)
    assert of(told | {"MemoryClockRate": 0, "ClockRate": 0}) == (float("inf"), float("inf"))


def test_an_expanded_operand_is_read_once():
    x = minitorch.ones(1, 4).expand(100, 4)
    with profile() as prof:
        x + minitorch.ones(100, 4)
    assert by_name(prof)["add", "op"].bytes == 4 * (4 + 400 + 400)


def test_the_table():
    run = step()
    with profile(activities=[ProfilerActivity.CPU]) as prof:
        run()
    averages = prof.key_averages()
    lines = averages.table(sort_by="count", row_limit=2).splitlines()
    most = max(averages, key=lambda a: a.count)
    assert len([line for line in lines if "  op " in line or "layer" in line]) <= 2
    assert lines[2].split()[:3] == [most.key, most.kind, str(most.count)]
    with pytest.raises(ValueError, match="sort_by: expected one of count, cpu_time"):
        averages.table(sort_by="colour")


def test_the_trace(tmp_path):
    run = step()
    with profile() as prof:
        run()
    prof.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) == len(prof.events()) and {e["ph"] for e in events} == {"X"}
    (linear, _) = [e for e in events if e["name"] == "linear"]
    assert linear["cat"] == "op" and linear["args"]["shapes"] == [[5, 6], [4, 6], [4]]
    assert all(e["dur"] >= 0 for e in events)


GIVEN = [
    {"wait": 1, "warmup": 1, "active": 2},
    {"wait": 0, "warmup": 2, "active": 1, "repeat": 2, "skip_first": 3},
]


@pytest.mark.parametrize("given", GIVEN)
def test_the_schedule_is_pytorch_s(given):
    ours, theirs = schedule(**given), torch.profiler.schedule(**given)
    assert [ours(i).name for i in range(15)] == [theirs(i).name for i in range(15)]
    with pytest.raises(ValueError, match="active of at least 1"):
        schedule(wait=0, warmup=0, active=0)


def test_steps_of_a_schedule(tmp_path):
    x, cycles = minitorch.ones(2), []

    def ready(prof):
        cycles.append((prof.step_num, len(prof.events())))
        tensorboard_trace_handler(str(tmp_path))(prof)

    with profile(schedule=schedule(wait=1, warmup=1, active=2), on_trace_ready=ready) as prof:
        for _ in range(11):
            x + 1
            prof.step()
    assert cycles == [(3, 2), (7, 2), (11, 1)]
    assert len(list(tmp_path.glob("*.pt.trace.json"))) == 3


def test_nothing_stays_behind():
    call, kernels = nn.Module.__call__, dict(minitorch.core.dispatch.REGISTRY["add"].kernels)
    with pytest.raises(RuntimeError, match="shapes"), profile(), emit_nvtx():
        minitorch.ones(2) + minitorch.ones(3)
    assert nn.Module.__call__ is call
    assert dict(minitorch.core.dispatch.REGISTRY["add"].kernels).items() >= kernels.items()


def test_a_decorated_function_and_threads():
    @record_function("named")
    def work():
        return minitorch.ones(3) * 2

    with profile() as prof:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    spans = [s for s in prof.events() if s.name == "mul"]
    assert len(spans) == by_name(prof)["named", "range"].count == 3
    assert all(s.within.name == "named" and s.within.thread == s.thread for s in spans)
    assert work().tolist() == [2, 2, 2]  # without a profile


def test_the_results_are_the_same():
    minitorch.manual_seed(0)
    plain = step()
    plain()
    x = minitorch.ones(2, 3, requires_grad=True)
    with profile() as prof:
        y = (x * x).sum()
        y.backward()
    assert x.grad.tolist() == [[2, 2, 2]] * 2
    assert ProfilerAction.RECORD.value == 2 and prof.events()


def test_ranges_for_nsight():
    pytest.importorskip("minitorch.sim")
    model, x = nn.Linear(3, 2, device="sim"), minitorch.ones(4, 3, device="sim")
    with emit_nvtx():
        model(x)  # its first op tells which GPU works
        minitorch.sim.clear()
        with record_function("again"):
            model(x)
    names = [r.name for r in minitorch.sim.launches() if r.kind == "range"]
    assert names[:3] == ["again", "Linear", "linear"]
    with pytest.raises(RuntimeError, match="no range is open"):
        minitorch.sim.nvtx.range_pop()
    minitorch.sim.clear()
    with emit_nvtx(enabled=False):
        model(x)
    assert all(r.kind != "range" for r in minitorch.sim.launches())
