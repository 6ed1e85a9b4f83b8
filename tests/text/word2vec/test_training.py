import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

import minitorch
from minitorch.text import CallbackAny2Vec, GloVe, KeyedVectors, Word2Vec
from minitorch.text.io import model_file
from minitorch.text.word2vec import training
from tests.text.word2vec.test_model import SENTENCES, SMALL

pytestmark = pytest.mark.usefixtures("_repeatable")

OPTIONS = SMALL | {"epochs": 3, "vector_size": 8}


class Stop(Exception):
    pass


class StopAfter(CallbackAny2Vec):
    """Raises in the middle of a run: after some chunks of 1000 words."""

    def __init__(self, monkeypatch, chunks):
        self.left = chunks
        step_over = training.Trainer._step_over

        def counted(*args):
            if not self.left:
                raise Stop
            self.left -= 1
            return step_over(*args)

        monkeypatch.setattr(training.Trainer, "_step_over", counted)


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 1000)


def same(a, b):
    tables = a.model.state_dict(), b.model.state_dict()
    return a.losses == b.losses and all(tables[0][n].equal(tables[1][n]) for n in tables[1])


@pytest.mark.parametrize("options", [{}, {"sg": 0}, {"hs": 1, "negative": 0}], ids=str)
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, options):
    options = OPTIONS | options | {"epochs": 2}
    sentences = SENTENCES[:300]
    whole = Word2Vec(sentences, **options)
    path = tmp_path / "deep" / "run.safetensors"
    for chunks in (0, 1, 3, 5):
        with pytest.MonkeyPatch.context() as patch:
            StopAfter(patch, chunks)
            with pytest.raises(Stop):
                Word2Vec(sentences, **options, checkpoint=path, save_every=1000, overwrite=True)
        resumed = Word2Vec(sentences, **options, checkpoint=path, resume=True)
        assert same(resumed, whole)
    done = Word2Vec(sentences, **options, checkpoint=path, resume=True)  # nothing is left to do
    assert same(done, whole)
    assert done.losses == whole.losses


@pytest.mark.parametrize("options", [{}, {"sg": 0}, {"hs": 1, "negative": 0}], ids=str)
def test_how_many_blocks_are_made_at_once_changes_nothing(options, monkeypatch):
    options = OPTIONS | options | {"min_alpha": 0.001}
    whole = Word2Vec(SENTENCES[:300], **options)
    monkeypatch.setattr(training, "_BLOCKS", 4)
    parts = Word2Vec(SENTENCES[:300], **options)
    tables = parts.model.state_dict(), whole.model.state_dict()
    assert all(tables[0][name].equal(tables[1][name]) for name in tables[1])
    assert parts.losses == pytest.approx(whole.losses, rel=1e-12)


def test_saved_at_the_start_and_after_epochs(tmp_path, monkeypatch):
    path = tmp_path / "run"
    places = []

    def write(path, kind, state, keep):
        place = state["run"]["place"]
        places.append((place["epoch"], place["word"]))

    monkeypatch.setattr(model_file, "write", write)
    Word2Vec(SENTENCES[:200], **OPTIONS, checkpoint=path)
    assert places == [(0, 0), (1, 0), (2, 0), (3, 0)]
    places.clear()
    Word2Vec(SENTENCES[:200], **(OPTIONS | {"epochs": 1}), checkpoint=path, save_every=1500)
    assert places == [(0, 0), (0, 1600), (1, 0)]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run"
    sentences = SENTENCES[:100]
    Word2Vec(sentences, **OPTIONS, checkpoint=path)
    before = path.read_bytes()
    given = {"checkpoint": path, "resume": True}
    for other, options, message in (
        (SENTENCES[:99], {}, "another vocabulary: it has"),
        (sentences[::-1], {}, "another (vocabulary|corpus)"),
        (sentences, {"window": 4}, "window=5, this one has window=4"),
        (sentences, {"seed": 9}, "seed=3, this one has seed=9"),
        (sentences, {"epochs": 2}, "epochs=3, this one has epochs=2"),
        (sentences, {"sg": 0}, "sg=1, this one has sg=0"),
    ):
        with pytest.raises(ValueError, match=message):
            Word2Vec(other, **(OPTIONS | options), **given)
        assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        Word2Vec(sentences, **OPTIONS, checkpoint=tmp_path / "none", resume=True)
    with pytest.raises(ValueError, match="resume=True needs the checkpoint"):
        Word2Vec(sentences, **OPTIONS, resume=True)
    minitorch.save({"a": 1}, tmp_path / "other")
    Word2Vec(sentences, **OPTIONS).save(tmp_path / "model")
    for name, message in (("other", "no model of minitorch"), ("model", "no run to go on with")):
        with pytest.raises(ValueError, match=rf"{name} .*{message}"):
            Word2Vec(sentences, **OPTIONS, checkpoint=tmp_path / name, resume=True)


