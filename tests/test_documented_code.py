"""README.md and docs/: commands parse, parameters and settings are valid, Python code is run."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from dvc.cli.parser import get_main_parser
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from ruamel.yaml import YAML

from facemask import cli, params
from facemask.config.files import ELSEWHERE, STUDY
from facemask.errors import InputError
from facemask.resolve import merged

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")))]
# The shell itself takes commands apart, and says what it would have called; it calls nothing.
SHELL = r"""
command_not_found_handle() { :; }
dvc() { local IFS=$'\x1f'; printf '%s\x1e' "dvc$IFS$*"; }
facemask() { local IFS=$'\x1f'; printf '%s\x1e' "facemask$IFS$*"; }
"""
REFUSED = "experiments.mobilenet_1.epochs=ten"  # on purpose


def code(page):
    """The (language, text) of each block of a page, and its code within the text as ("", text)."""
    text = (ROOT / page).read_text()
    found = re.findall(r"^```(\w+)\n(.*?)^```|`([^`\n]+)`", text, re.DOTALL | re.MULTILINE)
    return [(language, block or span) for language, block, span in found]


def blocks(page, language):
    return [text for each, text in code(page) if each == language]


def typed(page):
    """What a reader may type into a shell."""
    for language, text in code(page):
        if language == "sh":
            yield text
        elif language == "console":
            yield from re.findall(r"^\$ (.*)$", text, re.MULTILINE)
        elif not language and re.match(r"(dvc|facemask) .*(?<!-S)$", text):
            yield text
        elif not language and re.match(r"-S \S+=(?!NAME)", text):  # a row of a table, for instance
            yield f"dvc exp run {text}"


@cache
def commands(page):
    shell = [shutil.which("bash"), "--restricted", "-c", SHELL + "\n".join(typed(page))]
    done = subprocess.run(shell, env={"PATH": ""}, capture_output=True, text=True, check=False)
    assert "syntax error" not in done.stderr, done.stderr
    return [command.split("\x1f") for command in done.stdout.split("\x1e")[:-1]]


def dvc_commands(page):
    arguments = [rest for program, *rest in commands(page) if program == "dvc"]
    return [get_main_parser().parse_args(each) for each in arguments]


def loaded(path):
    return YAML(typ="safe").load(path)


@cache
def raw():
    return {
        name: loaded(ROOT / name)
        for name in (STUDY, *dict.fromkeys(file for file, _ in ELSEWHERE.values()))
    }


def with_blocks(page):
    """The parameters with the YAML of a page in them."""
    changed = dict(raw())
    for text in blocks(page, "yaml"):
        changed[STUDY] = merged(changed[STUDY], loaded(text))
    return changed


@pytest.mark.parametrize("page", PAGES)
def test_documented_parameters_are_valid(page):
    params.parse(with_blocks(page))


def with_settings(folder, settings):
    """The parameters with what -S sets in them; of a sweep the last value."""
    changed = dict(raw())
    *_, last = get_hydra_sweeps(to_path_overrides(settings))
    for number, (file, overrides) in enumerate(last.items()):
        path = folder / f"{number}.json"  # in YAML DVC would keep the comments, which takes long
        path.write_text(json.dumps(changed[file]))
        apply_overrides(path, overrides)
        changed[file] = json.loads(path.read_text())
    return changed


SETTINGS = dict.fromkeys(
    tuple(command.set_param)
    for page in PAGES
    for command in dvc_commands(page)
    if getattr(command, "set_param", None)
)


@pytest.mark.parametrize("settings", SETTINGS, ids=" ".join)
def test_documented_settings_are_valid(settings, tmp_path):
    changed = with_settings(tmp_path, settings)
    assert changed != raw()
    if settings == (REFUSED,):
        with pytest.raises(InputError, match="epochs"):
            params.parse(changed)
    else:
        params.parse(changed)


@pytest.mark.parametrize("page", PAGES)
def test_documented_targets_exist(page):
    sections = [part for file in with_blocks(page).values() for part in file.values()]
    names = {name for part in sections if isinstance(part, dict) for name in part}
    pipelines = "".join(file.read_text() for file in ROOT.glob("pipelines/*/dvc.yaml"))
    for command in dvc_commands(page):
        for target in getattr(command, "targets", None) or []:
            if target.endswith(".csv"):  # of dvc plots: any file that a stage writes
                assert f"{Path(target).parent}/${{key}}.csv" in pipelines, target
                continue
            if target.endswith(".dvc"):  # of dvc import-url
                continue
            target = re.sub(r"^models/(?=\w+$)", "train@", target)  # what makes the model
            file, stage, name = re.fullmatch(r"(?:(\S+\.yaml):?)?(\w*)@?(\w*)", target).groups()
            assert not stage or stage in loaded(ROOT / (file or "dvc.yaml"))["stages"], target
            assert not name or name in names, target


@pytest.mark.parametrize("page", PAGES)
def test_documented_commands_of_facemask_parse(page):
    for program, name, *arguments in commands(page):
        if program == "facemask":
            command = cli.app.commands[name]
            if arguments:  # without any the text speaks of the command as such
                command.make_context(name, arguments)


def test_python_code_stands_where_the_tests_of_stages_run_it():
    pages = [page for page in PAGES for _ in blocks(page, "python")]
    assert pages == ["docs/detector.md", "docs/experiments.md", "docs/localizers.md", "docs/use.md"]


def test_the_documented_code_finds_what_the_command_finds(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (text,) = blocks("docs/use.md", "python")
    found = {}
    exec(text, found)
    assert len(found["found"].xyxy) >= 3
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    result = CliRunner().invoke(cli.app, ["predict", "docs/example.jpg", "--json", "--no-save"])
    assert names == [face["name"] for face in json.loads(result.stdout)["faces"]]


def test_the_documented_lines_are_those_of_the_shipped_model():
    shown = [text for page in ("README.md", "docs/use.md") for text in blocks(page, "console")]
    runner = CliRunner()
    line, as_json = (
        runner.invoke(cli.app, ["predict", str(ROOT / "docs/example.jpg"), "--no-save", *options])
        for options in ([], ["--json"])
    )
    line = line.stdout.replace(f"{ROOT}/", "")
    assert sum(line in text for text in shown) == 2
    first = json.dumps(json.loads(as_json.stdout)["faces"][0], separators=(",", ":"))
    assert sum(first in text.replace(",\n", ",") for text in shown) == 2
