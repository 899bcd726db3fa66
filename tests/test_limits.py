"""What happens at the limits of a dialogue: a full context, a cut attempt, thinking, and a user who stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.context_window import Rules
from rl2f_hub.dialogue.runner import Rollout, Student, run_dialogues
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.engines import Engine, Sampled, Sampling, Session, Stream, tokens_of
from rl2f_hub.errors import UsageError
from rl2f_hub.recipe import Recipe
from rl2f_hub.records import Dialogue, StopReason, Task
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard

Make = Callable[..., Any]
DROP = Rules(history="drop_oldest")


def play(tasks: list[Task], student: Any, teacher: Any = None, **options: Any) -> list[Rollout]:
    settings: dict[str, Any] = {"max_turns": 4, "sampling": Sampling(1.0, 1.0, 8), "seed": 0, **options}
    return run_dialogues(tasks, student, teacher or build_teacher("scripted"), guard=Guard(), **settings)


class Speaker(Engine):
    """An engine that says what it is told and notes every prompt: all the ids that stand before an attempt.

    `say(seed, turn)` gives the text and whether the attempt ends itself.
    """

    def __init__(self, chat: ChatFormat, say: Callable[[int, int], tuple[str, bool]], context_length: int) -> None:
        self.chat, self.say, self.context_length = chat, say, context_length
        self.prompts: dict[tuple[int, int], list[int]] = {}
        self.sessions, self.cache_tokens = 0, 1 << 30

    def open(self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0) -> Any:
        self.sessions += 1
        return _Open(self, seeds)


class _Open(Session):
    def __init__(self, speaker: Speaker, seeds: list[int]) -> None:
        self.speaker, self.seeds = speaker, seeds
        self.held: dict[int, list[int]] = {}
        self.closed: set[int] = set()

    def restart(self, row: int) -> None:
        self.held.pop(row, None)
        self.closed.discard(row)

    def stream(self, rows: list[int], new_ids: list[list[int]], turns: Any, tokens: bool = True) -> Stream:
        self.closed |= set(self.held) - set(rows)
        assert not self.closed & set(rows), "rows left out once are closed until they are restarted"
        self.held = {r: [*self.held.get(r, []), *new] for r, new in zip(rows, new_ids, strict=True)}
        out = []
        for row, turn in zip(rows, turns, strict=True):
            seed = self.seeds[row]
            self.speaker.prompts[seed, turn] = list(self.held[row])
            text, stops = self.speaker.say(seed, turn)
            ids = [*self.speaker.chat._structure(text), *([self.speaker.chat.eos_id] if stops else [])]
            self.held[row] += ids
            out.append(Sampled(ids, [-1.0] * len(ids), stops))
        if tokens:
            yield from tokens_of(rows, out)
        return out


@pytest.fixture
def speaking(chat: ChatFormat) -> Make:
    def make(say: Callable[[int, int], Any], context_length: int = 100_000, own: ChatFormat | None = None) -> Student:
        form = own or chat

        def speak(seed: int, turn: int) -> tuple[str, bool]:
            said = say(seed, turn)
            return said if isinstance(said, tuple) else (said, True)

        return Student(Speaker(form, speak, context_length), form, "speaker")

    return make


# -- long histories --------------------------------------------------------------------------------------------------


def test_the_oldest_attempts_leave_and_the_question_stays(make_task: Make, speaking: Make, chat: ChatFormat) -> None:
    student = speaking(lambda seed, turn: str(500 + turn), 120)
    (rollout,) = play([make_task(12)], student, max_turns=12, rules=DROP, seeds=[5])
    assert rollout.stop_reason is StopReason.TURN_LIMIT
    assert rollout.forked
    assert [t.attempt for t in rollout.turns] == [str(500 + turn) for turn in range(1, 13)]
    seen_first = set()
    for turn in range(2, 13):
        text = chat._read(student.engine.prompts[5, turn])
        assert text.startswith(f"<|user|>{make_task(12).prompt}<|end|><|assistant|>")
        seen = [n for n in range(1, 13) if f"<|assistant|>{500 + n}<|end|>" in text]
        assert seen == list(range(seen[0], turn)), "an unbroken run that ends with the attempt before"
        assert len(student.engine.prompts[5, turn]) + 8 <= 120
        for n in seen:
            feedback = rollout.turns[n - 1].feedback
            assert feedback is not None
            assert feedback.text in text
        seen_first.add(seen[0])
    assert len(seen_first) > 3
    (stopped,) = play([make_task(12)], speaking(lambda seed, turn: str(500 + turn), 120), max_turns=12)
    assert stopped.stop_reason is StopReason.CONTEXT_FULL
    assert not stopped.forked
    assert [t.attempt for t in stopped.turns] == [t.attempt for t in rollout.turns[: len(stopped.turns)]]


@given(room=st.integers(20, 160), lengths=st.lists(st.integers(0, 12), min_size=3, max_size=3))
def test_ledgers_never_outgrow_the_context_and_others_do_not_notice(
    make_task: Make, speaking: Make, room: int, lengths: list[int]
) -> None:
    """Each dialogue says the same and is asked the same, alone and beside others that fork."""

    def student() -> Student:
        return speaking(lambda seed, turn: "5" * lengths[seed] + "7", room)

    tasks = [make_task(n) for n in range(3)]
    one = student()
    together = play(tasks, one, max_turns=6, rules=DROP, seeds=[0, 1, 2])
    for n, rollout in enumerate(together):
        assert rollout.stop_reason in (StopReason.TURN_LIMIT, StopReason.CONTEXT_FULL)
        assert len(rollout.ledger.ids) <= room or not rollout.turns
        other = student()
        (alone,) = play([tasks[n]], other, max_turns=6, rules=DROP, seeds=[n])
        assert alone.turns == rollout.turns
        assert alone.ledger == rollout.ledger
        for (seed, turn), prompt in other.engine.prompts.items():
            assert one.engine.prompts[seed, turn] == prompt


def test_without_a_fork_one_session_reads_everything_once(make_task: Make, speaking: Make) -> None:
    student = speaking(lambda seed, turn: "5")
    play([make_task(1), make_task(2)], student, rules=DROP)
    assert student.engine.sessions == 1


def test_a_real_student_forks_as_it_would_have_begun(
    products: list[Task], make_model: Make, make_student: Make
) -> None:
    rollouts = play(products, make_student(make_model(context=120)), max_turns=8, rules=DROP)
    assert any(r.forked for r in rollouts)
    assert {r.stop_reason for r in rollouts} <= {StopReason.TURN_LIMIT, StopReason.SOLVED}
    for rollout in rollouts:
        assert len(rollout.ledger.ids) <= 120
        assert len(rollout.ledger.logprobs) == sum(rollout.ledger.mask("student"))


# -- thinking --------------------------------------------------------------------------------------------------------


def test_stripped_thinking_is_recorded_but_not_seen_again(make_task: Make, speaking: Make, tokenizer: Any) -> None:
    own = ChatFormat(tokenizer, "strip")
    student = speaking(lambda seed, turn: f"<think>perhaps {turn}</think> {500 + turn}", own=own)
    (rollout,) = play([make_task(12)], student, max_turns=3, seeds=[1])
    assert [t.attempt for t in rollout.turns] == [f"<think>perhaps {n}</think> {500 + n}" for n in (1, 2, 3)]
    text = own._read(student.engine.prompts[1, 3])
    assert "perhaps" not in text
    assert "<|assistant|>501<|end|>" in text.replace(" 50", "50")
    assert "502<|end|>" in text
    assert rollout.forked
    kept = speaking(lambda seed, turn: f"<think>perhaps {turn}</think> {500 + turn}")
    (rollout,) = play([make_task(12)], kept, max_turns=3, seeds=[1])
    assert "perhaps 1" in own._read(kept.engine.prompts[1, 3])
    assert not rollout.forked


# -- cut attempts ----------------------------------------------------------------------------------------------------


def test_a_cut_attempt_is_marked_and_by_rule_the_last(make_task: Make, speaking: Make) -> None:
    def say(seed: int, turn: int) -> tuple[str, bool]:
        return {(0, 2): ("56", False), (1, 1): ("408", False)}.get((seed, turn), ("57", True))

    tasks = [make_task(12), make_task(12), make_task(12)]
    on = play(tasks, speaking(say), max_turns=3, seeds=[0, 1, 2])
    assert [[t.cut for t in r.turns] for r in on] == [[False, True, False], [True], [False] * 3]
    assert [r.stop_reason for r in on] == [StopReason.TURN_LIMIT, StopReason.SOLVED, StopReason.TURN_LIMIT]
    stop = play(tasks, speaking(say), max_turns=3, seeds=[0, 1, 2], rules=Rules(on_cut="stop"))
    assert [r.stop_reason for r in stop] == [StopReason.TOKEN_LIMIT, StopReason.SOLVED, StopReason.TURN_LIMIT]
    assert [len(r.turns) for r in stop] == [2, 1, 3]
    assert stop[0].turns[-1].feedback is None
    assert stop[2].turns == on[2].turns
    resampled = play(tasks, speaking(say), build_teacher("none"), seeds=[0, 1, 2], rules=Rules(on_cut="stop"))
    assert resampled[0].stop_reason is StopReason.TOKEN_LIMIT
    for rollout in (*on, *stop):
        row = rollout.dialogue("s", "t", Sampling()).to_row()
        assert Dialogue.from_row(row).to_row() == row
        assert [t["cut"] for t in row["turns"]] == [t.cut for t in rollout.turns]
        for turn in row["turns"]:
            del turn["cut"]
        assert not any(t.cut for t in Dialogue.from_row(row).turns), "rows of earlier versions are read too"


def test_a_real_student_is_cut_where_it_does_not_stop(
    products: list[Task], make_student: Make, chat: ChatFormat
) -> None:
    rollouts = play(products, make_student(), max_turns=2)
    cuts = [t.cut for r in rollouts for t in r.turns]
    assert 0 < sum(cuts) < len(cuts)
    for rollout in rollouts:
        for number, turn in enumerate(rollout.turns, 1):
            assert turn.cut == (rollout.ledger.of("student", number)[-1] not in chat.stop_ids)


# -- faults ----------------------------------------------------------------------------------------------------------


def test_a_question_too_long_leaves_the_others_as_they_were(
    products: list[Task], make_task: Make, make_model: Make, make_student: Make
) -> None:
    for teacher in ("scripted", "none"):
        student = make_student(make_model(context=200))
        long = make_task(1, prompt="why " * 300)
        sound = play(products, student, build_teacher(teacher), max_turns=3)
        beside = play([products[0], long, *products[1:]], student, build_teacher(teacher), max_turns=3)
        assert beside[1].stop_reason is StopReason.CONTEXT_FULL
        assert beside[1].turns == []
        rest = [beside[0], *beside[2:]]
        assert [[t.attempt for t in r.turns] for r in rest] == [[t.attempt for t in r.turns] for r in sound]


# -- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("teacher", ["scripted", "none"])
def test_a_user_who_stops_ends_what_is_under_way(make_task: Make, speaking: Make, teacher: str) -> None:
    asked = iter([False, False, True])
    tasks = [make_task(n) for n in (12, 13, 14, 15)]
    student = speaking(lambda seed, turn: "408" if seed == 0 else "5")
    rollouts = play(
        tasks, student, build_teacher(teacher), seeds=[0, 1, 2, 3], wave=2, cancelled=lambda: next(asked), max_turns=4
    )
    assert [r.stop_reason for r in rollouts] == [StopReason.SOLVED, *[StopReason.CANCELLED] * 3]
    assert [len(r.turns) for r in rollouts] == [1, 2, 1, 0]
    for rollout in rollouts:
        row = rollout.dialogue("s", "t", Sampling()).to_row()
        assert Dialogue.from_row(row).stop_reason is rollout.stop_reason


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, {bench!r})
import bench_generate as bench
from rl2f_hub.dialogue.runner import Student
from rl2f_hub.generate import generate
from rl2f_hub.recipe import Recipe
from rl2f_hub.runs import Run, write_rows

recipe = bench.recipe(2).model_dump()
recipe["generate"]["shard"] = 5
run = Run.open(Recipe.model_validate(recipe), Path({folder!r}), resume=True)
if not (run.dir / "tasks").is_dir():
    write_rows(run.path("tasks", "train.jsonl"), [t.to_row() for t in bench.tasks(12)])
chat = bench.chat_format()

class Slow(bench.Scripted):
    def generate(self, *args):
        begun = any(run.dir.glob("generate/dialogues-*.jsonl"))
        time.sleep({pause} * (2000 if begun else 1))  # after the first shard it waits for the signal
        return super().generate(*args)

with run.stage("generate") as outputs:
    outputs |= generate(run, Student(Slow(chat), chat, "scripted"))
"""


