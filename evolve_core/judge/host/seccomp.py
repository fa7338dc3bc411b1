"""A seccomp filter: system calls that no kernel's host code needs fail with "not permitted".

Against what files and namespaces do not cover: the network (sockets other than Unix ones), other processes' memory and
descriptors, and corners of the kernel that are better out of reach (bpf, io_uring, user faults, keys, mounts, modules).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

from . import kernelcalls as kernel

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
# BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_JMP|JSET|K, BPF_RET|K
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data (little endian)
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_UNKNOWN = 0x00050000 | errno.ENOSYS
"""As a kernel would answer that does not have the call: the C library then takes the older one."""
_X32 = 0x40000000
_AF_UNIX = 1
_Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, operand"""

_COMMON = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442)
"""io_uring_setup to _register, open_tree, move_mount, fsopen to fspick, pidfd_getfd, mount_setattr: since 5.1 all
architectures share one table."""
_PIDFD_SEND_SIGNAL, _CLONE3 = 424, 435
_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET"""
_ATTRIBUTES = (452, 463, 466)
"""fchmodat2, setxattrat, removexattrat"""
_MEMFD_SECRET = 447


@dataclass(frozen=True)
class _Machine:
    architecture: int
    """AUDIT_ARCH"""
    socket: int
    clone: int
    """Its flags are its first argument."""
    prlimit: int
    """Whose limits, is its first argument; 0: one's own."""
    signals: tuple[int, ...]
    """kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo: whom they are for is their first argument"""
    refused: tuple[int, ...]
    """ptrace, process_vm_readv/writev, kcmp, bpf, perf_event_open, userfaultfd, add_key, request_key, keyctl,
    mount, umount2, pivot_root, setns, unshare, open_by_handle_at, (f)init/delete_module, kexec_load, reboot, swap*"""
    unmapped: tuple[int, ...]
    """memfd_create, shmget, semget, msgget, mq_open"""
    attributes: tuple[int, ...]
    """chmod, fchmod, fchmodat, (f, l)chown, fchownat, (l, f)setxattr, (l, f)removexattr"""


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        41,
        56,
        302,
        (62, 200, 234, 129, 297),
        (101, 310, 311, 312, 321, 298, 323, 248, 249, 250, 165, 166, 155, 308, 272, 304, 175, 313, 176, 246, 169, 167,
         168),
        (319, 29, 64, 68, 240),
        (90, 91, 268, 92, 93, 94, 260, 188, 189, 190, 197, 198, 199),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        198,
        220,
        261,
        (129, 130, 131, 138, 240),
        (117, 270, 271, 272, 280, 241, 282, 217, 218, 219, 40, 39, 41, 268, 97, 265, 105, 273, 106, 104, 142, 224, 225),
        (279, 194, 190, 186, 180),
        (52, 53, 55, 54, 5, 6, 7, 14, 15, 16),
    ),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install() -> bool:
    """Filter this thread's system calls and its heirs', for good. False where kernel or processor do not know how."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    return _put_on(
        machine,
        [
            *map(_refused, (*machine.refused, *_COMMON)),
            [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _UNKNOWN)],  # Its flags lie in memory, where no filter looks.
            _only_without(machine.clone, _NAMESPACE_FLAGS),
            _only_for(machine.prlimit, 0),
            _only_for(machine.socket, _AF_UNIX),
        ],
    )


def close_in() -> bool:
    """From now on no sockets but pairs, because behind one in the file system a program may take orders; and no memory
    that belongs to no process's count, or that stays when its process has ended: files without a name, and System V's
    and POSIX's shared memory and queues. Not for a process that a GPU's driver is loaded into.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    return _put_on(machine, [*map(_refused, (machine.socket, *machine.unmapped, _MEMFD_SECRET))])


def keep_attributes() -> bool:
    """From now on no file's mode, owner or attributes change: Landlock does not ask for these, and a read-only file
    system refuses them anyway.
    """
    machine = _MACHINES.get(platform.machine())
    return machine is not None and _put_on(machine, [*map(_refused, (*machine.attributes, *_ATTRIBUTES))])


def keep_signals_to_itself() -> bool:
    """From now on this process may signal itself and nobody else, not even what it started: a filter compares numbers
    and cannot know whose they are. For kernels whose Landlock does not confine signals.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    return _put_on(
        machine, [_refused(_PIDFD_SEND_SIGNAL), *(_only_for(number, os.getpid()) for number in machine.signals)]
    )


def _put_on(machine: _Machine, rules: list[list[_Instruction]]) -> bool:
    code = b"".join(struct.pack("<HBBI", *instruction) for rule in _filter(machine, rules) for instruction in rule)
    program = _Program(len(code) // 8, code)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    return kernel.try_prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))


def _filter(machine: _Machine, rules: list[list[_Instruction]]) -> list[list[_Instruction]]:
    """BPF, one rule after the other; a jump counts the instructions that it skips."""
    return [
        [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, machine.architecture), (_RETURN, 0, 0, _REFUSE)],
        # On x86 the numbers from _X32 on are those of its third ABI; elsewhere there are none.
        [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE)],
        *rules,
        [(_RETURN, 0, 0, _ALLOW)],
    ]


def _refused(number: int) -> list[_Instruction]:
    return [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]


def _only_without(number: int, flags: int) -> list[_Instruction]:
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 1, 0, flags),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]


def _only_for(number: int, first_argument: int) -> list[_Instruction]:
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, first_argument),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
