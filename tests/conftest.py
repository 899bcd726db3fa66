"""Tiny real models, tasks, and stand-ins for the parts whose words a test has to choose. Fixtures only: import nothing.

A student of the tests is a two-layer Llama with random weights. Where a test needs certain attempts, `saying` gives a
student whose engine says them; everything around it (template, ledger, guard, verifier) is the real thing.
"""

from __future__ import annotations

import os

os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0", GRADIO_ANALYTICS_ENABLED="False")
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import copy
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import default_signals
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from rl2f_hub.engines import Engine
from rl2f_hub.records import Privilege, Task
from rl2f_hub.runtime.loopback import direct
from rl2f_hub.teachers import FeedbackRequest, Reply, Teacher

# What a shell, or a service that runs tests, may have set: width and colour of what is printed, and which Hub clients ask.
# Programs that are tested in processes of their own inherit this.
PRINTED = "COLUMNS LINES TERMINAL_WIDTH FORCE_COLOR CLICOLOR_FORCE PY_COLORS GITHUB_ACTIONS TTY_COMPATIBLE"
HUBS = "HF_HUB_OFFLINE HF_DATASETS_OFFLINE TRANSFORMERS_OFFLINE HF_ENDPOINT HF_TOKEN HUGGING_FACE_HUB_TOKEN"
for _name in (PRINTED + " " + HUBS).split():
    os.environ.pop(_name, None)
