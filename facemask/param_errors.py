"""Messages for wrong parameters: the key as -S spells it, the value, the remedy."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from facemask.config.data import Section
from facemask.config.files import ALIKE, ELSEWHERE, OWN_BASES, STUDY, Raw, base_of, section_of_bases
from facemask.errors import nearest

Place = tuple[str | int, ...]


def unknown(value: str, allowed: Collection[str], key: str, where: str) -> Iterator[str]:
    """Yield a message if the value of a key is not one of those allowed."""
    if value not in allowed:
        yield (
            f"  {key} is {value!r}, which is not in {where}; allowed: "
            f"{', '.join(sorted(allowed)) or 'none'}{nearest(value, allowed)}"
        )


def keys_no_text(file: str, raw: Any, path: Place = ()) -> Iterator[str]:  # noqa: ANN401
    """Yield a message for each key that YAML reads as a number, a date, true, false or null."""
    for key, value in raw.items() if isinstance(raw, dict) else ():
        if isinstance(key, str):
            yield from keys_no_text(file, value, (*path, key))
        else:
            where = (f"{file}:" if file != STUDY else "") + ".".join(map(str, path))
            yield f"  {where}: YAML reads the key {_as_yaml(key)} not as text: put it in quotes"


def _as_yaml(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, default=str).strip('"')


def follows(problem: Any, raw: Raw) -> bool:  # noqa: ANN401
    """Return whether an error only follows from another.

    A key is missing because what its entry is like is not there, or a list is too short without
    its wrong items.
    """
    place = problem["loc"]
    if problem["type"] == "too_short":
        return bool(problem["input"])
    if problem["type"] != "missing" or len(place) < 3 or place[0] not in ALIKE:
        return False
    entry = raw[place[0]][place[1]]
    return "like" in entry and base_of(raw, place[0], entry) is None


def explain(problem: Any, raw: Raw) -> str:  # noqa: ANN401
    """Return the message of a pydantic error, at the key where the value was written."""
    path = tuple(part for part in problem["loc"] if part != "[key]")
    where = origin(path, raw)
    if where[0] in ALIKE and where[2:] == ("like",):
        return _unknown_base(path, problem["input"], raw)
    return line({**problem, "loc": where})


def _unknown_base(path: Place, name: Any, raw: Raw) -> str:  # noqa: ANN401
    section = section_of_bases(path[0])
    entries = raw.get(section)
    named = entries.items() if isinstance(entries, dict) else ()
    bases = [base for base, entry in named if isinstance(entry, dict) and "like" not in entry]
    return (
        f"  {spelt(path)} is {name!r}: give one of {section} that is not like another itself"
        f"{nearest(str(name), bases)}"
    )


def origin(path: Place, raw: Raw) -> Place:
    """Return where a value was written: in the entry itself, in what it is like, or in defaults.

    What is nowhere is missing in defaults if most experiments leave it to them, else in the base or
    the entry.
    """
    if len(path) < 3 or path[0] not in ALIKE:
        return path
    section, name, *inner = path
    entry = raw[str(section)][name]
    places = [(section, name)]
    if base_of(raw, str(section), entry) is not None:
        places.append((section_of_bases(section), entry["like"]))
    defaults = [] if section in OWN_BASES else [("defaults",)]
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


def line(problem: Any) -> str:  # noqa: ANN401
    """Return the message: the key as -S would write it, the value, the remedy."""
    path = problem["loc"]
    key, message = spelt(path), problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = {"like", *(name for each in _sections(Section) for name in each.model_fields)}
        return f"  {key}: unknown key; remove it{nearest(str(path[-1]), known)}"
    if problem["type"] == "missing":
        return f"  {key}: missing; add it"
    if problem["type"] == "value_error":
        return f"  {key}: {message}"
    return f"  {key}: {message}, but it is {problem['input']!r}{_remedy(problem)}"


def _remedy(problem: Any) -> str:  # noqa: ANN401
    """What to do about a value, where what is allowed does not say it."""
    kind, value = problem["type"], problem["input"]
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        if "with_mask" in words and str(value).lower() in ("null", "none", "~"):
            return "; to drop a class, give null without quotes"
        return nearest(str(value), words)
    if kind == "string_type" and value is None:
        return ", which ~ and nothing mean to YAML: put text in quotes"
    if kind == "string_type" and not isinstance(value, (list, dict)):
        return ": put text in quotes"
    if kind == "dict_type" and isinstance(value, list):
        return ": give pairs, KEY: VALUE"
    return ""


def spelt(path: Place) -> str:
    """Return a key with its file, unless that is params.yaml."""
    section, *inner = path
    file, key = ELSEWHERE.get(str(section), (None, section))
    dotted = ".".join(map(str, (key, *inner)))
    return f"{file}:{dotted}" if file else dotted


def _sections(kind: type[Section]) -> list[type[Section]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _sections(below))]
