"""The source `writing`: tasks, the verifier that wants real sentences, and what the scripted teacher says."""

from __future__ import annotations

import json
import random
from itertools import islice
from typing import Any

import pytest

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Privilege, Task
from rl2f_hub.tasks import request_for, stream
from rl2f_hub.tasks.writing import requirements_of
from rl2f_hub.tasks.writing.requirements import HELD_OUT_KINDS, KINDS, TRAINING_KINDS, Requirement, draw_requirements
from rl2f_hub.tasks.writing.sentence import objections, unwrap
from rl2f_hub.tasks.writing.topics import SETTINGS, THINGS, UNSEEN_SETTINGS, UNSEEN_THINGS
from rl2f_hub.teachers.base import FeedbackRequest
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.verify import named, verify

EVERY = {"kinds": list(KINDS), "requirements": [1, 3]}


def some(count: int, form: str = "hidden", seed: int = 0, **config: Any) -> list[Task]:
    spec = SourceSpec(source=f"writing:{form}", count=count, config=config)
    return list(islice(stream(request_for(spec, "tasks.train[0]", seed)), count))


def task_of(thing: str, *wanted: tuple[str, str]) -> Task:
    config = json.dumps({"thing": thing, "requirements": [list(w) for w in wanted]})
    return Task(
        "w-1",
        "writing:hidden",
        "writing",
        f"Write one sentence about a {thing}.",
        Privilege("answer", ""),
        "writing",
        config,
    )


def request_of(task: Task, attempt: str, seed: int = 0) -> FeedbackRequest:
    return FeedbackRequest(
        task.prompt,
        task.domain,
        (attempt,),
        (),
        verify(task, attempt),
        task.privilege,
        seed,
        task.verifier,
        one_answer=False,
    )


@pytest.mark.parametrize("form", ["hidden", "stated"])
def test_every_reference_is_accepted_and_its_requirements_are_needed(form: str) -> None:
    for task in some(150, form, **EVERY):
        named("writing").check(task)
        assert verify(task, f'"{task.privilege.reference}"').correct, "quotation marks are no part of the sentence"
        assert not verify(task, "").correct and not verify(task, task.prompt).correct
        for requirement in requirements_of(task):
            broken = _without(requirement, task.privilege.reference)
            if broken is not None:
                assert not verify(task, broken).correct, (requirement, broken)


def _without(requirement: Requirement, sentence: str) -> str | None:
    """The sentence without what a requirement wants; None where that is not one word or mark."""
    if requirement.kind in ("question", "exclamation"):
        return sentence[:-1] + "."
    if requirement.kind in ("include", "colour", "number", "name", "first_word", "last_word"):
        word = requirement.value
        return sentence.replace(word, "thing" if word[0].islower() else "Here", 1)
    return None


def test_prompts_are_many_and_the_same_for_a_seed() -> None:
    prompts = [task.prompt for task in some(3000)]
    assert len(set(prompts)) > 2900
    assert [t.prompt for t in some(40, seed=3)] == [t.prompt for t in some(40, seed=3)]
    assert [t.prompt for t in some(40, seed=3)] != [t.prompt for t in some(40, seed=4)]


def test_hidden_requirements_are_in_no_prompt_and_stated_ones_are() -> None:
    for task in some(100, "hidden", **EVERY):
        for requirement in requirements_of(task):
            assert requirement.described() not in task.prompt
        assert "must" not in task.prompt
    for task in some(100, "stated", **EVERY):
        assert all(requirement.described() in task.prompt for requirement in requirements_of(task))


def test_unseen_topics_and_kinds_are_apart() -> None:
    assert not set(THINGS) & set(UNSEEN_THINGS) and not set(SETTINGS) & set(UNSEEN_SETTINGS)
    assert not set(TRAINING_KINDS) & set(HELD_OUT_KINDS) and {*TRAINING_KINDS, *HELD_OUT_KINDS} == set(KINDS)
    unseen = some(80, topics="unseen", kinds=list(HELD_OUT_KINDS))
    assert {json.loads(task.config)["thing"] for task in unseen} <= set(UNSEEN_THINGS)
    assert {r.kind for task in unseen for r in requirements_of(task)} <= set(HELD_OUT_KINDS)


