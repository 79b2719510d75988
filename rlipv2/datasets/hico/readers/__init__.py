"""Readers of the three annotation formats of HICO-DET, all giving `RelationRecords`.

`ppdm`        lists in the HOIA style (`trainval_hico.json`, `test_hico.json`), read by the official code
`mat`         the original release (`anno_bbox.mat`)
`hicodet_json` the files of fredzzhang/hicodet (`instances_train2015.json`, `instances_test2015.json`)
"""

from pathlib import Path
from typing import Any, Literal

from rlipv2.datasets.errors import AnnotationError, DatasetNotFoundError
from rlipv2.datasets.files import read_json
from rlipv2.datasets.hico.readers import hicodet_json, mat, ppdm
from rlipv2.datasets.hico.readers.pairs import Shift, pairs_to_records
from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import HICOVocabulary, load

Kind = Literal["ppdm", "mat", "hicodet_json"]
Split = Literal["train", "test"]

__all__ = ["Kind", "Shift", "Split", "detect", "read_annotations"]


def read_annotations(
    path: str | Path,
    split: Split,
    *,
    shift: Shift = "ppdm",
    merge_iou: int | float | Literal["ppdm"] | None = "ppdm",
    vocabulary: HICOVocabulary | None = None,
) -> RelationRecords:
    """The records of an annotation file of HICO-DET, whose kind is told from its content.

    All records of the file in file order, nothing dropped: a relation may refer to a box that does
    not exist (`HICODet` applies the official rules for training). Relations are rows (subject box,
    object box, verb) that count from 0.

    Args:
        path: a PPDM list, `anno_bbox.mat` or a file of fredzzhang/hicodet.
        split: which half of `anno_bbox.mat` to read; also the split whose PPDM conventions `"ppdm"` means.
        shift: what to subtract from the 1-based, inclusive boxes of the latter two kinds: "none", "all"
            (every coordinate), "topleft" (x1 and y1: 0-based, half open) or "ppdm", which does as the
            published PPDM files do: "all" for train, "none" for test.
        merge_iou: boxes of one class in one image above this IoU become one, the first in file order;
            `None` joins equal boxes only; "ppdm" means 0.6 for train and `None` for test (the rule of
            the PPDM files is not published; 0.6 follows its author's remarks).
        vocabulary: other classes than those of HICO-DET.

    Boxes of PPDM files are used as stored, whatever `shift` and `merge_iou` say: train is 0-based and
    merged there, test is 1-based, and published results include that.

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: the file, or a record of it, cannot be used; names the record.
    """
    path = Path(path)
    vocabulary = vocabulary or load("hico")
    kind, content = detect(path)
    if kind == "ppdm":
        return ppdm.read(content, path, vocabulary).to_records(vocabulary)
    pairs = mat.read(path, split, vocabulary) if kind == "mat" else hicodet_json.read(content, path, vocabulary)
    return pairs_to_records(pairs, vocabulary, split, shift=shift, merge_iou=merge_iou)


def detect(path: Path) -> tuple[Kind, Any]:
    """The kind of an annotation file, with its content where that had to be parsed (JSON).

    Raises:
        DatasetNotFoundError: no such file.
        AnnotationError: none of the three kinds.
    """
    if not path.is_file():
        raise DatasetNotFoundError.missing("annotation file", path, "check the path")
    with path.open("rb") as file:
        start = file.read(6)
    if start == b"MATLAB":
        return "mat", None
    content = read_json(path)
    if isinstance(content, list):
        return "ppdm", content
    keys = sorted(content) if isinstance(content, dict) else [type(content).__name__]
    if isinstance(content, dict) and {"annotation", "filenames"} <= content.keys():
        return "hicodet_json", content
    raise AnnotationError.in_file(
        path,
        f"no annotation file of HICO-DET (its top level holds {keys[:6]})",
        "expected a list of records (PPDM) or the keys 'annotation' and 'filenames' (fredzzhang/hicodet)",
    )
