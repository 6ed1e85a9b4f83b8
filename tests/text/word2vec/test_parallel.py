import gc
import math
import os
import signal
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

import minitorch
from minitorch.text import Word2Vec
from minitorch.text.word2vec import parallel, training
from minitorch.text.word2vec.training import Chunk, Schedule
from tests.text.word2vec.test_model import SENTENCES, SMALL, separation
from tests.text.word2vec.test_training import same

OPTIONS = SMALL | {"workers": 2, "device": "cpu"}


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 2000)
    monkeypatch.setattr("minitorch.text.word2vec.model.CHUNK", 2000)
    monkeypatch.setattr("minitorch.text.word2vec.model.usable_cores", lambda: 2)


@pytest.fixture
def in_turns():
    minitorch.use_deterministic_algorithms(True)
    yield
    minitorch.use_deterministic_algorithms(False)


def processes_of(monkeypatch):
    """The processes that are started from now on."""
    started = []
    begin = parallel.subprocess.Popen

    def kept(*args, **options):
        started.append(begin(*args, **options))
        return started[-1]

    monkeypatch.setattr(parallel.subprocess, "Popen", kept)
    return started


def children(pid):
    """The processes that a process has started and not yet buried."""
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # which waits for a parent to bury it


def test_two_processes_learn_what_one_does(monkeypatch):
    started = processes_of(monkeypatch)
    model = Word2Vec(SENTENCES, **OPTIONS)
    assert len(started) == 1  # which becomes both
    assert started[0].poll() is not None
    assert separation(model.wv) > 0.5
    assert model.wv.tensor.equal(model.model.input.weight)
    one = Word2Vec(SENTENCES, **OPTIONS | {"workers": 1})
    np.testing.assert_allclose(model.losses, one.losses, rtol=0.1)
    assert len(started) == 1


