"""The long form of the fuzz tests: every reader of outside data, with so many cases in all, other ones in each part.

    python tests/faults/fuzz.py [--cases 100000] [--out FOLDER]

Each test of the three files is run in parts of at most 2,500 cases, each part in a process of its own: one that crashes
or hangs is found, and memory is freed. Cheap tests get most of the cases, each at least `SHARES` says. A table at the
end says what was run and what was found. With `--out` the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
PART = 2_500
SHARES = {  # test -> its share of the cases
    "test_fuzz_recipes.py::test_any_bytes_as_a_recipe": 10,
    "test_fuzz_recipes.py::test_a_good_recipe_with_one_part_changed": 4,
    "test_fuzz_recipes.py::test_any_text_as_an_override": 4,
    "test_fuzz_recipes.py::test_any_manifest_of_a_run": 6,
    "test_fuzz_rows.py::test_any_rows_become_tasks_or_are_counted": 6,
    "test_fuzz_rows.py::test_any_bytes_as_a_file_of_tasks": 8,
    "test_fuzz_rows.py::test_any_table_as_csv": 8,
    "test_fuzz_rows.py::test_any_columns_of_parquet_become_tasks_or_are_counted": 6,
    "test_fuzz_rows.py::test_a_damaged_parquet_file_is_read_or_refused": 6,
    "test_fuzz_rows.py::test_any_conversations_are_imported_or_counted": 4,
    "test_fuzz_models.py::test_any_reply_of_a_teacher": 12,
    "test_fuzz_models.py::test_any_body_of_an_endpoint": 8,
    "test_fuzz_models.py::test_any_attempt_gets_a_verdict": 10,
    "test_fuzz_models.py::test_any_chat_template": 4,
    "test_fuzz_models.py::test_any_template_of_a_teacher": 6,
    "test_fuzz_models.py::test_any_folder_as_an_adapter": 5,
    "test_fuzz_models.py::test_an_adapter_with_parts_changed_is_loaded_or_refused": 3,
}
PART_LIMIT_S = 3600.0


def parts(cases: int) -> list[tuple[str, int]]:
    """(test, cases) of every part."""
    out = []
    for test, share in SHARES.items():
        left = -(-cases * share // sum(SHARES.values()))
        while left > 0:
            out.append((test, min(PART, left)))
            left -= PART
    return out


def run_part(test: str, cases: int, seed: int) -> dict[str, object]:
    """Runs a part; `found` is empty or what pytest says of a failure."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        given = {"RL2F_FUZZ_CASES": str(max(cases, 51)), "RL2F_FUZZ_COUNTS": str(counts)}
        command = ["-q", "--no-header", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}", f"--basetemp={folder}/t"]
        began = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *command, str(HERE / test)],
                capture_output=True,
                text=True,
                env={**os.environ, **given},
                timeout=PART_LIMIT_S,
            )
            found = (
                ""
                if done.returncode == 0
                else f"exit code {done.returncode}: {done.stdout[-4000:]}{done.stderr[-500:]}"
            )
        except subprocess.TimeoutExpired:
            found = f"no end within {PART_LIMIT_S:.0f} s"
        ran = len(counts.read_text().splitlines()) if counts.is_file() else 0
        return {"test": test, "seed": seed, "cases": ran, "s": round(time.monotonic() - began, 1), "found": found}


def table(rows: list[dict[str, object]]) -> str:
    lines = ["| what is made up | cases | found |", "| --- | --- | --- |"]
    for test in SHARES:
        mine = [row for row in rows if row["test"] == test]
        name = test.partition("::")[2].removeprefix("test_").replace("_", " ")
        bad = sum(bool(row["found"]) for row in mine)
        lines.append(
            f"| {name} | {sum(int(str(r['cases'])) for r in mine):,} | {f'{bad} parts fail' if bad else 'nothing'} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="where parts.jsonl is kept [a temporary folder]")
    given = parser.parse_args()
    folder = (given.out or Path(tempfile.mkdtemp(prefix="rl2f-fuzz-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "parts.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    done = {(row["test"], row["seed"]) for row in rows}
    for seed, (test, cases) in enumerate(parts(given.cases)):
        if (test, seed) not in done:
            row = run_part(test, cases, seed)
            rows.append(row)
            with kept.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{row['s']:>7} s {row['cases']:>6} {test} {row['found']}", flush=True)
    print(table(rows))
    bad = [row for row in rows if row["found"]]
    print(f"{sum(row['cases'] for row in rows):,} cases, {len(bad)} parts with a finding")
    if given.out is None:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(bad))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(HERE.parents[1]))
    sys.exit(main())
