"""A verifier of your own: the attempt holds the words of the reference, in any order.

    tasks:
      train:
        - {source: "jsonl:my_tasks.jsonl", count: 100, verifier: "python:my_verifier.py:same_words"}

It runs in a child process that is stopped after ten seconds, and needs `--allow-local-code`.
"""

from rl2f_hub import Task, Verdict


def same_words(task: Task, attempt: str) -> Verdict:
    wanted, said = set(task.privilege.reference.split()), set(attempt.split())
    score = len(wanted & said) / len(wanted)
    return Verdict(wanted == said, score, attempt, f"{len(wanted & said)} of {len(wanted)} words")


def mentions(task: Task, attempt: str) -> bool:
    """True and False will do, and so will a score from 0 to 1."""
    return task.privilege.reference in attempt
