"""Files that appear whole or not at all, and the folder for what is kept between programs.

Networks, measured costs and data sets are written and looked for here. This module uses nothing
else of the package.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = ".omp_mlp-"
_SUFFIX = ".draft"


def cache_folder() -> Path | None:
    """Return the folder for what is kept between programs; it need not exist.

    It is the folder that ``OMP_MLP_CACHE`` names; or else ``omp_mlp`` in ``XDG_CACHE_HOME``, or in
    the user's cache folder. None: no variable is set, and the user has no home.
    """
    if os.environ.get("OMP_MLP_CACHE"):
        return Path(os.path.expanduser(os.environ["OMP_MLP_CACHE"]))
    if sys.platform == "win32":
        variable, default = "LOCALAPPDATA", "~/AppData/Local"
    elif sys.platform == "darwin":
        variable, default = "XDG_CACHE_HOME", "~/Library/Caches"
    else:
        variable, default = "XDG_CACHE_HOME", "~/.cache"
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # the XDG specification says to ignore a relative folder
        base = os.path.expanduser(default)  # unlike Path.home, this never raises
    return Path(base) / "omp_mlp" if os.path.isabs(base) else None


def path_of(path: object, name: str = "path") -> str:
    """Return a path as text; raise TypeError or ValueError, with a name, if it can be none.

    Numbers are no paths here: Python would take them for files that are open, and close them.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be a str, bytes or path-like; got {type(path).__name__}")
    text = os.fsdecode(path)
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be text that the system can encode: {error}") from None
    if b"\0" in encoded:
        raise ValueError(f"{name} must not contain a zero byte; got {text[:200]!r}")
    return text


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading; raise ValueError for pipes, devices and the like."""

    def opener(name: str, flags: int) -> int:
        # Opening a pipe would wait for a writer.
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    file = open(path_of(path), "rb", opener=opener)  # noqa: SIM115 - whoever asked for it closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{os.fspath(path)}: not a regular file")
    return file


def read_regular(path: str | os.PathLike[str], *, most: int | None = None) -> bytes:
    """Return the content of a regular file; raise ValueError for pipes, devices and the like.

    ``most``: the most bytes that the file may have; None for any number.
    """
    with naming(path_of(path)), open_regular(path) as file:
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise ValueError(f"{os.fspath(path)}: larger than the {most} bytes that are read of it")
    return content


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Give errors of the system the name of the file that was asked for."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError if :func:`write_whole` could not write this, as far as one can tell before."""
    given = path_of(path)
    with naming(given):
        target = _target(given, through_links=True)
        _replaced(target, given, through_links=True)
        if not target.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "No such folder")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "No files can be made in this folder")


def write_whole(
    path: str | os.PathLike[str], data: bytes, *, through_links: bool = True, lasting: bool = True
) -> None:
    """Write a file that appears whole or not at all, whatever ends the program.

    The data go to a draft in the same folder, which then takes the place of the file. A file that
    is replaced keeps its mode, and its owner where that is allowed. Drafts that killed programs
    have left of this file are removed.

    Parameters
    ----------
    path : path-like
        What to write. It is replaced if it is a regular file.
    data : bytes
    through_links : bool, default True
        Whether to write what a symbolic link points to, and not to replace the link.
    lasting : bool, default True
        Whether the file has to be on the disk before this returns: after a loss of power, either
        the old or the new file is there.

    Raises
    ------
    OSError
        If the file cannot be written. The old file is as it was then.
    """
    given = path_of(path)
    with naming(given):
        _write(_target(given, through_links=through_links), given, data, through_links, lasting)


def _target(given: str, *, through_links: bool) -> Path:
    """Return the file that is written where a path is given."""
    if not os.path.basename(given):  # a name of a folder
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), given)
    return Path(os.path.realpath(given)) if through_links else Path(os.path.abspath(given))


def _write(target: Path, given: str, data: bytes, through_links: bool, lasting: bool) -> None:
    old = _replaced(target, given, through_links=through_links)
    with contextlib.suppress(OSError):
        _sweep(target)
    handle, draft = _open_draft(target, 0o666 if old is None else 0o600)
    try:
        try:
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(data)
            if old is not None:
                _take_over(handle, old)
            if lasting:
                os.fsync(handle)
            if os.name == "nt":  # where an open file keeps its name
                os.close(handle)
                handle = -1
            os.replace(draft, target)
        finally:
            if handle >= 0:
                os.close(handle)
    except BaseException:
        # An interrupt may come when the draft has taken the file's place: it is gone then.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    if lasting:
        _sync_folder(target.parent)


def _replaced(target: Path, given: str, *, through_links: bool) -> os.stat_result | None:
    """Return what is known of the file that is replaced; None if there is none."""
    try:
        old = os.stat(target, follow_symlinks=through_links)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(old.st_mode):
        return None  # the link is replaced, and nothing of it is taken over
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), given)
    if not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", given)
    return old


def _take_over(handle: int, old: os.stat_result) -> None:
    """Give a draft the owner and the mode of the file that it replaces."""
    if not hasattr(os, "fchmod"):
        return
    new = os.fstat(handle)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(OSError):  # not everybody may
            os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, stat.S_IMODE(old.st_mode) & 0o777)


def _draft_prefix(target: Path) -> str:
    # Of a fixed length: the name of the file may be as long as names may be.
    return _PREFIX + hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16] + "-"


def _open_draft(target: Path, mode: int) -> tuple[int, str]:
    """Create a draft that is locked as long as it is open; return its handle and path."""
    # Neither a file that is there nor a link is opened. The system itself applies the umask.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    while True:
        draft = os.path.join(target.parent, _draft_prefix(target) + secrets.token_hex(8) + _SUFFIX)
        handle = os.open(draft, flags, mode)
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # some file systems have no locks
                    fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink > 0:
                return handle, draft
        except BaseException:
            os.close(handle)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            raise
        os.close(handle)  # somebody took it for an old draft before it was locked


def _sweep(target: Path) -> None:
    """Remove the drafts of this file that nobody writes any more: their locks are gone."""
    if fcntl is None:
        return
    for draft in _drafts(target):
        with contextlib.suppress(OSError):
            handle = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(draft)
            finally:
                os.close(handle)


def _drafts(target: Path) -> Iterator[str]:
    prefix = _draft_prefix(target)
    with os.scandir(target.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX):
                yield entry.path


def _sync_folder(folder: Path) -> None:
    """Have the new name of a file on the disk, too."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise  # some file systems cannot
    finally:
        os.close(handle)
