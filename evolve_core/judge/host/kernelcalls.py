"""The few Linux calls that Python does not offer in every supported version, through libc."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_SYS_MOUNT_SETATTR = 442
"""The same number on every architecture: system calls added since Linux 5.1 share one table."""
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option})")


def try_prctl(option: int, value: int, pointer: object) -> bool:
    """A prctl with a pointer; False where the kernel refuses it."""
    return int(_libc.prctl(option, ctypes.c_ulong(value), pointer, 0, 0)) == 0


def syscall(number: int, *arguments: object) -> int:
    """A system call by its number; negative where it failed. Integers are passed as longs."""
    converted = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *converted))


def checked_syscall(name: str, number: int, *arguments: object) -> int:
    """``syscall``, raising OSError where it failed."""
    result = syscall(number, *arguments)
    _check(result, name)
    return result


def unshare(flags: int) -> None:
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str | None, target: str, flags: int, kind: str | None = None) -> None:
    encoded = None if source is None else os.fsencode(source)
    name = None if kind is None else kind.encode()
    _check(_libc.mount(encoded, os.fsencode(target), name, ctypes.c_ulong(flags), None), f"mount({target})")


class _MountAttributes(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def set_mount_read_only(target: str, *, read_only: bool, recursive: bool) -> None:
    """Needs Linux 5.12; older kernels answer ENOSYS, which the caller reads as "not available"."""
    attributes = _MountAttributes()
    if read_only:
        attributes.attr_set = _MOUNT_ATTR_RDONLY
    else:
        attributes.attr_clr = _MOUNT_ATTR_RDONLY
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(int(result), f"mount_setattr({target})")


def drop_capabilities() -> None:
    """Give up every capability for good, also those that an exec by root would bring back."""
    for capability in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # EINVAL: past the last capability that this kernel knows
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, none), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
