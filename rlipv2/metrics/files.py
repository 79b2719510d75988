"""Arrays of an .npz file, read in runs of rows so that files larger than memory can be evaluated.

`numpy.load(..., mmap_mode=...)` ignores the mode for members of an .npz. Stored (uncompressed) members
are mapped here by their place in the archive; compressed ones are unpacked while the rows are read.
"""

import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

# What zipfile raises for archives that are cut off, damaged, encrypted or compressed in an unknown way.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


class EvaluationFileError(ValueError):
    """A file that cannot be evaluated; the message names file and record and says what to do."""


@dataclass(frozen=True)
class _Member:
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    header_bytes: int
    offset: int | None
    """Of the first element in the file; None where the member is compressed."""


class ArrayFile:
    """The arrays of an .npz file; use as a context manager.

    Checksums are verified for compressed members only, as mapping reads no more than it needs.

    Raises:
        EvaluationFileError: file missing, a folder, empty, a Git LFS pointer, not a zip archive, cut off,
            or an array that is pickled, damaged or in column order.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _check_is_archive(self.path)
        self._file = open(self.path, "rb")  # noqa: SIM115 - stays open as long as the object
        self._mapping: mmap.mmap | None = None
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._members = {member.name: member for member in map(self._read_header, self._zip.infolist())}
            if any(member.offset is not None for member in self._members.values()):
                self._mapping = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except (*_DAMAGE, struct.error) as error:
            self._file.close()
            raise EvaluationFileError(
                f"{self.path}: not a complete .npz archive ({error}); it was probably cut off while it was written "
                "or copied, write it again with numpy.savez"
            ) from error
        except EvaluationFileError:
            self._file.close()
            raise

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Releases the file."""
        if self._mapping is not None:
            self._mapping.close()
        self._zip.close()
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> list[str]:
        """Names of all arrays."""
        return sorted(self._members)

    @property
    def compressed(self) -> list[str]:
        """Names of the arrays that cannot be mapped."""
        return sorted(member.name for member in self._members.values() if member.offset is None)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, without reading it."""
        return self._members[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of an array, without reading it."""
        return self._members[name].dtype

    def array(self, name: str) -> np.ndarray:
        """A copy of the whole array."""
        length = self._members[name].shape[0] if self._members[name].shape else 1
        return next(self.rows([name], max(length, 1)))[name]

    def rows(self, names: Sequence[str], step: int) -> Iterator[dict[str, np.ndarray]]:
        """Copies of rows 0 to step, step to 2 * step, ... of several arrays of the same length.

        Memory use is that of `step` rows: mapped pages are handed back after they were copied. Yields
        once, empty arrays, where the length is 0.
        """
        members = [self._members[name] for name in names]
        streams = {member.name: self._open(member) for member in members if member.offset is None}
        length = members[0].shape[0] if members[0].shape else 1
        try:
            for start in range(0, max(length, 1), step):
                count = min(step, length - start)
                yield {member.name: self._read(member, start, count, streams.get(member.name)) for member in members}
        except _DAMAGE as error:
            raise EvaluationFileError(
                f"{self.path}: {error}; the archive is damaged, write or copy it again"
            ) from error
        finally:
            for stream in streams.values():
                stream.close()

    def _read(self, member: _Member, start: int, count: int, stream: zipfile.ZipExtFile | None) -> np.ndarray:
        shape = (count, *member.shape[1:]) if member.shape else ()
        size = prod(shape) * member.dtype.itemsize
        if stream is None:
            assert self._mapping is not None  # there is one as soon as a member has an offset
            assert member.offset is not None
            begin = member.offset + start * (size // max(count, 1))
            # Through bytes: members lie at odd offsets, where NumPy would copy element by element.
            data = np.frombuffer(self._mapping, np.uint8, size, begin).copy()
            _forget_pages(self._mapping, begin, size)
        else:
            data = np.frombuffer(_read_exactly(stream, size, member.name), np.uint8)
        values = data.view(member.dtype).reshape(shape)
        return values.astype(member.dtype.newbyteorder("="), copy=False)

    def _open(self, member: _Member) -> zipfile.ZipExtFile:
        stream = cast(zipfile.ZipExtFile, self._zip.open(member.name + ".npy"))
        stream.read(member.header_bytes)
        return stream

    def _read_header(self, info: zipfile.ZipInfo) -> _Member:
        if not info.filename.endswith(".npy"):
            raise EvaluationFileError(
                f"{self.path}: holds {info.filename!r}, which is no NumPy array; write the file with numpy.savez"
            )
        name = info.filename.removesuffix(".npy")
        with self._zip.open(info) as stream:
            try:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
                shape, column_order, dtype = read(stream)
            except ValueError as error:
                raise EvaluationFileError(f"{self.path}: {name}: no NumPy array ({error}); write it again") from error
            header_bytes = stream.tell()
        if dtype.hasobject:
            raise EvaluationFileError(
                f"{self.path}: {name}: holds pickled Python objects, which are not read; save a plain array"
            )
        if column_order and len(shape) > 1:
            raise EvaluationFileError(
                f"{self.path}: {name}: stored in column order (Fortran); save numpy.ascontiguousarray of it"
            )
        data_bytes = info.file_size - header_bytes
        if data_bytes != prod(shape) * dtype.itemsize:
            raise EvaluationFileError(
                f"{self.path}: {name}: {data_bytes} bytes of data for {dtype} {shape}; write it again"
            )
        stored = info.compress_type == zipfile.ZIP_STORED
        return _Member(name, shape, dtype, header_bytes, self._data_offset(info) + header_bytes if stored else None)

    def _data_offset(self, info: zipfile.ZipInfo) -> int:
        # The local header repeats name and extra field, and their lengths may differ from the directory's.
        self._file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", self._file.read(4))
        return info.header_offset + 30 + name + extra


def _check_is_archive(path: Path) -> None:
    if not path.exists():
        raise EvaluationFileError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise EvaluationFileError(f"{path}: is a folder; give the .npz file itself")
    try:
        with path.open("rb") as file:
            head = file.read(40)
    except OSError as error:
        raise EvaluationFileError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if not head:
        raise EvaluationFileError(f"{path}: the file is empty; write it again with numpy.savez")
    if head.startswith(b"version https://git-lfs"):
        raise EvaluationFileError(f"{path}: is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")
    if not head.startswith(b"PK"):
        hint = "a single array (.npy)" if head.startswith(b"\x93NUMPY") else "another format"
        raise EvaluationFileError(f"{path}: no .npz archive but {hint}; write it with numpy.savez")


def _read_exactly(stream: zipfile.ZipExtFile, size: int, name: str) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError(f"{name} ends early")
    return data


def _forget_pages(mapping: mmap.mmap, begin: int, size: int) -> None:
    # Mapped pages count as memory of the process until the system takes them back; not on Windows.
    if hasattr(mapping, "madvise"):
        aligned = begin - begin % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_DONTNEED, aligned, begin + size - aligned)