@pytest.fixture
def corpus_file(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("".join(" ".join(sentence) + "\n" for sentence in SENTENCES))
    return path


def test_processes_start_while_a_file_is_read(monkeypatch, corpus_file):
    started = processes_of(monkeypatch)
    model = Word2Vec(**OPTIONS)
    model.build_vocab(corpus_file=corpus_file)
    assert [process.poll() for process in started] == [None]
    words = model.corpus_total_words
    model.train(corpus_file=corpus_file, total_words=words, epochs=1)
    assert len(started) == 1  # it has done it
    assert started[0].poll() is not None
    model.train(epochs=1)
    assert len(started) == 2


@pytest.mark.parametrize("case", ["nobody trains", "for one it is enough"])
def test_processes_that_nobody_needs_end(monkeypatch, corpus_file, case):
    started = processes_of(monkeypatch)
    model = Word2Vec(**OPTIONS)
    model.build_vocab(corpus_file=corpus_file)
    assert [process.poll() for process in started] == [None]
    if case == "nobody trains":
        del model
        gc.collect()
    else:
        model.train(SENTENCES[:20], total_examples=20, epochs=1)
    assert len(started) == 1
    assert started[0].poll() is not None


@pytest.mark.parametrize("options", [{}, {"sg": 0}, {"hs": 1, "negative": 0}], ids=str)
def test_loss_does_not_depend_on_workers(options):
    """Without a change of the tables they all see the same pairs, each once."""
    options = OPTIONS | options | {"alpha": 0.0, "min_alpha": 0.0, "epochs": 1}
    losses = [Word2Vec(SENTENCES[:600], **options | {"workers": n}).losses for n in (1, 2)]
    np.testing.assert_allclose(*losses, rtol=1e-12)


def batches_of(trainer, chunk):
    """Batches of a chunk and the learning rate of each."""
    blocks = trainer._drawn(chunk).blocks()
    size = trainer.blocks_at_once
    span = (chunk.end - chunk.start) / len(blocks.centres)
    return [
        (batch, trainer.schedule.alpha(chunk.epoch, chunk.start + i * size * span))
        for i, batch in enumerate(blocks.split(size))
    ]


@pytest.mark.parametrize("more", [{}, {"hs": 1, "negative": 0}], ids=str)
def test_in_turns_steps_are_those_of_one_in_this_order(in_turns, more):
    options = OPTIONS | {"epochs": 1} | more
    model = Word2Vec(SENTENCES[:660], **options)
    again = Word2Vec(SENTENCES[:660], **options)
    assert same(model, again)
    alone = Word2Vec(**options)
    alone.build_vocab(SENTENCES[:660])
    words = len(alone._numbered.corpus.tokens)
    schedule = Schedule(1, words, alone.alpha, alone.min_alpha)
    trainer = alone.trainer(alone._numbered, schedule)
    loss = minitorch.zeros((), dtype=minitorch.float64, device="cpu")
    assert words == 660 * 12
    length = training.chunk_length(words)
    chunks = [Chunk(0, a, min(a + length, words)) for a in range(0, words, length)]
    for pair in zip(chunks[::2], chunks[1::2]):
        rounds = [batches_of(trainer, chunk) for chunk in pair]
        for step in zip_longest(*rounds):
            for batch, lr in filter(None, step):
                alone.model.sgd_steps_(batch, trainer.blocks_at_once, [lr], loss)
    tables = model.model.state_dict(), alone.model.state_dict()
    assert all(tables[0][name].equal(tables[1][name]) for name in tables[1])


def test_a_small_corpus_stays_in_this_process(monkeypatch):
    started = processes_of(monkeypatch)
    assert same(
        Word2Vec(SENTENCES[:100], **OPTIONS),
        Word2Vec(SENTENCES[:100], **OPTIONS | {"workers": 1}),
    )
    assert not started


def test_a_worker_that_dies_is_told(monkeypatch):
    started = processes_of(monkeypatch)
    model = Word2Vec(**OPTIONS)
    model.build_vocab(SENTENCES)
    hand_out = parallel.Processes._hand_out

    def killing(worker, coming):
        (process,) = started
        while len(workers := children(process.pid)) < 2:
            assert process.poll() is None
        os.kill(workers[0], signal.SIGKILL)
        monkeypatch.setattr(parallel.Processes, "_hand_out", staticmethod(hand_out))
        hand_out(worker, coming)

    monkeypatch.setattr(parallel.Processes, "_hand_out", staticmethod(killing))
    told = r"a worker has ended: worker [12] of 2 was killed by SIGKILL"
    with pytest.raises(RuntimeError, match=told):
        model.train()
    assert started[0].poll() is not None


def test_workers_go_on_without_the_first_process(monkeypatch):
    started = processes_of(monkeypatch)
    model = Word2Vec(**OPTIONS)
    model.build_vocab(SENTENCES)
    hand_out = parallel.Processes._hand_out

    def killing(worker, coming):
        (process,) = started
        while len(children(process.pid)) < 2:
            assert process.poll() is None
        process.kill()
        monkeypatch.setattr(parallel.Processes, "_hand_out", staticmethod(hand_out))
        hand_out(worker, coming)

    monkeypatch.setattr(parallel.Processes, "_hand_out", staticmethod(killing))
    model.train(epochs=1)
    assert math.isfinite(model.losses[-1])
    assert started[0].returncode == -signal.SIGKILL


NOISY = """
from minitorch.text.word2vec import model, training
def blocks(trainer, chunk, blocks=training.Trainer._drawn):
    print("noise", flush=True)
    return {}
training.Trainer._drawn = blocks
"""


def test_what_a_worker_prints_is_no_answer(monkeypatch):
    code = NOISY.format("blocks(trainer, chunk)")
    monkeypatch.setattr(parallel, "_MAIN", f"exec({code!r}); {parallel._MAIN}")
    assert separation(Word2Vec(SENTENCES, **OPTIONS).wv) > 0.5


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("exit(3)", r"worker [12] of 2 has ended with status 3\nnoise"),
        ("__import__('os').kill(__import__('os').getpid(), 11)", r"killed by SIGSEGV\nnoise"),
    ],
)
def test_a_worker_that_ends_is_named_with_what_it_printed(monkeypatch, end, told):
    monkeypatch.setattr(parallel, "_MAIN", f"exec({NOISY.format(end)!r}); {parallel._MAIN}")
    with pytest.raises(RuntimeError, match=told):
        Word2Vec(SENTENCES, **OPTIONS)


def test_workers_that_cannot_begin_are_told(monkeypatch):
    monkeypatch.setattr(parallel, "_MAIN", "raise SystemExit('no such module')")
    told = r"ended with its parent, which has ended with status 1\nno such module"
    with pytest.raises(RuntimeError, match=told):
        Word2Vec(SENTENCES, **OPTIONS)


