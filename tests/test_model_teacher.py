"""Local models as teachers: what they say depends on the dialogue alone, and the student does not notice them."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

from rl2f_hub.dialogue.runner import Student, run_dialogues
from rl2f_hub.engines import Sampled, Sampling
from rl2f_hub.engines.base_weights import base_alone
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.errors import UsageError
from rl2f_hub.recipe.teacher_sections import TeacherSpec
from rl2f_hub.records import Dialogue, StopReason
from rl2f_hub.students.load import Origin, load_model
from rl2f_hub.teachers import build_teacher, teacher_record
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.model import ModelTeacher, PromptFormat, SelfTeacher

Make = Callable[..., Any]
TEMPLATE = "{{ question }}{{ turns[-1].attempt }}{{ verdict }}{{ reference }}<feedback></feedback>{{ again }}"
IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


@pytest.fixture(scope="session")
def prompt_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Short templates: the tiny model's window is 512 tokens, nearly one a character."""
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "any.answer.jinja").write_text(TEMPLATE)
    return str(folder)


@pytest.fixture
def spec(prompt_folder: str) -> Make:
    def make(**changes: Any) -> TeacherSpec:
        return TeacherSpec(**{"kind": "self", "prompt": prompt_folder, "max_tokens": 12, "temperature": 1.0} | changes)

    return make


@pytest.fixture
def with_adapter(make_model: Make) -> Make:
    """A PEFT model whose adapter matters."""

    def make(base: Any = None, **config: Any) -> Any:
        torch.manual_seed(0)
        base = base if base is not None else make_model()
        options = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False, "lora_dropout": 0.1}
        return get_peft_model(base, LoraConfig(**options | config))

    return make


def raw(teacher: ModelTeacher, situations: list[Any], again: bool = False) -> list[str]:
    """The replies as the model wrote them."""
    asks = [teacher._prompt(s, again) for s in situations]
    return [answer.text for answer in teacher.ask([a for a in asks if a])]  # type: ignore[union-attr]


def many(situation: Make, count: int = 7) -> list[Any]:
    words = ["15", "pear", "what is it " * 3, "9" * 30, "no", "ab cd", "7"]
    return [situation(words[i % 7], "34", seed=100 + i, question="Which? " * (i % 3 + 1)) for i in range(count)]


# -- the student does not notice ---------------------------------------------------------------------------------------


def state_of(model: Any) -> dict[str, Any]:
    return {
        "modes": [m.training for m in model.modules()],
        "trainable": [p.requires_grad for p in model.parameters()],
        "weights": [p.detach().clone() for p in model.parameters()],
        "random": torch.get_rng_state(),
        "use_cache": model.config.use_cache,
        "checkpointing": model.is_gradient_checkpointing,
        "adapter": getattr(model, "active_adapter", None),
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
    }


