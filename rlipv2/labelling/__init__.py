"""The command `pseudo_label.py`: which stages run on which files, with which settings, in which processes.

What the stages do is in `rlipv2.pseudo_labels`, which knows neither Hydra nor Lightning.
"""

from rlipv2.labelling.processes import quieten
from rlipv2.labelling.run import STAGES, Run

__all__ = ["STAGES", "Run", "quieten"]
