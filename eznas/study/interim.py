"""What may be read of a run while it works: its front as a table after every generation, and a page now and then."""

from __future__ import annotations

import contextlib
import time

from eznas.errors import RunError
from eznas.runs import RunFolder, SearchState
from eznas.runs.config import RunConfig
from eznas.runs.interim import FRONT_CSV, PAGE


class Interim:
    """Writes ``front.csv`` and ``report.html`` of an unfinished run.

    They are for looking at and nothing is read back from them, so a disk that is full does not end the run here.
    """

    def __init__(self, folder: RunFolder, config: RunConfig) -> None:
        self._folder, self._config = folder, config
        self._next_page = 0.0

    def write(self, state: SearchState, *, is_last: bool = False) -> None:
        """After a finished generation; the last one of a search is always on the page."""
        from eznas.reporting.front import interim_csv
        from eznas.reporting.interim import REFRESH_SECONDS, render_interim

        now = time.monotonic()
        with contextlib.suppress(RunError):
            self._folder.replace(FRONT_CSV, interim_csv(state.candidates.values()))
            if is_last or now >= self._next_page:
                self._next_page = now + REFRESH_SECONDS
                self._folder.replace(PAGE, render_interim(self._folder.path, self._config, state))