@pytest.mark.parametrize("line", ["noise", "0x1p0", "0x1p0 0x1p0 0x1p0", "0x1p9999 0x1p0"])
def test_an_answer_that_is_none(line):
    answers = parallel.SimpleQueue()
    worker = parallel._Worker(0, answers)
    os.write(worker.theirs[1], f"0x1p0 0x1p1\n{line}\n".encode())
    worker.started()
    assert answers.get() == (worker, (1.0, 2.0))
    assert answers.get() == (worker, f"answered with {line + chr(10)!r}")
    worker.close()


@pytest.mark.parametrize("name", ["tqdm", "minitorch", "json", "readline", "sitecustomize"])
def test_workers_run_nothing_of_the_current_folder(monkeypatch, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("open('run', 'w'); raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setattr(sys, "path", ["", ".", *sys.path])
    starting = parallel.Starting(1, False)
    starting.instructions.close()  # there is nothing to do
    assert starting.process.wait() == 0
    assert os.listdir(tmp_path) == [name]
    starting.close()


def test_workers_find_the_minitorch_that_runs(monkeypatch, tmp_path):
    (tmp_path / "minitorch").mkdir()
    ours = str(Path(minitorch.__file__).parents[1])
    monkeypatch.setattr(sys, "path", ["", "/stdlib", str(tmp_path), ours, "lib"])
    assert parallel._module_folders() == ["/stdlib", ours, str(tmp_path), ours]
    monkeypatch.setattr(sys, "path", ["", "/stdlib"])
    assert parallel._module_folders() == ["/stdlib", ours]


def test_whoever_waits_sees_that_the_parent_has_gone():
    turns = parallel.Turns(parallel.clocks(2), 0, lambda: True)
    with pytest.raises(SystemExit):
        turns.pass_on(parallel.ROUND)
    reader, writer = os.pipe()
    gone = parallel.hung_up(reader)
    os.write(writer, b"a word")
    assert not gone()
    os.close(writer)
    assert gone()
    os.close(reader)


def test_a_worker_says_why_it_failed(monkeypatch):
    sampler = Word2Vec._sampler

    def without_window(self):
        made = sampler(self)
        del made.window
        return made

    monkeypatch.setattr(Word2Vec, "_sampler", without_window)
    with pytest.raises(RuntimeError, match=r"a worker has ended: (?s:.*)no attribute 'window'"):
        Word2Vec(SENTENCES, **OPTIONS)


@pytest.mark.parametrize(
    ("in_turns", "first"), [(False, False), (True, False), (True, True)], ids=str
)
def test_workers_end_with_a_parent_that_is_killed(in_turns, first):
    code = f"""
import minitorch
from minitorch.text import Word2Vec
from minitorch.text.word2vec import model, training
minitorch.use_deterministic_algorithms({in_turns})
model.CHUNK = training.CHUNK = 2000
Word2Vec([["a", "b", "c", "d"] * 3] * 1000, **{OPTIONS | {"epochs": 10_000}!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    while not (started := children(process.pid)) or len(workers := children(started[0])) < 2:
        assert process.poll() is None
    if first:
        os.kill(started[0], signal.SIGKILL)
    process.kill()
    process.wait()
    for pid in (*started, *workers):
        while is_alive(pid):
            pass


INTERRUPTED = """
import sys
from minitorch.text import Word2Vec
from minitorch.text.word2vec import model, training
model.CHUNK = training.CHUNK = 2000
Word2Vec(corpus_file=sys.argv[1], vector_size=8, min_count=1, sample=0, epochs=500, workers=2, sg=1,
         device="cpu", progress=False, checkpoint=sys.argv[2], resume=len(sys.argv) > 3)
"""


def test_control_c_leaves_a_checkpoint_and_no_process(tmp_path):
    corpus, path = tmp_path / "corpus.txt", tmp_path / "run.safetensors"
    corpus.write_text("\n".join(map(" ".join, SENTENCES)) + "\n")
    for more in ([], ["again"]):
        before = path.stat().st_mtime_ns if more else 0
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, str(corpus), str(path), *more],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None
        before = path.stat().st_mtime_ns
        while path.stat().st_mtime_ns == before:  # an epoch later
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        assert "resume=True goes on from it" in process.communicate(timeout=60)[1]
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    state = minitorch.load(path)
    assert state["run"]["place"]["epoch"] >= 2
