"""Read the parameter files: defaults and bases filled in, everything checked before work starts.

An experiment takes the keys it leaves out from `defaults:`, and an entry with `like: NAME` from
that other entry. What results is checked against `config`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from facemask.config import Config
from facemask.config.data import LARGEST_SEED
from facemask.config.files import ALIKE, ELSEWHERE, OWN_BASES, STUDY, Raw, base_of
from facemask.config.training import Training
from facemask.errors import InputError, nearest
from facemask.param_errors import (
    explain,
    follows,
    keys_no_text,
    line,
    origin,
    spelt,
    unknown,
)
from facemask.resolve import ablated, merged

# The file of every section.
HOMES = dict.fromkeys(Config.model_fields, STUDY)
HOMES |= {section: file for section, (file, _) in ELSEWHERE.items()}
# Names in metrics/ and models/ that are not experiments.
RESERVED = {"ablation", "data", "detector_ablation"}


def read(folder: Path = Path()) -> Config:
    """Read params.yaml in a folder and, where they are, the pipelines' own.

    Raises:
        InputError: there is no params.yaml, a file is no YAML, or what `parse` finds wrong.
    """
    if not (folder / STUDY).exists():
        raise InputError(f"there is no {folder / STUDY}: go to the repository's root")
    files = dict.fromkeys((STUDY, *(file for file, _ in ELSEWHERE.values())))
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
        problems += _unknown_names(config, raw)
    except ValidationError as error:
        problems += [explain(each, raw) for each in error.errors() if not follows(each, raw)]
    if problems:
        raise InputError("parameters are not valid:\n" + "\n".join(dict.fromkeys(problems)))
    return config


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever a YAML file may hold
    """Read a file as DVC does: yes and no are text there, and no key may stand twice."""
    content = path.read_bytes()
    try:
        return YAML(typ="safe").load(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path} is not UTF-8 in line {number}: save it in that encoding"
        ) from None
    except MarkedYAMLError as error:
        number = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path} is not YAML in line {number}: {error.problem}") from None
    except YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from None


def _joined(files: Mapping[str, Any]) -> Raw:
    """Return the sections of all files as one mapping, their values unchecked."""
    for name, raw in files.items():
        if not isinstance(raw, dict):
            raise InputError(f"{name}: no parameters; it holds {type(raw).__name__}, not a mapping")
    checks = (_misplaced, keys_no_text, _missing)
    problems = [
        message for name in files for check in checks for message in check(name, files[name])
    ]
    if problems:
        raise InputError("parameters are not valid:\n" + "\n".join(problems))
    joined = dict(files[STUDY])
    for section, (file, key) in ELSEWHERE.items():
        if key in files.get(file, {}):
            joined[section] = files[file][key]
    return joined


def _missing(file: str, raw: Raw) -> Iterator[str]:
    """Sections without which DVC stops at the file's dvc.yaml, whatever is to be run."""
    for home, key in ELSEWHERE.values():
        if home == file and raw.get(key) is None:
            yield f"  {file}:{key}: missing; add it"


def _misplaced(file: str, raw: Raw) -> Iterator[str]:
    """Sections that are of another file, and those that no file of the pipelines has."""
    known = [key for name, key in ELSEWHERE.values() if name == file]
    for key in raw:
        home, where = HOMES.get(key, file), key if file == STUDY else f"{file}:{key}"
        if home != file and key not in known:
            there = spelt((key,)) if home != STUDY else f"{home}:{key}"
            yield f"  {where}: unknown key; it belongs in {there}"
        elif file != STUDY and key not in known:
            yield f"  {where}: unknown key; remove it{nearest(str(key), known)}"


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
    base = base_of(raw, section, entry)
    whole = entry
    # What lies beneath it: what it is like, and below that the defaults.
    for layer in (base, raw.get("defaults") if section not in OWN_BASES else None):
        whole = merged(layer, whole) if isinstance(layer, dict) else whole
    if base is None:  # if it is named, the name stays, to be reported
        return whole
    return {key: value for key, value in whole.items() if key != "like"}


