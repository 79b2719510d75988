"""What a report says about figures and errors."""

from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "correct": "The metric counts it as a true positive.",
    "duplicate": "It would be correct, had a better detection not found the same label.",
    "relation": "Both boxes and classes are those of a labelled pair, which is labelled with other relations only.",
    "class": "Both boxes and the relation are those of a labelled pair; the class of a box is wrong.",
    "pairing": "Both boxes are labelled boxes of their classes, but not labelled together.",
    "subject box": "Everything is that of a labelled triplet, but the box of the subject overlaps it by less than "
    "{threshold:g} (at least {near:g}).",
    "object box": "The same for the box of the object.",
    "both boxes": "The same for both boxes.",
    "several": "Both boxes are at least near those of a labelled pair (overlap {near:g}); more than one part is wrong.",
    "background": "Everything else: no labelled pair is near.",
    "missed": "Labels that no detection finds, or would find with one kind put right.",
    "false positives": "All wrong detections together.",
}
"""The kinds of `rlipv2.metrics.diagnosis`, for readers; the first that fits counts."""

PREFIXES: Mapping[str, str] = {
    "rlipv2": "rules of the official RLIPv2 evaluator",
    "matlab": "rules of the MATLAB code of HICO-DET",
    "pysgg": "rules of PySGG, as in the literature; not comparable with those of RLIPv2",
    "in_training": "what the official code prints while it trains; not the published figure",
}
"""Parts before the slash in names of figures."""

PROTOCOLS: Mapping[str, str] = {
    "HICODetMAP": "HICO-DET; figures without prefix follow the {protocol} rules",
    "VCOCORoleAP": "V-COCO; role_ap_1 and role_ap_2 are the published AP_role of both scenarios",
    "OpenImagesSGG": "Open Images; rlipv2/score_wtd is the figure that RLIPv2 publishes",
    "TripletMAP": "average precision of triplets and relations, area under the envelope; not a benchmark's",
    "COCODetectionAP": "COCO average precision of boxes",
    "TaggingAccuracy": "relations of given pairs; not an official figure",
}
"""What the figures of each metric are."""
