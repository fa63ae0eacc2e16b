"""Export: a proxy as something to take away, one Python file, JSON, LaTeX or SymPy."""

from __future__ import annotations

from eznas.export.entry import TARGETS, Target, export_entry, export_proxy, proxy_card
from eznas.export.python import export_python

__all__ = ["TARGETS", "Target", "export_entry", "export_proxy", "export_python", "proxy_card"]
