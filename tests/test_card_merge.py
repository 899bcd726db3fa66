"""Cards that people edit on the Hub: our untouched sections follow the data, everything of theirs stays."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.errors import RL2FError
from rl2f_hub.hub.card_merge import merge, sealed, with_section


def card(**sections: str) -> str:
    body = "\n\n".join(f"[//]: # (rl2f:begin {n})\n\n{t}\n\n[//]: # (rl2f:end {n})" for n, t in sections.items())
    return sealed(f"---\nlicense: mit\ntags:\n- rl2f\nbase_model: me/base\n---\n\n# me/name\n\n{body}\n")


def head(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


OLD, NEW = card(results="0.1", limits="few"), card(results="0.2", limits="many", extra="more")


def test_without_a_card_ours_stands_and_merging_again_changes_nothing() -> None:
    first = merge(OLD, None).text
    assert merge(OLD, first).text == first
    second = merge(NEW, first).text
    assert merge(NEW, second).text == second
    assert "0.2" in second
    assert "0.1" not in second
    assert "more" in second


def test_an_edited_section_stays_and_is_named() -> None:
    edited = merge(OLD, None).text.replace("0.1", "0.1 (wrong!)")
    done = merge(NEW, edited)
    assert done.kept == ["results"]
    assert "0.1 (wrong!)" in done.text
    assert "0.2" not in done.text
    assert "many" in done.text
    assert merge(NEW, done.text).kept == ["results"]


def test_a_section_that_was_taken_out_stays_out() -> None:
    text = merge(OLD, None).text
    start, end = text.index("[//]: # (rl2f:begin limits"), text.index("(rl2f:end limits)") + len("(rl2f:end limits)")
    done = merge(NEW, text[:start] + text[end:])
    assert done.removed == ["limits"]
    assert "many" not in done.text
    assert "0.2" in done.text
    assert "many" not in merge(NEW, done.text).text


def test_a_section_whose_end_was_deleted_is_theirs() -> None:
    text = merge(OLD, None).text.replace("[//]: # (rl2f:end results)", "")
    assert "0.1" in merge(NEW, text).text


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e"), max_size=60)


@given(words.filter(lambda t: "rl2f:" not in t and "---" not in t))
def test_whatever_stands_outside_our_sections_is_kept_word_for_word(theirs: str) -> None:
    text = merge(OLD, None).text
    at = text.index("[//]: # (rl2f:begin limits")
    done = merge(NEW, f"{text[:at]}\n{theirs}\n\n{text[at:]}")
    assert theirs.strip("\n") in done.text
    assert "many" in done.text


def test_a_card_by_hand_without_front_matter_keeps_all_its_text() -> None:
    done = merge(NEW, "# Mine\n\nI wrote this.\n")
    assert "# Mine\n\nI wrote this." in done.text
    assert head(done.text)["base_model"] == "me/base"
    assert done.text.index("I wrote this.") < done.text.index("0.2")


def test_front_matter_is_merged_key_by_key() -> None:
    theirs = (
        "---\nlicense: other\nmine: [1]\ntags: [own]\nbase_model: wrong/base\n---\n"
        + merge(OLD, None).text.split("---\n")[2]
    )
    data = head(merge(NEW, theirs).text)
    assert data == {"license": "other", "mine": [1], "tags": ["own", "rl2f"], "base_model": "me/base"}


def test_the_licence_follows_the_data_until_somebody_states_another() -> None:
    stricter = NEW.replace("license: mit", "license: cc-by-sa-4.0")
    assert head(merge(stricter, merge(OLD, None).text).text)["license"] == "cc-by-sa-4.0"
    stated = merge(OLD, None).text.replace("license: mit", "license: gpl-3.0")
    assert head(merge(stricter, stated).text)["license"] == "gpl-3.0"


def test_configs_whose_data_are_replaced_go_and_there_is_one_default() -> None:
    ours = NEW.replace(
        "license: mit\n", "license: mit\nconfigs:\n- {config_name: sft, data_files: new, default: true}\n"
    )
    theirs = (
        "---\nconfigs:\n- {config_name: old, data_files: y}\n- {config_name: own, data_files: x, default: true}\n---\n"
    )
    assert head(merge(ours, theirs, {"old"}).text)["configs"] == [
        {"config_name": "sft", "data_files": "new", "default": True},
        {"config_name": "own", "data_files": "x"},
    ]


def test_their_configs_stand_beside_ours() -> None:
    ours = NEW.replace("license: mit\n", "license: mit\nconfigs:\n- config_name: sft\n  data_files: new\n")
    theirs = "---\nconfigs:\n- config_name: sft\n  data_files: old\n- config_name: own\n  data_files: x\n---\n"
    assert head(merge(ours, theirs).text)["configs"] == [
        {"config_name": "sft", "data_files": "new"},
        {"config_name": "own", "data_files": "x"},
    ]


@pytest.mark.parametrize("matter", ["a: [", "- a list", "a: !!python/object/apply:os.system [ls]"])
def test_front_matter_that_cannot_be_read_is_refused_in_words(matter: str) -> None:
    with pytest.raises(RL2FError, match=r"README.md on the Hub"):
        merge(NEW, f"---\n{matter}\n---\ntext")


def test_one_section_is_rewritten_only_where_nobody_has_touched_it() -> None:
    text = merge(OLD, None).text
    changed = with_section(text, "limits", "none")
    assert changed is not None
    assert (
        changed.replace(changed[changed.index("(rl2f:begin limits") :], "") == text[: text.index("(rl2f:begin limits")]
    )
    assert with_section(text.replace("few", "mine"), "limits", "none") is None
    assert with_section(text, "absent", "none") is None
    assert with_section(changed, "limits", "few") == text
