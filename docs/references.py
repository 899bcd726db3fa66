"""Writes the references that come from the code: docs/recipe-reference.md, docs/cli-reference.md and docs/api.md.

    python docs/references.py           writes them (`make docs`)
    python docs/references.py --check   says which is out of date and changes nothing; exit code 1 if one is

A key's meaning is the comment behind it in its class, the `description` of its field, or what the docstring of its
section says. Command help is what `--help` shows. The Python API is `api_reference.py`'s.
"""

from __future__ import annotations

import io
import json
import sys
import tokenize
from collections.abc import Callable
from inspect import Parameter, cleandoc, getsource, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.models import ArgumentInfo

HERE = Path(__file__).parent
BAR = "\\|"  # a bar inside a cell of a table
MADE = "<!-- Made by `make docs` from the code; edit that instead. -->\n"


def sections(model: type[BaseModel]) -> dict[type[BaseModel], str]:
    """Every section of a recipe once, with the shortest path that leads to it, ordered as the recipe is."""
    found, edge = {model: ""}, [(model, "")]
    for section, path in edge:  # grows while it is read: breadth first
        for name, field in section.model_fields.items():
            for inner in _models(field.annotation):
                if inner not in found:
                    found[inner] = f"{path}.{name}".strip(".")
                    edge.append((inner, found[inner]))
    tops = ["", *model.model_fields]
    return dict(sorted(found.items(), key=lambda item: tops.index(item[1].partition(".")[0])))


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What the source says about each key of a section: its trailing comment, else its field's description."""
    source = getsource(model)  # a class at the top of its module
    comments = {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[str, str] = {}
    for name, first, last in _annotated_lines(source):
        if name in model.model_fields:
            said = [comments[line] for line in range(first, last + 1) if line in comments]
            found[name] = " ".join(c for c in said if not c.startswith(("type:", "noqa", "fmt:")))
    text = model.__doc__ or ""
    for name, field in model.model_fields.items():
        found[name] = found.get(name) or field.description or ("see above" if f"`{name}`" in text else "")
    return {name: said.replace("None: ", "left out: ") for name, said in found.items()}


def undescribed(model: type[BaseModel]) -> list[str]:
    """Keys of which neither a comment nor the docstring says anything; a key that opens a section is said there."""
    said = meanings(model)
    return [name for name, field in model.model_fields.items() if not said[name] and not _models(field.annotation)]


def recipe_reference() -> str:
    from rl2f_hub.recipe import Recipe

    found = sections(Recipe)
    lines = [
        MADE,
        "# Recipe reference\n",
        "Every key of a recipe. Unknown keys are refused; `--set a.b=value` overrides one; `rl2f recipes show NAME` prints "
        "a recipe with all defaults filled in. Numbers may be written as `3e-4`.\n",
    ]
    schema = Recipe.model_json_schema()
    for model, path in found.items():
        own = schema if model is Recipe else schema["$defs"][model.__name__]
        lines.append(f"## {f'`{path}`' if path else 'The recipe'}\n")
        if model.__doc__:
            lines.append(cleandoc(model.__doc__) + "\n")
        lines.append("| key | type | default | meaning |\n| --- | --- | --- | --- |")
        said = meanings(model)
        for name, field in model.model_fields.items():
            cells = (f"`{name}`", _type(own["properties"][name], schema, found), _default(field), said[name])
            lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def cli_reference() -> str:
    from rl2f_hub.cli import app

    lines = [
        MADE,
        "# Command reference\n",
        "What `--help` says of every command. Exit codes: 0 done, 1 failed, 2 bad usage or recipe, 130 stopped by "
        "the user, 143 by SIGTERM.\n",
    ]
    for path, function in commands(app, "rl2f"):
        lines += [f"## `{path}`\n", cleandoc(function.__doc__ or "") + "\n"]
        rows = [row for row in (_parameter(*given) for given in _parameters(function)) if row]
        if rows:
            lines += ["| | type | default | |", "| --- | --- | --- | --- |"]
            lines += [f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |" for row in rows]
            lines.append("")
    return "\n".join(lines)


def commands(app: Any, path: str) -> list[tuple[str, Callable[..., Any]]]:
    """Every command of a Typer app and of the apps mounted in it, with the words that call it."""
    found = []
    for command in app.registered_commands:
        if not command.hidden:
            found.append((f"{path} {command.name or command.callback.__name__.replace('_', '-')}", command.callback))
    for group in app.registered_groups:
        found += commands(group.typer_instance, f"{path} {group.name}")
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _annotated_lines(source: str) -> list[tuple[str, int, int]]:
    import ast

    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    return [
        (node.target.id, node.lineno, node.end_lineno or node.lineno)
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def _type(schema: dict[str, Any], root: dict[str, Any], found: dict[type[BaseModel], str]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        path = next(where for model, where in found.items() if model.__name__ == name)
        return f"section [`{path}`](#{path.replace('.', '')})"
    if "allOf" in schema:
        return _type(schema["allOf"][0], root, found)
    if "anyOf" in schema:
        return " or ".join(_type(part, root, found) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any value")
    if kind == "array":
        inner = schema.get("items") or {"type": "integer"}
        fixed = schema.get("prefixItems")
        if fixed:
            return f"{len(fixed)} of: {_type(fixed[0], root, found)}"
        return f"list of: {_type(inner, root, found)}" + (" (at least one)" if schema.get("minItems") else "")
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
        "object": "mapping",
        "null": "null",
    }
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema]
    said += [f"matching `{schema['pattern']}`"] if "pattern" in schema else []
    return " ".join([words.get(kind, kind), ", ".join(said)]).strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**must be set**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "as there"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any, Any]]:
    """Name, type, what Typer was told and default of each parameter."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, parameter in signature(function).parameters.items():
        if get_origin(hints[name]) is not Annotated:
            continue  # Typer's own context
        kind, told = get_args(hints[name])[:2]
        inner = [part for part in get_args(kind) if part is not type(None)]
        found.append((name, inner[0] if type(None) in get_args(kind) else kind, told, parameter.default))
    return found


def _parameter(name: str, kind: Any, told: Any, default: Any) -> tuple[str, str, str, str] | None:
    """A row of the table: name, type, default, help; None if it is hidden."""
    if told.hidden:
        return None
    if isinstance(told, ArgumentInfo):
        shown = f"`{name.upper()}`"
    else:
        words = [w for w in (told.default, *(told.param_decls or ())) if isinstance(w, str) and w.startswith("-")]
        shown = ", ".join(f"`{word}`" for word in words or [f"--{name.replace('_', '-')}"])
    several = get_origin(kind) is list
    plain = (get_args(kind)[0] if several else kind).__name__.lower()
    kinds = {"bool": "flag", "str": "text", "int": "whole number", "float": "number", "path": "path"}
    if isinstance(told.show_default, str):
        value = f"`{told.show_default}`" if "<" in told.show_default else told.show_default
    elif default is Parameter.empty:
        value = "**must be given**"
    else:
        value = "" if default in (None, False) else f"`{default}`"
    return (
        shown,
        kinds.get(plain, plain) + (", repeatable" if several else ""),
        value,
        " ".join((told.help or "").split()),
    )


def main() -> int:
    from api_reference import api_reference

    made = {
        HERE / "recipe-reference.md": recipe_reference(),
        HERE / "cli-reference.md": cli_reference(),
        HERE / "api.md": api_reference(),
    }
    stale = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"docs/{path.name} is out of date; run `make docs` and commit it", file=sys.stderr)
        return int(bool(stale))
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
        print(f"wrote docs/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
