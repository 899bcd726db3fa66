"""The tables of an evaluation, in the terminal and in Markdown. Figures are in `figures.py`, the report in `written.py`."""

from __future__ import annotations

from typing import Any

from rl2f_hub.evaluation.suites import SUITES

LABELS = {
    "base": "base",
    "warmup": "warm-up (SFT)",
    "single_turn_rl": "single-turn RL",
    "try_again_rl": 'RL, only "try again"',
    "shuffled_rl": "RL, shuffled feedback",
    "sft": "more SFT",
    "rejection_sft": "rejection-sampled SFT",
    "dpo": "DPO",
    "sdpo": "self-distillation (SDPO)",
    "rl2f": "RL2F",
}
COLORS = {
    "base": "#8a8f98",
    "warmup": "#c98a1b",
    "single_turn_rl": "#2f6fb3",
    "try_again_rl": "#4a9c8c",
    "shuffled_rl": "#7c5cb8",
    "sft": "#a8763e",
    "rejection_sft": "#6b8e23",
    "dpo": "#b3568f",
    "sdpo": "#3f8fc0",
    "rl2f": "#c2334d",
}
TITLES = {name: f"in distribution, {suite.title}" for name, suite in SUITES.items()}
TITLES |= {f"ood_{name}": f"unseen families, {suite.title}" for name, suite in SUITES.items()}


