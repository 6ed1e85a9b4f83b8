"""The classification job on the embedded digits."""

import json
import math
from dataclasses import replace

import pytest
from safetensors import safe_open

import minitorch
from minitorch.data import SOURCES, DataLoader
from minitorch.serialization import load
from minitorch.train import ClassifierConfig, classify, evaluate, mlp, train_classifier

SMALL = ClassifierConfig(data="digits", hidden=(16,), epochs=3, batch_size=64)


def run(config=SMALL, *args, **options):
    """Train on the device under test."""
    config = replace(config, device=str(minitorch.get_default_device()))
    return train_classifier(config, *args, progress=False, **options)


def weights(model):
    return {name: value.tolist() for name, value in model.state_dict().items()}


def test_mlp_layers():
    model = mlp(784, (256, 128, 100), 10, dropout=0.2)
    shapes = [tuple(p.shape) for p in model.parameters() if p.dim() == 2]
    assert shapes == [(256, 784), (128, 256), (100, 128), (10, 100)]
    assert model(minitorch.zeros(5, 28, 28)).shape == (5, 10)
    assert [type(layer).__name__ for layer in mlp(4, (), 2)] == ["Flatten", "Linear"]
    plain = [type(layer).__name__ for layer in mlp(4, (3,), 2, norm=False)]
    assert plain == ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]


def test_equal_seeds_give_equal_results():
    first, second, other = run(), run(), run(replace(SMALL, seed=1))
    assert weights(first.model) == weights(second.model)
    assert first.test_accuracy == second.test_accuracy
    assert weights(first.model) != weights(other.model)


def test_it_trains_on_the_device_of_the_configuration(device):
    with minitorch.device("cpu"):  # which is not the default one
        result = train_classifier(replace(SMALL, epochs=1, device=device), progress=False)
    assert {p.device.type for p in result.model.parameters()} == {device.partition(":")[0]}
    assert result.test.tensors[0].device.type == device.partition(":")[0]


def test_default_network_on_digits():
    result = run(ClassifierConfig(data="digits", epochs=10))
    assert result.test_accuracy > 0.9


def test_the_test_set_is_read_once_after_training(monkeypatch):
    source, order = SOURCES["digits"], []
    spied = replace(
        source, load=lambda train=True, **kw: order.append(train) or source.load(train=train, **kw)
    )
    monkeypatch.setitem(SOURCES, "digits", spied)
    fit = classify.fit
    monkeypatch.setattr(classify, "fit", lambda *a, **kw: (fit(*a, **kw), order.append("fit"))[0])
    run()
    assert order == [True, "fit", False]


def test_training_and_validation_images_do_not_overlap(monkeypatch):
    seen, fit = {}, classify.fit

    def spy(model, optimizer, train, validation, **options):
        seen["train"], seen["validation"] = train.dataset.indices, validation.dataset.indices
        seen["shuffle"] = train.shuffle, validation.shuffle
        return fit(model, optimizer, train, validation, **options)

    monkeypatch.setattr(classify, "fit", spy)
    run(replace(SMALL, validation=0.2))
    assert seen["shuffle"] == (True, False)
    assert len(seen["validation"]) == 287
    assert sorted(seen["train"] + seen["validation"]) == list(range(1437))


def test_what_is_saved(tmp_path):
    result = run(SMALL, tmp_path)
    saved = json.loads((tmp_path / "result.json").read_text())
    assert saved["test_accuracy"] == result.test_accuracy
    assert saved["history"] == result.history
    assert saved["config"]["hidden"] == [16]
    best = load(tmp_path / "best.safetensors")
    model = mlp(64, best["config"]["hidden"], 10).to(result.config.device)
    model.load_state_dict(best["model"])
    accuracy = evaluate(model, DataLoader(result.test, 360))[1]
    assert accuracy == pytest.approx(result.test_accuracy)
    with safe_open(tmp_path / "best.safetensors", framework="numpy") as file:
        assert file.get_slice("model.1.weight").get_shape() == [16, 64]


def test_resume_of_a_finished_run_gives_the_same(tmp_path):
    first = run(SMALL, tmp_path)
    again = run(SMALL, tmp_path, resume=True)
    assert weights(again.model) == weights(first.model)
    assert again.test_accuracy == first.test_accuracy


def test_a_run_is_not_overwritten_unasked(tmp_path):
    first = run(SMALL, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match="is there already"):
        run(replace(SMALL, seed=1), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run(SMALL, tmp_path, overwrite=True).test_accuracy == first.test_accuracy


def test_a_finished_run_can_be_trained_longer(tmp_path):
    first = run(SMALL, tmp_path)
    longer = run(replace(SMALL, epochs=5), tmp_path, resume=True)
    assert longer.history[:3] == first.history
    assert [row["epoch"] for row in longer.history] == [1, 2, 3, 4, 5]
    rates = [row["lr"] for row in longer.history]
    schedule = [SMALL.lr * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in (3, 4)]
    assert rates[3:] == pytest.approx(schedule)
    with pytest.raises(ValueError, match="made with epochs=5, resumed with 3"):
        run(SMALL, tmp_path, resume=True)


def test_resume_with_another_configuration(tmp_path):
    run(SMALL, tmp_path)
    with pytest.raises(ValueError, match=r"made with hidden=\(16,\), resumed with \(8,\)"):
        run(replace(SMALL, hidden=(8,)), tmp_path, resume=True)
    with pytest.raises(ValueError, match="folder"):
        run(SMALL, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "mnist"}, "data: expected one of fashion-mnist, digits, got 'mnist'"),
        ({"seed": 2**63}, "seed: expected an integer of 64 bits"),
        ({"epochs": 0}, "epochs: expected more than 0, got 0"),
        ({"batch_size": -1}, "batch_size: .* -1"),
        ({"lr": 0.0}, "lr: "),
        ({"hidden": (3, 0)}, r"hidden: .* \(3, 0\)"),
        ({"validation": 1.0}, "validation: "),
    ],
)
def test_bad_configurations(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_a_batch_larger_than_the_training_set():
    with pytest.raises(ValueError, match="training loader has no batch: 1293 samples"):
        run(replace(SMALL, batch_size=2000))
