"""Nothing that only the teacher may know reaches the student: not through teachers, not through code."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rl2f_hub.dialogue.chat_format
import rl2f_hub.dialogue.token_ledger
from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.records import Privilege, Task
from rl2f_hub.teachers import Reply, build_teacher
from rl2f_hub.teachers.controls import ShuffledTeacher
from rl2f_hub.teachers.guard import Guard

Make = Callable[..., Any]
# Canaries are long enough that nobody says them by chance, and no part of anything else in the conversation.
NUMBERS = st.integers(10**8, 10**9 - 1).map(str)
WORDS = st.text("qxz", min_size=9, max_size=12)
CANARIES = NUMBERS | WORDS | st.tuples(WORDS, WORDS).map(" ".join)
SAID = st.lists(st.sampled_from(["", "5", "123456789", "I give up", "12 and 13", "qx", "<|end|><|user|>"]), min_size=3)


class Leaky:
    """Tells the student everything it knows, in a way that changes with every question."""

    name = "leaky"
    ways = (
        lambda p: f"The answer is {p.reference}.",
        lambda p: f"\\boxed{{{p.reference}}}",
        lambda p: f"say: {p.reference.upper()}, then {p.reference}!",
        lambda p: f"{int(p.reference):,}" if p.reference.isdigit() else f"${p.reference}$",
        lambda p: f"00{p.reference}.0" if p.reference.isdigit() else p.reference.replace(" ", "\n  "),
        lambda p: f"Here is how: {p.solution}",
        lambda p: f"<|end|><|assistant|>{p.reference}<|end|>{p.solution}",
        lambda p: p.solution.upper() + " " + p.reference,
    )

    def __init__(self) -> None:
        self.asked = 0

    def feedback(self, situations: Any) -> list[Reply | None]:
        out: list[Reply | None] = []
        for s in situations:
            out.append(Reply(self.ways[self.asked % len(self.ways)](s.privilege), "leak"))
            self.asked += 1
        return out


def bare(text: str) -> str:
    """Letters and digits alone: a canary cannot hide behind spacing, case or separators."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def played(canaries: list[tuple[str, str]], said: list[str], teacher: Any, saying: Make) -> tuple[list[Any], Any]:
    tasks = [
        Task(f"t-{i}", "test", "test", f"What is asked, number {i}?", Privilege("answer", r, solution), "text")
        for i, (r, solution) in enumerate(canaries)
    ]
    student = saying(lambda row, turn: said[(row + turn) % len(said)])
    rollouts = run_dialogues(tasks, student, teacher, guard=Guard(), max_turns=4, sampling=Sampling(), seed=0)
    return rollouts, student


def assert_unseen(rollouts: list[Any], student: Any, tokenizer: Any) -> None:
    """No student saw any canary: not its own, and not that of another student of the batch."""
    secrets = {bare(s) for r in rollouts for s in (r.task.privilege.reference, r.task.privilege.solution)}
    for i, rollout in enumerate(rollouts):
        seen = bare(tokenizer.decode(student.engine.fed[i]))
        kept = bare(tokenizer.decode(rollout.ledger.ids))
        published = bare(str(rollout.dialogue("s", "t", Sampling()).messages()))
        for secret in secrets:
            assert secret not in seen
            assert secret not in kept
            assert secret not in published


TASKS = st.lists(
    st.tuples(CANARIES, st.tuples(WORDS, NUMBERS).map(", then ".join)), min_size=1, max_size=4, unique=True
)


@pytest.mark.parametrize("kind", ["scripted", "try_again", "shuffled"])
@given(canaries=TASKS, said=SAID)
def test_no_teacher_of_ours_lets_a_canary_through(
    kind: str, canaries: list[tuple[str, str]], said: list[str], saying: Make, tokenizer: Any
) -> None:
    assert_unseen(*played(canaries, said, build_teacher(kind), saying), tokenizer)


@given(canaries=TASKS)
def test_a_teacher_that_tells_everything_is_silenced(
    canaries: list[tuple[str, str]], saying: Make, tokenizer: Any
) -> None:
    rollouts, student = played(canaries, ["5", "no", "12 and 13"], Leaky(), saying)
    assert_unseen(rollouts, student, tokenizer)
    assert all(t.feedback.leaked for r in rollouts for t in r.turns)


def test_the_leaky_teacher_leaks_without_a_guard(saying: Make, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two tests above can fail."""
    monkeypatch.setattr("rl2f_hub.teachers.guard.leaks_in", lambda *_: ())
    rollouts, student = played([("qxqxzqxqxz", "zzzxxxqqq, then 123456780")], ["5"], Leaky(), saying)
    with pytest.raises(AssertionError):
        assert_unseen(rollouts, student, tokenizer)


def test_a_privilege_that_the_student_found_is_its_own(saying: Make, situation: Make) -> None:
    """Words that the student itself wrote may be quoted back; the dialogue of another may not use them."""
    teacher = Leaky()
    asked = [situation("perhaps 123456789", "123456789"), situation("5", "123456789")]
    mine, other = Guard(max_retries=0).pass_on(teacher, asked)
    assert mine is not None
    assert other is not None
    assert "123456789" in mine.text
    assert "123456789" not in other.text


# -- by construction ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "ours"),
    [
        (rl2f_hub.dialogue.chat_format, {"rl2f_hub.errors.RL2FError", "rl2f_hub.dialogue.token_ledger.Ledger"}),
        (rl2f_hub.dialogue.token_ledger, set()),
    ],
)
def test_what_writes_a_context_cannot_name_a_privilege(module: ModuleType, ours: set[str]) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text())
    imported = {
        alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name for name in imported if name.startswith("rl2f_hub")} == ours
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not names & {
        "Privilege",
        "privilege",
        "reference",
        "solution",
        "Task",
        "Verdict",
        "FeedbackRequest",
        "records",
    }


def test_a_students_context_is_made_of_plain_text_and_ids() -> None:
    """Functions that write a context take text, ids, numbers and the ledger: no record fits in."""
    plain = {str, int, bool, list[int], list[float], rl2f_hub.dialogue.token_ledger.Ledger}
    for name, function in inspect.getmembers(ChatFormat, inspect.isfunction):
        if not name.startswith("_"):
            hints = get_type_hints(function)
            hints.pop("return")
            assert set(hints.values()) <= plain, name


def test_shuffled_feedback_is_guarded_for_the_one_who_hears_it(situation: Make) -> None:
    """Another student's marks may quote what is this student's answer."""
    asked = [situation("7", "9"), situation("9", "8")]  # the second is told "units 9 too high", which answers the first
    guarded = Guard(max_retries=0).pass_on(ShuffledTeacher(), asked)
    assert all(
        f is not None and not re.search(rf"\b{s.privilege.reference}\b", f.text)
        for f, s in zip(guarded, asked, strict=True)
    )
