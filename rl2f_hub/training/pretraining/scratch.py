"""A small decoder from scratch: its tokenizer, its configuration and its pre-training.

Everything is the library's own (a `transformers` Llama, a `tokenizers` byte-level BPE with single digits, the
`transformers` Trainer, torch's Muon), so the result is pushed to the Hub and loaded by anyone without our code.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import Trainer

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.recipe import ScratchSpec
from rl2f_hub.training.callbacks import quiet, train_to_end
from rl2f_hub.training.pretraining.lessons import Conversation

CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}<|assistant|>{% generation %}{{ m['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
MUON_RATE = 0.02  # Muon's own scale for matrices, independent of the AdamW rate of the rest


def build_tokenizer(texts: Sequence[str], vocab_size: int, context: int) -> Any:
    """A byte-level BPE over `texts` in which every digit is a token of its own; any text can be encoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=SPECIAL[2:],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=context,
    )


def build_model(tokenizer: Any, spec: ScratchSpec, seed: int) -> Any:
    """A randomly initialised Llama with tied embeddings, float32."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.hidden,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads,
        intermediate_size=spec.intermediate,
        max_position_embeddings=spec.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def encode_lessons(
    tokenizer: Any, conversations: Sequence[Conversation], *, teacher_too: bool
) -> list[dict[str, list[int]]]:
    """Ids and labels of conversations. The student's own tokens carry loss, the teacher's if `teacher_too`.

    The task's words never do: mostly random numbers, they would only be noise.
    """
    chat = ChatFormat(tokenizer)
    texts = sorted({m["content"] for c in conversations for m in c})
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]  # as ChatFormat.encode
    ids_of = dict(zip(texts, encoded, strict=True))
    rows = []
    for conversation in conversations:
        ledger = chat.new_ledger(ids_of[conversation[0]["content"]])
        for i, message in enumerate(conversation[1:], 1):
            turn = (i + 1) // 2
            if message["role"] == "assistant":
                chat.append_attempt(ledger, [*ids_of[message["content"]], chat.eos_id], [], turn)
            elif teacher_too or i + 1 < len(conversation):
                chat.append_feedback(ledger, ids_of[message["content"]], turn, closing=i + 1 == len(conversation))
        kept = [a or (b and teacher_too) for a, b in zip(ledger.mask("student"), ledger.mask("teacher"), strict=True)]
        labels = [token if keep else -100 for token, keep in zip(ledger.ids, kept, strict=True)]
        rows.append({"input_ids": ledger.ids, "labels": labels})
    return rows


def arrange(
    tokenizer: Any, practice: list[Conversation], habit: list[Conversation], batch_size: int, seed: int
) -> list[dict[str, list[int]]]:
    """The rows of both courses in training order; the second also teaches to foresee the teacher's words."""
    first = batches_by_length(encode_lessons(tokenizer, practice, teacher_too=False), batch_size, seed)
    return first + batches_by_length(encode_lessons(tokenizer, habit, teacher_too=True), batch_size, seed + 1)


def batches_by_length(rows: list[dict[str, list[int]]], batch_size: int, seed: int) -> list[dict[str, list[int]]]:
    """The rows in an order in which each run of `batch_size` has similar lengths and the runs come in random order.

    Sorting whole epochs by length would feed the easy rows first; padding random batches wastes 40 % of the time.
    """
    rng = random.Random(f"batches/{seed}")
    order = list(rows)
    rng.shuffle(order)
    batches = []
    for start in range(0, len(order), batch_size * 64):
        chunk = sorted(order[start : start + batch_size * 64], key=lambda r: len(r["input_ids"]))
        batches += [chunk[i : i + batch_size] for i in range(0, len(chunk) - batch_size + 1, batch_size)]
    rng.shuffle(batches)
    return [row for batch in batches for row in batch]


class Muon(torch.optim.Muon):
    """torch's Muon, with Nesterov's momentum and the original adjustment of the rate, at float32's speed.

    torch orthogonalizes in bfloat16, which processors that do not compute in it (most without AVX-512 BF16 or AMX)
    emulate: there a step at one million parameters takes three times as long, at ten million six times
    (tests/bench/bench_pretrain.py). Here products are float32's, and each result is rounded to bfloat16 all the same.
    That is no detail: gradients of short lessons have few directions, and what rounding adds in all others is brought
    near 1 as they are.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                mean = self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix.grad))
                mean.lerp_(matrix.grad, 1 - group["momentum"])
                update = _orthogonal(matrix.grad.lerp(mean, group["momentum"]), group)
                rows, columns = matrix.shape
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))


def _orthogonal(matrix: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """All singular values brought near 1, by the Newton-Schulz iteration of Muon's authors (Jordan et al. 2024)."""
    a, b, c = group["ns_coefficients"]
    wide = _rounded(matrix.T if matrix.size(0) > matrix.size(1) else matrix)
    wide = _rounded(wide / _rounded(wide.norm()).clamp(min=group["eps"]))
    for _ in range(group["ns_steps"]):
        gram = _rounded(wide @ wide.T)
        factor = _rounded(torch.addmm(gram, gram, gram, beta=b, alpha=c))
        wide = _rounded(torch.addmm(wide, factor, wide, beta=a))
    return wide.T if matrix.size(0) > matrix.size(1) else wide


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """The nearest values that bfloat16 has, as float32."""
    return values.bfloat16().float()


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for the hidden matrices and AdamW for the rest, as one optimizer.

    Copying from the conversation, which every later skill needs, is learnt in far fewer steps than with AdamW alone.
    """

    def __init__(self, model: torch.nn.Module, learning_rate: float) -> None:
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        matrices = [p for n, p in named if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        self.parts = [
            Muon(matrices, lr=MUON_RATE, weight_decay=0.01, momentum=0.95),
            torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        super().__init__([p for _, p in named], {})
        self.param_groups = [group for part in self.parts for group in part.param_groups]  # shared, so schedulers act

    def step(self, closure: Any = None) -> Any:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


class _InOrder(Trainer):
    """The Trainer without shuffling: `arrange` has put the rows in order."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        assert isinstance(self.train_dataset, Dataset)
        return SequentialSampler(self.train_dataset)


def pretrain(
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, list[int]]],
    spec: ScratchSpec,
    *,
    out: Path,
    seed: int,
    callbacks: Sequence[Any] = (),
    resume: str | None = None,
) -> None:
    """Next-token training on `rows`, in their order, for `spec.steps` updates; leaves the weights in `model`."""
    from transformers import DataCollatorForSeq2Seq, TrainingArguments, get_cosine_schedule_with_warmup

    args = TrainingArguments(
        output_dir=str(out),
        max_steps=spec.steps,
        per_device_train_batch_size=spec.batch_size,
        seed=seed,
        data_seed=seed,
        report_to="none",
        logging_steps=max(1, spec.steps // 40),
        save_steps=max(1, spec.steps // 5),
        save_total_limit=2,
        use_cpu=next(model.parameters()).device.type == "cpu",
        bf16=False,
        disable_tqdm=True,
    )
    optimizer = MuonAdamW(model, spec.learning_rate)
    trainer = _InOrder(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
        callbacks=list(callbacks),
        optimizers=(optimizer, get_cosine_schedule_with_warmup(optimizer, max(1, spec.steps // 40), spec.steps)),
    )
    quiet(trainer)
    train_to_end(trainer, resume, spec.steps)
