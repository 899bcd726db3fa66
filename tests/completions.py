"""Agreement of verdicts with the labels of `data/completions.jsonl`: what small real models wrote, judged by reading it.

    python tests/completions.py                        # `rl2f_hub.verify`
    python tests/completions.py --other math_verify    # math-verify's own metric, on numbers and formulas
    python tests/completions.py --other lighteval --python PYTHON   # in an environment that has lighteval

prints the agreement, the false accepts and false rejects, by verifier, and every disagreement; with `--other` both, on
the rows that the other one can judge.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl2f_hub.records import Privilege, Task, Verdict
from rl2f_hub.verify import verify_many

FILE = Path(__file__).parent / "data" / "completions.jsonl"
Row = dict[str, Any]

MATH_VERIFY = """
import json, sys
from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig
from math_verify.metric import math_metric
targets = (LatexExtractionConfig(), ExprExtractionConfig())
number, letter = math_metric(targets, targets), math_metric(*2 * ((StringExtractionConfig(),),))
def judge(row):
    try:
        return (letter if row["options"] else number)([row["gold"]], [row["attempt"]])[0] == 1
    except Exception:
        return False
print("JUDGED" + json.dumps([judge(row) for row in json.load(sys.stdin)]))
"""
LIGHTEVAL = """
import json, sys
from lighteval.metrics.dynamic_metrics import MultilingualExtractiveMatchMetric
from lighteval.metrics.utils.extractive_match_utils import ExprExtractionConfig, IndicesExtractionConfig
from lighteval.metrics.utils.extractive_match_utils import LatexExtractionConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from lighteval.utils.language import Language
numbers = (ExprExtractionConfig(), LatexExtractionConfig())
letters = (IndicesExtractionConfig(prefix_for_extraction="Letters"),)
number, letter = (MultilingualExtractiveMatchMetric(Language.ENGLISH, t, t) for t in (numbers, letters))
def judge(row):
    golds = [chr(65 + i) for i in range(row["options"])] or [row["gold"]]
    doc = Doc(query=row["prompt"], choices=golds, gold_index=golds.index(row["gold"]), task_name="completions")
    metric = letter if row["options"] else number
    return metric.compute(doc=doc, model_response=ModelResponse(text=[row["attempt"]])) == 1
print("JUDGED" + json.dumps([judge(row) for row in json.load(sys.stdin)]))
"""
OTHERS = {"math_verify": MATH_VERIFY, "lighteval": LIGHTEVAL}


def labelled() -> list[Row]:
    """All labelled completions."""
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def task_of(row: Row) -> Task:
    """The task behind a row."""
    config = json.dumps(row["config"], sort_keys=True)
    privilege = Privilege("answer", row["reference"])
    return Task("labelled", row["source"], "labelled", row["prompt"], privilege, row["verifier"], config)


def verdicts(rows: Sequence[Row]) -> list[bool]:
    """What `rl2f_hub.verify` says of each row; an error counts as refused."""
    judged = verify_many([(task_of(row), row["attempt"], ()) for row in rows])
    return [isinstance(verdict, Verdict) and verdict.correct for verdict in judged]


def judged_by(program: str, python: str, rows: Sequence[Row]) -> list[bool]:
    """What another metric says of each row, in a process of its own."""
    items = [
        {
            "gold": _gold(row),
            "options": len(row["config"].get("options", ())),
            "attempt": row["attempt"],
            "prompt": row["prompt"],
        }
        for row in rows
    ]
    run = subprocess.run([python, "-c", program], input=json.dumps(items), capture_output=True, text=True, check=False)
    found = [line for line in run.stdout.splitlines() if line.startswith("JUDGED")]
    if not found:
        raise SystemExit(f"{python} judged nothing: {run.stderr[-500:]}")
    return json.loads(found[-1].removeprefix("JUDGED"))


def _gold(row: Row) -> str | None:
    """The reference as math-verify and lighteval take it; None for words, lists and grids, which they do not judge."""
    gold = row["reference"].rsplit("####", 1)[-1].strip().strip("$")
    if row["verifier"] == "choice" or gold.removeprefix("-").isdecimal():
        return gold
    return f"${gold}$" if row["verifier"] == "math" or "\\" in gold or "/" in gold else None


def print_agreement(title: str, rows: Sequence[Row], said: Sequence[bool]) -> None:
    """The agreement by verifier, then each disagreement."""
    agreed: Counter[str] = Counter()
    for row, correct in zip(rows, said, strict=True):
        agreed[row["verifier"]] += correct == row["correct"]
    of = Counter(row["verifier"] for row in rows)
    accepts = sum(s and not r["correct"] for r, s in zip(rows, said, strict=True))
    rejects = sum(r["correct"] and not s for r, s in zip(rows, said, strict=True))
    right = sum(row["correct"] for row in rows)
    print(f"{title}: {agreed.total()} of {len(rows)} ({100 * agreed.total() / len(rows):.1f} %) as labelled")
    print(f"  wrong ones accepted {accepts} of {len(rows) - right}, right ones refused {rejects} of {right}")
    print("  " + ", ".join(f"{name} {agreed[name]}/{n}" for name, n in sorted(of.items())))
    for row, correct in zip(rows, said, strict=True):
        if correct != row["correct"]:
            verb = "accepts" if correct else "refuses"
            reference = row["reference"].rsplit("####", 1)[-1].strip()
            print(f"  {verb} [{row['source']}, {reference!r}] {row['attempt'][-160:]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", choices=sorted(OTHERS))
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the other metric")
    asked = parser.parse_args()
    rows = labelled()
    if asked.other:
        rows = [row for row in rows if _gold(row) is not None]
        print_agreement(asked.other, rows, judged_by(OTHERS[asked.other], asked.python, rows))
    print_agreement("rl2f_hub", rows, verdicts(rows))


if __name__ == "__main__":
    main()
