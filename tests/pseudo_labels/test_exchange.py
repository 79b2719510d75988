"""Files in the place of stages, what `export` writes, and other ways through `pseudo_label.py` than the usual one."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from rlipv2 import utils
from rlipv2.datasets.errors import AnnotationError
from rlipv2.pseudo_labels.plan import PlanError, read_plan
from tests.fakes_pseudo_labels import labelled, merged_file, write_own_images, write_tagger

ALL = "stages=[caption,parse,candidates,tag,merge]"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Twelve images, captions, a tagger, and the finished run `whole`, exported, in four units."""
    root = tmp_path_factory.mktemp("world")
    write_own_images(root)
    write_tagger(root / "tagger")
    options = ["merge.dedupe=off", "merge.order=official"]
    labelled(root, "whole", *options, "stages=[caption,parse,candidates,tag,merge,export]")
    return root


def exported(world, name):
    return json.loads((world / f"whole/export/{name}.json").read_text())


def rows_of(out, folder):
    return [json.loads(line) for path in sorted((out / folder).glob("unit_*.jsonl")) for line in path.open()]


def test_exported_files_have_the_official_layouts(world):
    captions = json.loads((world / "captions.json").read_text())
    assert exported(world, "captions") == captions
    graphs, candidates = exported(world, "graphs"), exported(world, "candidates")
    assert graphs.keys() == captions.keys() == candidates.keys()
    graph = graphs["1"][0]
    assert [entity["span"] for entity in graph["entities"]] == ["a man", "a horse"]
    assert graph["relations"] == [{"subject": 0, "object": 1, "relation": "riding", "lemma_relation": "ride"}]
    ((pairs, texts), *_) = candidates["1"]
    assert (pairs, texts) == ([[0, 1]], ["riding", "on"])
    assert candidates["6"] == [[[], []]]  # captions, but no boxes
    assert exported(world, "annotations") == json.loads(merged_file(world / "whole").read_text())


@pytest.mark.parametrize(
    ("name", "option", "left_out"),
    [
        ("graphs", "graphs=", ("captions",)),
        ("candidates", "candidates.file=", ("captions", "graphs")),
        ("annotations", "annotations=", ("captions", "graphs", "candidates")),
    ],
)
def test_exported_files_take_the_place_of_their_stage(world, name, option, left_out):
    out = world / f"from_{name}"
    file = f"{option}{world}/whole/export/{name}.json"
    without = ["captions=null", "tagger.init=null"] if name == "annotations" else ["captions=null"]
    stages = "stages=[tag,merge,validate,report]" if name == "annotations" else ALL
    labelled(world, out.name, file, *without, "merge.dedupe=off", "merge.order=official", stages)
    assert merged_file(out).read_bytes() == merged_file(world / "whole").read_bytes()
    assert all(rows_of(out, folder) == [] for folder in left_out)
    with pytest.raises(PlanError, match=r"caption\.(captions|left_out): was "):
        labelled(world, out.name, file, ALL)


def test_several_files_of_annotations_are_one(world):
    records = exported(world, "annotations")
    for number, part in enumerate((records[:5], records[5:9])):
        (world / f"part{number}.json").write_text(json.dumps(part))
    files = f"annotations=[{world}/part0.json,{world}/part1.json]"
    labelled(world, "parts", files, "captions=null", "stages=[tag,merge]", "merge.dedupe=off", "merge.order=official")
    found = json.loads(merged_file(world / "parts").read_text())
    assert len(found) == 12  # the others without relations
    relations = [len(record["relationships"]) for record in found]
    assert relations == [len(record["relationships"]) for record in records[:9]] + [0, 0, 0]


def test_annotations_of_other_boxes_are_failures(world):
    records = exported(world, "annotations")
    records[0]["objects"][0]["x"] += 9
    records[1]["objects"].pop()
    records[1]["relationships"] = []
    records[2]["objects"][0]["names"] = "car"
    (world / "other_boxes.json").write_text(json.dumps(records))
    labelled(world, "other_boxes", f"annotations={world}/other_boxes.json", "captions=null", "stages=[tag]")
    errors = [json.loads(line) for path in (world / "other_boxes/tags").glob("*.errors.jsonl") for line in path.open()]
    assert sorted((error["image_id"], error["kind"]) for error in errors) == [(n, "other boxes") for n in (1, 2, 3)]


