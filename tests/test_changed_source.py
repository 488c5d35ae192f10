"""A source that changes after it was copied: what DVC does, from one `dvc repro` to the next."""

import shutil

import pytest
from conftest import SMALL, STUDY, dvc, edit_params, new_project, ran, run

from facemask.data.synthetic import draw_dataset


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.fixture
def own(tmp_path):
    """A project whose dataset is a folder beside it, fetched and parsed."""

    def mine(params):
        SMALL[STUDY](params)
        params["dataset"] = "mine"
        params["datasets"]["mine"] = {**params["datasets"]["sample"], "source": "../mine"}

    draw_dataset(tmp_path / "mine", 4)
    folder = tmp_path / "project"
    folder.mkdir()
    new_project(folder, SMALL | {STUDY: mine})
    assert ran(dvc(folder, "repro", "parse")) == ["fetch", "parse"]
    return folder


@pytest.mark.slow
def test_files_added_to_a_source_are_noticed_and_copies_outlive_it(own):
    source, raw = own.parent / "mine", own / "data/raw"
    assert ran(dvc(own, "repro", "parse")) == []

    for kind, suffix in (("images", "png"), ("annotations", "xml")):
        first = sorted((source / kind).iterdir())[0]
        shutil.copyfile(first, source / kind / f"new.{suffix}")
    assert ran(dvc(own, "repro", "parse")) == ["fetch", "parse"]
    assert (raw / "images/new.png").exists()

    before = contents(raw)
    source.rename(own.parent / "moved")
    again = dvc(own, "repro", "parse")
    assert ran(again) == []
    assert "../mine is not there" in again
    assert "'../mine' is neither" in dvc(own, "repro", "-f", "fetch", code=255)
    assert contents(raw) == before
    (own.parent / "moved").rename(source)

    (raw / "images/by_hand.png").write_bytes(b"precious")
    refusal = dvc(own, "repro", "parse", code=255)
    assert "images/by_hand.png" in refusal
    (raw / "images/by_hand.png").rename(own / "by_hand.png")
    assert ran(dvc(own, "repro", "parse")) == []


@pytest.mark.slow
def test_a_queued_experiment_finds_a_relative_source(own):
    """DVC runs it in a copy of the project, far from where the path leads."""
    run(own, "git", "add", ".")
    edit_params(own, lambda params: params["crop"].update(min_area=9))
    done = dvc(own, "exp", "run", "--temp", "-f", "-S", "strict=false", "parse")
    assert ran(done)[-2:] == ["fetch", "parse"]
    assert "Ran experiment" in done
