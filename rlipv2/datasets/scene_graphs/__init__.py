"""Scene graphs in the layout of Visual Genome: free-form names, human or pseudo-labelled."""

from rlipv2.datasets.scene_graphs.dataset import SceneGraphs
from rlipv2.datasets.scene_graphs.mixture import SceneGraphMixture
from rlipv2.datasets.scene_graphs.names import NameCounts

__all__ = ["NameCounts", "SceneGraphMixture", "SceneGraphs"]
