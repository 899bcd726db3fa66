"""`rl2f space check`: does a Space's folder start from its own requirements, in a clean virtual environment, and answer?

The environment gets what a Space would: the SDK's version from the front matter, then `requirements.txt`; then `app.py`
runs with nothing but its variables. It is probed as a visitor would: the page, the named endpoints, an attempt, the
teacher, a second attempt. Left out: the Hub's own build and its hardware.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import venv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rl2f_hub.demo.space import check_wheel, read_front_matter, requirements, source_folder
from rl2f_hub.errors import RL2FError, UsageError

INSTALL_S = 3_600
START_S = 600
# What the child sees of this environment: no tokens, no settings of ours.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "HF_ENDPOINT", "HF_HOME", "PIP_INDEX_URL", "PIP_CONFIG_FILE")


def check_space(
    folder: Path | None = None, *, adapter: str | None = None, wheel: Path | None = None, keep: Path | None = None
) -> dict[str, Any]:
    """Install, boot and probe a Space's folder; returns {folder, install_s, start_s, endpoints, models, attempts}.

    Args:
        folder: by default the files that `push` would upload.
        wheel: of rl2f_hub, for what is not on the package index.
        keep: where the virtual environment stays; one that is there already is used again.
    Raises:
        UsageError: no such folder or wheel.
        RL2FError: what failed, with the last line that was printed.
    """
    check_wheel(wheel)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"space: no folder {str(folder)!r}")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rl2f-space-")))
        copy = scratch / "space"
        shutil.copytree(folder or source_folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
        if wheel is not None:
            (copy / "requirements.txt").write_text(requirements(wheel, copy), encoding="utf-8")
            shutil.copy(wheel, copy / wheel.name)
        front = read_front_matter(copy)
        began = time.monotonic()
        python = _installed(keep or scratch / "venv", copy, str(front["sdk_version"]), scratch)
        installed = time.monotonic()
        port = _free_port()
        server = stack.enter_context(_running(python, copy / str(front["app_file"]), port, adapter, scratch / "log"))
        _wait_for(port, server, scratch / "log")
        started = time.monotonic()
        probed = _probe(f"http://127.0.0.1:{port}", scratch / "log")
    seconds = {"install_s": round(installed - began, 1), "start_s": round(started - installed, 1)}
    return {"folder": str(folder or source_folder()), **seconds, **probed}


def _installed(folder: Path, space: Path, gradio: str, scratch: Path) -> Path:
    python = folder / "bin" / "python"
    if not python.is_file():
        venv.create(folder, with_pip=True)
    log = scratch / "pip.log"
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--progress-bar",
        "off",
        f"gradio=={gradio}",
        "-r",
        "requirements.txt",
    ]
    with log.open("wb") as out:
        done = subprocess.run(
            command, cwd=space, stdout=out, stderr=out, env=_environment(), timeout=INSTALL_S, check=False
        )
    if done.returncode:
        raise RL2FError(f"space: its requirements cannot be installed: {_last_line(log)}")
    return python


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED if name in os.environ}


class _running:
    """The Space's app as a child process, ended at the end."""

    def __init__(self, python: Path, app: Path, port: int, adapter: str | None, log: Path) -> None:
        settings = {
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_ANALYTICS_ENABLED": "False",
        }
        settings |= {"RL2F_ADAPTER": adapter or "", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
        if adapter and os.environ.get("HF_TOKEN"):
            settings["HF_TOKEN"] = os.environ["HF_TOKEN"]  # the secret that a Space of a private adapter has
        self.log = log.open("wb")
        self.process = subprocess.Popen(
            [str(python), app.name], cwd=app.parent, env=_environment() | settings, stdout=self.log, stderr=self.log
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise RL2FError(f"space: its app ended at once: {_last_line(log)}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.3)
    raise RL2FError(f"space: its app did not start within {START_S} s: {_last_line(log)}")


def _probe(address: str, log: Path) -> dict[str, Any]:
    from gradio_client import Client

    try:
        client = Client(address, verbose=False)
        named = client.view_api(return_format="dict", print_info=False)
        assert isinstance(named, dict)
        tasks = client.predict(api_name="/tasks")
        first = client.predict(tasks[0]["prompt"], "0", 0, 8, api_name="/attempt")
        again = client.predict(first["dialogue"], api_name="/teacher")
    except Exception as error:
        raise RL2FError(f"space: it does not answer ({type(error).__name__}: {error}); {_last_line(log)}") from None
    attempts = {name: len(player["turns"]) for name, player in again["players"].items()}
    if set(attempts.values()) != {2}:
        raise RL2FError(f"space: two attempts each were expected, there are {attempts}")
    return {"endpoints": sorted(named["named_endpoints"]), "models": list(attempts), "attempts": attempts}


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "nothing was printed"


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