TRICKS = {  # what a policy may find, and was found to find
    "a word again and again": "A lamp is a lamp that is a lamp.",
    "the feedback copied": "Add a train to it.",
    "only the words": "Lamp train.",
    "a list of words": "Lamp, train, morning, red, seven, Maria.",
    "two sentences": "The lamp shines in the morning. A train passes by.",
    "no end": "The lamp shines near a train in the morning",
    "no capital": "the lamp shines near a train in the morning.",
    "another topic": "A train leaves the station in the morning.",
    "a plural as another word": "The lamp saw many lamps on a train today.",
    "nothing but small words": "It is in the lamp and on the train.",
    "both marks": "Is the lamp on a train in the morning?!",
    "many lines": "The lamp\nshines.\nThe train\nleaves.",
    "an explanation behind": "The lamp shines on a train. I added a train as you asked.",
    "only the topic": "The lamp shines brightly in the quiet morning.",
}


@pytest.mark.parametrize("name", TRICKS)
def test_what_is_no_real_sentence_is_not_paid(name: str) -> None:
    assert not verify(task_of("lamp", ("include", "train")), TRICKS[name]).correct


@pytest.mark.parametrize(
    "sentence",
    [
        "A small lamp shines in the window of the train.",
        "The lamp on the early train was still warm in the morning.",
        "“The lamp glowed while the train rolled past the sleeping houses.”",
        "**In the morning, Tom’s lamp fell off the train!**",
        "Who left the lamp on the train this morning?",
    ],
)
def test_real_sentences_are_accepted(sentence: str) -> None:
    assert verify(task_of("lamp", ("include", "train")), sentence).correct


def test_copies_of_the_feedback_are_named() -> None:
    said = "The lamp should stand near a train in the snow."
    assert any("own" in o for o in objections("The lamp should stand near a train today.", "lamp", feedback=[said]))
    assert not any(objections("A lamp lit up the train as it left.", "lamp", feedback=[said]))


def test_the_public_reason_never_names_a_hidden_requirement() -> None:
    for task in some(100, **EVERY):
        thing = json.loads(task.config)["thing"]
        verdict = verify(task, f"The old {thing} looked rather lonely near our house.")
        if not verdict.correct:
            values = [
                r.value for r in requirements_of(task) if r.value and r.value not in ("the", "is", "in", "was", "and")
            ]
            assert not any(value in verdict.reason for value in values)
            assert json.loads(verdict.observation)["unmet"]


def test_the_teacher_asks_for_what_is_missing_and_the_guard_lets_it() -> None:
    guard = Guard()
    for task in some(120, **EVERY):
        thing = json.loads(task.config)["thing"]
        request = request_of(task, f"The old {thing} looked rather lonely near our house.", seed=task.seed)
        if request.verdict.correct:
            continue
        unmet = [Requirement(*pair) for pair in json.loads(request.verdict.observation)["unmet"]]
        [reply] = ScriptedTeacher("full", 5).feedback([request])
        assert reply.kind == "requirement"
        assert any(not r.value or r.value.casefold() in reply.text.casefold() for r in unmet)
        [heard] = guard.wrap(ScriptedTeacher("full", 5)).feedback([request])
        assert heard is not None and heard.text == reply.text and not heard.leaked
        for weaker in ("place", "direction"):
            [reply] = ScriptedTeacher(weaker).feedback([request])
            values = [r.value for r in unmet if len(r.value) > 3]
            assert not any(value.casefold() in reply.text.casefold() for value in values)


def test_words_of_the_teacher_vary_and_say_what_they_mean() -> None:
    for kind, about in KINDS.items():
        assert len(set(about.phrasings)) >= 5
        value = about.draw(random.Random(1), ("lamp",))
        said = {Requirement(kind, value).asked_for(random.Random(n)) for n in range(60)}
        assert len(said) >= 4 and all(value.casefold() in text.casefold() for text in said)


def test_requirements_that_exclude_each_other_are_not_drawn_together() -> None:
    for seed in range(400):
        kinds = {r.kind for r in draw_requirements(random.Random(seed), list(KINDS), 3, ("lamp",))}
        assert not {"question", "exclamation"} <= kinds and not {"max_words", "min_words"} <= kinds


def test_unwrapping_takes_only_what_stands_around() -> None:
    assert unwrap(' **"The lamp is *very* old."** ') == "The lamp is *very* old."


@pytest.mark.parametrize(
    ("form", "config", "said"),
    [
        ("hiden", {}, "did you mean 'hidden'"),
        ("hidden", {"kind": ["include"]}, "unknown key 'kind'"),
        ("hidden", {"kinds": ["includes"]}, "did you mean 'include'"),
        ("hidden", {"kinds": []}, "none given"),
        ("hidden", {"requirements": [2, 1]}, "is refused"),
        ("hidden", {"requirements": 2}, "is refused"),
        ("hidden", {"topics": "new"}, "choose seen or unseen"),
    ],
)
def test_bad_settings_are_one_line(form: str, config: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        some(1, form, **config)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("tasks.train[0]")
