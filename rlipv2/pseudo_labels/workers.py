"""Runs a stage over the units of a worker: skips complete ones, makes the others, in this process or in several."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from rlipv2.pseudo_labels.plan import Plan
from rlipv2.pseudo_labels.progress import Progress
from rlipv2.pseudo_labels.records import LabelledImage
from rlipv2.pseudo_labels.source import LabelledImages
from rlipv2.pseudo_labels.units import BEFORE, DoneRecord, StageFolder, UnitError, UnitResult

UnitFunction = Callable[[list[LabelledImage], dict[int, Any]], UnitResult]
"""Makes a unit of its images and of the rows of the stage before, by image id."""


@dataclass(frozen=True)
class UnitWork:
    """A stage on the CPU; can be sent to other processes.

    Attributes:
        plan: of the run.
        stage: its name.
        images: of the run.
        make: gives the function that makes units; called once in each process.
    """

    plan: Plan
    stage: str
    images: LabelledImages
    make: Callable[[], UnitFunction]

    def run(self, unit: int, function: UnitFunction) -> DoneRecord:
        """Makes and writes a unit.

        Raises:
            UnitError: the stage before did not complete it.
        """
        started = time.monotonic()
        folder, positions = self.plan.folder(self.stage), self.plan.images_of(unit)
        rows, made_from = rows_before(self.plan, self.stage, unit)
        result = function(self.images.read(positions), rows)
        seconds = time.monotonic() - started
        folder.write(unit, result, images=len(positions), made_from=made_from, seconds=seconds)
        return folder.record(unit)


def rows_before(plan: Plan, stage: str, unit: int) -> tuple[dict[int, Any], str | None]:
    """What the stage before made of a unit, by image id, and the checksum of what was read.

    Nothing and None for the first stage.

    Raises:
        UnitError: that unit is not complete.
    """
    if stage not in BEFORE:
        return {}, None
    folder = plan.folder(BEFORE[stage])
    try:
        folder.record(unit)
    except UnitError as error:
        raise UnitError(f"{stage}: unit {unit} cannot be made: {error}; run stages=[{BEFORE[stage]}] first") from error
    rows, digest = folder.read(unit)
    return {row["image_id"]: row for row in rows}, digest


def pending(
    folder: StageFolder, units: Iterable[int], progress: Progress, *, retry_failures: bool = False
) -> Iterator[int]:
    """The units that are not complete yet, or have failed images that are to be tried again; the others are counted."""
    for unit in units:
        try:
            record = folder.record(unit)
        except UnitError:
            yield unit
            continue
        if retry_failures and record.failures:
            yield unit
            continue
        progress.add(record, made=False)


def run_units(
    work: UnitWork, units: Sequence[int], progress: Progress, *, workers: int = 1, retry_failures: bool = False
) -> None:
    """Makes the units that are not complete.

    Args:
        work: the stage.
        units: those of this worker.
        progress: counts them.
        workers: processes; with 1 everything happens in this one.
        retry_failures: also make those that have failed images.

    Raises:
        UnitError: the stage before is not complete.
        TooManyFailures: more images failed than is allowed.
        ValueError: `workers` is out of range.
    """
    if workers < 1:
        raise ValueError(f"workers={workers}: expected at least 1")
    folder = work.plan.folder(work.stage)
    folder.prepare()
    todo = pending(folder, units, progress, retry_failures=retry_failures)
    if workers == 1:
        function: UnitFunction | None = None
        for unit in todo:
            function = function or work.make()
            progress.add(work.run(unit, function), made=True)
    else:
        _run_pool(work, todo, progress, workers)
    progress.close()


def _run_pool(work: UnitWork, todo: Iterator[int], progress: Progress, workers: int) -> None:
    """Twice as many units as workers are under way, so that memory does not grow with their number."""
    first = next(todo, None)
    if first is None:
        return  # starting processes takes seconds
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of torch
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(work,))
    try:
        running: set[Future[DoneRecord]] = {pool.submit(_run, first)}
        for unit in todo:
            running.add(pool.submit(_run, unit))
            if len(running) >= 2 * workers:
                running = _collect(running, progress)
        while running:
            running = _collect(running, progress)
    except BaseException:
        for process in list(pool._processes.values()):  # no public way to end them before 3.14
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _collect(running: set[Future[DoneRecord]], progress: Progress) -> set[Future[DoneRecord]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        try:
            record = future.result()
        except UnitError as error:
            raise UnitError(str(error)) from error  # as of this process: without the traceback of the other one
        progress.add(record, made=True)
    return rest


_work: UnitWork
_function: UnitFunction


def _begin(work: UnitWork) -> None:
    """Prepares a process of the pool."""
    global _work, _function
    exit_on_sigterm()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:  # killed parents leave none of these behind
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    _work, _function = work, work.make()


def _run(unit: int) -> DoneRecord:
    return _work.run(unit, _function)


def exit_on_sigterm() -> None:
    """Lets SIGTERM end the process as an error does, so that temporary files go and the exit status is not 0."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
