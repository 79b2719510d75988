"""`pseudo_label.py` from images with boxes to annotations: stages, resuming, settings, jobs."""

import json
import shutil

import pytest

from rlipv2 import utils
from rlipv2.datasets.scene_graphs import SceneGraphs
from rlipv2.pseudo_labels.plan import PlanError, read_plan
from rlipv2.pseudo_labels.units import UnitError
from tests.fakes_pseudo_labels import ROOT, composed, labelled, merged_file, write_own_images, write_tagger

UNITS = ("captions", "graphs", "candidates", "tags")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Twelve images, captions, a tagger, and the finished run `whole` of all stages in four units."""
    root = tmp_path_factory.mktemp("world")
    write_own_images(root)
    write_tagger(root / "tagger")
    labelled(root, "whole")
    return root


def contents(folder, *, data_only=False):
    """The bytes of what was made; `data_only` leaves done-records out, which tell times."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".plan.lock"]
    files = [path for path in files if "index" not in path.parts]  # of captions, beside what is made
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if not data_only or (path.parent.name in (*UNITS, "annotations") and not path.name.endswith(".done.json"))
    }


def test_all_stages_make_annotations_that_training_reads(world):
    out = world / "whole"
    records = json.loads(merged_file(out).read_text())
    assert [record["image_id"] for record in records] == list(range(1, 13))
    assert {record["dataset"] for record in records} == {"custom"}
    relations = [row for record in records for row in record["relationships"]]
    assert len(relations) > 10
    assert {row["predicate"] for row in relations} <= {"riding", "walking", "next to", "on", "behind", "flying"}
    without = [record["image_id"] for record in records if not record["relationships"]]
    assert {5, 6, 11, 12} <= set(without)  # no box, or none that counts
    for record in records:
        scores = [row["confidence"] for row in record["relationships"]]
        assert scores == sorted(scores, reverse=True)
    dataset = SceneGraphs(
        world / "pictures", annotations=merged_file(out), relation_threshold=0.0, unrelated_images="drop"
    )
    assert len(dataset) == 12 - len(without)
    assert len(dataset[0].annotation.relations) > 0
    assert (out / "report/index.html").stat().st_size > 10_000


def test_a_second_run_makes_nothing_anew(world):
    before = {path: path.stat().st_mtime_ns for path in (world / "whole").rglob("*") if path.is_file()}
    labelled(world, "whole", "stages=[caption,parse,candidates,tag,merge]")
    after = {path: path.stat().st_mtime_ns for path in (world / "whole").rglob("*") if path.is_file()}
    locks = {path for path in before if path.name.endswith(".lock")}  # a lock that is taken is written
    assert {path: time for path, time in after.items() if path not in locks} == {
        path: time for path, time in before.items() if path not in locks
    }


def test_three_jobs_make_what_one_makes(world):
    for index in (2, 0, 1):
        labelled(world, "jobs", f"job.index={index}", "job.count=3")
    assert contents(world / "jobs", data_only=True) == contents(world / "whole", data_only=True)
    assert (world / "jobs/report/index.html").exists()  # by the last one


def test_stages_can_be_run_one_by_one(world):
    for stage in ("caption", "parse", "candidates", "tag", "merge"):
        labelled(world, "steps", f"stages=[{stage}]")
        assert (world / "steps" / "annotations").exists() == (stage == "merge")
    assert contents(world / "steps", data_only=True) == contents(world / "whole", data_only=True)


def test_the_number_of_images_in_a_batch_does_not_matter(world):
    labelled(world, "batches", "tagger.batch_size=1", "stages=[caption,parse,candidates,tag,merge]")
    labelled(world, "batches", "tagger.batch_size=8", "stages=[tag,merge]")  # no other setting
    records, others = (json.loads(merged_file(world / name).read_text()) for name in ("batches", "whole"))
    for record, other in zip(records, others, strict=True):
        found, expected = (
            sorted((row["subject_id"], row["object_id"], row["predicate"], row["confidence"]) for row in some)
            for some in (record["relationships"], other["relationships"])
        )
        assert [row[:3] for row in found] == [row[:3] for row in expected]
        assert [row[3] for row in found] == pytest.approx([row[3] for row in expected], abs=1e-4)


