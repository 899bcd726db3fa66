"""The `tasks` section of a recipe: sources, how many tasks of each, and how a source's columns map onto a task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rl2f_hub.kinds import VERIFIERS
from rl2f_hub.recipe.base import Positive, Share, Spec, kind_name

VerifierName = Annotated[str, kind_name(VERIFIERS)]
COLUMN_FIELDS = ("id", "prompt", "reference", "solution", "tests", "choices", "domain")


class SourceSpec(Spec):
    """One task source and how many tasks to take from it.

    `source` is `reasoning_gym:<data set>`, `hub:<owner/name>`, `csv:<path>`, `tsv:<path>`, `jsonl:<path>`,
    `parquet:<path>`, `textarena:<environment>`, `python:<file>:<class>`, or the name of a preset (`rl2f tasks list`).

    The fields from `id` to `domain` name columns of a row (`a.b` reaches into a nested one); `prompt` may also be a
    template with columns in braces: `"{question} Choices: {options}"`.
    """

    source: str
    count: Positive  # tasks to take
    config: dict[str, Any] = {}  # what the source's own generator or class takes
    level: Annotated[int, Field(ge=0)] | None = None  # reasoning_gym: difficulty, 0 the easiest of its curriculum
    verifier: VerifierName | None = None  # who judges: docs/tasks.md; None: the source's own
    threshold: Share | None = None  # reasoning_gym: the score from which an answer counts as correct
    answer_range: tuple[int, int] | None = None  # keep only tasks whose whole-number answer lies in it
    on_bad_row: Literal["fail", "skip"] | None = None  # None: as `tasks.on_bad_row`
    id: str | None = None
    prompt: str | None = None
    reference: str | None = None  # column of the right answer
    solution: str | None = None  # column of a worked solution, which a teacher may be shown
    tests: str | None = None  # column of unit tests
    choices: str | None = None  # column of the options of a multiple choice
    domain: str | None = None
    aliases: str | dict[str, list[str]] | None = (
        None  # text: other right answers, a column (a list, or split at `|`) or by reference
    )
    fold: bool | None = None  # text: letters count without their diacritics
    thinking_marks: list[tuple[str, str]] | None = (
        None  # opening and closing marks of scratch work that verifiers do not know
    )
    subset: str | None = None  # hub: the data set's configuration
    split: str | None = None  # hub: train, test, ...
    revision: str | None = None  # hub: a commit, tag or branch; a branch is resolved and recorded
    streaming: bool = False  # hub: read rows in order until enough are found
    max_rows: Positive = 100_000  # a larger source must be streamed
    preset: str | None = None  # set where `source` is a preset's name: whose converter reads the rows
    where: dict[str, Any] = {}  # keep only rows whose columns have these values (or one of a list of values)


def _mix(value: Any) -> Any:
    """`{count: N, mix: [{source, weight}, ...]}` as a list with a count for each source, by largest remainder."""
    if not isinstance(value, dict):
        return value
    unknown = set(value) - {"count", "mix"}
    if unknown or "count" not in value or not value.get("mix"):
        raise ValueError("a weighted mix has the keys `count` and `mix` (a list of sources with `weight`) and no other")
    total, entries = value["count"], value["mix"]
    if not isinstance(total, int) or total < 1 or not isinstance(entries, list):
        raise ValueError("a weighted mix needs a whole `count` of at least 1 and a list `mix`")
    weights = []
    for entry in entries:
        weight = entry.get("weight", 1.0) if isinstance(entry, dict) else None
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0 or weight == float("inf"):
            raise ValueError(f"each source of a mix needs a `weight` above 0, this one has {weight!r}")
        if "count" in entry:
            raise ValueError("a source of a mix has a `weight`, not a `count`")
        weights.append(float(weight))
    shares = [total * w / sum(weights) for w in weights]
    counts = [int(s) for s in shares]
    for i in sorted(range(len(shares)), key=lambda i: (counts[i] - shares[i], i))[: total - sum(counts)]:
        counts[i] += 1
    named = [{k: v for k, v in e.items() if k != "weight"} | {"count": n} for e, n in zip(entries, counts, strict=True)]
    return [entry for entry in named if entry["count"]]


Sources = Annotated[list[SourceSpec], BeforeValidator(_mix)]


class TasksSpec(Spec):
    """The splits of a run: each a list of sources with counts, or `{count, mix}` with weights."""

    train: Annotated[Sources, Field(min_length=1)]  # dialogues are generated and RL is done on these
    eval: Annotated[Sources, Field(min_length=1)]  # held-out tasks of the same kind
    ood: Sources = []  # held-out tasks of kinds that training never sees
    on_bad_row: Literal["fail", "skip"] = "fail"  # for sources that do not say
