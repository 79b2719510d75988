"""`RelationPredictor`: the predictions of the evaluation, for any picture and any words."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from rlipv2 import LabelSpace, RelationPredictor, Triplets
from rlipv2.checkpoints import build_detector, save_partial_weights
from rlipv2.predict.images import ImageError
from rlipv2.predict.predictor import RANKED
from rlipv2.structures import InferenceSettings
from tests.models import tiny

SETTINGS = InferenceSettings(short_side=80, max_size=120)  # coarsest maps of more than one cell, as group norms need
OTHER = LabelSpace(objects=["person", "horse"], relations=["ride", "feed"])


def network(**changes):
    torch.manual_seed(0)
    detector = build_detector(tiny.CONFIG)
    detector.label_space = tiny.LABELS
    detector.inference = InferenceSettings(**(vars(SETTINGS) | changes))
    return detector


@pytest.fixture(scope="module")
def predictor():
    return RelationPredictor(network())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny"
    network().save_pretrained(path)
    return path


def pictures(*sizes):
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def same(first, second, tolerance=1e-5):
    assert first.label_space == second.label_space
    assert first.image_size == second.image_size
    for name in ("subject_labels", "relation_labels", "object_labels"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    for name in ("scores", "subject_boxes", "object_boxes"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), atol=tolerance, rtol=tolerance)


def test_a_folder_gives_triplets_of_a_file_in_its_own_pixels(folder, tmp_path):
    (picture,) = pictures((120, 150))
    Image.fromarray(picture).save(tmp_path / "a.png")
    predictor = RelationPredictor.from_pretrained(folder, device="cpu")
    assert predictor.settings == SETTINGS
    found = predictor(tmp_path / "a.png")
    assert isinstance(found, Triplets)
    assert found.image_size == (120, 150)
    assert found.label_space == predictor.label_space == tiny.LABELS
    assert 0 < len(found) <= 100
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    same(found, predictor(picture))
    same(found, predictor(Image.fromarray(picture)))
    same(found, predictor(torch.from_numpy(picture).permute(2, 0, 1)))


def test_a_list_gives_a_list_in_its_order_whatever_the_sizes(predictor):
    images = pictures((60, 80), (80, 60), (60, 80), (90, 90), (120, 160), (60, 80))
    together = predictor(images, batch_size=2)
    assert isinstance(together, list)
    assert [found.image_size for found in together] == [image.shape[:2] for image in images]
    for image, found in zip(images, together, strict=True):
        same(found, predictor(image))
    assert predictor([]) == []
    assert len(predictor((images[0],))) == 1


def test_long_lists_are_read_window_by_window(predictor, monkeypatch):
    monkeypatch.setattr("rlipv2.predict.predictor.WINDOW", 1)
    images = pictures(*[(60, 80), (80, 60)] * 3)
    for image, found in zip(images, predictor(images, batch_size=4), strict=True):
        same(found, predictor(image))


def test_any_words_are_asked_for(predictor):
    (image,) = pictures((60, 80))
    found = predictor(image, OTHER)
    assert found.label_space == OTHER
    assert {triplet.relation for triplet in found} <= {"ride", "feed"}
    assert {triplet.subject for triplet in found} == {"person"}


def test_the_name_of_a_dataset_stands_for_its_words(predictor):
    (image,) = pictures((60, 80))
    found = predictor(image, "hico")
    assert (len(found.label_space.objects), len(found.label_space.relations)) == (80, 117)
    assert len(predictor(image, "vcoco").label_space.relations) == 29


def test_only_combinations_of_the_dataset_are_found(predictor):
    from rlipv2.vocabularies import load

    (image,) = pictures((60, 80))
    known = {tuple(row) for row in load("hico").hois.tolist()}

    def combinations(found):
        return set(zip(found.relation_labels.tolist(), found.object_labels.tolist(), strict=True))

    assert combinations(predictor(image, "hico")) <= known
    assert not combinations(predictor(image, "hico", only_possible=False)) <= known


def test_only_combinations_that_the_weights_were_evaluated_with_are_found():
    predictor = RelationPredictor(network(possible=(("hold", "kite"), ("ride", "dog"))))
    (image,) = pictures((60, 80))
    found = {(triplet.relation, triplet.object) for triplet in predictor(image)}
    assert found <= {("hold", "kite"), ("ride", "dog")}
    assert len(predictor(image, LabelSpace(tiny.LABELS.objects, ["hold"]))) > 0  # other words: nothing is known


def test_the_subject_is_found_by_its_name_wherever_it_stands(predictor):
    (image,) = pictures((60, 80))
    found = predictor(image, LabelSpace(["dog", "person"], ["walk"]))
    assert {triplet.subject for triplet in found} == {"person"}
    with pytest.raises(ValueError, match=r"'person' as the only subject .* add it to the objects"):
        predictor(image, LabelSpace(["dog", "kite"], ["walk"]))


def test_scene_graphs_name_their_subjects(folder):
    predictor = RelationPredictor.from_pretrained(folder, mode="scene_graph", device="cpu")
    (image,) = pictures((60, 80))
    assert {triplet.subject for triplet in predictor(image, LabelSpace(["dog", "kite"], ["walk"]))} <= {"dog", "kite"}


def test_the_subject_filter_is_applied():
    (image,) = pictures((60, 80))
    everything = RelationPredictor(network())(image, nms=None)
    persons = RelationPredictor(network(subject_filter=True))(image, nms=None)
    assert len(persons) < len(everything)


def test_repetitions_and_low_scores_go(predictor):
    (image,) = pictures((60, 80))
    every, distinct = predictor(image, nms=None), predictor(image)
    assert len(every) == 5 * 4  # pairs x relations
    same(distinct, every.distinct(0.7))
    assert len(predictor(image, nms=0.0)) <= len(distinct)
    limit = float(every.scores[3])
    assert len(predictor(image, nms=None, min_score=limit)) == 4
    assert len(predictor(image, top=3)) == 3
    same(predictor(image, top=3), distinct.top(3))
    assert RANKED == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "top=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"min_score": -1}, "min_score=-1"),
        ({"min_score": float("nan")}, "min_score=nan"),
        ({"nms": 2.0}, "nms=2.0"),
        ({"label_space": "hicoo"}, "unknown label space 'hicoo'; use one of hico, vcoco, open_images"),
        ({"label_space": "coco"}, r"'coco' has objects but no relations"),
        ({"label_space": LabelSpace([], ["ride"])}, "list of objects is empty"),
        ({"label_space": LabelSpace(["person"], [])}, "list of relations is empty"),
    ],
)
def test_arguments_without_sense_are_refused(predictor, options, message):
    with pytest.raises(ValueError, match=message):
        predictor(pictures((60, 80))[0], **options)


def test_doubled_words_are_refused():
    with pytest.raises(ValueError, match=r"relations holds \['ride'\] more than once"):
        LabelSpace(["person"], ["ride", "ride"])


def test_something_else_than_words_or_images_is_refused(predictor):
    with pytest.raises(TypeError, match="expected a LabelSpace, a name or None, got list"):
        predictor(pictures((60, 80))[0], ["ride"])
    with pytest.raises(TypeError, match="not int"):
        predictor(3)


def test_weights_without_words_ask_for_some():
    detector = network(mode="scene_graph")
    detector.label_space = None
    with pytest.raises(ValueError, match="bring no words"):
        RelationPredictor(detector)(pictures((60, 80))[0])


def test_a_bad_image_of_a_list_is_named(predictor, tmp_path):
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        predictor([*pictures((60, 80)), tmp_path / "gone.png"])


def test_a_stripe_is_refused_and_a_single_pixel_is_not(predictor):
    with pytest.raises(ImageError, match="2000 x 10 pixels, scaled to 200 x 1: too narrow"):
        predictor(np.zeros((10, 2000, 3), np.uint8))
    assert predictor(np.zeros((1, 1, 3), np.uint8)).image_size == (1, 1)
    assert predictor(np.zeros((8, 90, 3), np.uint8)).image_size == (8, 90)


def test_words_are_encoded_once_and_the_oldest_lists_are_forgotten(monkeypatch):
    detector = network()
    predictor = RelationPredictor(detector, cached_word_lists=2)
    encode, asked = detector.text_encoder.encode, []
    monkeypatch.setattr(detector.text_encoder, "encode", lambda texts: (asked.append(texts), encode(texts))[1])
    (image,) = pictures((60, 80))
    third = LabelSpace(["person"], ["ride"])
    for space in (None, OTHER, None, OTHER, third, OTHER, None):
        predictor(image, space)
    assert [len(texts) for texts in asked] == [8, 5, 3, 8]  # the first list was forgotten for the third
    assert len(predictor._texts) == 2


def test_words_that_small_weights_do_not_know_are_warned_of_once(caplog):
    predictor = RelationPredictor(network())
    (image,) = pictures((60, 80))
    with caplog.at_level(logging.WARNING):
        predictor(image)
        assert caplog.records == []
        for _ in range(2):
            predictor(image, LabelSpace(["person", "horse"], ["ride", "feed"]))
        predictor(image, LabelSpace(["person", "horse"], ["ride"]))
    assert len(caplog.records) == 1
    assert "for 'feed', 'horse' means little" in caplog.text
    assert "They know: 'dog', 'hold', 'kite'" in caplog.text


def test_four_threads_with_words_of_their_own_find_what_one_does():
    spaces = [None, OTHER, LabelSpace(["person", "dog"], ["walk", "hold"]), LabelSpace(["person"], ["chase"])]
    images = pictures((60, 80), (80, 60), (64, 64))
    jobs = [(image, space) for image in images for space in spaces] * 2
    alone = RelationPredictor(network(), cached_word_lists=2)
    expected = [alone(image, space) for image, space in jobs]
    shared = RelationPredictor(network(), cached_word_lists=2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: shared(*job), jobs))
    for first, second in zip(found, expected, strict=True):
        same(first, second)


def test_mixed_precision_finds_nearly_the_same():
    (image,) = pictures((60, 80))
    half = RelationPredictor(network(), precision="bfloat16")(image, nms=None)
    full = RelationPredictor(network())(image, nms=None)
    assert half.scores.dtype == torch.float32
    assert not torch.equal(half.scores, full.scores)
    torch.testing.assert_close(half.scores, full.scores, atol=0.05, rtol=0)


@pytest.mark.slow
def test_the_compiled_network_finds_the_same_in_images_of_several_sizes():
    images = pictures((60, 80), (80, 60), (64, 64), (90, 60))
    plain, compiled = RelationPredictor(network()), RelationPredictor(network(), compile=True)
    for first, second in zip(compiled(images), plain(images), strict=True):
        same(first, second, tolerance=1e-4)
    with ThreadPoolExecutor(2) as pool:
        for first, second in zip(pool.map(compiled, images), plain(images), strict=True):
            same(first, second, tolerance=1e-4)


@pytest.mark.gpu
def test_the_gpu_finds_what_the_cpu_does():
    images = pictures((60, 80), (80, 60))
    gpu, cpu = RelationPredictor(network(), device="cuda"), RelationPredictor(network(), device="cpu")
    assert gpu.device.type == "cuda"
    for first, second in zip(gpu(images), cpu(images), strict=True):
        torch.testing.assert_close(first.scores, second.scores, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda:99"}, r"device='cuda:99': this machine shows \d+ CUDA devices"),
        ({"device": "gpu"}, "device='gpu': expected auto, cpu, cuda"),
        ({"precision": "float16"}, "precision='float16'"),
        ({"cached_word_lists": 0}, "cached_word_lists=0"),
        ({"short_side": 0}, "short_side=0"),
        ({"mode": "sgg"}, "mode='sgg'"),
    ],
)
def test_options_without_sense_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        RelationPredictor.from_pretrained(folder, **options)


def test_options_replace_the_settings_of_the_folder(folder):
    predictor = RelationPredictor.from_pretrained(folder, short_side=70, max_size=150, subject="dog")
    assert (predictor.settings.short_side, predictor.settings.max_size, predictor.settings.subject) == (70, 150, "dog")
    (image,) = pictures((60, 80))
    assert {triplet.subject for triplet in predictor(image)} == {"dog"}


def test_older_folders_get_the_published_settings(folder):
    (folder / "inference.json").rename(folder / "away.json")
    try:
        assert RelationPredictor.from_pretrained(folder).settings == InferenceSettings()
    finally:
        (folder / "away.json").rename(folder / "inference.json")


def test_networks_that_find_no_relations_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Relation Tagger .* pseudo_label\.py"):
        RelationPredictor(tiny.tagger())
    save_partial_weights({"backbone.weight": torch.zeros(1)}, tmp_path / "partial", source="a.pth", kind="backbone")
    with pytest.raises(ValueError, match=r"partial: holds initial weights of backbone only"):
        RelationPredictor.from_pretrained(tmp_path / "partial")
    with pytest.raises(FileNotFoundError, match="no such weight folder"):
        RelationPredictor.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"weights/nowhere: no such folder, and .* Hugging Face Hub"):
        RelationPredictor.from_pretrained("weights/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"config\.yaml: missing"):
        RelationPredictor.from_pretrained(tmp_path / "empty")


def test_subject_classes_are_needed_for_scene_graphs():
    detector = build_detector(tiny.CONFIG | {"subject_class": False})
    with pytest.raises(ValueError, match="predicts no subject classes"):
        RelationPredictor(detector, InferenceSettings(mode="scene_graph"))


@pytest.mark.slow
def test_the_predictor_imports_nothing_of_training_or_drawing():
    code = (
        "import sys, rlipv2.predict.predictor, rlipv2.predict.images;"
        "print([name for name in ('pytorch_lightning', 'lightning', 'gradio', 'matplotlib', 'supervision', 'networkx') "
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_repository_of_the_hub_is_read_like_a_folder(folder, monkeypatch):
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("rlipv2.checkpoints.folder.snapshot_download", download)
    predictor = RelationPredictor.from_pretrained("somebody/weights", device="cpu", revision="v1")
    assert (asked["name"], asked["revision"]) == ("somebody/weights", "v1")
    assert "inference.json" in asked["allow_patterns"]
    assert predictor.settings == SETTINGS
