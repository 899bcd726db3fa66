"""How the page looks: a theme on system fonts, and the style of the few pieces that Gradio does not have.

Everything is served by the page's own server; colours come from the theme, so that light and dark both work.
"""

from __future__ import annotations

from typing import Any

HEAD = '<meta name="color-scheme" content="light dark">'


def theme() -> Any:
    """Gradio's base theme without its web fonts."""
    import gradio as gr

    sans = ["system-ui", "sans-serif"]
    mono = ["ui-monospace", "monospace"]
    base = gr.themes.Base(
        primary_hue="indigo", secondary_hue="indigo", neutral_hue="slate", radius_size="lg", font=sans, font_mono=mono
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_border_width="1px",
        block_label_text_color="*neutral_600",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_title_text_weight="600",
        input_border_width="1px",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_border_width="1px",
        block_label_background_fill="transparent",
        block_label_border_width="0px",
        input_background_fill="white",
        input_background_fill_dark="*neutral_900",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
    )


CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
.rl2f-head h1 { font-size: 1.65rem; font-weight: 700; letter-spacing: -.02em; margin: .4rem 0 .25rem; }
.rl2f-head p { color: var(--body-text-color-subdued); max-width: 46rem; margin: 0; line-height: 1.5; }
.rl2f-head code { overflow-wrap: anywhere; }
.rl2f-player { display: flex; flex-wrap: wrap; align-items: baseline; gap: .1rem .6rem; padding: .15rem .1rem; }
.rl2f-player h2 { font-size: 1.05rem; font-weight: 700; margin: 0; }
.rl2f-player .rl2f-about { color: var(--body-text-color-subdued); font-size: .85rem; }
.rl2f-player .rl2f-standing { flex-basis: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
.rl2f-player .rl2f-solved { color: #047857; font-weight: 600; }
.dark .rl2f-player .rl2f-solved { color: #6ee7b7; }
.rl2f-pick { align-items: center; }
.rl2f-chat .icon-button-wrapper.top-panel { display: none; }
/* the button there would empty the chat and keep the dialogue */
.rl2f-chat .message, .rl2f-chat .message * { opacity: 1 !important; }
.rl2f-text, .rl2f-text * { font-size: .95rem; line-height: 1.45; }
.rl2f-text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; }
.rl2f-text .rl2f-from { display: block; font-size: .75rem; font-weight: 600; margin-bottom: .15rem; }
.rl2f-mark { display: inline-block; margin-top: .45rem; padding: .1rem .55rem; border-radius: 999px; font-size: .8rem;
  font-weight: 600; overflow-wrap: anywhere; background: #e2e8f0; color: #334155; }
.rl2f-correct { background: #d1fae5; color: #065f46; }
.rl2f-wrong { background: #fee2e2; color: #991b1b; }
.rl2f-repeat { background: #fef3c7; color: #92400e; }
.dark .rl2f-mark { background: #334155; color: #e2e8f0; }
.dark .rl2f-correct { background: #064e3b; color: #a7f3d0; }
.dark .rl2f-wrong { background: #7f1d1d; color: #fecaca; }
.dark .rl2f-repeat { background: #78350f; color: #fde68a; }
.rl2f-notice { padding: .1rem; min-height: 1.4rem; line-height: 1.45; }
.rl2f-hint { color: var(--body-text-color-subdued); font-size: .85rem; line-height: 1.45; padding: 0 .1rem; }
@media (max-width: 640px) { .rl2f-chat { height: 270px !important; } }
.rl2f-json { min-width: 0 !important; }
.rl2f-json .json-holder { overflow-x: auto; }
.rl2f-json .json-holder * { overflow-wrap: anywhere; min-width: 0; }
"""
