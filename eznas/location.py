"""Where a user's own data files are: one folder, named by the caller or by the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from eznas.errors import BenchmarkError
from eznas.files import is_file, is_folder

DATA_VARIABLE: Final = "EZNAS_DATA"


def data_folder(data_dir: Path | None = None) -> Path | None:
    """The folder of data files: `data_dir`, else the environment variable ``EZNAS_DATA``, else None.

    Raises:
        BenchmarkError: if a folder is named but is not one.
    """
    if data_dir is None:
        named = os.environ.get(DATA_VARIABLE, "")
        if not named:
            return None
        folder, origin, remedy = (
            Path(named),
            DATA_VARIABLE,
            f"correct {DATA_VARIABLE}, or unset it to use embedded data",
        )
    else:
        folder, origin, remedy = Path(data_dir), "The data folder", "name an existing folder"
    if not is_folder(folder):
        found = "a file" if is_file(folder) else "nothing"
        raise BenchmarkError(f"{origin} must name a folder, but there is {found} at {str(folder)!r}; {remedy}.")
    return folder
