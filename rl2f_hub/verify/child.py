"""The time-limited judge's own process: one JSON request a line in, one reply a line out. See `limited.py`."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from importlib import import_module
from typing import Any

MEMORY = 4 << 30  # bytes of address space: sympy may build very large numbers


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a scorer that prints cannot spoil a reply
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = int(sys.argv[1])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # dies even if the parent no longer watches
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        signal.alarm(seconds)
        try:
            reply = _answer(json.loads(line))
        except MemoryError:
            os._exit(1)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)}
        signal.alarm(0)
        print(json.dumps(reply), file=replies, flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from rl2f_hub.records import Task
    from rl2f_hub.runtime import permits
    from rl2f_hub.verify import verifier_of

    if request["do"] == "call":
        module, _, name = request["function"].partition(":")
        return {"value": getattr(import_module(module), name)(**request["arguments"])}
    permits.allow(local_code=bool(request["local_code"]))
    task = Task.from_row(request["task"])
    verifier = verifier_of(task)
    if request["do"] == "check":
        verifier.own_check(task)
        return {}
    return {"verdict": asdict(verifier.judge_here(task, request["attempt"], request["earlier"]))}


if __name__ == "__main__":
    main()
