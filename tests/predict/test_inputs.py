import os

import pytest

from rlipv2.predict.inputs import InputError, find_inputs


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "notes.txt", "clip.mp4", ".hidden.jpg", "in/c.webp", "in/deep/d.jpg", ".git/e.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def names(*arguments, **options):
    return [source.name for source in find_inputs([str(argument) for argument in arguments], **options).sources]


def test_a_folder_gives_its_images_and_videos_in_order(folder):
    inputs = find_inputs([str(folder)])
    assert [source.name for source in inputs.sources] == ["a.PNG", "b.jpg", "clip.mp4"]
    assert [source.name for source in inputs.videos] == ["clip.mp4"]
    assert [source.name for source in inputs.images] == ["a.PNG", "b.jpg"]
    assert inputs.left_out == 1
    assert inputs.root == folder


def test_recursive_looks_into_folders_but_not_into_hidden_ones(folder):
    assert names(folder, recursive=True) == ["a.PNG", "b.jpg", "clip.mp4", "in/c.webp", "in/deep/d.jpg"]


@pytest.mark.parametrize("out", [".", "in/deep/.."])
def test_pictures_of_results_among_the_images_are_not_looked_at(out, folder):
    path = folder / out / "drawn" / "in" / "c.jpg"
    path.parent.mkdir(parents=True)
    path.touch()
    everything = ["a.PNG", "b.jpg", "clip.mp4", "in/c.webp", "in/deep/d.jpg"]
    assert len(names(folder, recursive=True)) == 6
    assert names(folder, recursive=True, skip=folder / out) == everything
    assert names(folder / "**" / "*.*", skip=folder / out) == everything


def test_patterns(folder):
    assert names(folder / "*.jpg") == ["b.jpg"]
    assert names(folder / "**" / "*.jpg") == ["b.jpg", "in/deep/d.jpg"]


def test_names_are_the_same_whether_the_shell_or_the_command_expands_a_pattern(folder):
    assert names(folder / "[ab].*") == names(folder / "a.PNG", folder / "b.jpg")


def test_several_arguments_are_named_from_the_folder_they_share(folder):
    assert names(folder / "b.jpg", folder / "in") == ["b.jpg", "in/c.webp"]
    assert names(folder / "in" / "c.webp", folder / "in" / "deep" / "d.jpg") == ["c.webp", "deep/d.jpg"]


def test_a_file_that_is_named_twice_comes_once(folder):
    assert names(folder, folder / "b.jpg", folder / "in" / ".." / "b.jpg") == ["a.PNG", "b.jpg", "clip.mp4"]


def test_a_single_file_may_have_any_name(folder):
    assert names(folder / "notes.txt") == ["notes.txt"]


def test_a_file_whose_name_looks_like_a_pattern_is_taken_as_it_is(tmp_path):
    (tmp_path / "[1].jpg").touch()
    (tmp_path / "1.jpg").touch()
    assert names(tmp_path / "[1].jpg") == ["[1].jpg"]


def test_names_that_are_no_utf8_are_found(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    assert names(tmp_path) == ["\udcff.jpg"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("none.jpg", "none.jpg: no such file or folder"),
        ("*.gif", "no image or video matches this pattern"),
        (".", "no image or video in this folder .1 other files.; --recursive looks into the folders in it too"),
    ],
)
def test_what_names_nothing_is_refused(argument, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").touch()
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=message):
        find_inputs([argument])