os.environ.update(direct(os.environ))  # servers of tests are on this machine; e2e/shrunken.py has runs behind a proxy
default_signals.restore()

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "rl2f-hypothesis")  # it would write into the checkout
settings.register_profile(
    "core",
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("core")

TEXTS = (
    "What is 12 * 34? Give only the number.",
    "Wrong: tens 4 too low, units 2 right. The answer is not written in the form that was asked for.",
    "Wrong. Try again. Correct. I cannot find an answer in that.",
    "Which word comes last: apple, pear or plum?",
)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """No test leaves a signal ignored for the programs that later ones start."""
    with default_signals.kept():
        yield


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A byte-level tokenizer with the chat markers of students from scratch."""
    from rl2f_hub.training.pretraining.scratch import build_tokenizer

    return build_tokenizer(TEXTS, 320, 512)


@pytest.fixture(scope="session")
def chat(tokenizer: Any) -> Any:
    from rl2f_hub.dialogue.chat_format import ChatFormat

    return ChatFormat(tokenizer)


@pytest.fixture(scope="session")
def make_model(tokenizer: Any) -> Callable[..., Any]:
    """Builds a random model whose next token depends on the whole context, neither uniform nor certain."""
    import torch

    from rl2f_hub.recipe import ScratchSpec, SourceSpec
    from rl2f_hub.training.pretraining.scratch import build_model

    torch.set_num_threads(1)

    def make(seed: int = 0, context: int = 512) -> Any:
        source = SourceSpec(source="jsonl:none", count=1)
        spec = ScratchSpec(hidden=32, layers=2, heads=2, intermediate=64, context=context, tasks=[source])
        model = build_model(tokenizer, spec, seed)
        with torch.no_grad():  # as initialised, a model that small only repeats its last token
            for name, parameter in model.named_parameters():
                if name.endswith("proj.weight"):
                    parameter.mul_(8)
            model.model.norm.weight.mul_(12)
            model.get_input_embeddings().weight[tokenizer.eos_token_id].mul_(4)  # attempts of many lengths
        return model

    return make


@pytest.fixture(scope="session")
def tiny_model(make_model: Callable[..., Any]) -> Any:
    """One model for all tests that only read it."""
    return make_model().eval()


@pytest.fixture(scope="session")
def make_student(chat: Any, tiny_model: Any, tokenizer: Any) -> Callable[..., Any]:
    """A real student; `model` replaces it."""
    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.engines.transformers import TransformersEngine

    def make(model: Any = None) -> Any:
        return Student(TransformersEngine(model or tiny_model, tokenizer.pad_token_id), chat, "tiny")

    return make


@pytest.fixture(scope="session")
def make_task() -> Callable[..., Task]:
    def make(number: int = 0, reference: str = "408", prompt: str | None = None, **changes: Any) -> Task:
        values: dict[str, Any] = {
            "task_id": f"t-{number}",
            "source": "test",
            "domain": "arithmetic",
            "prompt": prompt or f"What is {number} * 34?",
            "privilege": Privilege("answer", reference, changes.pop("solution", "")),
            "verifier": "integer",
        }
        return Task(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def products(make_task: Callable[..., Task]) -> list[Task]:
    """Ten products; their prompts differ in length, so that batches are ragged."""
    numbers = [3, 12, 7, 456, 10_203, 5, 88, 999, 21, 4_000_001]
    return [make_task(n, str(n * 34)) for n in numbers]


class _Saying(Engine):
    """An engine that says what it is told: `say(row, turn)` is the attempt. Keeps all the ids that it was fed."""

    def __init__(self, chat: Any, say: Callable[[int, int], str], context_length: int) -> None:
        self.chat, self.say, self.context_length = chat, say, context_length
        self.cache_tokens = 1 << 30
        self.fed: dict[int, list[int]] = {}

    def open(self, seeds: list[int], sampling: Any, stop_ids: frozenset[int], share: float = 1.0) -> _Saying:
        self.base = max(self.fed, default=-1) + 1
        return self

    def restart(self, row: int) -> None:
        """It keeps what a row was fed before."""

    def generate(
        self, rows: list[int], new_ids: list[list[int]], turn: int | Sequence[int], on_token: Any = None
    ) -> list[Any]:
        from rl2f_hub.engines import Sampled

        out = []
        turns = [turn] * len(rows) if isinstance(turn, int) else turn
        for row, new, number in zip(rows, new_ids, turns, strict=True):
            self.fed.setdefault(self.base + row, []).extend(new)
            ids = [*self.chat.encode_attempt(self.say(self.base + row, number)), self.chat.eos_id]
            for token in ids if on_token else ():
                on_token(row, token)
            out.append(Sampled(ids, [-1.0] * len(ids), True))
        return out


@pytest.fixture(scope="session")
def saying(chat: Any) -> Callable[..., Any]:
    """A student that says given attempts: `saying(lambda row, turn: text)`, or a list of texts, one a turn."""
    from rl2f_hub.dialogue.runner import Student

    own = chat

    def make(say: Callable[[int, int], str] | Sequence[str], context_length: int = 100_000, chat: Any = None) -> Any:
        speak = say if callable(say) else lambda row, turn: say[min(turn, len(say)) - 1]
        return Student(_Saying(chat or own, speak, context_length), chat or own, "saying")

    return make


class _Telling(Teacher):
    """A teacher with given words: `tell(request)` is a text, or None. Keeps the requests that it saw."""

    name = "telling"

    def __init__(self, tell: Callable[[Any], str | None]) -> None:
        self.tell = tell
        self.seen: list[Any] = []

    def feedback(self, requests: Sequence[Any]) -> list[Any]:
        self.seen += requests
        texts = [self.tell(s) for s in requests]
        return [None if text is None else Reply(text, "told") for text in texts]


@pytest.fixture(scope="session")
def telling() -> Callable[..., Any]:
    """A teacher with given words: `telling(lambda request: text)`, or one text."""

    def make(tell: Callable[[Any], str | None] | str) -> Any:
        return _Telling(tell if callable(tell) else lambda _: tell)

    return make


@pytest.fixture(scope="session")
def situation() -> Callable[..., Any]:
    """A wrong attempt as a teacher sees it."""
    from rl2f_hub.records import Verdict

    def make(attempt: str, reference: str, answer: str | None = "", **changes: Any) -> Any:
        verdict = Verdict(False, 0.0, attempt if answer == "" else answer, "another")
        privilege = Privilege("answer", reference, changes.pop("solution", ""))
        values = {"question": "What is asked?", "domain": "test", "attempts": (attempt,), "feedbacks": ()}
        return FeedbackRequest(**{**values, "verdict": verdict, "privilege": privilege, **changes})

    return make


@pytest.fixture
def judged_by_length(monkeypatch: pytest.MonkeyPatch) -> str:
    """A verifier that a random student satisfies about every third time: the attempt's length is a multiple of 3."""
    from rl2f_hub.records import Verdict
    from rl2f_hub.verify import VERIFIERS, Verifier

    def verify(task: Task, attempt: str) -> Verdict:
        return Verdict(len(attempt) % 3 == 0, float(len(attempt) % 3 == 0), "5", "by length")

    monkeypatch.setitem(VERIFIERS, "length", Verifier(verify))
    return "length"


@pytest.fixture
def make_trainer(
    tmp_path: Any, make_model: Callable[..., Any], tokenizer: Any, make_task: Callable[..., Task]
) -> Callable[..., Any]:
    """An RL2FTrainer on a fresh tiny model; `tasks`, `teacher`, `model` and `peft_config` go past the config."""
    from datasets import Dataset

    from rl2f_hub.training.trainer import RL2FConfig, RL2FTrainer

    def make(verifier: str = "integer", **config: Any) -> Any:
        tasks = config.pop("tasks", None) or [make_task(n, str(n * 34), verifier=verifier) for n in range(3, 9)]
        passed = {
            k: config.pop(k)
            for k in ("teacher", "guard", "peft_config", "curriculum", "eval_dataset", "engine")
            if k in config
        }
        model = config.pop("model", None) or make_model()
        defaults: dict[str, Any] = {
            "output_dir": str(tmp_path / "out"),
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "disable_tqdm": True,
            "logging_steps": 1,
            "save_strategy": "no",
            "gradient_checkpointing": False,
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_steps": 2,
            "learning_rate": 1e-2,
            "max_turns": 3,
            "turn_tokens": 6,
        }
        return RL2FTrainer(
            model=model,
            args=RL2FConfig(**{**defaults, **config}),
            train_dataset=Dataset.from_list([t.to_row() for t in tasks]),
            processing_class=copy.deepcopy(tokenizer),
            **passed,
        )

    return make


@pytest.fixture
def scored_batch() -> Callable[[Any], dict[str, Any]]:
    """The first batch that a trainer would train on: dialogues sampled, rewarded and padded."""

    def score(trainer: Any) -> dict[str, Any]:
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        return trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))

    return score


@pytest.fixture
def rng() -> Iterator[random.Random]:
    return random.Random(0)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one unbroken shrunken run, for all tests that only read it; beside it its Hub and what it printed."""
    from e2e import shrunken

    out = tmp_path_factory.mktemp("unbroken") / "quickstart"
    done = shrunken.run(out)
    assert done.returncode == 0, done.stderr[-3000:]
    (out.parent / "said.txt").write_text(done.stdout + done.stderr)
    return out


@pytest.fixture(scope="session")
def tuned(make_model: Callable[..., Any]) -> Any:
    """A tiny model with a LoRA adapter whose weights are not zero, so that it answers differently with it."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(make_model(), config).eval()
