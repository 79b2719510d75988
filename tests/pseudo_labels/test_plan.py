"""plan.json: what a folder is about, and what is refused in it."""

import json
import multiprocessing

import pytest

from rlipv2.pseudo_labels.plan import Plan, PlanError, changes, forget, join_plan, read_plan

DATA = {"dataset": "coco2017", "images": 10, "image_ids": "abc", "unit_size": 4}
STAGES = {"caption": {"captions": "f"}, "parse": {"parser": {"name": "rules"}}, "candidates": {"mode": "fast"}}


def test_a_plan_comes_back_and_grows(tmp_path):
    first = join_plan(tmp_path / "out", DATA, {"caption": STAGES["caption"]})
    plan = join_plan(tmp_path / "out", DATA, {name: STAGES[name] for name in ("parse", "candidates")})
    assert plan.stages == STAGES
    assert read_plan(tmp_path / "out") == plan
    assert first.chain("caption") == plan.chain("caption")
    assert (plan.num_units, [plan.images_of(unit) for unit in range(3)]) == (3, [range(4), range(4, 8), range(8, 10)])
    before = (tmp_path / "out/plan.json").stat().st_mtime_ns
    assert join_plan(tmp_path / "out", DATA, {"parse": STAGES["parse"]}) == plan
    assert (tmp_path / "out/plan.json").stat().st_mtime_ns == before


def test_a_hash_covers_the_images_and_all_settings_up_to_its_stage(tmp_path):
    plan = Plan(tmp_path, DATA, STAGES)
    other_images = Plan(tmp_path, DATA | {"image_ids": "abd"}, STAGES)
    other_parser = Plan(tmp_path, DATA, STAGES | {"parse": {"parser": {"name": "spacy"}}})
    assert len({plan.chain(name) for name in STAGES}) == 3
    assert all(plan.chain(name) != other_images.chain(name) for name in STAGES)
    same = [name for name in STAGES if plan.chain(name) == other_parser.chain(name)]
    assert same == ["caption"]


def test_a_stage_needs_those_before_it(tmp_path):
    plan = join_plan(tmp_path, DATA, {"caption": {}, "candidates": {}})
    with pytest.raises(PlanError, match="'parse', which 'candidates' builds on, was not run yet"):
        plan.chain("candidates")


def test_a_changed_setting_is_refused_by_its_name(tmp_path):
    join_plan(tmp_path, DATA, STAGES)
    with pytest.raises(PlanError, match=r"parse\.parser\.name: was \"rules\", now \"spacy\".*on_config_change=redo"):
        join_plan(tmp_path, DATA, {"parse": {"parser": {"name": "spacy"}}})
    assert read_plan(tmp_path).stages == STAGES


def test_a_changed_setting_can_be_redone_on_purpose(tmp_path):
    old = join_plan(tmp_path, DATA, STAGES)
    new = join_plan(tmp_path, DATA, {"parse": {"parser": {"name": "spacy"}}}, on_change="redo")
    assert read_plan(tmp_path) == new
    assert new.chain("caption") == old.chain("caption")
    assert new.chain("candidates") != old.chain("candidates")


@pytest.mark.parametrize("change", [{"dataset": "o365"}, {"image_ids": "abd"}, {"unit_size": 5}, {"images": 11}])
@pytest.mark.parametrize("on_change", ["refuse", "redo"])
def test_other_images_are_always_refused(tmp_path, change, on_change):
    join_plan(tmp_path, DATA, STAGES)
    (name,) = change
    with pytest.raises(PlanError, match=rf"{name}: was .*, now .*give another out="):
        join_plan(tmp_path, DATA | change, {}, on_change=on_change)


def test_stages_that_made_nothing_are_forgotten(tmp_path):
    plan = join_plan(tmp_path, DATA, STAGES)
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs/unit_000001.done.json").write_text("{}")
    forget(plan, STAGES)
    assert read_plan(tmp_path).stages == {name: STAGES[name] for name in ("caption", "parse")}
    forget(plan, ["caption", "parse"])
    assert list(read_plan(tmp_path).stages) == ["caption", "parse"]
    with pytest.raises(PlanError, match="dataset: was"):
        join_plan(tmp_path, DATA | {"dataset": "o365"}, {})


def test_a_plan_of_which_nothing_was_made_may_be_of_other_images(tmp_path):
    plan = join_plan(tmp_path, DATA, {"caption": STAGES["caption"]})
    forget(plan, ["parse"])
    assert list(read_plan(tmp_path).stages) == ["caption"]  # of another try
    forget(plan, ["caption"])
    new = join_plan(tmp_path, DATA | {"images": 5}, {"caption": {"captions": "g"}})
    assert read_plan(tmp_path) == new
    forget(plan, ["caption"])  # has other settings by now
    assert read_plan(tmp_path) == new


def test_units_without_a_plan_are_refused(tmp_path):
    (tmp_path / "tags").mkdir()
    with pytest.raises(PlanError, match=r"tags: is there, but plan\.json is not"):
        join_plan(tmp_path, DATA, STAGES)


def test_unusable_plans_are_told(tmp_path):
    with pytest.raises(PlanError, match="nothing was pseudo-labelled in this folder yet"):
        read_plan(tmp_path)
    for content in ("{", "[]", '{"format": 1}'):
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(PlanError, match="damaged"):
            read_plan(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps({"format": 99, "data": {}, "stages": {}}))
    with pytest.raises(PlanError, match="format 99"):
        read_plan(tmp_path)


def test_changes_name_what_came_and_went():
    old, new = {"a": 1, "b": {"c": [1, 2]}, "gone": True}, {"a": 1, "b": {"c": [1, 3]}, "new": "x" * 100}
    found = changes(old, new)
    assert found[:2] == ["b.c: was [1, 2], now [1, 3]", "gone: was true, now null"]
    assert found[2].startswith('new: was null, now "xxx')
    assert len(found[2]) < 100
    assert changes(old, old) == []


def join(folder, seed, barrier, results):
    barrier.wait()
    try:
        join_plan(folder, DATA, {"caption": {"seed": seed}})
        results.put("joined")
    except PlanError:
        results.put("refused")


@pytest.mark.parametrize(("seeds", "told"), [((1, 1), ["joined", "joined"]), ((1, 2), ["joined", "refused"])])
def test_of_processes_that_start_together_one_decides(tmp_path, seeds, told):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(len(seeds)), context.Queue()
    processes = [context.Process(target=join, args=(tmp_path, seed, barrier, results)) for seed in seeds]
    for process in processes:
        process.start()
    found = sorted(results.get(timeout=30) for _ in seeds)
    for process in processes:
        process.join()
    assert found == told
