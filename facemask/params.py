"""Read the parameter files: defaults and bases filled in, everything checked before work starts.

An experiment takes what it does not say from `defaults:`, and an entry with `like: NAME` from that
other entry. What results is checked against `config` and, for the stages, written down in full.
"""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from facemask.config import Config, Section
from facemask.errors import InputError
from facemask.resolve import ablated, merged

STUDY = "params.yaml"
LOSSES = "pipelines/losses/params.yaml"
LOCALIZER = "pipelines/localizer/params.yaml"
# Each section that stands in another file than params.yaml: the file, and the key in it.
ELSEWHERE = {
    "losses": (LOSSES, "experiments"),
    "localizers": (LOCALIZER, "localizers"),
    "ensembles": (LOCALIZER, "ensembles"),
    "ablation": (LOCALIZER, "ablation"),
}
# The file of every section.
HOMES = dict.fromkeys(Config.model_fields, STUDY)
HOMES |= {section: file for section, (file, _) in ELSEWHERE.items()}
# Sections whose entries may be like another.
ALIKE = ("experiments", "losses", "localizers")
# Names in metrics/ and models/ that are not experiments.
RESERVED = {"ablation", "data"}

Raw = dict[str, Any]
Place = tuple[str | int, ...]


def read(folder: Path = Path()) -> Config:
    """Read params.yaml in a folder and, where they are, the pipelines' own.

    Raises:
        InputError: there is no params.yaml, a file is no YAML, or what `parse` finds wrong.
    """
    if not (folder / STUDY).exists():
        raise InputError(f"there is no {folder / STUDY}: go to the repository's root")
    files = (STUDY, LOSSES, LOCALIZER)
    return parse({name: _load(folder / name) for name in files if (folder / name).exists()})


def parse(files: Mapping[str, Any]) -> Config:
    """Check the contents of the parameter files and return them as frozen models.

    Args:
        files: what YAML holds, by the file's path from the repository's root; STUDY at least.

    Raises:
        InputError: names every wrong key with its value, and what is allowed there.
    """
    raw = _joined(files)
    problems: list[str] = []
    try:
        config = Config.model_validate(_filled_in(raw))
        problems += _unknown_names(config)
    except ValidationError as error:
        told = (each for each in error.errors() if not _of_a_lost_base(each, raw))
        problems += [_explain(problem, raw) for problem in told]
    if problems:
        raise InputError("parameters are not valid:\n" + "\n".join(dict.fromkeys(problems)))
    return config


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever a YAML file may hold
    try:
        return yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from None


def _joined(files: Mapping[str, Any]) -> Raw:
    """One mapping of all files, without a look at what the values are."""
    for name, raw in files.items():
        if not isinstance(raw, dict):
            raise InputError(f"{name}: no parameters; it holds {type(raw).__name__}, not a mapping")
    problems = [line for name, raw in files.items() for line in _misplaced(name, raw)]
    if problems:
        raise InputError("parameters are not valid:\n" + "\n".join(problems))
    joined = dict(files[STUDY])
    for section, (file, key) in ELSEWHERE.items():
        if key in files.get(file, {}):
            joined[section] = files[file][key]
    return joined


def _misplaced(file: str, raw: Raw) -> Iterator[str]:
    """Sections that are of another file, and those that no file of the pipelines has."""
    known = [key for name, key in ELSEWHERE.values() if name == file]
    for key in raw:
        home, where = HOMES.get(key, file), key if file == STUDY else f"{file}:{key}"
        if home != file and key not in known:
            there = _spelt((key,)) if home != STUDY else f"{home}:{key}"
            yield f"  {where}: unknown key; it belongs into {there}"
        elif file != STUDY and key not in known:
            yield f"  {where}: unknown key; remove it{_nearest(str(key), known)}"


def _filled_in(raw: Raw) -> Raw:
    """The parameters with defaults and bases in their places; what is no mapping stays."""
    filled = dict(raw)
    for section in ALIKE:
        if isinstance(raw.get(section), dict):
            filled[section] = {
                name: _whole_entry(raw, section, entry) for name, entry in raw[section].items()
            }
    return filled