def test_an_interrupt_leaves_whole_shards_and_the_rest_is_made_the_same(tmp_path: Path) -> None:
    def program(folder: Path, pause: float) -> list[str]:
        bench = str(Path(__file__).parent / "bench")
        return [sys.executable, "-c", PROGRAM.format(bench=bench, folder=str(folder), pause=pause)]

    def shards(folder: Path) -> list[Path]:
        return sorted((folder / "generate").glob("*dialogues-*.jsonl*"))

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(program(whole, 0.0), check=True, timeout=900)
    rows = [[json.loads(line) for line in f.read_text().splitlines()] for f in shards(whole)]
    assert [len(shard) for shard in rows] == [5, 5, 5, 5, 4]
    asked = [(row["dialogue_id"], row["task_id"]) for shard in rows for row in shard]
    assert asked == [(f"product-{n}/{k}", f"product-{n}") for n in range(30, 42) for k in (0, 1)]
    process = subprocess.Popen(program(broken, 0.2), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list((broken / "generate").glob("dialogues-*.jsonl")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=900)[1]
    assert process.returncode != 0
    left = shards(broken)
    assert 0 < len(left) < 5
    assert all(len(f.read_text().splitlines()) == 5 for f in left)
    assert json.loads((broken / "manifest.json").read_text())["stages"]["generate"]["status"] == "failed"
    before = {f.name: f.stat().st_mtime_ns for f in left}
    subprocess.run(program(broken, 0.0), check=True, timeout=900)
    assert {f.name: f.read_text() for f in shards(broken)} == {f.name: f.read_text() for f in shards(whole)}
    assert {f.name: f.stat().st_mtime_ns for f in shards(broken) if f.name in before} == before, "made once"
    manifests = [json.loads((f / "manifest.json").read_text())["stages"]["generate"] for f in (whole, broken)]
    assert manifests[0]["outputs"] == manifests[1]["outputs"]
    assert [m["status"] for m in manifests] == ["done", "done"]
    assert "stop_cancelled" not in manifests[1]["outputs"]["counts"]


# -- what is said of it ----------------------------------------------------------------------------------------------


def test_timings_add_up_tokens_and_name_every_part(make_task: Make, speaking: Make, chat: ChatFormat) -> None:
    timings = Timings()
    assert timings.note() == ""
    rollouts = play([make_task(12), make_task(13)], speaking(lambda seed, turn: "5"), timings=timings)
    assert timings.student_tokens == sum(len(r.ledger.logprobs) for r in rollouts)
    assert all(seconds > 0 for seconds in timings.seconds.values())
    for part in ("tokens/s student", "student ", "teacher ", "verify "):
        assert part in timings.note()
    assert "tokens/s teacher" not in timings.note(), "no model wrote as teacher"


def recipe(**dialogue: Any) -> Recipe:
    source = {"source": "jsonl:none", "count": 1}
    return Recipe.model_validate(
        {
            "name": "small",
            "hub": {"dataset": "d", "adapter": "a", "base": "b"},
            "model": {"scratch": {"tasks": [source]}},
            "tasks": {"train": [source], "eval": [source]},
            "dialogue": dialogue,
        }
    )


@pytest.mark.parametrize(("key", "value", "fix"), [("thinking", "strip", "keep"), ("history", "drop_oldest", "stop")])
def test_rules_that_fork_are_not_for_training(key: str, value: str, fix: str, tmp_path: Path) -> None:
    from rl2f_hub.pipeline import run_stages
    from rl2f_hub.runs import STAGES, Run

    forking = recipe(**{key: value})
    with pytest.raises(UsageError, match=rf"dialogue\.{key}: {value} .*set {fix}") as caught:
        forking.check_trainable()
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=rf"dialogue\.{key}"):
        run_stages(Run.open(forking, tmp_path / "run"), STAGES)
    assert not (tmp_path / "run" / "base").exists(), "refused before anything was made"
    recipe(on_cut="stop", thinking="keep").check_trainable()
    assert len({recipe(**{key: value}).fingerprint, recipe().fingerprint}) == 2


def test_the_trainer_refuses_them_too(tmp_path: Path) -> None:
    from rl2f_hub.training.trainer import RL2FConfig

    for name, value in (("thinking", "strip"), ("on_cut", "maybe")):
        with pytest.raises(UsageError, match=f"{name}: '{value}'"):
            RL2FConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **{name: value})
