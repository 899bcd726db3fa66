"""Weights sharded by FSDP2 over two processes (gloo, CPU): whole while dialogues are played, shards otherwise."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.multiprocessing

from rl2f_hub.errors import UsageError
from rl2f_hub.training.sharded import check_sharding, whole_weights

ALONE = SimpleNamespace(state=SimpleNamespace())  # accelerate's object, of which only the settings are read


def _model() -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=0.5))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return model


def _shard(model: Any) -> None:
    """As accelerate shards it: a unit for each layer, one for the tied ends, one for the rest."""
    from torch.distributed.fsdp import fully_shard

    inner = model.get_base_model().model
    for layer in inner.layers:
        fully_shard(layer, reshard_after_forward=True)
    fully_shard([inner.norm, inner.embed_tokens, model.get_output_embeddings()], reshard_after_forward=False)
    fully_shard(model)


def _process(rank: int, folder: str) -> None:
    from torch.distributed.tensor import DTensor

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    ids = torch.arange(6)[None]
    model = _model()
    expected = model.eval()(input_ids=ids).logits
    adapter = {k: v.clone() for k, v in model.state_dict().items() if ".default." in k}
    _shard(model)
    model.train()
    state = torch.get_rng_state()
    sharded = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=SimpleNamespace(reshard_after_forward=True)))
    with whole_weights(model, sharded, pad_id=0):
        assert torch.equal(torch.get_rng_state(), state)
        assert model.training
        assert not any(isinstance(p, DTensor) for p in model.parameters())
        model.eval()
        for _ in range(3 + 4 * rank):  # unequal: a process that waited for the other one would hang
            with torch.inference_mode():
                found = model(input_ids=ids).logits
        model.train()
        assert not any(isinstance(p, DTensor) for p in model.parameters())
    assert all(isinstance(p, DTensor) for p in model.parameters())
    torch.testing.assert_close(found.clone(), expected)

    from rl2f_hub.training.sharded import adapter_state

    gathered = adapter_state(model, "default")
    assert gathered.keys() == adapter.keys()
    assert all(torch.equal(gathered[k], adapter[k]) for k in adapter)
    model(input_ids=ids, labels=ids).loss.backward()  # and training goes on
    assert all(p.grad is not None for n, p in model.named_parameters() if "lora_B" in n)
    layer = model.get_base_model().model.layers[0]
    assert all(isinstance(p, DTensor) for p in layer.parameters())
    (Path(folder) / f"done-{rank}").touch()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_weights_are_whole_in_the_block_alone_and_no_process_waits_for_another_in_it(tmp_path: Path) -> None:
    context = torch.multiprocessing.start_processes(
        _process, args=(str(tmp_path),), nprocs=2, start_method="spawn", join=False
    )
    until = time.monotonic() + 900
    while not context.join(timeout=5, grace_period=5):
        if time.monotonic() > until:
            for process in context.processes:
                process.kill()
            pytest.fail("the processes wait for each other")
    assert sorted(p.name for p in tmp_path.glob("done-*")) == ["done-0", "done-1"]


def test_other_models_are_left_alone() -> None:
    model = _model()
    before = [p.clone() for p in model.parameters()]
    with whole_weights(model, ALONE, pad_id=0):
        assert all(map(torch.equal, before, model.parameters()))
    assert not model.training or all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize(
    ("plugin", "model", "said"),
    [
        ({"fsdp_version": 1}, {}, r"^fsdp_version: 1 [^\n]*set it to 2"),
        ({"cpu_offload": True}, {}, r"^fsdp_offload_params: [^\n]*set it to false"),
        ({}, {"is_loaded_in_4bit": True}, r"^model.quantization: [^\n]*ddp.yaml"),
        ({"zero_stage": 3}, {"is_loaded_in_8bit": True}, r"^model.quantization: [^\n]*ddp.yaml"),
        ({"zero_stage": 3}, {}, r"^temperature: [^\n]*fsdp.yaml"),
    ],
)
def test_what_cannot_be_played_with_is_refused(plugin: dict[str, Any], model: dict[str, Any], said: str) -> None:
    from torch.distributed.fsdp import CPUOffloadPolicy

    offload = CPUOffloadPolicy() if plugin.pop("cpu_offload", False) else None
    given = SimpleNamespace(**{"fsdp_version": 2, "cpu_offload": offload, **plugin})
    state = SimpleNamespace(**{"deepspeed_plugin" if "zero_stage" in plugin else "fsdp_plugin": given})
    with pytest.raises(UsageError, match=said):
        check_sharding(SimpleNamespace(state=state), SimpleNamespace(**model), plain=True)
    check_sharding(ALONE, SimpleNamespace(**model), plain=True)