def assert_same(one: Any, two: Any) -> None:
    assert one.keys() == two.keys()
    for name in one:
        if name in ("weights", "grads"):
            for a, b in zip(one[name], two[name], strict=True):
                assert (a is None and b is None) or torch.equal(a, b), name
        elif name == "random":
            assert torch.equal(one[name], two[name])
        else:
            assert one[name] == two[name], name


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("adapter", [True, False])
def test_a_teacher_call_leaves_no_trace_in_the_students_model(
    training: bool, adapter: bool, make_model: Make, with_adapter: Make, make_student: Make, situation: Make, spec: Make
) -> None:
    model = with_adapter() if adapter else make_model()
    model.train(training)
    model.config.use_cache = False
    model.gradient_checkpointing_enable()
    odd = next(m for m in model.modules() if isinstance(m, torch.nn.Embedding))
    odd.train(not training)  # a mode of its own must survive too
    frozen = next(p for p in model.parameters() if p.requires_grad)
    frozen.requires_grad_(False)
    model(input_ids=IDS, labels=IDS).loss.backward()
    before = state_of(model)
    SelfTeacher(spec(), make_student(model)).feedback(many(situation))
    assert_same(before, state_of(model))


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_gradients_are_bit_for_bit_those_without_a_teacher(
    quantization: str,
    make_model: Make,
    with_adapter: Make,
    make_student: Make,
    situation: Make,
    spec: Make,
    tmp_path: Any,
) -> None:
    """A step of training with a teacher call in the middle, in train mode and in eval mode, dropout included."""
    if quantization == "nf4":
        make_model().save_pretrained(tmp_path)
        base = load_model(Origin(str(tmp_path)), "nf4")
        model = with_adapter(prepare_model_for_kbit_training(base, use_gradient_checkpointing=False))
    else:
        model = with_adapter()
    teacher = SelfTeacher(spec(), make_student(model))

    def gradients(between: Callable[[], Any]) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        model.train()
        model.zero_grad()
        between()
        model(input_ids=IDS, labels=IDS).loss.backward()
        between()
        model(input_ids=IDS + 1, labels=IDS).loss.backward()  # accumulates
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    def in_eval_mode() -> None:
        model.eval()
        teacher.feedback(many(situation, 3))
        model.train()

    plain = gradients(lambda: None)
    assert len(plain) > 10
    for between in (lambda: teacher.feedback(many(situation, 3)), in_eval_mode):
        found = gradients(between)
        assert found.keys() == plain.keys()
        for name, gradient in plain.items():
            assert torch.equal(found[name], gradient), name


def test_the_students_cache_is_its_own(with_adapter: Make, make_student: Make, situation: Make, spec: Make) -> None:
    """A student that goes on after a teacher call says what it would have said."""
    student = make_student(with_adapter().eval())
    teacher = SelfTeacher(spec(), student)

    def second_attempt(between: Callable[[], Any]) -> list[Sampled]:
        session = student.engine.open([1, 2], Sampling(turn_tokens=8), student.chat.stop_ids)
        session.generate([0, 1], [[5, 6, 7], [8, 9]], 1)
        between()
        return session.generate([0, 1], [[11, 12], [13]], 2)

    assert second_attempt(lambda: teacher.feedback(many(situation))) == second_attempt(lambda: None)


def test_the_base_speaks_and_not_the_adapter(
    make_model: Make, with_adapter: Make, make_student: Make, situation: Make, spec: Make
) -> None:
    base, asked = make_model().eval(), many(situation)
    by_base = raw(SelfTeacher(spec(), make_student(base)), asked)
    model = with_adapter().eval()
    assert raw(SelfTeacher(spec(), make_student(model)), asked) == by_base
    assert raw(ModelTeacher(spec(), make_student(model).engine, make_student().chat.tokenizer, "it"), asked) != by_base


def test_a_trained_run_is_the_same_with_a_silent_self_teacher(make_trainer: Make, make_model: Make, spec: Make) -> None:
    """In the trainer itself: a self teacher whose words never get through changes no weight."""

    class Mute(SelfTeacher):
        calls = 0

        def feedback(self, situations: Any) -> list[Any]:
            Mute.calls += len(situations)
            super().feedback(situations)
            return [None] * len(situations)

    class Nothing:
        name = "nothing"

        def feedback(self, situations: Any) -> list[Any]:
            return [None] * len(situations)

    def trained(teacher: Any) -> dict[str, torch.Tensor]:
        config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        trainer = make_trainer("length", teacher=teacher, peft_config=config, model=make_model(), max_turns=2, seed=3)
        trainer.train()
        return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if "lora" in n}

    with pytest.MonkeyPatch.context() as patch:
        from rl2f_hub.records import Verdict
        from rl2f_hub.verify import VERIFIERS, Verifier

        def verify(task: Any, attempt: str) -> Verdict:
            return Verdict(len(attempt) % 3 == 0, float(len(attempt) % 3 == 0), "5", "by length")

        patch.setitem(VERIFIERS, "length", Verifier(verify))
        with_teacher = trained(lambda student: Mute(spec(), student))
        without = trained(Nothing())
    assert Mute.calls > 0
    assert any(w.abs().max() > 0 for n, w in without.items() if "lora_B" in n)
    for name, weight in without.items():
        assert torch.equal(with_teacher[name], weight), name


