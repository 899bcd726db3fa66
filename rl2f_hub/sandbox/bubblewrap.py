"""bubblewrap: whether it works here, and the command line that starts an interpreter inside it.

Inside there is: the system's libraries and the interpreter with its standard library, read-only; a private /tmp of
limited size; four harmless devices; nothing else. No network, no /proc, nothing of /etc but the loader's cache, no
home, no repository, no variable of the caller's environment; user, process, network, IPC, host name and control group
namespaces of its own.
"""

from __future__ import annotations

import functools
import json
import os
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
    for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store"):
        path = Path(folder)
        if path.is_symlink():
            walls += ["--symlink", os.readlink(folder), folder]
        elif path.is_dir():
            walls += ["--ro-bind", folder, folder]
    walls += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for path in _interpreter_files():
        if not path.is_relative_to("/usr") and not path.is_relative_to("/nix/store"):
            walls += ["--ro-bind", str(path), str(path)]
    for device in ("null", "zero", "random", "urandom"):
        walls += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    walls += ["--ro-bind", str(INSIDE), "/cell/inside"]
    # the size holds for all files together: what lies in memory must have a limit
    walls += ["--size", str(file_mib << 20), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp", "--"]
    return walls


def _interpreter_files() -> list[Path]:
    """The interpreter, its libraries and its standard library; not the whole prefix, which may be somebody's home.

    Nor a virtual environment, for which sysconfig takes `platbase` if nothing else is said.
    """
    prefix, compiled = Path(sys.base_prefix), {"platbase": sys.base_exec_prefix}
    paths = [
        Path(interpreter()),
        Path(sysconfig.get_path("stdlib")),
        Path(sysconfig.get_path("platstdlib", vars=compiled)),
    ]
    paths += [prefix / "lib", prefix / "lib64"]
    kept: list[Path] = []
    for path in sorted({Path(p) for p in paths if Path(p).exists()}, key=lambda p: len(p.parts)):
        if not any(path.is_relative_to(k) for k in kept):
            kept.append(path)
    return kept
