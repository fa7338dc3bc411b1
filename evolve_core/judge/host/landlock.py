"""Landlock: an ordinary process gives up rights on files, the network and other processes, for good and for its heirs.

Works where namespaces are refused (Ubuntu restricts them since 23.10) and beside them; Linux 5.13 or newer with the
module enabled. Constants are those of linux/landlock.h; which ABI brought what is in the kernel's userspace-api
documentation.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import kernelcalls as kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_CHANGE_TREE = sum(1 << bit for bit in range(4, 13))
"""Remove and make files, folders, sockets, pipes, devices, links."""
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_BIND_TCP, _CONNECT_TCP = 1, 2
SCOPED_ABI = 6
"""The first that knows scopes."""
ABSTRACT_SOCKETS, SIGNALS = 1, 2
"""Scopes: Unix sockets without a place in the file system, and signals, of processes outside."""
_ON_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
"""What a rule about a single file may grant; the rest is about folders."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """What this kernel's Landlock can do, as its ABI number; 0 where there is none."""
    return max(0, kernel.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def restrict(
    writable: Sequence[str], hidden: Sequence[str] = (), kept: str = "", scopes: int = ABSTRACT_SOCKETS | SIGNALS
) -> bool:
    """From now on: no writing outside ``writable`` folders, no reading inside ``hidden`` ones except below ``kept``,
    no TCP (ABI 4), nothing of ``scopes`` (ABI 6), no look into the memory of a process outside. False where this
    kernel has no Landlock.

    Folders that do not exist are passed over. Needs no privilege; sets ``no_new_privs``.
    """
    version = abi()
    if not version:
        return False
    writes = _WRITE_FILE | _CHANGE_TREE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    reads = _READ_FILE | _READ_DIR if hidden else 0
    ruleset = _ruleset(version, writes | reads, _BIND_TCP | _CONNECT_TCP, scopes)
    try:
        for folder in writable:
            _allow(ruleset, folder, writes)
        if hidden:
            for path in _visible("/", tuple(map(os.path.realpath, hidden)), os.path.realpath(kept) if kept else ""):
                _allow(ruleset, path, reads)
        _enforce(ruleset)
    finally:
        os.close(ruleset)
    return True


def restrict_scopes(scopes: int) -> bool:
    """From now on nothing of ``scopes``, and files as before. False where this kernel has none."""
    if abi() < SCOPED_ABI:
        return False
    # Moving a file to another folder is the one right that every ruleset takes away unless it grants it.
    ruleset = _ruleset(SCOPED_ABI, _REFER, 0, scopes)
    try:
        _allow(ruleset, "/", _REFER)
        _enforce(ruleset)
    finally:
        os.close(ruleset)
    return True


def _enforce(ruleset: int) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.checked_syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)


def _ruleset(version: int, files: int, net: int, scopes: int) -> int:
    wanted = _Ruleset(files)
    size = 8
    if version >= 4:
        wanted.net, size = net, 16
    if version >= SCOPED_ABI:
        wanted.scoped, size = scopes, 24
    return kernel.checked_syscall("landlock_create_ruleset", _CREATE_RULESET, ctypes.byref(wanted), size, 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        allowed = rights if Path(path).is_dir() else rights & _ON_FILES
        rule = _PathBeneath(allowed, descriptor)
        kernel.checked_syscall("landlock_add_rule", _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)


def _visible(path: str, hidden: tuple[str, ...], kept: str) -> Iterator[str]:
    """The fewest places that hold everything below ``path`` but what is hidden: rules can only allow."""
    if path in hidden:
        if kept.startswith(f"{path}/"):
            yield kept
        return
    if not any(one.startswith(path if path == "/" else f"{path}/") for one in hidden):
        yield path
        return
    for entry in os.scandir(path):
        # What a link points to is allowed, or not, where it lies.
        if not entry.is_symlink():
            yield from _visible(entry.path, hidden, kept)