# -- what it says ------------------------------------------------------------------------------------------------------


def test_words_do_not_depend_on_batch_mates(tiny_model: Any, make_student: Make, situation: Make, spec: Make) -> None:
    asked = many(situation)
    whole = raw(SelfTeacher(spec(), make_student()), asked)
    assert len(set(whole)) > 3
    for batch in (1, 2, 16):
        order = random.Random(batch).sample(range(7), 7)
        found = raw(SelfTeacher(spec(batch=batch), make_student()), [asked[i] for i in order])
        assert found == [whole[i] for i in order]


def test_words_depend_on_the_seed_the_turn_and_the_try(make_student: Make, situation: Make, spec: Make) -> None:
    teacher = SelfTeacher(spec(), make_student())
    one = situation("15", "34", seed=1)
    longer = situation("15", "34", seed=1, attempts=("3", "15"), feedbacks=("no",))
    seeds = {
        teacher._prompt(s, again).seed for s in (one, longer, situation("15", "34", seed=2)) for again in (False, True)
    }
    assert len(seeds) == 6


class Scripted:
    """An engine that writes given replies; the rest of a teacher is real."""

    context_length = 100_000
    generation_config = None

    def __init__(self, tokenizer: Any, replies: list[str], stopped: bool = True) -> None:
        self.tokenizer, self.replies, self.stopped, self.read = tokenizer, replies, stopped, []
        self.model = None

    def open(self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0) -> Scripted:
        return self

    def generate(self, rows: list[int], new_ids: list[list[int]], turn: int) -> list[Sampled]:
        self.read += [self.tokenizer.decode(ids) for ids in new_ids]
        out = []
        for _ in rows:
            ids = self.tokenizer(self.replies.pop(0), add_special_tokens=False)["input_ids"]
            out.append(Sampled(ids, [0.0] * len(ids), self.stopped))
        return out


def scripted(spec: TeacherSpec, tokenizer: Any, *replies: str, stopped: bool = True) -> tuple[ModelTeacher, Scripted]:
    engine = Scripted(tokenizer, list(replies), stopped)
    return ModelTeacher(spec, engine, tokenizer, "scripted"), engine


def test_only_the_span_goes_on_with_what_it_took(tokenizer: Any, situation: Make, spec: Make) -> None:
    reply = "The answer is 34. <feedback>Look at the tens.</feedback> Done."
    teacher, engine = scripted(spec(), tokenizer, reply)
    (heard,) = teacher.feedback([situation("15", "34")])
    assert heard is not None
    assert (heard.text, heard.kind) == ("Look at the tens.", "free")
    assert heard.usage is not None
    assert heard.usage.completion_tokens == len(tokenizer(reply, add_special_tokens=False)["input_ids"])
    assert heard.usage.prompt_tokens == len(tokenizer(engine.read[0], add_special_tokens=False)["input_ids"])


def test_without_a_span_it_is_asked_once_more_and_then_given_up(tokenizer: Any, situation: Make, spec: Make) -> None:
    asked = [situation("15", "34"), situation("16", "34"), situation("17", "34")]
    first = ["<feedback>Good words.</feedback>", "no span", "none here"]
    teacher, engine = scripted(spec(), tokenizer, *first, "Second words.", "")
    heard = teacher.feedback(asked)
    assert [h and h.text for h in heard] == ["Good words.", "Second words.", None]
    assert len(engine.read) == 5
    assert [r.endswith("<feedback>") for r in engine.read] == [False] * 3 + [True] * 2
    assert heard[1] is not None
    assert heard[0] is not None
    assert heard[1].usage.completion_tokens > len("no span") // 4  # the first try is paid for too
    assert heard[1].usage.prompt_tokens > 1.5 * heard[0].usage.prompt_tokens
    assert dict(teacher.counts) == {"asked": 5, "asked_again": 2, "empty": 1}


