"""``python -m eznas``: the command ``eznas``, where it is not on the path."""

from __future__ import annotations

from eznas.cli import run

if __name__ == "__main__":
    run()
