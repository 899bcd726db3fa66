"""Calls of `datasets` (and pandas): several configs pushed, then loaded in every way. Run by run_checks.py."""

import os

import datasets
from datasets import Dataset, DatasetDict, IterableDataset, get_dataset_config_names, load_dataset
from huggingface_hub import HfApi

MODE = os.environ["CHECK_MODE"]
NAME = f"alice/{MODE}-didactic"
api = HfApi()
datasets.disable_progress_bars()


def rows(n, start=0):
    messages = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    return {"id": list(range(start, start + n)), "messages": [messages] * n, "score": [None, 0.5] * (n // 2)}


def check_push_several_configs():
    for config in ("dialogues", "tasks"):
        both = DatasetDict(train=Dataset.from_dict(rows(60)), test=Dataset.from_dict(rows(10, 100)))
        both.push_to_hub(NAME, config)
    assert sorted(get_dataset_config_names(NAME)) == ["dialogues", "tasks"]
    files = api.list_repo_files(NAME, repo_type="dataset")
    assert "dialogues/train-00000-of-00001.parquet" in files
    api.create_tag(NAME, tag="v1", repo_type="dataset")


def check_load_config_slice_streaming():
    loaded = load_dataset(NAME, "dialogues")
    assert loaded["train"].num_rows == 60 and loaded["test"][0]["messages"][1]["content"] == "4"
    assert load_dataset(NAME, "tasks", split="train[:5]")["id"] == [0, 1, 2, 3, 4]
    streamed = load_dataset(NAME, "dialogues", split="test", streaming=True)
    assert [row["id"] for row in streamed.take(3)] == [100, 101, 102]


def check_push_again_and_revision():
    Dataset.from_dict(rows(20)).push_to_hub(NAME, "dialogues", split="train")
    assert load_dataset(NAME, "dialogues", split="train").num_rows == 20
    assert load_dataset(NAME, "dialogues", split="train", revision="v1").num_rows == 60
    before = api.dataset_info(NAME).sha
    Dataset.from_dict(rows(20)).push_to_hub(NAME, "dialogues", split="train")  # the same rows
    assert api.dataset_info(NAME).sha == before
    Dataset.from_dict(rows(6)).push_to_hub(NAME, "dialogues", split="extra")
    assert set(load_dataset(NAME, "dialogues")) == {"train", "test", "extra"}


def check_branch_and_pull_request():
    Dataset.from_dict(rows(4)).push_to_hub(NAME, "more", split="train", revision="draft/one")
    assert "more" not in get_dataset_config_names(NAME)
    assert load_dataset(NAME, "more", split="train", revision="draft/one").num_rows == 4
    info = Dataset.from_dict(rows(8)).push_to_hub(NAME, "pr", split="train", create_pr=True)
    assert load_dataset(NAME, "pr", split="train", revision=info.pr_revision).num_rows == 8


def check_several_shards_and_iterable():
    Dataset.from_dict(rows(3000)).push_to_hub(f"{NAME}-shards", num_shards=3, private=True)
    assert sum(f.endswith(".parquet") for f in api.list_repo_files(f"{NAME}-shards", repo_type="dataset")) == 3
    assert load_dataset(f"{NAME}-shards", split="train").num_rows == 3000

    def generate():
        yield from ({"x": i} for i in range(50))

    IterableDataset.from_generator(generate).push_to_hub(f"{NAME}-iterable")
    assert load_dataset(f"{NAME}-iterable", split="train").num_rows == 50


def check_plain_files_and_glob():
    name = api.create_repo(f"{NAME}-jsonl", repo_type="dataset").repo_id
    for part in ("a", "b"):
        body = "".join(f'{{"x": {i}}}\n' for i in range(4)).encode()
        api.upload_file(path_or_fileobj=body, path_in_repo=f"raw/{part}.jsonl", repo_id=name, repo_type="dataset")
    assert load_dataset(name, split="train").num_rows == 8
    assert load_dataset(name, data_files="raw/a*.jsonl", split="train").num_rows == 4


def check_pandas():
    import pandas as pd

    frame = pd.read_parquet(f"hf://datasets/{NAME}/tasks/test-00000-of-00001.parquet")
    assert len(frame) == 10
    frame[["id"]].to_csv(f"hf://datasets/{NAME}-jsonl/table.csv", index=False)
    assert api.file_exists(f"{NAME}-jsonl", "table.csv", repo_type="dataset")