def graph_of(subject, target, relation):
    row = {"subject": subject, "object": target, "relation": relation}
    return {"entities": [{"span": "a man"}, {"span": "a horse"}], "relations": [row]}


def scored(confidence):
    objects = [{"object_id": n, "names": "dog", "x": 0, "y": 0, "w": 5, "h": 5} for n in (1, 2)]
    relation = {"subject_id": 1, "object_id": 2, "predicate": "on", "confidence": confidence}
    return {"image_id": 1, "objects": objects, "relationships": [relation]}


@pytest.mark.parametrize(
    ("option", "content", "told"),
    [
        ("graphs", {"x": []}, "'x' is no image id"),
        ("graphs", {"1": [{"entities": []}]}, r"record 0 \(image 1\).*no scene graph \(KeyError: 'relations'\)"),
        ("graphs", {"1": 5}, "no list"),
        ("graphs", {"--1": []}, "'--1' is no image id"),
        ("graphs", {"9" * 20: [{"entities": [], "relations": []}]}, "image id 9+; ids have at most 18 digits"),
        ("graphs", {"1": [{"entities": [{"span": 5}], "relations": []}]}, "a span or relation is no text"),
        ("graphs", {"1": [graph_of(0.0, 1, "on")]}, "an end is no whole number"),
        ("graphs", {"1": [graph_of(0, 1, 7)]}, "a span or relation is no text"),
        ("captions", {"--1": ["a dog"]}, "'--1' is no image id"),
        ("candidates.file", {"1": [[[[0.7, 1]], ["on"]]]}, "a box is no whole number"),
        ("graphs", [], "its top level is no object"),
        ("candidates.file", {"1": [[[[0, 1]], [5]]]}, r"no \[pairs, texts\]"),
        ("candidates.file", {"1": [[1, 2, 3]]}, r"no \[pairs, texts\]"),
        ("annotations", [{"image_id": 1, "objects": [], "relationships": [{}]}], "annotation with confidences"),
        ("annotations", {}, "its top level is no list"),
        ("annotations", [scored(1.5)], "a confidence is not from 0 to 1"),
        ("annotations", [scored(float("nan"))], "a confidence is not from 0 to 1"),
    ],
)
def test_unusable_files_are_refused_by_their_record(world, option, content, told):
    path = world / "unusable.json"
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=told):
        labelled(world, "unusable", "captions=null", f"{option}={path}", ALL)
    assert not (world / "unusable/plan.json").exists()


def test_export_refuses_what_is_not_complete(world):
    shutil.copytree(world / "whole", world / "half")
    (world / "half/graphs/unit_000002.done.json").unlink()
    with pytest.raises(ValueError, match="export: parse is not complete"):
        labelled(world, "half", "stages=[export]")


def test_candidates_may_come_from_a_prior(world):
    prior = world / "prior.json"
    prior.write_text(json.dumps({"person": {"horse": ["riding", "on"], "car": ["in"]}, "car": {"dog": ["near"]}}))
    labelled(world, "prior", f"candidates.prior={prior}", "captions=null", ALL)
    rows = rows_of(world / "prior", "candidates")
    assert rows[0] == {"image_id": 1, "groups": [[[[0, 1]], ["riding", "on"]]]}
    found = {
        row["predicate"]
        for record in json.loads(merged_file(world / "prior").read_text())
        for row in record["relationships"]
    }
    assert found == {"riding", "on"}
    prior.write_text(json.dumps({"person": {"horse": ["riding"]}}))
    with pytest.raises(PlanError, match=r"candidates\.prior: was"):
        labelled(world, "prior", f"candidates.prior={prior}", "captions=null", ALL)
    prior.write_text(json.dumps({"car": {"horse": ["riding"]}}))
    with pytest.raises(AnnotationError, match="none of its classes"):
        labelled(world, "prior2", f"candidates.prior={prior}", "captions=null", ALL)
    with pytest.raises(utils.ConfigError, match="candidates come from one of both"):
        labelled(world, "prior2", f"candidates.prior={prior}", "candidates.file=x.json", ALL)


