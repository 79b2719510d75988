import dataclasses
import json
import os
import pickle
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from torch.utils.data import DataLoader

from rlipv2.datasets import AnnotationError, COCODetection, SceneGraphs
from rlipv2.datasets.__main__ import main
from rlipv2.datasets.detection import index as detection
from rlipv2.datasets.detection import read_instances
from rlipv2.datasets.scene_graphs import index, reader
from rlipv2.datasets.scene_graphs.reader import read_scene_graphs
from rlipv2.datasets.store import (
    ImageListing,
    StoreError,
    StoreWriter,
    find_stores,
    grouping,
    open_store,
    pages,
    tables,
)
from rlipv2.datasets.store import columns as store_columns
from rlipv2.ops.texts import TextArray
from rlipv2.vocabularies import load
from tests.fakes import write_json
from tests.fakes_corpora import write_corpora
from tests.fakes_detection import annotation_path, write_detection
from tests.fakes_vg import FILE, graph, graphs, write_vg

BOX = (3.0, 2.0, 20.0, 15.0)


@pytest.fixture
def root(tmp_path):
    return write_vg(tmp_path)


def store_of(root, **options):
    return index.index_scene_graphs(root, root / FILE, **options)


def assert_same(first, second):
    """Two dataclasses of arrays, names and numbers."""
    for field in dataclasses.fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if dataclasses.is_dataclass(one):
            assert_same(one, other)
        elif isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        else:
            assert one == other, field.name


@pytest.mark.parametrize("corpus", ["vg", "coco", "objects365", "hico"])
def test_stores_of_every_corpus_hold_what_the_file_holds(tmp_path, corpus):
    settings = write_corpora(tmp_path)[corpus]
    root = Path(settings["root"])
    path = root / settings.get("annotations", FILE)
    listed = root / settings["image_paths"] if "image_paths" in settings else None
    stored = index.content_in(index.index_scene_graphs(root, path, image_paths=listed))
    assert_same(stored, read_scene_graphs(path, image_paths=listed))


