"""HICO-DET as scene graphs in the layout of Visual Genome, for mixtures in relational pre-training."""

from typing import Any

from rlipv2.structures import RelationRecords
from rlipv2.vocabularies import HICOVocabulary

FIRST_ID = 50_000_000
"""Objects and relations are numbered from here, as in the official file."""


def to_scene_graphs(records: RelationRecords, vocabulary: HICOVocabulary) -> list[dict[str, Any]]:
    """A record per image, every interaction a relation; the file name is the image id, verbs are written with spaces.

    Official: `trainval_hico_vg_format.json`, which holds all images of `trainval_hico.json`.
    """
    result, number = [], FIRST_ID
    for index, name in enumerate(records.file_names):
        start, end = records.box_ptr[index : index + 2].tolist()
        first_relation, last_relation = records.relation_ptr[index : index + 2].tolist()
        objects = []
        for row, ((x1, y1, x2, y2), label) in enumerate(
            zip(records.boxes[start:end].tolist(), records.labels[start:end].tolist(), strict=True)
        ):
            box = {"x": x1, "y": y1, "w": x2 - x1, "h": y2 - y1}
            objects.append({"object_id": number + row, **box, "names": vocabulary.objects[label], "synsets": []})
        relations = [
            {
                "relationship_id": FIRST_ID + first_relation + row,
                "predicate": vocabulary.label_space.relations[verb],
                "subject_id": number + subject,
                "object_id": number + target,
                "synsets": [],
            }
            for row, (subject, target, verb) in enumerate(records.relations[first_relation:last_relation].tolist())
        ]
        result.append({"image_id": name, "dataset": "hico", "objects": objects, "relationships": relations})
        number += end - start
    return result
