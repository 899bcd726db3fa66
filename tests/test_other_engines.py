"""Engines of others behind our interface: continuous batching for real, vLLM against a stand-in."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rl2f_hub.engines import Sampling
from rl2f_hub.engines.continuous import ContinuousEngine
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.engines.vllm import VllmEngine, colocated, served
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.teachers.scripted import ScriptedTeacher

STOP = frozenset({1, 2, 3, 4, *range(200, 230)})
PROMPTS = [[10, 11, 12], [30], list(range(40, 60)), [70, 71]]
MORE = [[20], [61, 62], [75, 76, 77], [5]]
GREEDY = Sampling(0.0, 1.0, 9)


def two_turns(engine: Any, sampling: Sampling = GREEDY) -> list[Any]:
    session = engine.open([1, 2, 3, 4], sampling, STOP)
    return session.generate([0, 1, 2, 3], PROMPTS, 1) + session.generate([0, 1, 2, 3], MORE, [2, 2, 2, 2])


def same(ours: list[Any], theirs: list[Any]) -> None:
    assert [(a.ids, a.stopped) for a in theirs] == [(a.ids, a.stopped) for a in ours]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(b.logprobs, a.logprobs, atol=1e-4)


def test_continuous_batching_agrees_greedily(tiny_model: Any) -> None:
    same(two_turns(TransformersEngine(tiny_model, 0)), two_turns(ContinuousEngine(tiny_model, 0, 4096)))
    assert tiny_model.config._attn_implementation == "sdpa", "left as it was"


def test_continuous_batching_refuses_to_sample(tiny_model: Any) -> None:
    with pytest.raises(UsageError, match="'continuous' is greedy only"):
        ContinuousEngine(tiny_model, 0, 4096).open([1], Sampling(1.0), STOP)


# -- vLLM cannot run here: what follows checks our side of its documented interface against a stand-in -----------------


def _adapted(base: Any, request: Any) -> Any:
    """The base with the adapter that was asked for, read from its folder as vLLM would."""
    if request is None or not (Path(request[2]) / "adapter_model.safetensors").is_file():
        return base
    from peft import PeftModel

    return PeftModel.from_pretrained(copy.deepcopy(base), request[2]).eval()


class FakeLLM:
    """Stands in for `vllm.LLM`: our own engine answers, and what was asked for is kept."""

    model: Any = None
    asked: list[Any] = []

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=512))

    def generate(self, prompts: list[Any], params: list[Any], lora_request: Any, use_tqdm: bool) -> list[Any]:
        FakeLLM.asked.append((prompts, params, lora_request))
        out = []
        model = _adapted(FakeLLM.model, lora_request)
        for prompt, p in zip(prompts, params, strict=True):
            sampling = Sampling(p.temperature, p.top_p, p.max_tokens)
            session = TransformersEngine(model, 0).open([p.seed], sampling, frozenset(p.stop_token_ids))
            (s,) = session.generate([0], [prompt["prompt_token_ids"]], 1)
            logprobs = [{i: SimpleNamespace(logprob=x)} for i, x in zip(s.ids, s.logprobs, strict=True)]
            out.append(SimpleNamespace(outputs=[SimpleNamespace(token_ids=s.ids, logprobs=logprobs)]))
        return out


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch, tiny_model: Any) -> type[FakeLLM]:
    vllm, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    vllm.LLM, vllm.SamplingParams = FakeLLM, SimpleNamespace  # type: ignore[attr-defined]
    request.LoRARequest = lambda *args: args  # type: ignore[attr-defined]
    for module in (vllm, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name == "vllm" or find(name, *more))
    FakeLLM.model, FakeLLM.asked = tiny_model, []
    return FakeLLM


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / "adapter_config.json").write_text("{}")
    return tmp_path


def test_colocated_vllm_is_asked_with_whole_histories_and_own_seeds(fake_vllm: type[FakeLLM], tiny_model: Any) -> None:
    same(two_turns(TransformersEngine(tiny_model, 0)), out := two_turns(colocated("m")))
    (prompts, params, lora) = fake_vllm.asked[1]
    assert prompts[0]["prompt_token_ids"] == [*PROMPTS[0], *out[0].ids, *MORE[0]]
    assert len({p.seed for p in params} | {p.seed for p in fake_vllm.asked[0][1]}) == 8
    assert lora is None
    sampled = [two_turns(colocated("m"), Sampling(1.0, 0.9, 9)) for _ in range(2)]
    assert sampled[0] == sampled[1]


def test_an_adapter_goes_with_every_request_until_the_base_is_asked(
    fake_vllm: type[FakeLLM], adapter: Path, tmp_path: Path
) -> None:
    engine = colocated("m")
    engine.sync(adapter)
    session = engine.open([1], GREEDY, STOP)
    session.generate([0], [[5]], 1)
    with engine.without_adapter():
        engine.open([1], GREEDY, STOP).generate([0], [[5]], 1)
    engine.sync(adapter)
    session.generate([0], [[6]], 2)
    first, base, second = [lora for _, _, lora in fake_vllm.asked]
    assert base is None
    assert (first[1:], second[1:]) == ((1, str(adapter)), (2, str(adapter)))
    assert first[0] != second[0]
    with pytest.raises(UsageError, match="has no adapter_config"):
        engine.sync(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 128}, "rank 128 is above 64"),
        ({"r": 8, "rank_pattern": {"q": 65}}, "rank 65"),
        ({"use_dora": True}, "use_dora is more"),
        ({"bias": "all"}, "bias is more"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is more"),
    ],
)
def test_an_adapter_that_vllm_does_not_take_is_refused(config: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=message):
        VllmEngine(lambda *_: [], 512, 4096).sync(tmp_path)


def test_without_vllm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install 'rl2f-hub\\[vllm\\]'"):
        colocated("m")


def test_a_vllm_server_is_asked_in_ids(tiny_model: Any, adapter: Path) -> None:
    """Over real HTTP, with a stand-in behind it."""
    asked: list[tuple[str, Any]] = []
    broken: list[bool] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                asked.append((self.path, body))
                content = b"Success: LoRA adapter added"
                if self.path.endswith("/completions"):
                    session = TransformersEngine(tiny_model, 0).open([0], GREEDY, frozenset(body["stop_token_ids"]))
                    (s,) = session.generate([0], [body["prompt"]], 1)
                    choice = {"token_ids": s.ids, "logprobs": {"token_logprobs": s.logprobs}}
                    content = json.dumps({"choices": [] if broken else [choice]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    engine: VllmEngine = served(url, "base", 512)
    try:
        same(two_turns(TransformersEngine(tiny_model, 0)), two_turns(engine))
        engine.sync(adapter)
        two_turns(engine)
        paths = [path for path, _ in asked]
        assert paths.count("/v1/load_lora_adapter") == 1
        assert {b["model"] for p, b in asked[:8]} == {"base"}
        stated = [(b["top_k"], b["min_p"], b["repetition_penalty"]) for p, b in asked[:8]]
        assert set(stated) == {(-1, 0.0, 1.0)}, "what is left out a server takes from the model's generation_config"
        (name,) = {b["model"] for p, b in asked[9:]}
        assert name == asked[8][1]["lora_name"]
        engine.sync(adapter)
        two_turns(engine)
        gone = [b["lora_name"] for p, b in asked if p == "/v1/unload_lora_adapter"]
        assert gone == [name], "a server does not gather the adapters of a whole training"
        broken.append(True)
        with pytest.raises(RL2FError, match=r"engine\.server: .* sends no token ids"):
            two_turns(engine)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(RL2FError, match="is `vllm serve` running"):
        two_turns(engine)


# -- by recipe -------------------------------------------------------------------------------------------------------


def test_a_recipe_chooses_the_engine_and_bounds_its_cache(tiny_model: Any, tokenizer: Any) -> None:
    from rl2f_hub.recipe import EngineSpec
    from rl2f_hub.students.load import as_student

    plain = as_student(tiny_model, tokenizer, "x", None, EngineSpec(cache_tokens=300))
    assert isinstance(plain.engine, TransformersEngine)
    assert plain.engine.cache_tokens == 300
    assert isinstance(
        as_student(tiny_model, tokenizer, "x", None, EngineSpec(kind="continuous")).engine, ContinuousEngine
    )
    with pytest.raises(UsageError, match=r"engine\.kind: 'vllm' loads its model itself"):
        as_student(tiny_model, tokenizer, "x", None, EngineSpec(kind="vllm"))
    with pytest.raises(ValueError, match="is for kind vllm"):
        EngineSpec(server="http://h/v1")


def test_a_student_in_vllm_is_its_base_with_the_adapter_beside_it(
    fake_vllm: type[FakeLLM], tiny_model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    from rl2f_hub.recipe import EngineSpec
    from rl2f_hub.students.load import open_student

    base, folder = tmp_path / "base", tmp_path / "adapter"
    tiny_model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    config = LoraConfig(r=2, target_modules="all-linear", base_model_name_or_path=str(base))
    get_peft_model(copy.deepcopy(tiny_model), config).save_pretrained(folder)
    saved = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(saved))
    student = open_student(str(folder), engine=EngineSpec(kind="vllm"))
    student.engine.open([1], GREEDY, STOP).generate([0], [[5]], 1)
    assert fake_vllm.asked[-1][2][2] == str(folder)
    open_student(str(base), engine=EngineSpec(kind="vllm")).engine.open([1], GREEDY, STOP).generate([0], [[5]], 1)
    assert fake_vllm.asked[-1][2] is None


# -- training with an engine that holds the base itself --------------------------------------------------------------

LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def test_the_adapter_goes_to_vllm_at_every_update_and_the_base_stays(
    make_trainer: Any, fake_vllm: type[FakeLLM], make_model: Any, scored_batch: Any, judged_by_length: str
) -> None:
    """What the engine sampled from is the policy, to rounding, at the start and after updates."""
    from peft import LoraConfig

    fake_vllm.model = make_model()
    engine = colocated("m")
    teachers: list[Any] = []
    trainer = make_trainer(
        judged_by_length,
        engine=engine,
        peft_config=LoraConfig(**LORA),
        critique_coef=0.0,
        teacher=lambda student: teachers.append(student.engine) or ScriptedTeacher(),
    )
    assert teachers == [engine], "a student who is its own teacher asks the same engine"
    trainer.train()
    folders = [lora[2] for _, _, lora in fake_vllm.asked]
    assert len(set(folders)) == 2, "one adapter an update, whatever its turns"
    assert not Path(folders[0]).exists(), "adapters of earlier updates do not pile up"
    assert (Path(folders[-1]) / "adapter_model.safetensors").is_file()
    batch = scored_batch(trainer)
    assert fake_vllm.asked[-1][2][2] not in folders, "the last update is known to the engine"
    own = batch["tool_mask"].bool()
    with torch.no_grad():
        trainer.compute_loss(trainer.model, batch)
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        width = batch["completion_ids"].size(1)
        logps, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)
    torch.testing.assert_close(batch["old_per_token_logps"][own], logps[own], atol=1e-4, rtol=0)
    assert not torch.equal(logps[own], torch.zeros_like(logps[own]))


def test_training_refuses_what_an_engine_apart_cannot_serve(
    make_trainer: Any, fake_vllm: type[FakeLLM], tiny_model: Any
) -> None:
    from peft import LoraConfig

    lora = LoraConfig(**LORA)
    with pytest.raises(UsageError, match="engine: only an adapter is handed to it"):
        make_trainer(engine=colocated("m"))
    with pytest.raises(UsageError, match="engine: TransformersEngine takes no adapter"):
        make_trainer(engine=TransformersEngine(tiny_model, 0), peft_config=lora)
    with pytest.raises(UsageError, match=r"top_p: 0\.9 with an engine of others"):
        make_trainer(engine=colocated("m"), peft_config=lora, top_p=0.9)
    with pytest.raises(UsageError, match="rank 65 is above"):
        make_trainer(engine=colocated("m"), peft_config=LoraConfig(**LORA | {"r": 65}))


def test_the_recipes_engine_reaches_training(make_trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.training import trainer

    asked: list[Any] = []
    real = trainer.run_dialogues
    monkeypatch.setattr(trainer, "run_dialogues", lambda *a, **k: asked.append((a, k)) or real(*a, **k))
    make_trainer(cache_tokens=200, overlap=True, max_steps=1).train()
    (arguments, options) = asked[0]
    assert arguments[1].engine.cache_tokens == 200
    assert options["overlap"] is True
    with pytest.raises(UsageError, match="cache_tokens: 6 must hold a dialogue"):
        make_trainer(cache_tokens=6)


def test_recipes_that_an_engine_cannot_train_are_refused() -> None:
    from rl2f_hub.recipe import Recipe

    def recipe(**sections: Any) -> Recipe:
        source = {"source": "reasoning_gym:chain_sum", "count": 4}
        least = {"name": "x", "hub": {"dataset": "d", "adapter": "a"}, "model": {"id": "m"}}
        return Recipe.model_validate({**least, "tasks": {"train": [source], "eval": [source]}, **sections})

    recipe(engine={"kind": "vllm"}).check_trainable()
    with pytest.raises(UsageError, match=r"engine\.kind: continuous is greedy only, and training samples"):
        recipe(engine={"kind": "continuous"}).check_trainable()
    with pytest.raises(ValueError, match=r"train\.adapter: stack trains on a merged base"):
        recipe(engine={"kind": "vllm"}, train={"adapter": "stack"})


def test_a_runs_students_are_one_engine_with_their_adapters(
    make_model: Any, tokenizer: Any, fake_vllm: type[FakeLLM], tmp_path: Path
) -> None:
    """As the evaluate stage opens them: base, then each adapter, without loading the model once more."""
    from peft import LoraConfig, get_peft_model

    from rl2f_hub.evaluation.stage import open_students
    from rl2f_hub.recipe import EngineSpec

    base = tmp_path / "base"
    make_model().save_pretrained(base)
    tokenizer.save_pretrained(base)
    for name in ("warmup", "train/rl2f"):
        get_peft_model(make_model(), LoraConfig(**LORA)).save_pretrained(tmp_path / name / "adapter")
    recipe = SimpleNamespace(
        model=SimpleNamespace(id=str(base), revision=None, dtype="float32", scratch=None, wheel=None),
        dialogue=SimpleNamespace(thinking=None),
        engine=EngineSpec(kind="vllm"),
        students=("rl2f",),
    )
    run: Any = SimpleNamespace(recipe=recipe, own_base=None, path=lambda *parts: tmp_path.joinpath(*parts))
    engines, requests = set(), []
    for name, student in open_students(run, ["base", "warmup", "rl2f", "base"]):
        student.engine.open([1], GREEDY, STOP).generate([0], [[5]], 1)
        assert student.name == name
        engines.add(id(student.engine))
        requests.append(fake_vllm.asked[-1][2])
    assert len(engines) == 1
    assert [r and r[2] for r in requests] == [
        None,
        str(tmp_path / "warmup" / "adapter"),
        str(tmp_path / "train" / "rl2f" / "adapter"),
        None,
    ]
