"""What happens beside training: batch-size bookkeeping, random states, curves, pictures, files written at the end."""

from rlipv2.callbacks.averaging import AveragedWeights
from rlipv2.callbacks.batch_size import EffectiveBatchSize
from rlipv2.callbacks.checkpoints import AtomicCheckpointIO, BestCheckpoint, LoggerIds, WeightFolder
from rlipv2.callbacks.evaluation_report import EvaluationReport
from rlipv2.callbacks.learning_rates import LearningRates
from rlipv2.callbacks.metrics_file import Baseline, MetricsFile, evaluate, write_json
from rlipv2.callbacks.model_artifact import ModelArtifact
from rlipv2.callbacks.pictures import Pictures
from rlipv2.callbacks.random_states import RandomState, random_state, set_random_state
from rlipv2.callbacks.shown import Kept, Shown, possible_pairs
from rlipv2.callbacks.speed import SpeedMonitor
from rlipv2.callbacks.unit_writer import UnitWriter
from rlipv2.callbacks.wandb_diagnosis import WandbDiagnosis
from rlipv2.callbacks.wandb_logger import WandbLogger, wandb_loggers

__all__ = [
    "AtomicCheckpointIO",
    "AveragedWeights",
    "Baseline",
    "BestCheckpoint",
    "EffectiveBatchSize",
    "EvaluationReport",
    "Kept",
    "LearningRates",
    "LoggerIds",
    "MetricsFile",
    "ModelArtifact",
    "Pictures",
    "RandomState",
    "Shown",
    "SpeedMonitor",
    "UnitWriter",
    "WandbDiagnosis",
    "WandbLogger",
    "WeightFolder",
    "evaluate",
    "possible_pairs",
    "random_state",
    "set_random_state",
    "wandb_loggers",
    "write_json",
]
