"""The `minitorch` command: a table of commands, each with its arguments and its function."""

from __future__ import annotations

import argparse
import logging
import platform
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path
from typing import Any

from minitorch import backend, cuda, viz
from minitorch.backend import OutOfMemoryError
from minitorch.backend.cpu import settings
from minitorch.backend.cpu.blas import blas
from minitorch.backend.cuda import driver, installed
from minitorch.backend.determinism import use_deterministic_algorithms
from minitorch.data import SOURCES
from minitorch.devtools import commands as kernel_commands
from minitorch.devtools import grids, steps
from minitorch.text import Corpus, Word2Vec
from minitorch.text.io.vector_files import FORMATS, read_vectors, write_vectors
from minitorch.text.word2vec import counts
from minitorch.train import ClassifierConfig, ClassifierResult, train_classifier

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130
USER_ERRORS = (
    *(OSError, EOFError, ValueError, KeyError, ImportError, FloatingPointError),
    *(MemoryError, OutOfMemoryError, OverflowError),
)
LAST = "last.safetensors"  # the checkpoint in --out
SHOWN = slice(60, 140)  # frequent words, past those that have little meaning of their own
PACKAGES = (
    *("numpy", "scipy", "tqdm", "safetensors", "ml_dtypes", "matplotlib"),
    *("cupy-cuda12x", "cupy-cuda13x"),
)


