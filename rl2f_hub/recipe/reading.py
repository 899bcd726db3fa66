"""Recipes from YAML files: found by name, overridden with `--set a.b=c`, and refused in one line where something is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.recipe.whole import Recipe
from rl2f_hub.runtime import permits
from rl2f_hub.runtime.yaml_reader import MOST_CHARACTERS, MOST_VALUES, YamlError, read_yaml

_TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,})\b")
MOST_EXTENDED = 5  # recipes that extend each other


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read, override and check a recipe.

    With the key `extends`, which names another recipe (one under `recipes/`, or a file beside it), a recipe only says
    what differs: sections are merged key by key; lists and plain values replace the other's.

    Args:
        path: a YAML file, or the name of a folder under `recipes/`.
        overrides: `a.b=value` texts.
    Raises:
        UsageError: missing file, bad YAML, unknown key, wrong type; one line each.
    """
    file = _find(Path(path))
    data = _read(file)
    for text in overrides:
        _override(data, text)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{file}: {_explain(error)}") from None


def _read(file: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a file says, merged into what the recipe says that it extends; `below`: the files that extend this one."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from None
    data = _checked(_yaml(text, str(file)), f"{file}: ")
    if not isinstance(data, dict):
        raise UsageError(f"{file}: a recipe is a mapping of keys, this is {type(data).__name__}")
    _check_files(data, file)
    if "extends" not in data:
        return data
    name = data.pop("extends")
    shipped = {found.parent.name: found for found in recipe_files()}
    if not isinstance(name, str) or Path(name).name != name:
        raise UsageError(f"extends: {str(name)[:60]!r} is refused; give a recipe's name or a file in the same folder")
    other = file.parent / name if (file.parent / name).is_file() else shipped.get(name)
    if other is None:
        raise UsageError(f"extends: no recipe {name!r}{did_you_mean(name, shipped)}")
    if len(below) >= MOST_EXTENDED or other.resolve() in below:
        raise UsageError(
            f"extends: {name!r} extends itself, or more than {MOST_EXTENDED} recipes stand below each other"
        )
    return _merge(_read(other, (*below, file.resolve())), data)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`: mappings merge key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _check_files(node: Any, file: Path, at: str = "") -> None:
    """Refuses sources that lie outside the recipe's folder: a stranger's recipe would publish your files as tasks."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            _check_files(value, file, f"{at}.{key}" if at else str(key))
    elif isinstance(node, str) and at.endswith(".source") and node.startswith(("csv:", "jsonl:", "parquet:")):
        name = node.partition(":")[2]
        if not permits.allowed("outside_files") and not Path(name).resolve().is_relative_to(file.resolve().parent):
            raise UsageError(
                f"{at}: {node[:80]!r} lies outside the recipe's folder, and tasks are published; move it there, or allow "
                "it: `rl2f --allow-outside-files ...`"
            )


def recipe_files() -> list[Path]:
    """The recipes that come with rl2f_hub: beside the package in a checkout, inside it once installed."""
    here = Path(__file__).parents[1]
    for folder in (here / "_recipes", here.parent / "recipes"):
        if folder.is_dir():
            return sorted(folder.rglob("recipe.yaml"))
    return []


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    shipped = {file.parent.name: file for file in recipe_files()}
    if (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    if str(path) in shipped:
        return shipped[str(path)]
    raise UsageError(f"recipe: no file {str(path)!r}{did_you_mean(str(path), shipped) or '; give a YAML file'}")


def _yaml(text: str, at: str) -> Any:
    try:
        return read_yaml(text)
    except YamlError as error:
        raise UsageError(f"{at}: not valid YAML: {error}") from None


def _checked(node: Any, at: str) -> Any:
    """What YAML gave, if a manifest can hold it. `at`: the place, for errors."""
    if isinstance(node, dict):
        if odd := [key for key in node if not isinstance(key, str)]:
            raise UsageError(f"{at.removesuffix(': ')}: the key {str(odd[0])[:40]!r} is no text; put it in quotes")
        return {_value(key, at): _checked(value, _below(at, key)) for key, value in node.items()}
    if isinstance(node, list):
        return [_checked(value, _below(at, i)) for i, value in enumerate(node)]
    return _value(node, at)


def _below(at: str, key: str | int) -> str:
    return f"{at}{key}" if at.endswith(": ") else f"{at}.{key}"


def _value(value: Any, at: str) -> Any:
    """A text, number, truth value or null that manifests can hold."""
    at = at.removesuffix(": ")
    if isinstance(value, str):
        if "\0" in value:
            raise UsageError(f"{at}: {ascii(value)[:80]} holds a NUL; leave it out")
        if _TOKEN.search(value):  # not repeated here either
            raise UsageError(
                f"{at}: this looks like a token, and recipes are published; set HF_TOKEN or name `key_env`"
            )
    elif isinstance(value, int):
        if value.bit_length() > 64:
            raise UsageError(f"{at}: a whole number of {value.bit_length()} bits; at most 64 are read")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{at}: {value} is no number to go by; give a finite one")
    return value


def _override(data: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set: {text!r} is not of the form a.b=value")
    parsed = _checked(_yaml(value, f"--set: value of {key!r}"), key)
    node: Any = data
    *parents, last = key.split(".")
    for i, part in enumerate(parents):
        node = (
            node[int(part)]
            if isinstance(node, list) and _index(part) < len(node)
            else (node.setdefault(part, {}) if isinstance(node, dict) else None)
        )
        if not isinstance(node, dict | list):
            raise UsageError(f"--set: {'.'.join(parents[: i + 1])!r} is not a section of the recipe")
    if isinstance(node, list):
        if _index(last) >= len(node):
            raise UsageError(f"--set: {key!r}: the list has {len(node)} entries")
        node[int(last)] = parsed
    else:
        node[last] = parsed


def _index(part: str) -> int:
    """The number that names an entry of a list; beyond every list where it is none."""
    return int(part) if re.fullmatch(r"[0-9]{1,6}", part) else MOST_VALUES


def _explain(error: ValidationError) -> str:
    """The first problem of a validation error, in one line: field, value, fix."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(p) for p in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(first["loc"][:-1])
        return f"unknown key {where!r}{did_you_mean(str(first['loc'][-1]), known)}"
    if first["type"] == "missing":
        return f"{where}: missing; it must be set"
    if first["type"] == "value_error":
        return (f"{where}: " if where else "") + str(first["ctx"]["error"])
    value = re.sub(r"//[^\s/@]*@", "//***@", json.dumps(first["input"], default=str))  # never somebody's password
    return f"{where}: {value[:80]} is refused: {first['msg'][:1].lower()}{first['msg'][1:]}"


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the keys that the recipe's schema admits at a location."""
    import typing

    model: Any = Recipe
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        found = [annotation, *typing.get_args(annotation)]
        found += [inner for a in found for inner in typing.get_args(a)]
        model = next((a for a in found if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)
