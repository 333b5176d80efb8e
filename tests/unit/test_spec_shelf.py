"""A folder of contracts while it is edited: what is in force, what is said of it, and when."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

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


def test_that_a_file_is_well_again_is_said_although_nothing_changes(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh()
    (folder / "a.toml").write_text(text() + "[typo]\n")
    assert "stays in force" in shelf.refresh()[0]
    (folder / "a.toml").write_text(text())
    (said,) = shelf.refresh()
    assert "a.toml is well again; contract" in said
    assert shelf.refresh() == []


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
    (said,) = shelf.refresh()
    assert "is well again" in said
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


class Before(NamedTuple):
    """What was in force before the restart."""

    model: str
    file: str
    text: str


M, N = Before("m", "a.toml", text()), Before("n", "b.toml", text("n", 0.3))


@pytest.mark.parametrize("torn", ["", text()[:12], text().replace("0.5", "5"), text() + "[typo]\n", None])
def test_a_restart_does_not_end_the_contract_of_a_faulty_file(folder: Path, torn: str | None) -> None:
    before = load_contract(folder / "a.toml")
    (folder / "a.toml").unlink()
    if torn is None:
        (folder / "a.toml").mkdir()
    else:
        (folder / "a.toml").write_text(torn)
    shelf = Shelf(folder)
    (said,) = shelf.refresh([M])
    assert shelf.contracts == {"m": before}
    assert said.endswith(f"\ncontract {before.hash} of m stays in force")
    assert shelf.refresh([M]) == []
    if torn is None:
        (folder / "a.toml").rmdir()
    (folder / "a.toml").write_text(text(threshold=0.9))
    shelf.refresh([M])
    assert (in_force(shelf), shelf.complaints) == (0.9, {})


def test_a_file_without_faults_goes_before_what_was_in_force(folder: Path) -> None:
    shelf = Shelf(folder)
    shelf.refresh([M._replace(text=text(threshold=0.1))])
    assert in_force(shelf) == 0.5


def test_a_file_that_is_removed_before_the_restart_ends_its_contract(folder: Path) -> None:
    shelf = Shelf(folder)
    assert len(shelf.refresh([M, N])) == 1
    assert set(shelf.contracts) == {"m"}
    (folder / "a.toml").write_text("[")
    fresh = Shelf(folder)
    fresh.refresh([M, N])
    assert set(fresh.contracts) == {"m"}, "a fault elsewhere does not bring it back"


def test_a_faulty_file_of_another_name_keeps_the_contract_of_the_model_that_it_names(folder: Path) -> None:
    (folder / "new.toml").write_text(text("n", threshold=5))
    shelf = Shelf(folder)
    news = shelf.refresh([M, N])
    assert in_force(shelf, "n") == 0.3
    assert shelf.contracts["n"].path == folder / "new.toml"
    assert any(said.endswith(f"contract {shelf.contracts['n'].hash} of n stays in force") for said in news)


def test_a_folder_that_is_not_there_at_the_restart_ends_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "gone")
    news = shelf.refresh([M, N])
    assert set(shelf.contracts) == {"m", "n"}
    assert len(news) == 3
    assert sum("stays in force until it is back" in said for said in news) == 2


def test_a_remembered_text_that_is_no_contract_any_more_is_not_in_force(folder: Path) -> None:
    (folder / "a.toml").write_text("[")
    shelf = Shelf(folder)
    (said,) = shelf.refresh([M._replace(text="[model]")])
    assert said.endswith("no contract of this file is in force")
    assert shelf.contracts == {}
