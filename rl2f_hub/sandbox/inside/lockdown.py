"""What a forked process does to itself before it runs foreign code: limits, no new privileges, a system call filter.

The filter is an allow list: what can have an effect only inside the process, on its own files in the private folder, or on
pipes and sockets that it made itself. Some calls are allowed for certain arguments alone (`_rules`): `fcntl` without
leases, locks, owners of signals, write hints and pipe sizes; `ioctl` without flags of inodes; `clone` for threads; signals
and limits of the process itself. What would be written on a file's inode or to a disk seems to work and does nothing
(`_IGNORED`): the devices in the sandbox are the machine's own, and a folder's own attributes would be there for the next
fork. Everything else answers EPERM, and all calls numbered 424 and above (one numbering for all machines; io_uring, pidfd,
clone3, the new mount calls and what is yet to come) ENOSYS, after which libraries fall back to the older call. Known
machines: x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import platform
import resource
import struct
import sys
import time
from collections.abc import Iterable
from typing import Any

# A name and its numbers on x86_64 and aarch64 (-: the machine has no such call), from the kernel's asm/unistd_64.h and
# asm-generic/unistd.h (checked by tests/test_sandbox.py where those headers are installed).
ALLOWED = """
    read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70,
    preadv2 327 286, pwritev2 328 287, lseek 8 62, sendfile 40 71, open 2 -, openat 257 56, creat 85 -, close 3 57,
    dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79,
    statx 332 291, access 21 -, faccessat 269 48, readlink 89 -, readlinkat 267 78, statfs 137 43, fstatfs 138 44,
    getdents 78 -, getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50, umask 95 166, getxattr 191 8,
    lgetxattr 192 9, fgetxattr 193 10, listxattr 194 11, llistxattr 195 12, flistxattr 196 13, truncate 76 45,
    ftruncate 77 46, fallocate 285 47, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35,
    rename 82 -, renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36,
    brk 12 214, munmap 11 215, mprotect 10 226, mremap 25 216, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72,
    epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, eventfd 284 -,
    eventfd2 290 19, sendto 44 206, recvfrom 45 207, recvmsg 47 212, getsockname 51 204, getpeername 52 205,
    getsockopt 55 209, shutdown 48 210, set_robust_list 273 99, get_robust_list 274 100,
    set_tid_address 218 96, rseq 334 293, exit 60 93, exit_group 231 94, sched_yield 24 124,
    sched_getaffinity 204 123, sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125,
    sched_get_priority_min 147 126, getcpu 309 168, restart_syscall 219 128, wait4 61 260, waitid 247 95,
    rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137,
    rt_sigsuspend 130 133, sigaltstack 131 132, pause 34 -, alarm 37 -, setitimer 38 103, getitimer 36 102,
    getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177,
    getresuid 118 148, getresgid 120 150, getgroups 115 158, getpgrp 111 -, getpgid 121 155, getsid 124 156,
    getpriority 140 141, capget 125 90, getrlimit 97 163, setrlimit 160 164, getrusage 98 165, times 100 153,
    sysinfo 99 179, uname 63 160, getrandom 318 278, time 201 -, gettimeofday 96 169, clock_gettime 228 113,
    clock_getres 229 114, clock_nanosleep 230 115, nanosleep 35 101
"""
# They seem to work and do nothing: modes, owners and times of files, and writing through to the machine's disks.
IGNORED = """
    chmod 90 -, fchmod 91 52, fchmodat 268 53, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54, utime 132 -,
    utimes 235 -, futimesat 261 -, utimensat 280 88, fsync 74 82, fdatasync 75 83, sync 162 81, syncfs 306 267,
    sync_file_range 277 84, msync 26 227
"""
# Allowed for certain arguments only: see `_rules`.
LIMITED = """
    mmap 9 222, madvise 28 233, socketpair 53 199, clone 56 220, kill 62 129, tgkill 234 131, prlimit64 302 261,
    prctl 157 167, fcntl 72 25, ioctl 16 29, futex 202 98
