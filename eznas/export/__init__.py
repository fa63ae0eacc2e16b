"""Export: a proxy as something to take away, one Python file, JSON, LaTeX or SymPy."""

from __future__ import annotations

from eznas.export.python import (
    TARGETS,
    ScoringSettings,
    export_json,
    export_latex,
    export_python,
    export_sympy,
    proxy_card,
)

__all__ = [
    "TARGETS", "ScoringSettings", "export_json", "export_latex", "export_python", "export_sympy", "proxy_card",
]  # fmt: skip
