"""The engine: a cache kept over turns changes no number, and draws follow the model's distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rl2f_hub.engines.session as engine_module
from rl2f_hub.engines import Interrupted, Sampled, Sampling, batches, derive_seed, uniforms
from rl2f_hub.engines.draw import draw
from rl2f_hub.engines.session import TransformersSession
from rl2f_hub.engines.slots import SlotCache
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.errors import RL2FError, UsageError

PAD = 0
STOP = frozenset({1, 2, 3, 4, *range(200, 230)})
# What each row is fed before each of its turns: lengths differ, row 1 leaves after a turn, row 3 after two.
FED = {
    0: [[10, 11, 12], [20], [21, 22, 23, 24, 25, 26, 27]],
    1: [[30]],
    2: [list(range(40, 60)), [61, 62], [63]],
    3: [[70, 71, 72, 73, 74], [75, 76, 77]],
}


def play(model: Any, rows: list[int], sampling: Sampling, turns: int = 3) -> dict[int, list[Sampled]]:
    """Whole sessions of `rows` in one batch: what each sampled, turn by turn."""
    session = TransformersEngine(model, PAD).open([100 + r for r in rows], sampling, STOP)
    out: dict[int, list[Sampled]] = {r: [] for r in rows}
    for turn in range(turns):
        there = [i for i, r in enumerate(rows) if turn < len(FED[r])]
        if there:
            sampled = session.generate(there, [FED[rows[i]][turn] for i in there], turn + 1)
            for i, attempt in zip(there, sampled, strict=True):
                out[rows[i]].append(attempt)
    return out


def replayed(model: Any, row: int, attempts: list[Sampled], temperature: float) -> list[list[float]]:
    """Log-probabilities of the sampled ids from one forward pass over the row alone, without a cache."""
    ids, places = [], []
    for new, attempt in zip(FED[row], attempts, strict=True):
        ids += new
        places.append(range(len(ids), len(ids) + len(attempt.ids)))
        ids += attempt.ids
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    logp = (logits / (temperature or 1.0)).log_softmax(-1)
    return [[logp[t - 1, ids[t]].item() for t in place] for place in places]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_cached_logprobs_are_those_of_a_fresh_pass(tiny_model: Any, temperature: float) -> None:
    """Ragged rows, stops at different places, rows that leave: the numbers are those of each row alone."""
    played = play(tiny_model, [0, 1, 2, 3], Sampling(temperature, 1.0, 9))
    lengths = {len(a.ids) for attempts in played.values() for a in attempts}
    assert temperature == 0.0 or len(lengths) > 1, "the rows were meant to be ragged"
    for row, attempts in played.items():
        assert len(attempts) == len(FED[row])
        for attempt, expected in zip(attempts, replayed(tiny_model, row, attempts, temperature), strict=True):
            np.testing.assert_allclose(attempt.logprobs, expected, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_says_the_same_alone_and_in_any_company(tiny_model: Any, temperature: float) -> None:
    sampling = Sampling(temperature, 0.95, 9)
    together = play(tiny_model, [0, 1, 2, 3], sampling)
    for rows in ([0], [1], [2], [3], [3, 0], [2, 1, 0]):
        for row, attempts in play(tiny_model, rows, sampling).items():
            assert [a.ids for a in attempts] == [a.ids for a in together[row]]


def test_greedy_takes_the_likeliest_token(tiny_model: Any) -> None:
    (attempt,) = play(tiny_model, [0], Sampling(0.0, 1.0, 5), turns=1)[0]
    ids = list(FED[0][0])
    for token in attempt.ids:
        with torch.no_grad():
            assert token == int(tiny_model(torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


def test_an_attempt_ends_at_its_first_stop_token_or_at_the_limit(tiny_model: Any) -> None:
    for seed in range(40):
        session = TransformersEngine(tiny_model, PAD).open([seed], Sampling(1.0, 1.0, 20), STOP)
        (attempt,) = session.generate([0], [[10, 11]], 1)
        stops = [i for i, token in enumerate(attempt.ids) if token in STOP]
        assert len(attempt.ids) == len(attempt.logprobs)
        if attempt.stopped:
            assert stops == [len(attempt.ids) - 1]
        else:
            assert stops == []
            assert len(attempt.ids) == 20


def test_an_adapter_is_used_when_on_and_not_when_off(make_model: Callable[..., Any]) -> None:
    from peft import LoraConfig, get_peft_model

    sampling = Sampling(1.0, 1.0, 9)
    base = play(make_model(), [0, 2], sampling)

    def same_as_base(played: dict[int, list[Sampled]]) -> None:
        for row, attempts in base.items():
            assert [a.ids for a in played[row]] == [a.ids for a in attempts]
            for a, b in zip(played[row], attempts, strict=True):
                np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)

    adapted = get_peft_model(make_model(), LoraConfig(r=4, target_modules="all-linear"))
    same_as_base(play(adapted, [0, 2], sampling))  # a fresh adapter changes nothing
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    changed = play(adapted, [0, 2], sampling)
    assert [a.ids for a in changed[2]] != [a.ids for a in base[2]]
    for row, attempts in changed.items():
        for attempt, expected in zip(attempts, replayed(adapted, row, attempts, 1.0), strict=True):
            np.testing.assert_allclose(attempt.logprobs, expected, atol=1e-4)
    with adapted.disable_adapter():
        same_as_base(play(adapted, [0, 2], sampling))


def lively(model: Any, seed: int, name: str = "default") -> None:
    """Give an adapter weights that change what the model says."""
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if f"lora_B.{name}" in key:
                parameter.normal_(generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("fold", [True, False])
def test_an_adapter_is_folded_for_speed_and_every_weight_is_as_it_was(
    make_model: Callable[..., Any], fold: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after an interrupt; a step of training, another adapter and one that is off are seen at the next call."""
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(make_model(), LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.3)).train()
    adapted.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj"]))
    lively(adapted, 0)
    lively(adapted, 1, "second")
    engine, sampling, linears = TransformersEngine(adapted, PAD, fold=fold), Sampling(1.0, 1.0, 9), []
    linear = torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda *a: (linears.append(1), linear(*a))[1])
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    places = {name: p.data_ptr() for name, p in adapted.named_parameters()}

    def agrees() -> list[int]:
        session = engine.open([100], sampling, STOP)
        del linears[:]
        (attempt,) = session.generate([0], [FED[1][0]], 1)
        assert len(linears) == len(attempt.ids) * (15 if fold else 43), "the adapter's own products are left out"
        for name, p in adapted.named_parameters():
            assert p.data_ptr() == places[name]
        assert not any(getattr(m, "merged", False) for m in adapted.modules())
        adapted.eval()
        (expected,) = replayed(adapted, 1, [attempt], 1.0)
        adapted.train()
        np.testing.assert_allclose(attempt.logprobs, expected, atol=1e-4)
        return attempt.ids

    first = agrees()
    assert agrees() == first
    assert {k: torch.equal(v, before[k]) for k, v in adapted.state_dict().items()} == dict.fromkeys(before, True)
    with pytest.raises(Interrupted):
        engine.open([1], sampling, STOP).generate([0], [[10]], 1, lambda row, token: (_ for _ in ()).throw(Interrupted))
    assert {k: torch.equal(v, before[k]) for k, v in adapted.state_dict().items()} == dict.fromkeys(before, True)
    lively(adapted, 7)  # as an optimizer does: in place
    changed = agrees()
    assert changed != first
    trained = [p for name, p in adapted.named_parameters() if "lora_B.default" in name]
    optimizer = torch.optim.AdamW(trained, lr=0.5, fused=True)  # it does not count versions up
    for p in trained:
        p.grad = torch.ones_like(p)
    optimizer.step()
    agrees()
    monkeypatch.undo()
    adapted.set_adapter("second")
    second = play(adapted, [2], sampling, 1)[2]
    assert second[0].ids != changed
    with adapted.disable_adapter():
        base = play(adapted, [2], sampling, 1)[2]
    assert base[0].ids == play(make_model(), [2], sampling, 1)[2][0].ids


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_left_as_it_was(make_model: Callable[..., Any], training: bool) -> None:
    model = make_model().train(training)
    play(model, [0], Sampling(), turns=1)
    assert model.training is training
    assert all(p.grad is None for p in model.parameters())