def _whole_entry(raw: Raw, section: str, entry: Any) -> Any:  # noqa: ANN401
    if not isinstance(entry, dict):
        return entry
    base = _base(raw, section, entry)
    whole = entry
    # What lies beneath it: what it is like, and below that the defaults.
    for layer in (base, raw.get("defaults") if section != "localizers" else None):
        whole = merged(layer, whole) if isinstance(layer, dict) else whole
    # A base that is not there stays, to be told as what it is.
    return whole if base is None else _without(whole, "like")


def _base(raw: Raw, section: str, entry: Raw) -> Raw | None:
    bases = raw.get(_section_of_bases(section))
    name = entry.get("like")
    base = bases.get(name) if isinstance(bases, dict) and isinstance(name, str) else None
    return base if isinstance(base, dict) and "like" not in base else None


def _without(entry: Raw, key: str) -> Raw:
    return {name: value for name, value in entry.items() if name != key}


def _unknown_names(config: Config) -> Iterator[str]:
    """What is valid by itself and does not fit the rest, a line each."""
    yield from _known(config.dataset, config.datasets, "dataset", "datasets")
    yield from _known(config.split, config.splits, "split", "splits")
    for name, each in config.backbones.items():
        if each.input_size not in config.pack.sizes:
            yield (
                f"  backbones.{name}.input_size is {each.input_size}, which pack.sizes "
                f"{list(config.pack.sizes)} does not hold: add it there"
            )
    yield from _inputs(config)
    yield from _bases_of_searches(config)
    yield from _taken_names(config)
    yield from _localizer_names(config)
    subjects = {*config.backbones, *config.experiments, *config.losses, *config.localizers}
    for name, dataset in config.datasets.items():
        for subject in dataset.remarks:
            where = "backbones, experiments or localizers"
            yield from _known(subject, subjects, f"a key of datasets.{name}.remarks", where)


def _inputs(config: Config) -> Iterator[str]:
    made = [f"crops/{size}" for size in config.pack.sizes]
    made += [f"features/{name}" for name in config.backbones]
    for section in ("experiments", "losses", "searches"):
        for name, entry in getattr(config, section).items():
            yield from _known(
                entry.inputs, made, f"{_spelt((section, name))}.inputs", "pack or backbones"
            )


def _bases_of_searches(config: Config) -> Iterator[str]:
    for name, search in config.searches.items():
        key = f"searches.{name}"
        yield from _known(search.base, config.experiments, f"{key}.base", "experiments")
        base = config.experiments.get(search.base)
        if base and base.inputs != search.inputs:
            yield (
                f"  {key} reads {search.inputs}, but its base {search.base} {base.inputs}: "
                "give both the same"
            )


def _taken_names(config: Config) -> Iterator[str]:
    taken = RESERVED | {f"{name}_tuned" for name in config.searches}
    for section in ("experiments", "losses", "localizers", "ensembles"):
        for name in getattr(config, section):
            if name in taken:
                yield f"  {_spelt((section, name))}: the name is taken; choose another"
        taken |= set(getattr(config, section))


def _localizer_names(config: Config) -> Iterator[str]:
    for name, localizer in config.localizers.items():
        key = f"{_spelt(('localizers', name))}.backbone"
        yield from _known(localizer.backbone, config.backbones, key, "backbones")
    for name, ensemble in config.ensembles.items():
        for member in ensemble.members:
            key = f"{_spelt(('ensembles', name))}.members"
            yield from _known(member, config.localizers, key, "localizers")
    if config.ablation:
        yield from _ablation_names(config, config.ablation.localizer, config.ablation.rows)
    elif config.ensembles:
        yield f"  {_spelt(('ablation',))}: missing, and the page of ensembles shows it; add it"


def _ablation_names(config: Config, base: str, rows: Collection[str]) -> Iterator[str]:
    if config.ensembles and not rows:
        key = _spelt(("ablation", "rows"))
        yield f"  {key} is {{}}, and the page of ensembles shows them: give one"
    unknown = [*_known(base, config.localizers, _spelt(("ablation", "localizer")), "localizers")]
    if unknown:
        yield from unknown
        return
    # What is wrong with the localizer is told of it, and what is in common not of every row.
    shared, backbone = set(), config.localizers[base].backbone
    for row in (None, *rows):
        where = ("ablation", "rows", row) if row else ("ablation", "common")
        try:
            found = ablated(config, row).backbone
        except ValidationError as error:
            for each in error.errors():
                mistake = (*each["loc"], each["msg"])
                if mistake not in shared:
                    yield _line({**each, "loc": (*where, *each["loc"])})
                shared |= {mistake} if row is None else set()
            continue
        if found != backbone:
            yield from _known(found, config.backbones, f"{_spelt(where)}.backbone", "backbones")
        backbone = found if row is None else backbone


