"""A figure of matplotlib as reports draw it: saved, or shown in a notebook, with all that stands beside its axes."""

from __future__ import annotations

import io
from typing import Any, Final

from matplotlib.figure import Figure

_WHOLE: Final = {"bbox_inches": "tight", "pad_inches": 0.04}
"""The page is as large as what is drawn; names of proxies stand below the axes."""


class Drawn(Figure):
    """A figure that needs no pyplot and no backend."""

    def savefig(self, fname: Any, **how: Any) -> None:
        """As figures of matplotlib; cut to what is drawn, unless `how` says otherwise."""
        super().savefig(fname, **{**_WHOLE, **how})

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()
