"""Files that outlive a crash: replaced in one step, the one before kept, with one writer."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

LOCKS = find_spec("fcntl") is not None  # where there is none (Windows), nothing is locked
if LOCKS:
    import fcntl


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], keep: bool = False) -> Iterator[Path]:
    """A new file to write to, which takes the name `path` when the block ends well.

    File and folder reach the disk before the block is left. keep: the file that had the name
    before stays as `previous(path)`. Unfinished files of killed processes are removed. An OSError
    of the new file names `path`.
    """
    path = Path(path)
    try:
        _remove_abandoned(path)
        with _created(path) as unfinished:
            yield unfinished
            _sync(unfinished)
            if keep and path.exists():
                _keep(path)
            os.replace(unfinished, path)
        _sync(path.parent)
    except OSError as error:
        name = error.filename
        if error.errno and (name is None or path.parent in Path(name, "x").parents[:2]):
            error.filename = str(path)
            del error.filename2  # None would be shown
        raise


def previous(path: str | os.PathLike[str]) -> Path:
    """The path of the file that had the name before."""
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def forget_previous(path: str | os.PathLike[str]) -> None:
    """Remove the file that had the name before: it is not of this run."""
    previous(path).unlink(missing_ok=True)


def recover(path: str | os.PathLike[str], read: Callable[[Path], object]) -> None:
    """Replace a damaged or lost file by the one that had the name before.

    read: raises ValueError for a damaged file. A warning says what happened; where no file can be
    read, nothing does.
    """
    path, before = Path(path), previous(path)
    try:
        read(path)
        return
    except (ValueError, FileNotFoundError) as error:
        reason = "it is gone" if isinstance(error, FileNotFoundError) else str(error)
    with contextlib.suppress(ValueError, FileNotFoundError):
        read(before)
        os.replace(before, path)
        _sync(path.parent)
        warnings.warn(
            f"{path} cannot be read ({reason}): going on from the file before it, {before.name}",
            stacklevel=3,
        )


@contextlib.contextmanager
def sole_writer(path: str | os.PathLike[str]) -> Iterator[None]:
    """Lock `path` for this process; raises BlockingIOError while another one holds it.

    The lock ends with the process, however that ends.
    """
    lock = f"{os.fspath(path)}.lock"
    with contextlib.ExitStack() as stack:
        while True:
            file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, file)
            if not _locked(file):
                owner = os.read(file, 20).decode(errors="replace") or "another"
                raise BlockingIOError(
                    f"{os.fspath(path)} is being written by another run (process {owner}): wait "
                    "for it, stop it, or choose another place"
                )
            if os.fstat(file).st_nlink or not LOCKS:
                break
        os.truncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(lock)


@contextlib.contextmanager
def run_of(
    path: Path, save: Callable[[], object] | None, overwrite: bool = False
) -> Iterator[None]:
    """Hold the file of a run as its only writer; `save` writes a new one, None: it goes on.

    Raises FileExistsError for a new one where a file is, unless that is to be overwritten.
    """
    if save is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with sole_writer(path):
        if save is not None:
            if not overwrite:
                require_no_run(path)
            save()
            forget_previous(path)
        yield


def require_no_run(path: str | os.PathLike[str]) -> None:
    """Raise FileExistsError, with the ways out, where a file is that a new run would replace."""
    if os.path.lexists(path):
        raise FileExistsError(
            f"{os.fspath(path)} is there already: resume=True goes on with its run, "
            "overwrite=True replaces it"
        )


# ---------------------------------------------------------------------- unfinished files
@contextlib.contextmanager
def _created(path: Path) -> Iterator[Path]:
    """A new empty file beside `path`, locked as long as it is written; removed on errors."""
    while True:
        unfinished = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
        file = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _locked(file)
        if os.fstat(file).st_nlink or not LOCKS:
            break
        os.close(file)  # somebody has taken it for an abandoned one before it was locked
    if not LOCKS:  # pragma: no cover
        os.close(file)  # Windows does not rename what is open
    try:
        yield unfinished
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        raise
    finally:
        if LOCKS:
            os.close(file)


def _remove_abandoned(path: Path) -> None:
    """Remove unfinished files of `path` that no process holds."""
    if not LOCKS:  # pragma: no cover
        return
    name = re.compile(rf"{re.escape(path.stem)}\.[0-9a-f]{{8}}\.tmp{re.escape(path.suffix)}")
    for found in os.listdir(path.parent):
        if name.fullmatch(found):
            with contextlib.suppress(OSError), open(path.with_name(found), "rb") as file:
                if _locked(file.fileno()):
                    os.remove(path.with_name(found))


def _locked(file: int) -> bool:
    """Lock an open file, unless another process has; file systems without locks give them all."""
    if not LOCKS:  # pragma: no cover
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _keep(path: Path) -> None:
    """Give a file its second name, with no moment at which it has none."""
    extra = previous(path).with_name(f"{previous(path).name}.link")
    try:
        extra.unlink(missing_ok=True)
        os.link(path, extra)
        os.replace(extra, previous(path))
    except OSError:  # a file system without links
        os.replace(path, previous(path))


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    folder = path.is_dir()
    if folder and os.name != "posix":
        return
    file = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        with contextlib.suppress(OSError) if folder else contextlib.nullcontext():
            os.fsync(file)
    finally:
        os.close(file)
