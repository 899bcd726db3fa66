"""A session of the transformers engine: what is fed when, and how attempts are drawn; see `transformers.py`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from rl2f_hub.engines import Sampled, Sampling, Session, Stream, TokenDrawn, uniforms
from rl2f_hub.engines.batches import alike, common_start
from rl2f_hub.engines.draw import draw
from rl2f_hub.engines.kinds import keep_trainable
from rl2f_hub.engines.slots import SlotCache
from rl2f_hub.errors import RL2FError, out_of_memory

if TYPE_CHECKING:
    from rl2f_hub.engines.transformers import TransformersEngine

log = logging.getLogger(__name__)

SHARED = 128  # ids that a common opening has to save to be worth a pass of its own
SHRINK = 1 / 8  # the share of a batch that has to have stopped before the batch is made smaller


class TransformersSession(Session):
    """A set of dialogues; those whose turn it is share one batch."""

    def __init__(
        self, engine: TransformersEngine, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], budget: int
    ) -> None:
        self.engine, self.seeds, self.sampling, self.budget = engine, seeds, sampling, budget
        self.stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=engine.device)
        self.cache = SlotCache(engine.layers, engine.device)
        self.slots: list[int] = []  # the row that each slot holds
        self.history: dict[int, list[int]] = {}  # all ids of an open row, fed or sampled
        self.held: dict[int, int] = {}  # how many of them the cache holds
        self.closed: set[int] = set()
        self.broken = False

    def restart(self, row: int) -> None:
        """See `engines.Session`."""
        self.history.pop(row, None)
        self.held.pop(row, None)
        self.closed.discard(row)

    @torch.no_grad()
    def stream(
        self, rows: list[int], new_ids: list[list[int]], turn: int | Sequence[int], tokens: bool = True
    ) -> Stream:
        """See `engines.Session`."""
        if self.broken:
            raise ValueError("the session was closed by an interrupt or a failure; open another one")
        model = self.engine.model
        was_training = model.training
        model.eval()
        if was_training:
            keep_trainable(model)
        self.broken = True  # until all went well
        try:
            turns = [turn] * len(rows) if isinstance(turn, int) else list(turn)
            with self.engine.folded.within():
                out = yield from self._sample(rows, new_ids, turns, tokens)
            self.broken = False
            return out
        finally:
            model.train(was_training)

    def _sample(self, rows: list[int], new_ids: list[list[int]], turns: list[int], tokens: bool) -> Stream:
        for row in set(self.history) - set(rows):
            self.closed.add(row)
            del self.history[row]
        for row, new in zip(rows, new_ids, strict=True):
            if row in self.closed:
                raise ValueError(f"row {row} was left out of an earlier call and is closed")
            self.history.setdefault(row, []).extend(new)
        noise = {
            r: uniforms([self.seeds[r]], t, self.sampling.turn_tokens)[0] for r, t in zip(rows, turns, strict=True)
        }
        done: dict[int, Sampled] = {}
        yielded: Counter[int] = Counter()  # ids of each row
        while left := [row for row in rows if row not in done]:
            waves = self._waves(left)
            for wave in waves:
                try:
                    self._arrange(wave, exact=len(waves) > 1)
                    made = yield from self._decode(self._prefill(), noise, yielded if tokens else None)
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error):
                        raise
                    made = None
                if made is None:  # here, and not above, where the error holds what it was to allocate for
                    self._halve_batch_after_oom(wave)
                    break
                done.update(made)
        return [done[row] for row in rows]

    def _halve_batch_after_oom(self, wave: list[int]) -> None:
        """After an allocation failed: half as many dialogues at once from now on. Nothing of `wave` is in its history yet.

        Raises:
            RL2FError: one alone is too many.
        """
        self.cache.release()
        self.held.clear()
        self.slots = []
        if self.engine.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(wave) == 1:
            raise RL2FError(
                f"memory: none left for a single dialogue of {len(self.history[wave[0]])} ids; free memory, or use a smaller "
                "model, model.quantization nf4 or a smaller dialogue.turn_tokens"
            )
        self.engine.most_rows = len(wave) // 2
        log.warning(
            "memory: none left for %d dialogues at once; going on with %d, which takes longer and says the same",
            len(wave),
            self.engine.most_rows,
        )

    def _waves(self, rows: list[int]) -> list[list[int]]:
        """The rows in as few parts as the cache's budget allows; those that are in the cache already come first.

        Where memory was short before, there are at most `most_rows` in a part.
        """
        room = self.sampling.turn_tokens + 1
        lengths = {row: len(self.history[row]) + room for row in rows}
        budget, most = self.budget, self.engine.most_rows or len(rows)
        if len(rows) * max(lengths.values()) <= budget and len(rows) <= most:
            return [rows]
        waves: list[list[int]] = []
        longest = 0
        for row in sorted(rows, key=lambda r: (r not in self.held, lengths[r])):
            if lengths[row] > budget:
                raise RL2FError(f"cache_tokens: {budget} is less than a dialogue of {lengths[row]} ids; raise it")
            longest = max(longest, lengths[row]) if waves else 0
            if not waves or (len(waves[-1]) + 1) * longest > budget or len(waves[-1]) == most:
                waves.append([])
                longest = lengths[row]
            waves[-1].append(row)
        return waves

    def _arrange(self, rows: list[int], exact: bool) -> None:
        """Put `rows`, and nothing else, into the first slots: those already there keep their entries."""
        wanted = set(rows)
        length = max(len(self.history[row]) for row in rows) + self.sampling.turn_tokens
        for row in [row for row in self.held if row not in wanted]:
            del self.held[row]
        if not self.held:
            self.slots = []
        stay = [slot for slot, row in enumerate(self.slots) if row in self.held]
        count = len(stay)
        holes = sorted(set(range(count)) - set(stay))
        movers = [slot for slot in stay if slot >= count]
        reach = max(self.held.values(), default=0)
        self.cache.copy(movers, holes, reach)
        for source, target in zip(movers, holes, strict=True):
            self.slots[target] = self.slots[source]
        del self.slots[count:]
        self.slots += [row for row in rows if row not in self.held]
        budget = self.budget
        if max(len(rows), self.cache.rows) * max(length + 1, self.cache.entries) > budget:
            # What was reserved for more dialogues or for longer ones goes; the rest is fed again.
            self.cache.release()
            self.held.clear()
        if not exact and length >= self.cache.entries:  # grow in steps, not at every turn
            length = max(length, min(length * 2, self.engine.context_length, budget // len(rows) - 1))
        self.cache.reserve(len(rows), length)

    def _prefill(self) -> torch.Tensor:
        """Feed every slot what the cache does not hold yet; returns the float32 logits (B, V) after it."""
        first: dict[tuple[int, ...], int] = {}
        twins: dict[int, list[int]] = {}  # slots that need no pass of their own, by the slot that is fed for them
        for slot, row in enumerate(self.slots):
            if row not in self.held:
                leader = first.setdefault(tuple(self.history[row]), slot)
                if leader != slot:
                    twins.setdefault(leader, []).append(slot)
        self._share_prefix([*first.values()])
        copies = {slot for group in twins.values() for slot in group}
        chunks = [self.history[row][self.held.get(row, 0) :] for row in self.slots]
        if not all(chunks):
            raise ValueError("a row was given nothing to answer to")
        logits: torch.Tensor | None = None
        for slots in alike([s for s in range(len(chunks)) if s not in copies], [len(c) for c in chunks]):
            part = self._feed(slots, [chunks[s] for s in slots])
            if logits is None:
                logits = part.new_empty(len(chunks), part.shape[1])
            logits[slots] = part
        assert logits is not None
        for leader, group in twins.items():
            self.cache.copy([leader] * len(group), group, len(self.history[self.slots[leader]]))
            logits[group] = logits[leader].clone()
        for row in self.slots:
            self.held[row] = len(self.history[row])
        return logits

    def _share_prefix(self, fresh: list[int]) -> None:
        """Feed what all `fresh` slots begin with once: chat templates and task texts have long common openings.

        A dialogue that is in the cache already may have fed it.
        """
        if not fresh:
            return
        source = next((slot for slot, row in enumerate(self.slots) if row in self.held), None)
        opening = common_start([self.history[self.slots[slot]] for slot in fresh])[:-1]  # one id is left to answer to
        if source is not None:
            row = self.slots[source]
            opening = common_start([opening, self.history[row][: self.held[row]]])
        elif (len(fresh) - 1) * len(opening) < SHARED:
            return
        else:
            source = fresh[0]
            self._feed([source], [opening])
        if opening:
            others = [slot for slot in fresh if slot != source]
            self.cache.copy([source] * len(others), others, len(opening))
            self.held |= {self.slots[slot]: len(opening) for slot in fresh}

    def _feed(self, slots: list[int], chunks: list[list[int]]) -> torch.Tensor:
        """Feed each slot its chunk after what it holds; returns the float32 logits (B, V) after it."""
        width = max(map(len, chunks))
        ids, places = [], []
        for slot, chunk in zip(slots, chunks, strict=True):
            start, padding = self.held.get(self.slots[slot], 0), width - len(chunk)
            ids.append([self.engine.pad_id] * padding + chunk)
            places.append([-1] * padding + list(range(start, start + len(chunk))))
        return self._forward(slots, torch.tensor(ids), torch.tensor(places), max(p[-1] for p in places) + 1)

    def _decode(
        self, logits: torch.Tensor, noise: dict[int, np.ndarray], yielded: Counter[int] | None
    ) -> Generator[TokenDrawn, None, dict[int, Sampled]]:
        """Sample an attempt for every slot from the `logits` after its history.

        `yielded` counts the ids of each row that were yielded before, in a try that ran out of memory; None yields nothing.
        """
        limit, device, held = self.sampling.turn_tokens, self.engine.device, self.held
        length = dict.fromkeys(self.slots, limit)  # of each row's attempt
        ended: set[int] = set()  # the rows that stopped themselves
        drawn: list[tuple[list[int], list[torch.Tensor], list[torch.Tensor]]] = []  # rows, ids, log-probabilities
        uniform = torch.from_numpy(np.stack([noise[row] for row in self.slots])).to(device)
        at = torch.tensor([[held[row]] for row in self.slots], device=device)
        batch, moved = len(self.slots), True
        for step in range(limit):
            token, logp = draw(logits, uniform[:, step], self.sampling)
            if moved:
                drawn.append((self.slots[:batch], [], []))
            drawn[-1][1].append(token)
            drawn[-1][2].append(logp)
            if yielded is not None:
                for row, drawn_id in zip(self.slots[:batch], token.tolist(), strict=True):
                    if row not in ended and step >= yielded[row]:
                        yielded[row] += 1
                        yield TokenDrawn(row, drawn_id)
            ends = torch.isin(token, self.stops).tolist() if len(self.stops) else ()
            for row in {row for row, end in zip(self.slots, ends, strict=False) if end} - ended:
                ended.add(row)
                length[row] = step + 1
            going = batch - sum(row in ended for row in self.slots[:batch])
            if step + 1 == limit or not going:
                break
            moved = batch - going >= max(1, SHRINK * batch)
            if moved:
                keep = self._gather_in_front(batch, ended, max(held.values()) + step + 1)
                token, uniform, at, batch = token[keep], uniform[keep], at[keep], going
                reach = max(held[row] for row in self.slots[:batch])
            elif step == 0:
                reach = max(held.values())
            logits = self._forward(batch, token[:, None], at + step, reach + step + 1, again=step > 0 and not moved)
        ids: dict[int, list[int]] = {row: [] for row in self.slots}
        logps: dict[int, list[float]] = {row: [] for row in self.slots}
        for rows, tokens, scores in drawn:
            for row, a, b in zip(rows, torch.stack(tokens, 1).tolist(), torch.stack(scores, 1).tolist(), strict=True):
                ids[row] += a
                logps[row] += b
        out = {}
        for row, n in length.items():
            # A row that waited for others went on beyond its end: nothing of that counts. Its last id is not fed yet.
            out[row] = Sampled(ids[row][:n], logps[row][:n], row in ended)
            self.history[row] += out[row].ids
            held[row] += n - 1
        return out

    def _gather_in_front(self, batch: int, ended: set[int], reach: int) -> list[int]:
        """Swap slots so that rows that go on lie in front of those that `ended`; returns where each of them was.

        `reach` covers the entries of every slot that is moved.
        """
        going = [slot for slot in range(batch) if self.slots[slot] not in ended]
        behind = [slot for slot in going if slot >= len(going)]
        front = sorted(set(range(len(going))) - set(going))
        order = list(range(batch))
        for a, b in zip(front, behind, strict=True):
            order[a], order[b] = b, a
            self.slots[a], self.slots[b] = self.slots[b], self.slots[a]
        self.cache.copy([*behind, *front], [*front, *behind], reach)
        return order[: len(going)]

    def _forward(
        self, slots: int | list[int], ids: torch.Tensor, positions: torch.Tensor, reach: int, again: bool = False
    ) -> torch.Tensor:
        """Feed `slots` (or so many from the first) with `ids` at `positions`, (B, W) each, -1 for padding in front.

        With `again` the same slots as in the last pass, one position further on. Returns float32 logits (B, V) at the end.
        """
        engine = self.engine
        ids, positions = ids.to(engine.device), positions.to(engine.device)
        if again:
            self.cache.step(reach)
        else:
            self.cache.aim(list(range(slots)) if isinstance(slots, int) else slots, positions, reach)
        output = engine.model(
            input_ids=ids,
            attention_mask=engine.masks(positions, reach),
            position_ids=positions.clamp(min=0) if ids.shape[1] > 1 else positions,
            use_cache=True,
            logits_to_keep=1,
            **{engine.cache_name: self.cache},
        )
        return output.logits[:, -1].float()
