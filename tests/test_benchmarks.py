"""The pages with measurements are made from what was measured, and from nothing else."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.common import RESULTS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["own_data.md", "performance.md", "reproducibility.md"])
def test_the_page_is_what_the_results_make_it(name):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page.render()[name] == text
    assert not re.search(r"\{[{%]|[%}]\}", text)


def test_every_result_stands_on_the_page_with_its_command():
    text = "".join(page.render().values())
    measured = {path.stem for path in RESULTS.glob("*.json")}
    assert measured == set(re.findall(r"^`python -m benchmarks\.(\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_no_command_names_a_path_of_the_machine(file):
    assert "/" not in json.loads(file.read_text())["command"]
