"""Calls of transformers and peft: a tiny model, its adapter, pushed and loaded again. Run by run_checks.py."""

import os

import torch
from huggingface_hub import HfApi
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast

MODE = os.environ["CHECK_MODE"]
BASE, ADAPTER = f"alice/{MODE}-tiny", f"alice/{MODE}-tiny-lora"
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
torch.manual_seed(0)


def check_model_and_tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))
    model.push_to_hub(BASE, private=True)
    words = Tokenizer(WordLevel({"<unk>": 0, "hello": 1, "again": 2}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").push_to_hub(BASE)
    assert AutoConfig.from_pretrained(BASE).hidden_size == 16
    assert AutoTokenizer.from_pretrained(BASE)("hello again")["input_ids"] == [1, 2]
    loaded = AutoModelForCausalLM.from_pretrained(BASE)
    for (name, a), (_, b) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def check_adapter():
    base = AutoModelForCausalLM.from_pretrained(BASE)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.5)
    adapted.push_to_hub(ADAPTER)
    ids = torch.tensor([[1, 2, 3]])
    expected = adapted(ids).logits
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), ADAPTER)
    assert torch.allclose(loaded(ids).logits, expected)
    assert loaded.peft_config["default"].base_model_name_or_path == BASE
    assert "adapter_model.safetensors" in HfApi().list_repo_files(ADAPTER)


def check_base_found_from_the_adapter():
    from peft import AutoPeftModelForCausalLM

    assert AutoPeftModelForCausalLM.from_pretrained(ADAPTER).peft_config["default"].r == 2
