"""Code blocks of Markdown files, and what can be checked of a shell command without running it.

A block is checked unless the line above its fence says why not: `<!-- not run: the reason -->`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    p
    for pattern in ("*.md", "docs/*.md", "recipes/**/*.md", "spaces/*/*.md", "tests/*/README.md")
    for p in ROOT.glob(pattern)
)
# Words in capitals that stand for what a reader puts in, with something that fits.
PLACEHOLDERS = {
    "KIND": "scripted",
    "FOLDER": "folder",
    "YOU": "you",
    "NAME": "name",
    "STUDENT": "rl2f",
    "RECIPE": "quickstart",
}
# Programs of others, and what of theirs is used; they are not run here.
OTHERS = {
    "hf": "the Hub's own command line; needs a token",
    "git": "fetches from the network",
    "cd": "changes the folder",
    "export": "sets a variable",
    "source": "enters the virtual environment",
    ".": "enters the virtual environment",
    "apt-get": "installs system packages",
    "sudo": "installs system packages",
    "docker": "needs a daemon",
    "transformers": "serves a model",
    "vllm": "needs a GPU",
    "accelerate": "needs several GPUs",
    "nvidia-smi": "needs a GPU",
    "curl": "asks a server",
    "cat": "shows a file",
    "ls": "shows a folder",
}
MARK = re.compile(r"<!-- not run: (.+?) -->")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    reason: str  # why it is not run; empty if it is

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start = 0
    for number, line in enumerate(lines):
        opening = re.fullmatch(r"\s*```\s*([\w+-]*)\s*", line)
        if opening and not start:
            start, language = number + 1, opening[1]
        elif start and line.strip() == "```":
            said = next((text for text in reversed(lines[: start - 1]) if text.strip()), "")
            mark = MARK.search(said)
            body = lines[start:number]
            indent = min((len(x) - len(x.lstrip()) for x in body if x.strip()), default=0)
            text = "\n".join(x[indent:] for x in body)
            found.append(Block(page, start, language, text, mark[1] if mark else ""))
            start = 0
    if start:
        raise ValueError(f"{page.name}:{start}: a code block that does not end")
    return found


def commands_of(text: str) -> list[list[str]]:
    """The simple commands of a shell block, split into words; comments, prompts and redirections are left out.

    Raises:
        ValueError: a quotation that does not end.
    """
    commands: list[list[str]] = []
    whole = ""
    for line in text.replace("\\\n", " ").splitlines():
        whole += line
        try:
            commands += _line(whole)
            whole = ""
        except ValueError:  # a quotation goes on in the next line
            whole += "\n"
    if whole:
        raise ValueError(f"a quotation that does not end: {whole[:60]}")
    return [bare for command in commands if (bare := _without_variables(command))]


def _line(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if set(word) <= set(";&|"):
            commands.append([])
        elif set(word) <= set("<>"):
            skip = True  # the next word is a file
        elif skip:
            skip = False
        else:
            commands[-1].append(word)
    return commands


def _without_variables(words: list[str]) -> list[str]:
    while words and (words[0] == "$" or re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", words[0], re.DOTALL)):
        words = words[1:]
    return words


def filled(words: list[str]) -> list[str]:
    pattern = re.compile(rf"\b({'|'.join(PLACEHOLDERS)})\b")
    return [pattern.sub(lambda m: PLACEHOLDERS[m[1]], word) for word in words]


def problem_of(words: list[str]) -> str | None:
    """What is wrong with a command, or None."""
    program, arguments = words[0], filled(words[1:])
    if program.endswith("/python") or program in ("python", "python3"):
        if arguments[:2] == ["-m", "rl2f_hub"]:
            return rl2f_problem(arguments[2:])
        if arguments[:2] in (["-m", "pytest"], ["-m", "venv"], ["-m", "pip"]):
            return _pip_problem(arguments[2:]) if arguments[1] == "pip" else None
        return _missing_file(arguments[0]) if arguments else None
    if program == "rl2f" or program.endswith("/rl2f"):
        return rl2f_problem(arguments)
    if program == "make":
        return make_problem(arguments)
    if program in ("pip", "pip3") or program.endswith("/pip"):
        return _pip_problem(arguments)
    if program == "pytest":
        return next((p for a in arguments if "/" in a and (p := _missing_file(a.split("::")[0]))), None)
    if program.startswith("./") or program.startswith(".ci/"):
        return _missing_file(program)
    return None if program in OTHERS else f"{program!r} is neither ours nor in OTHERS; add it there with a reason"


def rl2f_problem(arguments: list[str]) -> str | None:
    """Parses the words as the command line would, and checks recipe and overrides."""
    from typer.main import get_command

    from rl2f_hub.cli import app

    command: Any = get_command(app)
    rest = list(arguments)
    path = "rl2f"
    while hasattr(command, "commands"):
        if not rest or rest[0] in ("--help", "--version"):
            return None
        if path == "rl2f eval" and rest[0] not in command.commands:
            rest = ["models", *rest]  # as the command itself reads it
        if rest[0] not in command.commands:
            return f"{path} has no command {rest[0]!r}"
        path, command = f"{path} {rest[0]}", command.commands[rest[0]]
        rest = rest[1:]
    if "--help" in rest:
        return None
    try:
        given = command.make_context(path, rest).params
    except Exception as error:  # click's own, vendored by some versions of typer
        return f"{path}: {getattr(error, 'message', error)}"
    named = given.get("recipe") or next((t for t in given.get("targets") or [] if t.endswith(".yaml")), None)
    return _recipe_problem(named, given.get("overrides") or [])


def _recipe_problem(recipe: str | None, overrides: Any) -> str | None:
    from rl2f_hub.errors import RL2FError
    from rl2f_hub.recipe import load_recipe

    if recipe is None or recipe == "mine.yaml":  # a page's own copy of a shipped one
        return None
    try:
        load_recipe(recipe if not (ROOT / recipe).exists() else ROOT / recipe, list(overrides))
    except RL2FError as error:
        return str(error)
    return None


def make_problem(arguments: list[str]) -> str | None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for word in arguments:
        if "=" not in word and not word.startswith("-") and word not in targets:
            return f"make has no target {word!r}"
    return None


def _pip_problem(arguments: list[str]) -> str | None:
    import tomllib

    known = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for extras in (m[1] for a in arguments if (m := re.match(r"(?:\.|rl2f[-_]hub|.*\.whl)\[([^\]]*)\]", a))):
        for extra in extras.split(","):
            if extra.strip() not in known:
                return f"pip: there is no extra {extra.strip()!r}; there are {', '.join(sorted(known))}"
    return None


def _missing_file(name: str) -> str | None:
    return None if name.startswith("-") or (ROOT / name).exists() else f"there is no file {name!r}"