@pytest.mark.parametrize("layout", ["coco", "objects365"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_stores_of_boxes_hold_what_the_file_holds(tmp_path, layout, split):
    path = write_detection(tmp_path, layout) / annotation_path(split, layout)
    store = detection.index_instances(tmp_path, path, load(layout), split=split, image_path=str)
    assert_same(detection.records_of(store.tables), read_instances(path, load(layout)))


def test_small_chunks_and_scratch_files_change_nothing(root, tmp_path_factory, monkeypatch):
    whole, boxes = read_scene_graphs(root / FILE), write_detection(tmp_path_factory.mktemp("coco"))
    path = boxes / annotation_path("train", "coco")
    expected = read_instances(path, load("coco"))
    view = SceneGraphs(root, max_relations=2, unrelated_images="drop").content
    monkeypatch.setattr(reader, "CHUNK", 3)
    monkeypatch.setattr(index, "IMAGES", 3)
    monkeypatch.setattr("rlipv2.datasets.detection.reader.CHUNK", 2)
    monkeypatch.setattr("rlipv2.datasets.store.grouping.ROWS", 3)
    monkeypatch.setattr(store_columns, "SPILL_BYTES", 40)
    other = tmp_path_factory.mktemp("index")
    assert_same(index.content_in(store_of(root, index=other)), whole)
    assert_same(SceneGraphs(root, index=other, max_relations=2, unrelated_images="drop").content, view)
    store = detection.index_instances(boxes, path, load("coco"), split="train", image_path=str)
    assert_same(detection.records_of(store.tables), expected)
    assert not list(other.rglob("*.scratch")) + list(other.rglob("*.part"))


def test_errors_count_records_through_all_chunks(tmp_path, monkeypatch):
    records = graphs(5)
    records[3]["objects"][1].update(x="2")
    write_json(tmp_path / FILE, records)
    monkeypatch.setattr(reader, "CHUNK", 2)
    message = r"scene_graphs_preprocessv1.json: record 3 \(image 4\): objects\[1\].x"
    for _ in range(2):  # the first failure leaves no lock behind
        with pytest.raises(AnnotationError, match=message):
            store_of(tmp_path)
    assert find_stores(tmp_path) == []
    assert not list(tmp_path.rglob("*.part"))


def test_the_lock_is_free_once_a_store_is_built_or_has_failed(root):
    folder = store_of(root).folder
    write_json(root / FILE, [7])
    with pytest.raises(AnnotationError) as failure:
        store_of(root)
    assert failure.value  # its frames live on
    FileLock(f"{folder}.lock").acquire(timeout=0).lock.release()


def test_built_once_and_again_when_the_content_changes(root):
    first = store_of(root)
    assert store_of(root).digest == first.digest
    (root / FILE).touch()  # the content is compared
    assert store_of(root).digest == first.digest
    meta = (first.folder / "meta.json").stat()
    assert (store_of(root).folder / "meta.json").stat().st_mtime_ns == meta.st_mtime_ns
    write_json(root / FILE, [*graphs(), graph(99, [("man", BOX)])])
    assert len(store_of(root).tables["images"]["image_ids"]) == 9


def test_same_size_and_other_content_is_built_anew(root):
    text = (root / FILE).read_text()
    assert "street sign" in SceneGraphs(root).names.objects
    (root / FILE).write_text(text.replace("street sign", "street lamp"))
    assert "street lamp" in SceneGraphs(root).names.objects


def test_a_new_list_of_images_builds_anew(tmp_path):
    settings = write_corpora(tmp_path)["objects365"]
    assert len(SceneGraphs(**settings)) == 2
    listed = Path(settings["root"]) / "image_id_to_filepath.json"
    write_json(listed, json.loads(listed.read_text()) | {"3": "train/patch16/objects365_v2_00900461.jpg"})
    assert SceneGraphs(**settings).records.file_names[0] == "train/patch16/objects365_v2_00900461.jpg"


def test_options_have_views_of_their_own_beside_one_store(root):
    strict, loose = SceneGraphs(root, max_relations=1), SceneGraphs(root)
    assert len(strict.records.relations) < len(loose.records.relations)
    assert len(find_stores(root)) == 3


def test_images_that_come_or_go_are_noticed(root):
    assert len(SceneGraphs(root)) == 8
    image = (root / "images/5.jpg").read_bytes()
    (root / "images/5.jpg").unlink()
    assert len(SceneGraphs(root, max_skip_rate=0.2)) == 7
    (root / "images/5.jpg").write_bytes(image)
    assert len(SceneGraphs(root)) == 8


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "meta", "format"])
def test_damage_is_found_and_the_store_built_anew(root, damage, caplog):
    store = store_of(root)
    table = store.folder / "boxes.arrow"
    if damage == "flip":
        content = bytearray(table.read_bytes())
        content[len(content) // 2] ^= 1
        table.write_bytes(content)
    elif damage == "cut":
        table.write_bytes(table.read_bytes()[:-8])
    elif damage == "missing":
        table.unlink()
    else:
        meta = store.folder / "meta.json"
        old, new = ("numbered", "numbored") if damage == "meta" else ("rlipv2-index/1", "rlipv2-index/0")
        meta.write_text(meta.read_text().replace(old, new))
    with pytest.raises(StoreError, match="damaged" if damage != "format" else "this version reads rlipv2-index/1"):
        open_store(store.folder)
    assert_same(index.content_in(store_of(root)), read_scene_graphs(root / FILE))
    assert "it is built anew" in caplog.text


def test_commands_build_and_verify(root, capsys):
    assert main(["verify-index", str(root)]) == 2
    assert main(["build-index", "vg", str(root)]) == 0
    assert "8 images, 33 boxes" in capsys.readouterr().out
    assert main(["verify-index", str(root)]) == 0
    table = find_stores(root)[0] / "boxes.arrow"
    state, content = table.stat(), bytearray(table.read_bytes())
    content[300] ^= 1
    table.write_bytes(content)
    os.utime(table, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert main(["verify-index", str(root)]) == 1
    assert "boxes.arrow: the index is damaged: its checksum" in capsys.readouterr().out


def test_command_builds_both_splits_of_boxes(tmp_path, capsys):
    write_detection(tmp_path, "objects365")
    assert main(["build-index", "objects365", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("images") == 2
    assert len(find_stores(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_asks_for_another(root, tmp_path_factory):
    (root / ".rlipv2-index").write_text("in the way")
    with pytest.raises(PermissionError, match="give a folder that can be written"):
        SceneGraphs(root)
    other = tmp_path_factory.mktemp("index")
    assert len(SceneGraphs(root, index=other)) == 8
    assert len(find_stores(other)) == 2


def test_a_finished_store_is_opened_where_nothing_can_be_written(root, monkeypatch):
    SceneGraphs(root)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr("rlipv2.datasets.store.folder.FileLock", refuse)
    monkeypatch.setattr("rlipv2.datasets.store.folder.write_json", refuse)
    for note in root.rglob("checked.json"):
        note.unlink()
    assert len(SceneGraphs(root)) == 8


def is_mapped(array: np.ndarray) -> bool:
    """Whether the memory of an array is a page of an Arrow file."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= address < last:
            return line.endswith(".arrow")
    return False


def test_arrays_are_pages_of_the_files(root, tmp_path_factory):
    data = SceneGraphs(root)
    part = data.select(np.arange(2, 5))
    assert part.annotation(0).image_id == 3
    assert part._view is data._view  # nothing is copied for a part
    boxes = COCODetection(write_detection(tmp_path_factory.mktemp("coco")), "train").records
    for records in (data.records, boxes):
        assert is_mapped(records.boxes)
        assert is_mapped(records.labels)
        assert is_mapped(records.box_ptr)
        assert is_mapped(records.file_names.data)
        assert not records.boxes.flags.writeable
    assert is_mapped(data.records.relations)
    assert is_mapped(data.content.confidences)


def test_other_processes_get_the_name_of_the_store_only(root):
    content = graphs(400)
    for record in content:
        record["dataset"] = "coco2017"
    (root / "train2017").mkdir()
    for record in content:
        (root / f"train2017/{record['image_id']:012d}.jpg").touch()
    write_json(root / FILE, content)
    data = SceneGraphs(root)
    packed = pickle.dumps(data)
    assert len(packed) < 3000
    copy = pickle.loads(packed)
    assert is_mapped(copy.records.boxes)
    assert_same(copy.content, data.content)


def test_a_store_built_anew_in_the_meantime_is_refused(root):
    packed = pickle.dumps(SceneGraphs(root))
    write_json(root / FILE, graphs(7))
    SceneGraphs(root)
    with pytest.raises(StoreError, match="built anew while it was in use"):
        pickle.loads(packed)


def test_loader_workers_read_the_same(root):
    data = SceneGraphs(root)
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert [sample.annotation.image_id for sample in loader] == data.image_ids.tolist()


def build_and_tell(root, builds):
    plain = index.SceneGraphReader.read

    def read(self, new_columns):
        builds.put(os.getpid())
        time.sleep(0.3)
        return plain(self, new_columns)

    index.SceneGraphReader.read = read
    SceneGraphs(root)


def test_of_two_processes_at_once_one_builds(root):
    context = get_context("fork")
    builds = context.Queue()
    processes = [context.Process(target=build_and_tell, args=(root, builds)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    builds.get(timeout=5)
    assert builds.empty()
    assert main(["verify-index", str(root)]) == 0


def stop_half_way(root, told):
    def stop(writer, content):
        told.put("all tables are written")
        time.sleep(60)

    StoreWriter.close = stop
    store_of(root)


def test_killed_half_way_leaves_nothing_that_counts(root):
    context = get_context("fork")
    told = context.Queue()
    process = context.Process(target=stop_half_way, args=(root, told))
    process.start()
    told.get(timeout=30)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    folder = root / ".rlipv2-index"
    assert len(list(folder.glob(".*.part/boxes.arrow"))) == 1
    assert find_stores(root) == []
    assert_same(index.content_in(store_of(root)), read_scene_graphs(root / FILE))
    assert not list(folder.glob(".*.part"))  # left by the killed one


@pytest.mark.parametrize("in_files", [True, False])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_rows_are_grouped_by_owner_whatever_fits_into_memory(tmp_path, monkeypatch, in_files, shape):
    monkeypatch.setattr(grouping, "ROWS", 7)
    draw = np.random.default_rng(0)
    owners = np.concatenate([draw.integers(0, 9, 60), np.full(20, 4)]).astype(np.int32)  # one owner of many rows
    column = draw.integers(0, 1000, (len(owners), *shape))
    made = grouping.Grouping(owners, 11, lambda: store_columns.Columns(tmp_path if in_files else None))
    expected = column[np.argsort(owners, kind="stable")]
    np.testing.assert_array_equal(made.ordered(column), expected)
    np.testing.assert_array_equal(np.diff(made.ptr), np.bincount(owners, minlength=11))
    in_order = grouping.Grouping(np.sort(owners), 11, store_columns.Columns)
    assert in_order.ordered(column) is column


def test_pages_of_scratch_files_are_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(store_columns, "SPILL_BYTES", 0)
    column = store_columns.Columns(tmp_path).append(a=np.arange(1 << 20)).arrays()["a"]

    def resident() -> int:
        text = Path("/proc/self/smaps").read_text().partition(".scratch\n")[2]
        return int(text.partition("Rss:")[2].split()[0])

    total = int(column.sum())
    assert resident() == 8192
    pages.release(column)
    assert resident() == 0
    assert int(column.sum()) == total


def test_memory_of_a_table_is_not_that_of_its_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(store_columns, "SPILL_BYTES", 0)
    monkeypatch.setattr(tables, "PIECE", 1 << 20)
    values, names = np.arange(1 << 19).reshape(-1, 2), ["a", "", "ä"] * 5
    columns = store_columns.Columns(tmp_path).append(values=values).arrays()
    released = []
    plain = tables.release
    monkeypatch.setattr(tables, "release", lambda *given: (released.append(len(given)), plain(*given)))
    tables.write_table(tmp_path / "a.arrow", columns)
    tables.write_table(tmp_path / "b.arrow", {"names": TextArray.of(names)})
    np.testing.assert_array_equal(tables.read_table(tmp_path / "a.arrow")["values"], values)
    assert tables.read_table(tmp_path / "b.arrow")["names"] == names
    assert len(released) >= values.nbytes >> 20


def test_images_are_found_by_their_names_in_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.jpg", "Bäume.jpg", "10.jpg"):
        (tmp_path / "a" / name).touch()
    files = ["a/1.jpg", "a/1.jp", "a/Bäume.jpg", "a/1.jpgx", "b/1.jpg", "a/10.jpg", "a/" + "1" * 60, "1.jpg"]
    listing = ImageListing(tmp_path)
    assert listing.missing(files).tolist() == [False, True, False, True, True, False, True, True]
    assert listing.folders["b"] is None
    assert listing.missing([]).tolist() == []


def test_texts_are_packed_taken_and_compared():
    texts = TextArray.of(["man", "", "Bäume"])
    assert list(texts) == ["man", "", "Bäume"]
    assert texts == ("man", "", "Bäume")
    assert texts.take([2, 0])[::-1].take([1]).packed() == ["Bäume"]
    assert texts[-1] == "Bäume"
    with pytest.raises(IndexError):
        texts[3]
    assert "3 texts" in repr(texts)
