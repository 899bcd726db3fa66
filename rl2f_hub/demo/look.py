"""How the page looks: a theme on system fonts, and (`page.css`) the style of the pieces that `draw.py` makes.

Everything is served by the page's own server; colours come from the theme, so that light and dark both work.
"""

from __future__ import annotations

from pathlib import Path
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
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
    )


CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