@dataclass(frozen=True)
class Command:
    """One command: the line about it, how it adds its arguments, what it does."""

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (None: the process's own) and return the exit status.

    0 for success, 1 for a check that failed, 2 for what the user can mend (one line on stderr),
    130 for Ctrl-C and SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(words)
    try:
        with (
            _terminated_as_interrupted(),
            _logged_on_stderr(log=not (getattr(args, "quiet", True) or sys.stderr.isatty())),
        ):
            return args.run(args) or 0
    except KeyboardInterrupt as stop:
        print(f"\nminitorch: {str(stop) or 'stopped'}", file=sys.stderr)
        saved = getattr(args, "checkpoint", None) or getattr(args, "out", Path()) / LAST
        if hasattr(args, "resume") and saved.exists():
            again = [word for word in words if word not in ("--resume", "--overwrite")]
            again.append("--resume")
            print(f"go on with: minitorch {shlex.join(again)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has gone
        sys.stderr.close()
        return 0
    except USER_ERRORS as error:
        if args.traceback:
            raise
        print(f"minitorch: error: {_text(error)}", file=sys.stderr)
        return EXIT_USER_ERROR


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does; signals belong to the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # as of a job that a shell has put into the background
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _logged_on_stderr(log: bool) -> Iterator[None]:
    """Warnings in one line each, and with `log` how far work is, which a terminal's bars show."""
    handler = logging.StreamHandler()
    logger = logging.getLogger("minitorch")
    level = logger.level

    def tell(message: Warning | str, *_: object) -> None:
        print(f"minitorch: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = tell  # type: ignore[assignment]
        if log:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"  # without Python's [Errno 2]
    if isinstance(error, MemoryError):
        return f"out of memory{f': {error}' if str(error) else ''}"
    return str(error.args[0] if type(error) is KeyError and error.args else error)


# ---------------------------------------------------------------------- info
def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _info(args: argparse.Namespace) -> None:
    rows = [("minitorch", _version("minitorch-cupy"))]
    rows += [("python", f"{platform.python_version()} on {platform.platform()}")]
    rows += [(name, _version(name)) for name in PACKAGES]
    for name in backend.device_types():
        missing = backend.why_unavailable(name)
        rows.append((f"device {name}", "available" if missing is None else f"missing: {missing}"))
    rows += [("NVIDIA driver", _or_why(_driver))]
    rows += [(name, _or_why(partial(installed.library, name))) for name in installed.LIBRARIES]
    rows += [(f"cuda:{i}", _gpu(i)) for i in range(cuda.device_count())]
    rows.append(("BLAS", "{name} {version}, {threads} threads".format(**blas())))
    flush = settings.get_flush_denormal()
    rows.append(("flush denormals", "not on this platform" if flush is None else "in training"))
    for name, value in rows:
        print(f"{name:16} {value}")


def _or_why(told: Callable[[], str]) -> str:
    try:
        return told()
    except RuntimeError as error:
        return str(error)


def _driver() -> str:
    return "runs CUDA {}.{}".format(*driver.cuda_version())


def _gpu(number: int) -> str:
    found = cuda.get_device_properties(number)
    memory = found.total_memory / 2**30
    return f"{found.name}, sm_{found.major}{found.minor}, {memory:.0f} GiB"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


# ---------------------------------------------------------------------- train mlp
def _mlp_arguments(parser: argparse.ArgumentParser) -> None:
    default = ClassifierConfig()
    add = parser.add_argument
    add("--data", choices=list(SOURCES), default=default.data, help="the images")
    add(
        "--hidden",
        type=_widths,
        default=default.hidden,
        metavar="N,N,...",
        help="widths of the hidden layers (default: 256,128,100)",
    )
    add("--epochs", type=int, default=default.epochs, metavar="N", help="passes over the images")
    add("--batch-size", type=int, default=default.batch_size, metavar="N", help="images a step")
    add("--lr", type=float, default=default.lr, help="first learning rate of the cosine schedule")
    add("--dropout", type=float, default=default.dropout, metavar="P", help="of hidden units")
    add("--weight-decay", type=float, default=default.weight_decay, metavar="X", help="of AdamW")
    _common_training_arguments(parser, "runs/mlp")
    add("--save-every", type=int, metavar="N", help="steps between checkpoints in an epoch")
    _existing_run_arguments(parser, "go on from the last epoch saved in --out, also to more epochs")


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected N,N,... but got {text!r}") from None


def _train_mlp(args: argparse.Namespace) -> None:
    use_deterministic_algorithms(bool(args.deterministic))
    names = [item.name for item in fields(ClassifierConfig) if item.name in vars(args)]
    config = ClassifierConfig(**{name: getattr(args, name) for name in names})
    layers = "-".join(str(width) for width in config.hidden) or "no hidden layer"
    _require_no_run(args, args.out / LAST)
    print(f"{config.data}, {layers}, on {config.device}, seed {config.seed}")
    result = train_classifier(
        config,
        args.out,
        resume=args.resume,
        overwrite=args.overwrite,
        save_every=args.save_every,
        progress=not args.quiet,
    )
    best = max(result.history, key=lambda row: row["val_accuracy"])
    print(f"best epoch {best['epoch']}, validation accuracy {best['val_accuracy']:.4f}")
    _draw(lambda: _mlp_pictures(result, args.out), args.out)
    print(f"weights and history in {args.out}")
    print(f"test accuracy {result.test_accuracy:.4f}")


def _mlp_pictures(result: ClassifierResult, out: Path) -> None:
    source = SOURCES[result.config.data]
    title = f"{result.config.data}, {'-'.join(map(str, result.config.hidden))}"
    accuracy = result.test_accuracy
    viz.training_curves(result.history, out / "curves.png", title=title, test_accuracy=accuracy)
    x, y = result.test[:32]
    said = result.model(x).argmax(1)
    viz.image_grid(
        x, y, said, source.classes, out / "predictions.png", title="the first 32 test images"
    )


# ---------------------------------------------------------------------- train word2vec
# Arguments of Word2Vec: by default as there, but for these.
WORD2VEC_DEFAULTS = {"sg": 1, "alpha": 0.05, "workers": 1}
# What is added to a parser for an argument that is not just a number.
_SWITCH = {"choices": (0, 1), "type": int}
# Groups of arguments; each name has its help and, where it is not a number, what else it has.
WORD2VEC: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "vocabulary": {
        "min_count": (
            "leave out words seen less often: rare ones learn little and cost memory; 1 or 2 "
            "for a small corpus",
            {},
        ),
        "max_final_vocab": ("raise --min-count until no more than so many words are left", {}),
        "max_vocab_size": (
            "bound the memory of counting: forget the rarest words beyond so many (reads twice)",
            {},
        ),
    },
    "model": {
        "sg": ("1 for skip-gram: better vectors of rare words; 0 for CBOW: faster", _SWITCH),
        "hs": (
            "1 for hierarchical softmax as well; instead of negatives with --negative 0",
            _SWITCH,
        ),
        "vector_size": ("dimensions: 100 for millions of words, 300 for billions", {}),
        "window": ("words on either side: 2 to 5 for words alike in use, 10 for one subject", {}),
        "shrink_windows": (
            "take the whole window of every word; otherwise near words count more often",
            {"option": "--fixed-window", "action": "store_false"},
        ),
        "cbow_mean": ("1 for the mean of the window's vectors, 0 for their sum (CBOW)", _SWITCH),
        "negative": ("noise words for each pair: 5 to 20 for a small corpus, 2 to 5 for more", {}),
        "ns_exponent": (
            "noise words are drawn by count ** X: 1 as they occur, 0 all alike, below 0 rare ones "
            "more (for baskets and other than texts)",
            {},
        ),
        "sample": (
            "sub-sample words of a higher frequency than this; 0 for none, as for tiny or even "
            "vocabularies",
            {},
        ),
    },
    "training": {
        "epochs": ("passes over the corpus: the smaller it is, the more", {}),
        "alpha": ("first learning rate, of which it falls evenly; 0.025 is gensim's", {}),
        "min_alpha": ("last learning rate", {}),
        "workers": ("processes on the CPU: as many as there are cores for a large corpus", {}),
    },
}


def _word2vec_arguments(parser: argparse.ArgumentParser) -> None:
    corpus = parser.add_argument_group("corpus").add_argument
    corpus(
        "--corpus",
        nargs="+",
        default=["stdlib"],
        metavar="SOURCE",
        help="text files with a sentence on each line (plain, .gz, .bz2, .xz), folders of them, "
        "or gcide, wordnet, stdlib, or several of these joined by + (default: stdlib)",
    )
    corpus(
        "--tokenizer",
        metavar="NAME",
        help="what makes words of a sentence: words (runs of letters of any script, lower-cased), "
        "whitespace, ascii (runs of a to z), or module:function, also of the working folder, e.g. "
        "jieba:lcut for Chinese (default: words; ascii for gcide, wordnet and stdlib)",
    )
    corpus("--encoding", default="utf-8", help="of the files, e.g. latin-1, utf-16")
    defaults = signature(Word2Vec).parameters
    for title, arguments in WORD2VEC.items():
        group = parser.add_argument_group(title)
        for name, (text, how) in arguments.items():
            default = WORD2VEC_DEFAULTS.get(name, defaults[name].default)
            _add(group, name, default, text, **how)
    run = parser.add_argument_group("run")
    _common_training_arguments(run, "runs/word2vec")
    run.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help=f"what an interrupted run goes on from (default: {LAST} in --out)",
    )
    _add(run, "save_every", None, "words between two checkpoints (default: an epoch)")
    _existing_run_arguments(run, "go on from the checkpoint, also to more epochs")


def _add(group: Any, name: str, default: object, text: str, **how: Any) -> None:
    """Add the option of an argument of Word2Vec: a number, unless `how` says otherwise."""
    option = how.pop("option", f"--{name.replace('_', '-')}")
    if "action" not in how and "choices" not in how:
        real = isinstance(default, float)
        how |= {"type": float, "metavar": "X"} if real else {"type": int, "metavar": "N"}
    group.add_argument(option, dest=name, default=default, help=text, **how)


def _train_word2vec(args: argparse.Namespace) -> None:
    use_deterministic_algorithms(bool(args.deterministic))
    corpus = Corpus(args.corpus, args.tokenizer, args.encoding)
    if not corpus.size():
        raise ValueError(f"corpus {corpus.source}: it is empty")
    names = [name for arguments in WORD2VEC.values() for name in arguments]
    names += ["seed", "device", "save_every", "deterministic"]
    options = {name: getattr(args, name) for name in names}
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.checkpoint or args.out / LAST
    _require_no_run(args, checkpoint)
    model = Word2Vec(
        corpus,
        progress=False if args.quiet else None,
        cache=args.out / "tokens",
        checkpoint=checkpoint,
        resume=args.resume,
        overwrite=args.overwrite,
        **options,
    )
    path = args.out / "vectors.safetensors"
    model.wv.save(path)
    words, seconds = model.corpus_total_words, model.total_train_time
    rate = "resumed" if args.resume else f"{args.epochs * words / seconds:,.0f} words/s"
    print(
        f"{corpus.source}: {words:,} words, {len(model.wv):,} in the vocabulary; "
        f"{rate}; loss {model.losses[-1]:.4f}"
    )
    shown = model.vocab.index_to_key[SHOWN]
    for word in shown[:5]:
        near = model.wv.most_similar(word, topn=5)
        print(f"{word}: {', '.join(other for other, _ in near)}")
    if len(shown) > 2:
        title = f"{corpus.source}: frequent words"
        picture = args.out / "map.png"
        _draw(lambda: viz.word_map(shown, model.wv[shown], picture, title=title), args.out)
    print(f"vectors in {path}")


# ---------------------------------------------------------------------- vectors
_FORMATS = "\n".join(
    f"  {name:16} {' '.join(form.suffixes):24} {form.about}" for name, form in FORMATS.items()
)
_ANY_VECTORS = "a file of vectors: safetensors or of word2vec or GloVe, plain, .gz, .bz2 or .xz"


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.epilog = (
        f"formats, and the names that files of them have:\n{_FORMATS}\n\nBehind the names of "
        "word2vec's and GloVe's there may be .gz, .bz2 or .xz."
    )
    add("source", type=Path, metavar="IN", help="the file to read")
    add("target", type=Path, metavar="OUT", help="the file (projector: the folder) to write")
    for option, name, text in (
        ("--from", "source_format", "of IN (default: what its content shows)"),
        ("--to", "target_format", "of OUT (default: what its name says)"),
    ):
        add(option, dest=name, choices=FORMATS, metavar="FORMAT", help=f"format {text}")
    add("--limit", type=_count, metavar="N", help="take so many of the first vectors only")
    add("--encoding", default="utf8", help="of the words of IN")


def _convert(args: argparse.Namespace) -> None:
    options = {"limit": args.limit, "encoding": args.encoding}
    vectors = read_vectors(args.source, args.source_format, **options)
    form = write_vectors(vectors, args.target, args.target_format)
    print(f"{len(vectors):,} vectors of {vectors.vector_size} numbers: {args.target} ({form})")


def _similar_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vectors", type=Path, metavar="VECTORS", help=_ANY_VECTORS)
    parser.add_argument("words", nargs="+", metavar="WORD", help="words to be near to")
    parser.add_argument("--negative", nargs="+", metavar="WORD", help="to be far from")
    _topn(parser)


def _similar(args: argparse.Namespace) -> None:
    vectors = read_vectors(args.vectors)
    _print_words(vectors.most_similar(args.words, args.negative or [], topn=args.topn))


def _analogy_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vectors", type=Path, metavar="VECTORS", help=_ANY_VECTORS)
    parser.add_argument("a", metavar="A", help="A is to")
    parser.add_argument("b", metavar="B", help="B as")
    text = "C is to the words printed: man king woman gives queen"
    parser.add_argument("c", metavar="C", help=text)
    _topn(parser)


def _analogy(args: argparse.Namespace) -> None:
    vectors = read_vectors(args.vectors)
    _print_words(vectors.most_similar([args.b, args.c], [args.a], topn=args.topn))


def _projector_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("vectors", type=Path, metavar="VECTORS", help=_ANY_VECTORS)
    add("--out", type=Path, default=Path("projector.html"), metavar="FILE", help="page to write")
    add("--top", type=_count, default=5000, metavar="N", help="words shown, the first of the file")
    add("--neighbors", type=_count, default=10, metavar="N", help="nearest words shown for each")
    add("--tsv", type=Path, metavar="DIR", help="also vectors.tsv and metadata.tsv of these words")
    parser.epilog = (
        "The page needs no network. The two .tsv files are for projector.tensorflow.org."
    )


def _projector(args: argparse.Namespace) -> None:
    vectors = read_vectors(args.vectors)
    shown = viz.projector.chosen(vectors, top=args.top)
    title = args.vectors.name
    viz.projector.save(shown, args.out, top=args.top, neighbors=args.neighbors, title=title)
    print(f"{len(shown):,} of {len(vectors):,} words: {args.out}")
    if args.tsv:
        shown.save_projector(args.tsv)
        print(f"vectors.tsv and metadata.tsv in {args.tsv}")


def _topn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topn", type=_count, default=10, metavar="N", help="how many to print")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer above 0, got {text!r}")
    return int(text)


