"""A message is one printable line that a screen can hold, whatever is quoted in it."""

from __future__ import annotations

import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eznas.errors as errors
from eznas.cli import main
from eznas.errors import LONGEST, EznasError, RunError, is_out_of_memory
from eznas.names import printable
from tests.eznas.cli.commands import Capsys

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EznasError)]
ANYTHING = st.text(max_size=3 * LONGEST) | st.text("a\x1b\n\r\x00\u202e\udc80é ", max_size=3 * LONGEST)


@given(ANYTHING, st.sampled_from(KINDS))
def test_every_message_is_one_printable_line_of_a_few_hundred_characters(text: str, kind: type[EznasError]) -> None:
    message = str(kind(text))
    assert message.isprintable()
    assert len(message) <= LONGEST
    message.encode()
    assert str(pickle.loads(pickle.dumps(kind(text)))) == message


def test_what_is_short_and_printable_stays_as_it_is() -> None:
    assert str(RunError("Run folder 'ä' is damaged; restore it")) == "Run folder 'ä' is damaged; restore it"
    assert str(RunError("a\x1b[2J\nb\u202e")) == r"a\x1b[2J b\u202e"


def test_a_long_message_keeps_its_beginning_and_its_remedy() -> None:
    message = str(RunError(f"Cannot read {'x' * 10_000_000}: choose another place"))
    assert message.startswith("Cannot read xxx")
    assert message.endswith("xxx: choose another place")
    assert " ... " in message


def test_text_of_several_lines_keeps_them() -> None:
    assert printable("a\tb\nc\x07\x9b") == "a\tb\nc\\x07\\x9b"


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"), True),
        (RuntimeError("numel: integer multiplication overflow"), True),
        (RuntimeError("shapes do not match"), False),
        (OSError("out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_known(
    error: Exception, is_memory: bool, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    assert is_out_of_memory(error) is is_memory
    monkeypatch.setattr("eznas.study.chosen_front", fail)
    assert main(["front", "anywhere"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Memory ran out (") is is_memory


def test_what_nobody_expected_is_one_printable_line_too(monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("\x1b[31m" + "x" * 5000)

    monkeypatch.setattr("eznas.study.chosen_front", fail)
    assert main(["front", "anywhere"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: internal error, please report it (KeyError: ")
    assert line.isprintable()
    assert len(line) < LONGEST + 10
