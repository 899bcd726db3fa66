"""How an update is cut up changes nothing that is learnt: backward passes, order of rows, processes.

Every run here makes two updates on eight dialogues, with all terms of the loss on, and ends where the others end.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Make = Callable[..., Any]
ALL_TERMS = {"critique_coef": 0.5, "first_turn_kl": 0.3}
SGD = {"optim": "sgd", "learning_rate": 0.5, "max_grad_norm": 0.0, "max_steps": 2, "lr_scheduler_type": "constant"}
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def adapter(trainer: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


@pytest.mark.parametrize("credit", ["dialogue", "turn"])
def test_any_number_of_backward_passes_makes_the_same_updates(
    make_trainer: Make, judged_by_length: str, credit: str
) -> None:
    """1 x 8, 2 x 4 and 8 x 1: the same dialogues, the same adapter and the same logged terms."""
    from peft import LoraConfig

    ends = []
    for passes in (1, 2, 8):
        trainer = make_trainer(
            judged_by_length,
            credit=credit,
            per_device_train_batch_size=8 // passes,
            gradient_accumulation_steps=passes,
            peft_config=LoraConfig(**LORA),
            **SGD,
            **ALL_TERMS,
        )
        start = adapter(trainer)
        trainer.train()
        ends.append((trainer, adapter(trainer) - start))
    whole, moved = ends[0]
    assert moved.norm() > 1e-2
    for trainer, other in ends[1:]:
        assert (trainer.student_tokens, trainer.attempts) == (whole.student_tokens, whole.attempts)
        torch.testing.assert_close(other, moved, rtol=1e-3, atol=1e-5)
        for name in ("critique_loss", "first_turn_kl", "reward", "accuracy/turn_3"):
            assert logged(trainer, name) == pytest.approx(logged(whole, name), rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("credit", ["dialogue", "turn"])
def test_the_order_of_the_rows_is_nothing_to_the_loss(
    make_trainer: Make, scored_batch: Make, judged_by_length: str, credit: str
) -> None:
    trainer = make_trainer(judged_by_length, credit=credit, critique_coef=0.5)
    batch = scored_batch(trainer)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    mixed = {k: v[order] if torch.is_tensor(v) and v.dim() else v for k, v in batch.items()}
    losses = [trainer.compute_loss(trainer.model, b).item() for b in (batch, mixed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5, abs=1e-7)
    assert losses[0] != 0


def test_labels_at_other_roles_positions_may_be_anything(
    make_trainer: Make, make_model: Make, scored_batch: Make, judged_by_length: str
) -> None:
    """The gradient of either term with respect to each token's own log-probability: 0 off the role that it is for."""
    for coefficient, role in ((0.0, "tool_mask"), (1e6, "teacher_mask")):
        trainer = make_trainer(judged_by_length, critique_coef=coefficient)
        batch = scored_batch(trainer)
        seen: list[torch.Tensor] = []
        original = type(trainer)._get_per_token_logps_and_entropies

        def kept(model: Any, *args: Any, _t: Any = trainer, _seen: Any = seen, _o: Any = original, **kw: Any) -> Any:
            logps, *rest = _o(_t, model, *args, **kw)
            leaf = logps.detach().requires_grad_()
            _seen.append(leaf)
            _t._logps = leaf
            return (leaf, *rest)

        trainer._get_per_token_logps_and_entropies = kept
        if coefficient:
            batch["advantages"] = torch.zeros_like(batch["advantages"])
        trainer.compute_loss(trainer.model, batch).backward()
        own = batch[role] * batch["completion_mask"]
        assert seen[0].grad[own.bool()].abs().sum() > 0
        assert not seen[0].grad[~own.bool()].any()


