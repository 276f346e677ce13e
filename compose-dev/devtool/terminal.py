"""What the user sees: steps with their seconds, and problems with their fix. Every other module reports through this one."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator

#: On anything that is no terminal, a long step says that often that it is still at work.
REMINDER_S = 30


class Problem(Exception):
    """Something that the user can put right. `fix` says how, as a command wherever one does it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class Step:
    """One line of progress. Set `detail` while it runs to what is going on, and `text` to what came of it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.detail = ""
        self.started = time.monotonic()
        self._over = threading.Event()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def show_until_over(self) -> None:
        """Show that the step is at work: a line that moves on a terminal, a reminder now and then elsewhere."""
        live = sys.stdout.isatty()
        while not self._over.wait(0.5 if live else REMINDER_S):
            text = f"{self.elapsed_s:7.0f} s  {self.text} ... {self.detail}"
            if live:
                width = shutil.get_terminal_size().columns - 1
                sys.stdout.write(f"\r\x1b[K{text[:width]}")
                sys.stdout.flush()
            else:
                say(text)

    def end(self) -> None:
        """Stop showing that it is at work."""
        self._over.set()


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def _quietly(show: Callable[[], None]) -> None:
    """Show progress for as long as somebody reads it. That nobody does is noticed by the main thread, at its next line."""
    with contextlib.suppress(BrokenPipeError):
        show()


class Progress:
    """The steps of one run, so that the end of a long one can say what took the time."""

    def __init__(self) -> None:
        self.took: list[tuple[str, float]] = []
        self.started = time.monotonic()

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Show a step while its block runs, and one line with its seconds afterwards."""
        step = Step(text)
        shower = threading.Thread(target=_quietly, args=(step.show_until_over,), daemon=True)
        shower.start()
        failed = True
        try:
            yield step
            failed = False
        finally:
            step.end()
            shower.join()
            clear = "\r\x1b[K" if sys.stdout.isatty() else ""
            say(f"{clear}{step.elapsed_s:7.1f} s  {step.text}{' ... did not work' if failed else ''}")
        self.took.append((step.text, step.elapsed_s))

    def note(self, text: str, seconds: float) -> None:
        """Take down a part of a step for the summary."""
        self.took.append((f"  {text}", seconds))

    def summary(self, at_least_s: float = 60) -> None:
        """Say what took the time, if it was long enough to ask."""
        total_s = time.monotonic() - self.started
        if total_s < at_least_s:
            return
        say("\nWhat took the time (parts of the image build run side by side):")
        for text, seconds in self.took:
            if seconds >= 2:
                say(f"{seconds:7.1f} s  {text}")
        say(f"{total_s:7.1f} s  in all")
