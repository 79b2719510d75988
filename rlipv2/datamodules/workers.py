"""What a loader worker does before its first image."""

import ctypes
import logging
import sys

from lightning_fabric.utilities.seed import pl_worker_init_function

logger = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 32 << 20
"""Bytes up to which glibc takes a block from the memory that it keeps; it allows no more."""
KEPT = 256 << 20
"""Free bytes at the end of that memory that are not given back. A worker keeps what it needs at its busiest, 50 MB;
the limit is higher since free memory of the process that it was forked from counts too."""


def start_worker(worker: int) -> None:
    """Seeds the global random generators of a loader worker by worker and rank, and calls `keep_memory`.

    Lightning does the first itself, but only where a loader has no such function. Nothing here draws from the global
    generators; transforms of a user may.

    Args:
        worker: number of the worker, as `DataLoader` gives it.
    """
    pl_worker_init_function(worker)
    keep_memory(worker)


def keep_memory(worker: int = 0) -> None:
    """Lets this process use the memory of the last image for the next one, where the C library is glibc.

    By default the memory of freed images goes back to the system, and every page of the next ones is asked for anew: a
    seventh of the CPU time of a worker.

    Args:
        worker: number of the worker.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        return
    settings = ((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, KEPT))
    if not all([library.mallopt(setting, size) for setting, size in settings]):  # a list: both are tried
        logger.info("worker %d: the C library keeps its own limits of memory", worker)
