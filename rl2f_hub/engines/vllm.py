"""The vLLM engine: ids in, ids and log-probabilities out, from a `vllm.LLM` in this process or a `vllm serve` elsewhere.

The base model is loaded once; an adapter is a LoRA request beside it, and `sync` makes a new one from a folder that
`save_pretrained` wrote: weights are never merged, nothing but the adapter moves. `without_adapter` is the same engine
without the request: the base, for a teacher of the kind `self`. vLLM keeps what it has read by prefix, so a dialogue's
turns are not read again while there is room. Every request carries the seed of its dialogue and turn; vLLM's random
numbers are not ours, so sampled texts differ from the transformers engine's, greedy ones agree up to rounding.

Written against vLLM's documented interface and **not run**: it needs a GPU that the authors did not have. The tests use
a stand-in for the package. Log-probabilities are those after temperature and top_p (`processed_logprobs`).

Left out: quantised bases, adapters that are more than plain LoRA of rank 64 or less, more than one node.
"""

from __future__ import annotations

import importlib.util
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl2f_hub.engines import Engine, OnToken, Sampled, Sampling, derive_seed
from rl2f_hub.errors import RL2FError, UsageError

CONCURRENCY = 64  # requests to a server at once; it batches them itself
TIMEOUT_S = 600.0
MAX_RANK = 64  # of an adapter; vLLM reserves room for it
# (prompts, sampling, seeds, stop ids, adapter) -> attempts; an adapter is (name, number, folder), None the base
Adapter = tuple[str, int, str]
Complete = Callable[[list[list[int]], Sampling, list[int], list[int], "Adapter | None"], list[Sampled]]


class VllmEngine(Engine):
    """Generates through `complete`; see `colocated` and `served`."""

    takes_adapters = True
    has_base = True

    def __init__(self, complete: Complete, context_length: int, cache_tokens: int) -> None:
        self._complete, self.context_length, self.cache_tokens = complete, context_length, cache_tokens
        self._adapter: Adapter | None = None
        self._count = 0
        self._mark = secrets.token_hex(4)

    def sync(self, folder: str | Path | None) -> None:
        """From now on generate with the adapter in `folder`, or with the base (None).

        Every sync is a new request: vLLM keeps adapters by number, a server by name, which is therefore this engine's own.

        Raises:
            UsageError: no adapter there, or one that vLLM does not take.
        """
        if folder is None:
            self._adapter = None
            return
        file = Path(folder) / "adapter_config.json"
        if not file.is_file():
            raise UsageError(f"adapter: {folder} has no adapter_config.json; save a PEFT adapter there")
        _check_plain(json.loads(file.read_text(encoding="utf-8")))
        self._count += 1
        self._adapter = (f"adapter-{self._mark}-{self._count}", self._count, str(folder))

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """The base's words within the block."""
        kept, self._adapter = self._adapter, None
        try:
            yield
        finally:
            self._adapter = kept

    def open(self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0) -> VllmSession:
        return VllmSession(self, seeds, sampling, stop_ids)


class VllmSession:
    """Histories; what of them is still in the cache is vLLM's affair."""

    def __init__(self, engine: VllmEngine, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int]) -> None:
        self.engine, self.seeds, self.sampling, self.stops = engine, seeds, sampling, sorted(stop_ids)
        self.history: dict[int, list[int]] = {}

    def restart(self, row: int) -> None:
        """See `engines.Session`."""
        self.history.pop(row, None)

    def generate(
        self,
        rows: list[int],
        new_ids: list[list[int]],
        turn: int | Sequence[int],
        on_token: OnToken | None = None,
    ) -> list[Sampled]:
        """See `engines.Session`; `on_token` hears an attempt's ids when it is whole."""
        turns = [turn] * len(rows) if isinstance(turn, int) else list(turn)
        for row, new in zip(rows, new_ids, strict=True):
            self.history.setdefault(row, []).extend(new)
        seeds = [derive_seed(self.seeds[row], number) % 2**31 for row, number in zip(rows, turns, strict=True)]
        prompts = [list(self.history[row]) for row in rows]
        out = self.engine._complete(prompts, self.sampling, seeds, self.stops, self.engine._adapter)
        for row, attempt in zip(rows, out, strict=True):
            self.history[row] += attempt.ids
            if on_token is not None:
                for token in attempt.ids:
                    on_token(row, token)
        return out


# A server takes what a request leaves out from the model's own `generation_config` (Qwen's has a top_k and a penalty).
NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


