"""The micro-world: a small relational data set made by a program, for first runs and tests of the whole chain.

Persons and eleven kinds of objects in random scenes; what they do with each other can be seen in the geometry only.
The writers store it in the real layouts of the published data sets, so the ordinary dataset classes read it.
"""

from rlipv2.microworld.coco import write_coco, write_objects365
from rlipv2.microworld.custom import write_custom
from rlipv2.microworld.hico import write_hico
from rlipv2.microworld.open_images import write_open_images
from rlipv2.microworld.scene_graphs import write_scene_graphs
from rlipv2.microworld.vcoco import write_vcoco

__all__ = [
    "write_coco",
    "write_custom",
    "write_hico",
    "write_objects365",
    "write_open_images",
    "write_scene_graphs",
    "write_vcoco",
]
