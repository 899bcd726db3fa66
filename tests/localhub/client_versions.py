"""Run the client checks against the server with other versions of the clients, in a virtual environment of their own.

    python tests/localhub/client_versions.py huggingface-hub==2.0.0 datasets==5.1.0

Installs what is named (and PyYAML) into a temporary environment, starts a local Hub with this interpreter, and runs
every check of clients/hub_calls.py, and of clients/dataset_calls.py when datasets is there, in both transports: with
Xet, and with HF_HUB_DISABLE_XET=1. Prints a line for each check that fails; exit code 1 then. Not a test that pytest
collects: it needs a package index and a minute or two.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.users import add_token, add_user, set_member

CLIENTS = Path(__file__).parent / "clients"
MODES: dict[str, dict[str, str]] = {"xet": {}, "plain": {"HF_HUB_DISABLE_XET": "1"}}


def tokens(hub: LocalHub) -> dict[str, str]:
    """The users that the checks expect; see conftest.py."""
    found = {"BOB": add_user(hub.root, "bob"), "READER": add_user(hub.root, "reader", role="read")}
    set_member(hub.root, "club", "alice", "admin")
    set_member(hub.root, "club", "bob", "read")
    return {**found, "LOOK": add_token(hub.root, "alice"), "LATE": add_token(hub.root, "alice", "write", seconds=-1)}


def main(requirements: list[str]) -> int:
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        venv.create(work / "venv", with_pip=True)
        python = work / "venv" / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pyyaml", *requirements], check=True)
        listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True)
        versions = {row["name"].lower().replace("_", "-"): row["version"] for row in json.loads(listed.stdout)}
        shown = ("huggingface-hub", "datasets", "hf-xet")
        print(", ".join(f"{name} {versions[name]}" for name in shown if name in versions), flush=True)
        files = ["hub_calls.py", *(["dataset_calls.py"] if "datasets" in versions else [])]
        with LocalHub.start(work / "root", user="alice") as hub:
            known = tokens(hub)
            for mode, more in MODES.items():
                for file in files:
                    place = work / f"{mode}-{file}"
                    place.mkdir()
                    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | hub.env() | known | more
                    env |= {"CHECK_MODE": mode, "HF_HOME": str(place / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
                    for name in ("HF_HUB_CACHE", "HF_XET_CACHE", "HF_DATASETS_CACHE", "HF_ASSETS_CACHE"):
                        env[name] = str(place / name)
                    command = [python, CLIENTS / "run_checks.py", CLIENTS / file, place / "results.json"]
                    subprocess.run(command, env=env, cwd=place, check=True)
                    results = json.loads((place / "results.json").read_text())
                    for name, problem in results.items():
                        if problem:
                            bad += 1
                            print(f"FAILED {mode} {file} {name}: {problem.strip().splitlines()[-1]}", flush=True)
                            if "-v" in sys.argv:
                                print(problem)
                    failed = sum(map(bool, results.values()))
                    print(f"{mode} {file}: {len(results) - failed} of {len(results)} checks pass", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main([argument for argument in sys.argv[1:] if not argument.startswith("-")]))
