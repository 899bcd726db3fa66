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

from rl2f_hub.engines import Sampled, Sampling, derive_seed, uniforms
from rl2f_hub.engines.transformers import TransformersEngine

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


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_left_as_it_was(make_model: Callable[..., Any], training: bool) -> None:
    model = make_model().train(training)
    play(model, [0], Sampling(), turns=1)
    assert model.training is training
    assert all(p.grad is None for p in model.parameters())


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
