"""The page of docs/performance.md is made from what was measured, and from nothing else."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.common import RESULTS

ROOT = Path(__file__).parents[1]


def test_the_page_is_what_the_results_make_it():
    assert page.render() == (ROOT / "docs/performance.md").read_text(encoding="utf-8")


def test_every_result_stands_on_the_page_with_its_command():
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    measured = {path.stem for path in RESULTS.glob("*.json")}
    assert measured == set(re.findall(r"^`python -m benchmarks\.(\w+)", text, re.MULTILINE))
    assert not re.search(r"[{}]", text)


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_no_command_names_a_path_of_the_machine(file):
    assert "/" not in json.loads(file.read_text())["command"]
