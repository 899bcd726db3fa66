"""The demo and the Hub, on the embedded one: a Space pushed twice, dialogues given and taken back, results read.

Clients read their settings when they are imported, so all of it runs in one child process that prints what it saw.
"""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rl2f_hub.demo.space import push_space, read_front_matter, requirements, source_folder, space_card
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.localhub import LocalHub

VISIT = """
import json, os, sys
from pathlib import Path
from datasets import load_dataset
from huggingface_hub import HfApi, SpaceCard
from rl2f_hub.demo import tiny_folder
from rl2f_hub.demo.acts import Who
from rl2f_hub.demo.contribute import Contributions
from rl2f_hub.demo.space import push_space
from rl2f_hub.demo.tour import read_results, tour
from rl2f_hub.errors import RL2FError

out, api = {}, HfApi()
api.create_repo("me/adapter")
api.upload_folder(repo_id="me/adapter", folder_path=tiny_folder())
os.environ["A_SECRET"] = "hf_secret_value"
out["first"] = push_space("me/space", "me/adapter", feedback_dataset="me/feedback", secrets=["A_SECRET"])
made = api.create_collection("RL2F: test", namespace="me", private=True)
api.add_collection_item(made.slug, "me/adapter", "model")
out["again"] = push_space("me/space", "me/adapter")
out["collected"] = [[i.item_type, i.item_id] for i in api.get_collection(made.slug).items]
out["collections"] = len(list(api.list_collections(owner="me")))
out["variables"] = {k: v.value for k, v in api.get_space_variables("me/space").items()}
out["files"] = sorted(api.list_repo_files("me/space", repo_type="space"))
out["private"] = api.repo_info("me/space", repo_type="space").private
out["card"] = SpaceCard.load("me/space").data.to_dict()
out["commits"] = len(api.list_repo_commits("me/space", repo_type="space"))
out["tour"] = tour(read_results("me/adapter"), "me/adapter").count("<svg")
try:
    read_results("me/space-that-is-not")
except RL2FError as error:
    out["no results"] = str(error)

rows = json.loads(Path(sys.argv[1]).read_text())
given = Contributions("me/feedback", every_s=3600)
receipts = [given.give(rows, True, Who()) for _ in range(3)]
given.take_back(receipts.pop(), Who())  # it was not even sent
out["flushed"] = [given.flush(), given.flush()]
out["feedback private"] = api.repo_info("me/feedback", repo_type="dataset").private
load = lambda: load_dataset("me/feedback", "dialogues", split="train", download_mode="force_redownload")
data = load()
out["types"] = {n: str(t) for n, t in data.features.items()}
out["rows"] = len(data)
out["words"] = sorted({t["feedback"] for row in data for t in row["turns"] if t["feedback"]})
out["no receipts"] = not any(r in json.dumps(api.list_repo_files("me/feedback", repo_type="dataset")) for r in receipts)
given.take_back(receipts[0], Who())
out["left"] = len(load())
out["history"] = len(api.list_repo_commits("me/feedback", repo_type="dataset"))
for wrong in (receipts[0], "x", "0" * 32):
    try:
        given.take_back(wrong, Who())
    except RL2FError as error:
        out.setdefault("refused", []).append(str(error))
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, saying: Any) -> dict[str, Any]:
    from rl2f_hub.demo import marks, play
    from rl2f_hub.demo.episode import new_episode, own_task
    from rl2f_hub.demo.players import Player
    from rl2f_hub.engines import Sampling

    folder = tmp_path_factory.mktemp("demo-hub")
    players = [Player(name, "says", saying(["5", "6"])) for name in ("Base", "RL2F")]
    episode = new_episode(players, own_task("What is 2 * 3?", "6"))
    for words in ("", "too low, وأيضا 🙂"):
        if words:
            play.by_visitor(players, episode, words)
        list(play.take_turns(players, episode, Sampling(0.0, turn_tokens=8)))
    (folder / "rows.json").write_text(json.dumps(marks.rows_of(players, episode, "me/adapter", Sampling(0.0))))
    with LocalHub.start(folder / "hub") as hub:
        done = subprocess.run(
            [sys.executable, "-c", VISIT, str(folder / "rows.json")],
            env=os.environ | hub.env() | {"HF_HOME": str(folder / "cache")},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "hf_secret_value" not in done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_space_is_created_and_updated(seen: dict[str, Any]) -> None:
    first, again = seen["first"], seen["again"]
    assert first["secrets"] == ["A_SECRET"]
    assert first["variables"]["RL2F_FEEDBACK_DATASET"] == "me/feedback"
    assert again["revision"] != first["revision"]
    assert seen["variables"] == {"RL2F_ADAPTER": "me/adapter", "RL2F_ADAPTER_REVISION": first["adapter_revision"]}
    assert {"README.md", "app.py", "requirements.txt"} <= set(seen["files"])
    assert seen["private"] is True
    assert (seen["card"]["sdk"], seen["card"]["models"]) == ("gradio", ["me/adapter"])


def test_a_space_joins_the_collection_that_its_adapter_is_in(seen: dict[str, Any]) -> None:
    assert seen["first"]["collection"] is None
    assert seen["again"]["collection"]["items"] == ["me/space"]
    assert seen["collected"] == [["model", "me/adapter"], ["space", "me/space"]]
    assert seen["collections"] == 1


def test_the_results_are_read_from_the_adapters_repository(seen: dict[str, Any]) -> None:
    assert seen["tour"] == 4
    assert "no evaluation to show" in seen["no results"]


def test_contributions_are_batched_private_typed_and_deletable(seen: dict[str, Any]) -> None:
    from rl2f_hub.publish import features

    assert seen["flushed"] == [2, 0]
    assert seen["feedback private"] is True
    assert seen["types"] == {n: str(t) for n, t in features("dialogues").items()}
    assert seen["rows"] == 4
    assert seen["words"] == ["too low, وأيضا 🙂"]
    assert seen["no receipts"]
    assert seen["left"] == 2
    assert seen["history"] == 1
    assert len(seen["refused"]) == 3


def test_nothing_is_taken_without_consent() -> None:
    from rl2f_hub.demo.acts import Who
    from rl2f_hub.demo.contribute import Contributions

    given = Contributions("me/feedback", every_s=3600)
    for consent in (False, None, "true", 1):
        with pytest.raises(UsageError, match="Nothing was sent"):
            given.give([{}], consent, Who())  # type: ignore[arg-type]
    assert given.flush() == 0


def test_odd_metrics_are_drawn_as_far_as_they_go(tmp_path: Path) -> None:
    from rl2f_hub.demo.tour import read_results, tour

    odd = {
        "base": {"teacher": {"acc_at_turn": [0.1, float("nan")]}},
        "rl2f": {"teacher": {"acc_at_turn": [0.1, 0.5]}},
        "x": 3,
    }
    (tmp_path / "metrics.json").write_text(json.dumps({"students": odd, "comparisons": {"<b>": {"ci95": None}}}))
    drawn = tour(read_results(str(tmp_path)), "<img src=x>")
    assert drawn.count("<svg") == 1
    assert "<img" not in drawn
    assert "no accuracy by turn" in tour({"students": {}}, "x")
    for text in ("[]", "{", '{"students": []}'):
        (tmp_path / "metrics.json").write_text(text)
        with pytest.raises(RL2FError):
            read_results(str(tmp_path))


def test_published_figures_are_part_of_the_page_and_nothing_else_is(tmp_path: Path) -> None:
    from rl2f_hub.demo.tour import read_figures, tour

    def png(width: int, height: int) -> bytes:
        return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02"

    metrics = {"students": {"rl2f": {"teacher": {"acc_at_turn": [0.1, 0.5]}}}}
    assert "<img" not in tour(metrics, "x")
    (tmp_path / "accuracy_by_turn.png").write_bytes(png(900, 500))
    (tmp_path / "controls.png").write_bytes(png(60_000, 60_000))  # would be gigabytes once drawn
    (tmp_path / "plasticity.png").write_bytes(b"<svg onload=alert(1)>")
    figures = read_figures(str(tmp_path))
    assert list(figures) == ["accuracy_by_turn.png"]
    drawn = tour(metrics, "x", figures)
    assert drawn.count("<img") == drawn.count('src="data:image/png;base64,') == 1


def test_differences_are_said_in_words() -> None:
    from rl2f_hub.demo.tour import tour

    entry = {"difference": 0.1, "ci95": [0.0, 0.2]}
    names = (
        "rl2f_minus_base_last_turn",
        "ood_rl2f_minus_warmup_turn_1",
        "ood_rl2f_gain_over_turns_minus_try_again",
        "x_y",
    )
    students = {"rl2f": {"teacher": {"acc_at_turn": [0.1, 0.5]}}}
    drawn = html.unescape(tour({"students": students, "comparisons": dict.fromkeys(names, entry)}, "x"))
    assert "RL2F minus base, last attempt" in drawn
    assert "RL2F minus warm-up (SFT), first attempt, unseen families" in drawn
    assert "RL2F, gain by the teacher's words" in drawn
    assert "x y" in drawn


def test_the_spaces_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio

    listed = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    newest = next(line.partition("==")[2] for line in listed if line.startswith("gradio=="))
    monkeypatch.setattr(gradio, "__version__", newest)  # tests may run with another one
    assert (source_folder() / "README.md").read_text() == space_card() + "\n"
    front = read_front_matter(source_folder())
    assert front["sdk_version"] == gradio.__version__
    assert len(front["short_description"]) <= 60
    pinned = requirements(None).splitlines()
    assert f"gradio=={gradio.__version__}" in pinned
    assert all("==" in line for line in pinned if not line.startswith("#"))
    shipped = requirements(Path("x/rl2f_hub-0.1.0-py3-none-any.whl"))
    assert "./rl2f_hub-0.1.0-py3-none-any.whl" in shipped
    assert "rl2f-hub" not in shipped
    (tmp_path / "README.md").write_text("no front matter")
    with pytest.raises(RL2FError, match=r"front matter"):
        read_front_matter(tmp_path)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"repo_id": "space"}, "write owner/name"),
        ({"secrets": ["NOT_SET_ANYWHERE"]}, "is not set in the environment"),
        ({"secrets": ["A B"]}, "is no name of an environment variable"),
        ({"wheel": Path("other.whl")}, "is no wheel of rl2f_hub"),
    ],
)
def test_what_cannot_be_pushed_is_refused_before_the_hub_is_asked(more: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        push_space(**{"repo_id": "me/space", "adapter": "me/adapter"} | more)
