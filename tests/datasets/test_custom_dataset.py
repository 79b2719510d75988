import pytest
import torch

from rlipv2.datasets import AnnotationError, CustomRelations, DatasetNotFoundError, ImageFileError
from rlipv2.structures import LabelSpace
from tests.fakes import custom_images, write_custom_data, write_image


@pytest.fixture
def root(tmp_path):
    return write_custom_data(tmp_path)


def test_a_sample_holds_image_boxes_and_relations(root):
    data = CustomRelations(root, "test")
    assert len(data) == 3
    sample = data[1]
    assert sample.image.shape == (3, 48, 64)
    assert sample.label_space == LabelSpace(("bicycle", "person"), ("next to", "riding"))
    assert sample.annotation.file_name == "test/1.png"
    assert sample.annotation.labels.tolist() == [1, 0, 1]
    assert sample.annotation.relations.tolist() == [[0, 1, 1], [0, 2, 0], [0, 1, 0]]
    torch.testing.assert_close(sample.annotation.boxes_xyxy[1], torch.tensor([10.5, 20, 40, 47.5]))


def test_training_clamps_boxes_and_drops_those_outside(tmp_path):
    images = custom_images("train", 1)
    images[0]["objects"][0]["box"] = [-5, -5, 70, 60]
    images[0]["objects"][1]["box"] = [70, 50, 80, 60]
    root = write_custom_data(tmp_path, splits={"train": images})
    trained, evaluated = CustomRelations(root, "train")[0], CustomRelations(root, "train", training=False)[0]
    assert trained.annotation.boxes_xyxy[0].tolist() == [0, 0, 64, 48]
    assert trained.annotation.relations.tolist() == [[0, 1, 0]]
    assert evaluated.annotation.boxes_xyxy[0].tolist() == [-5, -5, 70, 60]
    assert len(evaluated.annotation.relations) == 3


def test_first_boxes_can_be_all_that_count_in_training(root):
    assert CustomRelations(root, "train", max_boxes=2).records.relations.tolist() == [[0, 1, 1], [0, 1, 0]] * 5
    assert len(CustomRelations(root, "test", max_boxes=2).records.boxes) == 9


def test_a_label_space_can_be_given(root):
    space = LabelSpace(("person", "cat", "bicycle"), ("riding", "next to"))
    sample = CustomRelations(root, "val", label_space=space)[0]
    assert sample.annotation.labels.tolist() == [0, 2, 0]
    with pytest.raises(AnnotationError, match="name='bicycle': not among the 1 objects"):
        CustomRelations(root, "val", label_space=LabelSpace(("person",), ("riding", "next to")))


def test_the_smallest_label_space_works(tmp_path):
    image = {
        "file_name": "a.png",
        "objects": [{"name": "ant", "box": [0, 0, 9, 9]}, {"name": "ant", "box": [9, 9, 20, 20]}],
        "relations": [{"subject": 0, "name": "meets", "object": 1}],
    }
    data = CustomRelations(write_custom_data(tmp_path, splits={"train": [image]}))
    assert data.label_space == LabelSpace(("ant",), ("meets",))
    assert data[0].annotation.relations.tolist() == [[0, 1, 0]]


def test_missing_images_are_counted_and_named(root):
    (root / "images/train/1.png").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"1 of 5 images are missing \(train/1.png\).*check custom"):
        CustomRelations(root)


def normalised(split):
    images = custom_images(split, 2)
    for entry in (entry for image in images for entry in image["objects"]):
        entry["box"] = [value / (48 if row % 2 else 64) for row, value in enumerate(entry["box"])]
    return images


def test_normalised_boxes_are_not_trained_on(tmp_path):
    splits = {"train": normalised("train"), "extra": normalised("extra")}
    root = write_custom_data(tmp_path, splits=splits)
    with pytest.raises(AnnotationError, match=r"train.json: all 6 boxes lie within 0 to 1.*pixels"):
        CustomRelations(root)
    assert len(CustomRelations(root, "extra", label_space="all")) == 2
    splits["train"][1]["objects"][0]["box"] = [0, 0, 2, 2]  # one in pixels: small boxes may be meant
    assert len(CustomRelations(write_custom_data(tmp_path, splits=splits))) == 2


def test_names_relative_to_the_wrong_folder_are_told(tmp_path):
    root = write_custom_data(tmp_path, splits={"train": custom_images("train", 2)})
    path = root / "annotations/train.json"
    path.write_text(path.read_text().replace("train/1.png", "images/train/1.png"))
    with pytest.raises(DatasetNotFoundError, match=r"file_name is relative to .*/images: write 'train/1.png'"):
        CustomRelations(root)
    (root / "images").rename(root / "pictures")
    path.write_text(path.read_text().replace("images/train/1.png", "pictures/train/1.png"))
    with pytest.raises(DatasetNotFoundError, match=r"below it, and move pictures/train/1.png there"):
        CustomRelations(root)


def test_a_missing_split_names_those_that_there_are(root):
    (root / "annotations/val.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"found the splits test, train; .*data.val=test"):
        CustomRelations(root, "val")
    with pytest.raises(DatasetNotFoundError, match="found the splits none"):
        CustomRelations(root / "nowhere", "val")


def test_another_size_than_told_is_an_error(root):
    write_image(root / "images/train/1.png", (24, 32))
    with pytest.raises(ImageFileError, match=r"train/1.png: it has 32 x 24 pixels, .*says 64 x 48"):
        CustomRelations(root)[1]
