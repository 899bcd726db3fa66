"""What a forked process does to itself before it runs foreign code: limits, no new privileges, a system call filter.

The filter answers EPERM to what a program in pure Python never needs: new processes (threads stay possible), execve,
sockets, ptrace and other processes' memory, mounts and namespaces, signals, limits and priorities of other processes,
kernel keys, memory that no limit counts (memfd, System V, message queues, aio), attributes of files. Modes, owners and
times of files seem to be set and are not: the devices in the sandbox are the machine's own. All calls numbered 424 and above (one
numbering for all machines; io_uring, pidfd, clone3, the new mount calls and what is yet to come) answer ENOSYS, after
which libraries fall back to the older call. Known machines: x86_64 and aarch64. Left out: an allow list; the denied
calls are those with an effect outside the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from typing import Any

# name -> numbers on (x86_64, aarch64); None: the machine has no such call
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "vhangup": (153, 58),
    "syslog": (103, 116),
    "personality": (135, 92),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "io_setup": (206, 0),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
}
# They seem to work and do nothing. The devices in the sandbox are the machine's own: where root has started it, their
# modes and times could be changed for everybody. And what is written on a folder itself would be there for the next fork.
_IGNORED: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
_CLONE = (56, 220)
_OWN_PROCESS_ONLY = {"kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261)}  # first argument: a process id
_FIRST_NEW = 424
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_CLONE_THREAD = 0x00010000
_NR, _ARCH, _ARG0 = 0, 4, 16  # offsets in struct seccomp_data; both machines are little endian
_SET_SECCOMP, _FILTER, _NO_NEW_PRIVS, _SET_DUMPABLE = 22, 2, 38, 4
_PID = 0x5EADBEEF  # stands in the prepared filter for the number that a fork will have


def supported() -> bool:
    """Whether the filter knows this machine."""
    return sys.platform == "linux" and platform.machine() in _MACHINES and sys.maxsize > 1 << 32


def filter_program(pid: int) -> bytes:
    """The filter's instructions (8 bytes each) for the process `pid`."""
    column, arch = _MACHINES[platform.machine()]
    deny = (_RET, 0, 0, _ERRNO | errno.EPERM)
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, arch),
        (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
        (_JGE, 0, 1, _FIRST_NEW),
        (_RET, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for calls, answer in ((_DENIED, deny), (_IGNORED, (_RET, 0, 0, _ERRNO))):
        for numbers in calls.values():
            number = numbers[column]
            if number is not None:
                code += [(_JEQ, 0, 1, number), answer]
    code += [(_JEQ, 0, 4, _CLONE[column]), (_LOAD, 0, 0, _ARG0), (_JSET, 1, 0, _CLONE_THREAD), deny]
    code += [(_RET, 0, 0, _ALLOW)]
    for name, own in _OWN_PROCESS_ONLY.items():
        accept = [(_JEQ, 0, 1, pid), (_RET, 0, 0, _ALLOW)]
        if name == "prlimit64":
            accept += [(_JEQ, 0, 1, 0), (_RET, 0, 0, _ALLOW)]  # 0: the caller itself
        code += [(_JEQ, 0, 2 + len(accept), own[column]), (_LOAD, 0, 0, _ARG0), *accept, deny]
    code += [(_RET, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in code)


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class Lockdown:
    """The whole of it in two steps, because forking is frequent: `__init__` once in the process that forks, `enter` in
    every fork. Limits that hold for both, no new privileges and hidden memory are set by the first and inherited.

    Raises:
        OSError: a step failed; foreign code must not be run.
    """

    def __init__(self, limits: dict[str, Any], folder: str) -> None:
        os.chdir(folder)
        mib = 1 << 20
        for name, value in (
            ("AS", limits["memory_mib"] * mib),
            ("FSIZE", limits["file_mib"] * mib),
            ("NOFILE", limits["open_files"]),
            ("CORE", 0),
            ("MEMLOCK", 0),
        ):
            _limit(name, value, value)
        self._cpu_s, self._processes = int(limits["cpu_s"]), int(limits["processes"])
        self._program: _Program | None = None
        if sys.platform != "linux":
            return  # reached only where the user allowed code without isolation
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
        if self._libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "no_new_privs was refused")
        if supported():
            body = filter_program(_PID)
            self._buffer = ctypes.create_string_buffer(body, len(body))
            self._places = [i + 4 for i in range(0, len(body), 8) if body[i + 4 : i + 8] == struct.pack("<I", _PID)]
            self._program = _Program(len(body) // 8, ctypes.cast(self._buffer, ctypes.c_void_p).value)
            self._reference = ctypes.byref(self._program)

    def enter(self) -> None:
        """Lock the calling fork down: its CPU time limited, the filter installed. What follows is `close_all_but`."""
        _limit("CPU", self._cpu_s, self._cpu_s + 1)
        _limit("NPROC", self._processes, self._processes)
        if self._program is not None:
            own = struct.pack("<I", os.getpid())
            for place in self._places:
                ctypes.memmove(ctypes.addressof(self._buffer) + place, own, 4)
            if self._libc.prctl(_SET_SECCOMP, _FILTER, self._reference, 0, 0):
                raise OSError(ctypes.get_errno(), "the system call filter was refused")


def close_all_but(fds: Iterable[int]) -> None:
    """Close every file of this process but 0, 1, 2 and these."""
    low = 3
    for fd in sorted(fds):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, max(low, os.sysconf("SC_OPEN_MAX")))


def _limit(name: str, soft: int, hard: int) -> None:
    kind = getattr(resource, f"RLIMIT_{name}", None)
    if kind is not None:
        ceiling = resource.getrlimit(kind)[1]
        top = hard if ceiling == resource.RLIM_INFINITY else min(hard, ceiling)
        resource.setrlimit(kind, (min(soft, top), top))
