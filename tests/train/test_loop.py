"""The training loop: what it computes, what it saves, how it stops."""

import json
import math

import pytest
import torch

import minitorch
from minitorch import nn, optim
from minitorch.backend.cpu import settings
from minitorch.data import DataLoader, TensorDataset, digits
from minitorch.serialization import load
from minitorch.train import evaluate, fit, loop

CLOCK = ("seconds", "images_per_second")


def data(n=60, classes=3, seed=0):
    """Points around one centre for each class, and their labels."""
    generator = minitorch.Generator().manual_seed(seed)
    y = minitorch.arange(n) % classes
    x = minitorch.randn(n, 4, generator=generator) + 2 * y[:, None]
    return TensorDataset(x, y)


class Job:
    """Model, optimizer, schedule and loaders that are the same each time they are made."""

    def __init__(self, seed=0, dropout=0.3, lr=0.05):
        minitorch.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3)
        )
        self.optimizer = optim.Adam(self.model.parameters(), lr=lr)
        self.scheduler = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=40)
        shuffle = minitorch.Generator().manual_seed(7)
        self.train = DataLoader(data(), 8, shuffle=True, generator=shuffle)
        self.validation = DataLoader(data(30, seed=1), 30)

    def fit(self, epochs=4, **options):
        options = {"scheduler": self.scheduler, "progress": False, **options}
        return fit(
            self.model, self.optimizer, self.train, self.validation, epochs=epochs, **options
        )


def without_clock(history):
    return [{key: row[key] for key in row if key not in CLOCK} for row in history]


def weights(model):
    return {name: value.tolist() for name, value in model.state_dict().items()}


def stop_in_epoch(monkeypatch, number):
    """Make Ctrl-C come in the middle of that epoch."""
    batches, seen = DataLoader.__iter__, []

    def interrupted(self):
        for batch in batches(self):
            seen.append(self.batch_size)
            if seen.count(8) > 8 * (number - 1) + 3:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(DataLoader, "__iter__", interrupted)


def test_losses_equal_pytorchs():
    x, y = data().tensors
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    ours = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    ours.load_state_dict(
        {k: minitorch.tensor(v.detach().numpy()) for k, v in theirs.state_dict().items()}
    )
    tx, ty = torch.tensor(x.tolist()), torch.tensor(y.tolist())
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1)
    expected = []
    for _ in range(3):
        losses, right = [], 0
        for i in range(0, 60, 7):
            logits = theirs(tx[i : i + 7])
            loss = torch.nn.functional.cross_entropy(logits, ty[i : i + 7])
            losses.append(loss.item() * len(logits))
            right += (logits.argmax(1) == ty[i : i + 7]).sum().item()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        expected.append((sum(losses) / 60, right / 60))
    history = fit(
        ours,
        optim.SGD(ours.parameters(), lr=0.1),
        DataLoader(data(), 7),
        DataLoader(data(), 60),
        epochs=3,
        progress=False,
    )
    for row, (loss, accuracy) in zip(history, expected):
        assert row["loss"] == pytest.approx(loss, rel=1e-5)
        assert row["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("batch_size", [8, 7])
def test_a_compiled_run_equals_one_that_is_not(monkeypatch, batch_size):
    made, compile = [], loop.compile
    monkeypatch.setattr(loop, "compile", lambda step: made.append(compile(step)) or made[-1])
    histories, jobs = [], []
    for compiled in (False, True):
        jobs.append(Job())
        jobs[-1].train.batch_size = batch_size
        histories.append(without_clock(jobs[-1].fit(3, compiled=compiled)))
        histories.append(minitorch.get_rng_state().tolist())
    assert histories[:2] == histories[2:]
    assert weights(jobs[0].model) == weights(jobs[1].model)
    (step,) = made
    assert step.reason is None and step.replays >= 3 * len(jobs[1].train) - 4


def test_a_model_that_cannot_be_recorded_is_trained_all_the_same():
    class Looking(nn.Module):
        def forward(self, x):
            return x * float(x.sum().item() < 1e30)

    def job():
        made = Job()
        made.model.append(Looking())
        return made

    expected = job().fit(2, compiled=False)
    with pytest.warns(UserWarning, match="without being compiled: item"):
        history = job().fit(2)
    assert without_clock(history) == without_clock(expected)


def test_evaluate_weighs_batches_by_their_size():
    model, whole = nn.Linear(4, 3), data(10)
    logits = model(whole.tensors[0])
    loss = nn.functional.cross_entropy(logits, whole.tensors[1]).item()
    right = (logits.argmax(1) == whole.tensors[1]).float().mean().item()
    assert evaluate(model, DataLoader(whole, 4)) == pytest.approx((loss, right))


@pytest.mark.parametrize("mode", [True, False])
def test_evaluate_switches_dropout_off_and_restores_the_mode(mode):
    model = nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 3))
    model.train(mode)
    first = evaluate(model, DataLoader(data(), 60))
    assert evaluate(model, DataLoader(data(), 60)) == first
    assert model.training is mode


