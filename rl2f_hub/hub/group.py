"""What ties the repositories of a run together: tags, links between cards, a collection, badges for a README.

Each of them is done after the commits that it speaks of, and doing it twice changes nothing.
"""

from __future__ import annotations

import re
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.hub.card_merge import with_section
from rl2f_hub.hub.card_text import address, linked
from rl2f_hub.hub.commit import Contents, Remote, look, patiently, put, status_of

BADGES = "https://huggingface.co/datasets/huggingface/badges/resolve/main"


def free_tag(api: Any, repo_id: str, wanted: str | None, files: dict[str, Any]) -> str:
    """The tag for a commit that will hold `files`: the one that is wanted, else the next of v1, v2, ...

    A tag that stands on these very files already (the same push, interrupted before it ended) is used again.

    Raises:
        UsageError: the wanted tag stands on something else; it is not moved.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        refs = patiently(api.list_repo_refs, repo_id)
    except RepositoryNotFoundError:
        return wanted or "v1"
    tags = {tag.name: tag.target_commit for tag in refs.tags}
    if wanted is not None:
        if wanted in tags and not _holds(look(api, repo_id, "model", tags[wanted]), files):
            raise UsageError(
                f"hub.tag: {wanted!r} of {repo_id} stands on another revision ({tags[wanted][:12]}) and is not moved; choose "
                "another tag, or leave it out for the next of v1, v2, ..."
            )
        return wanted
    numbers = sorted(int(name[1:]) for name in tags if re.fullmatch(r"v[0-9]{1,6}", name))
    if numbers and _holds(look(api, repo_id, "model", tags[f"v{numbers[-1]}"]), files):
        return f"v{numbers[-1]}"
    return f"v{numbers[-1] + 1 if numbers else 1}"


def set_tag(api: Any, repo_id: str, tag: str, revision: str, message: str) -> None:
    """Sets a tag unless it stands there already."""
    refs = patiently(api.list_repo_refs, repo_id)
    if tag not in {t.name for t in refs.tags}:
        patiently(api.create_tag, repo_id, tag=tag, revision=revision, tag_message=message, exist_ok=True)


def link_from(api: Any, repo_id: str, kind: str, links: list[str], *, private: bool) -> str | None:
    """Writes the section `links` of a card on the Hub; returns the revision, None where there is nothing to write.

    A card without our sections (somebody else's repository, or one whose owner has taken the section out) is left alone.
    """
    text = "## Links\n\n" + "\n".join(f"- {link}" for link in links)
    there = look(api, repo_id, kind)
    if there.head is None or with_section(there.text("README.md") or "", "links", text) is None:
        return None

    def contents(remote: Remote) -> Contents:
        card = with_section(remote.text("README.md") or "", "links", text)
        return Contents({} if card is None else {"README.md": card.encode()})

    return put(
        api, repo_id, kind, contents, private=there.private and private, message="Links to what was made from it"
    ).revision


def group(api: Any, namespace: str, title: str, items: list[tuple[str, str, str]], *, private: bool) -> dict[str, Any]:
    """A collection of repositories, made or added to; {slug, url, items}, or {skipped: why} on a Hub that has none.

    Args:
        items: (repo_id, kind, note) in the order in which they should stand.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        collection = patiently(api.create_collection, title, namespace=namespace, private=private, exists_ok=True)
        there = {item.item_id for item in collection.items}
        for repo_id, kind, note in items:
            if repo_id not in there:
                patiently(api.add_collection_item, collection.slug, repo_id, kind, note=note[:500], exists_ok=True)
    except HfHubHTTPError as error:
        if status_of(error) in (403, 404, 405, 501):
            return {"skipped": f"this Hub or token makes no collections (status {status_of(error)})"}
        raise
    return {
        "slug": collection.slug,
        "url": f"{api.endpoint}/collections/{collection.slug}",
        "items": [item[0] for item in items],
    }


def title_of(api: Any, owner: str, model: str) -> str | None:
    """The title of the collection of `owner` in which a model stands (the newest, if several); None without any."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = patiently(lambda: list(api.list_collections(owner=owner, item=[f"models/{model}"], limit=1)))
    except HfHubHTTPError as error:
        if status_of(error) in (403, 404, 405, 501):
            return None
        raise
    return found[0].title if found else None


def badges(endpoint: str, repos: dict[str, str]) -> str:
    """Markdown for a README: one badge for each of {kind: repo_id}."""
    names = {"dataset": ("Dataset on HF", "dataset-on-hf-sm.svg"), "model": ("Model on HF", "model-on-hf-sm.svg")}
    return "\n".join(
        f"[![{names[kind][0]}]({BADGES}/{names[kind][1]})]({address(endpoint, kind, repo_id)})"
        for kind, repo_id in repos.items()
    )


def link_lines(endpoint: str, found: dict[str, tuple[str, str, str | None]]) -> list[str]:
    """Lines of a section of links from {label: (kind, repo_id, revision)}."""
    return [f"{label}: {linked(endpoint, *where)}" for label, where in found.items()]


def _holds(remote: Remote, files: dict[str, Any]) -> bool:
    from rl2f_hub.hub.commit import same

    return all(same(source, remote.files.get(path)) for path, source in files.items())
