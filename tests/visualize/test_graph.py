import re
from xml.etree import ElementTree

import numpy as np
import pytest

from rlipv2.structures import LabelSpace
from rlipv2.visualize import draw_scene_graph, scene_graph_svg
from rlipv2.visualize.graph_layout import graph_layout
from rlipv2.visualize.scene import scene_of
from tests.visualize.scenes import NONE, A, B, check_complete, check_labels, random_triplets, triplets

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("frame", [(1000, 700), (400, 900), (200, 200)])
@pytest.mark.parametrize(("count", "things"), [(0, 1), (1, 2), (12, 6), (30, 12), (30, 60)])
def test_nodes_and_words_are_apart_and_nothing_is_lost(frame, count, things):
    layout = graph_layout(scene_of(random_triplets(count, things=things)), frame)
    check_labels(layout.labels, frame)
    check_complete(layout, count)


def test_a_usual_graph_is_shown_in_full_with_readable_text():
    layout = graph_layout(scene_of(random_triplets(12, things=7)), (1000, 700))
    assert not layout.lost
    assert layout.size >= 14


def test_arrows_lead_from_edge_to_edge_of_their_nodes():
    layout = graph_layout(scene_of(random_triplets(14, things=7)), (1000, 700))
    for link, path in zip(layout.scene.links, layout.curves, strict=True):
        for row, point in ((link.subject, path.start), (link.target, path.stop)):
            x1, y1, x2, y2 = layout.boxes[row]
            distance = np.hypot(max(x1 - point[0], 0, point[0] - x2), max(y1 - point[1], 0, point[1] - y2))
            assert distance <= 3 * layout.size


def test_there_and_back_are_two_arrows():
    found = random_triplets(2, things=2)
    layout = graph_layout(scene_of(found), (600, 400))
    assert len(layout.curves) == len(layout.scene.links)
    middles = {tuple(np.round(path.at(0.5), -1)) for path in layout.curves}
    assert len(middles) == len(layout.curves)


def test_linked_things_lie_nearer_than_others():
    boxes = [(x, 0, x + 10, 10) for x in range(0, 80, 20)]
    found = triplets([(boxes[0], boxes[1], 0), (boxes[2], boxes[3], 0)])
    (a, b, c, d) = [np.array(box[:2]) for box in graph_layout(scene_of(found), (800, 500)).boxes]
    linked, others = [(a, b), (c, d)], [(a, c), (a, d), (b, c), (b, d)]
    assert max(np.linalg.norm(p - q) for p, q in linked) < np.mean([np.linalg.norm(p - q) for p, q in others])


def test_picture_has_the_size_asked_for_and_is_deterministic():
    found = random_triplets(15, things=7)
    first, second = draw_scene_graph(found, size=(640, 420)), draw_scene_graph(found, size=(640, 420))
    assert first.size == (640, 420)
    assert first.tobytes() == second.tobytes()
    assert draw_scene_graph(triplets([])).getextrema() == ((255, 255),) * 3
    with pytest.raises(ValueError, match="at least 50 pixels"):
        draw_scene_graph(found, size=(640, 20))


def test_what_has_no_place_is_listed_below():
    assert draw_scene_graph(random_triplets(60, things=40), size=(200, 150)).height > 150


def test_svg_holds_all_words_escaped_and_loads_nothing():
    space = LabelSpace(
        objects=("<script>alert(1)</script>", "R&D 'lab' \"x\""), relations=("<b>ride</b>", "a & b", "c")
    )
    text = scene_graph_svg(triplets([(A, B, 0), (A, NONE, 1)], space=space), size=(900, 500))
    root = ElementTree.fromstring(text)
    words = " ".join(element.text for element in root.iter(f"{SVG}text"))
    assert "<b>ride</b> 0.50" in words
    assert "a & b 0.50" in words
    assert not list(root.iter(f"{SVG}script"))
    assert "<script" not in text
    assert re.findall(r"(?:href|src|url)\b", text) == []
    assert root.get("viewBox") == "0 0 900 500"


def test_svg_shows_what_the_picture_shows():
    found = random_triplets(10, things=5)
    layout = graph_layout(scene_of(found), (1000, 700))
    root = ElementTree.fromstring(scene_graph_svg(found))
    shown = sorted(element.text for element in root.iter(f"{SVG}text"))
    assert shown == sorted(text for label in layout.labels for text, _ in label.lines)
    numbers = [float(value) for path in root.iter(f"{SVG}path") for value in re.findall(r"-?\d+\.?\d*", path.get("d"))]
    assert min(numbers) >= 0
    assert max(numbers) <= 1000
