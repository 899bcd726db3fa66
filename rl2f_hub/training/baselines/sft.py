"""SFT baselines: more of the published attempts, or the right ones of dialogues that the warm student has now.

`rejection_sft` is one round of expert iteration: the warm-up's student talks to the teacher until it has sampled as many
tokens as RL2F did in training, and learns the attempt that solved each dialogue, in its context. What it lacks beside
RL is every signal from attempts that were wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.context_window import Rules
from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling, derive_seed
from rl2f_hub.records import Dialogue
from rl2f_hub.runs import Run, read_rows, write_rows
from rl2f_hub.runtime.progress import bar
from rl2f_hub.students.load import as_student, load_tokenizer
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.judging import build_guard
from rl2f_hub.training.baselines import nothing_to_learn
from rl2f_hub.training.phase import base_of, trainable
from rl2f_hub.training.rows import Row, sft_rows
from rl2f_hub.training.warmup import chat_of, fit_sft, published_dialogues


def sft(run: Run, start: Path, rl2f: dict[str, Any]) -> dict[str, Any]:
    """More SFT on every published attempt."""
    return _fit(run, "sft", sft_rows(chat_of(run), published_dialogues(run)), start)


def rejection_sft(run: Run, start: Path, rl2f: dict[str, Any]) -> dict[str, Any]:
    """SFT on the right attempts of fresh dialogues; as many sampled tokens as RL2F."""
    file = run.path("train", "rejection_sft", "dialogues.jsonl")
    if not file.is_file():
        write_rows(file, _play(run, start, rl2f["student_tokens"]))
    dialogues = [Dialogue.from_row(row) for row in read_rows(file)]
    held = [d for d in dialogues if d.turns and d.turns[-1].verdict.correct]
    if not held:
        return nothing_to_learn(run, "rejection_sft", start, f"none of {len(dialogues)} dialogues was solved")
    return _fit(run, "rejection_sft", last_attempts(chat_of(run), held), start) | {"dialogues": len(dialogues)}


def last_attempts(chat: ChatFormat, dialogues: Iterable[Dialogue]) -> Iterator[Row]:
    """The SFT row of the attempt that ends each dialogue."""
    for dialogue in dialogues:
        *_, row = sft_rows(chat, [dialogue])
        yield row


def _play(run: Run, start: Path, tokens: int) -> list[dict[str, Any]]:
    """Rows of dialogues of the warm student with the run's teacher, a pass over the tasks at a time, up to `tokens`."""
    recipe = run.recipe
    student = as_student(trainable(run, start).eval(), load_tokenizer(base_of(run)), "warmup", recipe.dialogue.thinking)
    teacher = build_teacher(recipe.teacher, student, run.dir / "train")
    guard = build_guard(recipe.teacher, student, run.dir / "train")
    sampling = Sampling(temperature=recipe.train.temperature, turn_tokens=recipe.dialogue.turn_tokens)
    tasks = run.tasks("train")
    size = recipe.train.prompts_per_step * recipe.train.num_generations
    out: list[dict[str, Any]] = []
    sampled = played = 0
    with bar("train (rejection-sampled SFT): dialogues", tokens, "tokens") as advance:
        while sampled < tokens:
            jobs = [tasks[(played + i) % len(tasks)] for i in range(size)]
            rollouts = run_dialogues(
                jobs,
                student,
                teacher,
                guard=guard,
                max_turns=recipe.dialogue.max_turns,
                sampling=sampling,
                seed=recipe.seed,
                seeds=[derive_seed("rejection_sft", recipe.seed, played + i) for i in range(size)],
                rules=Rules(on_cut=recipe.dialogue.on_cut),
            )
            fresh = sum(len(r.ledger.logprobs) for r in rollouts)
            out += [r.dialogue("warmup", teacher.name, sampling).to_row() for r in rollouts]
            sampled, played = sampled + fresh, played + size
            advance(min(fresh, max(0, tokens - (sampled - fresh))))
    return out


def _fit(run: Run, name: str, rows: Iterable[Row], start: Path) -> dict[str, Any]:
    spec = run.recipe.train.offline
    steps = spec.steps or run.recipe.train.steps
    rate = spec.learning_rate or run.recipe.warmup.learning_rate
    label = {"sft": "train (more SFT)", "rejection_sft": "train (rejection-sampled SFT)"}[name]
    return fit_sft(run, ("train", name), rows, label, steps, spec.batch_size, rate, start)
