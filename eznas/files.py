"""Files written as a whole: at any moment a reader finds the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from pathlib import Path
from typing import Final

from eznas.errors import OutputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}\.temporary")
"""How a file is called that a kill may leave beside the one that was to be written."""
_REMEDIES = {
    errno.EISDIR: "give the name of a file",
    errno.ENOENT: "make the folder first, or give another name",
    errno.ENOTDIR: "a part of the path is a file; give another name",
    errno.EEXIST: "a part of the path is a file; give another name",
    errno.EACCES: "choose another place, or change its permissions",
    errno.EPERM: "choose another place, or change its permissions",
    errno.EROFS: "choose another place",
    errno.ELOOP: "its symbolic links lead round in a circle; give another name",
    errno.ENAMETOOLONG: "give a shorter name",
}


def is_file(path: Path | str) -> bool:
    """Whether there is a file of that name, which may be anything a user typed; `Path.is_file` raises for some."""
    return os.path.isfile(path)


def is_folder(path: Path | str) -> bool:
    """Whether there is a folder of that name, as `is_file`."""
    return os.path.isdir(path)


def write_output(target: Path, text: str) -> None:
    """Write a file that a user named, as `replace_file`.

    Raises:
        OutputError: if that fails; says why and what to do.
        BrokenPipeError: if it is a pipe whose reader has left.
    """
    try:
        replace_file(target, text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(why_not_written(target, error)) from None


def replace_file(target: Path, content: str | bytes) -> None:
    """Write a file, text or bytes, and make it last, or leave what was there.

    A symbolic link stays one, and what it leads to is written. A device, a pipe and an open file such as
    ``/dev/stdout`` are written to. Any other file is replaced as a whole and keeps its permissions; a new one has those
    of a new file, and its folder is made.

    Raises:
        OSError: if the disk is full or the folder cannot be written; no temporary file stays behind.
    """
    content = content.encode() if isinstance(content, str) else content
    if not is_replaceable(target):
        _write_through(target, content)
        return
    path = Path(os.path.realpath(target))
    status = _status(path)
    if status is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    temporary = path.with_name(f".{secrets.token_hex(8)}.temporary")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:
            file.write(content)
            file.flush()
            if status is not None:
                with contextlib.suppress(OSError):  # a file of somebody else becomes one's own
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_replaceable(target: Path) -> bool:
    """Whether a file of that name is replaced as a whole: a regular file, or a new one, behind any links.

    Raises:
        OSError: if it is a folder, or nothing can be known of it.
    """
    if _own_descriptor(target) is not None:
        return False
    status = _status(target)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    return status is None or stat.S_ISREG(status.st_mode)


def why_not_written(target: Path, error: OSError, *, when_full: str = "free space or choose another place") -> str:
    """One sentence: which file could not be written, why, and what to do.

    Args:
        target: the file as its user knows it.
        error: what the system said.
        when_full: what to do if the disk is full.
    """
    reason = "it is a folder" if error.errno == errno.EISDIR else error.strerror or str(error)
    return f"Cannot write {target}: {reason}; {remedy(error, when_full=when_full)}"


def size_text(n_bytes: int) -> str:
    """``1.2 GiB`` or ``3.4 MiB``."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"


def remedy(error: OSError, *, when_full: str = "free space") -> str:
    """What to do about an error of the system."""
    return when_full if error.errno in _FULL else _REMEDIES.get(error.errno or 0, "choose another place")


def _status(path: Path) -> os.stat_result | None:
    """What a path leads to; nothing if there is no such file yet."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _own_descriptor(target: Path) -> int | None:
    """The number of an open file of this process if that is what a path such as ``/dev/stdout`` leads to.

    It may be a regular file, open in the middle of what somebody else writes: there is nothing to replace.
    """
    path = os.path.abspath(target)
    for _ in range(40):  # as many links as Linux follows
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder)
        if name.isdecimal() and folder in (f"/proc/{os.getpid()}/fd", "/dev/fd"):
            return int(name)
        path = os.path.join(folder, name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


def _write_through(target: Path, content: bytes) -> None:
    descriptor = _own_descriptor(target)
    for shown in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, AttributeError):  # closed, or none
            shown.flush()
    with open(os.dup(descriptor), "wb") if descriptor is not None else open(target, "wb") as file:
        file.write(content)
