"""Arrow files that are read as numpy arrays in the pages of the file, without a copy."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from rlipv2.datasets.store.columns import Column
from rlipv2.datasets.store.pages import release
from rlipv2.ops.texts import TextArray

BOOL = {b"numpy": b"bool"}
PIECE = 16 << 20


def write_table(path: Path, columns: Mapping[str, Column]) -> None:
    """Writes columns of equal length as one Arrow record batch, so that each of them is one array again.

    Numbers become Arrow numbers, rows of k numbers fixed-size lists, truth values bytes, texts large strings.
    """
    arrays, fields = [], []
    for name, column in columns.items():
        array = _to_arrow(column)
        is_bool = isinstance(column, np.ndarray) and column.dtype == np.bool_
        fields.append(pa.field(name, array.type, nullable=False, metadata=BOOL if is_bool else None))
        arrays.append(array)
    schema = pa.schema(fields)
    with path.open("wb") as file:
        sink = pa.PythonFile(_Pieces(file, columns.values()), "w")
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def read_table(path: Path) -> dict[str, Column]:
    """The columns of an Arrow file, read-only and memory-mapped."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    return {field.name: _from_arrow(batch.column(row), field) for row, field in enumerate(batch.schema)}


class _Pieces(io.RawIOBase):
    """Writes buffers of columns in pieces, between which the pages of the columns are given back."""

    def __init__(self, file: BinaryIO, columns: Iterable[Column]) -> None:
        self._file, self._columns = file, tuple(columns)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            self._file.write(view[start : start + PIECE])
            release(*self._columns)
        return len(view)


def _to_arrow(column: Column) -> pa.Array:
    if isinstance(column, TextArray):
        packed = column.packed()
        buffers = [None, pa.py_buffer(np.ascontiguousarray(packed.offsets, np.int64)), pa.py_buffer(packed.data)]
        return pa.Array.from_buffers(pa.large_string(), len(packed), buffers)
    flat = np.ascontiguousarray(column).reshape(-1)
    flat = flat.view(np.uint8) if flat.dtype == np.bool_ else flat
    values = pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)])
    if column.ndim == 1:
        return values
    return pa.FixedSizeListArray.from_arrays(values, column.shape[1])


def _from_arrow(array: pa.Array, field: pa.Field) -> Column:
    kind, length = field.type, len(array)
    if pa.types.is_large_string(kind):
        _, offsets, data = array.buffers()
        bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
        return TextArray(bytes_, np.frombuffer(offsets, np.int64, length + 1))
    if pa.types.is_fixed_size_list(kind):
        return _numbers(array.values, length * kind.list_size).reshape(length, kind.list_size)
    numbers = _numbers(array, length)
    return numbers.view(np.bool_) if field.metadata == BOOL else numbers


def _numbers(array: pa.Array, count: int) -> np.ndarray:
    dtype = np.dtype(array.type.to_pandas_dtype())
    buffer = array.buffers()[1]
    return np.frombuffer(buffer, dtype, count) if count else np.zeros(0, dtype)
