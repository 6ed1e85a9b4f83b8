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
from minitorch.train import ClassifierConfig, evaluate, fit, loop, train_classifier

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


@pytest.mark.parametrize("shuffled", ["generator", "default", "no"])
@pytest.mark.parametrize(("epoch", "save_every"), [(1, 1), (2, 2), (3, 3)])
def test_a_run_goes_on_within_an_epoch(tmp_path, monkeypatch, epoch, save_every, shuffled):
    def job(seed=0):
        made = Job(seed)
        if shuffled != "generator":
            made.train = DataLoader(data(), 8, shuffle=shuffled == "default")
        return made

    whole = job()
    expected = whole.fit(4)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, epoch)
        with pytest.raises(KeyboardInterrupt):
            job().fit(4, folder=tmp_path, save_every=save_every)
    kept = load(tmp_path / "last.safetensors")["within"]
    assert kept["step"] == 3 // save_every * save_every
    resumed = job(seed=5)
    history = resumed.fit(4, folder=tmp_path, resume=True, save_every=save_every)
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
        "last.previous.safetensors",
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


def fit_to(targets, outputs, loss_fn, epochs=4, lr=0.05, inputs=None, **options):
    """A linear model trained on so many outputs; its history and what is saved of it."""
    x = minitorch.randn(40, 4) if inputs is None else inputs
    model = nn.Sequential(nn.Linear(4, outputs))
    if outputs == 1 and targets(x).dim() == 1:
        model.append(nn.Flatten(0))
    data = TensorDataset(x, targets(x))
    history = fit(
        model,
        optim.SGD(model.parameters(), lr=lr),
        DataLoader(data, 8),
        DataLoader(data, 40),
        loss_fn=loss_fn,
        epochs=epochs,
        progress=False,
        **options,
    )
    return model, history, data


@pytest.mark.parametrize(
    ("targets", "outputs", "loss_fn"),
    [
        (lambda x: x.sum(1, keepdim=True), 1, nn.functional.mse_loss),
        (lambda x: x.sum(1), 1, nn.functional.l1_loss),
        (lambda x: x[:, :3] * 2, 3, nn.SmoothL1Loss()),
        (lambda x: (x.sum(1) > 0).float(), 1, nn.BCEWithLogitsLoss()),
        (lambda x: (x[:, :3] > 0).float(), 3, nn.functional.binary_cross_entropy_with_logits),
        (lambda x: x.softmax(1), 4, nn.functional.cross_entropy),
        (lambda x: (x[:, :3] > 0).long(), 3, lambda z, y: nn.functional.mse_loss(z, y.float())),
        (lambda x: (x[:, 0] > 0).long(), 1, lambda z, y: nn.functional.mse_loss(z, y.float())),
    ],
    ids=["mse", "l1", "outputs", "binary", "multi-label", "shares", "integers", "counts"],
)
def test_other_losses_choose_by_the_validation_loss(targets, outputs, loss_fn, capsys):
    model, history, data = fit_to(targets, outputs, loss_fn)
    losses = [row["val_loss"] for row in history]
    assert losses[-1] == min(losses) < losses[0]
    assert not any("accuracy" in name for row in history for name in row)
    assert evaluate(model, DataLoader(data, 40), loss_fn) == pytest.approx((losses[-1],))


@pytest.mark.parametrize("kind", [tuple, dict])
def test_a_model_may_give_a_tuple_or_a_dict(kind):
    class Several(nn.Linear):
        def forward(self, x):
            return kind(enumerate(super().forward(x).split(2, 1)))

    def loss_fn(outputs, y):
        (_, a), (_, b) = outputs.items() if kind is dict else outputs
        return nn.functional.mse_loss(a, y).reshape(1) + b.square().mean() * 0.1

    x, y = minitorch.randn(12, 4), minitorch.randn(12, 2)
    data, model = DataLoader(TensorDataset(x, y), 5), Several(4, 4)
    history = fit(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        data,
        data,
        loss_fn=loss_fn,
        metrics={"size": lambda outputs, y: outputs[1].size(0) if kind is dict else len(outputs)},
        epochs=3,
        progress=False,
    )
    losses = [row["val_loss"] for row in history]
    assert losses[-1] == min(losses) < losses[0]


def test_classes_of_places_are_classification():
    class Places(nn.Linear):
        def forward(self, x):
            return super().forward(x).reshape(-1, 3, 2)

    x, y = minitorch.randn(12, 4), minitorch.randint(3, (12, 2))
    model = Places(4, 6)
    data = DataLoader(TensorDataset(x, y), 5)
    loss, accuracy = evaluate(model, data)
    assert loss == pytest.approx(nn.functional.cross_entropy(model(x), y).item())
    assert accuracy == pytest.approx((model(x).argmax(1) == y).float().mean().item())


def test_metrics_and_what_is_monitored():
    metrics = {
        "error": lambda z, y: (z - y).abs().max(1).values,
        "bias": lambda z, y: (z - y).mean(),
    }
    loss_fn = nn.functional.mse_loss
    options = {"metrics": metrics, "monitor": "val_error", "mode": "max"}
    model, history, data = fit_to(lambda x: x[:, :2], 2, loss_fn, **options)
    errors = [row["val_error"] for row in history]
    assert errors[0] == max(errors) > errors[-1]  # and so the first epoch's weights are kept
    x, y = data.tensors
    loss, error, bias = evaluate(model, DataLoader(data, 7), loss_fn, metrics)
    assert error == pytest.approx(errors[0], rel=1e-5)
    assert loss == pytest.approx(loss_fn(model(x), y).item(), rel=1e-5)
    assert bias == pytest.approx((model(x) - y).mean().item(), abs=1e-6)
    assert {"error", "bias", "val_error", "val_bias"} <= history[0].keys()