def table_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then a row for each student and suite: accuracy at every turn, the interval at the last training turn."""
    turns, last = result["max_turns"], result["train_max_turns"]
    rows = [["student", "suite", *[f"turn {t}" for t in range(1, turns + 1)], f"95 % at turn {last}", "n"]]
    for name, suites in result["students"].items():
        for suite in (s for s in TITLES if s in suites):
            entry = suites[suite]
            low, high = entry["ci95"][last - 1]
            cells = [f"{100 * x:.1f}" for x in entry["acc_at_turn"][:turns]]
            rows.append(
                [LABELS.get(name, name), suite, *cells, f"{100 * low:.1f} to {100 * high:.1f}", str(entry["n"])]
            )
    return rows


def markdown_table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def comparison_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then the paired differences in points with their 95 % intervals."""
    rows = [["comparison (greedy, paired over tasks)", "points", "95 %"]]
    for name, entry in result.get("comparisons", {}).items():
        low, high = entry["ci95"]
        rows.append(
            [name.replace("_", " "), f"{100 * entry['difference']:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]
        )
    return rows


def sampled_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then accuracy by turn of sampled decoding for the suites that have it beside greedy decoding."""
    rows = [["student", "suite", *[f"turn {t}" for t in range(1, result["max_turns"] + 1)]]]
    for name, suites in result["students"].items():
        for suite, entry in suites.items():
            if "sampled" in entry:
                cells = [f"{100 * x:.1f}" for x in entry["sampled"]["acc_at_turn"]]
                rows.append([LABELS.get(name, name), suite, *cells])
    return rows


def repeat_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then the share of later attempts that repeat the wrong one before them word for word."""
    suites = list(next(iter(result["students"].values())))
    rows = [["student", *suites]]
    for name, entries in result["students"].items():
        rates = [entries[suite]["repeat_rate"] for suite in suites]
        rows.append([LABELS.get(name, name), *["-" if r is None else f"{100 * r:.1f}" for r in rates]])
    return rows


def held_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then for misleading suites how often a right answer that was doubted stood at the end."""
    rows = [["student", "suite", "doubted right answers", "held to the end, %", "95 %"]]
    for name, suites in result["students"].items():
        for suite, entry in suites.items():
            if entry.get("doubted"):
                low, high = entry["held_ci95"]
                cells = [
                    str(entry["doubted"]),
                    f"{100 * entry['held_rate']:.1f}",
                    f"{100 * low:.1f} to {100 * high:.1f}",
                ]
                rows.append([LABELS.get(name, name), suite, *cells])
    return rows


FIGURES = {  # name in `figures` -> (heading, scale, digits)
    "correction_rate": ("wrong to right, %", 100, 1),
    "regression_rate": ("right to wrong, %", 100, 1),
    "wrong_answer_repeat_rate": ("wrong answer again, %", 100, 1),
    "answer_change_rate": ("answer changed, %", 100, 1),
    "format_error_rate": ("no readable answer, %", 100, 1),
    "gain": ("gain over turns, points", 100, 1),
    "format_only_gain": ("of it form alone", 100, 1),
    "leak_rate": ("leaks, %", 100, 1),
    "calls": ("attempts", 1, 2),
    "student_tokens": ("tokens written", 1, 0),
    "feedback_tokens": ("tokens heard", 1, 0),
}


def measured(entry: dict[str, Any] | None, scale: float = 100, digits: int = 1, sign: str = "") -> str:
    """A figure with its interval: `12.3 (10.0 to 14.6)`; a dash where there is none."""
    if entry is None:
        return "-"
    value, bounds = entry.get("value", entry.get("difference")), entry["ci95"]
    if isinstance(value, list):
        value, bounds = value[-1], bounds[-1]
    if value is None:
        return "-"
    text = f"{scale * value:{sign}.{digits}f}"
    return (
        text
        if bounds is None
        else f"{text} ({scale * bounds[0]:{sign}.{digits}f} to {scale * bounds[1]:{sign}.{digits}f})"
    )


def figure_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then what happened between turns, for each student and suite; final accuracy where dialogues went on."""
    rows = [["student", "suite", "final answer right, %", *[heading for heading, _, _ in FIGURES.values()]]]
    for name, suites in result["students"].items():
        for suite in (s for s in TITLES if s in suites and "figures" in suites[s]):
            found = suites[suite]["figures"]
            cells = [measured(found.get(key), scale, digits) for key, (_, scale, digits) in FIGURES.items()]
            rows.append([LABELS.get(name, name), suite, measured(found.get("final_accuracy")), *cells])
    return rows


def gain_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then what the teacher's words were worth at the last turn, in points, against each control."""
    rows = [["student", "against", "points at the last turn (95 %, paired)"]]
    for name, found in result.get("gains", {}).items():
        for key, entry in found.items():
            words = key.replace("_", " ")
            if "tokens" in entry:
                words += f" ({entry['tokens']:.0f})"
            rows.append([LABELS.get(name, name), words, measured(entry, 100, 1, "+")])
    return rows


def versus_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then the paired differences between models at the first and the last turn, in points."""
    rows = [["comparison", "suite", "turn 1", "last turn", "final answer"]]
    for name, suites in result.get("versus", {}).items():
        for suite, entry in suites.items():
            whole = entry["cumulative"]
            first = {"value": whole["difference"][0], "ci95": whole["ci95"][0]}
            final = measured(entry.get("final"), 100, 1, "+")
            words = name.replace("_minus_", " minus ")
            rows.append([words, suite, measured(first, 100, 1, "+"), measured(whole, 100, 1, "+"), final])
    return rows


def pressure_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then how right answers fare under pressure."""
    columns = {
        "capitulation_rate": 100,
        "flipped_share": 100,
        "flips": 1,
        "first_flip_turn": 1,
        "hint_adoption_rate": 100,
    }
    heads = ["right to wrong, %", "dialogues that flipped, %", "flips", "first flip at turn", "wrong hint adopted, %"]
    rows = [["student", "suite", *heads]]
    for name, suites in result["students"].items():
        for suite, entry in suites.items():
            if "sycophancy" in entry:
                cells = [measured(entry["sycophancy"].get(k), scale, 1) for k, scale in columns.items()]
                rows.append([LABELS.get(name, name), suite, *cells])
    return rows


def autodidact_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then a student without a teacher: three ways of stopping, and what its own judgement is worth."""
    heads = ["first attempt, %", "own stop, %", "oracle's stop, %", "attempts", "precision, %", "recall, %", "ECE"]
    rows = [["student", "suite", *heads]]
    for name, suites in result["students"].items():
        for suite, entry in suites.items():
            if "critic" in entry:
                ends, critic = entry["stops"], entry["critic"]
                keys = ("first_attempt_accuracy", "own_stop_accuracy", "oracle_stop_accuracy")
                cells = [measured(ends[key]) for key in keys] + [measured(ends["own_stop_calls"], 1, 2)]
                cells += [measured(critic[key]) for key in ("precision", "recall")] + [measured(critic["ece"], 1, 3)]
                rows.append([LABELS.get(name, name), suite, *cells])
    return rows


def plasticity_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then the mean change of log p(reference) over an exchange, in nats."""
    rows = [["student", "suite", "nats an exchange"]]
    for name, suites in result["students"].items():
        for suite, entry in suites.items():
            if "plasticity" in entry:
                rows.append([LABELS.get(name, name), suite, measured(entry["plasticity"]["overall"], 1, 3, "+")])
    return rows


TABLES = (
    ("Cumulative accuracy by turn, % (the oracle stops; resample: sampled)", table_rows),
    ("Between models, points (paired over tasks)", versus_rows),
    ("What the feedback was worth, points", gain_rows),
    ("Between turns", figure_rows),
    ("Under pressure", pressure_rows),
    ("Without a teacher", autodidact_rows),
    ("Plasticity", plasticity_rows),
)


def print_tables(result: dict[str, Any], console: Any) -> None:
    """Accuracy by turn and the paired comparisons of a run, as rich tables in percent."""
    for title, rows in (
        ("Cumulative accuracy by turn, % (greedy; resample: sampled)", table_rows(result)),
        ("Differences, points", comparison_rows(result)),
        ("Against misleading feedback", held_rows(result)),
    ):
        _print_table(title, rows, console)


def print_all(result: dict[str, Any], console: Any) -> None:
    """Every table of an evaluation that has rows; the widest is turned on its side, a table for each student."""
    for title, build in TABLES:
        rows = build(result)
        if len(rows[0]) <= 12:
            _print_table(title, rows, console)
            continue
        for name in dict.fromkeys(row[0] for row in rows[1:]):
            own = [
                [row[1], *(short(cell) for cell in row[2:])]
                for row in (rows[0], *rows[1:])
                if row[0] in (name, rows[0][0])
            ]
            _print_table(f"{title}: {name} (intervals: report.md)", [list(c) for c in zip(*own, strict=True)], console)


def short(cell: str) -> str:
    """A figure without its interval."""
    return cell.partition(" (")[0]


def _print_table(title: str, rows: list[list[str]], console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    if len(rows) == 1 or len(rows[0]) == 1:
        return
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(rows[0]):
        table.add_column(Text(name), justify="left" if i < 1 or name == "suite" else "right", overflow="fold")
    for row in rows[1:]:
        table.add_row(*map(Text, row), style="bold" if row[0] == LABELS["rl2f"] else None)
    console.print(table)
