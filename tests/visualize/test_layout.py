import pytest

from rlipv2.structures import LabelSpace
from rlipv2.visualize.canvas import Text
from rlipv2.visualize.labels import label_size
from rlipv2.visualize.layout import layout_of, text_size, visible_part
from rlipv2.visualize.legend import legend_lines, legend_of
from rlipv2.visualize.scene import scene_of
from tests.visualize.scenes import NONE, A, B, check_complete, check_labels, joined, random_triplets, triplets

LONG = LabelSpace(
    objects=("pneumonoultramicroscopicsilicovolcanoconiosis" * 2, "traffic light", "шлем"),
    relations=("stand in the middle of a large crowd next to", "an", "floccinaucinihilipilification" * 4),
)


def layout(found, frame):
    return layout_of(scene_of(found), frame)


@pytest.mark.parametrize(
    "frame", [(420, 420), (64, 64), (1000, 700), (400, 1200), (3000, 200), (8000, 6000), (30, 900)]
)
@pytest.mark.parametrize(("count", "things"), [(0, 1), (1, 2), (8, 4), (30, 12), (30, 60)])
def test_labels_are_apart_and_nothing_is_lost(frame, count, things):
    made = layout(random_triplets(count, frame, things=things), frame)
    check_labels(made.labels, frame)
    check_complete(made, count)


@pytest.mark.parametrize("frame", [(420, 420), (100, 100), (1600, 300)])
def test_long_words_are_broken_or_listed(frame):
    made = layout(random_triplets(9, frame, things=4, names=LONG), frame)
    check_labels(made.labels, frame)
    check_complete(made, 9)
    for label in made.labels:
        width, height = label_size([text for text, _ in label.lines], label.size, bold=label.filled)
        assert width <= label.place[2] - label.place[0] + 0.01
        assert height <= label.place[3] - label.place[1] + 0.01


def test_all_labels_find_a_place_in_a_usual_picture():
    made = layout(random_triplets(20, (1000, 750), things=9), (1000, 750))
    assert not made.lost


def test_words_that_look_like_keys_are_words():
    space = LabelSpace(objects=("00", "1"), relations=("A",))
    made = layout(triplets([(A, B, 0)], space=space), (640, 480))
    assert [label.lines[0][0] for label in made.labels] == ["00", "1", "A 0.50"]
    assert not made.lost


def test_same_triplets_give_the_same_layout():
    first, second = (layout(random_triplets(25, (640, 480), things=8), (640, 480)) for _ in range(2))
    assert first == second


def test_text_and_lines_grow_with_the_picture():
    sizes = [text_size(frame) for frame in [(64, 64), (640, 480), (1280, 960), (8000, 6000)]]
    assert sizes[0] == 10
    assert sizes[2] == 2 * sizes[1]
    assert sizes[3] == pytest.approx(8000 / 640 * sizes[1], rel=0.05)
    assert text_size((8000, 200)) <= 200 / 10


def test_a_thing_is_drawn_once_and_keeps_its_colour():
    found = triplets([(A, B, 0), ((11, 11, 51, 101), B, 1), (A, (5, 5, 20, 20), 2)])
    scene = scene_of(found)
    assert [entity.name for entity in scene.entities] == ["person", "horse 1", "horse 2"]
    assert len({entity.colour for entity in scene.entities}) == 3
    assert [(link.subject, link.target) for link in scene.links] == [(0, 1), (0, 2)]
    assert [relation.word for relation in scene.links[0].relations] == ["ride", "hold"]


def test_relations_of_one_pair_share_a_label():
    found = triplets([(A, B, 0), (A, B, 1), (A, B, 0)], [0.9, 0.8, 0.7])
    (label,) = layout(found, (640, 480)).words
    assert [text for text, _ in label.lines] == ["ride 0.90", "hold 0.80"]


def test_many_relations_of_one_pair_are_counted_and_listed():
    space = LabelSpace(objects=("person", "horse"), relations=tuple(f"relation {k}" for k in range(9)))
    made = layout(triplets([(A, B, k) for k in range(9)], space=space), (640, 480))
    assert made.words[0].lines[-1][0] == "+ 5 more"
    assert len(legend_lines(made)) == 9
    check_complete(made, 9)


def test_marks_and_scores_are_in_the_labels():
    scene = scene_of(triplets([(A, B, 0), (A, B, 1)]), marks=[True, False])
    (label,) = layout_of(scene, (640, 480), show_scores=False).words
    assert [text for text, _ in label.lines] == ["✓ ride", "✗ hold"]
    assert len({colour for _, colour in label.lines}) == 2
    with pytest.raises(ValueError, match="one mark per triplet"):
        scene_of(triplets([(A, B, 0)]), marks=[])


def test_relation_without_object_stands_at_the_name_of_its_subject():
    made = layout(triplets([(A, NONE, 2)]), (640, 480))
    (name,), (word,) = made.names, made.words
    assert len(made.scene.entities) == 1
    assert made.curves == (None,)
    assert word.place[1] - name.place[3] < made.size
    assert word.anchor is None


@pytest.mark.parametrize("box", [(-50, -50, 900, 900), (700, 500, 900, 600), (50, 50, 50, 50), (-9, -9, -5, -5)])
def test_boxes_are_drawn_inside_of_the_frame_and_large_enough(box):
    x1, y1, x2, y2 = visible_part(box, (640, 480), 2.0)
    assert 0 <= x1 <= x2 - 5.9
    assert 0 <= y1 <= y2 - 5.9
    assert x2 <= 640
    assert y2 <= 480


@pytest.mark.parametrize(
    "pairs",
    [[(A, A)], [(A, B), (B, A)], [(A, B)] * 2 + [(B, A)], [((0, 0, 640, 480), A)], [((5, 5, 5, 5), (6, 6, 6, 6))]],
)
def test_arrows_stay_in_the_picture_and_off_each_other(pairs):
    found = [triplets([(subject, target, 0)], subject=k % 2, target=2) for k, (subject, target) in enumerate(pairs)]
    curves = [path for path in layout(joined(found), (640, 480)).curves if path is not None]
    middles = [path.at(0.5) for path in curves]
    assert len({(round(x / 4), round(y / 4)) for x, y in middles}) == len(middles)
    for path in curves:
        assert path.length > 5
        points = [path.at(k / 10) for k in range(11)]
        assert all(-1 <= x <= 641 and -1 <= y <= 481 for x, y in points)


@pytest.mark.parametrize(("frame", "beside"), [((320, 240), False), ((200, 400), True), ((1000, 60), False)])
def test_list_stands_beside_portraits_and_below_others(frame, beside):
    made = layout(random_triplets(45, frame), frame)
    lines = legend_lines(made)
    legend = legend_of(lines, frame, 11)
    assert legend.size[0] > frame[0] if beside else legend.size[1] > frame[1]
    texts = [item for item in legend.items if isinstance(item, Text)]
    assert len(texts) > len(lines)
    for item in texts:
        x, y = item.place
        assert x >= frame[0] if beside else y - 11 >= frame[1]
        assert x < legend.size[0]
        assert y < legend.size[1]


def test_long_lists_end_with_a_count():
    made = layout(random_triplets(160, (120, 120)), (120, 120))
    lines = legend_lines(made)
    assert len(lines) == 121
    assert lines[-1].words[0].text.endswith("more triplets")
