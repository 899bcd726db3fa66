"""Calls of huggingface_hub, as its users write them. Run by run_checks.py; HF_ENDPOINT and HF_TOKEN are set."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub as hh
import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

MODE = os.environ["CHECK_MODE"]
api, bob, reader = HfApi(), HfApi(token=os.environ["BOB"]), HfApi(token=os.environ["READER"])
BIG = random.Random(7).randbytes(11_000_000)  # several Xet chunks, larger than any inline limit


def raises(kind, call, status=None, words=""):
    try:
        call()
    except kind as error:
        found = getattr(getattr(error, "response", None), "status_code", None)
        assert status in (None, found), f"status {found}, not {status}: {error}"
        assert words in str(error), error
        return error
    raise AssertionError(f"{kind} was not raised")


def repo(name, kind="model", **more):
    return api.create_repo(f"alice/{MODE}-{name}", repo_type=kind, **more).repo_id


def put(repo_id, path="a.txt", content=b"hello", kind="model", **more):
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo_id, repo_type=kind, **more)


def check_whoami_and_wrong_token():
    me = api.whoami()
    assert me["name"] == "alice" and me["auth"]["accessToken"]["role"] == "write"
    assert reader.whoami()["auth"]["accessToken"]["role"] == "read"
    wrong = HfApi(token="hf_wrong")
    raises(HfHubHTTPError, wrong.whoami, 401)
    name = repo("token")
    error = raises(HfHubHTTPError, lambda: wrong.model_info(name), 401)
    assert not isinstance(error, RepositoryNotFoundError)


def check_create_repo_of_every_kind():
    for kind, more in (("model", {}), ("dataset", {}), ("space", {"space_sdk": "gradio"})):
        name = repo("kinds", kind, **more)
        assert not api.repo_info(name, repo_type=kind).private
        assert str(repo("kinds", kind, exist_ok=True, **more)) == name
        raises(HfHubHTTPError, lambda kind=kind, more=more: repo("kinds", kind, **more), 409)
    assert api.model_info(repo("kinds-private", private=True)).private
    assert api.create_repo(f"{MODE}-short").repo_id == f"alice/{MODE}-short"


def check_other_namespace_is_forbidden():
    raises(HfHubHTTPError, lambda: api.create_repo(f"bob/{MODE}-mine"), 403)
    name = repo("foreign")
    for content in (b"x", BIG[:2_000_000]):
        call = {"path_or_fileobj": content, "path_in_repo": "x.bin", "repo_id": name}
        raises(HfHubHTTPError, lambda call=call: bob.upload_file(**call), 403)
        raises(HfHubHTTPError, lambda call=call: reader.upload_file(**call), 403)
    raises(HfHubHTTPError, lambda: bob.delete_repo(name), 403)
    raises(HfHubHTTPError, lambda: bob.update_repo_settings(name, private=True), 403)
    raises(HfHubHTTPError, lambda: bob.create_branch(name, branch="x"), 403)
    raises(HfHubHTTPError, lambda: reader.create_repo(f"reader/{MODE}-mine"), 403, "role")


def check_private_is_hidden_from_others():
    name = repo("hidden", private=True)
    put(name, "secret.txt", b"secret")
    anonymous = HfApi(token=False)
    for other in (bob, anonymous):
        raises(RepositoryNotFoundError, lambda other=other: other.model_info(name))
        raises(RepositoryNotFoundError, lambda other=other: other.list_repo_files(name))
        raises(RepositoryNotFoundError, lambda other=other: other.hf_hub_download(name, "secret.txt"))
        assert name not in [m.id for m in other.list_models(author="alice")]
    assert name in [m.id for m in api.list_models(author="alice")]
    public = repo("shown")
    assert anonymous.model_info(public).id == public and bob.auth_check(public) is None


def check_upload_file_and_download():
    name = repo("file")
    for path, content in (("a.txt", b"hello"), ("sub/b.bin", BIG[:3_000_000]), ("empty.txt", b"")):
        info = put(name, path, content)
        assert info.oid == api.model_info(name).sha and info.commit_url.endswith(info.oid)
        local = hh.hf_hub_download(name, path)
        assert Path(local).read_bytes() == content
        meta = hh.get_hf_file_metadata(hh.hf_hub_url(name, path))
        assert meta.size == len(content) and meta.commit_hash == info.oid and meta.etag in str(Path(local).resolve())
    put(name, "a.txt", b"second")
    assert Path(hh.hf_hub_download(name, "a.txt")).read_bytes() == b"second"
    first = api.list_repo_commits(name)[-2].commit_id
    assert Path(hh.hf_hub_download(name, "a.txt", revision=first)).read_bytes() == b"hello"
    assert Path(hh.hf_hub_download(name, "sub/b.bin", local_dir="out")).read_bytes() == BIG[:3_000_000]
    raises(EntryNotFoundError, lambda: hh.hf_hub_download(name, "none.txt"))
    raises(RevisionNotFoundError, lambda: hh.hf_hub_download(name, "a.txt", revision="none"))
    raises(RepositoryNotFoundError, lambda: hh.hf_hub_download(name + "x", "a.txt"))
    raises(RepositoryNotFoundError, lambda: hh.hf_hub_download("gpt2", "config.json"))


def check_upload_folder_and_snapshot():
    folder = Path("folder")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "big.bin").write_bytes(BIG)
    (folder / "deep" / "er" / "weights.safetensors").write_bytes(BIG[:5000])
    for i in range(30):
        (folder / f"n{i:02d}.txt").write_text(f"file {i}")
    name = repo("folder", "dataset")
    api.upload_folder(repo_id=name, repo_type="dataset", folder_path=folder)
    files = set(api.list_repo_files(name, repo_type="dataset"))
    assert len(files) == 33 and "deep/er/weights.safetensors" in files
    local = Path(hh.snapshot_download(name, repo_type="dataset"))
    assert (local / "big.bin").read_bytes() == BIG and (local / "n07.txt").read_text() == "file 7"
    before = api.repo_info(name, repo_type="dataset").sha
    api.upload_folder(repo_id=name, repo_type="dataset", folder_path=folder)  # nothing changed: nothing committed
    assert api.repo_info(name, repo_type="dataset").sha == before
    (folder / "n00.txt").write_text("changed")
    shutil.rmtree(folder / "deep")
    api.upload_folder(repo_id=name, repo_type="dataset", folder_path=folder, delete_patterns="deep/**")
    files = set(api.list_repo_files(name, repo_type="dataset"))
    assert not any(path.startswith("deep/") for path in files) and len(files) == 32
    local = Path(hh.snapshot_download(name, repo_type="dataset", allow_patterns="n0*"))
    assert (local / "n00.txt").read_text() == "changed"
    assert api.verify_repo_checksums(name, repo_type="dataset", local_dir=local).mismatches == []


def check_create_commit_operations():
    name = repo("ops")
    add = [CommitOperationAdd(f"d/{i}.txt", f"{i}".encode()) for i in range(3)]
    add.append(CommitOperationAdd("big.bin", BIG[:2_500_000]))
    first = api.create_commit(name, add, commit_message="one", commit_description="with a text")
    commit = api.list_repo_commits(name)[0]
    assert (commit.title, commit.message, commit.authors) == ("one", "with a text", ["alice"])
    copies = [CommitOperationCopy("big.bin", "copy.bin"), CommitOperationCopy("d/1.txt", "one.txt")]
    api.create_commit(name, copies, commit_message="copy")
    assert Path(hh.hf_hub_download(name, "copy.bin")).read_bytes() == BIG[:2_500_000]
    assert Path(hh.hf_hub_download(name, "one.txt")).read_bytes() == b"1"
    drop = [CommitOperationDelete("d/"), CommitOperationDelete("one.txt")]
    api.create_commit(name, drop, commit_message="drop")
    assert set(api.list_repo_files(name)) == {".gitattributes", "big.bin", "copy.bin"}
    stale = [CommitOperationAdd("late.txt", b"late")]
    call = {"commit_message": "late", "parent_commit": first.oid}
    raises(HfHubHTTPError, lambda: api.create_commit(name, stale, **call), 412)
    assert not api.file_exists(name, "late.txt")
    raises(HfHubHTTPError, lambda: api.create_commit(name, [CommitOperationDelete("gone")], commit_message="x"), 404)


def check_pull_request():
    name = repo("pr")
    info = put(name, "proposal.txt", b"mine", create_pr=True)
    assert info.pr_num == 1 and info.pr_revision == "refs/pr/1"
    assert not api.file_exists(name, "proposal.txt")
    assert api.file_exists(name, "proposal.txt", revision="refs/pr/1")
    put(name, "more.bin", BIG[:2_000_000], revision="refs/pr/1")
    assert "more.bin" in api.list_repo_files(name, revision="refs/pr/1")
    pulls = api.list_repo_refs(name, include_pull_requests=True).pull_requests
    assert [pull.name for pull in pulls] == ["1"]
    other = bob.upload_file(path_or_fileobj=BIG[:1_500_000], path_in_repo="b.bin", repo_id=name, create_pr=True)
    assert other.pr_num == 2 and "b.bin" not in api.list_repo_files(name)


def check_tree_and_infos():
    name = repo("tree")
    paths = [CommitOperationAdd(f"a/b/{i}.txt", b"x") for i in range(3)] + [CommitOperationAdd("w.bin", BIG[:1000])]
    api.create_commit(name, paths, commit_message="files")
    top = {item.path: item for item in api.list_repo_tree(name)}
    assert set(top) == {".gitattributes", "a", "w.bin"} and top["w.bin"].lfs.size == 1000
    assert top["w.bin"].lfs.sha256 == hashlib.sha256(BIG[:1000]).hexdigest()
    every = [item.path for item in api.list_repo_tree(name, recursive=True, expand=True)]
    assert {"a", "a/b", "a/b/0.txt"} <= set(every)
    assert [item.path for item in api.list_repo_tree(name, "a/b")] == ["a/b/0.txt", "a/b/1.txt", "a/b/2.txt"]
    raises(EntryNotFoundError, lambda: list(api.list_repo_tree(name, "none")))
    found = api.get_paths_info(name, ["a", "w.bin", "none"], expand=True)
    assert [item.path for item in found] == ["a", "w.bin"] and found[1].last_commit.title == "files"
    info = api.model_info(name, files_metadata=True)
    sizes = {s.rfilename: s.size for s in info.siblings}
    assert sizes["w.bin"] == 1000 and info.created_at.year >= 2024 and info.last_modified >= info.created_at
    raises(RevisionNotFoundError, lambda: api.model_info(name, revision="none"))


def check_branches_and_tags():
    name = repo("refs")
    put(name, "a.txt", b"main")
    api.create_branch(name, branch="dev/x")
    api.create_branch(name, branch="dev/x", exist_ok=True)
    raises(HfHubHTTPError, lambda: api.create_branch(name, branch="dev/x"), 409)
    put(name, "sub/dir/a.txt", b"dev", revision="dev/x")
    assert Path(hh.hf_hub_download(name, "sub/dir/a.txt", revision="dev/x")).read_bytes() == b"dev"
    assert [i.path for i in api.list_repo_tree(name, "sub/dir", revision="dev/x")] == ["sub/dir/a.txt"]
    assert not api.file_exists(name, "sub/dir/a.txt")
    api.create_tag(name, tag="v1.0", tag_message="first", revision="dev/x")
    raises(HfHubHTTPError, lambda: api.create_tag(name, tag="v1.0"), 409)
    refs = api.list_repo_refs(name)
    assert {b.name for b in refs.branches} == {"main", "dev/x"} and [t.name for t in refs.tags] == ["v1.0"]
    assert refs.tags[0].target_commit == api.model_info(name, revision="dev/x").sha
    assert api.file_exists(name, "sub/dir/a.txt", revision="v1.0")
    api.delete_branch(name, branch="dev/x")
    api.delete_tag(name, tag="v1.0")
    assert len(api.list_repo_refs(name).branches) == 1 and api.list_repo_refs(name).tags == []
    raises(HfHubHTTPError, lambda: api.delete_branch(name, branch="main"), 403)
    put(name, "b.txt", b"more")
    api.super_squash_history(name)
    assert len(api.list_repo_commits(name)) == 1 and api.file_exists(name, "b.txt")


def check_settings_move_delete_duplicate():
    name = repo("moving")
    put(name, "w.bin", BIG[:2_000_000])
    api.update_repo_settings(name, private=True)
    raises(RepositoryNotFoundError, lambda: bob.model_info(name))
    api.update_repo_settings(name, visibility="public")
    assert bob.model_info(name).private is False
    api.move_repo(name, f"alice/{MODE}-moved")
    raises(RepositoryNotFoundError, lambda: api.model_info(name))
    assert Path(hh.hf_hub_download(f"alice/{MODE}-moved", "w.bin")).read_bytes() == BIG[:2_000_000]
    raises(HfHubHTTPError, lambda: api.move_repo(f"alice/{MODE}-moved", f"bob/{MODE}-moved"), 403)
    copy = bob.duplicate_repo(f"alice/{MODE}-moved", f"bob/{MODE}-copy")
    assert bob.file_exists(copy.repo_id, "w.bin") and len(bob.list_repo_commits(copy.repo_id)) == 2
    api.delete_repo(f"alice/{MODE}-moved")
    raises(RepositoryNotFoundError, lambda: api.delete_repo(f"alice/{MODE}-moved"))
    api.delete_repo(f"alice/{MODE}-moved", missing_ok=True)
    assert bob.file_exists(copy.repo_id, "w.bin")


def check_cards():
    name = repo("card")
    card = hh.ModelCard("---\nlicense: apache-2.0\ntags:\n- rl2f\n---\n# Hello\n")
    card.push_to_hub(name)
    assert hh.ModelCard.load(name).data.license == "apache-2.0"
    hh.metadata_update(name, {"language": ["en"]})
    info = api.model_info(name)
    assert info.card_data["language"] == ["en"] and {"rl2f", "license:apache-2.0"} <= set(info.tags)
    assert name in [m.id for m in api.list_models(filter="rl2f", author="alice", search=MODE)]
    data = repo("card-data", "dataset")
    assert data in [d.id for d in api.list_datasets(author="alice")] and api.dataset_info(data).author == "alice"
    bad = b"---\nlicense: [unclosed\n---\n"
    raises(ValueError, lambda: put(name, "README.md", bad), words="Invalid metadata")


def check_file_system():
    name = repo("fs", "dataset")
    fs = HfFileSystem()
    with fs.open(f"datasets/{name}/folder/t.jsonl", "w") as file:
        file.write('{"a": 1}\n{"a": 2}\n')
    with fs.open(f"datasets/{name}/big.bin", "wb") as file:
        file.write(BIG[:6_000_000])
    assert fs.glob(f"datasets/{name}/**/*.jsonl") == [f"datasets/{name}/folder/t.jsonl"]
    assert {Path(p).name for p in fs.ls(f"datasets/{name}", detail=False)} == {".gitattributes", "folder", "big.bin"}
    with fs.open(f"datasets/{name}/big.bin", "rb") as file:
        file.seek(1_000_000)
        assert file.read(1000) == BIG[1_000_000:1_001_000]
    fs.rm(f"datasets/{name}/big.bin")
    assert not fs.exists(f"datasets/{name}/big.bin")


def check_spaces():
    secrets = [{"key": "TOKEN", "value": "hidden"}]
    name = repo("space", "space", space_sdk="gradio", space_secrets=secrets)
    assert api.space_info(name).sdk == "gradio"
    api.add_space_variable(name, "MODEL", "alice/x", description="which")
    assert api.get_space_variables(name)["MODEL"].value == "alice/x"
    api.delete_space_variable(name, "MODEL")
    assert api.get_space_variables(name) == {}
    api.add_space_secret(name, "KEY", "hidden")
    assert set(api.get_space_secrets(name)) == {"TOKEN", "KEY"}
    api.delete_space_secret(name, "KEY")
    assert api.restart_space(name).stage == "STOPPED" and api.pause_space(name).stage == "PAUSED"
    assert api.request_space_hardware(name, "t4-small", sleep_time=600).requested_hardware == "t4-small"
    assert api.get_space_runtime(name).sleep_time == 600
    copy = api.duplicate_repo(name, f"alice/{MODE}-space-copy", repo_type="space")
    assert api.space_info(copy.repo_id).sdk == "gradio" and api.get_space_secrets(copy.repo_id) == {}
    assert any("not built" in line for line in api.fetch_space_logs(name))


def check_jobs():
    job = api.run_job(
        image="python:3.12", command=["python", "-c", "print(1)"], secrets={"S": "hidden"}, name=f"j-{MODE}"
    )
    assert job.owner.name == "alice" and job.status.stage == "CANCELED" and "not run" in job.status.message
    assert api.inspect_job(job_id=job.id).command == ["python", "-c", "print(1)"]
    assert job.id in [j.id for j in api.list_jobs()]
    assert any("not run" in line for line in api.fetch_job_logs(job_id=job.id))
    assert api.wait_for_job(job.id, timeout=60).id == job.id
    api.cancel_job(job_id=job.id)
    raises(HfHubHTTPError, lambda: bob.inspect_job(job_id=job.id, namespace="alice"), 403)


def check_hf_command():
    Path("cli").mkdir()
    (Path("cli") / "x.txt").write_text("from the command line")
    (Path("cli") / "y.bin").write_bytes(BIG[:1_200_000])
    hf = [str(Path(sys.executable).parent / "hf")]
    name = f"alice/{MODE}-cli"
    for command in (["upload", name, "cli"], ["download", name, "--local-dir", "cli-out"]):
        done = subprocess.run([*hf, *command], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (Path("cli-out") / "y.bin").read_bytes() == BIG[:1_200_000]


def check_offline_reads_the_cache():
    name = repo("offline")
    put(name, "a.txt", b"kept")
    hh.snapshot_download(name)
    code = f"import huggingface_hub as h; print(open(h.snapshot_download({name!r}) + '/a.txt').read())"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "kept", done.stderr[-2000:]


def check_collections():
    name, data = repo("shelf"), repo("shelf-data", "dataset", private=True)
    title = f"Runs of {MODE}"
    made = api.create_collection(title, description="what belongs together")
    assert made.slug.startswith("alice/runs-of-") and made.title == title and made.items == []
    raises(HfHubHTTPError, lambda: api.create_collection(title), 409)
    assert api.create_collection(title, exists_ok=True).slug == made.slug
    api.add_collection_item(made.slug, name, "model", note="the adapter")
    api.add_collection_item(made.slug, data, "dataset")
    api.add_collection_item(made.slug, "2602.16066", "paper")
    raises(HfHubHTTPError, lambda: api.add_collection_item(made.slug, name, "model"), 409)
    raises(HfHubHTTPError, lambda: api.add_collection_item(made.slug, "alice/none", "model"), 404)
    found = api.add_collection_item(made.slug, name, "model", exists_ok=True)
    assert [(i.item_id, i.item_type, i.note) for i in found.items] == [
        (name, "model", "the adapter"), (data, "dataset", None), ("2602.16066", "paper", None),
    ]  # fmt: skip
    assert [item.item_id for item in bob.get_collection(made.slug).items] == [name, "2602.16066"]  # data is private
    api.update_collection_item(made.slug, found.items[1].item_object_id, note="the rows", position=0)
    first = api.get_collection(made.slug).items[0]
    assert (first.item_id, first.note, first.position) == (data, "the rows", 0)
    api.delete_collection_item(made.slug, found.items[2].item_object_id)
    api.delete_collection_item(made.slug, found.items[2].item_object_id, missing_ok=True)
    api.move_repo(name, name + "-moved")
    assert [item.item_id for item in api.get_collection(made.slug).items] == [data, name + "-moved"]
    assert made.slug in [c.slug for c in api.list_collections(owner="alice")]
    assert [c.slug for c in api.list_collections(item=f"models/{name}-moved")] == [made.slug]
    raises(HfHubHTTPError, lambda: bob.add_collection_item(made.slug, name, "model"), 403)
    raises(HfHubHTTPError, lambda: reader.create_collection("x", namespace="reader"), 403)
    hidden = api.update_collection_metadata(made.slug, title=f"Hidden {MODE}", private=True)
    assert hidden.private and hidden.slug != made.slug and api.get_collection(made.slug).title == f"Hidden {MODE}"
    raises(HfHubHTTPError, lambda: bob.get_collection(hidden.slug), 404)
    assert hidden.slug not in [c.slug for c in bob.list_collections(owner="alice")]
    raises(HfHubHTTPError, lambda: bob.delete_collection(hidden.slug), 404)
    raises(HfHubHTTPError, lambda: api.create_collection("x" * 500), 400)
    api.delete_collection(hidden.slug)
    raises(HfHubHTTPError, lambda: api.get_collection(hidden.slug), 404)
    api.delete_collection(hidden.slug, missing_ok=True)


def check_organisations():
    assert [org["name"] for org in api.whoami()["orgs"]] == ["club"]
    name = api.create_repo(f"club/{MODE}-shared", private=True).repo_id
    put(name, "a.txt", b"of all")
    assert bob.model_info(name).private  # bob is a member who may look
    raises(HfHubHTTPError, lambda: bob.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=name), 403)
    raises(RepositoryNotFoundError, lambda: reader.model_info(name))
    assert api.get_organization_overview("club").name == "club"
    assert {user.username for user in api.list_organization_members("club")} == {"alice", "bob"}
    slug = api.create_collection(f"Club {MODE}", namespace="club").slug
    assert slug.startswith("club/")
    raises(HfHubHTTPError, lambda: bob.add_collection_item(slug, name, "model"), 403)


def check_tokens_of_other_kinds():
    look, late = HfApi(token=os.environ["LOOK"]), HfApi(token=os.environ["LATE"])
    name = repo("looked-at", private=True)
    assert look.whoami()["name"] == "alice" and look.model_info(name).private
    raises(HfHubHTTPError, lambda: look.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=name), 403, "read")
    for call in (late.whoami, lambda: late.model_info(name), lambda: late.create_repo(f"alice/{MODE}-late")):
        assert not isinstance(raises(HfHubHTTPError, call, 401), RepositoryNotFoundError)


def check_discussions_and_merging():
    name = repo("talk")
    put(name, "a.txt", b"one")
    talk = bob.create_discussion(name, "Why?", description="I wonder.")
    assert (talk.num, talk.status, talk.is_pull_request, talk.author) == (1, "open", False, "bob")
    said = api.comment_discussion(name, talk.num, "Because.")
    assert (said.content, said.author) == ("Because.", "alice")
    assert api.edit_discussion_comment(name, talk.num, said.id, "Because of this.").content == "Because of this."
    raises(HfHubHTTPError, lambda: bob.edit_discussion_comment(name, talk.num, said.id, "x"), 403)
    assert api.rename_discussion(name, talk.num, "Why so?").new_title == "Why so?"
    assert bob.change_discussion_status(name, talk.num, "closed", comment="Thanks.").new_status == "closed"
    found = api.get_discussion_details(name, talk.num)
    assert [event.type for event in found.events] == ["comment", "comment", "title-change", "comment", "status-change"]
    assert found.status == "closed" and found.title == "Why so?" and found.events[1].number_of_edits == 1
    raises(HfHubHTTPError, lambda: reader.comment_discussion(name, talk.num, "x"), 403)
    pull = bob.create_pull_request(name, "Better words")
    assert (pull.num, pull.status, pull.git_reference) == (2, "draft", "refs/pr/2")
    bob.upload_file(path_or_fileobj=b"two", path_in_repo="b.txt", repo_id=name, revision="refs/pr/2")
    raises(HfHubHTTPError, lambda: api.merge_pull_request(name, 2), 400)  # still a draft
    bob.change_discussion_status(name, 2, "open")
    put(name, "c.txt", b"meanwhile")
    details = api.get_discussion_details(name, 2)
    assert details.conflicting_files == [] and details.target_branch == "refs/heads/main"
    raises(HfHubHTTPError, lambda: bob.merge_pull_request(name, 2), 403)
    api.merge_pull_request(name, 2, comment="Merged, thanks.")
    assert {"a.txt", "b.txt", "c.txt"} <= set(api.list_repo_files(name))
    details = api.get_discussion_details(name, 2)
    assert details.status == "merged" and details.merge_commit_oid == api.model_info(name).sha
    assert "commit" in [event.type for event in details.events]
    clash = put(name, "a.txt", b"mine", create_pr=True).pr_num
    put(name, "a.txt", b"theirs")
    assert api.get_discussion_details(name, clash).conflicting_files == ["a.txt"]
    raises(HfHubHTTPError, lambda: api.merge_pull_request(name, clash), 409)
    rows = list(api.get_repo_discussions(name))
    assert [(row.num, row.is_pull_request, row.status) for row in rows] == [
        (3, True, "open"), (2, True, "merged"), (1, False, "closed"),
    ]  # fmt: skip
    assert [
        r.num for r in api.get_repo_discussions(name, discussion_type="pull_request", discussion_status="open")
    ] == [3]
    raises(HfHubHTTPError, lambda: api.get_discussion_details(name, 9), 404)


def check_gated():
    name = repo("gated", "dataset")
    put(name, "rows.jsonl", b"{}", "dataset")
    put(name, "README.md", b"# What it is", "dataset")
    api.update_repo_settings(name, repo_type="dataset", gated="manual")
    assert bob.dataset_info(name).gated == "manual" and "rows.jsonl" in bob.list_repo_files(name, repo_type="dataset")
    take = {"repo_type": "dataset"}
    for other in (bob, HfApi(token=False)):
        raises(GatedRepoError, lambda other=other: other.hf_hub_download(name, "rows.jsonl", **take))
        assert other.hf_hub_download(name, "README.md", **take)
    raises(GatedRepoError, lambda: bob.auth_check(name, repo_type="dataset"))
    raises(GatedRepoError, lambda: bob.duplicate_repo(name, f"bob/{MODE}-gated", repo_type="dataset"))
    ask = f"{os.environ['HF_ENDPOINT']}/datasets/{name}/ask-access"
    hh.get_session().post(ask, headers={"Authorization": f"Bearer {os.environ['BOB']}"}).raise_for_status()
    asked = list(api.list_pending_access_requests(name, repo_type="dataset"))
    assert [row.username for row in asked] == ["bob"]
    raises(HfHubHTTPError, lambda: bob.accept_access_request(name, "bob", repo_type="dataset"), 403)
    api.accept_access_request(name, "bob", repo_type="dataset")
    assert bob.hf_hub_download(name, "rows.jsonl", **take)
    api.reject_access_request(name, "bob", repo_type="dataset", rejection_reason=None)
    raises(GatedRepoError, lambda: bob.auth_check(name, **take))  # a download would give what the cache has
    api.grant_access(name, "reader", repo_type="dataset")
    assert reader.hf_hub_download(name, "rows.jsonl", **take)
    api.update_repo_settings(name, repo_type="dataset", gated=False)
    assert bob.hf_hub_download(name, "rows.jsonl", **take)
    raises(HfHubHTTPError, lambda: list(api.list_pending_access_requests(name, repo_type="dataset")), 400)


def check_evaluation_results():
    name = repo("scored")
    entry = hh.EvalResultEntry("alice/bench", "default", 0.5, notes="one turn")
    put(name, ".eval_results/bench.yaml", yaml.safe_dump(hh.eval_result_entries_to_yaml([entry])).encode())
    put(name, ".eval_results/broken.yaml", b"- dataset: 7")
    found = api.model_info(name, expand=["evalResults"]).eval_results
    assert [(row.dataset_id, row.task_id, row.value, row.notes) for row in found] == [
        ("alice/bench", "default", 0.5, "one turn")
    ]


def check_nothing_answers_what_is_not_there():
    for call in (lambda: api.create_bucket("alice/x"), lambda: list(api.list_bucket_tree("alice/x"))):
        raises(HfHubHTTPError, call, 501, "use a dataset")
    raises(HfHubHTTPError, lambda: api.list_webhooks(), 501)
