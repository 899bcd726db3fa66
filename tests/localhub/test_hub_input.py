"""Bad input: hostile paths and names, garbage in every field, broken commits and cards. Refused, never a crash."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any

import pytest


@pytest.fixture(scope="module")
def repo(http_: Any) -> str:
    """A public model."""
    name = http_.create("input")
    assert http_.commit(name, {"a.txt": b"x"}).status == 200
    return name


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\\b", "a//b", ".git/config", "a\x00b", "a\nb"])
def test_hostile_paths_in_a_commit_are_refused(http_: Any, repo: str, path: str) -> None:
    answer = http_.commit(repo, {path: b"x"})
    assert answer.status == 400 and "Invalid path" in answer.json()["error"]
    body = {"files": [{"path": path, "sample": "", "size": 1}]}
    assert http_("POST", f"/api/models/{repo}/preupload/main", body).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "../../../../users.json",
        "..%2f..%2f..%2fusers.json",
        "%2e%2e/%2e%2e/secret",
        "....//users.json",
        "sub/../a",
        "%00",
    ],
)
def test_hostile_urls_reach_no_file(http_: Any, repo: str, path: str) -> None:
    for prefix in (
        f"/{repo}/resolve/main/",
        f"/api/models/{repo}/tree/main/",
        "/",
        "/api/models/",
        f"/{repo}/blob/main/",
    ):
        answer = http_("GET", prefix + path)
        assert answer.status in (404, 501) and b"token" not in answer.body, prefix


@pytest.mark.parametrize("name", ["..", "a/b", "a..b", ".hidden", "x\n", "", None, 7, "a" * 200, "%2e%2e"])
def test_hostile_repository_names_are_refused(http_: Any, name: object) -> None:
    assert http_("POST", "/api/repos/create", {"name": name}).status == 400


HEADER = {"key": "header", "value": {"summary": "s"}}
BAD_BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b'{"key": 1}',
    b"\xff\xfe",
    b'{"files": [{"path": "a"}]}',
    b"{}" * 10,
    b"[" * 100_000,
    b'{"x": 1e999}',
    b'{"x": NaN}',
]
FIELDS = [
    "name", "organization", "type", "private", "visibility", "sdk", "secrets", "variables", "hardware",
    "sleepTimeSeconds", "fromRepo", "toRepo", "repository", "content", "files", "paths", "expand", "tag",
    "message", "startingPoint", "objects", "operation", "ref", "key", "value", "description", "command",
    "labels", "title", "description", "item", "note", "position", "namespace", "theme", "status", "comment", "user",
    "pullRequest", "gated", "requestId",
]  # fmt: skip
BAD_VALUES = [7, -1, 1.5, True, [], ["x"], [7], [{}], [{"key": 7}], {}, {"x": 7}, "x", "", "\ud800", "../x", "a" * 5000]
BAD_BODIES += [json.dumps(dict.fromkeys(FIELDS, value)).encode() for value in BAD_VALUES]


def test_garbage_is_refused_and_never_an_internal_error(http_: Any, repo: str) -> None:
    api = f"/api/models/{repo}"
    space = {"name": "garbage", "type": "space", "sdk": "static"}
    assert http_("POST", "/api/repos/create", space).status == 200
    paths = [
        "/api/repos/create", "/api/repos/move", "/api/validate-yaml", f"{api}/preupload/main", f"{api}/commit/main",
        f"{api}/paths-info/main", f"{api}/branch/x%20y", f"{api}/tag/main", f"{api}/duplicate",
        f"/{repo}.git/info/lfs/objects/batch",
        "/cas/v1/shards", "/cas/v1/xorbs/default/" + "0" * 64, "/api/jobs/alice", f"/api/spaces/{repo}/variables",
        f"{api}/super-squash/main", "/api/spaces/alice/garbage/hardware", "/api/spaces/alice/garbage/secrets",
        "/api/spaces/alice/garbage/sleeptime", "/api/collections",
    ]  # fmt: skip
    made = http_("POST", "/api/collections", {"title": "garbage"}).json()["slug"]
    shelf = f"/api/collections/{made}"
    item = http_("POST", f"{shelf}/items", {"item": {"type": "paper", "id": "2602.16066"}}).json()["items"][0]["_id"]
    talk = f"{api}/discussions/{http_('POST', f'{api}/discussions', {'title': 'garbage'}).json()['num']}"
    more = [f"{shelf}/items", f"{api}/discussions", f"{api}/user-access-request/handle", f"/{repo}/ask-access"]
    more += [f"{talk}/{what}" for what in ("comment", "title", "status", "merge", "comment/x/edit")]
    calls = [("POST", path) for path in [*paths, *more]]
    calls += [("PATCH", shelf), ("PATCH", f"{shelf}/items/{item}"), ("PUT", f"{api}/settings")]
    for method, path in calls:
        for body in BAD_BODIES:
            answer = http_(method, path, body, headers={"Content-Type": "application/json"})
            assert answer.status < 500 or answer.status == 501, (path, body[:80], answer.text)
    for query in ("?limit=x", "?limit=0", "?limit=-1", "?limit=99999999", "?cursor=%00", "?recursive=maybe", "?p=x"):
        for path in (f"{api}/tree/main", f"{api}/commits/main", "/api/models", "/api/collections", shelf):
            assert http_("GET", path + query).status < 500


@pytest.mark.parametrize(
    "lines",
    [
        [{"key": "file", "value": {"path": "a", "content": "x"}}],  # no header
        [{"key": "header", "value": {"summary": " "}}],
        [HEADER, {"key": "file", "value": {"path": "a", "content": "*", "encoding": "base64"}}],
        [HEADER, {"key": "rename", "value": {"path": "a"}}],
        [HEADER, {"key": "lfsFile", "value": {"path": "a", "oid": "../../users.json"}}],
    ],
)
def test_bad_commits_are_refused_whole(http_: Any, repo: str, lines: list[Any]) -> None:
    before = http_("GET", f"/api/models/{repo}").json()["sha"]
    answer = http_("POST", f"/api/models/{repo}/commit/main", "\n".join(map(json.dumps, lines)).encode())
    assert answer.status == 400 and http_("GET", f"/api/models/{repo}").json()["sha"] == before


def test_a_commit_is_read_line_by_line_wherever_the_network_cuts_it(http_: Any, hub: Any, repo: str) -> None:
    content = base64.b64encode(bytes(range(256)) * 50).decode()
    lines = [{"key": "header", "value": {"summary": "cut"}}]
    lines += [
        {"key": "file", "value": {"path": f"cut/{i}", "content": content, "encoding": "base64"}} for i in range(3)
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"))
    connection.request(
        "POST", f"/api/models/{repo}/commit/main", (body[i : i + 777] for i in range(0, len(body), 777)),
        {"Authorization": f"Bearer {hub.token}"}, encode_chunked=True,
    )  # fmt: skip
    assert connection.getresponse().status == 200
    assert http_("GET", f"/{repo}/resolve/main/cut/2").body == bytes(range(256)) * 50


def test_validate_yaml(http_: Any) -> None:
    def check(content: str) -> Any:
        return http_("POST", "/api/validate-yaml", {"content": content, "repoType": "dataset"})

    assert check("---\nlicense: mit\n---\n").json() == {"errors": [], "warnings": []}
    assert check("# no metadata").json()["warnings"]
    for bad in ("---\na: [1\n---\n", "---\n- a\n---\n", "---\na: 1\n", "---\na: !!python/object:os.system x\n---\n"):
        assert check(bad).status == 400 and check(bad).json()["errors"]
    half = r'---\nlicense: "\ud800"\n---\n'.replace(r"\n", "\n")
    name = http_.create("half")
    assert check(half).status == 400 and http_.commit(name, {"README.md": half.encode()}).status == 200
    assert http_("GET", f"/api/models/{name}").json()["cardData"] == {}
    bomb = (
        "---\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]\n" for i in range(12)) + "---\n"
    )
    assert check(bomb).status == 400
