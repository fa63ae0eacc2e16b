"""The command line: results on stdout, progress and messages on stderr, one readable sentence per error.

Exit status: 0 done, 1 failed, 2 bad usage, 130 interrupted with everything saved.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eznas.errors import ConfigError, EznasError

if TYPE_CHECKING:
    from eznas.study import Machine

app = typer.Typer(
    name="eznas",
    help="Discover zero-cost proxies for neural architecture search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Trained accuracies and images that this machine has.", no_args_is_help=True)
app.add_typer(data_app, name="data")

INTERRUPTED = 130


class Format(StrEnum):
    """Of printed tables."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Target(StrEnum):
    """Forms of an exported proxy."""

    PYTHON = "python"
    JSON = "json"
    LATEX = "latex"
    SYMPY = "sympy"


class Combination(StrEnum):
    """Of the members of an aggregate."""

    LOG_RANK = "log-rank"
    RANK_SUM = "rank-sum"

    @property
    def stored(self) -> Any:
        """As files and functions call it."""
        return self.value.replace("-", "_")


Run = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
Id = Annotated[str, typer.Argument(help="Id of a proxy of the run (or its beginning), a published name, or 'best'.")]
TableFormat = Annotated[Format, typer.Option("--format", "-f", help="Form of the table.")]
Workers = Annotated[int, typer.Option("--workers", help="Ray workers; 0 works in this process.")]
Address = Annotated[str | None, typer.Option("--ray-address", help="Ray cluster to join instead of a local one.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Discover zero-cost proxies for neural architecture search."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("eznas"))
        raise typer.Exit
    context.obj = {"debug": debug}


# ------------------------------------------------------------------------------------------------------------- running


@app.command()
def evolve(
    config: Annotated[Path | None, typer.Argument(help="Settings as a TOML file; defaults without it.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", help="New folder of the run.")] = None,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Evolve proxies, choose the best, and measure it on networks it has never seen."""
    from eznas.runs.config import load_config

    settings = load_config(config, overrides or ())
    _finish(lambda **how: _study().evolve(settings, run_dir=run_dir, **how), workers, ray_address, device, quiet)


@app.command()
def resume(
    run: Run,
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Go on with other versions of packages, and note it in the manifest.")
    ] = False,
    workers: Workers = 0,
    ray_address: Address = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Go on with an interrupted run; its result equals that of an undisturbed one."""
    was_finished = _study().Study(run).is_finished
    _finish(
        lambda **how: _study().resume(run, any_version=any_version, **how), workers, ray_address, device, quiet
    )
    if was_finished:
        import shlex

        typer.echo(
            f"The run is finished. For more generations begin a new one: eznas evolve "
            f"{shlex.quote(str(run / 'config.toml'))} --set evolution.n_generations=N --run-dir NEW",
            err=True,
        )


def _finish(work: Callable[..., Any], workers: int, ray_address: str | None, device: str, quiet: bool) -> None:
    from eznas.progress import make_observer

    machine = _machine(workers, ray_address, device)
    try:
        with _graceful_stop() as should_stop, make_observer(quiet=quiet) as observer:
            study = work(machine=machine, observer=observer, should_stop=should_stop)
    except KeyboardInterrupt:  # Typer would turn it into a silent exit
        typer.echo("Interrupted; finished generations are saved and eznas resume goes on.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not study.is_finished:
        typer.echo(f"Stopped; every finished generation is saved. Go on with: eznas resume {study.run_dir}", err=True)
        raise typer.Exit(INTERRUPTED)
    from eznas.reporting import front_table
    from eznas.runs.front import load_front

    typer.echo(front_table(load_front(study.run_dir), width=_width()))
    typer.echo(f"Run folder: {study.run_dir}   Report: {study.run_dir / 'report.html'}", err=True)


def _machine(workers: int, ray_address: str | None, device: str) -> Machine:
    return _study().Machine(workers=workers, ray_address=ray_address, device=device)


def _study() -> Any:
    import eznas.study

    return eznas.study


@contextmanager
def _graceful_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C or SIGTERM once: finish the generation and save; twice: stop at once."""
    asked: list[int] = []

    def ask(signum: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(signum)
        typer.echo("Stopping after this generation; once more stops at once.", err=True)

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


# ------------------------------------------------------------------------------------------------------------- looking


@app.command()
def front(
    run: Run,
    form: TableFormat = Format.TABLE,
    figure: Annotated[Path | None, typer.Option("--figure", help="Also draw it into this SVG file.")] = None,
) -> None:
    """The Pareto front of a run beside published proxies, on held-out networks."""
    from eznas.reporting import front_csv, front_json, front_table, write_front_figure
    from eznas.runs.front import load_front

    if figure is not None:
        _announce(write_front_figure(run, figure), err=True)
    found = load_front(run)
    match form:
        case Format.TABLE:
            typer.echo(front_table(found, width=_width()))
        case Format.JSON:
            typer.echo(front_json(found), nl=False)
        case Format.CSV:
            typer.echo(front_csv(found), nl=False)


@app.command()
def show(run: Run, proxy: Id = "best", form: TableFormat = Format.TABLE) -> None:
    """One proxy of a run: formula, where it came from, how well it ranks."""
    from eznas.reporting import entry_json, entry_text
    from eznas.runs.front import load_front

    found = load_front(run)
    entry = _entry(found, proxy)
    if form is Format.CSV:
        raise ConfigError("eznas show prints a table or json, got --format csv; eznas front prints csv")
    typer.echo(entry_text(found, entry) if form is Format.TABLE else entry_json(found, entry), nl=False)


@app.command()
def report(
    run: Run, output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None
) -> None:
    """Write the report of a run: one HTML file that opens offline."""
    from eznas.reporting import write_report

    _announce(write_report(run, output))


@app.command()
def export(
    run: Run,
    proxy: Id = "best",
    to: Annotated[Target, typer.Option("--to", help="Form of the export.")] = Target.PYTHON,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout without it.")] = None,
) -> None:
    """Take a proxy away: a Python file that needs torch alone, a program file, LaTeX or SymPy."""
    from eznas.runs.front import load_front

    held = _study().Proxy(_entry(load_front(run), proxy), run)
    text = {
        Target.PYTHON: held.to_python, Target.JSON: held.to_json, Target.LATEX: held.to_latex,
        Target.SYMPY: held.to_sympy,
    }[to]()  # fmt: skip
    if output is None:
        typer.echo(text, nl=False)
        return
    from eznas.files import write_output

    write_output(output, text)
    _announce(output, err=True)


def _announce(path: Path, *, err: bool = False) -> None:
    """Name a file that was written; what went through a pipe or to a device stays as it was written."""
    from eznas.files import is_replaceable

    if is_replaceable(path):
        typer.echo(path, err=err)


def _entry(found: Any, proxy: str) -> Any:
    if proxy == "best":
        if found.pick is None:
            raise ConfigError("The run found no proxy; look at its failures.jsonl, or evolve longer")
        return found.pick
    return found.entry(proxy)


# ------------------------------------------------------------------------------------------------------------- scoring


@app.command()
def score(
    proxies: Annotated[
        list[str],
        typer.Argument(
            help="Published name, program or aggregate file (.json), RUN:ID, or a sum of names such as "
            "jacob_cov+parameter_count; several also with commas."
        ),
    ],
    networks: Annotated[
        str,
        typer.Option(
            "--networks",
            help="nb201:all, nb201:random:N[:SEED], nb201:INDEX,FROM-TO, a NAS-Bench-201 cell, nb101:CELL[;...], "
            "darts:CELLS[;...], python:module:function[#name] for networks of your own, or @FILE with one of these per "
            "line. Around a cell stands what networks.cells_per_stage and networks.channels say (1 and 16; the full "
            "skeletons have 5 and 16, of nb101 3 and 128, of darts 2 and 32).",
        ),
    ],
    form: TableFormat = Format.TABLE,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Settings of networks and probe, as in eznas evolve.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="CSV file to write as it goes, or to go on with, instead of printing."),
    ] = None,
    workers: Workers = 0,
    ray_address: Address = None,
    quiet: Quiet = False,
) -> None:
    """Score networks with proxies; higher predicts a higher accuracy.

    A RUN:ID brings its run's settings along, an aggregate file those of its reference. A sum, or a published aggregate
    by name (az_nas, te_nas, vkdnw_agg), ranks the networks among each other.
    """
    from eznas.progress import make_observer
    from eznas.study.scoring import score_into_file, score_networks, scores_text, split_names

    names = split_names(proxies)
    with make_observer(quiet=quiet) as observer:
        if output is not None:
            score_into_file(
                output,
                names,
                networks,
                overrides=overrides or (),
                machine=_machine(workers, ray_address, "cpu"),
                observer=observer,
            )
            typer.echo(output)
            return
        scored = score_networks(
            names,
            networks,
            overrides=overrides or (),
            machine=_machine(workers, ray_address, "cpu"),
            observer=observer,
        )
    for note in () if quiet else scored.notes:
        typer.echo(note, err=True)
    typer.echo(scores_text(scored, form.value), nl=False)


@app.command("estimators")
def estimators_command(form: TableFormat = Format.TABLE) -> None:
    """The published estimators that eznas score knows by name, and what each needs."""
    from eznas.estimators import estimators_table
    from eznas.tables import render_table

    typer.echo(render_table(estimators_table(), form.value, width=_width()), nl=False)


@app.command()
def aggregate(
    members: Annotated[
        str, typer.Argument(help="A sum of proxies, jacob_cov+parameter_count or 2*naswot+zen; or az_nas, te_nas, ...")
    ],
    reference: Annotated[str, typer.Option("--reference", help="Networks to rank among, as --networks of score.")],
    mode: Annotated[
        Combination | None, typer.Option("--mode", help="Sum of log ranks or of ranks; without, as published.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Settings of networks and probe, as in eznas evolve.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout without it.")] = None,
    workers: Workers = 0,
    ray_address: Address = None,
    quiet: Quiet = False,
) -> None:
    """Make several proxies one, by the ranks they give a network in a reference sample, which the file holds."""
    from eznas.files import write_output
    from eznas.progress import make_observer
    from eznas.proxies import aggregate_to_json
    from eznas.study.scoring import make_aggregate

    with make_observer(quiet=quiet) as observer:
        made = make_aggregate(
            members,
            reference,
            mode=mode.stored if mode else None,
            overrides=overrides or (),
            machine=_machine(workers, ray_address, "cpu"),
            observer=observer,
        )
    if not quiet:
        for member, n_failed in zip(made.members, made.reference.n_failed, strict=True):
            if n_failed:
                typer.echo(f"{member.name} failed on {n_failed} of {made.reference.n}; they rank last.", err=True)
    text = aggregate_to_json(made)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_output(output, text)
    _announce(output)


@app.command()
def nas(
    search: Annotated[
        str,
        typer.Argument(
            help="score, optimum, random, evolution, area, aging-evolution, warm-up, warm-up-random or move-proposal.",
            metavar="SEARCH",
        ),
    ],
    proxies: Annotated[
        list[str] | None,
        typer.Option("--proxy", help="params, convolutions, or a .csv of eznas score on nb201:all; repeatable."),
    ] = None,
    aggregates: Annotated[
        list[str] | None,
        typer.Option("--aggregate", help="Sum of log ranks of such proxies, jacob_cov+params, as a row; repeatable."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", help="Architectures to score (optimum: to draw); the published number without.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option("--evaluations", help="Trainings to pay for; 100 or 300 without, as the search has.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", help="Simulated seconds of training and scoring to pay for instead; needs recorded times."
        ),
    ] = None,
    dataset: Annotated[str, typer.Option("--dataset", help="Data set that is searched on.")] = "cifar10",
    repeats: Annotated[int, typer.Option("--repeats", help="Independent repeats.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Of all repeats.")] = 0,
    form: TableFormat = Format.TABLE,
) -> None:
    """Search NAS-Bench-201 with proxies, simulated on its recorded accuracies; params is always a row beside."""
    from eznas.benchmarks import load_nb201
    from eznas.nas import compare, protocol_named, search_table
    from eznas.tables import render_table

    protocol_named(search)
    table = search_table(load_nb201(), dataset)
    rows = compare(
        table,
        search,
        proxies or (),
        aggregates=aggregates or (),
        n=n,
        evaluations=evaluations,
        seconds=seconds,
        repeats=repeats,
        seed=seed,
    )
    if form is Format.TABLE:
        rows = [{key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()} for row in rows]
    typer.echo(render_table(rows, form.value, width=_width()), nl=False)


# --------------------------------------------------------------------------------------------------------- the machine


@data_app.command("status")
def data_status_command(form: TableFormat = Format.TABLE) -> None:
    """Which accuracies and images are found, where, and which are used."""
    from eznas.benchmarks import data_status
    from eznas.statistics import stores_on_disk
    from eznas.study import cache_folder
    from eznas.tables import render_table

    stores = stores_on_disk(cache_folder())
    rows = [
        {
            "source": s.name, "kind": s.kind, "found": "yes" if s.found else "no", "in use": "yes" if s.in_use else "",
            "where": s.location, "what": s.detail,
        }
        for s in data_status()
    ]  # fmt: skip
    rows.append({
        "source": "cache", "kind": "statistics", "found": "yes" if stores else "no", "in use": "yes",
        "where": str(cache_folder()),
        "what": f"{len(stores)} store(s), {_size(sum(s.n_bytes for s in stores))}; eznas data prune frees them",
    })  # fmt: skip
    typer.echo(render_table(rows, form.value, width=_width()), nl=False)


@data_app.command("prune")
def data_prune_command(
    keep_gib: Annotated[
        float, typer.Option("--keep-gib", min=0, help="Keep the stores used last, up to this many GiB.")
    ] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, on a terminal either.")] = False,
    form: TableFormat = Format.TABLE,
) -> None:
    """Remove captured statistics, those used least recently first; they can always be captured again."""
    import time

    from eznas.statistics import prunable, remove_stores
    from eznas.study import cache_folder
    from eznas.tables import render_table

    root = cache_folder()
    going = prunable(root, int(keep_gib * 2**30))
    rows = [
        {
            "folder": store.folder.name,
            "size": _size(store.n_bytes) if form is Format.TABLE else store.n_bytes,
            "last used": time.strftime("%Y-%m-%d %H:%M", time.localtime(store.last_used)),
        }
        for store in going
    ]
    if rows or form is not Format.TABLE:
        typer.echo(render_table(rows, form.value, width=_width()), nl=False)
    beside = form is not Format.TABLE  # what is read by programs stands alone on stdout
    said = f"{len(going)} store(s), {_size(sum(store.n_bytes for store in going))}, from {root}"
    if dry_run:
        typer.echo(f"Would remove {said}.", err=beside)
        return
    asks = going and not yes and sys.stdin.isatty() and sys.stdout.isatty()
    if asks and not typer.confirm(f"Remove {said}?", err=beside):
        typer.echo("Nothing was removed.", err=beside)
        return
    removed = remove_stores(going)
    n_left = len(going) - len(removed)
    typer.echo(
        f"Removed {len(removed)} store(s), {_size(sum(store.n_bytes for store in removed))}, from {root}."
        + (f" {n_left} in use now stay(s)." if n_left else ""),
        err=beside,
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"


@app.command()
def doctor(form: TableFormat = Format.TABLE) -> None:
    """Check that this machine can do everything eznas asks of it."""
    from eznas.doctor import examine
    from eznas.tables import render_table

    findings = examine()
    typer.echo(render_table([f.as_dict() for f in findings], form.value, width=_width()), nl=False)
    if not all(f.is_well for f in findings):
        raise typer.Exit(1)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((160, 24)).columns if sys.stdout.isatty() else 160


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    if debug:
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        result = app(arguments, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except EznasError as error:
        if debug:
            raise
        typer.echo(f"error: {error}", err=True)
        return 2 if isinstance(error, ConfigError) else 1
    except typer.Exit as leave:
        return leave.exit_code
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        return _usage_or_bug(error)


def _usage_or_bug(error: Exception) -> int:
    """Typer's own complaints are usage errors; disk trouble is the user's; anything else is a bug to report."""
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):
        message = error.format_message()
        if message:  # without one, the help has been shown instead
            typer.echo(f"error: {message}", err=True)
        return 2
    if isinstance(error, OSError):
        from eznas.files import remedy

        typer.echo(f"error: {error.strerror or error} ({error.filename or 'no file'}); {remedy(error)}", err=True)
        return 1
    typer.echo(
        f"error: internal error, please report it ({type(error).__name__}: {error}); --debug shows more", err=True
    )
    return 1