"""
_FIRST_NEW = 424
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_LOAD, _JEQ, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data; both machines are little endian
_SET_SECCOMP, _FILTER, _NO_NEW_PRIVS, _SET_DUMPABLE = 22, 2, 38, 4
_PID = 0x5EADBEEF  # stands in the prepared filter for the number that a fork will have

_Line = tuple[int, int, int, int]
_OK: _Line = (_RET, 0, 0, _ALLOW)
_DENY: _Line = (_RET, 0, 0, _ERRNO | errno.EPERM)


def supported() -> bool:
    """Whether the filter knows this machine."""
    return sys.platform == "linux" and platform.machine() in _MACHINES and sys.maxsize > 1 << 32


def numbers(table: str) -> dict[str, tuple[int | None, int | None]]:
    """Name -> its numbers on (x86_64, aarch64), of a table as they stand above."""
    rows = [row.split() for row in table.split(",")]
    return {name: (int(x), None if a == "-" else int(a)) for name, x, a in rows}


def _one_of(argument: int, values: Iterable[int], mask: int = 0) -> tuple[_Line, ...]:
    """Allowed where the argument, of which only the bits of `mask` count, is one of the values."""
    masked = [(_AND, 0, 0, mask)] if mask else []
    tests = [line for value in values for line in ((_JEQ, 0, 1, value), _OK)]
    return ((_LOAD, 0, 0, _ARGS + 8 * argument), *masked, *tests, _DENY)


def _rules(pid: int) -> dict[str, tuple[_Line, ...]]:
    """The calls of `LIMITED` -> instructions that decide by the arguments."""
    thread, usual = (
        0x00010000,
        0x007D0F00,
    )  # CLONE_THREAD; what the C libraries ask for, nothing of which is a namespace
    return {
        # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ
        "fcntl": _one_of(1, (0, 1, 2, 3, 4, 1030, 1032)),
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
        "ioctl": _one_of(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
        "kill": _one_of(0, (pid,)),
        "tgkill": _one_of(0, (pid,)),
        "prlimit64": _one_of(0, (pid, 0)),  # 0: the caller itself
        "socketpair": _one_of(0, (1,)),  # AF_UNIX
        "prctl": _one_of(0, (15, 16, 0x53564D41)),  # names of threads and of memory
        "madvise": _one_of(2, (4, 8, 14, 15)),  # DONTNEED, FREE, (NO)HUGEPAGE: not the machine's page cache
        # waiting, waking and moving on; not the kinds that lend priority to other processes
        "futex": _one_of(1, (0, 1, 3, 4, 5, 9, 10), mask=0x7F),
        "mmap": ((_LOAD, 0, 0, _ARGS + 24), (_JSET, 0, 1, 0x40000), _DENY, _OK),  # no huge pages of the machine's pool
        "clone": (
            (_LOAD, 0, 0, _ARGS),
            (_JSET, 1, 0, ~usual & 0xFFFFFFFF),
            (_JSET, 1, 0, thread),
            _DENY,
            _OK,
        ),
    }


def filter_program(pid: int) -> bytes:
    """The filter's instructions (8 bytes each) for the process `pid`: a binary search for the call's number."""
    column, arch = _MACHINES[platform.machine()]
    answers: list[tuple[_Line, ...]] = [(_DENY,)] * _FIRST_NEW
    rules = _rules(pid)
    for table, answer in ((ALLOWED, (_OK,)), (IGNORED, ((_RET, 0, 0, _ERRNO),)), (LIMITED, None)):
        for name, where in numbers(table).items():
            number = where[column]
            if number is not None:
                answers[number] = answer or rules[name]
    runs = [(0, answers[0])]
    for number, found in enumerate(answers):
        if found != runs[-1][1]:
            runs.append((number, found))
    code = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, arch),
        (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
        (_JGE, 0, 1, _FIRST_NEW),
        (_RET, 0, 0, _ERRNO | errno.ENOSYS),
        *_search(runs),
    ]
    return b"".join(struct.pack("<HBBI", *line) for line in code)


def _search(runs: list[tuple[int, tuple[_Line, ...]]]) -> list[_Line]:
    """Instructions that find the run of numbers in which the call stands and do what is said there."""
    if len(runs) == 1:
        return list(runs[0][1])
    half = len(runs) // 2
    below, above = _search(runs[:half]), _search(runs[half:])
    return [(_JGE, len(below), 0, runs[half][0]), *below, *above]


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
        self._most_cpu_s = max(self._cpu_s, math.ceil(limits["wall_s"])) + 1
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
        _limit("CPU", self._cpu_s, self._most_cpu_s)
        _limit("NPROC", self._processes, self._processes)
        if self._program is not None:
            own = struct.pack("<I", os.getpid())
            for place in self._places:
                ctypes.memmove(ctypes.addressof(self._buffer) + place, own, 4)
            if self._libc.prctl(_SET_SECCOMP, _FILTER, self._reference, 0, 0):
                raise OSError(ctypes.get_errno(), "the system call filter was refused")


def allow_cpu(seconds: float) -> None:
    """So many more CPU seconds for the calling process, from now on: for the next test."""
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (min(math.ceil(time.process_time() + seconds), most), most))


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
