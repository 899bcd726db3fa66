"""How many bytes a model's passes hold, found by running them on tensors without data.

The real model class of `transformers` is built from its configuration, with PEFT's adapter and TRL's fused LM head, and
its forward and backward passes run in torch's fake mode: every tensor has a shape and a type and no memory. A dispatch
mode counts the storages that are alive. So the count follows the library that is installed, for any architecture, and
takes seconds also for a model that would not fit.

Left out: what kernels take inside one operator, the allocator's rounding, and the caching of freed blocks.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Counts bytes of storages that come to life inside the block: `now`, and `peak` since it was last reset."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {t.untyped_storage()._cdata for t in tree_iter((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self._alive and key not in before:  # else a view of something counted, or older than us
                    self._alive[key] = storage.nbytes()
                    self.now += self._alive[key]
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._gone, key)
        return out

    def _gone(self, key: int) -> None:
        self.now -= self._alive.pop(key, 0)


class Traced:
    """A causal model of a recipe without data: its parameters, and what its passes hold in bytes.

    Args:
        config: the model's configuration.
        lora: PEFT's configuration of the adapter.
        quantized: linear layers are 4-bit in truth; here they stand in their compute type and are counted apart.
        dtype: the type that the weights are loaded in.
        kbit: `prepare_model_for_kbit_training` is applied in truth: everything that is not 4-bit becomes float32.
        cuda: passes of training run under bfloat16 autocast, and Triton folds the LM head's tiles in place.
        checkpointing: activations are recomputed in the backward pass.
    """

    def __init__(
        self, config: Any, lora: Any, *, cuda: bool, quantized: bool, dtype: str, kbit: bool, checkpointing: bool
    ) -> None:
        from peft import get_peft_model
        from peft.tuners.lora import Linear
        from transformers import AutoModelForCausalLM
        from trl.trainer.utils import add_fused_lm_head

        from rl2f_hub.engines.folded import MOST_BYTES

        self.config, self.cuda = config, cuda
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
            head = model.get_output_embeddings()
            self.linear = {
                f"{name}.weight": m.weight.numel()
                for name, m in model.named_modules()
                if isinstance(m, torch.nn.Linear) and m is not head
            }
            counts = {name: (p.numel(), p.element_size()) for name, p in model.named_parameters()}
            self.model = get_peft_model(model, lora)
        add_fused_lm_head(self.model.get_base_model(), outputs=("log_probs", "entropy"))
        self.adapter_parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        self.parameters = sum(n for n, _ in counts.values())
        four_bit = sum(n for name, (n, _) in counts.items() if quantized and name in self.linear)
        rest = sum(
            n * (4 if kbit else size) for name, (n, size) in counts.items() if not quantized or name not in self.linear
        )
        self.weight_bytes = round(four_bit * NF4_BYTES) + rest
        self.unpacked_bytes = max(self.linear.values(), default=0) * getattr(torch, dtype).itemsize if quantized else 0
        adapted = [m.get_base_layer().weight for m in self.model.modules() if isinstance(m, Linear)]
        copies = sum(w.nbytes for w in adapted if w.dtype is torch.float32)
        # Of the adapted layers' weights while the model generates; see `engines/folded.py`.
        self.folded_bytes = 0 if quantized or copies > MOST_BYTES else copies
        self.mode = FakeTensorMode()
        if kbit:
            linear = {id(m.weight) for m in self.model.modules() if isinstance(m, torch.nn.Linear) and m is not head}
            for p in self.model.parameters():
                if id(p) not in linear and not p.requires_grad:
                    p.data = p.data.float()
        with self.mode:
            _give_storage(self.model)
        if checkpointing:
            self.model.gradient_checkpointing_enable()
            self.model.enable_input_require_grads()

    @contextmanager
    def _running(self, train: bool) -> Iterator[LiveBytes]:
        cast = torch.autocast("cpu", dtype=torch.bfloat16) if train and self.cuda else nullcontext()
        self.model.train(train)
        with self.mode, cast, _fused_head_of(self.cuda, self.config.get_text_config().vocab_size), LiveBytes() as live:
            yield live

    def update(self, rows: int, length: int, scored: int) -> tuple[int, int, int]:
        """Bytes of one forward and backward pass over (rows, length) ids, the last `scored` of each with a loss.

        Returns:
            (activations kept for the backward pass, what the LM head adds, what else the passes add at their peak);
            gradients of the adapter are in none of them.
        """
        with self._running(train=True) as live:
            ids = torch.zeros(rows, length, dtype=torch.long)
            mask = torch.ones_like(ids)
            labels = ids.masked_fill(mask == 0, -100)
            labels[:, :-scored] = -100
            kept: list[int] = []

            def backbone_done(*_: Any) -> None:
                kept.append(live.now)
                live.peak = live.now

            handle = self.model.get_base_model().get_decoder().register_forward_hook(backbone_done)
            out = self.model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
            handle.remove()
            head_peak = live.peak
            out.log_probs.sum().backward()
            gradients = sum(p.numel() * 4 for p in self.model.parameters() if p.grad is not None)
            peak = max(live.peak - gradients, head_peak)
            for p in self.model.parameters():
                p.grad = None
        activations = kept[0]
        return activations, max(0, head_peak - activations), max(0, peak - max(head_peak, activations))

    def rollout(self, rows: int, length: int, new: int) -> int:
        """Bytes that feeding the last turn of a batch of dialogues adds to their cache at its peak.

        Args:
            length: tokens in the cache at the end; new: those of the last turn that are fed at once.
        """
        from transformers import StaticCache

        with self._running(train=False) as live, torch.no_grad():
            cache = StaticCache(config=self.config, max_cache_len=length)  # filled in place, as the engine's
            ids = torch.zeros(rows, length, dtype=torch.long)
            for before, width in ((0, length - new), (length - new, new)):
                live.peak = live.now
                self.model(
                    input_ids=ids[:, :width],
                    attention_mask=torch.ones(rows, before + width, dtype=torch.long),
                    position_ids=torch.arange(before, before + width).expand(rows, -1),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits[:, -1].float().log_softmax(-1).double().exp().cumsum(-1)
            return live.peak - live.now


@contextmanager
def _fused_head_of(cuda: bool, vocab: int) -> Iterator[None]:
    """TRL's fused LM head as it is on the device in question, though the trace has no device.

    On CUDA its Triton kernels work on a tile in place, elsewhere torch operators make copies of it. The tile's buffer is
    wider than a small vocabulary; a CPU never touches the rest, so it is not resident.
    """
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    changes: list[tuple[Any, str, Any]] = []
    if cuda:
        changes = [(chunked_logprob, name, lambda *_, **__: None) for name in ("_forward_tile", "_backward_tile")]
    else:
        width = getattr(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", vocab)
        changes = [(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", min(vocab, width))]
    before = [(where, name, getattr(where, name, None)) for where, name, _ in changes]
    for where, name, value in changes:
        setattr(where, name, value)
    try:
        yield
    finally:
        for where, name, value in before:
            setattr(where, name, value)


# Two numbers a byte, a quantised 8-bit scale for every 64 numbers, and a float32 scale for every 256 of those scales.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)


def _give_storage(model: Any) -> None:
    """Move a meta model into the fake mode that is on: parameters that are shared stay shared."""
    moved: dict[int, Any] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                if id(parameter) not in moved:
                    fake = torch.empty(parameter.shape, dtype=parameter.dtype)
                    moved[id(parameter)] = torch.nn.Parameter(fake, requires_grad=parameter.requires_grad)
                module._parameters[name] = moved[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
