"""QLoRA on a CPU: generating inside a training run must not change what the next backward pass computes."""

from __future__ import annotations

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

from rl2f_hub.engines import Sampling
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.students.load import Origin, load_model


def test_gradients_are_the_same_before_and_after_generation(tokenizer, make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    base = prepare_model_for_kbit_training(load_model(Origin(str(tmp_path)), "nf4"), use_gradient_checkpointing=False)
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    model.train()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    before = gradients()
    session = TransformersEngine(model, tokenizer.pad_token_id).open([1], Sampling(turn_tokens=4), frozenset({1}))
    session.generate([0], [[5, 6, 7]], 1)
    assert model.training
    after = gradients()
    assert before
    assert before.keys() == after.keys()
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, msg=name)
