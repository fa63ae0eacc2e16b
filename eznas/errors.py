"""The errors a user can meet: one tree, one readable sentence each.

Every message says what went wrong, where, what was expected, what was found and what to do about it. The command
line prints the sentence alone; ``--debug`` adds the traceback.

What a message quotes may come from a stranger's file. So each is brought to one line of printable characters that a
screen can hold, whoever made it and from what.
"""

from __future__ import annotations

from typing import Any, Final

from eznas.names import legible

LONGEST: Final = 399
"""Characters of a message; of a longer one the middle is left out, for it begins with what and ends with the remedy."""


class EznasError(Exception):
    """Base of every error that a user's input, data or machine can cause."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(legible(each, LONGEST) if isinstance(each, str) else each for each in arguments))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what it means: torch and NumPy say it in ways of their own."""
    said = str(error)[:1000]
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ValueError)
        and any(words in said for words in ("out of memory", "not enough memory", "can't allocate memory", "overflow"))
    )


class ConfigError(EznasError):
    """A setting is unknown, ill-typed or contradicts another."""


class ProgramError(EznasError):
    """A program text or file does not describe a well-typed program."""


class ArchitectureError(EznasError):
    """An architecture description does not belong to its search space."""


class BenchmarkError(EznasError):
    """A table of accuracies or a folder of images is missing, damaged or lacks what was asked of it."""


class CaptureError(EznasError):
    """The statistics of a network could not be captured."""


class UnfitError(CaptureError):
    """A network does not have what a proxy looks at: a batch on the first axis, so many classes, such layers."""


class StoreError(EznasError):
    """A statistics store is damaged, incomplete or of another version."""


class BankError(EznasError):
    """A bank of values cannot be read or written, or is of another version."""


class ScoreError(EznasError):
    """A proxy has no score for a network; says why."""


class RunError(EznasError):
    """A run folder is missing, damaged, locked or of another version."""


class OutputError(EznasError):
    """A file that was asked for cannot be written, or is being written by another process."""


class WorkerError(EznasError):
    """A worker could not be started, or died more often than allowed."""
