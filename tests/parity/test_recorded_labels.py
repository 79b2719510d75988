import json

import pytest

from rlipv2.parity.__main__ import main
from rlipv2.parity.pseudo_labels import check_file
from rlipv2.parity.pseudo_labels.exact import difference
from tests.parity.recorded_labels import write_cases

KINDS = (
    "candidates_coco",
    "candidates_coco_random",
    "candidates_o365_random",
    "captions_few",
    "check_overlap",
    "deduplicate_ties",
    "mixed_filter",
    "paraphrase_match",
    "postprocess",
    "sng_rules",
    "tagger_output",
    "vg_preprocess",
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_cases_of_pseudo_labelling_are_reproduced(cases, kind):
    entries = check_file(cases / f"{kind}.json")
    assert entries
    assert [entry for entry in entries if not entry.passed] == []


def changed(cases, kind, change, tmp_path):
    content = json.loads((cases / f"{kind}.json").read_text())
    change(content)
    for file in cases.glob("candidates_*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / f"{kind}.json"
    path.write_text(json.dumps(content))
    return path


def flip_match(content):
    content[0]["match"] = not content[0]["match"]


def flip_overlap(content):
    content[3]["overlap"] = not content[3]["overlap"]


def drop_pair(content):
    content["expected"]["paraphrases|overlap=False"]["101"][0][0].pop()


def swap_texts(content):
    content["expected"]["paraphrases|overlap=False"]["1007"][0][1].reverse()


def shift_confidence(content):
    content["expected"]["threshold=0.05|img_inference_batch=16"]["annotations"][0]["relationships"][3][
        "confidence"
    ] += 1e-4


def keep_less(content):
    content["expected"][0]["relationships"].pop()


def count_more(content):
    content["cases"]["keep_names_freq"]["expected"]["object_freq"]["person"] += 1


def keep_other_ids(content):
    content["expected"]["threshold=0.2|pair_overlap=True"]["kept_relationship_ids"][0].pop()


def move_target(content):
    content["expected"]["target_first"]["sub_boxes"][0][0] += 0.01


def relabel(content):
    content["expected"]["min_count=0"][0]["objects"][0]["names"] = "woman"


def another_relation(content):
    content["cases"][0]["graph"]["relations"][0]["relation"] = "was"


def another_truth(content):
    content["captions"][0]["triplets"][0]["object"] = "cow"


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        ("paraphrase_match", flip_match, "a woman"),
        ("check_overlap", flip_overlap, "pair 3"),
        ("candidates_coco", drop_pair, "image 101: [0][0] has 8 entries, recorded 7"),
        ("candidates_o365_random", swap_texts, "image 1007: [0][1][0] is"),
        ("tagger_output", shift_confidence, "['confidence'] is"),
        ("deduplicate_ties", keep_less, "has 3 entries, recorded 2"),
        ("postprocess", count_more, "['object_freq']['person'] is 24, recorded 25"),
        ("mixed_filter", keep_other_ids, "kept_relationship_ids: [0] has 9 entries, recorded 8"),
        ("mixed_filter", move_target, "sub_boxes"),
        ("vg_preprocess", relabel, "['names'] is 'man', recorded 'woman'"),
        ("sng_rules", another_relation, "['relation']"),
        ("captions_few", another_truth, "lenient F1 0.5"),
    ],
)
def test_another_value_is_outside_and_named(cases, tmp_path, capsys, kind, change, named):
    path = changed(cases, kind, change, tmp_path)
    assert main(["--quiet", str(path)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert lines
    assert any(named in line for line in lines)


def test_all_files_of_a_folder_are_checked(cases, tmp_path, capsys):
    for name in ("check_overlap.json", "deduplicate_ties.json"):
        (tmp_path / name).write_bytes((cases / name).read_bytes())
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "check_overlap: pair 0" in printed
    assert "deduplicate_ties: deduplicate" in printed


def test_a_table_of_paraphrases_takes_the_place_of_the_built_in_words(cases, tmp_path, capsys):
    names = list(dict.fromkeys(row["name"] for row in json.loads((cases / "paraphrase_match.json").read_text())))
    table, other = tmp_path / "table.json", tmp_path / "other.json"
    table.write_text(json.dumps({name: ["nothing that anyone says"] for name in names}))
    other.write_text(json.dumps({"person": ["man"]}))
    options = ["--quiet", "--paraphrases", str(other), "--paraphrases", str(table)]
    assert main([*options, str(cases / "paraphrase_match.json")]) == 1
    printed = capsys.readouterr().out
    assert "person <- 'a woman': is False, recorded True" in " ".join(printed.split()).replace(":  is", ": is")
    assert "person <- 'men'" not in printed
    # a table without the class
    assert main(["--paraphrases", str(other), str(cases / "paraphrase_match.json")]) == 2
    assert "other.json: no phrases for the class 'car'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ('{"something": 1}', "not a recorded case of pseudo-labelling"),
        ("[]", "not a recorded case of pseudo-labelling"),
        ("[1, 2]", "not a recorded case of pseudo-labelling"),
        ('{"input": [', "cut off"),
        ("<html>", "web page"),
        ('{"input": [{"image_id": 1}], "expected": []}', "not as expected of mixture or ties"),
        ('{"logit_rule": "x", "class_names": [], "candidates_case": "", "expected": {}}', "not in the form"),
        ('{"input": [], "cases": {"other": {"expected": []}}}', "unknown case"),
    ],
)
def test_files_that_are_no_recorded_case_are_refused(tmp_path, capsys, content, wrong):
    path = tmp_path / "case.json"
    path.write_text(content)
    assert main([str(path)]) == 2
    message = capsys.readouterr().err
    assert f"ERROR {path}: " in message
    assert wrong in message


def test_a_file_that_is_not_there_and_a_reference_to_one_are_refused(cases, tmp_path, capsys):
    assert main([str(tmp_path / "nothing.json")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    path = tmp_path / "tagger_output.json"
    path.write_bytes((cases / "tagger_output.json").read_bytes())
    assert main([str(path)]) == 2
    assert "candidates_coco.json" in capsys.readouterr().err


def test_differences_of_nested_values():
    assert difference({"a": [1, 2.0, "x"]}, {"a": [1, 2.000001, "x"]}) is None
    assert difference([1, 2], [1, 2, 3]) == " has 2 entries, recorded 3"
    assert difference([1], [2]) == "[0] is 1, recorded 2"
    assert difference(True, False) == " is True, recorded False"
    assert "['b'] only here" in difference({"a": 1, "b": 2}, {"a": 1, "c": 2})
    assert difference([0.5], [0.51]) == "[0] is 0.5, recorded 0.51"
    assert difference([float("nan")], [0.5]) is not None
