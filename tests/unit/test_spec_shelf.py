"""A folder of contracts while it is edited: what is in force, what is said of it, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.spec.load import Shelf, load_contract


def text(model: str = "m", threshold: float = 0.5) -> str:
    return (
        f'[model]\nname = "{model}"\n[[classes]]\nname = "a"\nthreshold = {threshold}\n[cameras]\npolicy = "open"\n'
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.toml").write_text(text())
    return tmp_path


def in_force(shelf: Shelf, model: str = "m") -> float:
    return shelf.contracts[model].contract.classes[0].threshold


def test_each_model_of_the_folder_is_taken_up_once(folder: Path) -> None:
    (folder / "b.toml").write_text(text("n"))
    (folder / ".b.toml").write_text("half writ")
    (folder / "b.toml.tmp").write_text("half writ")
    shelf = Shelf(folder)
    assert shelf.contracts == {}
    news = shelf.refresh()
    assert len(news) == 2
    assert f"{folder / 'a.toml'}: contract {load_contract(folder / 'a.toml').hash} of m is in force" in news
    assert set(shelf.contracts) == {"m", "n"}
    assert shelf.refresh() == []


def test_a_changed_file_is_taken_up(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    (folder / "a.toml").write_text(text(threshold=0.7))
    (said,) = shelf.refresh()
    assert "is in force" in said
    assert in_force(shelf) == 0.7


def test_an_atomically_replaced_file_is_taken_up_even_with_the_same_size(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    (folder / "new").write_text(text(threshold=0.6))
    (folder / "new").replace(folder / "a.toml")
    shelf.refresh()
    assert in_force(shelf) == 0.6


@pytest.mark.parametrize("torn", ["", text()[:12], text().replace("0.5", "5"), text() + "[typo]\n"])
def test_a_faulty_or_half_written_file_keeps_the_old_and_says_so_once(folder: Path, torn: str) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    before = shelf.contracts["m"]
    (folder / "a.toml").write_text(torn)
    (said,) = shelf.refresh()
    assert said.startswith(f"{folder / 'a.toml'}: 1 fault")
    assert said.endswith(f"contract {before.hash} of m stays in force")
    assert shelf.contracts["m"] is before
    assert list(shelf.complaints) == [folder / "a.toml"]
    assert shelf.refresh() == []
    (folder / "a.toml").write_text(text(threshold=0.9))
    assert len(shelf.refresh()) == 1
    assert (in_force(shelf), shelf.complaints) == (0.9, {})


def test_a_file_that_is_faulty_from_the_start_gives_no_contract(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff")
    shelf = Shelf(tmp_path)
    (said,) = shelf.refresh()
    assert "is not UTF-8" in said
    assert said.endswith("no contract of this file is in force")
    assert shelf.contracts == {}


def test_of_two_files_for_one_model_the_one_in_force_stays(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    (folder / "0.toml").write_text(text(threshold=0.1))
    (said,) = shelf.refresh()
    assert said.startswith(f"{folder / '0.toml'}: the contract of m is {folder / 'a.toml'}")
    assert in_force(shelf) == 0.5
    assert shelf.refresh() == []
    fresh = Shelf(folder)
    assert len(fresh.refresh()) == 2
    assert in_force(fresh) == 0.1


def test_a_second_file_does_not_slip_in_while_the_first_is_faulty(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    (folder / "a.toml").write_text("[")
    (folder / "b.toml").write_text(text(threshold=0.1))
    assert len(shelf.refresh()) == 2
    assert in_force(shelf) == 0.5


def test_a_renamed_file_is_the_same_contract(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    (folder / "a.toml").rename(folder / "b.toml")
    assert shelf.refresh() == []
    assert shelf.contracts["m"].path == folder / "b.toml"


def test_a_removed_file_leaves_its_contract_in_force_until_the_restart(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    (folder / "a.toml").unlink()
    (said,) = shelf.refresh()
    assert "no longer holds the contract of m" in said
    assert in_force(shelf) == 0.5
    assert shelf.refresh() == []
    (folder / "a.toml").write_text(text())
    assert shelf.refresh() == []
    assert shelf.complaints == {}


def test_a_file_that_changes_its_model_adds_one_and_ends_none(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    (folder / "a.toml").write_text(text("n"))
    news = shelf.refresh()
    assert any("of n is in force" in said for said in news)
    assert any("no longer holds the contract of m" in said for said in news)
    assert set(shelf.contracts) == {"m", "n"}


def test_a_folder_that_is_not_there_is_said_once_and_ends_nothing(folder: Path) -> None:
    shelf = Shelf(folder / "inner")
    (said,) = shelf.refresh()
    assert "make it a folder with one contract (TOML) a model" in said
    assert shelf.refresh() == []
    (folder / "inner").mkdir()
    (folder / "inner" / "m.toml").write_text(text())
    shelf.refresh()
    (folder / "inner").rename(folder / "away")
    assert len(shelf.refresh()) == 2
    assert in_force(shelf) == 0.5