def test_a_merged_adapter_says_the_same_greedily(make_trainer: Make, judged_by_length: str, tokenizer: Any) -> None:
    from peft import LoraConfig

    from rl2f_hub.dialogue.runner import run_dialogues
    from rl2f_hub.engines import Sampling
    from rl2f_hub.students.load import as_student
    from rl2f_hub.teachers.guard import Guard

    trainer = make_trainer(judged_by_length, peft_config=LoraConfig(**LORA), **SGD)
    trainer.train()

    def said(model: Any) -> list[list[str]]:
        student = as_student(model.eval(), tokenizer, "s")
        tasks = trainer.training_tasks
        rollouts = run_dialogues(
            tasks, student, trainer.teacher, guard=Guard(), max_turns=3, sampling=Sampling(0.0, 1.0, 6), seed=0
        )
        return [[turn.attempt for turn in r.turns] for r in rollouts]

    apart = said(trainer.model)
    with trainer.model.disable_adapter():
        assert said(trainer.model) != apart, "the adapter was meant to change something"
    assert said(copy.deepcopy(trainer.model).merge_and_unload()) == apart


TWO = """
import json, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from conftest import TEXTS
from datasets import Dataset
from peft import LoraConfig
from rl2f_hub.records import Privilege, Task, Verdict
from rl2f_hub.recipe import ScratchSpec, SourceSpec
from rl2f_hub.training.pretraining.scratch import build_model, build_tokenizer
from rl2f_hub.training.trainer import RL2FConfig, RL2FTrainer
from rl2f_hub.verify import VERIFIERS, Verifier

VERIFIERS["length"] = Verifier(lambda t, a: Verdict(len(a) % 3 == 0, float(len(a) % 3 == 0), "5", "by length"))
size, out, settings = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
tokenizer = build_tokenizer(TEXTS, 320, 512)
spec = ScratchSpec(
    hidden=32, layers=2, heads=2, intermediate=64, context=512, tasks=[SourceSpec(source="jsonl:none", count=1)]
)
model = build_model(tokenizer, spec, 0)
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if name.endswith("proj.weight"):
            parameter.mul_(8)
    model.model.norm.weight.mul_(12)
tasks = [
    Task(f"t-{{n}}", "s", "d", f"What is {{n}} * 34?", Privilege("answer", str(n * 34)), "length") for n in range(3, 9)
]
args = RL2FConfig(
    output_dir=out, per_device_train_batch_size=size, use_cpu=True, bf16=False, report_to="none", disable_tqdm=True,
    logging_steps=1, save_strategy="no", gradient_checkpointing=False, num_generations=4, max_turns=3, turn_tokens=6,
    **settings,
)
trainer = RL2FTrainer(
    model, args, Dataset.from_list([t.to_row() for t in tasks]), processing_class=tokenizer,
    peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
)
trainer.train()
if trainer.accelerator.is_main_process:
    moved = torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])
    end = {{"adapter": moved, "log": trainer.state.log_history, "tokens": trainer.student_tokens}}
    torch.save({{**end, "processes": trainer.accelerator.num_processes}}, out + "/end.pt")
"""


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """accelerate's gloo on the CPU: eight dialogues in one process, or four in each of two."""
    script = tmp_path / "run.py"
    script.write_text(TWO.format(tests=str(Path(__file__).parent.parent)))
    settings = json.dumps({**SGD, **ALL_TERMS, "credit": "turn"})
    ends = []
    for count in (1, 2):
        out = tmp_path / f"of-{count}"
        out.mkdir()
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if count == 2 else []
        done = subprocess.run(
            [sys.executable, *launch, str(script), str(8 // count), str(out), settings],
            capture_output=True,
            text=True,
            timeout=900,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        ends.append(torch.load(out / "end.pt", weights_only=True))
    one, two = ends
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["tokens"] == two["tokens"]
    torch.testing.assert_close(two["adapter"], one["adapter"], rtol=1e-3, atol=1e-5)
    for name in ("critique_loss", "first_turn_kl", "reward", "accuracy/turn_3", "dialogue/turns"):
        values = [[entry[name] for entry in end["log"] if name in entry] for end in ends]
        assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-6), name