def _known(value: str, allowed: Collection[str], key: str, where: str) -> Iterator[str]:
    if value not in allowed:
        yield (
            f"  {key} is {value!r}, which is not in {where}; allowed: "
            f"{', '.join(sorted(allowed))}{_nearest(value, allowed)}"
        )


def _nearest(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, {str(each) for each in words} - {word}, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _of_a_lost_base(problem: Any, raw: Raw) -> bool:  # noqa: ANN401
    """Whether a key is missing because what its entry is like is not there."""
    place = problem["loc"]
    if problem["type"] != "missing" or len(place) < 3 or place[0] not in ALIKE:
        return False
    entry = raw[place[0]][place[1]]
    return "like" in entry and _base(raw, place[0], entry) is None


def _explain(problem: Any, raw: Raw) -> str:  # noqa: ANN401
    """One line for one pydantic error, at the key where the value was written."""
    path = tuple(part for part in problem["loc"] if part != "[key]")
    where = _origin(path, raw)
    if where[0] in ALIKE and where[2:] == ("like",):
        return _unknown_base(path, problem["input"], raw)
    return _line({**problem, "loc": where})


def _unknown_base(path: Place, name: Any, raw: Raw) -> str:  # noqa: ANN401
    section = _section_of_bases(path[0])
    entries = raw.get(section)
    named = entries.items() if isinstance(entries, dict) else ()
    bases = [base for base, entry in named if isinstance(entry, dict) and "like" not in entry]
    return (
        f"  {_spelt(path)} is {name!r}: give one of {section} that is not like another itself"
        f"{_nearest(str(name), bases)}"
    )


def _section_of_bases(section: str | int) -> str:
    return "localizers" if section == "localizers" else "experiments"


def _origin(path: Place, raw: Raw) -> Place:
    """Where a value was written: in the entry itself, in what it is like, or in defaults.

    What is nowhere is missing in defaults if most experiments leave it to them, else in the base or
    the entry.
    """
    if len(path) < 3 or path[0] not in ALIKE:
        return path
    section, name, *inner = path
    entry = raw[str(section)][name]
    places = [(section, name)]
    if _base(raw, str(section), entry) is not None:
        places.append((_section_of_bases(section), entry["like"]))
    defaults = [] if section == "localizers" else [("defaults",)]
    for place in (*places, *defaults):
        if _holds(raw, (*place, *inner)):
            return (*place, *inner)
    return (
        ("defaults", *inner) if defaults and _mostly_left_out(raw, inner) else (*places[-1], *inner)
    )


def _mostly_left_out(raw: Raw, inner: list[str | int]) -> bool:
    entries = raw.get("experiments")
    names = list(entries) if isinstance(entries, dict) else []
    return 2 * sum(_holds(raw, ("experiments", name, *inner)) for name in names) < len(names)


def _holds(raw: Any, path: Place) -> bool:  # noqa: ANN401
    for part in path:
        if isinstance(raw, list):  # one takes the place of another as a whole
            return True
        if not isinstance(raw, dict) or part not in raw:
            return False
        raw = raw[part]
    return True


def _line(problem: Any) -> str:  # noqa: ANN401
    """The key as -S would write it, the value, the remedy."""
    path = problem["loc"]
    key, message = _spelt(path), problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = {"like", *(name for each in _sections(Section) for name in each.model_fields)}
        return f"  {key}: unknown key; remove it{_nearest(str(path[-1]), known)}"
    if problem["type"] == "missing":
        return f"  {key}: missing; add it"
    if problem["type"] == "value_error":
        return f"  {key}: {message}"
    return f"  {key}: {message}, but it is {problem['input']!r}"


def _spelt(path: Place) -> str:
    """A key with the file it stands in, unless that is params.yaml."""
    section, *inner = path
    file, key = ELSEWHERE.get(str(section), (None, section))
    dotted = ".".join(map(str, (key, *inner)))
    return f"{file}:{dotted}" if file else dotted


def _sections(kind: type[Section]) -> list[type[Section]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _sections(below))]
