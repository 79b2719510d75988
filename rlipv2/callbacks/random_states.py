"""Random generators of all processes, kept in checkpoints."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn


class RandomState(pl.Callback):
    """Keeps the state of all random generators, of every process, in checkpoints and restores it.

    Together with the resumable loader this makes a resumed run equal to one that was never stopped.
    """

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gives every process its own stream of random numbers, seed + rank as officially.

        All processes have built the same weights before, from the same seed.
        """
        if trainer.global_rank > 0:
            seed = torch.initial_seed() + trainer.global_rank
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Collects the states of all processes."""
        states: list[Any] = [random_state()]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, random_state())
        checkpoint["random_states"] = states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remembers the states until training starts."""
        self._states = checkpoint.get("random_states")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restores the state of this process right before its first step."""
        states, self._states = self._states, None
        if states is None:
            return
        if len(states) != trainer.world_size:
            rank_zero_warn(
                f"the checkpoint was written by {len(states)} processes, now there are {trainer.world_size}: random "
                "states are not restored, the run continues with other dropout masks"
            )
            return
        set_random_state(states[trainer.global_rank])


def random_state() -> dict[str, Any]:
    """The states of Python, NumPy, torch and this process' GPU, as tensors and plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state = {
        "python": list(random.getstate()[1]),
        "numpy": [str(kind), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restores what `random_state` gave."""
    random.setstate((3, tuple(state["python"]), None))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
