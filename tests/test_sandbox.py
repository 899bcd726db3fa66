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
from rl2f_hub.sandbox.run import same_output

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
    "infinite loop in a call": ("def f(x):\n  while True: pass", "test 1 of 1 failed: time limit"),
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
    "exit during a test": ("import sys\ndef f(x): sys.exit(0)", "test 1 of 1 failed: exited"),
    "hard exit during a test": ("import os\ndef f(x): os._exit(0)", "test 1 of 1 failed: exited"),
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
        "wrong value",
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
    assert re.search(reason, result.reason), result
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
    assert not result.passed and "wrong value" in result.reason
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
        assert "raised FileNotFoundError" in read.reason or home_of_interpreter, (path, read)
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
def test_reasons_of_honest_failures(run: Run) -> None:
    assert run("def f(x:\n", "f(1)").reason == "syntax error on line 1"
    assert run("def f(x):\n    return x +\n", "f(1)").reason == "syntax error on line 2"
    assert run("def g(x): return x", "f(1)").reason == "does not define `f`"
    assert (
        run("def f(x): return x", "assert f(1) == 1", "assert f(2) == 3", "f(3)").reason
        == "test 2 of 3 failed: wrong value"
    )
    wrong = run("def f(x): return x + 1", "assert f(1) == 2\nassert f([41][0]) == 4711")
    assert wrong.observation == "call: f(41)\nreturned: 42\ntest: assert f([41][0]) == 4711"
    raised = run("def f(x):\n    return {}[x]", "assert f('a') == 1")
    assert raised.reason == "test 1 of 1 failed: raised KeyError on line 2"
    assert "the value makes the test itself raise TypeError" in run("def f(x): return None", "assert f(1) < 2").reason
    none = run("def f(): pass")
    assert not none.passed and none.reason == "the task has no tests" and none.total_tests == 0
    assert "wrong" in run("def f(x): return 0", "check(f)", setup="def check(g):\n  assert g(1) == 2").reason


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
    assert wrong.reason == "test 2 of 2 failed: wrong output"
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
    assert not result.passed and reason in result.reason, result
    assert run_program("print(1)", ("", "1")).passed


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
        assert "time limit" in sandbox.run([CodeJob("def f(): return 1", tests[0])])[0].reason
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
