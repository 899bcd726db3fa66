"""A digest of dialogues, by part, to compare before and after a change that must not touch what is said.

    python tests/bench/dialogue_digest.py [--save FILE | --compare FILE]

Plays the student that comes with the package under every scripted teacher and control, with doubts, under every suite
of an evaluation, and in games. Two machines may differ in a last bit; compare on one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rl2f_hub.demo.players import tiny_players
from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.evaluation.suites import SUITES, Settings, environment_tasks, play
from rl2f_hub.recipe import SourceSpec, TeacherSpec
from rl2f_hub.records import Task, fingerprint
from rl2f_hub.tasks import load_tasks
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard

KINDS = ("scripted", "none", "try_again", "shuffled", "leaked", "careless", "misleading")
RANGE = {"verifier": "integer", "answer_range": (100, 999)}


def tasks_of(count: int) -> list[Task]:
    three = {"min_digits": 3, "max_digits": 3, "min_terms": 3, "max_terms": 3}
    wide = {"min_value": 100, "max_value": 999}
    sources = [
        SourceSpec(source="reasoning_gym:chain_sum", count=count, config=three, **RANGE),
        SourceSpec(source="reasoning_gym:lcm", count=count, config=wide, **RANGE),
        SourceSpec(source="reasoning_gym:simple_equations", count=count, config=wide | {"max_terms": 2}),
    ]
    return load_tasks({"eval": sources}, 7)["eval"]


def digests() -> dict[str, str]:
    import torch

    torch.set_num_threads(1)
    student = tiny_players()[1].student
    tasks, games = tasks_of(6), environment_tasks(1, 0)
    out: dict[str, str] = {"tasks": fingerprint([*tasks, *games])[:16]}
    for kind in KINDS:
        for doubt_rate in (0.0, 0.5):
            spec = TeacherSpec.model_validate({"kind": kind, "rate": 0.7, "doubt_rate": doubt_rate})
            teacher, guard = build_teacher(spec, student), Guard()
            sampling = Sampling(temperature=1.0, turn_tokens=6)
            rollouts = run_dialogues(
                [*tasks, *games], student, teacher, guard=guard, max_turns=5, sampling=sampling, seed=3
            )
            rows: list[Any] = [r.dialogue(student.name, teacher.name, sampling) for r in rollouts]
            name = f"{kind}, doubt_rate {doubt_rate}"
            out[name] = fingerprint(rows)[:16]
            out[f"{name}: ids"] = fingerprint([[r.ledger.ids, r.forked] for r in rollouts])[:16]
            out[f"{name}: guard"] = json.dumps({k: v for k, v in sorted(guard.counts.items()) if v})
    for plays_on in (False, True):
        settings = Settings(5, 6, temperature=1.0, plays_on=plays_on, gold_tasks=4, critique="role", critique_tokens=8)
        for suite in SUITES:
            rows = play(suite, games if SUITES[suite].own_tasks else tasks, student, settings, 5)
            out[f"suite {suite}, plays_on {plays_on}"] = fingerprint(rows)[:16]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--compare", type=Path)
    given = parser.parse_args()
    found = digests()
    if given.save:
        given.save.write_text(json.dumps(found, indent=1) + "\n")
    if given.compare:
        before = json.loads(given.compare.read_text())
        changed = [key for key in before if found.get(key) != before[key]]
        for key in changed:
            print(f"{key}\n  before {before[key]}\n  after  {found.get(key)}")
        print(f"{len(before) - len(changed)} of {len(before)} parts are the same")
        sys.exit(bool(changed))
    if not given.save:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
