"""The `minitorch` command, as a user types it."""

import inspect
import logging
import os
import re
import signal
import subprocess
import sys

import pytest
from numpy.testing import assert_allclose

import minitorch
from minitorch import cli, train
from minitorch.text import KeyedVectors, progress
from minitorch.text.word2vec import training
from tests.referee import array

MLP = ["train", "mlp", "--data", "digits", "--hidden", "16", "--epochs", "2", "--batch-size", "64"]
WORDS = ["train", "word2vec", "--vector-size", "8", "--epochs", "2", "--min-count", "2"]


@pytest.fixture
def run(capsys, device):
    """Run a command line; return (status, lines of stdout, stderr). It trains on the device."""

    def call(*words):
        words = [str(word) for word in words]
        if words[0] == "train":
            words[2:2] = ["--device", device]
        status = cli.main(words)
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return call


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    pair = "the king rules the land and the queen rules the sea", "a frog and a toad sit in a pond"
    path.write_text("\n".join(pair * 40))
    return path


def test_info(run):
    status, out, err = run("info")
    assert status == 0
    assert err == ""
    rows = {line[:16].strip(): line[17:] for line in out}
    assert re.match(r"\d+\.\d+", rows["numpy"])
    assert rows["device cpu"] == "available"
    for name in ("device cuda", "device sim"):
        assert rows[name] == "available" or rows[name].startswith("missing: ")
    assert "threads" in rows["BLAS"]


def test_train_mlp(run, tmp_path, device):
    status, out, _ = run(*MLP, "--out", tmp_path)
    assert status == 0
    assert out[0] == f"digits, 16, on {device}, seed 0"
    assert re.fullmatch(r"test accuracy 0\.\d{4}", out[-1])
    names = {path.name for path in tmp_path.iterdir()}
    assert {"best.safetensors", "result.json", "curves.png", "predictions.png"} <= names


@pytest.mark.parametrize("words", ["mlp", "word2vec"])
def test_a_run_is_replaced_or_goes_on_only_when_asked(run, corpus, tmp_path, words):
    words = MLP if words == "mlp" else [*WORDS, "--corpus", corpus]
    words = [*words, "--quiet", "--out", tmp_path]
    assert run(*words)[0] == 0
    before = (tmp_path / "last.safetensors").read_bytes()
    status, out, err = run(*words)
    assert (status, out) == (2, [])
    assert err == (
        f"minitorch: error: {tmp_path}/last.safetensors holds a run: --resume goes on with it, "
        "--overwrite replaces it\n"
    )
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert run(*words, "--epochs", "3", "--resume")[0] == 0
    status, _, err = run(*words, "--epochs", "2", "--resume")
    assert status == 2
    assert "epochs=3" in err
    assert run(*words, "--overwrite")[0] == 0


def test_train_mlp_resumes_after_ctrl_c(run, tmp_path, monkeypatch):
    _, expected, _ = run(*MLP, "--quiet", "--out", tmp_path / "whole")
    add, epochs = train.loop._Run.save, []

    def interrupted(self, path, **options):
        add(self, path, **options)
        epochs.append(len(self.history))
        if epochs[-1] == 1:
            raise KeyboardInterrupt

    folder = tmp_path / "a b"
    with monkeypatch.context() as patch:
        patch.setattr(train.loop._Run, "save", interrupted)
        status, _, err = run(*MLP, "--quiet", "--out", folder)
    assert status == 130
    assert "stopped after 1 of 2 epochs" in err
    again = re.search(r"go on with: minitorch (.*)", err)[1]
    assert again.endswith(f"--out '{folder}' --resume")
    _, out, _ = run(*MLP, "--quiet", "--out", folder, "--resume")
    assert out[-1] == expected[-1]


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_at_a_terminal(tmp_path, device, number):
    command = [sys.executable, "-m", "minitorch", *MLP, "--device", device]
    command += ["--epochs", "100000", "--out", tmp_path]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        while not process.stdout.readline().startswith("epoch"):
            assert process.poll() is None
        process.send_signal(number)
        err = process.stderr.read()
    assert process.returncode == 130
    assert "go on with: minitorch train mlp" in err
    assert "Traceback" not in err
    assert (tmp_path / "last.safetensors").exists()


