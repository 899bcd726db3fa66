"""Writing with requirements: `source: "writing:hidden"` or `"writing:stated"`.

The student is asked for one sentence about a thing somewhere. What else the sentence must do (mention a train, be a
question, have at most eight words) stands in the prompt (`stated`: the student can check itself) or is known to the
teacher alone (`hidden`): an underspecified task whose missing part arrives as feedback, in the words that people use.
It is not a problem with one right answer, and single-turn RL has nothing to reinforce in the hidden form.

`config` may have `requirements: [least, most]` (default [1, 2]), `kinds` (default: `TRAINING_KINDS`) and `topics`
(`seen` or `unseen`). Item i of seed s is the same task for ever. The reference is one sentence, made by rule, that meets
everything: right, but not fine prose.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.records import Privilege, Task, fingerprint
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.writing.requirements import KINDS, TRAINING_KINDS, Requirement, draw_requirements
from rl2f_hub.tasks.writing.sentence import objections
from rl2f_hub.tasks.writing.topics import (
    PROMPTS,
    SETTINGS,
    THINGS,
    TONES,
    UNSEEN_SETTINGS,
    UNSEEN_THINGS,
    with_article,
)

FORMS = ("hidden", "stated")
TOPICS = {"seen": (THINGS, SETTINGS), "unseen": (UNSEEN_THINGS, UNSEEN_SETTINGS)}
_VERBS = ("stood", "waited", "rested", "arrived", "stayed")
_CLAUSES = ("for a while", "because everybody needed some quiet time", "before moving on")


def tasks(request: Request) -> Iterator[Task]:
    """Tasks in index order, without end.

    Raises:
        UsageError: an unknown form, config key or kind, or counts that cannot be.
    """
    config = _config(request)
    least, most = config["requirements"]
    things, settings = TOPICS[config["topics"]]
    key = fingerprint([request.name, config])[:8]
    index = -1
    while True:
        index += 1
        rng = random.Random(f"writing/{request.seed}/{index}")
        thing, setting = rng.choice(things), rng.choice(settings)
        wanted = draw_requirements(rng, config["kinds"], rng.randint(least, most), (thing,))
        tone = rng.choice(TONES)
        topic = f"{with_article(thing)} {setting}"
        prompt = rng.choice(PROMPTS).format(tone=f"{tone} " if tone else "", topic="{topic}", setting="{setting}")
        prompt = prompt.replace("{topic} {setting}", topic)
        example = example_sentence(thing, setting, wanted)
        if example is None or len(wanted) < least:
            continue
        if request.name == "stated":
            prompt += " It must " + _listed([r.described() for r in wanted]) + "."
        yield Task(
            task_id=f"writing-{request.name}-{key}-{request.seed}-{index}",
            source=f"writing:{request.name}",
            domain="writing",
            prompt=prompt,
            privilege=Privilege("answer", example),
            verifier="writing",
            config=json.dumps({"thing": thing, "requirements": [r.to_json() for r in wanted]}),
            seed=request.seed,
            split=request.split,
        )


def requirements_of(task: Task) -> list[Requirement]:
    """What the sentence must do beside being one about its thing."""
    return [Requirement(kind, value) for kind, value in task.settings["requirements"]]


def _config(request: Request) -> dict[str, Any]:
    if request.name not in FORMS:
        raise UsageError(f"{request.at}.source: writing:{request.name} is unknown{did_you_mean(request.name, FORMS)}")
    config = {"requirements": [1, 2], "kinds": list(TRAINING_KINDS), "topics": "seen", **request.spec.config}
    if unknown := set(config) - {"requirements", "kinds", "topics"}:
        raise UsageError(f"{request.at}.config: unknown key {min(unknown)!r}; known: requirements, kinds, topics")
    kinds = config["kinds"]
    if (
        not isinstance(kinds, list)
        or not kinds
        or (odd := next((k for k in kinds if k not in KINDS), None)) is not None
    ):
        said = (
            f"{odd!r} is unknown{did_you_mean(str(odd), KINDS)}" if isinstance(kinds, list) and kinds else "none given"
        )
        raise UsageError(f"{request.at}.config.kinds: {said}; known: {', '.join(KINDS)}")
    counts = config["requirements"]
    whole = isinstance(counts, list) and len(counts) == 2 and all(type(n) is int for n in counts)
    if not whole or not 1 <= counts[0] <= counts[1] <= len(kinds):
        raise UsageError(
            f"{request.at}.config.requirements: {str(counts)[:40]} is refused; give [least, most] of 1 to the number of kinds"
        )
    if config["topics"] not in TOPICS:
        raise UsageError(f"{request.at}.config.topics: {config['topics']!r} is unknown; choose seen or unseen")
    return config


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def example_sentence(thing: str, setting: str, wanted: Sequence[Requirement]) -> str | None:
    """A sentence about the thing that meets all of it, made by rule; None where the rule finds none."""
    needs = {r.kind: r.value for r in wanted}
    avoided = needs.get("avoid")
    extra = []
    if "include" in needs:
        extra.append(f"beside {with_article(needs['include'])}")
    if "name" in needs:
        extra.append(f"for {needs['name']}")
    if "number" in needs:
        extra.append(f"during {needs['number']} hours")
    colour = f"{needs['colour']} " if "colour" in needs else ""
    for verb in _VERBS:
        for article in ("the", "that", "our"):
            for place in (setting, "there"):
                for more in range(len(_CLAUSES) + 1):
                    subject = f"{article} {colour}{thing}"
                    head = f"could {subject} {_base_form(verb)}" if "question" in needs else f"{subject} {verb}"
                    parts = [
                        needs.get("first_word", ""),
                        head,
                        *extra,
                        place,
                        *_CLAUSES[:more],
                        needs.get("last_word", ""),
                    ]
                    text = " ".join(part for part in parts if part)
                    text = text[0].upper() + text[1:]
                    text += "?" if "question" in needs else "!" if "exclamation" in needs else "."
                    fits = avoided is None or KINDS["avoid"].check(text, avoided)
                    if fits and all(r.is_met(text) for r in wanted) and not any(objections(text, thing)):
                        return text
    return None


def _base_form(verb: str) -> str:
    return {"stood": "stand", "waited": "wait", "rested": "rest", "arrived": "arrive", "stayed": "stay"}[verb]
