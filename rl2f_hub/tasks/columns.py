"""Rows of any table -> tasks, by the column names that a source gives. Shared by Hub data sets and local files.

A row is outside data: a missing column, a null, a wrong type or a reference that the verifier cannot read stops the
load with the source, the row and the fix, or is skipped and counted (`on_bad_row: skip`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.kinds import OWN, VERIFIERS, load_own
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Privilege, Task
from rl2f_hub.tasks import Request, near_key
from rl2f_hub.verify import named, verifier_of
from rl2f_hub.verify.exact import LETTERS
from rl2f_hub.verify.plugin import settings_of as plugin_settings

_BRACES = re.compile(r"\{([A-Za-z_][\w. ]*)\}")

NEEDED = ("prompt", "reference", "tests")  # a source that names one of these columns needs it in every row
RESERVED = (
    "_config",
    "_verifier",
    "_domain",
)  # what a converter may add; a row's own columns of these names are dropped
Convert = Callable[[dict[str, Any]], dict[str, Any] | None]


class NoColumn(ValueError):
    """A row without a column that the source names."""


def rows_to_tasks(
    rows: Iterable[tuple[int, Any]],
    request: Request,
    *,
    unit: str = "row",
    prefix: str,
    convert: Convert | None = None,
    leave_out_unreadable: bool = False,
) -> Iterator[Task]:
    """Tasks from (number, row) pairs; a row may be the exception that reading it gave.

    Args:
        unit: what the number counts (`line`, `row`), for errors.
        prefix: what the ids of tasks without an id column begin with.
        convert: turns a row into one with the columns that the source names, for rows that need more than renaming;
            raises ValueError on a bad row, gives None for a good one that is no task (counted as `filtered`). It may add
            `_config` (settings of the verifier), `_verifier` and `_domain`.
        leave_out_unreadable: a row whose reference the verifier cannot read is `filtered`, not bad.
    Raises:
        UsageError: a bad row, unless the source skips them.
    """
    request.report.setdefault("bad_rows", 0)
    if convert or leave_out_unreadable:
        request.report.setdefault("filtered", 0)
    if request.spec.where:
        request.report.setdefault("elsewhere", 0)  # good rows that `where` does not want
    keys: dict[str, str] = {}  # id -> what was asked under it
    for number, row in rows:
        try:
            if isinstance(row, Exception):
                raise ValueError(str(row))
            if not isinstance(row, dict):
                raise ValueError("not an object with named fields")
            if not _wanted(row, request.spec.where):
                request.report["elsewhere"] += 1
                continue
            row = {name: value for name, value in row.items() if name not in RESERVED}
            converted = convert(row) if convert else row
            task = None if converted is None else _task(converted, request, f"{prefix}-{number}")
            if task is not None and not _checked(task, leave_out_unreadable):
                task = None
            if task is None:
                request.report["filtered"] += 1
                continue
            if (
                keys.setdefault(task.task_id, key := near_key(task.prompt)) != key
            ):  # a row that comes twice is a duplicate
                raise ValueError(f"its id {task.task_id[:60]!r} is that of an earlier row with another question")
        except ValueError as error:
            if request.spec.on_bad_row != "skip":
                named = (
                    "give the source its column names (`prompt: ...`, `reference: ...`), "
                    if isinstance(error, NoColumn)
                    else ""
                )
                raise UsageError(
                    f"{request.at}: {request.spec.source}, {unit} {number}: {error}; "
                    f"{named}mend the row or set `on_bad_row: skip`"
                ) from None
            request.report["bad_rows"] += 1
            continue
        yield task


def _checked(task: Task, leave_out_unreadable: bool) -> bool:
    """Whether the verifier can use the task's reference."""
    try:
        verifier_of(task).check(task)
    except ValueError:
        if not leave_out_unreadable:
            raise
        return False
    return True


def _wanted(row: dict[str, Any], where: dict[str, Any]) -> bool:
    return all(
        any(_same(column_of(row, column), one) for one in (value if isinstance(value, list) else [value]))
        for column, value in where.items()
    )


def _same(found: Any, wanted: Any) -> bool:
    """Whether a value is the one of the recipe; a text (all that CSV has) may also write the number or truth value."""
    if isinstance(found, str) and isinstance(wanted, bool | int | float):
        return found.strip().casefold() == str(wanted).casefold()
    return bool(found == wanted)


def column_of(row: dict[str, Any], name: str) -> Any:
    """The value of a column; `a.b` reaches into a nested one.

    Raises:
        NoColumn: there is none of this name.
    """
    if name in row:
        return row[name]
    node: Any = row
    path = ""
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            known = [f"{path}{key}" for key in node] if isinstance(node, dict) else []
            raise NoColumn(f"no column {name!r}{did_you_mean(name, known)}")
        node, path = node[part], f"{path}{part}."
    return node


def _has(row: dict[str, Any], name: str) -> bool:
    try:
        return column_of(row, name) not in (None, "")
    except ValueError:
        return False


def _text(row: dict[str, Any], field: str, name: str) -> str:
    """A column as text; for `prompt` also a template with columns in braces."""
    if field == "prompt" and _BRACES.search(name):
        return _BRACES.sub(lambda m: _plain(column_of(row, m[1]), m[1]), name)
    return _plain(column_of(row, name), name)


