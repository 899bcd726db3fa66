"""What a teacher that is a model reads: Jinja templates by domain and privilege, in versioned sets.

A set is a folder of `<family>.<privilege>.jinja`; `prompts/v1` is ours. Families are `math`, `code` and `any`; a family
that lacks a template uses that of `any`. A set is checked when it is opened: every template must show the question,
the attempts, the verdict and its own privilege, ask for the feedback tags, and use no field that does not exist.

Every text from outside reaches a template as a finished block: between two lines that carry a number nobody can guess
(from the dialogue's seed), with what looks like a special token or a tag made harmless. Older turns are left out, the
oldest first, until the prompt fits; the last attempt always stays. Very long texts lose their middle, and say so.

Left out: few-shot examples, several languages (a template asks for the language of the task).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.sandbox.jobs import CodeTests
from rl2f_hub.teachers.base import FeedbackRequest

HERE = Path(__file__).parent
PRIVILEGES = ("answer", "solution", "tests", "verdict")
FAMILIES = ("any", "math", "code")
MATHEMATICS = frozenset({"math", "mathematics", "arithmetic", "algebra", "geometry", "probability"})
ALWAYS = frozenset({"question", "turns", "verdict"})
OWN = {"answer": "reference", "solution": "solution", "tests": "tests", "verdict": "observation"}
FIELDS = ALWAYS | frozenset(OWN.values()) | {"domain", "number", "left_out", "mark", "max_chars", "again", "objection"}
LONGEST = 6_000  # characters of one text


class NoPrompt(Exception):
    """This request has no prompt; `reason` is `privilege_missing` or `context_full`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt, the name of its template (`v1/math.answer`) and how many older turns it leaves out."""

    text: str
    template: str
    left_out: int = 0


class PromptSet:
    """A checked set of templates.

    Args:
        name: a set of ours (`v1`) or a folder.
        max_chars: the length of feedback that the templates ask to keep to.
    Raises:
        UsageError: no such set, a template that cannot be parsed, that lacks a needed field or uses an unknown one.
    """

    def __init__(self, name: str, max_chars: int = 800) -> None:
        from jinja2 import FileSystemLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        known = sorted(p.name for p in HERE.iterdir() if p.is_dir() and not p.name.startswith("_"))
        folder = HERE / name if name in known else Path(name)
        if not folder.is_dir():
            raise UsageError(f"teacher.prompt: {name!r} is neither a set nor a folder{did_you_mean(name, known)}")
        self.name, self.max_chars = folder.name, max_chars
        self._env = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader([folder, HERE / "v1"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        files = {p.stem for p in folder.glob("*.jinja")}
        self._templates: dict[tuple[str, str], str] = {}
        for family in FAMILIES:
            for privilege in PRIVILEGES:
                if f"{family}.{privilege}" in files:
                    self._templates[family, privilege] = f"{family}.{privilege}"
        if not self._templates:
            raise UsageError(f"teacher.prompt: {name!r} holds no template; name them <family>.<privilege>.jinja")
        self._digests = {key: self._check(f"{key}.jinja", OWN[p]) for (_, p), key in self._templates.items()}

    def _check(self, file: str, own: str) -> str:
        """The template's digest, its parents' included."""
        from jinja2 import TemplateError, meta

        assert self._env.loader is not None
        sources, todo = {}, [file]
        try:
            while todo:
                source = self._env.loader.get_source(self._env, todo[-1])[0]
                sources[todo.pop()] = source
                parents = meta.find_referenced_templates(self._env.parse(source))
                todo += [str(p) for p in parents if p not in sources]
            used = set().union(*(meta.find_undeclared_variables(self._env.parse(s)) for s in sources.values()))
        except TemplateError as error:
            raise UsageError(f"teacher.prompt: {file}: {' '.join(str(error).split())}") from None
        where = f"teacher.prompt: {self.name}/{file}"
        for field in sorted(ALWAYS | {own}):
            if field not in used:
                raise UsageError(f"{where} does not use the field {field!r}; add {{{{ {field} }}}} to it")
        for field in sorted(used - FIELDS):
            raise UsageError(f"{where} uses the unknown field {field!r}{did_you_mean(field, FIELDS)}")
        text = "\n".join(sources[name] for name in sorted(sources))
        if not {"<feedback>", "</feedback>"} <= set(re.findall(r"</?feedback>", text)):
            raise UsageError(f"{where} does not ask for <feedback> and </feedback>; only what stands between goes on")
        return sha256(text.encode()).hexdigest()[:16]

    @property
    def digests(self) -> dict[str, str]:
        """Template name -> digest of its text, for the manifest."""
        return {f"{self.name}/{key}": digest for key, digest in sorted(self._digests.items())}

    def render(
        self, request: FeedbackRequest, privilege: str | None, fits: Callable[[str], bool], again: bool = False
    ) -> Prompt:
        """The prompt for one wrong attempt.

        Args:
            privilege: what the teacher is shown; None: what the task names as its own.
            fits: whether a text is short enough for the teacher's context.
            again: the last reply had no usable feedback, which the prompt then says.
        Raises:
            NoPrompt: the task lacks the privilege, or not even the last attempt fits.
        """
        kind = privilege or request.privilege.kind
        key = self._template_of(request, kind)
        fields = _fields_of(request, kind)
        mark = _mark(request, [*fields.values(), *request.attempts, *request.feedbacks])
        blocks: dict[str, Any] = {name: _block(name, text, mark) for name, text in fields.items()}
        turns = [
            {
                "number": i + 1,
                "attempt": _block("attempt", attempt, mark),
                "feedback": _block("feedback", said, mark) if said is not None else "",
            }
            for i, (attempt, said) in enumerate(_paired(request))
        ]
        template = self._env.get_template(f"{key}.jinja")
        blocks |= {"domain": _harmless(request.domain), "mark": mark, "max_chars": self.max_chars, "again": again}
        blocks["objection"] = _harmless(request.objection)
        for left_out in range(len(turns)):
            text = template.render(**blocks, turns=turns[left_out:], left_out=left_out, number=len(turns)).strip()
            if fits(text):
                return Prompt(text, f"{self.name}/{key}", left_out)
        raise NoPrompt("context_full", "the task and the last attempt do not fit into the teacher's context")

    def _template_of(self, request: FeedbackRequest, kind: str) -> str:
        families = [_family(request), "any"]
        for family in families:
            if (family, kind) in self._templates:
                return self._templates[family, kind]
        raise NoPrompt("privilege_missing", f"the prompts {self.name!r} have no template for the privilege {kind!r}")


def _family(request: FeedbackRequest) -> str:
    if request.domain == "code" or request.privilege.tests:
        return "code"
    return "math" if request.domain in MATHEMATICS else "any"


def _paired(request: FeedbackRequest) -> list[tuple[str, str | None]]:
    """(attempt, what was said about it) in order; nothing has been said about the last one."""
    said: list[str | None] = [*request.feedbacks]
    said += [None] * (len(request.attempts) - len(said))
    return list(zip(request.attempts, said[: len(request.attempts)], strict=True))


def _fields_of(request: FeedbackRequest, kind: str) -> dict[str, str]:
    privilege, verdict = request.privilege, request.verdict
    texts = {"answer": privilege.reference, "solution": privilege.solution, "tests": _readable(privilege.tests)}
    if kind in texts and not texts[kind].strip():
        raise NoPrompt("privilege_missing", f"the source gives no {OWN[kind]} to show (privilege {kind!r})")
    own = {OWN[kind]: texts[kind]} if kind in texts else {}
    # What running the attempt showed belongs to the verdict and is shown with every privilege.
    return {"question": request.question, "verdict": verdict.reason, "observation": verdict.observation, **own}


def _readable(tests: str) -> str:
    """Code tests as code or as examples of input and output; anything else as it is."""
    if not tests.strip():
        return ""
    try:
        parsed = CodeTests.from_json(tests)
    except ValueError:
        return tests
    cases = [f"input:\n{given}\nexpected output:\n{wanted}" for given, wanted in parsed.cases]
    return "\n\n".join(filter(None, [parsed.setup.strip(), "\n".join(parsed.tests), *cases]))


def _mark(request: FeedbackRequest, texts: list[str]) -> str:
    """A number that stands in none of the texts and cannot be guessed from them."""
    for n in range(1_000):
        parts = ("mark", request.seed, len(request.attempts), n)
        mark = blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).hexdigest()
        if not any(mark in text for text in texts):
            return mark
    raise NoPrompt("context_full", "no mark is free")  # not reached by chance


def _block(name: str, text: str, mark: str) -> str:
    """A text from outside between its two marked lines; an empty text is no block at all."""
    if not text.strip():
        return ""
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
    return f"[{name} {mark}]\n{_harmless(text.strip())}\n[end {mark}]"


def _harmless(text: str) -> str:
    """The text with special tokens and tags broken, and without control or invisible characters."""
    text = "".join(
        c for c in text if c in "\n\t" or ((c.isprintable() or c.isspace()) and not 0xE000 <= ord(c) <= 0xF8FF)
    )
    text = re.sub(r"<(?=[^\s\d=<])", "&lt;", text)  # <|im_end|>, </s>, <feedback>, but not `x < 3` or `x <= y`
    return re.sub(r"\[(?=/?(?:[A-Z]+_?)+\])", "&#91;", text)  # [INST]


class JudgeSet:
    """The judging prompts, one for each family of tasks."""

    def __init__(self) -> None:
        from jinja2 import FileSystemLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self._env = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader([HERE / "_judge"]), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )

    @property
    def digests(self) -> dict[str, str]:
        """Template name -> digest of its text and of what it extends."""
        base = (HERE / "_judge" / "base.jinja").read_text(encoding="utf-8")
        texts = {family: (HERE / "_judge" / f"{family}.jinja").read_text(encoding="utf-8") for family in FAMILIES}
        return {f"judge/{name}": sha256((base + text).encode()).hexdigest()[:16] for name, text in texts.items()}

    def render(self, family: str, fields: dict[str, str], mark: str) -> str:
        return self._env.get_template(f"{family}.jinja").render(**fields, mark=mark).strip()


JUDGE = JudgeSet()


def render_judge(situation: FeedbackRequest, text: str) -> str:
    """The prompt that asks a judge whether `text` gives the situation's privilege away."""
    privilege = situation.privilege
    secrets = {
        "right answer": privilege.reference,
        "solution": privilege.solution,
        "hidden tests": _readable(privilege.tests),
    }
    fields = {"question": situation.question, "attempt": situation.attempts[-1] if situation.attempts else ""}
    fields |= {"earlier": "\n\n".join(situation.feedbacks), "said": text}
    mark = _mark(situation, [*fields.values(), *secrets.values()])
    blocks = {name: _block(name, value, mark) for name, value in fields.items()}
    blocks["secret"] = "\n\n".join(
        f"The {name}, which the teacher knows:\n{_block(name, value, mark)}"
        for name, value in secrets.items()
        if value.strip()
    )
    return JUDGE.render(_family(situation), blocks, mark)
