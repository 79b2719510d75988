"""What a check of a dataset folder found, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Level = Literal["ok", "warning", "error"]
COLOURS: dict[Level, str] = {"ok": "green", "warning": "yellow", "error": "red"}
SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """One row of a report.

    Attributes:
        part: what was looked at ("train", "test", "both").
        what: the thing that was checked.
        level: "ok" also where something was counted that is normal in this dataset.
        count: how many images, boxes or relations are concerned.
        note: what it means and what to do.
        offenders: the first of those concerned, or all.
    """

    part: str
    what: str
    level: Level
    count: int = 0
    note: str = ""
    offenders: tuple[str, ...] = ()


@dataclass
class Report:
    """Findings in the order they were made."""

    findings: list[Finding] = field(default_factory=list)

    def add(
        self,
        part: str,
        what: str,
        *,
        offenders: Sequence[str] = (),
        count: int | None = None,
        found: Level = "error",
        note: str = "",
    ) -> None:
        """Adds a row: "ok" if `count` (by default the number of offenders) is 0, else `found`."""
        count = len(offenders) if count is None else count
        self.findings.append(
            Finding(part, what, found if count else "ok", count, note if count else "", tuple(offenders[:SHOWN]))
        )

    def of_level(self, level: Level) -> list[Finding]:
        """The findings of one level."""
        return [finding for finding in self.findings if finding.level == level]

    def print(self, console: Console) -> None:
        """A table of all rows, then the first offenders of every warning and error, then the totals."""
        table = Table("", "checked", "result", "count", "note")
        for row in self.findings:
            colour = COLOURS[row.level]
            table.add_row(
                row.part, row.what, f"[{colour}]{row.level}[/]", f"{row.count:,}" if row.count else "", escape(row.note)
            )
        console.print(table)
        for row in (*self.of_level("warning"), *self.of_level("error")):
            if row.offenders:
                console.print(f"[{COLOURS[row.level]}]{row.level}[/] {row.part}: {row.what}")
                for offender in row.offenders:
                    console.print(f"  {offender}", markup=False, highlight=False, soft_wrap=True)
        console.print(", ".join(f"{len(self.of_level(level))} {level}" for level in COLOURS))
