"""What happens beside training: batch-size bookkeeping, random states, files written at the end."""

from rlipv2.callbacks.averaging import AveragedWeights
from rlipv2.callbacks.batch_size import EffectiveBatchSize
from rlipv2.callbacks.checkpoints import AtomicCheckpointIO, BestCheckpoint, LoggerIds, WeightFolder
from rlipv2.callbacks.metrics_file import Baseline, MetricsFile, evaluate, write_json
from rlipv2.callbacks.prediction_sheet import PredictionSheet, distinct_triplets, possible_pairs
from rlipv2.callbacks.random_states import RandomState, random_state, set_random_state
from rlipv2.callbacks.unit_writer import UnitWriter

__all__ = [
    "AtomicCheckpointIO",
    "AveragedWeights",
    "Baseline",
    "BestCheckpoint",
    "EffectiveBatchSize",
    "LoggerIds",
    "MetricsFile",
    "PredictionSheet",
    "RandomState",
    "UnitWriter",
    "WeightFolder",
    "distinct_triplets",
    "evaluate",
    "possible_pairs",
    "random_state",
    "set_random_state",
    "write_json",
]
