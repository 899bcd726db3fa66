"""What a training leaves with `report_to` and `push_to_hub` of TRL's own settings. (trackio: in the recipes' smoke runs.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from . import shrunken

GRPO = "{report_to: [tensorboard, trackio], push_to_hub: true}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trackers") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(out.parent / "trackio"))  # else the user's own
        done = shrunken.run(
            out,
            "--only=base,generate,publish,warmup,train",
            changes={"train.grpo": GRPO, "train.steps": 4, "hub.private": "true"},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_tensorboard_gets_every_trainings_figures(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name in ("rl2f", "single_turn_rl"):
        (file,) = (run / "train" / name).rglob("events.out.tfevents.*")
        events = EventAccumulator(str(file))
        events.Reload()
        assert [event.step for event in events.Scalars("train/accuracy/turn_1")] == [1, 2, 3, 4]


def test_the_trainer_pushes_each_training_to_a_private_repository_of_its_own(run: Path) -> None:
    from huggingface_hub import HfApi

    from rl2f_hub.localhub import LocalHub

    hub = LocalHub.start(run.parent / "hub")
    try:
        api = HfApi(hub.endpoint, token=hub.token)
        for name in ("rl2f", "single-turn-rl"):
            info = api.model_info(f"me/rl2f-quickstart-{name}-trainer")
            assert info.private
            assert "adapter_model.safetensors" in {file.rfilename for file in info.siblings or ()}
    finally:
        hub.close()
