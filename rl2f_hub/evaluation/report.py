"""What people look at after an evaluation: the figure, the table in the terminal, the same table in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl2f_hub.evaluation.suites import SUITES
from rl2f_hub.recipe import Recipe

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


def draw_accuracy(result: dict[str, Any], recipe: Recipe, path: Path) -> None:
    """Cumulative accuracy by turn, one panel a suite, with 95 % bands; the last training turn is marked."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    students = result["students"]
    suites = [s for s in TITLES if s in next(iter(students.values()))]
    columns = 2 if len(suites) > 1 else 1
    rows = -(-len(suites) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5.2 * columns, 3.3 * rows), sharex=True, sharey=True, squeeze=False
    )
    turns = list(range(1, result["max_turns"] + 1))
    for axis, suite in zip(axes.flat, suites, strict=False):
        for name, label in LABELS.items():
            if name not in students:
                continue
            entry = students[name][suite]
            low, high = zip(*entry["ci95"], strict=True)
            axis.plot(turns, entry["acc_at_turn"], marker="o", ms=4, lw=2, color=COLORS[name], label=label)
            axis.fill_between(turns, low, high, color=COLORS[name], alpha=0.15, lw=0)
        axis.axvline(result["train_max_turns"], color="#666", lw=0.8, ls=":")
        axis.set_title(f"{TITLES[suite]} (n = {entry['n']})", fontsize=10)
        axis.set_ylim(0, 1)
        axis.set_xticks(turns)
        axis.grid(alpha=0.25)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("turn (dotted: last turn in training)")
    for axis in axes[:, 0]:
        axis.set_ylabel("solved by this turn")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=len(handles), frameon=False, bbox_to_anchor=(0.5, 1.0))
    figure.suptitle(f"{recipe.name}: greedy decoding, 95 % bootstrap bands, seed {recipe.seed}", y=1.03, fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(path, dpi=130, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def table_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header, then a row for each student and suite: accuracy at every turn, the interval at the last training turn."""
    turns, last = result["max_turns"], result["train_max_turns"]
    rows = [["student", "suite", *[f"turn {t}" for t in range(1, turns + 1)], f"95 % at turn {last}", "n"]]
    for name, suites in result["students"].items():
        for suite in (s for s in TITLES if s in suites):
            entry = suites[suite]
            low, high = entry["ci95"][last - 1]
            cells = [f"{100 * x:.1f}" for x in entry["acc_at_turn"]]
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


def print_tables(result: dict[str, Any], console: Any) -> None:
    """Accuracy by turn and the paired comparisons, as rich tables in percent."""
    from rich.table import Table

    for title, rows in (
        ("Cumulative accuracy by turn, % (greedy; resample: sampled)", table_rows(result)),
        ("Differences, points", comparison_rows(result)),
        ("Against misleading feedback", held_rows(result)),
    ):
        if len(rows) == 1:
            continue
        table = Table(title=title, title_justify="left")
        for i, name in enumerate(rows[0]):
            table.add_column(name, justify="left" if i < 1 or name == "suite" else "right")
        for row in rows[1:]:
            table.add_row(*row, style="bold" if row[0] == LABELS["rl2f"] else None)
        console.print(table)
