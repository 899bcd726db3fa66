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

from rl2f_hub.engines import Sampling
from rl2f_hub.engines.continuous import ContinuousEngine
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.engines.vllm import VllmEngine, colocated, served
from rl2f_hub.errors import RL2FError, UsageError

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
        for prompt, p in zip(prompts, params, strict=True):
            sampling = Sampling(p.temperature, p.top_p, p.max_tokens)
            session = TransformersEngine(FakeLLM.model, 0).open([p.seed], sampling, frozenset(p.stop_token_ids))
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
    requests = [lora for _, _, lora in fake_vllm.asked]
    assert requests == [("adapter-1", 1, str(adapter)), None, ("adapter-2", 2, str(adapter))]
    with pytest.raises(UsageError, match="has no adapter_config"):
        engine.sync(tmp_path / "nothing")


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
        assert {b["model"] for p, b in asked[9:]} == {"adapter-1"}
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
    assert fake_vllm.asked[-1][2] == ("adapter-1", 1, str(folder))
    open_student(str(base), engine=EngineSpec(kind="vllm")).engine.open([1], GREEDY, STOP).generate([0], [[5]], 1)
    assert fake_vllm.asked[-1][2] is None
