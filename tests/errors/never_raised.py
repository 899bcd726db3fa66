"""Which errors of the package has no test seen? Runs tests and lists every `raise` that none of them reached.

    python tests/errors/never_raised.py tests/test_recipe.py tests/localhub     runs these, adds to what is known
    python tests/errors/never_raised.py --show [--only rl2f_hub/recipe/]        lists what no run has reached

What runs have reached is kept beside pytest's cache, by function and statement. Errors that no test can reach stand in
`UNREACHED` with the reason, and are not listed.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE / "hook"))

from raised_sites import KNOWN, sites  # noqa: E402  # the folder is made importable in the line above

CHILD = "raised in a process with a cleaned environment, which is not watched: {}"
UPSTREAM = CHILD.format("tests/localhub/test_hub_upstream.py")
NEVER = "an assumption of ours that never fails, said to the type checker or to whoever breaks it"
INSIDE = "raised within the sandbox, which nothing of the tests enters: tests/test_sandbox.py has what comes out"
LARGE = "takes hundreds of megabytes, or a thousand requests"
UNREACHED: dict[str, str] = {  # file, or file and function -> why no test is seen to reach what it raises
    "rl2f_hub/sandbox/inside/": INSIDE,
    "rl2f_hub/runtime/stopping.py _stop": CHILD.format("tests/faults/test_broken_runs.py"),
    "rl2f_hub/cli/localhub.py push_upstream": UPSTREAM,
    "rl2f_hub/localhub/upstream.py one_line": UPSTREAM,
    "rl2f_hub/localhub/upstream.py Upstream.push": UPSTREAM,
    "rl2f_hub/localhub/app.py App._user": CHILD.format("tests/localhub/test_hub_server.py"),
    "rl2f_hub/localhub/app.py App._body": LARGE,
    "rl2f_hub/localhub/files_api.py _lines": LARGE,
    "rl2f_hub/localhub/xet.py put_xorb": LARGE,
    "rl2f_hub/localhub/xet.py put_shard": LARGE,
    "rl2f_hub/localhub/collections_api.py add_item.edit": LARGE,
    "rl2f_hub/localhub/child.py bind": "the system has no port left",
    "rl2f_hub/localhub/discussions_api.py merge": "a branch deleted between two steps of one request",
    "rl2f_hub/sandbox/cell.py Cell.fork": "an interpreter that says that it is ready and dies before its first job, twice",
    "rl2f_hub/engines/continuous.py ContinuousSession.stream": "a fault of transformers' scheduler",
    "rl2f_hub/tasks/textarena/match.py _opened": "a draw without a game, which the source skips: caught where it is drawn",
    "rl2f_hub/tasks/textarena/match.py Match._opponent_moves": NEVER,
    "rl2f_hub/hub/card_merge.py _inside": NEVER,
    "rl2f_hub/hub/commit.py put": NEVER,
    "rl2f_hub/hub/commit.py patiently": NEVER,
    "rl2f_hub/teachers/audit/make.py _spelled": NEVER,
    "rl2f_hub/teachers/audit/spellings.py number_words": NEVER,
    "rl2f_hub/teachers/prompted.py PromptedTeacher._fits": "abstract",
    "rl2f_hub/teachers/prompted.py PromptedTeacher.ask": "abstract",
    "rl2f_hub/teachers/prompts/__init__.py _mark": "a thousand collisions of 64 bits",
}


FOLDERS = tuple(name for name in UNREACHED if name.endswith("/"))


def unreached(only: str = "") -> list[tuple[str, str]]:
    """`file:line` and statement of every site that no run has reached and `UNREACHED` does not explain."""
    seen = set(KNOWN.read_text(encoding="utf-8").split("\n")) if KNOWN.exists() else set()
    found = []
    for path in sorted((ROOT / "rl2f_hub").rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(only):
            for node, name in sites(ast.parse(path.read_text(encoding="utf-8"))).items():
                explained = f"{place} {name.partition(':')[0]}" in UNREACHED or any(
                    place.startswith(f) for f in FOLDERS
                )
                if f"{place} {name}" not in seen and not explained:
                    found.append((f"{place}:{node.lineno}", name))
    return found


def main(arguments: list[str]) -> int:
    if "--show" not in arguments:
        KNOWN.parent.mkdir(exist_ok=True)
        path = os.pathsep.join([str(HERE / "hook"), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        env = {**os.environ, "PYTHONPATH": path}
        code = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=env).returncode
        print(f"{len(unreached())} errors that no run so far has reached; --show lists them")
        return code
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else ""
    for place, name in unreached(only):
        print(f"{place}  {name[:240]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