@pytest.mark.parametrize("make", [Word2Vec, GloVe])
def test_a_file_that_is_there_is_not_overwritten_unasked(tmp_path, make):
    path, given = tmp_path / "run", {"vector_size": 4, "min_count": 1, "progress": False}
    path.write_text("notes")
    model = make(SENTENCES[:20], **given)
    for call in (
        lambda: make([1, 2], **given, checkpoint=path),  # before it reads the corpus
        lambda: model.train(checkpoint=path),
    ):
        with pytest.raises(FileExistsError, match=r"run is there already: .* overwrite=True"):
            call()
    assert path.read_text() == "notes"
    model.train(checkpoint=path, overwrite=True)
    model.train(checkpoint=path)  # its own
    assert make.load(path).losses == model.losses
    make(SENTENCES[:20], **given, checkpoint=path, overwrite=True)
    assert {file.name for file in tmp_path.iterdir()} == {"run", "run.previous"}


def test_control_c_saves_between_two_chunks(tmp_path):
    whole = Word2Vec(SENTENCES[:300], **OPTIONS)
    path = tmp_path / "run"
    step_over = training.Trainer._step_over

    def interrupted(trainer, part):
        if part.rates[0] == trainer.schedule.alpha(1, 0):  # the next may be in the making
            os.kill(os.getpid(), signal.SIGINT)
        return step_over(trainer, part)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Trainer, "_step_over", interrupted)
        with pytest.raises(
            KeyboardInterrupt, match=r"after 1 of 3 epochs and (900|1800) words; .*run"
        ):
            Word2Vec(SENTENCES[:300], **OPTIONS, checkpoint=path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert same(Word2Vec(SENTENCES[:300], **OPTIONS, checkpoint=path, resume=True), whole)


KILLED = """
import sys
from pathlib import Path
import minitorch
from minitorch.text import Word2Vec
from minitorch.text.io import model_file
from minitorch.text.word2vec import training

training.CHUNK = 1000
corpus, path, device = sys.argv[1:]
minitorch.set_default_device(device)
minitorch.use_deterministic_algorithms(device.startswith("cuda"))
again = Path(path).exists()
print("begun", flush=True)
model = Word2Vec(corpus_file=corpus, vector_size=8, min_count=1, epochs=EPOCHS, progress=False,
                 sg=1, workers=1, checkpoint=path, save_every=1000, resume=again,
                 cache=Path(path).parent)
minitorch.save({**model.model.state_dict(), "losses": model.losses}, f"{path}.end")
"""


def test_killed_at_random_moments_and_resumed_it_ends_with_the_same_bytes(tmp_path, device):
    script = KILLED.replace("EPOCHS", "6" if device == "cpu" else "1")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\\n".join(" ".join(sentence) for sentence in SENTENCES[:300]) + "\\n")

    def start(name):
        command = [sys.executable, "-c", script, str(corpus), str(tmp_path / name), device]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with start("whole") as whole:
        whole.stdout.readline()
        began = time.perf_counter()
        assert whole.wait() == 0
        seconds = time.perf_counter() - began
    moments = random.Random()
    kills = 0
    for _ in range(3):
        with start("killed") as process:
            process.stdout.readline()
            time.sleep(moments.uniform(0, seconds / 2))
            process.kill()
            kills += process.wait() == -signal.SIGKILL
    assert kills
    with start("killed") as process:
        assert process.wait() == 0
    ends = [(tmp_path / f"{name}.end").read_bytes() for name in ("whole", "killed")]
    assert ends[0] == ends[1]


def test_callbacks_are_called_as_in_gensim(tmp_path):
    import gensim.models
    from gensim.models.callbacks import CallbackAny2Vec as Theirs

    def log_of(base):
        class Log(base):
            def __init__(self):
                self.calls = []

            def on_train_begin(self, model):
                self.calls.append("train begin")

            def on_train_end(self, model):
                self.calls.append("train end")

            def on_epoch_begin(self, model):
                self.calls.append("epoch begin")

            def on_epoch_end(self, model):
                self.calls.append("epoch end")
                self.loss = model.get_latest_training_loss()

        return Log()

    ours, theirs = log_of(CallbackAny2Vec), log_of(Theirs)
    model = Word2Vec(SENTENCES[:50], **OPTIONS, callbacks=[ours, object()], compute_loss=True)
    gensim.models.Word2Vec(SENTENCES[:50], **OPTIONS, callbacks=[theirs], compute_loss=True)
    assert ours.calls == theirs.calls
    assert ours.loss == model.get_latest_training_loss() > sum(model.losses)
    other = log_of(CallbackAny2Vec)
    model.train(epochs=1, callbacks=[other])
    assert other.calls == ["train begin", "epoch begin", "epoch end", "train end"]
    assert ours.calls == theirs.calls


@pytest.mark.parametrize(
    ("words", "count"),
    [(1, 1), (65536, 1), (65537, 2), (8 * 65536, 8), (8 * 65536 + 1, 16), (7_043_162, 112)],
)
def test_chunks_are_as_good_as_equal(words, count, monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 65536)
    length = training.chunk_length(words)
    assert -(-words // length) == count
    assert length <= training.CHUNK
    assert count * length - words < count


def test_an_empty_corpus_has_no_chunk():
    assert training.chunk_length(0) == 0


def test_schedule_falls_linearly_and_stays():
    schedule = training.Schedule(epochs=2, words=100, high=0.5, low=0.1)
    assert schedule.alpha(0, 0) == 0.5
    assert schedule.alpha(1, 0) == pytest.approx(0.3)
    assert schedule.alpha(1, 50) == pytest.approx(0.2)
    assert schedule.alpha(1, 400) == pytest.approx(0.1)


def test_a_checkpoint_is_safetensors(tmp_path):
    from safetensors import safe_open

    model = Word2Vec(SENTENCES[:50], **OPTIONS, checkpoint=tmp_path / "run")
    with safe_open(tmp_path / "run", framework="numpy") as file:
        assert {"vectors", "model.output.weight", "random"} <= set(file.keys())
        assert json.loads(file.get_tensor("keys").tobytes()) == model.wv.index_to_key


def test_a_checkpoint_is_the_file_of_a_model(tmp_path, monkeypatch):
    """What an interrupted run left is a model, from which the run goes on, or another begins."""
    sentences, path = SENTENCES[:300], tmp_path / "run"
    whole = Word2Vec(sentences, **OPTIONS)
    whole.train(sentences, total_examples=300, epochs=2)
    model = Word2Vec(sentences, **OPTIONS)
    StopAfter(monkeypatch, 5)
    with pytest.raises(Stop):
        model.train(sentences, total_examples=300, epochs=2, checkpoint=path)
    monkeypatch.undo()
    monkeypatch.setattr(training, "CHUNK", 1000)
    again = Word2Vec.load(path)
    assert again.losses == whole.losses[:4]
    assert KeyedVectors.load(path).tensor.equal(again.wv.tensor)
    again.train(sentences, total_examples=300, epochs=2, checkpoint=path, resume=True)
    assert same(again, whole)
    done = Word2Vec.load(path)
    assert same(done, whole)
    for each in (done, whole):
        each.train(sentences, total_examples=300, epochs=1)
    assert same(done, whole)
