"""What a finished run gives to hold: the study and its proxies."""

from __future__ import annotations

import html
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eznas.errors import ConfigError, RunError
from eznas.files import is_file
from eznas.names import printable
from eznas.proxies import ProgramProxy, Proxy, load_proxy_file, proxy_named, proxy_of_entry
from eznas.runs import Entry, Front, RunFolder, load_front
from eznas.runs.interim import is_interim

if TYPE_CHECKING:
    from eznas.reporting.drawn import Drawn


class FoundProxies(tuple[ProgramProxy, ...]):
    """The discovered proxies of a run, a tuple that prints as the table of its front.

    Args:
        result: the front that holds them, in whose order they are.
    """

    _result: Front

    def __new__(cls, result: Front) -> FoundProxies:
        proxies = (proxy_of_entry(entry) for entry in result.discovered)
        made = super().__new__(cls, (proxy for proxy in proxies if isinstance(proxy, ProgramProxy)))
        made._result = result
        return made

    def __getnewargs__(self) -> tuple[Front]:  # type: ignore[override]
        return (self._result,)

    def __repr__(self) -> str:
        """The front as ``eznas front`` shows it, published proxies too, within the width of the terminal."""
        return _table(self._result)

    def _repr_html_(self) -> str:
        """The same as a table for notebooks."""
        from eznas.reporting import front_html

        return front_html(self._result)

    def to_dataframe(self) -> Any:
        """The same as a pandas data frame, see `Study.to_dataframe`.

        Raises:
            ConfigError: if pandas is not installed.
        """
        return _data_frame(self._result)

    def figure(self) -> Drawn:
        """Held-out tau against size beside the published proxies, as a figure of matplotlib."""
        from eznas.reporting.figures import draw_front

        return draw_front(self._result)


@dataclass(frozen=True, slots=True)
class Study:
    """A run folder, read back; printed, or shown in a notebook, it is the table of its front.

    Attributes:
        run_dir: the folder.
    """

    run_dir: Path

    def __str__(self) -> str:
        """The front as a table, as wide as the terminal."""
        return _table(self.result) if self.is_finished else self._unfinished

    def _repr_html_(self) -> str:
        """The front as a table, for notebooks."""
        from eznas.reporting import front_html

        return front_html(self.result) if self.is_finished else f"<p>{html.escape(self._unfinished)}</p>"

    @property
    def _unfinished(self) -> str:
        return f"Run {printable(str(self.run_dir))} is not finished; eznas.resume goes on with it."

    def to_dataframe(self) -> Any:
        """The front as a pandas data frame: one row per proxy and sample, in the columns of ``eznas front -f csv``.

        Raises:
            ConfigError: if pandas is not installed.
            RunError: if the run is not finished.
        """
        return _data_frame(self.result)

    def figure(self, name: str = "front") -> Drawn:
        """A figure of the report as one of matplotlib, which can be changed and saved: ``.savefig("front.pdf")``.

        Args:
            name: ``"front"``, tau against size; ``"scatter"``, accuracy against the rank of the score; ``"history"`` of
                the search; ``"parts"``, tau from the networks evolved on to the held-out ones.

        Raises:
            ConfigError: if there is no such figure.
            RunError: if the run is not finished, or has nothing to draw in it.
        """
        from eznas.reporting import drawn_figure

        return drawn_figure(self.run_dir, name)

    @property
    def is_finished(self) -> bool:
        """Whether the run has a front; an interrupted run goes on with `resume`."""
        return is_file(self.run_dir / "front.json")

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do: the report is written too."""
        return self.is_finished and is_file(self.run_dir / "report.html") and not is_interim(self.run_dir)

    @property
    def kept(self) -> str:
        """What an unfinished run has on disk, a sentence."""
        if self.is_finished:
            return "all is measured and saved, and the report is left to write."
        names = RunFolder(self.run_dir).checkpoints()
        if not names:
            return "no generation was finished; statistics that were captured are kept."
        n = int(Path(names[0]).stem)
        return f"everything up to generation {n} is saved, and the statistics that were captured."

    @property
    def result(self) -> Front:
        """The whole front as it is stored: how well each proxy ranks what, beside the published ones.

        Raises:
            RunError: if the run is not finished.
        """
        return load_front(self.run_dir)

    @property
    def front(self) -> FoundProxies:
        """The discovered proxies, best on the selection networks first, ready to score; printed, a table.

        Raises:
            RunError: if the run is not finished.
        """
        return FoundProxies(self.result)

    @property
    def best(self) -> ProgramProxy:
        """The proxy chosen on the selection networks.

        Raises:
            RunError: if the run is not finished, or found none.
        """
        proxy = self.proxy("best")
        assert isinstance(proxy, ProgramProxy)
        return proxy

    def proxy(self, proxy_id: str) -> Proxy:
        """The proxy of that id (or its beginning), the published one of that name, or ``best``.

        Raises:
            RunError: if there is none.
        """
        return proxy_of_entry(self.result.entry(proxy_id))

    def entry(self, proxy: Proxy | str) -> Entry:
        """What the run knows of a proxy: where it came from, how well it ranks each sample.

        Raises:
            RunError: if the run does not have it.
        """
        return self.result.entry(proxy if isinstance(proxy, str) else proxy.name)

    def export(self, target: str = "python", proxy: Proxy | str = "best") -> str:
        """A proxy to take away, as ``"python"``, ``"json"``, ``"latex"`` or ``"sympy"``.

        Raises:
            RunError: if the run does not have it.
            ConfigError: if there is no such form.
        """
        from eznas.export import export_entry

        front = self.result
        return export_entry(front, front.entry(proxy if isinstance(proxy, str) else proxy.name), target)


def _table(front: Front) -> str:
    """A front as wide as the terminal, where that is 60 or more."""
    from eznas.reporting import front_table

    width = shutil.get_terminal_size((120, 24)).columns
    return front_table(front, width=max(60, width)).rstrip("\n")


def _data_frame(front: Front) -> Any:
    from eznas.reporting import front_rows

    try:
        import pandas
    except ImportError:
        raise ConfigError(
            "A data frame needs pandas, which is not installed; pip install pandas, or read the front with "
            "eznas front RUN --format csv"
        ) from None
    return pandas.DataFrame(front_rows(front))


def load_proxy(source: Path | str) -> Proxy:
    """The proxy of a file, or of a name: a program, an estimator or an aggregate with its reference.

    Args:
        source: path of a proxy file, or anything that ``eznas score`` takes as a proxy: ``RUN:ID``, ``gallery:NAME``, a
            published name, a formula.

    Returns:
        It has ``score(network, inputs, targets=None) -> float``.

    Raises:
        EznasError: if there is none.
    """
    if isinstance(source, Path):
        if not is_file(source):
            raise RunError(f"Cannot read proxy file {source}: no such file; check the path")
        return load_proxy_file(source).proxy
    return proxy_named(source).proxy