def test_later_stages_need_earlier_ones(world):
    with pytest.raises(PlanError, match="'caption', which 'parse' builds on, was not run yet"):
        labelled(world, "late", "stages=[parse]")
    labelled(world, "later", "stages=[caption]", "job.count=2")
    with pytest.raises(UnitError, match=r"unit 1 cannot be made: .*unit_000001\.done\.json: not there"):
        labelled(world, "later", "stages=[parse]")
    for stage in ("merge", "report", "validate"):
        with pytest.raises(PlanError, match="nothing was pseudo-labelled in this folder yet"):
            labelled(world, "never", f"stages=[{stage}]")
    assert not (world / "never").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["candidates.matcher=official", "mode=parity"], r"candidates\.matcher: was \"lexical\", now \"official\""),
        (["candidates.paraphrases=own"], r"candidates\.paraphrases: was "),
        (["parser.max_words=9"], r"parse\.max_words: was \"60\", now \"9\""),
        (["tagger.store_threshold=0.5"], r"tag\.store_threshold: was 0\.0, now 0\.5"),
        (["tagger.init={world}/other_tagger"], r"tag\.weights\.config\.yaml: was "),
        (["captions={world}/other.json"], r"caption\.captions: was "),
        (["unit_size=5"], r"unit_size: was 3, now 5"),
        (["source.limit=5"], r"images: was 12, now 5"),
        (["source.dataset=other"], r"dataset: was \"custom\", now \"other\""),
    ],
)
def test_a_changed_setting_is_refused_and_nothing_is_touched(world, changes, told):
    if not (world / "other_tagger").exists():
        shutil.copytree(world / "tagger", world / "other_tagger")
        with (world / "other_tagger/config.yaml").open("a") as file:
            file.write("# other\n")
        (world / "other.json").write_text(json.dumps({"1": ["a man"]}))
    before = contents(world / "whole")
    with pytest.raises(PlanError, match=told):
        labelled(world, "whole", *(change.format(world=world) for change in changes))
    assert contents(world / "whole") == before


def test_a_changed_setting_can_be_redone(world):
    shutil.copytree(world / "whole", world / "redone")
    labelled(world, "redone", "parser.max_words=3", "on_config_change=redo", "stages=[parse]")
    with pytest.raises(UnitError, match=r"4 of 4 units are not complete \(0, 1, 2, 3\).*made with other settings"):
        labelled(world, "redone", "stages=[merge]")
    labelled(world, "redone", "parser.max_words=3")
    assert read_plan(world / "redone").stages["parse"]["max_words"] == "3"
    counts = [len(merged_file(world / name).read_text()) for name in ("redone", "whole")]
    assert counts[0] < counts[1]


def test_merging_has_options_of_its_own(world):
    shutil.copytree(world / "whole", world / "merged")
    labelled(world, "merged", "stages=[merge]", "merge.topk_per_pair=1", "merge.file=best.json")
    records = json.loads((world / "merged/annotations/best.json").read_text())
    pairs = [(row["subject_id"], row["object_id"]) for record in records for row in record["relationships"]]
    assert len(pairs) == len(set(pairs)) > 5
    assert merged_file(world / "merged").read_bytes() == merged_file(world / "whole").read_bytes()
    with pytest.raises(ValueError, match="topk_per_pair=0"):
        labelled(world, "merged", "stages=[merge]", "merge.topk_per_pair=0")


def test_merging_refuses_missing_units_and_names_them(world):
    shutil.copytree(world / "whole", world / "missing")
    (world / "missing/tags/unit_000001.done.json").unlink()
    (world / "missing/tags/unit_000003.parquet").unlink()
    with pytest.raises(UnitError, match=r"2 of 4 units are not complete \(1, 3\)"):
        labelled(world, "missing", "stages=[merge]")
    labelled(world, "missing", "stages=[merge]", "merge.allow_incomplete=true")
    found = [record["image_id"] for record in json.loads(merged_file(world / "missing").read_text())]
    assert found == [1, 2, 3, 7, 8, 9]


def test_status_and_validation_tell_what_is_there(world, capsys):
    labelled(world, "whole", "stages=[status]")
    told = capsys.readouterr().out
    assert "12 images of custom in 4 units" in told
    assert all(f"{stage}: 4/4 units, no failures" in told for stage in ("caption", "parse", "candidates", "tag"))
    labelled(world, "whole", "stages=[validate]")
    assert "0 error" in capsys.readouterr().out
    shutil.copytree(world / "whole", world / "damaged")
    (world / "damaged/tags/unit_000002.parquet").write_bytes(b"x")
    with pytest.raises(SystemExit) as stop:
        labelled(world, "damaged", "stages=[validate]")
    assert stop.value.code == 1
    assert "unit_000002.parquet: not what its done-record tells" in capsys.readouterr().out
    labelled(world, "damaged", "stages=[status]")
    assert "tag: 3/4 units" in capsys.readouterr().out