def _plain(value: Any, name: str) -> str:
    if isinstance(value, str):
        return _whole(value, name)
    if value is None or value != value:  # NaN is how a float column says null
        raise ValueError(f"column {name!r} is empty (null)")
    if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
        raise ValueError(f"column {name!r} is {str(value)[:60]!r} ({type(value).__name__}), a text or number is needed")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _whole(json.dumps(value, ensure_ascii=False), name) if isinstance(value, list | dict) else str(value)


def _whole(text: str, name: str) -> str:
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"column {name!r} holds half a character (a lone surrogate), a text is needed")
    if "\0" in text:
        raise ValueError(f"column {name!r} holds a NUL, a text is needed")
    return text


def _task(row: dict[str, Any], request: Request, default_id: str) -> Task:
    spec = request.spec
    verifier = spec.verifier or row.get("_verifier", "text")
    settings: dict[str, Any] = dict(row.get("_config", {}))
    if spec.verifier is not None and spec.verifier.startswith(OWN):
        load_own(spec.verifier, f"{request.at}.verifier")  # before there are tasks of it
        verifier, settings = "python", settings | plugin_settings(spec.verifier, {})
    elif (
        not isinstance(verifier, str)
        or verifier not in VERIFIERS
        or (
            named(verifier).needs_its_source and "plugin" not in settings  # which only a class of the user's own has
        )
    ):
        raise ValueError(f"verifier {str(verifier)[:60]!r} is unknown{did_you_mean(str(verifier), VERIFIERS)}")
    values = {
        field: _text(row, field, name)
        for field in ("id", "prompt", "reference", "solution", "tests", "domain")
        if (name := getattr(spec, field)) is not None and (field in NEEDED or _has(row, name))
    }
    prompt = values.get("prompt", "").strip()
    if not prompt:
        raise ValueError(f"column {spec.prompt!r} is empty")
    if verifier in ("math", "integer") and "####" in (worked := values.get("reference", "")):
        # a worked solution that ends in `#### answer`, as GSM8K writes it: the answer alone is the reference
        values = {"solution": worked} | values | {"reference": worked.rsplit("####", 1)[-1].strip()}
    if spec.choices is not None:
        found = column_of(row, spec.choices)
        options = _options(found, spec.choices)
        prompt += "\n" + "\n".join(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
        values["reference"] = _letter(column_of(row, spec.reference or "reference"), options, _labels(found))
        settings["options"] = options
    if verifier == "text":
        settings |= _spellings(row, spec, values["reference"])
    kind = "tests" if "tests" in values else "solution" if "solution" in values else "answer"
    return Task(
        task_id=values.get("id") or default_id,
        source=spec.source,
        domain=values.get("domain") or str(row.get("_domain", "text")),
        prompt=prompt,
        privilege=Privilege(kind, values.get("reference", ""), values.get("solution", ""), values.get("tests", "")),
        verifier=verifier,
        config=json.dumps(settings, sort_keys=True, ensure_ascii=False),
        seed=request.seed,
        split=request.split,
    )


def _spellings(row: dict[str, Any], spec: SourceSpec, reference: str) -> dict[str, Any]:
    """What the verifier `text` is told beside the reference: other right answers, and whether diacritics count."""
    known: Any = spec.aliases.get(reference, []) if isinstance(spec.aliases, dict) else []
    if isinstance(spec.aliases, str):
        known = column_of(row, spec.aliases)
        known = known.split("|") if isinstance(known, str) else known or []
    if not isinstance(known, list):
        raise ValueError(f"column {spec.aliases!r} is {str(known)[:60]!r}, a list of texts is needed")
    aliases = [alias for value in known if (alias := _plain(value, "aliases").strip())]
    return ({"aliases": aliases} if aliases else {}) | ({"fold": True} if spec.fold else {})


def _options(value: Any, name: str) -> list[str]:
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # {"text": [...], "label": [...]}, as in ARC
        value = value["text"]
    if not isinstance(value, list) or not 2 <= len(value) <= len(LETTERS):
        raise ValueError(f"column {name!r} is {str(value)[:60]!r}, a list of 2 to {len(LETTERS)} choices is needed")
    return [_plain(option, name) for option in value]


def _labels(value: Any) -> list[str]:
    labels = value.get("label") if isinstance(value, dict) else None
    return [str(label) for label in labels] if isinstance(labels, list) else []


def _letter(value: Any, options: list[str], labels: list[str]) -> str:
    """The letter of the right choice, given as its label, its text, a letter or a number that counts from 0."""
    if str(value) in labels[: len(options)]:  # labels that the row itself gives, such as "1" to "4"
        return LETTERS[labels.index(str(value))]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
        return LETTERS[value]
    if isinstance(value, str):
        if value in options:
            return LETTERS[options.index(value)]
        if value.strip().upper() in LETTERS[: len(options)] and len(value.strip()) == 1:
            return value.strip().upper()
        if re.fullmatch(r"[0-9]{1,2}", value.strip()) and int(value) < len(options):
            return LETTERS[int(value)]
    raise ValueError(f"reference {value!r} names none of the {len(options)} choices")