def _unknown_names(config: Config, raw: Raw) -> Iterator[str]:
    """What is valid by itself and does not fit the rest, a line each."""
    yield from unknown(config.dataset, config.datasets, "dataset", "datasets")
    yield from unknown(config.split, config.splits, "split", "splits")
    if config.images:
        key = spelt(("images", "split"))
        yield from unknown(config.images.split, config.splits, key, "splits")
    for name, each in config.backbones.items():
        if each.input_size not in config.arrays.sizes:
            yield (
                f"  backbones.{name}.input_size is {each.input_size}, which arrays.sizes "
                f"{list(config.arrays.sizes)} does not hold: add it there"
            )
    yield from _inputs(config, raw)
    yield from _bases_of_searches(config)
    yield from _taken_names(config)
    yield from _localizer_names(config, raw)
    for section in ALIKE:
        for name, training in getattr(config, section).items():
            yield from _seeds(config, training, (section, name, "repeats"))
    subjects = {*config.backbones, *config.experiments}
    for name, dataset in config.datasets.items():
        for subject in dataset.notes:
            key = f"a key of datasets.{name}.notes"
            yield from unknown(subject, subjects, key, "backbones or experiments")


def _inputs(config: Config, raw: Raw) -> Iterator[str]:
    made = [f"crops/{size}" for size in config.arrays.sizes]
    made += [f"features/{name}" for name in config.backbones]
    for section in ("experiments", "losses", "searches"):
        for name, entry in getattr(config, section).items():
            key = spelt(origin((section, name, "inputs"), raw))
            yield from unknown(entry.inputs, made, key, "arrays or backbones")


def _seeds(config: Config, training: Training, key: tuple[str, ...]) -> Iterator[str]:
    last = config.seed + training.repeats - 1
    if last > LARGEST_SEED:
        yield (
            f"  {spelt(key)} is {training.repeats}, and their seeds count on from seed "
            f"{config.seed} to {last}: give a seed of at most {LARGEST_SEED + 1 - training.repeats}"
        )


def _bases_of_searches(config: Config) -> Iterator[str]:
    for name, search in config.searches.items():
        key = f"searches.{name}"
        yield from unknown(search.base, config.experiments, f"{key}.base", "experiments")
        base = config.experiments.get(search.base)
        if base and base.inputs != search.inputs:
            yield (
                f"  {key} reads {search.inputs}, but its base {search.base} {base.inputs}: "
                "give both the same"
            )


def _taken_names(config: Config) -> Iterator[str]:
    taken = RESERVED | {f"{name}_tuned" for name in config.searches}
    for section in ("experiments", "losses", "localizers", "ensembles", "detectors"):
        for name in getattr(config, section):
            if name in taken:
                yield f"  {spelt((section, name))}: the name is taken; choose another"
        taken |= set(getattr(config, section))


def _localizer_names(config: Config, raw: Raw) -> Iterator[str]:
    for section in OWN_BASES:
        for name, each in getattr(config, section).items():
            key = spelt(origin((section, name, "backbone"), raw))
            yield from unknown(each.backbone, config.backbones, key, "backbones")
    known = {each for dataset in config.datasets.values() for each in dataset.classes}
    for name, detector in config.detectors.items():
        for each in detector.class_weights:
            key = f"a key of {spelt(origin(('detectors', name, 'class_weights'), raw))}"
            yield from unknown(each, known, key, "classes of datasets")
    for name, ensemble in config.ensembles.items():
        for member in ensemble.members:
            key = f"{spelt(('ensembles', name))}.members"
            yield from unknown(member, config.localizers, key, "localizers")
    yield from _ablation_names(config, "ablation", "localizers", bool(config.ensembles))
    yield from _ablation_names(config, "detector_ablation", "detectors", bool(config.detectors))


def _ablation_names(config: Config, section: str, bases: str, shown: bool) -> Iterator[str]:
    ablation, entries = getattr(config, section), getattr(config, bases)
    if ablation is None:
        return
    if not ablation.variants:  # of no network if there is none
        if shown:
            yield f"  {spelt((section, 'variants'))} is {{}}, and a page shows them: give one"
        return
    if ablation.base not in entries:
        yield from unknown(ablation.base, entries, spelt((section, "base")), bases)
        return
    # Errors of the base itself, and those of `shared`, are not repeated for each variant.
    base = entries[ablation.base]
    reported, backbone = set(), base.backbone
    for variant in (None, *ablation.variants):
        where = (section, "variants", variant) if variant else (section, "shared")
        try:
            changed = ablated(base, ablation, variant)
        except ValidationError as error:
            for each in error.errors():
                mistake = (*each["loc"], each["msg"])
                if mistake not in reported:
                    yield line({**each, "loc": (*where, *each["loc"])})
                reported |= {mistake} if variant is None else set()
            continue
        yield from _seeds(config, changed, (*where, "repeats")) if variant else ()
        found = changed.backbone
        if found != backbone:
            yield from unknown(found, config.backbones, f"{spelt(where)}.backbone", "backbones")
        backbone = found if variant is None else backbone
