"""Annotations on disk in flat, memory-mapped arrays, built once per annotation file and shared by all processes.

A store is a folder with a `meta.json` and one Arrow file per table. It is complete or not there: builders write to a
temporary folder and rename it.
"""

from rlipv2.datasets.store.columns import Columns
from rlipv2.datasets.store.folder import Store, StoreError, StoreWriter, open_store, store_at
from rlipv2.datasets.store.images import ImageListing
from rlipv2.datasets.store.location import FOLDER, find_stores, store_folder
from rlipv2.datasets.store.progress import reading
from rlipv2.datasets.store.sources import Source

__all__ = [
    "FOLDER",
    "Columns",
    "ImageListing",
    "Source",
    "Store",
    "StoreError",
    "StoreWriter",
    "find_stores",
    "open_store",
    "reading",
    "store_at",
    "store_folder",
]
