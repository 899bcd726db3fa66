"""The pieces of the page that are drawn here: dialogues side by side, curves, notices, what each side saw.

Task, feedback and model text are untrusted: they reach the page through `plain` alone, which leaves no character that
HTML could act on. Everything is static markup without scripts, links or pictures; colours are classes (`page.css`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rl2f_hub.demo import marks
from rl2f_hub.demo.episode import MAX_TURNS, Episode
from rl2f_hub.demo.marks import Mark
from rl2f_hub.demo.play import Growing
from rl2f_hub.demo.players import Player
from rl2f_hub.dialogue.runner import Rollout
from rl2f_hub.records import Feedback, StopReason

LOCK = (
    '<svg class="rl2f-lock" viewBox="0 0 16 16" aria-hidden="true"><path d="M4.5 7V5a3.5 3.5 0 0 1 7 0v2" fill="none" '
    'stroke="currentColor" stroke-width="1.6"/><rect x="3" y="7" width="10" height="7" rx="1.6" fill="currentColor"/></svg>'
)
NOTES = {"repeat": "↻ said before", "gave in": "gave in", "held on": "held on"}


def plain(text: str) -> str:
    """Untrusted text as HTML that shows exactly that text."""
    out = []
    for c in marks.printable(text):
        out.append("<br>" if c == "\n" else c if c.isalnum() or c == " " else f"&#{ord(c)};")
    return "".join(out)


def slug(label: str) -> str:
    """A label as a part of ids and classes."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "student"


# -- the arena: every player's dialogue, attempt by attempt ----------------------------------------------------------


def arena(players: Sequence[Player], episode: Episode | None, growing: Sequence[Growing | None] = ()) -> str:
    """All dialogues in columns whose attempts stand in rows; `growing` is what is being said right now."""
    n = len(players)
    live = list(growing) or [None] * n
    cells = [_head(p, r, live[i]) for i, (p, r) in enumerate(_pairs(players, episode))]
    if episode is None:
        cells.append(_steps(players))
    else:
        cells.append(
            f'<div class="rl2f-all rl2f-asked"><span class="rl2f-from">Task</span>{plain(episode.task.prompt)}</div>'
        )
        rows = max([len(r.turns) + (g is not None) for r, g in zip(episode.rollouts, live, strict=True)], default=0)
        for index in range(rows):
            cells += _row(players, episode, live, index)
    return f'<section class="rl2f-arena" style="--n:{n}" aria-label="Attempts side by side">{"".join(cells)}</section>'


def _steps(players: Sequence[Player]) -> str:
    """What will happen here, where nothing has happened yet."""
    who, whom = (
        ("Both try the same task.", "which one listens?") if len(players) > 1 else ("It tries.", "did it listen?")
    )
    steps = [who, "You say what is wrong, or let the teacher say it.", f"They try again: {whom}"]
    if len(players) == 1:
        steps[2] = f"It tries again: {whom}"
    items = "".join(f"<li><b>{i}</b>{plain(step)}</li>" for i, step in enumerate(steps, 1))
    return f'<ol class="rl2f-all rl2f-steps" role="list">{items}</ol>'


def _pairs(players: Sequence[Player], episode: Episode | None) -> list[tuple[Player, Rollout | None]]:
    return list(zip(players, episode.rollouts if episode else [None] * len(players), strict=True))


def _head(player: Player, rollout: Rollout | None, grown: Growing | None) -> str:
    busy = grown is not None and grown.busy
    where = "thinking…" if busy else marks.standing(rollout) if rollout else "ready"
    solved = " rl2f-solved" if rollout and rollout.stop_reason is StopReason.SOLVED and not busy else ""
    return (
        f'<header class="rl2f-player rl2f-of-{slug(player.label)}"><h2>{plain(player.label)}</h2>'
        f'<p class="rl2f-about">{plain(player.about)}</p>{_lane(rollout, busy)}'
        f'<p class="rl2f-standing{solved}">{plain(where)}</p></header>'
    )


def _lane(rollout: Rollout | None, busy: bool) -> str:
    """A row of dots, one an attempt."""
    turns = rollout.turns if rollout else []
    dots = []
    for i in range(MAX_TURNS):
        if i < len(turns):
            checked = rollout is not None and Episode(rollout.task, []).checked
            kind = "correct" if turns[i].verdict.correct else "wrong" if checked else "unknown"
            dots.append(f'<i class="rl2f-dot rl2f-{kind}">{Mark(kind, "").sign}</i>')
        else:
            dots.append(f'<i class="rl2f-dot{" rl2f-now" if busy and i == len(turns) else ""}">{i + 1}</i>')
    return f'<div class="rl2f-lane" aria-hidden="true">{"".join(dots)}</div>'


