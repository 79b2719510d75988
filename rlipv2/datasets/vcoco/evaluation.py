"""What the metrics of V-COCO must be told of the dataset, as plain arrays and names."""

from pathlib import Path
from typing import Any

import numpy as np

from rlipv2.datasets.vcoco.dataset import read_ground_truth, read_validity
from rlipv2.datasets.vcoco.source import FOLDER, Split, find_source
from rlipv2.structures import LabelSpace
from rlipv2.vocabularies import VCOCOVocabulary, load


def read_metric_arguments(
    root: str | Path, split: Split = "test", *, annotations: str | Path = "auto"
) -> dict[str, Any]:
    """The arguments of the metric for a folder of V-COCO, whose images need not be there.

    Raises:
        DatasetNotFoundError: annotations are missing; names them.
        AnnotationError: a file, or a record of it, cannot be used.
    """
    root, vocabulary = Path(root).expanduser(), load("vcoco")
    root = root / FOLDER if (root / FOLDER).is_dir() else root
    content = find_source(root, split, annotations).read(vocabulary)
    truth = read_ground_truth(content, root, split, vocabulary)
    return metric_arguments(truth, read_validity(root, vocabulary), vocabulary, vocabulary.label_space)


def metric_arguments(
    ground_truth: dict[str, np.ndarray], validity: np.ndarray, vocabulary: VCOCOVocabulary, label_space: LabelSpace
) -> dict[str, Any]:
    """Ground truth, names and validity for predictions that count in `label_space`, a part of the vocabulary.

    `ground_truth`; `actions` (name, roles) as its columns; `verbs`: the names of the score columns; `category_ids` of
    the object labels but the last; `validity` (verbs, objects).

    Raises:
        ValueError: the label space asks for one role of an action without its other one.
    """
    verbs = [vocabulary.label_space.relations.index(name) for name in label_space.relations]
    objects = [vocabulary.label_space.objects.index(name) for name in label_space.objects[:-1]]
    asked = np.isin(vocabulary.verb_rows, verbs) | (vocabulary.verb_rows < 0)
    actions = np.flatnonzero(asked.all(axis=1))
    if sum(len(roles) or 1 for _, roles in (vocabulary.actions[row] for row in actions)) != len(verbs):
        raise ValueError(
            f"relations {label_space.relations}: an action is evaluated with all of its roles; ask for all or none"
        )
    columns = {key: ground_truth[key][:, actions] for key in ("actions", "roles")}
    return {
        "ground_truth": ground_truth | columns,
        "actions": tuple(vocabulary.actions[row] for row in actions),
        "verbs": tuple(vocabulary.verbs[row] for row in verbs),
        "category_ids": tuple(vocabulary.coco_ids[objects].tolist()),
        "validity": validity[np.ix_(verbs, objects)],
    }
