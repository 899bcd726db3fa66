"""bubblewrap: whether it works here, and the command line that starts an interpreter inside it.

Inside there is: the interpreter with its standard library and the shared libraries that it loads, read-only; a private
/tmp of limited size; two harmless devices; nothing else. No installed package, no network, no /proc, nothing of /etc but
the loader's cache, no home, no repository, no variable of the caller's environment; user, process, network, IPC, host
name and control group namespaces of its own.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from rl2f_hub.sandbox.inside import lockdown

INSIDE = Path(__file__).parent / "inside"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}  # one hash seed: verdicts repeat
_START = "import sys, json; sys.path.insert(0, {place!r}); from inside import zygote; del sys.path[0]; zygote.main({settings!r})"
_INSTALL = "install it (Debian, Ubuntu: `apt-get install bubblewrap`; Fedora: `dnf install bubblewrap`)"
_ALLOW = (
    "let this system make user namespaces (see `sysctl kernel.unprivileged_userns_clone "
    "kernel.apparmor_restrict_unprivileged_userns user.max_user_namespaces`; in a container, its seccomp profile)"
)


@functools.cache
def why_not() -> str | None:
    """Why bubblewrap cannot be used here and what would mend it, in one line; None when it can. Probed once a process."""
    if sys.platform != "linux":
        return "bubblewrap exists for Linux only; use a Linux machine or container"
    if not lockdown.supported():
        return f"the system call filter does not know {os.uname().machine}; use x86_64 or aarch64"
    if shutil.which("bwrap") is None:
        return f"bubblewrap is not installed; {_INSTALL}"
    for path in (interpreter(), *_standard_library()):
        if Path(path).is_relative_to("/tmp"):  # a folder of its own lies there, inside
            return f"the interpreter lies under /tmp ({path}), where the sandbox has a folder of its own; use one elsewhere"
    try:
        done = subprocess.run(
            [*_walls(1), interpreter(), "-sSBP", "-c", "import os; print(os.getpid())"],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not work: {error}; {_ALLOW}"
    if done.returncode or done.stdout.strip() != "1":
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200]
        older = "Unknown option" in done.stderr
        return f"bubblewrap does not work: {said}; " + ("it is older than 0.7: update it" if older else _ALLOW)
    return None


def command(settings: dict[str, Any], isolated: bool) -> list[str]:
    """What starts a zygote with these settings (see `inside/zygote.py`), inside bubblewrap or, not `isolated`, bare."""
    place = "/cell" if isolated else str(INSIDE.parent)
    start = _START.format(place=place, settings=json.loads(json.dumps(settings)))
    python = [interpreter(), "-sSBP", "-X", "utf8", "-c", start]
    if not isolated:
        return python
    return [*_walls(settings["limits"]["file_mib"]), *python]


def interpreter() -> str:
    """The interpreter itself, not a virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _walls(file_mib: int) -> list[str]:
    """The bubblewrap command up to the program to start."""
    found = (
        shutil.which("bwrap") or "bwrap"
    )  # in full: what it starts gets another PATH, by which it would be looked up
    walls = [found, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    walls += ["--unshare-cgroup-try", "--hostname", "sandbox", "--as-pid-1", "--new-session"]
    walls += ["--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    for folder in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(folder):
            walls += ["--symlink", os.readlink(folder), folder]
    walls += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    walls += ["--ro-bind-try", "/usr/share/zoneinfo", "/usr/share/zoneinfo"]
    for path in _bound():
        walls += ["--ro-bind", path, path]
    for path in _hidden():
        is_folder = os.path.isdir(path)
        walls += ["--tmpfs", path, "--remount-ro", path] if is_folder else ["--ro-bind", os.devnull, path]
    for device in ("null", "zero"):  # no other: neither of these holds a state
        walls += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    walls += ["--ro-bind", str(INSIDE), "/cell/inside"]
    # the size holds for all files together: what lies in memory must have a limit
    walls += ["--size", str(file_mib << 20), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp", "--"]
    return walls


@functools.cache
def _standard_library() -> tuple[str, ...]:
    """The folders of the standard library: not those of a virtual environment, which sysconfig says if nothing is said."""
    compiled = {"platbase": sys.base_exec_prefix}
    found = sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib", vars=compiled)
    return tuple(dict.fromkeys(map(os.path.realpath, found)))


@functools.cache
def _bound() -> tuple[str, ...]:
    """What the interpreter needs: itself, its standard library, and the shared libraries that these load.

    Not the prefix and not /usr: packages are installed there, and with them the data that tasks come from.

    Raises:
        OSError: there is no `ldd`.
    """
    program = interpreter()
    compiled = [str(path) for folder in _standard_library() for path in Path(folder).glob("lib-dynload/*.so")]
    compiled = [path for path in compiled if "_tkinter" not in path]  # half a desktop, for windows that cannot open
    told = subprocess.run(
        [shutil.which("ldd") or "/usr/bin/ldd", program, *compiled], capture_output=True, text=True, timeout=60
    ).stdout
    libraries = set(re.findall(r"(/\S+) \(0x", told))
    # loaded by the C library itself, when a thread ends
    libraries |= {f"{os.path.dirname(path)}/libgcc_s.so.1" for path in libraries if "/libc." in path}
    # by the real name of its folder: /lib may be a link
    files = {os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in libraries}
    kept = {path for path in files if os.path.isfile(path) and not path.startswith(_standard_library())}
    return (*_standard_library(), program, *sorted(kept))


@functools.cache
def _hidden() -> tuple[str, ...]:
    """What lies in the folders of the standard library and is no part of it: site-packages above all."""
    known = sys.stdlib_module_names | {"lib-dynload", "__pycache__"}
    entries = [entry for folder in _standard_library() for entry in os.scandir(folder)]
    return tuple(
        entry.path
        for entry in entries
        if entry.name.partition(".")[0] not in known and not entry.name.startswith("_sysconfigdata")
    )