@pytest.mark.parametrize("content", [{"person": {"horse": "riding"}}, {"person": ["riding"]}, [1]])
@pytest.mark.parametrize("option", ["candidates.prior", "merge.prior"])
def test_unusable_priors_are_refused_before_anything_begins(world, option, content):
    prior = world / "unusable_prior.json"
    prior.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match="no prior"):
        labelled(world, "unusable", f"{option}={prior}", ALL)
    assert not (world / "unusable/plan.json").exists()


def test_two_runs_are_compared_and_sheets_of_pictures_are_written(world):
    labelled(world, "again", "tagger.own_texts=false", "unit_size=5", "candidates.class_check=false", ALL)
    options = ["stages=[report]", "report.num_examples=12", "report.threshold=0.0"]
    labelled(world, "whole", *options, f"report.compare={world / 'again'}")
    assert "Agreement with again" in (world / "whole/report/index.html").read_text()
    lines = (world / "whole/report/tables/agreement.csv").read_text().splitlines()
    assert lines[0] == "threshold,here,there,both,share,pair_share"
    assert len(lines) == 102
    with Image.open(world / "whole/report/sheet_000.png") as sheet:
        assert sheet.width > 4 * 300
        assert np.asarray(sheet.convert("RGB")).std() > 5
    labelled(world, "whole", "stages=[report]", "report.num_examples=0")
    assert not (world / "whole/report/tables/agreement.csv").exists()
    labelled(world, "whole", "stages=[report]", "report.num_examples=0", f"report.compare={world / 'whole'}")
    same = (world / "whole/report/tables/agreement.csv").read_text().splitlines()[1].split(",")
    assert same[1] == same[2] == same[3] != "0"
    assert same[4] == same[5] == "1"
    assert not list((world / "whole/report").glob("sheet_*.png"))
    labelled(world, "fewer", "source.limit=6", "stages=[caption,parse,candidates,tag]")
    with pytest.raises(PlanError, match="cannot be compared, it is about other images"):
        labelled(world, "whole", "stages=[report]", f"report.compare={world / 'fewer'}")


@pytest.mark.parametrize(("crops", "expected"), [("union", [1, 3, 6]), ("official_union", [1, 3, 6])])
def test_a_captioner_may_describe_each_pair_of_boxes(world, crops, expected):
    options = ["captions=null", "captioner._target_=tests.fakes_pseudo_labels.MeanCaptioner", "stages=[caption]"]
    labelled(world, f"crops_{crops}", *options, f"captioning.crops={crops}")
    rows = rows_of(world / f"crops_{crops}", "captions")
    assert [len(row["captions"]) // 2 for row in rows[:3]] == expected
    assert len(rows[5]["captions"]) == 2  # no box: the whole image
    with pytest.raises(ValueError, match=r"captioning\.crops='all'"):
        labelled(world, "crops_all", *options, "captioning.crops=all")


def test_the_device_and_precision_of_a_captioner_are_settings(world, monkeypatch):
    options = ["captions=null", "captioner._target_=tests.fakes_pseudo_labels.MeanCaptioner", "stages=[caption]"]
    labelled(world, "device", *options, "captioner.precision=auto")
    settings = read_plan(world / "device").stages["caption"]
    assert (settings["device"], settings["captioner"]["precision"]) == ("cpu", "float32")
    monkeypatch.setattr("rlipv2.labelling.settings.device_type", lambda trainer: "cuda")
    with pytest.raises(PlanError, match=r"captioner\.precision: was \"float32\", now \"float16\".*device: was"):
        labelled(world, "device", *options, "captioner.precision=auto")


@pytest.mark.parametrize(
    ("mode", "device", "expected"),
    [("fast", "cpu", "float32"), ("fast", "cuda", "bfloat16"), ("parity", "cuda", "float32")],
)
def test_the_tagger_encodes_in_half_precision_on_a_gpu_only(world, monkeypatch, mode, device, expected):
    from rlipv2.labelling import settings
    from tests.fakes_pseudo_labels import composed

    monkeypatch.setattr(settings, "device_type", lambda trainer: device)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    assert settings.encode_dtype(composed("pseudo_label=custom", f"mode={mode}")) == expected
    assert settings.encode_dtype(composed("tagger.encode_dtype=float16")) == "float16"


def detector_folder(root):
    folder = root / "detector"
    shutil.copytree(root / "tagger", folder, dirs_exist_ok=True)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"_target_": "rlipv2.models.RelationDetector"}))
    return folder


