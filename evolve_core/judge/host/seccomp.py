"""A seccomp filter: system calls that no kernel's host code needs fail with "not permitted".

Against what files and namespaces do not cover: the network (sockets other than Unix ones), other processes' memory and
descriptors, and corners of the kernel that are better out of reach (bpf, io_uring, user faults, keys, mounts, modules).
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

from . import kernelcalls as kernel

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data (little endian)
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_X32 = 0x40000000
_AF_UNIX = 1

_COMMON = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442)
"""io_uring_setup to _register, open_tree, move_mount, fsopen to fspick, pidfd_getfd, mount_setattr: since 5.1 all
architectures share one table."""
_MACHINES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    # machine → (AUDIT_ARCH, socket, refused)
    # refused: ptrace, process_vm_readv/writev, kcmp, bpf, perf_event_open, userfaultfd, add_key, request_key, keyctl,
    # mount, umount2, pivot_root, setns, unshare, open_by_handle_at, (f)init/delete_module, kexec_load, reboot, swap*
    "x86_64": (
        0xC000003E,
        41,
        (101, 310, 311, 312, 321, 298, 323, 248, 249, 250, 165, 166, 155, 308, 272, 304, 175, 313, 176, 246, 169, 167,
         168),
    ),
    "aarch64": (
        0xC00000B7,
        198,
        (117, 270, 271, 272, 280, 241, 282, 217, 218, 219, 40, 39, 41, 268, 97, 265, 105, 273, 106, 104, 142, 224, 225),
    ),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install() -> bool:
    """Filter this thread's system calls and its heirs', for good. False where kernel or processor do not know how."""
    machine = platform.machine()
    if machine not in _MACHINES:
        return False
    code = _filter(*_MACHINES[machine], is_x86=machine == "x86_64")
    program = _Program(len(code) // 8, code)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    return kernel.try_prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))


def _filter(architecture: int, socket: int, refused: tuple[int, ...], *, is_x86: bool) -> bytes:
    """BPF: each jump counts the instructions it skips; the two returns are at the end."""
    numbers = (*refused, *_COMMON)
    # Behind the comparisons: is it socket()? of which family? allow, refuse.
    tail = [
        (_EQUAL, 0, 2, socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, _AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    compared = [(_EQUAL, len(numbers) - index - 1 + len(tail) - 1, 0, number) for index, number in enumerate(numbers)]
    body = [*compared, *tail]
    head = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if is_x86:
        head.append((_AT_LEAST, len(body) - 1, 0, _X32))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in (*head, *body))
