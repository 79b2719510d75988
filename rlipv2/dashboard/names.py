"""Names of what a run logs, shared by the callbacks that log and the dashboards that show it."""

from dataclasses import dataclass, field

STEPS, EPOCHS, IMAGES = "trainer/global_step", "epoch", "progress/images"
IMAGES_PER_SECOND, STEP_SECONDS, DATA_SECONDS = (
    "speed/images_per_second",
    "speed/step_seconds",
    "speed/data_seconds",
)
PROCESS_MEMORY, GPU_PEAK, GPU_RESERVED = "memory/process_gib", "memory/gpu_peak_gib", "memory/gpu_reserved_gib"
LEARNING_RATES = "lr/base", "lr/backbone", "lr/text_encoder"

PICTURES, EXAMPLES = "{stage}/pictures", "{stage}/examples"
"""Box overlays and the table of images, of a stage: `val` or `test`."""

PER_TRIPLET, PER_RELATION, ERRORS = "test/per_triplet", "test/per_relation", "test/errors"


@dataclass(frozen=True)
class Chart:
    """A chart that W&B draws from a table which is logged along.

    Attributes:
        key: what it is logged as; its table is `<key>_table`.
        preset: W&B's drawing.
        fields: column of the table for each part of the drawing.
        title: above it.
        strings: further texts of the drawing.
    """

    key: str
    preset: str
    fields: dict[str, str]
    title: str
    strings: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return list(self.fields.values())


AP_BY_GROUP = Chart(
    "test/ap_by_group", "wandb/bar/v0", {"label": "group", "value": "AP"}, "Mean AP: all, rare, non-rare triplets"
)
AP_GAINED = Chart(
    "test/ap_gained", "wandb/bar/v0", {"label": "kind", "value": "AP"}, "AP gained without each kind of error"
)
PRECISION_RECALL = Chart(
    "test/precision_recall",
    "wandb/lineseries/v0",
    {"step": "recall", "lineKey": "relation", "lineVal": "precision"},
    "Precision over recall",
    {"xname": "recall"},
)
CONFUSION = Chart(
    "test/relation_confusion",
    "wandb/confusion_matrix/v1",
    {"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
    "Relations: labelled and predicted",
)
CHARTS = AP_BY_GROUP, AP_GAINED, PRECISION_RECALL, CONFUSION
TABLES = PER_TRIPLET, PER_RELATION, ERRORS
