"""Which images are drawn, where to, and what W&B is told about them."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from rlipv2.callbacks import Pictures
from rlipv2.callbacks.random_states import random_state
from rlipv2.callbacks.shown import _sound
from rlipv2.callbacks.wandb_media import picture_rows, plain, sentences
from rlipv2.structures import (
    Annotation,
    BoxPredictions,
    ImageBatch,
    LabelSpace,
    PairPredictions,
    Sample,
    Triplets,
)

SPACE = LabelSpace(objects=("person", "dog", "missing objects"), relations=("hold", "walk"))
SIZE = (60, 80)


def annotation(number, relations=((0, 1, 0),)):
    return Annotation(
        image_id=number,
        file_name=f"folder/a picture {number}.jpg",
        boxes_xyxy=torch.tensor([[5.0, 5, 30, 55], [40, 20, 75, 50]]),
        labels=torch.tensor([0, 1]),
        relations=torch.tensor(relations, dtype=torch.int64).reshape(-1, 3),
    )


def pairs(score=0.75):
    """Two pairs: the labelled one, and one that reaches over the edge."""
    return PairPredictions(
        subject_boxes=torch.tensor([[5.0, 5, 30, 55], [-20, -20, 300, 300]]),
        object_boxes=torch.tensor([[40.0, 20, 75, 50], [0, 0, 10, 10]]),
        subject_labels=torch.tensor([0, 0]),
        object_labels=torch.tensor([1, 2]),
        relation_scores=torch.tensor([[score, 0.25], [0.5, 0.125]]),
    )


def batch(*annotations, first=0):
    count = len(annotations)
    return ImageBatch(
        images=torch.zeros(count, 3, *SIZE, dtype=torch.uint8),
        padding_mask=torch.zeros(count, *SIZE, dtype=torch.bool),
        label_space=SPACE,
        targets=[],
        annotations=list(annotations),
        original_sizes=torch.tensor([SIZE] * count),
        indices=torch.arange(first, first + count),
    )


class Images:
    """A dataset without files."""

    def __getitem__(self, index):
        image = torch.full((3, *SIZE), 40 * (index % 5), dtype=torch.uint8)
        return Sample(image, annotation(index), SPACE, SIZE)


def trainer(**options):
    data = SimpleNamespace(datasets={"val": Images(), "test": Images()}, metric_arguments=dict)
    values = {"is_global_zero": True, "sanity_checking": False, "current_epoch": 3, "max_epochs": 20, "global_step": 12}
    values |= {"loggers": [], "callbacks": [], "callback_metrics": {}}
    return SimpleNamespace(datamodule=data, **(values | options))


def validated(callback, it, *batches, predictions=pairs):
    callback.on_validation_start(it, None)
    for number, each in enumerate(batches):
        outputs = {"predictions": [predictions() for _ in each.annotations]}
        callback.on_validation_batch_end(it, None, outputs, each, number)
    callback.on_validation_end(it, None)


def test_images_with_labels_are_drawn_up_to_a_number(tmp_path):
    callback = Pictures(tmp_path, num_images=3)
    none = annotation(1, relations=())
    first = batch(annotation(0), none, annotation(2))
    validated(callback, trainer(), first, batch(*map(annotation, (3, 4, 5)), first=3))
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        f"{number:06d}_a_picture_{number}.png" for number in (0, 2, 3)
    ]
    with Image.open(tmp_path / "epoch_003" / "000002_a_picture_2.png") as picture:
        assert picture.width > picture.height > 100


def test_the_same_predictions_give_the_same_picture_and_leave_random_states_alone(tmp_path):
    before = random_state()
    files = []
    for name in "ab":
        validated(Pictures(tmp_path / name), trainer(), batch(annotation(0)))
        files.append((tmp_path / name / "epoch_003" / "000000_a_picture_0.png").read_bytes())
    assert files[0] == files[1]
    after = random_state()
    assert torch.equal(before.pop("torch"), after.pop("torch"))
    assert before == after


@pytest.mark.parametrize(
    "options", [{"sanity_checking": True}, {"is_global_zero": False}, {"current_epoch": 4}, {"current_epoch": 5}]
)
def test_nothing_is_drawn_in_sanity_checks_on_other_processes_and_between_epochs(tmp_path, options):
    validated(Pictures(tmp_path, every_n_epochs=3), trainer(**options), batch(annotation(0)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("epoch", "drawn"), [(0, True), (1, False), (3, True), (19, True)])
def test_the_last_epoch_is_always_drawn(tmp_path, epoch, drawn):
    validated(Pictures(tmp_path, every_n_epochs=3), trainer(current_epoch=epoch), batch(annotation(0)))
    assert (tmp_path / f"epoch_{epoch:03d}").is_dir() == drawn


def test_a_test_has_its_own_folder_and_a_sheet(tmp_path):
    callback, it = Pictures(tmp_path / "pictures", sheet=tmp_path / "sheet.png"), trainer()
    it.callback_metrics = {"test/map_full": torch.tensor(0.5)}
    callback.on_test_start(it, None)
    callback.on_test_batch_end(it, None, {"predictions": [pairs()]}, batch(annotation(7)), 0)
    callback.on_test_end(it, None)
    assert [path.name for path in (tmp_path / "pictures" / "test").iterdir()] == ["000000_a_picture_7.png"]
    assert Image.open(tmp_path / "sheet.png").size[0] > 400


def boxes(score=0.5):
    corners = torch.tensor([[5.0, 5, 30, 55], [0, 0, 9, 9]])
    return BoxPredictions(corners, torch.tensor([0, 1]), torch.tensor([score, 0.1]))


def test_detected_boxes_are_drawn_too(tmp_path):
    callback = Pictures(tmp_path)
    validated(callback, trainer(), batch(annotation(0, relations=())), predictions=boxes)
    assert len(list(tmp_path.rglob("*.png"))) == 1


@pytest.mark.parametrize("predictions", [pairs, boxes])
def test_scores_that_are_no_number_do_not_stop_training(tmp_path, predictions):
    validated(Pictures(tmp_path), trainer(), batch(annotation(0)), predictions=lambda: predictions(float("nan")))
    assert len(list(tmp_path.rglob("*.png"))) == 1


@pytest.mark.parametrize("option", ["num_images", "top", "every_n_epochs"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(ValueError, match=f"{option}=0.*callbacks.pictures=null"):
        Pictures(None, **{option: 0})


def images(predictions=pairs, **options):
    """What is shown of one image."""
    callback, it = Pictures(None, **options), trainer()
    callback._keep(it, {"predictions": [predictions()]}, batch(annotation(0, relations=((0, 1, 0), (0, -1, 1)))))
    return callback._draw(it, "val", "epoch_003")


def test_overlays_have_classes_scores_and_relations():
    rows = picture_rows(images(), "val", epoch=3)
    (picture,) = rows["val/pictures"]
    layers = {layer: box._val for layer, box in picture._boxes.items()}
    assert layers.keys() == {"predictions", "ground_truth"}
    predicted = {box["box_caption"]: box for box in layers["predictions"]}
    assert predicted.keys() == {"1 person", "1 hold, walk dog", "2 person: hold, walk"}  # what is missing has no box
    assert predicted["1 hold, walk dog"]["class_id"] == 1
    assert predicted["1 person"]["scores"] == {"score": 0.75}
    assert predicted["1 person"]["position"] == {"minX": 5 / 80, "maxX": 30 / 80, "minY": 5 / 60, "maxY": 55 / 60}
    assert predicted["2 person: hold, walk"]["position"] == {"minX": 0.0, "maxX": 1.0, "minY": 0.0, "maxY": 1.0}
    assert [box["box_caption"] for box in layers["ground_truth"]] == ["1 person", "1 hold dog", "2 person: walk"]


def test_the_table_has_a_row_per_image_with_what_was_found():
    table = picture_rows(images(), "val", epoch=3)["val/examples"]
    ((epoch, name, _, predicted, labelled, found, labels),) = table.data
    assert (epoch, name, found, labels) == (3, "folder/a picture 0.jpg", 1, 2)
    assert predicted.split("\n")[0] == "person hold dog 0.75"
    assert labelled == "person hold dog\nperson walk"


def test_classes_of_single_boxes_are_those_of_the_objects():
    (shown,) = images(boxes)
    assert sentences(shown.labelled, show_scores=False) == ["box person", "box dog"]
    (picture,) = picture_rows([shown], "val", epoch=0)["val/pictures"]
    assert [box["class_id"] for box in picture._boxes["predictions"]._val] == [0, 1]
    assert [box["box_caption"] for box in picture._boxes["predictions"]._val] == ["person", "dog"]


def test_images_with_different_names_share_one_numbering():
    (one,) = images()
    other = LabelSpace(objects=("cat", "person", "dog", "missing objects"), relations=SPACE.relations)
    predicted, labelled = (dataclasses.replace(part, label_space=other) for part in (one.predicted, one.labelled))
    two = dataclasses.replace(one, predicted=predicted, labelled=labelled)
    first, second = picture_rows([one, two], "val", epoch=0)["val/pictures"]
    names = [picture._boxes["predictions"]._class_labels for picture in (first, second)]
    assert names[0] == names[1] == {0: "person", 1: "dog", 2: "missing objects", 3: "cat"}
    assert second._boxes["predictions"]._val[0]["class_id"] == 3


@pytest.mark.parametrize(("value", "expected"), [(np.float32("nan"), None), (np.int64(3), 3), ("a", "a"), (0.5, 0.5)])
def test_values_of_tables_are_plain(value, expected):
    assert plain(value) == expected


def test_an_image_without_predictions_is_no_trouble():
    nothing = torch.zeros(0, 4)
    labels = torch.zeros(0, dtype=torch.long)
    space = LabelSpace(objects=("person", "dog"), relations=("hold",))
    triplets = Triplets(nothing, nothing, labels, labels, labels, torch.zeros(0), space)
    assert _sound(triplets).shape == (0,)
