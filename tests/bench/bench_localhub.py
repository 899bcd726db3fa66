"""How fast the embedded Hub is, and whether its memory stays flat: large files, many small ones, a million rows.

Run: `python tests/bench/bench_localhub.py [--mib 1024] [--files 1000] [--rows 1000000] [--quick]`. The clients are the
real ones, in processes of their own, once with Xet and once with HF_HUB_DISABLE_XET=1. Downloads are also measured
without any client library, one plain GET, beside `python -m http.server` on the same file: `ratio` is the Hub's MB/s
over that server's. Every figure is the median of `--repeat` runs; a new file each time, so nothing is deduplicated.

Prints one JSON object: MB/s (10^6 bytes), requests/s, seconds, and by phase how far the server's peak of resident
memory (VmHWM, Linux) rose above what it had before. `--quick` is a look at the order of magnitude in some seconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.server import read_state

MB = 1_000_000
MODES: dict[str, dict[str, str]] = {"xet": {}, "plain": {"HF_HUB_DISABLE_XET": "1"}}


# -- what a client process does; each prints the seconds of the timed part -------------------------------------------


def client_up(path: str, repo: str) -> float:
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repo, exist_ok=True)
    start = time.perf_counter()
    api.upload_file(path_or_fileobj=path, path_in_repo=Path(path).name, repo_id=repo)
    return time.perf_counter() - start


def client_down(name: str, repo: str) -> float:
    from huggingface_hub import hf_hub_download

    start = time.perf_counter()
    hf_hub_download(repo, name)
    return time.perf_counter() - start


def client_small(count: str, repo: str) -> float:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    api.create_repo(repo, exist_ok=True)
    adds = [CommitOperationAdd(f"d{i % 10}/{i}.txt", os.urandom(500).hex().encode()) for i in range(int(count))]
    start = time.perf_counter()
    api.create_commit(repo, adds, commit_message="many")
    return time.perf_counter() - start


def client_push_rows(count: str, repo: str) -> float:
    from datasets import Dataset

    rows = int(count)
    data = Dataset.from_dict(
        {"id": list(range(rows)), "text": [f"task {i}: what is {i} * 34?" for i in range(rows)], "ok": [True] * rows}
    )
    start = time.perf_counter()
    data.push_to_hub(repo, num_shards=4)
    return time.perf_counter() - start


def client_load_rows(count: str, repo: str) -> float:
    from datasets import load_dataset

    start = time.perf_counter()
    found = load_dataset(repo, split="train")
    assert len(found) == int(count) and found[-1]["id"] == int(count) - 1
    return time.perf_counter() - start


# -- the measuring side ----------------------------------------------------------------------------------------------


def client(hub: LocalHub, what: str, *arguments: str, mode: str = "plain") -> float:
    """Seconds of one client process with fresh caches."""
    with tempfile.TemporaryDirectory(dir=hub.root.parent) as home:
        own = {k: v.replace(str(hub.root / "client"), home) for k, v in hub.env().items()}
        env = {**os.environ, **own, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **MODES[mode]}
        command = [sys.executable, __file__, "--client", what, *arguments]
        done = subprocess.run(command, env=env, cwd=home, stdout=subprocess.PIPE, text=True, check=True)
        return float(done.stdout.splitlines()[-1])


def get(address: str, path: str, token: str = "") -> float:
    """Seconds of one plain GET."""
    connection = http.client.HTTPConnection(address, timeout=600)
    start, headers = time.perf_counter(), {"Authorization": f"Bearer {token}"} if token else {}
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    while answer.read(1 << 20):
        pass
    connection.close()
    return time.perf_counter() - start


def requests(hub: LocalHub, repo: str, count: int, threads: int) -> float:
    """Requests a second for small files over kept connections."""

    def work(first: int) -> None:
        connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=60)
        for i in range(first, count, threads):
            connection.request("GET", f"/{repo}/resolve/main/d{i % 10}/{i}.txt", headers=header)
            assert len(connection.getresponse().read()) == 1000
        connection.close()

    header = {"Authorization": f"Bearer {hub.token}"}
    running = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    start = time.perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return count / (time.perf_counter() - start)


@contextmanager
def static_server(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


class Memory:
    """How far the server's peak rises in each phase, in MiB."""

    def __init__(self, hub: LocalHub):
        self.pid, self.found = read_state(hub.root)["pid"], {}

    def _value(self, name: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if sys.platform != "linux":
            yield
            return
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        before = self._value("VmRSS")
        yield
        self.found[name] = max(self.found.get(name, 0.0), round(self._value("VmHWM") - before, 1))


def random_file(path: Path, mib: int) -> None:
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))


def median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


def large(hub: LocalHub, memory: Memory, folder: Path, mib: int, repeat: int) -> dict[str, Any]:
    size, found = mib * (1 << 20) / MB, {}
    seconds: dict[str, list[float]] = {}
    address = hub.endpoint.removeprefix("http://")
    for turn in range(repeat):
        for mode in MODES:
            file = folder / f"{mode}{turn}.bin"
            random_file(file, mib)
            with memory.phase(f"upload {mode}"):
                seconds.setdefault(f"upload_{mode}", []).append(client(hub, "up", str(file), "me/large", mode=mode))
            with memory.phase("download"):
                down = client(hub, "down", file.name, "me/large", mode=mode)
                seconds.setdefault(f"download_{mode}", []).append(down)
        with static_server(folder) as other:  # after the uploads: both read from the page cache
            for _ in range(2):
                get(address, f"/me/large/resolve/main/{file.name}", hub.token)
                seconds.setdefault("get_static", []).append(get(other, f"/{file.name}"))
                with memory.phase("download"):
                    hub_get = get(address, f"/me/large/resolve/main/{file.name}", hub.token)
                seconds.setdefault("get", []).append(hub_get)
        for file in folder.glob("*.bin"):
            file.unlink()
    found = {name: round(size / statistics.median(each), 1) for name, each in seconds.items()}
    return {"mib": mib, "mb_per_second": found, "ratio": round(found["get"] / found["get_static"], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="64 MiB, 200 files, 50,000 rows, once")
    parser.add_argument("--client", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        call: Callable[..., float] = globals()[f"client_{args.client[0]}"]
        print(call(*args.client[1:]))
        return
    if args.quick:
        args.mib, args.files, args.rows, args.repeat = 64, 200, 50_000, 1
    out: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    out["load_before"] = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as place, LocalHub.start(Path(place) / "root") as hub:
        folder, memory = Path(place) / "files", Memory(hub)
        folder.mkdir()
        get(hub.endpoint.removeprefix("http://"), "/")  # everything is imported
        out["large"] = large(hub, memory, folder, args.mib, args.repeat)
        commits = []
        for turn in range(args.repeat):
            with memory.phase("small files"):
                commits.append(client(hub, "small", str(args.files), f"me/small{turn}"))
        out["small"] = {
            "files": args.files,
            "commit_seconds": median(commits),
            "files_per_second": round(args.files / statistics.median(commits)),
            "requests_per_second": {n: round(requests(hub, "me/small0", args.files, n)) for n in (1, 8)},
        }
        with memory.phase("rows"):
            pushed = client(hub, "push_rows", str(args.rows), "me/rows", mode="xet")
            loaded = [client(hub, "load_rows", str(args.rows), "me/rows") for _ in range(args.repeat)]
        out["rows"] = {"rows": args.rows, "push_seconds": round(pushed, 2), "load_seconds": median(loaded)}
        out["rows"]["rows_per_second"] = round(args.rows / statistics.median(loaded))
        out["server_memory_rise_mib"] = memory.found
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
