"""The manifest of a run: what it was made with, kept beside its results and compared before it is gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from eznas.digests import content_digest, difference
from eznas.errors import RunError
from eznas.forms import Form, read_form
from eznas.runs.config import RunConfig, config_from

MANIFEST: Final = "manifest.json"


class Session(Form):
    """Going on with a run under other versions of packages.

    Attributes:
        resumed: when.
        versions: by package.
    """

    resumed: str
    versions: dict[str, str] = Field(default_factory=dict)


class Extension(Form):
    """The finished run that a run begins with.

    Attributes:
        run: name of its folder.
        settings_digest: of its settings.
        goes_on: whether its programs were taken over with their scores; or else they are evaluated anew.
        seeds: programs that are evaluated anew.
        n_learnt_from: networks to report on that the old run evolved or selected on.
    """

    run: str
    settings_digest: str
    goes_on: bool
    seeds: tuple[str, ...] = ()
    n_learnt_from: int = 0


class RecordedSample(Form):
    """Whose networks a sample has, and which ones, by part.

    Attributes:
        name: of the sample.
        benchmark: where its accuracies come from.
        provenance: of these accuracies, in words.
        datasets: its columns.
        splits: ``"valid"`` or ``"test"`` by part.
        networks: texts of the architectures by part.
    """

    name: str
    benchmark: str
    provenance: str
    datasets: tuple[str, ...]
    splits: dict[str, str]
    networks: dict[str, tuple[str, ...]]


class Binding(Form):
    """What a checkpoint records of a manifest.

    Attributes:
        digest: of its content.
        n_history: how many sessions that covers, for more may follow.
    """

    digest: str
    n_history: int


class Manifest(Form):
    """What a run was made with.

    Attributes:
        format, version: of this file.
        created: when the run was.
        command: that started it.
        versions: of packages, by name.
        history: sessions under other versions.
        platform: operating system and processor family.
        settings, settings_digest: all of them, and the digest of that.
        samples: the networks.
        labels_digest, networks_digest: of accuracies, and of networks by content.
        conditions: how the networks of each sample were built and excited.
        extends: the run it began with, if it did.
    """

    format: Literal["eznas-run"] = "eznas-run"
    version: Literal[2] = 2
    created: str = ""
    command: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    history: tuple[Session, ...] = ()
    platform: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    settings_digest: str = ""
    samples: tuple[RecordedSample, ...] = ()
    labels_digest: str = ""
    networks_digest: str = ""
    conditions: tuple[dict[str, Any], ...] = ()
    extends: Extension | None = None

    @classmethod
    def read(cls, run_dir: Path) -> Manifest:
        """The manifest in a run folder.

        Raises:
            RunError: if it is missing or damaged, or of another version.
        """
        return read_form(
            cls, run_dir / MANIFEST, error=RunError, remedy="use the release that wrote it, restore it, or evolve anew"
        )

    def binding(self, n_history: int | None = None) -> Binding:
        """What a checkpoint records of it: of all of its history, or of the first sessions only."""
        history = self.history[:n_history]
        covered = self.model_copy(update={"history": history})
        return Binding(digest=content_digest(covered.model_dump(mode="json")), n_history=len(history))

    def check_settings(self, config: RunConfig, run_dir: Path) -> None:
        """Refuse settings other than those that the run was started with; layout and comments do not matter.

        Args:
            config: as ``config.toml`` says now.
            run_dir: of the run, for the message.

        Raises:
            RunError: if a setting was changed, which it names, or the manifest was.
        """
        if self.settings_digest != content_digest(self.settings):
            raise RunError(
                f"{run_dir / MANIFEST} was changed: its settings do not have the digest beside them; restore it, or "
                f"evolve anew"
            )
        before = config_from(self.settings, where=str(run_dir / MANIFEST))
        changed = difference(before.model_dump(mode="json"), config.model_dump(mode="json"))
        if changed:
            raise RunError(
                f"{run_dir / 'config.toml'} was changed after the run was started: {changed}; put the old value back, "
                f"or evolve anew with the new one"
            )
