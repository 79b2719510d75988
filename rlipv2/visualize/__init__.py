"""Pictures of triplets: on their image, as a graph, and as sheets of predictions beside labels.

Things are told apart by name and number as well as by colour (Okabe and Ito's palette, which colour-blind readers can
tell apart); labels keep clear of each other and inside of the picture, and what finds no place is listed beside it.
"""

from rlipv2.visualize.comparison import draw_comparison
from rlipv2.visualize.graph import draw_scene_graph, scene_graph_svg
from rlipv2.visualize.images import to_image
from rlipv2.visualize.matching import annotation_triplets, correct_triplets
from rlipv2.visualize.sheets import contact_sheet, image_grid
from rlipv2.visualize.triplets import draw_triplets

__all__ = [
    "annotation_triplets",
    "contact_sheet",
    "correct_triplets",
    "draw_comparison",
    "draw_scene_graph",
    "draw_triplets",
    "image_grid",
    "scene_graph_svg",
    "to_image",
]
