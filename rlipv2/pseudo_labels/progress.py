"""How far a stage is, in one line, and when it has failed too often."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from rlipv2.pseudo_labels.units import DoneRecord

logger = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds between two lines where nobody watches a terminal."""
ALLOWED = 10
"""Images that may fail in any case: 1 % of a folder of fifty images would be none."""


class TooManyFailures(ValueError):
    """More images failed than is allowed; the message tells how many of each kind."""


def allowed_failures(images: int, max_failures: float) -> float:
    """Images that may fail: a share of all, and some in any case."""
    return max(ALLOWED, max_failures * images)


class Progress:
    """Counts what a worker did in a stage and shows it.

    Args:
        stage: its name.
        units: units of this worker.
        images: images of the whole run, which `max_failures` is a share of.
        max_failures: share of the images that may fail.
        quiet: show nothing; of several processes on a machine one shows.
    """

    def __init__(self, stage: str, *, units: int, images: int, max_failures: float = 0.01, quiet: bool = False) -> None:
        self.stage, self.units, self.quiet = stage, units, quiet
        self._allowed = allowed_failures(images, max_failures)
        self._started = self._shown = time.monotonic()
        self.found = self.made = self.images = 0
        self.failures: Counter[str] = Counter()

    def add(self, record: DoneRecord, *, made: bool) -> None:
        """Counts a complete unit: one that was found, or that was made now.

        Raises:
            TooManyFailures: with this one the limit is passed.
        """
        self.failures.update(record.failures)
        if made:
            self.made, self.images = self.made + 1, self.images + record.images
        else:
            self.found += 1
        if self.failures.total() > self._allowed:
            raise TooManyFailures(
                f"{self.stage}: {self.failures.total():,} images failed ({told(self.failures)}), more than "
                f"max_failures allows; the files *.errors.jsonl of this stage name each of them"
            )
        if made:
            self._show()

    def close(self) -> None:
        """Shows the last line."""
        self._show(last=True)

    def line(self) -> str:
        """The state in one line."""
        seconds = time.monotonic() - self._started
        text = f"{self.stage}: {self.found + self.made:,}/{self.units:,} units"
        if self.found:
            text += f" ({self.found:,} were there)"
        if self.made:
            left = seconds / self.made * (self.units - self.found - self.made)
            text += f", {self.images / max(seconds, 1e-9):,.1f} images/s"
            text += f", {timedelta(seconds=round(left))} left" if left else f", {timedelta(seconds=round(seconds))}"
        return f"{text}, {told(self.failures) if self.failures else 'no'} failures"

    def _show(self, *, last: bool = False) -> None:
        if self.quiet:
            return
        if sys.stderr.isatty():
            print(f"\r\x1b[K{self.line()}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or time.monotonic() - self._shown > EVERY:
            self._shown = time.monotonic()
            logger.info("%s", self.line())


def told(counts: Mapping[str, int]) -> str:
    """Counts as words: "3 missing image, 1 corrupt image"."""
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