def _row(players: Sequence[Player], episode: Episode, live: Sequence[Growing | None], index: int) -> list[str]:
    """Attempt `index` of every player, then what was said about it."""
    attempts, said = [], []
    for player, rollout, grown in zip(players, episode.rollouts, live, strict=True):
        name = slug(player.label)
        if index < len(rollout.turns):
            attempts.append(_attempt(player, episode, rollout, index))
            said.append(rollout.turns[index].feedback)
        else:
            now = grown is not None and index == len(rollout.turns)
            body = plain(grown.attempt) if grown and now else ""
            caret = (
                f'<div class="rl2f-attempt rl2f-growing">{body}<span class="rl2f-caret"></span></div>' if now else ""
            )
            attempts.append(f'<div class="rl2f-cell rl2f-of-{name}">{caret}</div>')
            said.append(None)
    words = [f for f in said if f is not None]
    if words and all(f.kind == "visitor" for f in words) and len({f.text for f in words}) == 1:
        return [*attempts, f'<div class="rl2f-all rl2f-said rl2f-by-you">{_words(words[0])}</div>']
    critics = [
        g.critique if g and g.critique and index == len(r.turns) - 1 and r.turns[index].feedback is None else ""
        for g, r in zip(live, episode.rollouts, strict=True)
    ]
    if not words and not any(critics):
        return attempts
    cells = []
    for feedback, critique in zip(said, critics, strict=True):
        shown = feedback or (Feedback(critique, "self") if critique else None)
        by = (
            {"You": "you", "Teacher": "teacher", "Misleading": "misleading"}.get(marks.speaker(shown), "self")
            if shown
            else ""
        )
        cells.append(f'<div class="rl2f-said rl2f-by-{by}">{_words(shown)}</div>' if shown else "<div></div>")
    return [*attempts, *cells]


def _attempt(player: Player, episode: Episode, rollout: Rollout, index: int) -> str:
    turn, mark = rollout.turns[index], marks.mark(episode, rollout, index)
    if not turn.attempt.strip():
        body = "<em>(nothing)</em>"
    elif index == 0:
        body = plain(turn.attempt)
    else:
        pieces = marks.changed(rollout.turns[index - 1].attempt, turn.attempt)
        body = "".join(f"<mark>{plain(t)}</mark>" if new and t.strip() else plain(t) for t, new in pieces)
    badges = f'<span class="rl2f-mark rl2f-{mark.kind}">{mark.sign} {plain(mark.words)}</span>'
    if mark.note:
        badges += f' <span class="rl2f-note rl2f-{slug(mark.note)}">{NOTES[mark.note]}</span>'
    return (
        f'<div class="rl2f-cell rl2f-of-{slug(player.label)}"><div class="rl2f-attempt">'
        f'<span class="rl2f-hidden">{plain(player.label)}, attempt {index + 1}: </span>{body}</div>{badges}</div>'
    )


def _words(feedback: Feedback) -> str:
    who = marks.speaker(feedback)
    why = {
        "Teacher": f'{LOCK} <span class="rl2f-why-words">knows the answer; it is hidden from the model</span>',
        "Its own critique": '<span class="rl2f-why-words">the model about itself, knowing nothing more</span>',
        "Misleading": "on purpose",
    }.get(who, "")
    why = f' <span class="rl2f-why">{why}</span>' if why else ""
    return f'<span class="rl2f-from">{who}{why}</span>{plain(feedback.text)}'


# -- small pieces ----------------------------------------------------------------------------------------------------


def notice(text: str, kind: str = "") -> str:
    """One line that screen readers read out."""
    return f'<div class="rl2f-notice{" rl2f-" + kind if kind else ""}" role="status">{plain(text)}</div>'


