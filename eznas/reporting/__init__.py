"""What a run found, for people: the front as a table, figures, one HTML page; and the page of an assessment.

* `front`: the front as a table, JSON and CSV.
* `entry`: one proxy of it.
* `gallery`: the shipped proxies and their model cards.
* `report`: everything on one self-contained page, with `figures` (SVG) and typeset `formulas`.
* `interim`: the page of a run that is not finished.
* `assessment`: proxies judged on a benchmark, on a page of the same kind, with `assessment_figures`.
* `seeds`: the spread of a search over its seeds, as a table and a page; `weakness`: where a proxy fails.
* `words`: what the numbers say, for all of these; `page`, with ``base.html``, ``macros.html`` and ``style.html``: what
  all pages share.

Names are loaded when they are first used; matplotlib, jinja2 and rich only by the functions that draw with them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eznas.reporting.assessment import render_assessment_page, write_assessment_page
    from eznas.reporting.entry import entry_json, entry_latex, entry_text
    from eznas.reporting.figures import front_figure, history_figure, parts_figure, scatter_figure
    from eznas.reporting.formulas import formula_lines, latex_svg
    from eznas.reporting.front import (
        front_csv,
        front_html,
        front_json,
        front_latex,
        front_rows,
        front_table,
        interim_csv,
        interim_json,
    )
    from eznas.reporting.gallery import card_text, gallery_page, gallery_rows, gallery_text
    from eznas.reporting.interim import render_interim, write_interim_report
    from eznas.reporting.report import (
        FIGURES,
        drawn_figure,
        render_report,
        write_figures,
        write_front_figure,
        write_report,
    )
    from eznas.reporting.seeds import seeds_text, write_seeds_page

_HOMES = {
    "assessment": ("render_assessment_page", "write_assessment_page"),
    "entry": ("entry_json", "entry_latex", "entry_text"),
    "figures": ("front_figure", "history_figure", "parts_figure", "scatter_figure"),
    "formulas": ("formula_lines", "latex_svg"),
    "front": (
        "front_csv", "front_html", "front_json", "front_latex", "front_rows", "front_table", "interim_csv",
        "interim_json",
    ),
    "interim": ("render_interim", "write_interim_report"),
    "gallery": ("card_text", "gallery_page", "gallery_rows", "gallery_text"),
    "report": ("FIGURES", "drawn_figure", "render_report", "write_figures", "write_front_figure", "write_report"),
    "seeds": ("seeds_text", "write_seeds_page"),
}  # fmt: skip

__all__ = [
    "FIGURES", "card_text", "drawn_figure", "entry_json", "entry_latex", "entry_text", "formula_lines",
    "front_csv", "front_figure", "front_html",
    "front_json", "front_latex", "front_rows", "front_table",
    "gallery_page", "gallery_rows", "gallery_text", "history_figure", "interim_csv", "interim_json",
    "latex_svg", "parts_figure",
    "render_assessment_page", "render_interim", "render_report", "scatter_figure", "seeds_text",
    "write_assessment_page", "write_figures", "write_front_figure", "write_interim_report", "write_report",
    "write_seeds_page",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
