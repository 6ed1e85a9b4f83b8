"""Files that outlive a crash: what is on the disk, whatever happens."""

import errno
import os
import subprocess
import sys

import pytest

import minitorch
from minitorch import files

pytestmark = pytest.mark.skipif(not files.LOCKS, reason="POSIX locks")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "name.safetensors"


def names(path):
    return sorted(found.name for found in path.parent.iterdir())


def test_file_and_folder_reach_the_disk_before_and_after_the_rename(path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def synced(file):
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{file}") else "file")
        fsync(file)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("rename"), replace(*a)))
    minitorch.save({"a": minitorch.ones(2)}, path)
    assert calls == ["file", "rename", "folder"]


def test_the_one_before_is_kept_when_asked(path):
    for value in range(3):
        minitorch.save(value, path, keep=True)
    assert minitorch.load(path) == 2
    assert minitorch.load(files.previous(path)) == 1
    minitorch.save(3, path)
    assert minitorch.load(files.previous(path)) == 1
    files.forget_previous(path)
    files.forget_previous(path)
    assert names(path) == ["name.safetensors"]


def test_the_one_before_is_kept_without_links(path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for value in range(2):
        minitorch.save(value, path, keep=True)
    assert [minitorch.load(p) for p in (path, files.previous(path))] == [1, 0]


def test_the_files_mode_is_what_the_umask_says(path):
    before = os.umask(0o027)
    try:
        minitorch.save(1, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_files_of_killed_writers_are_removed_and_no_others(path):
    script = """
import os, sys
from minitorch.files import replacing
with replacing(sys.argv[1]) as unfinished:
    unfinished.write_text("half")
    print(unfinished.name, flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", script, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as dead, subprocess.Popen(command, **pipes) as alive:
        abandoned, held = (process.stdout.readline().strip() for process in (dead, alive))
        dead.kill()
        dead.wait()
        other = path.with_name("other.0123abcd.tmp.safetensors")
        other.touch()
        assert {abandoned, held} <= set(names(path))
        minitorch.save(1, path)
        assert names(path) == sorted([path.name, held, other.name])
        alive.communicate("")
    assert names(path) == sorted([path.name, other.name])
    assert path.read_text() == "half"


def damaged(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "gone":
        path.unlink()
    else:
        place = {"data": len(data) - 3, "header": data.index(b"F32"), "structure": 60}[how]
        data[place] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "empty", "gone", "data", "header", "structure"])
def test_a_damaged_file_is_recovered_from_the_one_before(path, how):
    for value in range(2):
        minitorch.save({"a": minitorch.full((5,), float(value))}, path, keep=True)
    files.recover(path, minitorch.load)  # nothing is wrong
    damaged(path, how)
    with pytest.raises((ValueError, FileNotFoundError)):
        minitorch.load(path)
    with pytest.warns(UserWarning, match=r"name\.safetensors cannot be read .* the file before"):
        files.recover(path, minitorch.load)
    assert minitorch.load(path)["a"].tolist() == [0] * 5
    assert names(path) == ["name.safetensors"]


def test_where_both_are_damaged_nothing_is_touched(path):
    for value in range(2):
        minitorch.save(value, path, keep=True)
    damaged(path, "cut")
    damaged(files.previous(path), "cut")
    before = path.read_bytes()
    files.recover(path, minitorch.load)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="not a complete"):
        minitorch.load(path)


def test_every_flipped_byte_is_noticed(path):
    minitorch.save({"a": minitorch.arange(3), "b": [1.5, "text"]}, path)
    whole = path.read_bytes()
    expected = minitorch.load(path)
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 0x11
        path.write_bytes(data)
        try:
            found = minitorch.load(path)
        except ValueError:
            continue
        # Only what says that there is a checksum may be lost.
        assert b"crc32" in whole[max(place - 4, 0) : place + 5]
        assert found["b"] == expected["b"] and found["a"].equal(expected["a"])


def test_one_writer_at_a_time(path):
    with files.sole_writer(path):
        message = rf"name\.safetensors is being written by another run \(process {os.getpid()}\)"
        with pytest.raises(BlockingIOError, match=message), files.sole_writer(path):
            pass
    with files.sole_writer(path):
        pass
    assert names(path) == []


def test_the_lock_of_a_killed_writer_is_free(path):
    script = f"from minitorch.files import sole_writer; import os\n\
with sole_writer({str(path)!r}): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert names(path) == ["name.safetensors.lock"]
    with files.sole_writer(path):
        pass
    assert names(path) == []


def test_errors_name_the_path(path):
    with pytest.raises(FileNotFoundError) as caught:
        minitorch.save(1, path.parent / "nowhere" / "x")
    assert caught.value.filename == str(path.parent / "nowhere" / "x")
    assert str(caught.value).endswith(f"{str(path.parent / 'nowhere' / 'x')!r}")
    for error, text in (
        (OSError(errno.ENOSPC, "Full"), f"[Errno {errno.ENOSPC}] Full: {str(path)!r}"),
        (OSError("no answer"), "no answer"),
    ):
        with pytest.raises(OSError) as caught, files.replacing(path):
            raise error
        assert str(caught.value) == text
    with pytest.raises(FileNotFoundError) as caught, files.replacing(path):
        open(path.parent / "another" / "file")  # noqa: SIM115
    assert caught.value.filename.endswith("file")
    assert names(path) == []
