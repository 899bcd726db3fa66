"""Made-up words of teachers and students, chat templates and adapter folders: an answer or one line of error."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import fuzz, one_line, refuses_or, values
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.errors import RL2FError

# -- what models say -----------------------------------------------------------------------------------------------

said = st.lists(
    st.sampled_from(
        [
            "<feedback>",
            "</feedback>",
            "<think>",
            "</think>",
            "\\boxed{",
            "}",
            "answer is",
            "####",
            "7",
            "1/0",
            "\x00",
            "\ud800",
        ]
    )
    | st.text(max_size=12),
    max_size=12,
).map("".join)


@fuzz
@given(raw=said, question=st.text(max_size=40), limit=st.integers(1, 50), complete=st.booleans())
def test_any_reply_of_a_teacher(raw: str, question: str, limit: int, complete: bool) -> None:
    from rl2f_hub.teachers.reply import read_reply

    feedback, reason = read_reply(raw, question, limit, complete)
    assert bool(feedback) != bool(reason)
    assert len(feedback) <= limit


@fuzz
@given(body=values)
def test_any_body_of_an_endpoint(body: Any) -> None:
    from rl2f_hub.endpoints.completion import Failure, checked, reduced

    with pytest.raises((Failure, ValueError)):
        checked(body)
    with pytest.raises(Failure):
        reduced(body)


@fuzz
@given(attempt=said, verifier=st.sampled_from(["integer", "text", "choice", "grid"]), make=st.integers(0, 3))
def test_any_attempt_gets_a_verdict(attempt: str, verifier: str, make: int, make_task: Callable[..., Any]) -> None:
    from rl2f_hub.verify import verify

    reference = {"integer": "408", "text": "plum", "choice": "B", "grid": "1 2\n3 4"}[verifier]
    config = json.dumps({"options": ["plum", "pear"]} if verifier == "choice" else {})
    verdict = verify(make_task(make, reference, verifier=verifier, config=config), attempt)
    assert 0 <= verdict.score <= 1


# -- templates -----------------------------------------------------------------------------------------------------

parts = st.lists(
    st.sampled_from(
        [
            "{% for m in messages %}",
            "{% endfor %}",
            "{{ m['content'] }}",
            "{{ m.role }}",
            "{% if add_generation_prompt %}",
            "{% endif %}",
            "<|user|>",
            "<|end|>",
            "\n",
            "{{ messages[0]['content'] }}",
            "{{ raise_exception('no') }}",
            "{{ 1/0 }}",
            "{{ undefined.x }}",
            "{% set x = m %}",
            "{{ messages | length }}",
            "{{ ''.__class__.__mro__ }}",
        ]
    )
    | st.text(max_size=6),
    max_size=10,
).map("".join)


@fuzz
@given(template=parts)
def test_any_chat_template(template: str, tokenizer: Any) -> None:
    from rl2f_hub.dialogue.chat_format import ChatFormat

    own = copy.deepcopy(tokenizer)
    own.chat_template = template
    made = refuses_or(lambda: ChatFormat(own))
    if made is not None:
        assert made.decode(made.encode("a <b>")) == "a <b>"


@fuzz
@given(template=parts)
def test_any_template_of_a_teacher(template: str, tmp_path: Path) -> None:
    from rl2f_hub.teachers.prompts import PromptSet

    (tmp_path / "any.answer.jinja").write_bytes(template.encode("utf-8", "surrogatepass"))
    refuses_or(lambda: PromptSet(str(tmp_path)))


# -- folders -------------------------------------------------------------------------------------------------------


@fuzz
@given(
    config=st.binary(max_size=40) | values.map(lambda v: json.dumps(v).encode()),
    weights=st.none() | st.binary(max_size=40),
)
def test_any_folder_as_an_adapter(config: bytes, weights: bytes | None, tmp_path: Path) -> None:
    from rl2f_hub.students.load import open_pair

    folder = tmp_path / "adapter"
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_bytes(config)
    (folder / "adapter_model.safetensors").unlink(missing_ok=True)
    if weights is not None:
        (folder / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(RL2FError) as caught:
        open_pair(str(folder))
    one_line(caught.value)


@pytest.mark.parametrize("damage", ["cut", "zeros", "no header", "pickle", "other shape", "other names"])
def test_a_damaged_adapter_is_refused_in_one_line(damage: str, make_model: Any, tokenizer: Any, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file

    from rl2f_hub.students.load import open_pair

    model = make_model()
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    tuned.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    whole = file.read_bytes()
    if damage == "pickle":
        torch.save({"a": torch.zeros(1)}, tmp_path / "adapter" / "adapter_model.bin")
        file.unlink()
    elif damage == "other names":
        from safetensors.torch import load_file

        save_file({name.replace("q_proj", "query"): value for name, value in load_file(file).items()}, file)
    elif damage == "other shape":
        from safetensors.torch import load_file

        save_file({name: torch.zeros(3, 3) for name in load_file(file)}, file)
    else:
        file.write_bytes({"cut": whole[: len(whole) // 2], "zeros": bytes(len(whole)), "no header": whole[8:]}[damage])
    with pytest.raises(RL2FError) as caught:
        open_pair(str(tmp_path / "adapter"))
    one_line(caught.value)


@pytest.fixture(scope="module")
def good_adapter(make_model: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("good")
    model = make_model()
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    tuned.peft_config["default"].base_model_name_or_path = str(folder / "base")
    tuned.save_pretrained(folder / "adapter")
    return folder / "adapter"


KEYS = ("r", "lora_alpha", "target_modules", "peft_type", "task_type", "revision", "bias", "auto_mapping", "rank_pattern",
        "modules_to_save", "base_model_name_or_path", "layers_to_transform", "use_dora", "lora_dropout", "corda_config",
        "init_lora_weights", "megatron_core", "trainable_token_indices", "loftq_config", "exclude_modules", "x")  # fmt: skip


@fuzz
@given(
    changed=st.dictionaries(st.sampled_from(KEYS), values, max_size=2),
    at=st.floats(0, 1, exclude_max=True),
    new=st.binary(max_size=6),
    end=st.just(1.0) | st.floats(0, 1),
)
def test_an_adapter_with_parts_changed_is_loaded_or_refused(
    changed: dict[str, Any], at: float, new: bytes, end: float, good_adapter: Path, tmp_path: Path
) -> None:
    from rl2f_hub.students.load import open_pair

    folder = tmp_path / "adapter"
    folder.mkdir(exist_ok=True)
    config = json.loads((good_adapter / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changed}))
    data = bytearray((good_adapter / "adapter_model.safetensors").read_bytes())
    head = 8 + int.from_bytes(data[:8], "little")
    start = int(at * head)  # in the header: other weights are a matter of taste
    data[start : start + len(new)] = new
    (folder / "adapter_model.safetensors").write_bytes(data[: int(end * len(data))])
    refuses_or(lambda: open_pair(str(folder)))
