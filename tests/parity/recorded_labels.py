"""Recorded cases of pseudo-labelling in the form of the files that the command takes."""

import json
import shutil
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pseudo_labels"
PLAIN = (
    "candidates_coco.json",
    "candidates_coco_random.json",
    "candidates_o365_random.json",
    "check_overlap.json",
    "deduplicate_ties.json",
    "paraphrase_match.json",
    "sng_rules.json",
)
CAPTIONS = {
    "version": 1,
    "captions": [
        {
            "caption": "a man riding a horse",
            "triplets": [{"subject": "man", "relation": "ride", "object": "horse", "accept": [], "optional": False}],
        },
        {
            "caption": "a dog sitting on a bench",
            "triplets": [{"subject": "dog", "relation": "sit on", "object": "bench", "accept": ["on"]}],
        },
    ],
}


def write_cases(folder):
    """Writes a file of every kind."""
    for name in PLAIN:
        shutil.copy(FIXTURES / name, folder / name)
    content = json.loads((FIXTURES / "records.json").read_text())
    records = [_record(row) for row in content["input"]]
    cases = {name: _expanded(case, records) for name, case in content["postprocess"].items()}
    _write(folder / "postprocess.json", {"input": records, "cases": cases})
    _write(folder / "mixed_filter.json", {"input": records, "expected": content["mixture"]})
    tagging = {setting: {"annotations": records, **told} for setting, told in content["tagging"].items()}
    _write(folder / "tagger_output.json", content["tagging_rule"] | {"expected": tagging})
    _write(folder / "captions_few.json", CAPTIONS)
    _write(folder / "vg_preprocess.json", _preprocessing())


def _record(row):
    objects = [dict(zip(("object_id", "x", "y", "w", "h", "names"), values, strict=True)) for values in row["objects"]]
    keys = ("relationship_id", "predicate", "subject_id", "object_id", "confidence")
    relations = [dict(zip(keys, values, strict=True)) for values in row["relationships"]]
    return row | {"objects": objects, "relationships": relations}


def _expanded(case, records):
    if not isinstance(case["expected"], list):
        return case
    expected = []
    for record, kept in zip(records, case["expected"], strict=True):
        rows = {row["relationship_id"]: row for row in record["relationships"]}
        expected.append(record | {"relationships": [rows[number] for number in kept]})
    return case | {"expected": expected}


def _preprocessing():
    content = json.loads((FIXTURES.parent / "scene_graphs" / "vg_preprocess.json").read_text())
    graphs = [_graph(row) for row in content["input"]]
    expected = {
        f"min_count={count}": [_preprocessed(graph, row) for graph, row in zip(graphs, rows, strict=True)]
        for count, rows in content["expected"].items()
    }
    return content | {"input": graphs, "expected": expected}


def _preprocessed(graph, row):
    objects = [item | {"names": name} for item, name in zip(graph["objects"], row["names"], strict=True)]
    relations = {item["relationship_id"]: item for item in graph["relationships"]}
    kept = [relations[number] | {"predicate": predicate} for number, predicate in row["relationships"]]
    return graph | {"objects": objects, "relationships": kept}


def _graph(row):
    objects = [dict(zip(("object_id", "names", "x", "y", "w", "h"), values, strict=True)) for values in row["objects"]]
    keys = ("relationship_id", "predicate", "subject_id", "object_id")
    relations = [dict(zip(keys, values, strict=True)) for values in row["relationships"]]
    return row | {"objects": objects, "relationships": relations}


def _write(path, content):
    path.write_text(json.dumps(content))
