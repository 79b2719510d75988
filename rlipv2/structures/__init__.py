"""The data that travels through the framework: label spaces, records, batches, outputs, predictions.

Nothing here knows a network, a dataset file or a configuration. Letters in shapes mean the same
everywhere: b batch, l decoder layers, q pairs predicted, m pairs labelled, n boxes, h relations of
an image, o object texts without the background text, r relation texts, t all texts, d width.
"""

from rlipv2.structures.annotations import Annotation, RelationRecords, Sample
from rlipv2.structures.batches import (
    DetectionBatch,
    DetectionTarget,
    ImageBatch,
    RelationBatch,
    RelationTarget,
)
from rlipv2.structures.entities import Entities
from rlipv2.structures.inference import InferenceSettings
from rlipv2.structures.label_space import LabelSpace
from rlipv2.structures.outputs import DenseOutput, DetectionOutput, RelationOutput, TextFeatures
from rlipv2.structures.predictions import BoxPredictions, PairPredictions
from rlipv2.structures.triplets import Triplet, Triplets

__all__ = [
    "Annotation",
    "BoxPredictions",
    "DenseOutput",
    "DetectionBatch",
    "DetectionOutput",
    "DetectionTarget",
    "Entities",
    "ImageBatch",
    "InferenceSettings",
    "LabelSpace",
    "PairPredictions",
    "RelationBatch",
    "RelationOutput",
    "RelationRecords",
    "RelationTarget",
    "Sample",
    "TextFeatures",
    "Triplet",
    "Triplets",
]