@pytest.mark.parametrize("words", [MLP, WORDS])
def test_ctrl_c_before_anything_is_saved(run, tmp_path, monkeypatch, words):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train_classifier", interrupted)
    monkeypatch.setattr(cli, "Corpus", interrupted)
    status, _, err = run(*words, "--quiet", "--out", tmp_path)
    assert status == 130
    assert err == "\nminitorch: stopped\n"


def test_word_vectors_from_training_to_questions(run, corpus, tmp_path):
    status, out, _ = run(*WORDS, "--corpus", corpus, "--out", tmp_path / "w", "--quiet")
    assert status == 0
    saved = re.search(r"\S+$", out[-1])[0]
    assert len(KeyedVectors.load(saved)) == 13
    status, out, _ = run("vectors", "similar", saved, "frog", "--topn", "3")
    assert status == 0
    assert len(out) == 3
    assert all(re.fullmatch(r" ?-?\d\.\d{4}  [a-z]+", line) for line in out)
    status, out, _ = run("vectors", "analogy", saved, "king", "queen", "land", "--topn", "2")
    assert status == 0
    expected = KeyedVectors.load(saved).most_similar(["queen", "land"], ["king"], topn=2)
    assert [line.split()[1] for line in out] == [word for word, _ in expected]


@pytest.mark.usefixtures("_repeatable")
def test_word_vectors_resume(run, corpus, tmp_path, monkeypatch):
    words = [*WORDS, "--corpus", corpus, "--sg", "0", "--quiet", "--deterministic"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(*words, "--out", whole)[0] == 0
    epoch = training.Run._epoch

    def interrupted(self, *args):
        if self.position.epoch:
            raise KeyboardInterrupt
        epoch(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(training.Run, "_epoch", interrupted)
        status, _, err = run(*words, "--out", stopped)
    assert status == 130
    assert err.endswith("--resume\n")
    saved = ["--checkpoint", stopped / "last.safetensors"]
    assert run(*words, "--out", tmp_path / "other", *saved, "--resume")[0] == 0
    names = [folder / "vectors.safetensors" for folder in (whole, tmp_path / "other")]
    assert names[0].read_bytes() == names[1].read_bytes()
    assert len(list((whole / "tokens").iterdir())) == 1
    status, _, err = run(*words, "--out", tmp_path / "none", "--resume")
    assert status == 2
    assert "last.safetensors" in err


def test_every_option_of_training_reaches_the_model(run, tmp_path, corpus, monkeypatch):
    given = {}

    class Model(cli.Word2Vec):
        def __init__(self, sentences, **options):
            given.update(options, files=sentences.files())
            super().__init__(sentences, **options)

    Model.__signature__ = inspect.signature(cli.Word2Vec)
    monkeypatch.setattr(cli, "Word2Vec", Model)
    wanted = {"min_count": 2, "max_final_vocab": 12, "max_vocab_size": 100, "sg": 0, "hs": 1}
    wanted |= {"vector_size": 6, "window": 3, "shrink_windows": False, "cbow_mean": 0}
    wanted |= {"negative": 4, "ns_exponent": 0.5, "sample": 0.1, "epochs": 1, "alpha": 0.04}
    wanted |= {"min_alpha": 0.01, "workers": 1, "save_every": 90, "seed": 5}
    words = [word for name in wanted for word in (f"--{name.replace('_', '-')}", wanted[name])]
    place = words.index("--shrink-windows")
    words[place : place + 2] = ["--fixed-window", "--no-deterministic"]
    wanted["deterministic"] = False
    other = tmp_path / "other.txt"
    other.write_text("more of the land")
    words += ["--corpus", corpus, other, "--quiet"]
    status, out, err = run("train", "word2vec", *words, "--out", tmp_path / "w")
    assert (status, err) == (0, "")
    assert given.items() >= wanted.items()
    assert given["files"] == [corpus, other]
    assert out[0].startswith(f"{corpus}, {other}: ")
    tables = [name for group in cli.WORD2VEC.values() for name in group]
    assert {*tables, "save_every", "seed", "deterministic"} == set(wanted)


def test_the_command_trains_as_it_did(run, corpus, tmp_path):
    """With its own defaults, whatever those of Word2Vec are."""
    assert run(*WORDS, "--corpus", corpus, "--out", tmp_path, "--quiet")[0] == 0
    options = {"sg": 1, "alpha": 0.05, "workers": 1, "window": 5, "negative": 5, "sample": 1e-3}
    options |= {"min_alpha": 1e-4, "vector_size": 8, "epochs": 2, "min_count": 2, "seed": 0}
    model = cli.Word2Vec(cli.Corpus(corpus), **options, progress=False)
    found = KeyedVectors.load(tmp_path / "vectors.safetensors")
    assert found.index_to_key == model.wv.index_to_key
    assert_allclose(array(found.vectors), array(model.wv.vectors), atol=1e-6)


def test_words_of_other_scripts(run, tmp_path):
    path = tmp_path / "text"
    text = "Größe über Ärger und Öl\nёлка ёж съел ещё\n" * 40
    path.write_text(text)
    words = [*WORDS, "--corpus", path, "--quiet"]
    status, _, err = run(*words, "--out", tmp_path / "w")
    assert (status, err) == (0, "")
    saved = tmp_path / "w" / "vectors.safetensors"
    assert {"größe", "ärger", "ёлка", "съел"} <= set(KeyedVectors.load(saved).index_to_key)
    path.write_bytes(text.encode("utf-16"))
    options = ["--encoding", "utf-16", "--tokenizer", "whitespace"]
    assert run(*words, *options, "--out", tmp_path / "w", "--overwrite")[::2] == (0, "")
    assert {"Größe", "Öl", "ёлка"} <= set(KeyedVectors.load(saved).index_to_key)


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line(run, corpus, tmp_path):
    corpus.write_text("ёлка ёж съел the king and the queen ещё\n" * 40)
    status, _, err = run(
        *WORDS, "--corpus", corpus, "--tokenizer", "ascii", "--quiet", "--out", tmp_path
    )
    assert status == 0
    assert re.fullmatch(r"minitorch: warning: corpus .* ascii drops 42% of the letters .*\n", err)


def test_progress_goes_to_stderr_off_a_terminal(run, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    logger = logging.getLogger("minitorch")
    before = logger.level, list(logger.handlers)
    for quiet in ([], ["--quiet"]):
        _, _, err = run(*WORDS, "--corpus", corpus, "--out", tmp_path / "w", "--overwrite", *quiet)
        assert ("words/s" in err) == (not quiet)
        assert (logger.level, logger.handlers) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "mlp", "--data", "digits", "--lr", "0"], "lr: expected more than 0"),
        (["train", "mlp", "--data", "digits", "--epochs", "-1"], "epochs: "),
        (["train", "mlp", "--data", "digits", "--out", "latin.txt"], "latin.txt: File exists"),
        (["train", "mlp", "--data", "digits", "--hidden", "9" * 13], "out of memory: "),
        (["train", "mlp", "--data", "digits", "--save-every", "0"], "save_every: "),
        (["train", "mlp", "--resume", "--out", "nowhere"], "no nowhere/last.safetensors"),
        (["train", "word2vec", "--corpus", "nowhere.txt"], "nowhere.txt"),
        (["train", "word2vec", "--corpus", "empty.txt"], "corpus empty.txt: it is empty"),
        (["train", "word2vec", "--corpus", "folder"], "corpus 'folder': the folder has no file"),
        (
            ["train", "word2vec", "--corpus", "latin.txt"],
            "latin.txt: line 1 is not utf-8: byte 0xe9",
        ),
        (["train", "word2vec", "--corpus", "a.bin"], "a.bin: line 1 has a NUL byte: it is no text"),
        (["train", "word2vec", "--encoding", "utf-9"], "encoding: unknown encoding: utf-9"),
        (["train", "word2vec", "--tokenizer", "nope"], "tokenizer: expected words, whitespace, "),
        (["train", "word2vec", "--tokenizer", "nope:f"], "tokenizer 'nope:f': No module named"),
        (["train", "word2vec", "--corpus", "latin.txt", "--save-every", "0"], "save_every: "),
        (["vectors", "similar", "nowhere.npz", "frog"], "nowhere.npz: No such file or directory"),
    ],
)
def test_user_errors_are_one_line(run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name, data in (("empty.txt", b""), ("latin.txt", b"caf\xe9"), ("a.bin", b"a\0b")):
        (tmp_path / name).write_bytes(data)
    status, _, err = run(*words)
    assert status == 2
    assert err.startswith("minitorch: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_damaged_images(run, tmp_path, monkeypatch):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"not images")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"not labels")
    monkeypatch.setenv("MINITORCH_DATA", str(tmp_path))
    status, _, err = run("train", "mlp", "--out", tmp_path / "out")
    assert status == 2
    assert "train-images-idx3-ubyte: not an IDX file" in err


def test_unknown_word(run, corpus, tmp_path):
    _, out, _ = run(*WORDS, "--corpus", corpus, "--out", tmp_path, "--quiet")
    status, _, err = run("vectors", "similar", out[-1].split()[-1], "quen")
    assert status == 2
    expected = "'quen' is not among the 13 keys; nearest spellings: queen"
    assert err == f"minitorch: error: {expected}\n"


def test_vectors_in_every_format_answer_alike(run, tmp_path):
    words = ["frog", "toad", "king", "queen"]
    vectors = minitorch.tensor([[1.0, 2.0], [1.0, 2.5], [3.0, -1.0], [3.0, -1.5]])
    source = tmp_path / "vectors.safetensors"
    KeyedVectors(2, words, vectors, [4, 3, 2, 1]).save(source)
    _, expected, _ = run("vectors", "similar", source, "frog")
    for name, form in (
        ("a.txt", "word2vec"),
        ("b.vec.gz", "word2vec"),
        ("c.bin", "word2vec-binary"),
        ("d.glove.xz", "glove"),
        ("e.safetensors", "safetensors"),
    ):
        status, out, _ = run("vectors", "convert", source, tmp_path / name)
        assert (status, out) == (0, [f"4 vectors of 2 numbers: {tmp_path / name} ({form})"])
        source = tmp_path / name  # to be the next one's
        assert run("vectors", "similar", source, "frog") == (0, expected, "")
    status, _, _ = run("vectors", "convert", source, tmp_path / "projector", "--limit", "3")
    assert status == 0
    assert (tmp_path / "projector/metadata.tsv").read_text().split() == words[:3]
    for target, message in (
        (tmp_path / "f.npz", "expected a name that ends in one of .safetensors, .model"),
        (tmp_path / "f.safetensors.gz", "the format safetensors is not compressed"),
    ):
        status, _, err = run("vectors", "convert", source, target)
        assert status == 2
        assert message in err
    (tmp_path / "a.txt").write_bytes((tmp_path / "a.txt").read_bytes()[:-6])
    status, _, err = run("vectors", "convert", tmp_path / "a.txt", tmp_path / "g.bin")
    assert status == 2
    assert "a.txt: cut short" in err
    assert not (tmp_path / "g.bin").exists()


def test_traceback_option_shows_it(tmp_path):
    with pytest.raises(FileNotFoundError):
        cli.main(["--traceback", "train", "word2vec", "--corpus", str(tmp_path / "none")])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required"),
        (["fly"], "invalid choice: 'fly'"),
        (["train"], "required"),
        (["train", "mlp", "--data", "cats"], "invalid choice: 'cats'"),
        (["train", "mlp", "--hidden", "a,b"], "expected N,N,... but got 'a,b'"),
        (["train", "mlp", "--device", "warp"], "device"),
        (["vectors", "similar", "file", "frog", "--topn", "0"], "above 0, got '0'"),
        (["train", "mlp", "--device", "cpu:7"], "cpu:7"),
    ],
)
def test_usage_errors(capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: minitorch")
    assert message in err


@pytest.mark.parametrize("path", ["", *cli.COMMANDS])
def test_help(capsys, path):
    with pytest.raises(SystemExit) as stop:
        cli.main([*path.split(), "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: minitorch")
    if path.startswith("train"):
        assert "(default: 5)" in out or "(default: 128)" in out
