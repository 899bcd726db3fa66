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
from rl2f_hub.records import Privilege, Task
from rl2f_hub.tasks import Request
from rl2f_hub.verify.exact import LETTERS

_BRACES = re.compile(r"\{([A-Za-z_][\w. ]*)\}")

NEEDED = ("prompt", "reference", "tests")  # a source that names one of these columns needs it in every row
NEED_THEIR_SOURCE = ("reasoning_gym", "environment", "python")  # verifiers that work on their own source's tasks only
Convert = Callable[[dict[str, Any]], dict[str, Any]]


def rows_to_tasks(
    rows: Iterable[tuple[int, Any]],
    request: Request,
    *,
    unit: str = "row",
    prefix: str,
    convert: Convert | None = None,
) -> Iterator[Task]:
    """Tasks from (number, row) pairs; a row may be the exception that reading it gave.

    Args:
        unit: what the number counts (`line`, `row`), for errors.
        prefix: what the ids of tasks without an id column begin with.
        convert: turns a row into one with the columns that the source names, for rows that need more than renaming;
            raises ValueError on a bad row. It may add `_config` (settings of the verifier), `_verifier` and `_domain`.
    Raises:
        UsageError: a bad row, unless the source skips them.
    """
    request.report.setdefault("bad_rows", 0)
    for number, row in rows:
        try:
            if isinstance(row, Exception):
                raise ValueError(str(row))
            if not isinstance(row, dict):
                raise ValueError("not an object with named fields")
            if not _wanted(row, request.spec.where):
                continue
            task = _task(convert(row) if convert else row, request, f"{prefix}-{number}")
        except ValueError as error:
            if request.spec.on_bad_row != "skip":
                raise UsageError(
                    f"{request.at}: {request.spec.source}, {unit} {number}: {error}; "
                    "mend the row or set `on_bad_row: skip`"
                ) from None
            request.report["bad_rows"] += 1
            continue
        yield task


def _wanted(row: dict[str, Any], where: dict[str, Any]) -> bool:
    for column, value in where.items():
        found = _column(row, column)
        if found not in (value if isinstance(value, list) else [value]):
            return False
    return True


def _column(row: dict[str, Any], name: str) -> Any:
    """The value of a column; `a.b` reaches into a nested one."""
    if name in row:
        return row[name]
    node: Any = row
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            raise ValueError(f"no column {name!r}{did_you_mean(name, [str(k) for k in row])}")
        node = node[part]
    return node


def _text(row: dict[str, Any], field: str, name: str) -> str:
    """A column as text; for `prompt` also a template with columns in braces."""
    if field == "prompt" and _BRACES.search(name):
        return _BRACES.sub(lambda m: _plain(_column(row, m[1]), m[1]), name)
    return _plain(_column(row, name), name)


def _plain(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
        raise ValueError(f"column {name!r} is {value!r}, a text or number is needed")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _task(row: dict[str, Any], request: Request, default_id: str) -> Task:
    from rl2f_hub.verify import VERIFIERS

    spec = request.spec
    verifier = spec.verifier or row.get("_verifier", "text")
    if verifier not in VERIFIERS or verifier in NEED_THEIR_SOURCE:
        raise ValueError(f"verifier {verifier!r} is unknown{did_you_mean(str(verifier), VERIFIERS)}")
    values = {
        field: _text(row, field, name)
        for field in ("id", "prompt", "reference", "solution", "tests", "domain")
        if (name := getattr(spec, field)) is not None and (field in NEEDED or row.get(name, "") not in (None, ""))
    }
    prompt = values.get("prompt", "").strip()
    if not prompt:
        raise ValueError(f"column {spec.prompt!r} is empty")
    settings: dict[str, Any] = dict(row.get("_config", {}))
    if spec.choices is not None:
        options = _options(_column(row, spec.choices), spec.choices)
        prompt += "\n" + "\n".join(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
        values["reference"] = _letter(_column(row, spec.reference or "reference"), options)
        settings["options"] = options
    kind = "tests" if "tests" in values else "solution" if "solution" in values else "answer"
    task = Task(
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
    VERIFIERS[verifier].check(task)
    return task


def _options(value: Any, name: str) -> list[str]:
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # {"text": [...], "label": [...]}, as in ARC
        value = value["text"]
    if not isinstance(value, list) or not 2 <= len(value) <= len(LETTERS):
        raise ValueError(f"column {name!r} is {str(value)[:60]!r}, a list of 2 to {len(LETTERS)} choices is needed")
    return [str(option) for option in value]


def _letter(value: Any, options: list[str]) -> str:
    """The letter of the right choice, given as letter, 0-based number or the choice's own text."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
        return LETTERS[value]
    if isinstance(value, str):
        if value in options:
            return LETTERS[options.index(value)]
        if value.strip().upper() in LETTERS[: len(options)] and len(value.strip()) == 1:
            return value.strip().upper()
        if value.strip().isdecimal() and int(value) < len(options):
            return LETTERS[int(value)]
    raise ValueError(f"reference {value!r} names none of the {len(options)} choices")
