"""The first hour, recorded: what each command of a newcomer shows in a small and in a large terminal.

    python experiments/first_hour.py CLONE

Types the commands below into terminals of 80 x 24 and 200 x 50 characters (tmux), in a fresh clone, and writes what
stood there, with the seconds each took, to docs/first-hour.md. Where a browser is found (chromium), the report page is
drawn at two widths, light and dark. Networks and accuracies of the newcomer's own are those of README.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "first-hour.md"
PICTURES: Final = ROOT / "docs" / "first-hour"
SMALL, LARGE = (80, 24), (200, 50)
SOCKET: Final = "first-hour"
BROWSER: Final = "chromium"
SHOTS: Final = ((1280, 1600, False), (400, 1600, True))
"""Width and height in pixels, and whether the scheme is dark."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what to look at.

    Attributes:
        says: to the reader, before it.
        command: as it is typed.
        size: of the terminal.
        moments: what must stand on the screen for it to be taken down while the command works, as patterns.
        keys: sent after the last moment, such as ``C-c``.
        lines: shown of the end of what the command wrote; 0 for the screen as it is.
        limit: seconds.
    """

    says: str
    command: str
    size: tuple[int, int] = SMALL
    moments: tuple[str, ...] = ()
    keys: str = ""
    lines: int = 0
    limit: float = 1800.0


STEPS: Final = (
    Step("A fresh clone has one command to begin with. It sets up its own environment, and then a run on "
         "eleven\nspaces shows what it is doing, how long it will go on, and the formulas found so far.",
         "make demo RUN=runs/demo", moments=(r"words: [1-9]\d\d/", r"front so far[^$]*\d\.\d{3}"), limit=3600),
    Step("The last of these moments in a large terminal:", "", LARGE),
    Step("The command is in the environment of the clone. Which formula to take, and why:",
         "source .venv/bin/activate; eznas front runs/demo", LARGE),
    Step("One formula of it, to be read:", "eznas show runs/demo best", lines=40),
    Step("Now networks of one's own, `zoo.py` and `zoo.csv` of the README. First, what would happen:",
         "eznas evolve --networks python:zoo:networks --accuracies zoo.csv --run-dir runs/mine --dry-run", lines=40),
    Step("Then for real, and stopped on the way:",
         "eznas evolve --networks python:zoo:networks --accuracies zoo.csv --run-dir runs/mine",
         moments=(r"front so far[^$]*\d\.\d{3}",), keys="C-c"),
    Step("Gone on with, to the end:", "eznas resume runs/mine", moments=(r"fold 3 of 5",), lines=40),
    Step("The front for a paper:", "eznas front runs/mine --format latex", lines=30),
    Step("The proxy as a file of its own, which needs PyTorch alone:",
         "eznas export runs/mine best -o proxy.py && head -16 proxy.py", lines=20),
    Step("Networks that nobody trained, scored; higher is better:",
         "eznas score runs/mine:best naswot --networks python:zoo:networks | head -9", lines=16),
    Step("What was made so far:", "eznas runs", LARGE),
)  # fmt: skip


class RecordingError(Exception):
    """A command did not do what it should; the message says what."""


def main(argv: Sequence[str] | None = None) -> int:
    """Record, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clone", type=Path, help="a fresh clone, in which the commands are typed")
    arguments = parser.parse_args(argv)
    if shutil.which("tmux") is None:
        print("error: tmux is not on the path; install it, the terminals of the recording are its", file=sys.stderr)
        return 1
    clone = arguments.clone.resolve()
    own_networks(clone)
    try:
        written = record(clone)
    except RecordingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        tmux("kill-server", check=False)
    PAGE.write_text(written, encoding="utf-8")
    return 0


def own_networks(clone: Path) -> None:
    """Writes the module and the accuracies of the README into the clone."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (clone / "zoo.py").write_text(block(text, r"```python\n(# zoo\.py\n.*?)```"), encoding="utf-8")
    (clone / "zoo.csv").write_text(block(text, r"```csv\n(network,accuracy\n.*?)```"), encoding="utf-8")


def block(text: str, pattern: str) -> str:
    """The fenced block that a pattern finds."""
    found = re.search(pattern, text, re.DOTALL)
    if found is None:
        raise RecordingError(f"README.md has no block like {pattern}; mend the pattern")
    return found[1]


def record(clone: Path) -> str:
    """All steps, as the page."""
    counter = clone / ".prompts"
    terminal = Terminal(clone, counter)
    parts = [HEAD]
    start = time.monotonic()
    for step in STEPS:
        parts.append(f"\n{step.says}\n")
        parts += terminal.play(step)
    minutes = (time.monotonic() - start) / 60
    parts.append(f"\nAll of it took {minutes:.0f} minutes, with the set-up.\n")
    parts += pictures(clone / "runs" / "demo" / "report.html")
    return "".join(parts).replace(str(clone), "~/eznas")


HEAD: Final = """# The first hour

