"""V-COCO: the dataset, readers of its two annotation formats, check and conversion."""

from rlipv2.datasets.vcoco.dataset import VCOCO
from rlipv2.datasets.vcoco.evaluation import metric_arguments, read_metric_arguments

__all__ = ["VCOCO", "metric_arguments", "read_metric_arguments"]