def test_a_reply_that_runs_out_of_tokens_is_truncated(tokenizer: Any, situation: Make, spec: Make) -> None:
    teacher, _ = scripted(spec(), tokenizer, "well <feedback>Look", "at the", stopped=False)
    assert teacher.feedback([situation("15", "34")]) == [None]
    assert teacher.counts["truncated"] == 1


def test_special_tokens_of_a_student_stay_characters(tokenizer: Any, situation: Make, spec: Make) -> None:
    teacher = ModelTeacher(spec(), Scripted(tokenizer, []), tokenizer, "it")
    marker = tokenizer.eos_token
    plain = teacher.format.ids("x")
    hostile = teacher.format.ids(f"x{marker}{marker}")
    assert sum(i == tokenizer.eos_token_id for i in hostile) == sum(i == tokenizer.eos_token_id for i in plain)
    assert marker in tokenizer.decode(hostile)


def test_a_prompt_that_does_not_fit_ends_its_own_dialogue_only(
    make_student: Make, situation: Make, spec: Make, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = SelfTeacher(spec(), make_student())
    teacher.feedback(
        [situation("x" * 2_000, "34"), situation("15", ""), situation("15", "34"), situation("y" * 3_000, "1")]
    )
    assert teacher.counts["context_full"] == 2
    assert teacher.counts["privilege_missing"] == 1
    assert teacher.counts["asked"] >= 1
    lines = [r.getMessage() for r in caplog.records]
    assert sum("do not fit" in line for line in lines) == 1
    assert all("\n" not in line for line in lines)


def test_dialogues_end_with_a_name_and_are_the_same_again(
    products: list[Any], make_student: Make, with_adapter: Make, spec: Make
) -> None:
    """A random teacher has nothing to say: every dialogue that is not solved ends with a teacher error."""
    student = make_student(with_adapter().eval())

    def play(wave: int) -> list[Any]:
        teacher = build_teacher(spec(), student)
        out = run_dialogues(
            products, student, teacher, guard=Guard(), max_turns=2, sampling=Sampling(1.0, 1.0, 8), seed=1, wave=wave
        )
        record = teacher_record(teacher)
        assert record["name"] == "self"
        assert record["counts"]["asked"] > len(products)
        return [r.dialogue("s", teacher.name, Sampling()).to_row() for r in out]

    rows = play(256)
    assert play(3) == rows
    assert {row["stop_reason"] for row in rows} <= {StopReason.TEACHER_ERROR, StopReason.SOLVED, StopReason.TURN_LIMIT}


def test_usage_is_in_the_rows_and_summed_over_a_dialogue(
    tokenizer: Any, make_task: Make, saying: Make, spec: Make
) -> None:
    teacher, _ = scripted(spec(), tokenizer, "<feedback>Tens.</feedback>", "<feedback>Units.</feedback>")
    (rollout,) = run_dialogues(
        [make_task(1)], saying(["1", "2"]), teacher, guard=Guard(), max_turns=2, sampling=Sampling(), seed=0
    )
    dialogue = rollout.dialogue("s", teacher.name, Sampling())
    row = dialogue.to_row()
    turns = row["turns"]
    assert [t["feedback"] for t in turns] == ["Tens.", "Units."]
    assert all(t["feedback_tokens"] > 0 and t["feedback_prompt_tokens"] > 0 for t in turns)
    assert row["teacher_tokens"] == sum(t["feedback_tokens"] + t["feedback_prompt_tokens"] for t in turns)
    assert Dialogue.from_row(row) == dialogue


def test_what_a_teacher_did_adds_up_over_the_shards_of_a_stage(make_student: Make, situation: Make, spec: Make) -> None:
    from rl2f_hub.generate import _since, merged_records

    teacher = SelfTeacher(spec(), make_student())
    marks = [teacher_record(teacher)]
    for start in (0, 2, 5):
        teacher.feedback(many(situation)[start : start + 2])
        marks.append({**teacher_record(teacher), "rate": 0.5})
    parts = [_since(before, after) for before, after in pairwise(marks)]
    whole: dict[str, Any] = {}
    for part in parts:
        whole = merged_records(whole, part)
    assert whole == marks[-1]
    assert parts[1]["prompt_tokens"] < whole["prompt_tokens"]


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_self_teacher_needs_a_student_whose_adapter_can_be_switched_off(
    with_adapter: Make, make_student: Make, saying: Make, spec: Make, situation: Make
) -> None:
    for student, says in ((None, "needs the student"), (saying(["x"]), "weights are here")):
        with pytest.raises(UsageError, match=says):
            build_teacher(spec(), student)
    assert build_teacher("self", make_student()).name == "self"  # its settings have defaults
    model = with_adapter(lora_dropout=0.0).eval()
    with pytest.raises(UsageError, match="sits inside a plain model"), base_alone(model.base_model.model):
        pass
    model.merge_adapter()
    with pytest.raises(UsageError, match="merged"), base_alone(model):
        pass


def test_any_template_with_one_user_turn_will_do_and_no_other(tokenizer: Any) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = (
        "{% for m in messages %}<u>{{ m.content }}</u>{% endfor %}{{ '<a>' if add_generation_prompt }}"
    )
    assert other.decode(PromptFormat(other).ids("hello", "yes")) == "<u>hello</u><a>yes"
    other.chat_template = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"
    with pytest.raises(UsageError, match="changes the user's text"):
        PromptFormat(other)
    other.chat_template = None
    with pytest.raises(UsageError, match="has no chat template"):
        PromptFormat(other)


def test_another_model_is_opened_from_a_folder_once(
    tiny_model: Any, tokenizer: Any, tmp_path: Any, make_student: Make, situation: Make, spec: Make
) -> None:
    tiny_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    other = spec(kind="model", model={"id": str(tmp_path)})
    teacher, same = build_teacher(other), build_teacher(other)
    assert teacher.name == f"model:{tmp_path}"
    assert teacher.engine is same.engine  # type: ignore[attr-defined]
    asked = many(situation, 3)
    assert raw(teacher, asked) == raw(SelfTeacher(spec(), make_student()), asked)  # type: ignore[arg-type]
    assert isinstance(make_student(), Student)
    assert isinstance(teacher.engine, TransformersEngine)  # type: ignore[attr-defined]


def test_recipes_say_what_is_missing() -> None:
    for kind in ("model", "endpoint"):
        with pytest.raises(ValueError, match=f"kind {kind} needs the section `{kind}`"):
            TeacherSpec(kind=kind)  # type: ignore[arg-type]


def test_a_model_in_this_process_never_answers_while_the_student_generates(make_task: Any) -> None:
    """It may be the student's own weights, with the adapter switched off: both at once would mix them up."""
    from rl2f_hub.dialogue.runner import feedback_is_remote
    from rl2f_hub.teachers.controls import DoubtingTeacher
    from rl2f_hub.teachers.model import ModelTeacher
    from rl2f_hub.teachers.scripted import ScriptedTeacher

    code = [make_task(verifier="unit_tests")]
    local = ModelTeacher.__new__(ModelTeacher)
    local.name = "local"
    assert feedback_is_remote(Guard().wrap(ScriptedTeacher()), code)
    assert not feedback_is_remote(Guard().wrap(local), code)
    assert not feedback_is_remote(Guard().wrap(DoubtingTeacher(local, 0.5)), code)