@pytest.mark.parametrize(("monitor", "best"), [(None, 1), ("val_accuracy", 1), ("val_loss", 2)])
def test_the_monitor_chooses_the_weights(monkeypatch, monitor, best):
    found = iter([(3.0, 0.5), (2.0, 0.9), (1.0, 0.7), (math.nan, 0.1)])
    monkeypatch.setattr(loop, "evaluate", lambda *_: next(found))
    job, seen = Job(), []
    monkeypatch.setattr(loop._Run, "add", _recording(loop._Run.add, seen))
    job.fit(4, monitor=monitor)
    assert weights(job.model) == seen[best]


@pytest.mark.parametrize("nan", [0, 1])
def test_a_validation_loss_that_is_nan_is_never_the_best(monkeypatch, nan):
    losses = [0.5, 0.5]
    losses[nan] = math.nan
    found = iter(losses)
    monkeypatch.setattr(loop, "evaluate", lambda *_: (next(found), 1.0))
    job, seen = Job(), []
    monkeypatch.setattr(loop._Run, "add", _recording(loop._Run.add, seen))
    job.fit(2, monitor="val_loss")
    assert weights(job.model) == seen[1 - nan]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save_every": 0}, "save_every: expected 1 or more, got 0"),
        ({"mode": "best"}, "mode: expected 'min' or 'max', got 'best'"),
        ({"monitor": "val_error"}, "mode: expected 'min' or 'max' for monitor='val_error'"),
        ({"monitor": "val_error", "mode": "min"}, "monitor: expected one of .*val_loss"),
    ],
)
def test_a_monitor_that_is_not_there(options, message):
    with pytest.raises(ValueError, match=message):
        Job().fit(1, **options)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_in_the_data_is_named(value):
    def wrong(x, *at):
        for i, j in at:
            x[i, j] = value
        return x

    x = minitorch.randn(40, 4)
    loss = nn.functional.mse_loss
    message = r"training loss is .*the input is NaN or infinite in feature 2 \(.*\) of 3 samples"
    with pytest.raises(FloatingPointError, match=message):
        fit_to(lambda x: minitorch.ones(40, 1), 1, loss, inputs=wrong(x, (3, 2), (9, 2), (30, 2)))
    message = r"the input is NaN or infinite in feature 0, 3 \(counted from 0\) of 1 sample$"
    inputs = wrong(minitorch.zeros(40, 4), (5, 0), (5, 3))
    with pytest.raises(FloatingPointError, match=message):
        fit_to(lambda x: minitorch.ones(40, 1), 1, loss, inputs=inputs)
    with pytest.raises(FloatingPointError, match="the target is NaN or infinite in feature 1 "):
        fit_to(lambda x: wrong(minitorch.ones(40, 2), (39, 1)), 2, loss)
    with pytest.raises(FloatingPointError, match="try a smaller learning rate"):
        fit_to(lambda x: minitorch.ones(40, 2), 2, loss, lr=1e30)


def test_nan_in_the_validation_inputs_is_named():
    job = Job()
    job.validation.dataset.tensors[0][7, 1] = math.nan
    with pytest.raises(FloatingPointError, match=r"validation loss is nan in .*feature 1 "):
        job.fit(1)


def test_a_run_is_not_overwritten_unasked(tmp_path):
    Job().fit(1, folder=tmp_path)
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match=r"last\.safetensors is there already: resume"):
        Job().fit(1, folder=tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert len(Job().fit(2, folder=tmp_path, overwrite=True)) == 2


def test_more_epochs_than_before(tmp_path):
    whole = Job()
    expected = whole.fit(4)
    Job().fit(2, folder=tmp_path)
    longer = Job()
    assert without_clock(longer.fit(4, folder=tmp_path, resume=True)) == without_clock(expected)
    assert weights(longer.model) == weights(whole.model)


@pytest.mark.parametrize(
    "change",
    [
        *({"best": {}}, {"best": None}, {"model": {}}, {"optimizer": {}}, {"history": 5}),
        *({"random": minitorch.ones(3)}, {"shuffle": None}, {"within": 5}),
        {"within": {"step": 99, "sums": None, "count": 0, "lr": 0.1, "random": None}},
    ],
    ids=str,
)
def test_another_file_in_the_place_of_the_checkpoint_is_named(tmp_path, change):
    Job().fit(1, folder=tmp_path)
    path = tmp_path / "last.safetensors"
    (tmp_path / "last.previous.safetensors").unlink()
    minitorch.save(minitorch.load(path) | change, path)
    with pytest.raises(ValueError, match=r"last\.safetensors is no checkpoint of this run: "):
        Job().fit(2, folder=tmp_path, resume=True)
    minitorch.save([1, 2], path)
    with pytest.raises(ValueError, match="no checkpoint of this run"):
        Job().fit(2, folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"last\.safetensors is no checkpoint of train_classifier"):
        train_classifier(ClassifierConfig("digits"), tmp_path, resume=True)
