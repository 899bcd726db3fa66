"""`rl2f eval show`: dialogues of an evaluation in the terminal, one after the other, without markup or control characters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.evaluation.logs import each_row, read_logs
from rl2f_hub.evaluation.written import clean
from rl2f_hub.runtime.console import output_console


def browse(
    folder: Path,
    suite: str | None,
    model: str | None,
    task: str | None,
    failures: bool,
    count: int,
    skip: int,
    as_json: bool,
) -> None:
    """Print the dialogues that fit; see `rl2f eval show --help`.

    Raises:
        UsageError: the folder holds no dialogues, or none that fit.
    """
    files = read_logs(folder)
    if not files:
        raise UsageError(f"{folder}: holds no dialogues; give the folder that `rl2f eval --out` or a run wrote")
    fitting = _fitting(each_row([f for f in files if suite in (None, f[1])]), model, task, failures)
    chosen = list(islice(fitting, skip, skip + count))
    if not chosen:
        suites = ", ".join(sorted({name for _, name, _ in files}))
        raise UsageError(
            f"{folder}: no dialogue fits; suites here: {suites}; loosen --suite, --model, --task or --skip"
        )
    if as_json:
        print(json.dumps(chosen, indent=1, ensure_ascii=False))
        return
    console = output_console(120)
    if console.is_terminal:
        with console.pager(styles=True):
            _print(chosen, console)
    else:
        _print(chosen, console)


def _fitting(rows: Any, model: str | None, task: str | None, failures: bool) -> Iterator[dict[str, Any]]:
    for row in rows:
        ended_right = bool(row["turns"]) and row["turns"][-1]["correct"]
        if (model or "") in row["model"] and (task or "") in row["task_id"] and not (failures and ended_right):
            yield row


def _print(rows: list[dict[str, Any]], console: Any) -> None:
    from rich.rule import Rule
    from rich.text import Text

    for row in rows:
        console.print(Rule(Text(clean(f"{row['task_id']}  {row['model']}  {row['suite']}")), align="left"))
        console.print(Text(clean(row["messages"][0]["content"])))
        for t, turn in enumerate(row["turns"], 1):
            mark, style = ("right", "bold green") if turn["correct"] else ("wrong", "bold red")
            if turn.get("gold_logp") is not None:
                mark += f", log p(reference) was {turn['gold_logp']:.2f}"
            if turn.get("accepted") is not None:
                mark += ", called right by itself" if turn["accepted"] else ", doubted by itself"
            console.print(Text(f"\nattempt {t}: {mark}", style=style))
            console.print(Text(clean(turn["attempt"]) or "(nothing)"))
            if turn["feedback"] is not None:
                console.print(
                    Text(f"\n{clean(row['teacher'])}{' (leak)' if turn['leaked'] else ''}", style="bold cyan")
                )
                console.print(Text(clean(turn["feedback"])))
        ending = f"solved at turn {row['solved_at']}" if row["solved_at"] else "not solved"
        console.print(Text(f"\n{ending}, ended by {row['stop_reason']}\n", style="dim"))