def test_the_official_procedure_runs_too(world):
    labelled(world, "parity", "mode=parity", "stages=[caption,parse,candidates,tag,merge]")
    candidates = (world / "parity/candidates/unit_000001.jsonl").read_text().splitlines()
    assert json.loads(candidates[2])["groups"] == [[[], []]]  # an image without boxes has one empty group
    records = json.loads(merged_file(world / "parity").read_text())
    assert len(records) == 12
    assert sum(len(record["relationships"]) for record in records) > 0


def test_captions_can_be_made_of_the_boxes(world):
    labelled(world, "template", "captions=null", "captioner=template", "stages=[caption,parse,candidates,tag,merge]")
    rows = [json.loads(line) for line in (world / "template/captions/unit_000000.jsonl").read_text().splitlines()]
    assert len(rows[0]["captions"]) == 10
    assert sum(len(record["relationships"]) for record in json.loads(merged_file(world / "template").read_text())) > 0


def test_images_go_through_a_captioner(world):
    options = ["captions=null", "captioner._target_=tests.fakes_pseudo_labels.MeanCaptioner", "stages=[caption]"]
    labelled(world, "captioned", *options)
    labelled(world, "captioned_jobs", *options, "job.count=2", "job.index=1")
    labelled(world, "captioned_jobs", *options, "job.count=2", "captioning.num_workers=1")
    assert contents(world / "captioned", data_only=True) == contents(world / "captioned_jobs", data_only=True)
    rows = [
        json.loads(line)
        for path in sorted((world / "captioned/captions").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert [row["image_id"] for row in rows] == list(range(1, 13))
    assert len({caption for row in rows for caption in row["captions"]}) > 12  # of the picture and of the seed
    with pytest.raises(PlanError, match=r"caption\.seed: was 42, now 43"):
        labelled(world, "captioned", *options, "seed=43")
    with pytest.raises(PlanError, match=r"caption\.precision: was .32-true., now .bf16-mixed"):
        labelled(world, "captioned", *options, "trainer.precision=bf16-mixed")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors", "generation_config.json"])
def test_other_content_of_a_captioner_s_folder_is_another_setting(world, tmp_path, file):
    target = "captioner._target_=tests.fakes_pseudo_labels.MeanCaptioner"
    options = ["captions=null", target, f"captioner.name={tmp_path}", f"out={tmp_path / 'out'}", "stages=[caption]"]
    (tmp_path / file).write_bytes(b"{}")
    labelled(world, "unused", *options)
    (tmp_path / file).write_bytes(b"{ }")
    with pytest.raises(PlanError, match=rf"caption\.captioner\.name\.{file}: was "):
        labelled(world, "unused", *options)


def test_a_missing_tagger_is_told_before_anything_is_done(world):
    for init in ("null", str(world / "pictures")):
        with pytest.raises(utils.ConfigError, match=r"tagger\.init=.*experiment=micro_tagger"):
            labelled(world, "no_tagger", f"tagger.init={init}")
    assert not (world / "no_tagger").exists()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("stages=[tagg]", r"did you mean 'tag'\?"),
        ("stages=tag", "a list in brackets"),
        ("stages=[]", "a list in brackets"),
        ("job.index=3", r"job\.index=3 job\.count=1"),
        ("unit_size=0", "unit_size=0"),
        ("max_failures=2", "max_failures=2"),
        ("workers=0", "workers=0"),
        ("candidates.matcher=none", "matcher='none'"),
        ("candidates.group_size=0", "group_size=0"),
        ("tagger.groups_per_pass=0", r"tagger\.groups_per_pass=0"),
        ("tagger.encode_dtype=bfloat16 mode=parity", r"tagger\.encode_dtype=bfloat16 with mode=parity"),
        ("trainer.precision=bf16-mixed mode=parity", r"trainer\.precision=bf16-mixed with mode=parity"),
    ],
)
def test_options_out_of_range_are_refused(world, option, told):
    with pytest.raises(ValueError, match=told):
        labelled(world, "wrong", *option.split())
    assert not (world / "wrong").exists()


@pytest.mark.parametrize("preset", ["coco", "objects365", "custom", "micro"])
@pytest.mark.parametrize("mode", ["fast", "parity"])
def test_every_preset_composes(preset, mode):
    config = composed(f"pseudo_label={preset}", f"mode={mode}")
    utils.check_config(config)
    assert config.mode == mode
    assert config.name == f"pseudo_label_{preset}"
    assert config.merge.file == f"pseudo_label_{preset}.json"


@pytest.mark.parametrize("captioner", sorted(path.stem for path in (ROOT / "conf/captioner").glob("*.yaml")))
@pytest.mark.parametrize("parser", ["auto", "rules", "spacy"])
def test_every_captioner_and_parser_composes(captioner, parser):
    utils.check_config(composed(f"captioner={captioner}", f"parser={parser}"))