def colocated(model: str, revision: str | None = None, dtype: str = "bfloat16", memory: float = 0.5) -> VllmEngine:
    """An engine in this process.

    Args:
        memory: the share of the GPU's memory that vLLM takes.
    Raises:
        UsageError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise UsageError("engine.kind: 'vllm' is not installed; run `pip install 'rl2f-hub[vllm]'` (it needs a GPU)")
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    llm = LLM(
        model=model,
        revision=revision,
        dtype=dtype,
        gpu_memory_utilization=memory,
        enable_lora=True,
        max_lora_rank=MAX_RANK,
        enable_prefix_caching=True,
        logprobs_mode="processed_logprobs",
        trust_remote_code=False,
    )

    def complete(
        prompts: list[list[int]], sampling: Sampling, seeds: list[int], stops: list[int], adapter: Adapter | None
    ) -> list[Sampled]:
        params = [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.turn_tokens,
                seed=seed,
                stop_token_ids=stops,
                ignore_eos=True,  # what ends an attempt is in `stops`
                logprobs=0,  # of the sampled id alone
                detokenize=False,
            )
            for seed in seeds
        ]
        done = llm.generate(
            [{"prompt_token_ids": ids} for ids in prompts],
            params,
            lora_request=None if adapter is None else LoRARequest(*adapter),
            use_tqdm=False,
        )
        return [_sampled(list(o.token_ids), [p[i].logprob for i, p in zip(o.token_ids, o.logprobs, strict=True)], stops)
                for o in (request.outputs[0] for request in done)]  # fmt: skip

    context = int(llm.llm_engine.model_config.max_model_len)
    return VllmEngine(complete, context, 2 * (context + 1) * CONCURRENCY)


def served(url: str, model: str, context_length: int) -> VllmEngine:
    """An engine at `url` (up to and with `/v1`): `vllm serve MODEL --enable-lora --logprobs-mode processed_logprobs`.

    For `sync` the server must run with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and see the adapter's folder.
    """
    loaded: set[str] = set()

    def complete(
        prompts: list[list[int]], sampling: Sampling, seeds: list[int], stops: list[int], adapter: Adapter | None
    ) -> list[Sampled]:
        if adapter is not None and adapter[0] not in loaded:
            _post(f"{url}/load_lora_adapter", {"lora_name": adapter[0], "lora_path": adapter[2]})
            while loaded:  # a training would leave one there at every update
                _post(f"{url}/unload_lora_adapter", {"lora_name": loaded.pop()})
            loaded.add(adapter[0])

        def one(job: tuple[list[int], int]) -> Sampled:
            reply = _post(
                f"{url}/completions",
                {
                    "model": model if adapter is None else adapter[0],
                    "prompt": job[0],
                    "temperature": sampling.temperature,
                    "top_p": sampling.top_p,
                    **NEUTRAL,
                    "max_tokens": sampling.turn_tokens,
                    "seed": job[1],
                    "stop_token_ids": stops,
                    "ignore_eos": True,
                    "logprobs": 0,
                    "return_token_ids": True,
                    "skip_special_tokens": False,
                },
            )
            try:
                choice = reply["choices"][0]
                return _sampled([int(i) for i in choice["token_ids"]], choice["logprobs"]["token_logprobs"], stops)
            except (KeyError, IndexError, TypeError, ValueError):
                raise RL2FError(
                    f"engine.server: {url} sends no token ids and log-probabilities; it must be a vLLM of 0.22 or later"
                ) from None

        with ThreadPoolExecutor(min(CONCURRENCY, len(prompts))) as pool:
            return list(pool.map(one, zip(prompts, seeds, strict=True)))

    return VllmEngine(complete, context_length, 2 * (context_length + 1) * CONCURRENCY)


def _check_plain(config: dict[str, Any]) -> None:
    """Refuses an adapter (its `adapter_config.json`) that vLLM does not take."""
    ranks = [config.get("r", 1), *(config.get("rank_pattern") or {}).values()]
    odd = [name for name in ("use_dora", "modules_to_save") if config.get(name)]
    if config.get("bias", "none") != "none":
        odd.append("bias")
    if odd:
        raise UsageError(
            f"adapter: {', '.join(odd)} is more than plain LoRA, which vLLM takes alone; set engine.kind transformers"
        )
    if max(ranks) > MAX_RANK:
        raise UsageError(
            f"adapter: rank {max(ranks)} is above {MAX_RANK}, vLLM's; lower it or set engine.kind transformers"
        )


def _sampled(ids: list[int], logprobs: list[float], stops: list[int]) -> Sampled:
    if not ids or len(logprobs) != len(ids):
        raise ValueError("as many log-probabilities as ids, and at least one, are needed")
    return Sampled(ids, [float(x) for x in logprobs], ids[-1] in stops)


def _post(url: str, body: dict[str, Any]) -> Any:
    import httpx

    try:
        reply = httpx.post(url, json=body, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise RL2FError(
            f"engine.server: {url} does not answer ({type(error).__name__}); is `vllm serve` running?"
        ) from None
    if reply.is_error:
        raise RL2FError(f"engine.server: {url} refuses ({reply.status_code}): {' '.join(reply.text[:300].split())}")
    try:
        return reply.json()
    except ValueError:
        return {}  # loading an adapter is answered in plain words
