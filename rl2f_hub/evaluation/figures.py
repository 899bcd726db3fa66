"""The figures of an evaluation: accuracy by turn, the teacher beside its controls, plasticity. All with 95 % bands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl2f_hub.evaluation.report import COLORS, LABELS, TITLES
from rl2f_hub.kinds import SUITES

MORE_COLORS = ("#8a8f98", "#2f6fb3", "#c2334d", "#c98a1b", "#3f8f5b", "#7a4fa3", "#1f9aa6", "#a0522d")


def color_of(name: str, number: int) -> str:
    """The colour of a student: its own, or the next one for names that have none."""
    return COLORS.get(name, MORE_COLORS[number % len(MORE_COLORS)])


def draw_accuracy(result: dict[str, Any], title: str, path: Path) -> None:
    """Cumulative accuracy by turn, one panel a suite, with 95 % bands; the last training turn is marked."""
    plt = _pyplot()
    students = result["students"]
    suites = [s for s in TITLES if s in next(iter(students.values()))]
    columns = 2 if len(suites) > 1 else 1
    rows = -(-len(suites) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.3 * rows), sharey=True, squeeze=False)
    for axis, suite in zip(axes.flat, suites, strict=False):
        turns: list[int] = []
        for i, name in enumerate(students):
            color = color_of(name, i)
            entry = students[name][suite]
            turns = list(range(1, len(entry["acc_at_turn"]) + 1))
            low, high = zip(*entry["ci95"], strict=True)
            axis.plot(turns, entry["acc_at_turn"], marker="o", ms=4, lw=2, color=color, label=LABELS.get(name, name))
            axis.fill_between(turns, low, high, color=color, alpha=0.15, lw=0)
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
    figure.suptitle(title, y=1.03, fontsize=11)
    _save(figure, path, plt)


def draw_controls(result: dict[str, Any], path: Path) -> None:
    """One panel a student: cumulative accuracy by turn with the teacher and under every control that was played."""
    students = {
        name: {s: e for s, e in suites.items() if s in TITLES and not SUITES[s].own_tasks}
        for name, suites in result["students"].items()
    }
    students = {name: suites for name, suites in students.items() if len(suites) > 1}
    if not students:
        return
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(students), figsize=(4.6 * len(students) + 1.8, 3.6), sharey=True, squeeze=False)
    for axis, (name, suites) in zip(axes.flat, students.items(), strict=True):
        for i, (suite, entry) in enumerate(suites.items()):
            turns = range(1, len(entry["acc_at_turn"]) + 1)
            color = "#c2334d" if suite == "teacher" else MORE_COLORS[i % len(MORE_COLORS)]
            low, high = zip(*entry["ci95"], strict=True)
            axis.plot(turns, entry["acc_at_turn"], marker="o", ms=3, lw=2, color=color, label=suite.replace("_", " "))
            axis.fill_between(turns, low, high, color=color, alpha=0.1, lw=0)
        axis.set_title(LABELS.get(name, name), fontsize=10)
        axis.set_xlabel("turn")
        _plain(axis, (0, 1))
    axes[0, 0].set_ylabel("solved by this turn")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _save(figure, path, plt)


def draw_plasticity(result: dict[str, Any], path: Path) -> None:
    """Mean change of log p(reference) over each exchange, by student and suite; nothing where nothing was measured."""
    lines = [
        (name, suite, entry["plasticity"]["by_turn"])
        for name, suites in result["students"].items()
        for suite, entry in suites.items()
        if "plasticity" in entry
    ]
    if not lines:
        return
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    names = list(result["students"])
    for name, suite, found in lines:
        points = [
            (t, value, *bounds)
            for t, (value, bounds) in enumerate(zip(found["value"], found["ci95"], strict=True), 1)
            if value is not None and bounds is not None
        ]
        if points:
            turns, values, low, high = zip(*points, strict=True)
            color = color_of(name, names.index(name))
            style = "-" if suite.endswith("teacher") else ("--" if suite.endswith("try_again") else ":")
            label = f"{LABELS.get(name, name)}, {suite.replace('_', ' ')}"
            axis.plot(turns, values, style, marker="o", ms=3, color=color, label=label)
            axis.fill_between(turns, low, high, color=color, alpha=0.1, lw=0)
    axis.axhline(0, color="#666", lw=0.8)
    axis.set_xlabel("exchange (attempt and feedback)")
    axis.set_ylabel("change of log p(reference), nats")
    _plain(axis, None)
    axis.legend(frameon=False, fontsize=8)
    _save(figure, path, plt)


def _plain(axis: Any, limits: tuple[float, float] | None) -> None:
    if limits:
        axis.set_ylim(*limits)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _save(figure: Any, path: Path, plt: Any) -> None:
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(path, dpi=130, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