def test_the_best_epoch_is_what_remains(monkeypatch):
    scores = iter([0.5, 0.9, 0.7, 0.9])
    monkeypatch.setattr(loop, "evaluate", lambda *_: (1.0, next(scores)))
    job, seen = Job(), []
    monkeypatch.setattr(loop._Run, "add", _recording(loop._Run.add, seen))
    history = job.fit(4)
    assert [row["val_accuracy"] for row in history] == [0.5, 0.9, 0.7, 0.9]
    assert weights(job.model) == seen[1] != seen[3]


def _recording(add, seen):
    def wrapped(self, row):
        seen.append(weights(self.model))
        return add(self, row)

    return wrapped


def test_the_schedule_is_stepped_after_every_batch():
    rates = [row["lr"] for row in Job().fit(4)]
    expected = [0.025 * (1 + math.cos(math.pi * 8 * epoch / 40)) for epoch in range(4)]
    assert rates == pytest.approx(expected)


def test_a_model_in_eval_mode_is_trained_in_train_mode(monkeypatch):
    forward, modes = nn.Dropout.forward, []
    look = lambda self, x: modes.append(self.training) or forward(self, x)  # noqa: E731
    monkeypatch.setattr(nn.Dropout, "forward", look)
    job = Job()
    job.model.eval()
    job.fit(1, compiled=False)
    assert modes == [True] * 8 + [False]


def test_it_learns_digits():
    train, test = digits(train=True), digits(train=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    history = fit(
        model,
        optim.Adam(model.parameters(), lr=0.01),
        DataLoader(train, 32, shuffle=True),
        DataLoader(test, 360),
        epochs=5,
        progress=False,
    )
    assert history[-1]["val_accuracy"] > 0.85
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_run_stopped_and_resumed_equals_one_that_was_not(tmp_path, monkeypatch, epoch):
    whole = Job()
    expected = whole.fit(4)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, epoch)
        message = rf"stopped after {epoch - 1} of 4 epochs.*last\.safetensors.*resume=True"
        with pytest.raises(KeyboardInterrupt, match=message):
            Job().fit(4, folder=tmp_path)
    resumed = Job(seed=5)  # what it starts from must not matter
    history = resumed.fit(4, folder=tmp_path, resume=True)
    assert without_clock(history) == without_clock(expected)
    assert weights(resumed.model) == weights(whole.model)


def test_stopping_without_a_folder_says_so(monkeypatch):
    stop_in_epoch(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
        Job().fit()


def test_files(tmp_path):
    job = Job()
    history = job.fit(3, folder=tmp_path / "new", metadata={"config": {"lr": 0.05}})
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "best.safetensors",
        "last.safetensors",
    ]
    best = load(tmp_path / "new" / "best.safetensors")
    assert best["config"] == {"lr": 0.05}
    assert best["epoch"]["val_accuracy"] == max(row["val_accuracy"] for row in history)
    assert {name: value.tolist() for name, value in best["model"].items()} == weights(job.model)
    json.dumps(history)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    job = Job(lr=1e30)
    job.model[1] = nn.Identity()
    with pytest.raises(FloatingPointError, match=r"is (nan|inf) in epoch 1, .*lr=1e\+30"):
        job.fit(folder=tmp_path, scheduler=None)
    kept = load(tmp_path / "last.safetensors")
    assert kept["history"] == []
    assert all(math.isfinite(x) for x in kept["model"]["0.weight"].flatten().tolist())


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range(label):
    job = Job()
    job.train.dataset.tensors[1][5] = label
    with pytest.raises((IndexError, ValueError), match=str(label)):
        job.fit(1)


def test_an_empty_loader():
    job = Job()
    empty = DataLoader(data(4), 8, drop_last=True)
    message = "the {} loader has no batch: 4 samples, batch_size=8, drop_last=True"
    with pytest.raises(ValueError, match=message.format("evaluation")):
        evaluate(job.model, empty)
    with pytest.raises(ValueError, match=message.format("validation")):
        fit(job.model, job.optimizer, job.train, empty, epochs=1)
    with pytest.raises(ValueError, match=message.format("training")):
        fit(job.model, job.optimizer, empty, job.validation, epochs=1)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"last\.safetensors"):
        Job().fit(folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match="folder"):
        Job().fit(resume=True)


def test_the_device_is_read_rarely(monkeypatch):
    read, reads = loop._Meter.read, []
    monkeypatch.setattr(loop._Meter, "read", lambda self: reads.append(1) or read(self))
    job = Job()
    job.train = DataLoader(data(600), 4, shuffle=True)
    job.fit(1)
    assert len(reads) == 600 // 4 // loop.READ_EVERY + 1  # the last is the validation's


def test_denormals_are_flushed_only_while_training(monkeypatch):
    before, inside = settings.get_flush_denormal(), []
    if before is None:
        pytest.skip("not on this platform")
    forward = nn.Dropout.forward

    def look(self, x):
        inside.append(settings.get_flush_denormal())
        return forward(self, x)

    monkeypatch.setattr(nn.Dropout, "forward", look)
    Job().fit(1)
    assert set(inside) == {True}
    assert settings.get_flush_denormal() == before


def test_progress_prints_a_line_for_each_epoch(capsys):
    Job().fit(2, progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert all("accuracy" in line and "images/s" in line for line in lines)