What a newcomer types and sees, from a fresh clone to a proxy of their own. Nothing here is written by hand but the
sentences between: `python experiments/first_hour.py CLONE` types the commands into terminals of 80 x 24 and 200 x 50
characters and takes down what stands there; the folder of the clone is called ~/eznas. Seconds are those of two cores
of an x86-64 server that others use too.
"""


class Terminal:
    """A shell in tmux, whose prompts are counted, so that the end of a command is known."""

    def __init__(self, folder: Path, counter: Path) -> None:
        self.counter = counter
        counter.write_text("")
        environment = {
            "PS1": "$ ", "PROMPT_COMMAND": f"echo >> {shlex.quote(str(counter))}", "TERM": "screen-256color",
            "VIRTUAL_ENV_DISABLE_PROMPT": "1", "PIP_QUIET": "2",
            "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8",
            "EZNAS_CACHE": str(folder / ".cache"), "EZNAS_DATA": "",
        }  # fmt: skip
        words = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
        tmux("kill-server", check=False)
        tmux("new-session", "-d", "-x", str(SMALL[0]), "-y", str(SMALL[1]), "-c", str(folder), *words,
             "bash", "--norc", "--noprofile")  # fmt: skip
        tmux("set-option", "-g", "history-limit", "20000")
        tmux("set-option", "-g", "status", "off")
        self.kept: dict[tuple[int, int], str] = {}

    def play(self, step: Step) -> list[str]:
        """Type a command, wait for it, and give what it showed as Markdown."""
        if not step.command:
            return [screen(self.kept[step.size], step.size)]
        self.resize(step.size)
        tmux("send-keys", "clear", "Enter")
        time.sleep(1)
        tmux("clear-history")
        before = self.n_prompts
        start = time.monotonic()
        tmux("send-keys", "-l", step.command)
        tmux("send-keys", "Enter")
        parts: list[str] = [f"\n```console\n$ {step.command}\n```\n"]
        for moment in step.moments:
            if not self.wait(lambda moment=moment: re.search(moment, pane()) is not None, before, step):  # type: ignore[misc]
                break
            seconds = time.monotonic() - start
            parts += [f"\nAfter {seconds:.0f} s:\n", screen(pane(), step.size)]
            if step.size == SMALL and step.keys == "":
                self.resize(LARGE)
                time.sleep(3)
                self.kept[LARGE] = pane()
                self.resize(SMALL)
        if step.keys:
            tmux("send-keys", step.keys)
        pressed = time.monotonic()
        self.wait(lambda: False, before, step)
        if step.keys:
            parts.append(f"\n{step.keys.replace('C-c', 'Ctrl-C')}, and {time.monotonic() - pressed:.1f} s later:\n")
        else:
            parts.append(f"\nIn the end, after {time.monotonic() - start:.0f} s:\n")
        shown = pane(whole=True) if step.lines else pane()
        rows = [row for row in shown.rstrip().splitlines() if row != "$"]
        parts.append(screen("\n".join(rows[-step.lines :] if step.lines else rows), step.size))
        return parts

    def resize(self, size: tuple[int, int]) -> None:
        tmux("resize-window", "-x", str(size[0]), "-y", str(size[1]))

    @property
    def n_prompts(self) -> int:
        return self.counter.read_text().count("\n")

    def wait(self, holds: object, before: int, step: Step) -> bool:
        """Until something holds, True, or the command has ended, False."""
        deadline = time.monotonic() + step.limit
        while time.monotonic() < deadline:
            if holds():  # type: ignore[operator]
                return True
            if self.n_prompts > before:
                return False
            time.sleep(0.2)
        raise RecordingError(f"'{step.command}' has not ended after {step.limit:.0f} s; its screen is\n{pane()}")


def pane(*, whole: bool = False) -> str:
    """What stands in the terminal; with `whole`, what has scrolled away too."""
    return tmux("capture-pane", "-p", *(("-S", "-") if whole else ()))


def screen(text: str, size: tuple[int, int]) -> str:
    """A screen in Markdown, at most as wide as the terminal."""
    rows = [row.rstrip() for row in text.rstrip().splitlines()]
    wide = [row for row in rows if len(row) > size[0]]
    if wide:
        raise RecordingError(f"a line is wider than {size[0]} characters: {wide[0]!r}")
    return "\n```text\n" + "\n".join(rows) + "\n```\n"


def tmux(*words: str, check: bool = True) -> str:
    done = subprocess.run(["tmux", "-L", SOCKET, *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RecordingError(f"tmux {words[0]}: {done.stderr.strip()}")
    return done.stdout


def pictures(page: Path) -> list[str]:
    """The report page at two widths and two schemes; nothing where there is no browser."""
    browser = shutil.which(BROWSER)
    if browser is None:
        return []
    PICTURES.mkdir(exist_ok=True)
    parts = ["\nThe page of the demo, which is one file and asks nothing of the network:\n"]
    for width, height, is_dark in SHOTS:
        name = f"report-{width}-{'dark' if is_dark else 'light'}.png"
        scheme = ["--blink-settings=preferredColorScheme=0"] if is_dark else []
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *scheme,
             f"--window-size={width},{height}", f"--screenshot={PICTURES / name}", page.as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        parts.append(f"\n![{width} pixels wide, {'dark' if is_dark else 'light'}]({PICTURES.name}/{name})\n")
    return parts


if __name__ == "__main__":
    raise SystemExit(main())