def _print_words(found: Sequence[tuple[str, float]]) -> None:
    for word, similarity in found:
        print(f"{similarity:7.4f}  {word}")


# ---------------------------------------------------------------------- playground
def _playground_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--port", type=int, default=8000, metavar="N", help="of 127.0.0.1; 0 for any free one")
    add("--device", type=_device, default="cpu", help="cpu, cuda, cuda:1, ..., sim, auto")
    add("--no-browser", action="store_true", help="print the address, open no browser")


def _playground(args: argparse.Namespace) -> None:
    viz.playground.serve(args.port, args.device, browser=not args.no_browser)


# ---------------------------------------------------------------------- the table
COUNTED = {
    "mlp": steps.mlp_reports,
    "word2vec": counts.reports,
    "sizes": grids.size_reports,
}
COMMANDS = {
    "info": Command("print versions, devices and what they lack, BLAS", _no_arguments, _info),
    "train mlp": Command(
        "train a multi-layer perceptron on images and measure it once on the test images",
        _mlp_arguments,
        _train_mlp,
    ),
    "train word2vec": Command(
        "train word vectors: skip-gram or CBOW", _word2vec_arguments, _train_word2vec
    ),
    "vectors similar": Command("print the words nearest to words", _similar_arguments, _similar),
    "vectors analogy": Command("A is to B as C is to which word?", _analogy_arguments, _analogy),
    "vectors convert": Command(
        "write a file of vectors in another format", _convert_arguments, _convert
    ),
    "projector": Command(
        "write a page that shows word vectors in two and three dimensions, with their neighbours",
        _projector_arguments,
        _projector,
    ),
    "playground": Command(
        "a page to train small networks on points of the plane, and to watch them",
        _playground_arguments,
        _playground,
    ),
    "kernels check": Command(
        "compile the CUDA kernels for many GPUs, with none there, and check what came out",
        kernel_commands.check_arguments,
        kernel_commands.check,
    ),
    "kernels compile": Command(
        "compile the kernels ahead of their first use, into the cache",
        kernel_commands.compile_arguments,
        kernel_commands.compile_ahead,
    ),
    "kernels count": Command(
        "count launches, bytes, synchronisations and blocks of training steps, with no GPU there",
        partial(kernel_commands.count_arguments, COUNTED),
        partial(kernel_commands.count, COUNTED),
    ),
}
GROUPS = {
    "train": "train a model",
    "vectors": "ask saved word vectors, write them in other formats",
    "kernels": "check, compile and count the CUDA kernels",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minitorch", description="A small deep-learning framework with PyTorch's names."
    )
    parser.add_argument(
        "--version", action="version", version=f"minitorch {_version('minitorch-cupy')}"
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    top = parser.add_subparsers(required=True, metavar="COMMAND")
    groups: dict[str, Any] = {"": top}
    for name, text in GROUPS.items():
        group = top.add_parser(name, help=text, description=text)
        groups[name] = group.add_subparsers(required=True, metavar="WHAT")
    for path, command in COMMANDS.items():
        group_name, _, name = path.rpartition(" ")
        leaf = groups[group_name].add_parser(
            name,
            help=command.help,
            description=command.help,
            formatter_class=_Formatter,
        )
        command.arguments(leaf)
        leaf.set_defaults(run=command.run)
    return parser


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Say each option's default, unless its help already does."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default in (None, argparse.SUPPRESS) or action.nargs == 0
        if not action.option_strings or none or "default" in (action.help or ""):
            return action.help
        return f"{action.help} (default: %(default)s)"


def _common_training_arguments(parser: argparse._ActionsContainer, out: str) -> None:
    add = parser.add_argument
    add("--device", type=_device, default="cpu", help="cpu, cuda, cuda:1, ..., sim, auto")
    add(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="equal seeds give equal results (with as many BLAS threads)",
    )
    add("--out", type=Path, default=Path(out), metavar="DIR", help="folder of what is saved")
    add("--quiet", action="store_true", help="print results only")
    add(
        "--deterministic",
        action=argparse.BooleanOptionalAction,
        help="the same bits in every run also on a GPU and with several workers, which is slower; "
        "--no-deterministic lets a GPU train thousands of words at once where it can",
    )


def _existing_run_arguments(parser: argparse._ActionsContainer, resume: str) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--resume", action="store_true", help=resume)
    choice.add_argument("--overwrite", action="store_true", help="replace a run that is there")


def _require_no_run(args: argparse.Namespace, checkpoint: Path) -> None:
    if checkpoint.exists() and not (args.resume or args.overwrite):
        raise FileExistsError(
            f"{checkpoint} holds a run: --resume goes on with it, --overwrite replaces it"
        )


def _seed(text: str) -> int:
    seed = int(text)
    if not -(2**63) <= seed < 2**63:
        raise argparse.ArgumentTypeError(f"expected a seed of 64 bits, got {text}")
    return seed


def _device(name: str) -> str:
    try:
        device = backend.Device(name)
        backend.available(device)
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return str(device)


def _draw(pictures: Callable[[], object], out: Path) -> None:
    """Draw where matplotlib is installed; otherwise say how to get the pictures."""
    try:
        pictures()
    except ImportError as error:
        print(f"no pictures: {error}")
    else:
        print(f"pictures in {out}")
