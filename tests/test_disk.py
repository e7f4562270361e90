"""Files that appear whole or not at all, and the folder for what is kept between programs."""

import errno
import os
import re
import stat
import sys
import threading

import pytest

from omp_mlp import disk
from omp_mlp.disk import cache_folder, read_regular, write_whole
from processes import run_python

posix = pytest.mark.skipif(os.name == "nt", reason="modes and links of POSIX")


@pytest.mark.parametrize(
    ("platform", "variable", "below_home"),
    [
        ("linux", "XDG_CACHE_HOME", ".cache/omp_mlp"),
        ("darwin", "XDG_CACHE_HOME", "Library/Caches/omp_mlp"),
        ("win32", "LOCALAPPDATA", "AppData/Local/omp_mlp"),
    ],
)
def test_cache_folder_of_each_system(tmp_path, monkeypatch, platform, variable, below_home):
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("OMP_MLP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert cache_folder() == tmp_path / below_home
    monkeypatch.setenv(variable, str(tmp_path / "other"))
    assert cache_folder() == tmp_path / "other" / "omp_mlp"
    monkeypatch.setenv(variable, "relative")
    assert cache_folder() == tmp_path / below_home
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without a home
    assert cache_folder() is None
    monkeypatch.setenv("OMP_MLP_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_a_new_file_and_a_replaced_one(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old")
    assert path.read_bytes() == b"old"
    write_whole(path, b"new", lasting=False)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_replaced_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    write_whole(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_the_umask_of_the_process_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask belongs to all threads"))
    write_whole(tmp_path / "file", b"new")


@posix
@pytest.mark.parametrize("there", [True, False])
def test_links_stay_or_are_replaced(tmp_path, there):
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to("target")
    write_whole(link, b"through")
    assert link.is_symlink()
    assert target.read_bytes() == b"through"
    write_whole(link, b"here", through_links=False)
    assert not link.is_symlink()
    assert (link.read_bytes(), target.read_bytes()) == (b"here", b"through")


@posix
def test_links_in_a_circle_and_pipes_are_refused(tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    os.mkfifo(tmp_path / "pipe")
    for name in ("one", "pipe"):
        with pytest.raises(OSError, match=name):
            write_whole(tmp_path / name, b"new")
    with pytest.raises(ValueError, match="pipe: not a regular file"):
        read_regular(tmp_path / "pipe")
    assert sorted(os.listdir(tmp_path)) == ["one", "pipe", "two"]


def test_an_interrupt_after_the_replacement_is_that_interrupt(tmp_path, monkeypatch):
    replace = os.replace

    def interrupted(*arguments):
        replace(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


@posix
def test_file_then_name_then_folder_reach_the_disk(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def synced(handle):
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def replaced(*arguments):
        calls.append("name")
        replace(*arguments)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_whole(tmp_path / "file", b"new")
    assert calls == ["file", "name", "folder"]


@posix
def test_drafts_of_killed_programs_are_swept_and_those_in_use_are_not(tmp_path):
    path = tmp_path / "file"
    run_python(f"""
    from omp_mlp import disk
    from pathlib import Path
    disk._open_draft(Path({str(path)!r}), 0o666)  # and then the program ends
    print(0)
    """)
    assert len(os.listdir(tmp_path)) == 1
    handle, draft = disk._open_draft(path, 0o666)
    other = tmp_path / "other"
    write_whole(other, b"")
    assert len(os.listdir(tmp_path)) == 3  # drafts of another file are another's
    write_whole(path, b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(draft), "file", "other"])
    os.close(handle)
    write_whole(path, b"newer")
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_many_writers_of_one_file(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([65 + k]) * 100_000 for k in range(8)]

    def write(content):
        for _ in range(10):
            write_whole(path, content, lasting=False)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("n" * 255)
    write_whole(path, b"new")
    assert read_regular(path) == b"new"


def test_no_more_is_read_than_asked_for(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_regular(path, most=5) == b"12345"
    with pytest.raises(ValueError, match="file: larger than the 4 bytes"):
        read_regular(path, most=4)


@pytest.mark.parametrize("path", [None, True, 1, 2.5, [], object(), memoryview(b"a")])
def test_what_is_no_path(path):
    # Numbers would be taken for files that are open, which would be closed then.
    for use in (disk.path_of, read_regular, lambda path: write_whole(path, b"")):
        with pytest.raises(TypeError, match="path must be a str, bytes or path-like; got "):
            use(path)
    os.fstat(1)


@posix
def test_what_no_path_has(tmp_path):
    for path, message in (
        ("a\0b", "must not contain a zero byte"),
        (b"a\0b", "must not contain a zero byte"),
        ("\ud800", "must be text that the system can encode"),
    ):
        with pytest.raises(ValueError, match=message):
            write_whole(path, b"")
    for name in ("", f"{tmp_path}/", f"{tmp_path}/new/"):
        with pytest.raises(IsADirectoryError):
            write_whole(name, b"")
    assert os.listdir(tmp_path) == []


@posix
def test_names_that_are_not_text(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xfe"
    write_whole(name, b"new")
    assert read_regular(name) == read_regular(os.fsdecode(name)) == b"new"


@pytest.mark.parametrize("function", ["fsync", "open", "replace"])
def test_an_error_of_the_system_names_the_file_and_not_the_draft(tmp_path, monkeypatch, function):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def is_full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, function, is_full)
        with pytest.raises(OSError, match="No space") as caught:
            write_whole(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@posix
def test_what_could_not_be_written_is_known_before(tmp_path):
    disk.check_writable(tmp_path / "new")
    assert os.listdir(tmp_path) == []
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "loop", "no/such"):
        with pytest.raises(OSError, match=re.escape(name)):
            disk.check_writable(tmp_path / name)


@posix
def test_a_folder_for_others_is_known_before(tmp_path, monkeypatch):
    # Whoever runs the tests may be allowed everything.
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with pytest.raises(PermissionError, match="No files can be made in this folder"):
        disk.check_writable(tmp_path / "new")