def curve(series: Mapping[str, Sequence[float]], title: str, caption: str = "") -> str:
    """Shares by attempt as lines, one a player, from 0 to 100 %; the same numbers stand in words for screen readers."""
    turns = max((len(v) for v in series.values()), default=0)
    labels = {name: f"{name} {100 * values[-1]:.0f} %" for name, values in series.items() if values}
    left, right, top, bottom, width, height = 56, 24 + 8 * max(map(len, labels.values()), default=0), 14, 32, 520, 210
    span_x, span_y = (width - left - right) / max(turns - 1, 1), height - top - bottom

    def at(index: float, share: float) -> tuple[float, float]:
        return left + index * span_x, top + (1 - share) * span_y

    parts = []
    for share in (0, 0.5, 1):
        y = at(0, share)[1]
        parts.append(f'<line class="rl2f-grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="rl2f-tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>'
        )
    for i in range(turns):
        x = at(i, 0)[0]
        parts.append(f'<text class="rl2f-tick" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{i + 1}</text>')
    heights = _apart({name: at(0, series[name][-1])[1] + 4 for name in labels}, height - bottom + 4)
    for name, label in labels.items():
        points = [at(i, v) for i, v in enumerate(series[name])]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points)
        text = f'<text x="{points[-1][0] + 10:.1f}" y="{heights[name]:.1f}">{plain(label)}</text>'
        parts.append(f'<g class="rl2f-line rl2f-of-{slug(name)}"><polyline points="{line}"/>{dots}{text}</g>')
    words = "; ".join(f"{n}: {', '.join(f'{100 * x:.0f} %' for x in v)}" for n, v in series.items())
    return (
        f'<figure class="rl2f-curve"><figcaption><strong>{plain(title)}</strong> {plain(caption)}</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{plain(title)}, by attempt. {plain(words)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _apart(heights: dict[str, float], lowest: float, step: float = 17) -> dict[str, float]:
    """Heights of labels, moved up from the lowest on where two would lie on each other."""
    out: dict[str, float] = {}
    last = lowest + step
    for name in sorted(heights, key=lambda n: -heights[n]):
        last = out[name] = min(heights[name], last - step)
    return out


def solved_curve(players: Sequence[Player], earlier: Sequence[tuple[int, ...]], episode: Episode | None) -> str:
    """When the tasks of this visit were solved; nothing before the first attempt at one that can be judged."""
    now = [tuple(marks.solved_at(r) for r in episode.rollouts)] if episode and episode.checked and episode.tried else []
    tasks = [*earlier, *now]
    if not tasks:
        return ""
    reached = (
        MAX_TURNS if len(tasks) > 1 else max(2, *(len(r.turns) for r in episode.rollouts)) if episode else MAX_TURNS
    )
    series = {p.label: marks.solved_by([t[i] for t in tasks], reached) for i, p in enumerate(players)}
    count = "this task" if len(tasks) == 1 else f"your {len(tasks)} tasks so far"
    return curve(series, "Solved by attempt", count)


def inspect(players: Sequence[Player], episode: Episode | None) -> str:
    """Two columns: what each student saw, and what the teacher knew besides; with tokens and time."""
    if episode is None:
        return '<div class="rl2f-hint">Nothing to inspect yet: let the models try first.</div>'
    blocks = []
    for player, rollout, costs in zip(players, episode.rollouts, episode.costs, strict=True):
        saw = "".join(
            f'<li><span class="rl2f-role">{m["role"]}</span>{plain(m["content"])}</li>'
            for m in marks.seen_by_student(rollout)
        )
        knew = marks.known_to_teacher(episode, rollout)
        held = "".join(
            f"<li><span class='rl2f-role'>{name}</span>{plain(str(value)) if value else 'none was given'}</li>"
            for name, value in knew.items()
            if name != "verdicts"
        )
        verdicts = "".join(
            f'<li><span class="rl2f-role">verdict {v["attempt"]}</span>{plain(v["mark"])}, read as '
            f"{plain(str(v['answer']))}: {plain(v['reason'])}</li>"
            for v in knew["verdicts"]
        )
        tokens, seconds = sum(c.tokens for c in costs), sum(c.seconds for c in costs)
        took = f"{len(rollout.ledger.ids)} tokens in context, {tokens} sampled in {seconds:.2f} s"
        if costs:
            took += f" (first token of the last attempt after {costs[-1].first_s:.2f} s)"
        blocks.append(
            f'<section class="rl2f-inspect"><h3>{plain(player.label)} <small>{took}</small></h3><div>'
            f"<h4>What the student saw</h4><ol>{saw}</ol></div><div><h4>{LOCK} What the teacher knew besides</h4>"
            f"<ol>{held}{verdicts}</ol></div></section>"
        )
    return "".join(blocks)
