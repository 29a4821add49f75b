from pathlib import Path

import pytest

from fpbench.store.objects import replace_folder, restore_folder


@pytest.fixture
def folders(tmp_path):
    for name in ("fresh", "board"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "said").write_text(name)
    return tmp_path / "fresh", tmp_path / "board"


def test_a_folder_takes_the_place_of_another_and_leaves_nothing_beside(folders):
    fresh, board = folders
    (board.parent / ".board.old").mkdir()  # what an earlier kill left
    replace_folder(fresh, board)
    assert (board / "said").read_text() == "fresh"
    assert [path.name for path in board.parent.iterdir()] == ["board"]


def test_a_rename_that_fails_brings_the_former_one_back(folders, monkeypatch):
    fresh, board = folders
    rename = Path.rename

    def fail(self, target):
        if self == fresh:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no"):
        replace_folder(fresh, board)
    assert (board / "said").read_text() == "board"


def test_what_a_kill_left_beside_is_brought_back_and_nothing_else(folders):
    fresh, board = folders
    restore_folder(board)
    assert (board / "said").read_text() == "board"
    board.rename(board.parent / ".board.old")
    restore_folder(board)
    assert (board / "said").read_text() == "board"
    assert fresh.is_dir()
