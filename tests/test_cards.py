"""Cards are other people's Markdown: figures come from the run, and no text of the data can do anything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from recorded_run import dialogue, recorded

from rl2f_hub.hub.card_merge import merge
from rl2f_hub.hub.card_text import address, code, plain, public_model
from rl2f_hub.hub.model_cards import model_card
from rl2f_hub.publish import merged_index
from rl2f_hub.publish.build import build
from rl2f_hub.publish.cards import dataset_card, wilson
from rl2f_hub.runs import write_json
from rl2f_hub.tasks.catalogue import license_of_all
from rl2f_hub.training.checks import untrained

HOSTILE = [
    "<script>alert(1)</script> <img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) ![x](http://evil/x.png) https://evil.example",
    "---\nlicense: evil\n---",
    "[//]: # (rl2f:end example)\n\n# Mine\n\n[//]: # (rl2f:begin results 000000000000)",
    "```\n| a | b |\n| - | - |\n```",
    "{{ 7 * 7 }} {% raw %}",
    "\u202edrah\x00",
]


def card_of(folder: Path, words: str = "Too low.", **hub: Any) -> str:
    run = recorded(folder, [dialogue(n, words, wrong=n % 3) for n in range(6)], **hub)
    return dataset_card("me/name", merged_index(run, build(run), None), endpoint="https://hub.example")


@pytest.mark.parametrize("words", HOSTILE)
def test_text_of_a_dialogue_is_text(tmp_path: Path, words: str) -> None:
    text, harmless = card_of(tmp_path / "a", words), card_of(tmp_path / "b", "x")

    def shape(card: str) -> list[str]:
        """What a renderer makes of a card, without its words."""
        body = card.split("---\n", 2)[2]
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
        return [
            t.type
            for token in tokens
            for t in (token, *(token.children or ()))
            if t.type not in ("text", "text_special")
        ]

    assert shape(text) == shape(harmless)
    heads = [yaml.safe_load(card.split("---\n")[1]) for card in (text, harmless)]
    assert all(head.pop("dataset_info") for head in heads)  # sizes differ, as they should
    assert heads[0] == heads[1]
    assert merge(text, harmless).kept == []


def test_figures_are_those_of_the_rows(tmp_path: Path) -> None:
    results = card_of(tmp_path).split("(rl2f:begin results")[1].split("(rl2f:end results)")[0]
    low, high = wilson(2, 6)
    assert f"| 1 | 33.3 % | {100 * low:.1f} % to {100 * high:.1f} % |" in results
    assert "| 3 | 100.0 % |" in results
    assert "n = 6 dialogues, seeds 7" in results


def test_what_nobody_measured_is_said_to_be_so(tmp_path: Path) -> None:
    run = recorded(tmp_path / "a", [dialogue(1, wrong=0)])
    text = dataset_card("me/name", merged_index(run, build(run), None), endpoint="https://hub.example")
    assert "leak rate not measured" in text  # there was no feedback
    assert "Carbon: not measured" in text
    known = dataset_card("me/name", merged_index(run, build(run), None), endpoint="https://hub.example", co2_g=12.5)
    assert "Carbon: 12.5 g CO2eq, as the author states" in known


@pytest.mark.parametrize("rewarded", [0, 3])
def test_a_student_that_no_reward_taught_is_said_to_be_so(tmp_path: Path, rewarded: int) -> None:
    run = recorded(tmp_path / "a", [dialogue(1)])
    rl2f = {"steps": 6, "rewarded_batches": rewarded, "max_turns": 3, "student_tokens": 100}
    trained = {"rl2f": rl2f, "single_turn_rl": {"steps": 6, "rewarded_batches": rewarded}, "dpo": {"steps": 4}}
    for result in trained.values():
        result["untrained"] = untrained(result)
    published = {"repo_id": "me/didactic", "revision": "b" * 40, "fingerprint": "f"}
    for stage, outputs in {"publish": published, "warmup": {"rows": 1, "steps": 2}, "train": trained}.items():
        run.manifest["stages"][stage] = {"status": "done", "wall_s": 1.0, "outputs": outputs}
    write_json(run.path("evaluation", "metrics.json"), {"max_turns": 3, "train_max_turns": 3, "students": {}})
    card = model_card(
        run, "me/adapter", base={"repo_id": "me/base", "revision": "a" * 40}, endpoint="https://hub.example"
    )
    what = card.split("(rl2f:begin what")[1].split("(rl2f:end what)")[0]
    assert ("**Trained without any reward:** in 6 updates no two dialogues" in what) is (rewarded == 0)
    assert ("`single_turn_rl` was trained without effect" in card) is (rewarded == 0)
    assert "`dpo` was trained without effect" not in card


def test_links_are_exact_and_hold_elsewhere_than_on_this_machine(tmp_path: Path) -> None:
    assert f"https://hub.example/me/base/tree/{'a' * 40}" in card_of(tmp_path)
    assert address("http://127.0.0.1:4321", "dataset", "me/x", "abc") == "/datasets/me/x/tree/abc"
    assert address("https://huggingface.co/", "model", "me/x") == "https://huggingface.co/me/x"


@pytest.mark.parametrize(
    ("sources", "identifier"),
    [
        (["reasoning_gym:lcm", "reasoning_gym:chain_sum"], "apache-2.0"),
        (["hub:openai/gsm8k"], "mit"),
        (["hub:openai/gsm8k", "reasoning_gym:lcm"], "other"),
        (["jsonl:mine.jsonl"], "other"),
    ],
)
def test_the_licence_is_that_of_the_sources_and_all_are_named(sources: list[str], identifier: str) -> None:
    found, words = license_of_all(sources)
    assert found == identifier
    assert words


@pytest.mark.parametrize(
    ("name", "shown"),
    [("org/model-1.5B", "org/model-1.5B"), ("/home/x/models/mine", "mine"), ("./models/mine", "mine"), ("~/m/x", "x")],
)
def test_a_folder_of_this_machine_is_never_shown(name: str, shown: str) -> None:
    assert public_model(name) == shown


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    assert len(plain(text).splitlines()) <= 1
    assert not set("<>[]`|*_") & set(plain(text))
    assert not set("`|<>\n") & set(code(text))


def test_the_wilson_interval_at_its_ends() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    low, high = wilson(5, 10)  # against the tables: 23.66 % to 76.34 %
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)
