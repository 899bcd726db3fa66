"""Whatever a Hub does to a push: nothing lost, nothing half visible, one line, and the same command again completes.

The Hub, its refusals and the clients are real; interruptions are Ctrl-C at the n-th request of the client.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_run import dialogue, recorded

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.hub.commit import look
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.users import add_token, add_user
from rl2f_hub.publish import build, publish

MOST_REQUESTS = 40


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub.start(tmp_path_factory.mktemp("hub") / "root", faults=True) as started:
        yield started


@pytest.fixture
def make_api(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its requests are not those of the Python client
    hub.clear_faults()
    return lambda token=hub.token, endpoint=hub.endpoint: HfApi(endpoint=endpoint, token=token)


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int | None], list[str]]]:
    """`stop_at(n)`: from now on the n-th request of the client is Ctrl-C instead. Returns the list of requests made."""
    from huggingface_hub import close_session, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    state: dict[str, Any] = {"at": None, "made": []}

    def hook(request: Any) -> None:
        state["made"].append(f"{request.method} {request.url.path}")
        if len(state["made"]) == state["at"]:
            raise KeyboardInterrupt

    def factory() -> Any:
        client = default_client_factory()
        client.event_hooks["request"].append(hook)
        return client

    def arm(number: int | None) -> list[str]:
        state["at"], state["made"] = number, []
        return state["made"]

    set_client_factory(factory)
    yield arm
    set_client_factory(default_client_factory)
    close_session()


def visible(api: Any, repo: str) -> dict[str, tuple[int, str]] | None:
    """The files of a data set by path, without what the Hub itself puts there; None without a repository."""
    there = look(api, repo, "dataset")
    return None if there.head is None else {p: f for p, f in there.files.items() if p != ".gitattributes"}


def test_a_push_stopped_at_any_request_shows_all_or_nothing_and_the_same_again_completes(
    make_api: Callable[..., Any], stop_at: Callable[..., Any], tmp_path: Path
) -> None:
    api = make_api()
    first, second = [dialogue(n) for n in range(4)], [dialogue(n, "Too low, try more.", 2) for n in range(6)]
    whole: dict[bool, Any] = {}
    stopped: dict[bool, int] = {True: 0, False: 0}
    for new in (True, False):  # onto nothing, and onto an earlier data set
        for number in range(1, MOST_REQUESTS + 1):
            name = f"stopped-{'new' if new else 'old'}-{number}"
            before = None
            if not new:
                publish(recorded(tmp_path / name / "first", first, dataset=name), "me", api=api)
                before = visible(api, f"me/{name}")
            run = recorded(tmp_path / name / "second", second, dataset=name, seed=8)
            build(run)
            made = stop_at(number)
            try:
                publish(run, "me", api=api)
                finished = True
            except KeyboardInterrupt:
                finished = False
                stopped[new] += 1
            made = list(made)
            stop_at(None)
            seen = visible(api, f"me/{name}")
            if not finished:
                done = publish(run, "me", api=api)
                allowed = [before, visible(api, f"me/{name}"), *([{}] if new else [])]  # {}: made, and empty
                assert seen in allowed, made
                assert done["rows"]["dialogues/train"] == 6
            after = {p: f for p, f in (visible(api, f"me/{name}") or {}).items() if p != "README.md"}  # it has the name
            assert whole.setdefault(new, after) == after
            titles = [c.title for c in api.list_repo_commits(f"me/{name}", repo_type="dataset")]
            assert titles.count("Dataset of recorded") == (1 if new else 2)
            if finished:
                break
        assert finished, f"a push of more than {MOST_REQUESTS} requests"
    assert stopped[True] >= 8
    assert stopped[False] >= 8


@pytest.mark.parametrize("after", [False, True], ids=["lost", "answer lost"])
@pytest.mark.parametrize("kind", [503, "reset"])
def test_a_request_that_fails_once_is_made_again(
    hub: LocalHub, make_api: Callable[..., Any], tmp_path: Path, kind: Any, after: bool
) -> None:
    api = make_api()
    for number, path in enumerate(("/api/repos/create", "/preupload/", "/info/lfs", "/commit/", "/api/datasets/me/")):
        name = f"once-{kind}-{after}-{number}"
        run = recorded(tmp_path / name, [dialogue(n) for n in range(2)], dataset=name)
        hub.clear_faults()
        hub.fail_next(kind, path=path, after=after)
        publish(run, "me", api=api)
        assert [fault for *_, fault in hub.requests() if fault] == [kind]
        titles = [c.title for c in api.list_repo_commits(f"me/{name}", repo_type="dataset")]
        assert titles == ["Dataset of recorded", "initial commit"]


def test_too_many_requests_waits_as_long_as_the_hub_says(
    hub: LocalHub, make_api: Callable[..., Any], tmp_path: Path
) -> None:
    api = make_api()
    run = recorded(tmp_path / "run", [dialogue(1)], dataset="slow-down")
    build(run)
    for path in ("/api/repos/create", "/commit/"):
        hub.fail_next(429, path=path, retry_after=2)
    began = time.monotonic()
    publish(run, "me", api=api)
    assert time.monotonic() - began >= 4
    assert [fault for *_, fault in hub.requests() if fault] == [429, 429]


def test_a_wait_longer_than_anybody_waits_is_an_error_at_once(
    hub: LocalHub, make_api: Callable[..., Any], tmp_path: Path
) -> None:
    hub.fail_next(429, path="/api/repos/create", retry_after=3600, times=9)
    run = recorded(tmp_path / "run", [dialogue(1)], dataset="much-later")
    with pytest.raises(RL2FError, match=r"hub: me/much-later: refused with status 429; rate limit: wait 3600 s"):
        publish(run, "me", api=make_api())


def refused(make_api: Callable[..., Any], tmp_path: Path, words: str, namespace: str = "me", **api: Any) -> RL2FError:
    run = recorded(tmp_path / f"run{len(list(tmp_path.iterdir()))}", [dialogue(1)], dataset="refused")
    with pytest.raises(RL2FError, match=words) as caught:
        publish(run, namespace, api=make_api(**api))
    message = str(caught.value)
    assert "\n" not in message
    assert "hf_" not in message.replace("hf_hub", "")
    assert f"{namespace}/refused" in message
    return caught.value


def test_every_kind_of_token_that_will_not_do_is_named(
    hub: LocalHub, make_api: Callable[..., Any], tmp_path: Path
) -> None:
    add_user(hub.root, "other")
    reader = add_token(hub.root, "me", "read", None)
    expired = add_token(hub.root, "me", "write", 0)
    refused(make_api, tmp_path, "token is wrong or expired", token="hf_wrong")
    refused(make_api, tmp_path, "token is wrong or expired", token=expired)
    refused(make_api, tmp_path, "token is wrong or expired", token=False)
    refused(make_api, tmp_path, "token may not write there.*it must be `write`", token=reader)
    refused(make_api, tmp_path, "token may not write there", namespace="other")
    assert look(make_api(), "me/refused", "dataset").head is None


def test_no_network_is_one_line(make_api: Callable[..., Any], tmp_path: Path) -> None:
    refused(make_api, tmp_path, "the Hub cannot be reached", endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("name", ["a b", "-x", "x.", "a--b", "a..b", "x" * 97, "a/b", "x.git", "", "ü"])
def test_names_that_the_hub_does_not_allow_are_refused_with_the_recipe(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a name that the Hub allows"):
        recorded(tmp_path / "run", [dialogue(1)], dataset=name)


def test_a_model_of_the_same_name_is_in_nobodys_way(make_api: Callable[..., Any], tmp_path: Path) -> None:
    api = make_api()
    api.create_repo("me/twice", private=True)
    publish(recorded(tmp_path / "run", [dialogue(1)], dataset="twice"), "me", api=api)
    assert look(api, "me/twice", "model").files.keys() <= {".gitattributes"}


def test_a_full_disk_leaves_nothing_half_written_and_the_same_again_completes(
    make_api: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    run = recorded(tmp_path / "run", [dialogue(1)], dataset="full")
    real = pq.ParquetWriter.write_table

    def no_space(self: Any, *args: Any, **named: Any) -> None:
        if "sft" in str(self.where):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, *args, **named)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", no_space)
    with pytest.raises(OSError, match="No space"):
        publish(run, "me", api=make_api())
    assert not list((run.dir / "publish").rglob("*.part"))
    assert not (run.dir / "publish" / "index.json").exists()
    monkeypatch.undo()
    assert look(make_api(), "me/full", "dataset").head is None
    assert publish(run, "me", api=make_api())["rows"]["dialogues/train"] == 1


def test_an_unreadable_card_on_the_hub_is_not_overwritten(make_api: Callable[..., Any], tmp_path: Path) -> None:
    api = make_api()
    run = recorded(tmp_path / "run", [dialogue(1)], dataset="large")
    api.create_repo("me/large", repo_type="dataset", private=True)
    api.upload_file(path_or_fileobj=b"x" * 2**21, path_in_repo="README.md", repo_id="me/large", repo_type="dataset")
    with pytest.raises(RL2FError, match="larger than 1 MiB"):
        publish(run, "me", api=api)


def test_an_index_that_somebody_has_damaged_is_named(make_api: Callable[..., Any], tmp_path: Path) -> None:
    api = make_api()
    publish(recorded(tmp_path / "a", [dialogue(1)], dataset="damaged"), "me", api=api)
    for text, words in ((b"{", "no readable rl2f.json"), (b'{"columns": "", "shards": {}, "parts": [{}]}', "damaged")):
        api.upload_file(path_or_fileobj=text, path_in_repo="rl2f.json", repo_id="me/damaged", repo_type="dataset")
        with pytest.raises(UsageError, match=words):
            publish(recorded(tmp_path / words[:2], [dialogue(2)], dataset="damaged"), "me", append=True, api=api)
