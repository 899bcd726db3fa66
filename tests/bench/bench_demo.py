"""Load on the demo: many visitors at once beside one alone, through the real server and the named endpoints.

    python tests/bench/bench_demo.py            50 visitors for 5 minutes
    python tests/bench/bench_demo.py --quick    8 visitors for 20 seconds
    python tests/bench/bench_demo.py --in-turn 1500    that many visitors, one after the other: where memory levels off
    python tests/bench/bench_demo.py --looks 5    fresh visits in a browser: seconds to the first screen and the first text

Every visitor has a session and dialogues of its own: it poses a task that nobody else poses, lets the teacher answer, and
checks that what comes back is its own. A visitor reads 2 to 5 seconds between two actions. Written as JSON to --out:
seconds an action (median, p95) for one visitor and for all, lost and mixed dialogues, and the server's memory over time.
The server is the tiny student that comes with the package, a process of its own; visitors share the machine with it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Tally:
    """What all visitors saw."""

    seconds: list[float] = field(default_factory=list)
    dialogues: int = 0
    mixed: int = 0
    lost: list[str] = field(default_factory=list)
    told_to_wait: int = 0


def visit(address: str, number: int, until: float, tally: Tally) -> None:
    """One visitor until the time is up."""
    from gradio_client import Client

    rng = random.Random(number)
    client = Client(address, verbose=False)

    def act(*args: Any, api_name: str) -> dict[str, Any] | None:
        began = time.monotonic()
        try:
            answer = client.predict(*args, api_name=api_name)
        except Exception as error:
            if "please wait" in str(error) or "Queue is full" in str(error):
                tally.told_to_wait += 1
            else:
                tally.lost.append(f"{api_name}: {type(error).__name__}: {str(error)[:120]}")
            return None
        finally:
            took = time.monotonic() - began
        tally.seconds.append(took)
        time.sleep(rng.uniform(2, 5))
        return answer

    while time.monotonic() < until:
        a, b = rng.randint(100, 400), number * 7 + rng.randint(1, 5)
        task = f"Visitor {number}: State the final answer to the following arithmetic problem: {a} + {b} ="
        answer = act(task, str(a + b), 0, 16, api_name="/attempt")
        if answer is None:
            time.sleep(2)
            continue
        tally.dialogues += 1
        key, attempts = answer["dialogue"], 1
        while answer and not answer["over"] and attempts < 5 and time.monotonic() < until:
            answer = act(key, api_name="/teacher")
            if answer is None:
                break
            attempts += 1
            lengths = [len(p["turns"]) for p in answer["players"].values()]
            heard = all(p["saw"][0]["content"] == task for p in answer["players"].values())
            if answer["task"] != task or answer["dialogue"] != key or max(lengths) != attempts or not heard:
                tally.mixed += 1


def resident_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


def crowd(address: str, pid: int, visitors: int, seconds: float) -> tuple[Tally, list[float]]:
    """That many visitors for that long; what they saw, and the server's memory in MiB, now and then."""
    tally, memory, done = Tally(), [], threading.Event()

    def watch() -> None:
        while not done.wait(max(1.0, seconds / 30)):
            memory.append(round(resident_mib(pid), 1))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(visitors) as pool:
        list(pool.map(lambda n: visit(address, n, until, tally), range(visitors)))
    done.set()
    watcher.join()
    return tally, memory


def in_turn(address: str, pid: int, visitors: int) -> list[float]:
    """The server's memory in MiB before and after each tenth of the visitors, who come one by one for two attempts."""
    from gradio_client import Client

    memory = [round(resident_mib(pid), 1)]
    for number in range(1, visitors + 1):
        client = Client(address, verbose=False)
        task = f"State the final answer to the following arithmetic problem: {100 + number} + {number % 97} ="
        answer = client.predict(task, str(100 + number + number % 97), 0, 16, api_name="/attempt")
        if not answer["over"]:
            client.predict(answer["dialogue"], api_name="/teacher")
        if number % max(1, visitors // 10) == 0:
            memory.append(round(resident_mib(pid), 1))
            print(f"{number} visitors: {memory[-1]} MiB", flush=True)
    return memory


def first_looks(address: str, visits: int) -> list[dict[str, float]]:
    """Seconds until the page can be used, and from pressing the button to the first text of an attempt, by visit."""
    from playwright.sync_api import sync_playwright

    looks = []
    text = "() => [...document.querySelectorAll('.rl2f-attempt')].some(e => e.innerText.trim())"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(visits):
            page = browser.new_context().new_page()
            began = time.monotonic()
            page.goto(address)
            page.wait_for_selector("#attempt")
            screen = time.monotonic() - began
            page.wait_for_timeout(1_000)  # somebody reads
            began = time.monotonic()
            page.click("#attempt")
            page.wait_for_function(text, polling=20)
            looks.append({"screen_s": round(screen, 2), "first_text_s": round(time.monotonic() - began, 2)})
            print(f"first screen {looks[-1]['screen_s']} s, first text {looks[-1]['first_text_s']} s", flush=True)
            page.context.close()
        browser.close()
    return looks


def figures(tally: Tally, memory: list[float]) -> dict[str, Any]:
    seconds = sorted(tally.seconds)
    return {
        "actions": len(seconds),
        "dialogues": tally.dialogues,
        "median_s": round(statistics.median(seconds), 3) if seconds else None,
        "p95_s": round(seconds[int(0.95 * (len(seconds) - 1))], 3) if seconds else None,
        "max_s": round(seconds[-1], 3) if seconds else None,
        "mixed": tally.mixed,
        "lost": len(tally.lost),
        "lost_examples": tally.lost[:5],
        "told_to_wait": tally.told_to_wait,
        "memory_mib": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--visitors", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--in-turn", type=int, metavar="N")
    parser.add_argument("--looks", type=int, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("bench_demo.json"))
    given = parser.parse_args()
    visitors = given.visitors or (8 if given.quick else 50)
    seconds = given.seconds or (20.0 if given.quick else 300.0)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = given.out.with_suffix(".server.log").open("wb")
    command = [sys.executable, "-m", "rl2f_hub", "demo", "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.3)
        address = f"http://127.0.0.1:{port}"
        if given.in_turn:
            memory = in_turn(address, server.pid, given.in_turn)
            given.out.write_text(json.dumps({"visitors": given.in_turn, "memory_mib": memory}, indent=1) + "\n")
            return
        if given.looks:
            given.out.write_text(json.dumps(first_looks(address, given.looks), indent=1) + "\n")
            return
        alone = figures(*crowd(address, server.pid, 1, min(30.0, seconds)))
        many = figures(*crowd(address, server.pid, visitors, seconds))
    finally:
        server.terminate()
        server.wait(20)
        log.close()
    result = {"visitors": visitors, "seconds": seconds, "cores": os.cpu_count(), "alone": alone, "together": many}
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, row in (("one visitor", alone), (f"{visitors} visitors", many)):
        ends = f"{row['memory_mib'][0]} to {row['memory_mib'][-1]} MiB" if row["memory_mib"] else "not measured"
        print(
            f"{name:<12} {row['actions']:>6} actions  median {row['median_s']} s  p95 {row['p95_s']} s  "
            f"lost {row['lost']}  mixed {row['mixed']}  told to wait {row['told_to_wait']}  memory {ends}"
        )
    if many["lost"] or many["mixed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