def cut_folder(root):
    folder = root / "cut"
    shutil.copytree(root / "tagger", folder, dirs_exist_ok=True)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1000])
    return folder


def partial_folder(root):
    folder = root / "partial"
    shutil.copytree(root / "tagger", folder, dirs_exist_ok=True)
    (folder / "partial.json").write_text(json.dumps({"source": "a", "kind": "b", "parts": []}))
    return folder


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        (detector_folder, "describes RelationDetector"),
        (cut_folder, "damaged"),
        (partial_folder, "initial weights of some parts"),
    ],
)
def test_weights_that_are_no_tagger_are_refused_before_any_stage(world, folder, told):
    with pytest.raises(utils.ConfigError, match=rf"tagger\.init=.*{told}"):
        labelled(world, "no_tagger", f"tagger.init={folder(world)}")
    assert not (world / "no_tagger").exists()


def test_a_first_try_that_failed_binds_nobody(world):
    failing = ["captions=null", "captioner._target_=tests.fakes_pseudo_labels.NoCaptioner"]
    with pytest.raises(Exception, match="no weights"):
        labelled(world, "tried", *failing)
    assert read_plan(world / "tried").stages == {}
    labelled(world, "tried", "parser.max_words=9", "source.limit=6", "stages=[caption,parse]")
    with pytest.raises(PlanError, match=r"caption"):  # now something was made
        labelled(world, "tried", "source.limit=6", *failing)
    assert list(read_plan(world / "tried").stages) == ["caption", "parse"]


def test_out_may_not_be_a_file(world):
    for name in ("boxes.json", "boxes.json/below"):
        with pytest.raises(utils.ConfigError, match=r"boxes\.json is a file"):
            labelled(world, name)


def test_parity_does_not_fall_back_to_the_rules(world, monkeypatch):
    monkeypatch.setattr("rlipv2.pseudo_labels.parsing.spacy._load", _no_model)
    with (
        pytest.warns(UserWarning, match="embedded rules"),
        pytest.raises(utils.ConfigError, match="parser=auto with mode=parity"),
    ):
        labelled(world, "parity_auto", "mode=parity", "parser=auto")
    labelled(world, "parity_rules", "mode=parity", "parser=rules", "stages=[caption,parse]")
    assert read_plan(world / "parity_rules").stages["parse"]["cleaning"] == "off"


def _no_model(model):
    from rlipv2.pseudo_labels.parsing.spacy import SpacyModelError

    raise SpacyModelError("no model")


def test_boxes_that_no_pair_is_made_of_are_counted(world, capsys):
    content = json.loads((world / "boxes.json").read_text())
    content["annotations"][0]["bbox"][2] = -5
    (world / "negative.json").write_text(json.dumps(content))
    options = [f"source.annotations={world / 'negative.json'}", "stages=[caption,parse,candidates,status]"]
    labelled(world, "negative", *options)
    told = capsys.readouterr().out
    assert "1 boxes of a negative size" in told
    assert "2 boxes without area in the image" in told
    assert "2 boxes of crowds" in told


def test_failures_that_are_accepted_are_no_error_of_validation(world, tmp_path, capsys):
    root = tmp_path
    write_own_images(root)
    shutil.copytree(world / "tagger", root / "tagger")
    (root / "pictures/000001.png").unlink()  # with candidates
    (root / "pictures/000006.png").write_bytes(b"")  # without
    labelled(root, "out", ALL)
    assert sorted(record["image_id"] for record in json.loads(merged_file(root / "out").read_text())) == [
        *range(2, 6),
        *range(7, 13),
    ]
    labelled(root, "out", "stages=[validate]")
    told = capsys.readouterr().out
    assert "warning images: all could be read\n  1\n  6\n" in told
    records = json.loads(merged_file(root / "out").read_text())
    merged_file(root / "out").write_text(json.dumps(records[1:]))
    with pytest.raises(SystemExit):
        labelled(root, "out", "stages=[validate]")
