"""Errors on purpose: the n-th matching request fails as asked, every other one is served, and only in test servers."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from rl2f_hub.errors import UsageError
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.users import add_user


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub.start(tmp_path_factory.mktemp("faulty") / "root", user="alice", faults=True) as hub:
        yield hub


@pytest.fixture
def call(faulty: LocalHub, http_class: Any) -> Any:
    faulty.clear_faults()
    return http_class(faulty)


def test_the_nth_matching_request_fails_and_no_other(faulty: LocalHub, call: Any) -> None:
    name = call.create("nth")
    faulty.fail_next(503, nth=2, method="POST", path="/commit/")
    found = []
    for i in range(4):
        assert call("GET", f"/api/models/{name}").status == 200
        found.append(call.commit(name, {f"{i}.txt": b"x"}).status)
    assert found == [200, 503, 200, 200]
    assert [row[2] for row in faulty.requests() if "/commit/" in row[1]] == ["", 503, "", ""]
    assert {f["rfilename"] for f in call("GET", f"/api/models/{name}").json()["siblings"]} == {
        ".gitattributes", "0.txt", "2.txt", "3.txt",
    }  # fmt: skip


def test_several_in_a_row_with_retry_after(faulty: LocalHub, call: Any) -> None:
    faulty.fail_next(429, nth=1, times=2, retry_after=3)
    answers = [call("GET", "/api/whoami-v2") for _ in range(3)]
    assert [a.status for a in answers] == [429, 429, 200] and answers[0].headers["retry-after"] == "3"


def test_a_reset_and_silence_are_connection_errors(faulty: LocalHub, call: Any) -> None:
    for kind, more in (("reset", {}), ("timeout", {"seconds": 0.05})):
        faulty.fail_next(kind, **more)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            call("GET", "/api/whoami-v2")
        assert call("GET", "/api/whoami-v2").status == 200


def test_after_carries_the_request_out(faulty: LocalHub, call: Any) -> None:
    name = call.create("after")
    for kind, path in ((502, "a"), ("reset", "b")):
        faulty.fail_next(kind, path="/commit/", after=True)
        try:
            assert call.commit(name, {path: b"x"}).status == 502
        except ConnectionError:
            assert kind == "reset"
        assert call("GET", f"/{name}/resolve/main/{path}").status == 200
    faulty.fail_next(500, path="/commit/")
    assert call.commit(name, {"c": b"x"}).status == 500
    assert call("GET", f"/{name}/resolve/main/c").status == 404


def test_a_truncated_body_is_shorter_than_announced(faulty: LocalHub, call: Any) -> None:
    name = call.create("cut")
    assert call.commit(name, {"a": b"0123456789" * 1000}).status == 200
    faulty.fail_next("truncate", path="/resolve/")
    with pytest.raises(http.client.IncompleteRead) as cut:
        call("GET", f"/{name}/resolve/main/a")
    assert 0 < len(cut.value.partial) < 10_000
    assert call("GET", f"/{name}/resolve/main/a").body == b"0123456789" * 1000


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [(200, {}, "400 to 599"), ("explode", {}, "reset, timeout"), (500, {"path": "("}, "regular expression"),
     (500, {"nht": 2}, "'nht' is not")],
)  # fmt: skip
def test_a_fault_that_cannot_be_is_refused(faulty: LocalHub, kind: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        faulty.fail_next(kind, **more)


def test_only_a_test_server_fails_on_purpose(hub: LocalHub, faulty: LocalHub, call: Any) -> None:
    with pytest.raises(UsageError, match="faults=True"):
        hub.fail_next(500)
    reader = add_user(faulty.root, "eve", role="read")
    for token, status in ((None, 401), (reader, 403)):
        assert call("POST", "/-/faults", {"kind": 500}, token).status == status