# -- batches, slots and memory ---------------------------------------------------------------------------------------


def crowd(model: Any, rows: list[int], sampling: Sampling, **options: Any) -> list[list[list[int]]]:
    """What each of `rows` says in three turns of one session; some leave early, four in a row share a prompt."""
    session = TransformersEngine(model, PAD, **options).open(list(range(64)), sampling, STOP)
    said: dict[int, list[list[int]]] = {row: [] for row in rows}
    for turn in range(1, 4):
        there = [row for row in rows if turn <= 1 + row % 3]
        new = [[10 + (row // 4) % 50] * (3 + row // 4) if turn == 1 else [5 + row] * turn for row in there]
        if there:
            for row, attempt in zip(there, session.generate(there, new, turn), strict=True):
                said[row].append(attempt.ids)
    return [said[row] for row in rows]


EVERYONE = list(range(64))
BOTH = pytest.mark.parametrize("sampling", [Sampling(0.0, 1.0, 9), Sampling(1.0, 0.95, 9)], ids=["greedy", "sampled"])


@BOTH
def test_a_batch_of_one_says_what_a_batch_of_64_says(tiny_model: Any, sampling: Sampling) -> None:
    together = crowd(tiny_model, EVERYONE, sampling)
    assert [crowd(tiny_model, [row], sampling)[0] for row in EVERYONE] == together


@BOTH
@pytest.mark.parametrize("setting", ["SHRINK", "PADDING", "PREFILL_TOKENS", "SHARED"])
def test_how_the_batch_is_cut_changes_no_text(
    tiny_model: Any, sampling: Sampling, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped rows leave at once or never; prompts are fed each length apart, or a few at a time."""
    usual = crowd(tiny_model, EVERYONE, sampling)
    monkeypatch.setattr(batches, "SMALL_PASS", 1)
    for value in {"SHRINK": [1e-9, 2.0], "PADDING": [0.0, 1.0], "PREFILL_TOKENS": [1, 64], "SHARED": [1, 10**9]}[
        setting
    ]:
        monkeypatch.setattr(engine_module if hasattr(engine_module, setting) else batches, setting, value)
        assert crowd(tiny_model, EVERYONE, sampling) == usual


def fed_ids(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Shapes of all passes from now on."""
    shapes: list[tuple[int, int]] = []
    forward = TransformersSession._forward

    def counting(self: Any, slots: Any, ids: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        shapes.append(tuple(ids.shape))
        return forward(self, slots, ids, *rest, **more)

    monkeypatch.setattr(TransformersSession, "_forward", counting)
    return shapes


def test_equal_prompts_are_fed_once_and_say_what_they_say_alone(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling, prompt = Sampling(1.0, 1.0, 6), list(range(10, 30))
    prompts = [prompt, [7, 8], prompt, prompt, prompt[:-1], prompt]
    alone = []
    for seed, ids in enumerate(prompts):
        session = TransformersEngine(tiny_model, PAD).open([seed], sampling, frozenset())
        alone.append(session.generate([0], [ids], 1) + session.generate([0], [[40 + seed]], 2))
    shapes = fed_ids(monkeypatch)
    session = TransformersEngine(tiny_model, PAD).open(list(range(6)), sampling, frozenset())
    first = session.generate(list(range(6)), prompts, 1)
    assert shapes[0] == (3, 20), "three different prompts"
    second = session.generate(list(range(6)), [[40 + seed] for seed in range(6)], 2)
    for together, apart in zip(zip(first, second, strict=True), alone, strict=True):
        for a, b in zip(together, apart, strict=True):
            assert a.ids == b.ids
            np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)


def test_a_common_opening_is_fed_once_also_for_rows_that_join_later(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling, opening = Sampling(1.0, 1.0, 3), list(range(10, 60))
    prompts = [opening + [100 + row] * (1 + row) for row in range(5)] + [opening]
    alone = []
    for row, prompt in enumerate(prompts):
        session = TransformersEngine(tiny_model, PAD).open([row], sampling, frozenset())
        alone.append(session.generate([0], [prompt], 1)[0])
    shapes = fed_ids(monkeypatch)
    session = TransformersEngine(tiny_model, PAD).open(list(range(6)), sampling, frozenset())
    together = session.generate([0, 1, 2, 3], prompts[:4], 1)
    assert shapes == [(1, 49), (4, 5), (4, 1), (4, 1)]
    del shapes[:]
    together += session.generate([1, 4, 5], [[], *prompts[4:]], [2, 1, 1])[1:]
    assert max(width for _, width in shapes) == 6, "of the opening only its last id, where it is a whole prompt"
    for a, b in zip(together, alone, strict=True):
        assert a.ids == b.ids
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)


def test_stopped_rows_are_fed_no_longer_than_needed(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = fed_ids(monkeypatch)
    monkeypatch.setattr(engine_module, "SHRINK", 1e-9)
    session = TransformersEngine(tiny_model, PAD).open(list(range(32)), Sampling(1.0, 1.0, 20), STOP)
    sampled = session.generate(list(range(32)), [[10, 11]] * 32, 1)
    assert shapes[0] == (1, 2)
    lengths = [len(s.ids) for s in sampled]
    assert len(set(lengths)) > 3
    assert [batch for batch, _ in shapes[1:]] == [sum(n > step for n in lengths) for step in range(1, max(lengths))]


@BOTH
@pytest.mark.parametrize("budget", [50, 200, 700])
def test_a_small_cache_gives_the_same_text_and_stays_small(
    tiny_model: Any, sampling: Sampling, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = crowd(tiny_model, EVERYONE, sampling)
    largest = 0
    reserve = SlotCache.reserve

    def watching(self: SlotCache, rows: int, length: int) -> None:
        nonlocal largest
        reserve(self, rows, length)
        largest = max(largest, self.rows * self.entries)

    monkeypatch.setattr(SlotCache, "reserve", watching)
    assert crowd(tiny_model, EVERYONE, sampling, cache_tokens=budget) == usual
    assert 0 < largest <= budget


def test_a_cache_too_small_for_a_dialogue_bounds_the_context_instead(tiny_model: Any) -> None:
    engine = TransformersEngine(tiny_model, PAD, cache_tokens=40)
    assert engine.context_length == 39
    session = engine.open([0], Sampling(1.0, 1.0, 9), frozenset())
    assert len(session.generate([0], [[10] * 30], 1)[0].ids) == 9
    with pytest.raises(RL2FError, match="cache_tokens: 40"):
        session.generate([0], [[10] * 10], 2)
    with pytest.raises(UsageError, match="cache_tokens: 1 "):
        TransformersEngine(tiny_model, PAD, cache_tokens=1)


@pytest.mark.parametrize("fails", [torch.OutOfMemoryError, MemoryError, RuntimeError])
@pytest.mark.parametrize("room", [1, 2, 3])
def test_where_memory_is_short_fewer_run_at_once_and_say_the_same(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch, fails: type[Exception], room: int
) -> None:
    """An allocation fails for more than `room` rows, in the middle of an attempt; every id is told once all the same."""
    sampling, rows = Sampling(1.0, 1.0, 6), list(range(6))
    fed = [[[10 + r, 11, 12 + r][: 1 + r % 3], [20 + r]] for r in rows]

    def played(engine: TransformersEngine) -> tuple[list[list[list[int]]], list[tuple[int, int]]]:
        told: list[tuple[int, int]] = []
        session = engine.open([100 + r for r in rows], sampling, STOP)
        made = [session.generate(rows, [f[t] for f in fed], t + 1, lambda *id_: told.append(id_)) for t in (0, 1)]
        return [[attempt.ids for attempt in turn] for turn in made], told

    expected, _ = played(TransformersEngine(tiny_model, PAD))
    real, passes = TransformersSession._forward, [0]

    def short(self: Any, slots: Any, ids: Any, *args: Any, **named: Any) -> Any:
        passes[0] += 1
        if len(ids) > room and passes[0] > 2:
            raise fails("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return real(self, slots, ids, *args, **named)

    monkeypatch.setattr(TransformersSession, "_forward", short)
    engine = TransformersEngine(tiny_model, PAD)
    made, told = played(engine)
    assert made == expected
    for row in rows:
        assert [drawn for r, drawn in told if r == row] == [drawn for turn in made for drawn in turn[row]]
    assert engine.most_rows is not None
    assert engine.most_rows <= room


def test_no_room_for_one_dialogue_is_one_line_and_another_error_stays_itself(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, expected, words in (
        (MemoryError(), RL2FError, "memory: none left for a single dialogue of 3 ids"),
        (RuntimeError("shapes differ"), RuntimeError, "shapes differ"),
    ):

        def fails(*args: Any, error: Exception = error, **named: Any) -> Any:
            raise error

        monkeypatch.setattr(TransformersSession, "_forward", fails)
        session = TransformersEngine(tiny_model, PAD).open([1, 2], Sampling(), STOP)
        with pytest.raises(expected, match=words):
            session.generate([0, 1], [[10, 11, 12], [20, 21, 22]], 1)


def test_rows_join_late_and_stay_out_once_they_left(tiny_model: Any) -> None:
    """Rows at different turns in one call are each what they are alone."""
    sampling = Sampling(1.0, 1.0, 6)
    session = TransformersEngine(tiny_model, PAD).open([100, 102, 101], sampling, STOP)
    (a,) = session.generate([0], [FED[0][0]], 1)
    a2, b = session.generate([0, 1], [FED[0][1], FED[2][0]], [2, 1])
    c, b2 = session.generate([2, 1], [FED[1][0], FED[2][1]], [1, 2])
    assert [a.ids, a2.ids] == [s.ids for s in play(tiny_model, [0], sampling, 2)[0]]
    assert [b.ids, b2.ids] == [s.ids for s in play(tiny_model, [2], sampling, 2)[2]]
    assert [c.ids] == [s.ids for s in play(tiny_model, [1], sampling, 1)[1]]
    with pytest.raises(ValueError, match="row 0"):
        session.generate([0], [[1]], 3)


def test_a_row_that_is_restarted_says_what_a_new_one_says(tiny_model: Any) -> None:
    sampling = Sampling(1.0, 1.0, 6)
    session = TransformersEngine(tiny_model, PAD).open([100, 102], sampling, STOP)
    session.generate([0, 1], [FED[0][0], [9, 8, 7]], 1)
    session.restart(1)
    a, b = session.generate([0, 1], [FED[0][1], FED[2][0]], [2, 1])
    assert a.ids == play(tiny_model, [0], sampling, 2)[0][1].ids
    assert b.ids == play(tiny_model, [2], sampling, 1)[2][0].ids
    session.generate([0], [FED[0][2]], 3)
    session.restart(1)  # also after it was left out
    assert session.generate([1], [FED[2][0]], 1)[0].ids == b.ids


@pytest.mark.parametrize("shrink", [1e-9, 0.125, 2.0])
def test_every_id_is_told_as_it_is_drawn(tiny_model: Any, shrink: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "SHRINK", shrink)
    session = TransformersEngine(tiny_model, PAD, cache_tokens=400).open(list(range(40)), Sampling(turn_tokens=9), STOP)
    told: dict[int, list[int]] = {}
    sampled = session.generate(
        list(range(40)), [[10, 11]] * 40, 1, lambda row, token: told.setdefault(row, []).append(token)
    )
    assert [told[row] for row in range(40)] == [s.ids for s in sampled]
    assert len({len(s.ids) for s in sampled}) > 2


def test_one_who_reads_along_may_stop_it_and_the_session_is_closed(make_model: Callable[..., Any]) -> None:
    model = make_model().train()
    session = TransformersEngine(model, PAD).open([0, 1], Sampling(turn_tokens=9), frozenset())
    read: list[int] = []

    def reading(row: int, token: int) -> None:
        read.append(token)
        if len(read) == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        session.generate([0, 1], [[10], [11]], 1, reading)
    assert len(read) == 5
    assert model.training
    with pytest.raises(ValueError, match="closed"):
        session.generate([0, 1], [[10], [11]], 1)


@pytest.mark.parametrize("kind", ["mistral", "gemma3_text", "qwen3", "eager"])
def test_other_attentions_are_exact_too(kind: str) -> None:
    """A window shorter than the dialogue, layers with and without one, grouped heads, and attention that adds masks."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    window = {"sliding_window": 5} if kind in ("mistral", "gemma3_text") else {}
    if kind == "gemma3_text":
        window["layer_types"] = ["sliding_attention", "full_attention", "sliding_attention"]
    config = AutoConfig.for_model("llama" if kind == "eager" else kind, **shape, **heads, **window)
    torch.manual_seed(0)
    attention = "eager" if kind == "eager" else "sdpa"
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("proj.weight"):
                parameter.mul_(8)
    for row, attempts in play(model, [0, 1, 2, 3], Sampling(1.0, 1.0, 9)).items():
        for attempt, expected in zip(attempts, replayed(model, row, attempts, 1.0), strict=True):
            np.testing.assert_allclose(attempt.logprobs, expected, atol=1e-4)


def test_models_that_the_engine_would_get_wrong_are_refused(make_model: Callable[..., Any]) -> None:
    model = make_model()
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(RL2FError, match="attn_implementation: 'flash_attention_2'"):
        TransformersEngine(model, PAD)
    model = make_model()
    model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(RL2FError, match="'linear_attention'"):
        TransformersEngine(model, PAD)


def test_four_bit_weights_give_the_numbers_of_a_fresh_pass(make_model: Callable[..., Any], tmp_path: Any) -> None:
    pytest.importorskip("bitsandbytes")
    from rl2f_hub.students.load import Origin, load_model

    make_model().save_pretrained(tmp_path)
    model = load_model(Origin(str(tmp_path)), "nf4").train()  # as in a training run: the weights stay unpacked
    played = play(model, [0, 1, 2, 3], Sampling(1.0, 1.0, 9))
    for row, attempts in played.items():
        for attempt, expected in zip(attempts, replayed(model, row, attempts, 1.0), strict=True):
            np.testing.assert_allclose(attempt.logprobs, expected, atol=1e-4)


# -- the distribution ------------------------------------------------------------------------------------------------


def drawn(model: Any, sampling: Sampling, count: int = 4000) -> tuple[Counter[int], np.ndarray]:
    """How often each token is drawn first by `count` seeds, and the model's probabilities at that temperature."""
    seeds = [derive_seed("draw", n) for n in range(count)]
    session = TransformersEngine(model, PAD).open(seeds, sampling, frozenset())
    sampled = session.generate(list(range(count)), [[10, 11, 12]] * count, 1)
    with torch.no_grad():
        logits = model(torch.tensor([[10, 11, 12]])).logits[0, -1].double()
    return Counter(s.ids[0] for s in sampled), (logits / sampling.temperature).softmax(-1).numpy()


def assert_fits(counts: Counter[int], probabilities: np.ndarray) -> None:
    """Chi-square over the tokens that are expected at least five times, loosely: six standard deviations."""
    total = sum(counts.values())
    common = [t for t, p in enumerate(probabilities) if p * total >= 5]
    rest = 1 - sum(probabilities[t] for t in common)
    bins = [(counts[t], probabilities[t] * total) for t in common]
    if rest * total >= 5:
        bins.append((total - sum(counts[t] for t in common), rest * total))
    assert len(bins) > 5, "the test needs a spread distribution"
    freedom = len(bins) - 1
    assert sum((seen - expected) ** 2 / expected for seen, expected in bins) < freedom + 6 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_tokens_are_drawn_as_often_as_the_model_says(tiny_model: Any, temperature: float) -> None:
    assert_fits(*drawn(tiny_model, Sampling(temperature, 1.0, 1)))


@pytest.mark.parametrize("top_p", [0.5, 0.9])
def test_top_p_draws_from_the_nucleus_alone_and_in_proportion(tiny_model: Any, top_p: float) -> None:
    counts, probabilities = drawn(tiny_model, Sampling(1.0, top_p, 1))
    order = np.argsort(-probabilities)
    size = int(np.searchsorted(np.cumsum(probabilities[order]), top_p)) + 1
    nucleus = np.zeros_like(probabilities)
    nucleus[order[:size]] = probabilities[order[:size]]
    assert set(counts) <= set(order[:size].tolist())
    assert_fits(counts, nucleus / nucleus.sum())


def test_a_tiny_top_p_is_greedy(tiny_model: Any) -> None:
    counts, probabilities = drawn(tiny_model, Sampling(1.0, 1e-9, 1), 50)
    assert set(counts) == {int(probabilities.argmax())}


@pytest.mark.parametrize("size", [50, 1023, 1024, 5000])
def test_large_vocabularies_are_searched_as_small_ones(size: int) -> None:
    """The id found is the first whose running sum, in double precision, exceeds the target; one with p > 0."""
    torch.manual_seed(0)
    logits = torch.randn(200, size) * 4
    logits[:, ::3] = -torch.inf
    logits[:, -1] = -torch.inf
    noise = torch.rand(200, dtype=torch.float64)
    noise[0], noise[1] = 0.0, 1 - 2.0**-53
    token, logp = draw(logits, noise, Sampling(1.0))
    assert torch.isfinite(logp).all()
    cumulative = logits.log_softmax(-1).exp().double().cumsum(-1)
    reached = cumulative.gather(1, token[:, None])[:, 0] / cumulative[:, -1]
    before = reached - logp.double().exp() / cumulative[:, -1]
    assert (reached >= noise - 1e-9).all()
    assert (before <= noise + 1e-9).all()


# -- numbers ---------------------------------------------------------------------------------------------------------

SEEDS = st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=5)


@given(SEEDS, st.integers(0, 10_000), st.integers(1, 50))
def test_uniforms_lie_in_the_half_open_interval(seeds: list[int], turn: int, count: int) -> None:
    numbers = uniforms(seeds, turn, count)
    assert numbers.shape == (len(seeds), count)
    assert (numbers >= 0).all()
    assert (numbers < 1).all()


@given(SEEDS, st.integers(0, 100), st.integers(1, 20), st.integers(0, 20))
def test_uniforms_know_neither_batch_nor_count(seeds: list[int], turn: int, count: int, more: int) -> None:
    numbers = uniforms(seeds, turn, count)
    for i, seed in enumerate(seeds):
        assert (uniforms([seed], turn, count + more)[0, :count] == numbers[i]).all()


def test_uniforms_are_uniform_and_unrelated_over_seeds_turns_and_positions() -> None:
    numbers = np.stack([uniforms(list(range(200)), turn, 50) for turn in range(1, 5)])
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    expected = numbers.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 60
    assert len(np.unique(numbers)) == numbers.size
    for a, b in ((numbers[:, 1:], numbers[:, :-1]), (numbers[1:], numbers[:-1]), (numbers[..., 1:], numbers[..., :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03


def test_derived_seeds_are_fixed_and_differ_by_part() -> None:
    assert derive_seed(1, "a") == 475_944_544_596_965_755
    seeds = {derive_seed(*parts) for parts in ((1, 2), (12,), (1, "2", ""), ("1",), (2, 1))}
    assert len(seeds) == 5
    assert all(0 <= s < 2**63 for s in seeds)
