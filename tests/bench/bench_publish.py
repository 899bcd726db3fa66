"""Memory and time of `publish`, from recorded dialogues to a commit on the embedded Hub.

Run: `python tests/bench/bench_publish.py [--dialogues 10000 100000] [--characters 200] [--through generate]`. Dialogues of
three turns are written as `generate` writes them, or with `--through generate` by that stage itself, with the scripted
student of `bench_generate.py`; then all configs, `preferences` too, become shards and go to a Hub of their own.
Each size runs in a process of its own. Prints one JSON object: seconds, rows and `peak_rss_mib` after the shards and
after the push. Memory is flat when it does not follow the number of dialogues.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # recorded_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--characters", type=int, default=200, help="of a piece of feedback")
    parser.add_argument("--through", choices=["generate"], help="play the dialogues too, instead of writing them")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measured(args.dialogues[0], args.characters, args.through)))
        return
    runs = []
    for count in args.dialogues:
        command = [sys.executable, __file__, "--here", "--dialogues", str(count), "--characters", str(args.characters)]
        command += ["--through", args.through] if args.through else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    how = {"through": args.through} if args.through else {"characters": args.characters}
    print(json.dumps({**how, "runs": runs}, indent=1))


def shards(count: int, characters: int, size: int = 512) -> Iterator[list[dict[str, Any]]]:
    from recorded_run import dialogue

    for start in range(0, count, size):
        rows = []
        for n in range(start, min(start + size, count)):
            words = f"Attempt {n}: too low. ".ljust(characters, "abcdefghij"[n % 10])
            rows.append(replace(dialogue(n, words, wrong=2), dialogue_id=f"train-{n}/0").to_row())
        yield rows


def play(run: Any, count: int) -> None:
    """The stage `generate` of so many dialogues, without a model."""
    from bench_generate import TASKS, Scripted, chat_format, tasks

    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.generate import generate
    from rl2f_hub.runs import write_rows

    samples = max(1, count // TASKS)
    run.recipe = run.recipe.model_copy(
        update={"generate": run.recipe.generate.model_copy(update={"samples_per_task": samples})}
    )
    write_rows(run.path("tasks", "train.jsonl"), [one.to_row() for one in tasks(min(count, TASKS))])
    chat = chat_format()
    run.manifest["stages"]["generate"]["outputs"] |= generate(run, Student(Scripted(chat), chat, "scripted"))


def measured(count: int, characters: int, through: str | None = None) -> dict[str, Any]:
    """Publish `count` dialogues; figures of this process."""
    from recorded_run import recorded, task

    from rl2f_hub.localhub import LocalHub
    from rl2f_hub.runs import peak_rss_mib, write_rows

    with tempfile.TemporaryDirectory() as folder, LocalHub.start(Path(folder) / "hub") as hub:
        os.environ.update(hub.env())
        from rl2f_hub.publish import publish
        from rl2f_hub.publish.build import build

        run = recorded(Path(folder) / "run", [], preferences=True)
        played = time.perf_counter()
        if through:
            play(run, count)
        else:
            number = -1
            for number, rows in enumerate(shards(count, characters)):
                write_rows(run.path("generate", f"dialogues-{number:05d}.jsonl"), rows)
            write_rows(run.path("tasks", "train.jsonl"), [task(n).to_row() for n in range(1000)])
            outputs = run.manifest["stages"]["generate"]["outputs"]
            outputs |= {"shards": number + 1, "counts": {"dialogues": count}}
        written = time.perf_counter() - played
        start_rss, began = peak_rss_mib(), time.perf_counter()
        index = build(run)
        built, build_rss = time.perf_counter(), peak_rss_mib()
        done = publish(run, "me")
        pushed = time.perf_counter()
        size = sum(f.stat().st_size for f in run.path("publish", "data").rglob("*.parquet"))
    assert done["rows"] == index["rows"]
    return {
        "dialogues": count,
        "rows": sum(index["rows"].values()),
        "files": sum(done["shards"].values()),
        "parquet_mib": round(size / 2**20, 1),
        "generate_s" if through else "written_s": round(written, 1),
        "build_s": round(built - began, 1),
        "push_s": round(pushed - built, 1),
        "peak_rss_mib": {"before": start_rss, "shards": build_rss, "pushed": peak_rss_mib()},
    }


if __name__ == "__main__":
    main()
