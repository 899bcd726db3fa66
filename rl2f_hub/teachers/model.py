"""Teachers that are local models: the student's own base weights (`self`), or another model (`model`).

`SelfTeacher` needs no second model in memory: it switches the student's adapter off, generates on a cache of its own
and puts everything back, so that a training step around it computes what it would have computed without it. A quantised
base is kept in the form that the student trains on.

The context rule: a prompt and `max_tokens` of reply have to fit into the model's window; older turns are left out, the
oldest first, and when even the last attempt alone does not fit there is no feedback (`context_full`).

Prompts are encoded with special tokens taken as characters. A second try opens the reply with the feedback tag, and
its words end where the model ends: small models seldom close a tag.

Left out: merged adapters and adapters without a PEFT model around them, which cannot be switched off.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rl2f_hub.engines import Engine, Sampled, Sampling
from rl2f_hub.errors import UsageError
from rl2f_hub.recipe.teacher_sections import TeacherModelSpec, TeacherSpec
from rl2f_hub.records import Usage
from rl2f_hub.teachers.base import Teacher
from rl2f_hub.teachers.prompted import Answer, Ask, PromptedTeacher
from rl2f_hub.teachers.reply import CLOSE, OPEN

if TYPE_CHECKING:
    from pathlib import Path

    from rl2f_hub.dialogue.runner import Student

TOP_P = 0.95  # cuts the tail in which small models lose the thread; greedy replies do not know it


class PromptFormat:
    """One user message as ids, for any chat template: earlier turns never come into it.

    Raises:
        UsageError: the tokenizer has no chat template, or one that changes the message.
    """

    def __init__(self, tokenizer: Any, generation_config: Any = None) -> None:
        self.tokenizer = tokenizer
        name = tokenizer.name_or_path
        if not getattr(tokenizer, "chat_template", None):
            raise UsageError(f"teacher.model: tokenizer {name!r} has no chat template; choose an instruct model")
        message = [{"role": "user", "content": "Sentinel message"}]
        parts = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True).split(
            "Sentinel message"
        )
        if len(parts) != 2:
            raise UsageError(f"teacher.model: the chat template of {name!r} changes the user's text; choose another")
        self._before, self._after = (tokenizer(p, add_special_tokens=False)["input_ids"] for p in parts)
        ends = getattr(generation_config, "eos_token_id", None)
        ends = ends if isinstance(ends, list) else [ends]
        self.stop_ids = frozenset(i for i in [*tokenizer.all_special_ids, *ends] if i is not None)

    def ids(self, text: str, opened: str = "") -> list[int]:
        """The prompt `text`, and the beginning of the reply."""
        return [*self._before, *self._plain(text), *self._after, *(self._plain(opened) if opened else [])]

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


class ModelTeacher(PromptedTeacher):
    """A loaded model as the teacher.

    Args:
        engine: an engine on that model.
        tokenizer: the model's own.
    """

    is_local_model = True

    def __init__(self, spec: TeacherSpec, engine: Engine, tokenizer: Any, name: str) -> None:
        super().__init__(spec)
        self.name = name
        self.engine = engine
        self.tokenizer = tokenizer
        self.format = PromptFormat(tokenizer, engine.generation_config)

    @classmethod
    def from_spec(cls, spec: TeacherSpec, student: Student | None, folder: Path | None) -> Teacher:
        """The teacher of a recipe with `kind: model`; its model is loaded once per process.

        Raises:
            UsageError: no `model` section, or a tokenizer without a chat template.
            RL2FError: the model cannot be loaded.
        """
        if spec.model is None:
            raise UsageError("teacher.model: missing; give {id: <Hub id or path>}")
        engine, tokenizer = _loaded(spec.model)
        at = f"@{spec.model.revision}" if spec.model.revision else ""
        return ModelTeacher(spec, engine, tokenizer, f"model:{spec.model.id}{at}")

    def _fits(self, text: str) -> bool:
        return len(self.format.ids(text, OPEN)) + self.spec.max_tokens <= self.engine.context_length

    def ask(self, asks: list[Ask]) -> list[Answer | str]:
        ids = [self.format.ids(ask.text, OPEN if ask.again else "") for ask in asks]
        order = sorted(range(len(asks)), key=lambda i: len(ids[i]))  # like lengths together: less padding
        out: list[Answer | str] = [""] * len(asks)
        sampling = Sampling(self.spec.temperature, TOP_P, self.spec.max_tokens)
        with self._weights():
            for start in range(0, len(order), self.spec.batch):
                rows = order[start : start + self.spec.batch]
                session = self.engine.open([asks[i].seed for i in rows], sampling, self.format.stop_ids)
                sampled = session.generate(list(range(len(rows))), [ids[i] for i in rows], 1)
                for i, reply in zip(rows, sampled, strict=True):
                    out[i] = self.answer(asks[i], len(ids[i]), reply)
        return out

    def answer(self, ask: Ask, prompt_tokens: int, reply: Sampled) -> Answer:
        """Sampled ids as the answer to a prompt of so many tokens."""
        text = self.tokenizer.decode(reply.ids, skip_special_tokens=True)
        if ask.again:
            text = OPEN + text + (CLOSE if reply.stopped and CLOSE not in text.lower() else "")
        return Answer(text, reply.stopped, Usage(prompt_tokens, len(reply.ids)))

    def _weights(self) -> Any:
        """Entered while the model generates."""
        return nullcontext()


class SelfTeacher(ModelTeacher):
    """The student's base weights with privilege in the prompt: the adapter is off while it speaks.

    Args:
        student: whose engine holds a `transformers` or PEFT model.
    Raises:
        UsageError: no such student.
    """

    def __init__(self, spec: TeacherSpec, student: Student | None) -> None:
        if student is None:
            raise UsageError("teacher.kind: 'self' needs the student; pass it to build_teacher")
        if not student.engine.has_base:
            raise UsageError("teacher.kind: 'self' needs a student whose weights are here; choose another kind")
        super().__init__(spec, student.engine, student.chat.tokenizer, "self")

    @classmethod
    def from_spec(cls, spec: TeacherSpec, student: Student | None, folder: Path | None) -> Teacher:
        return cls(spec, student)

    def _weights(self) -> Any:
        return self.engine.without_adapter()


@lru_cache(maxsize=2)  # a teacher and a judge
def _loaded(spec: TeacherModelSpec) -> tuple[Any, Any]:
    from rl2f_hub.engines.transformers import TransformersEngine
    from rl2f_hub.students.load import open_pair

    model, tokenizer, _ = open_pair(spec.id, spec.revision, spec.quantization, spec.dtype)
    model.eval().requires_grad_(False)
    return TransformersEngine(model, tokenizer.pad_token_id), tokenizer
