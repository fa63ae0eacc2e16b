"""``python -m eznas.cli``: the same as ``python -m eznas``."""

from __future__ import annotations

from eznas.cli import run

if __name__ == "__main__":
    run()
