"""Which file holds which section, and which entry another is like."""

from typing import Any

STUDY = "params.yaml"
LOSSES = "pipelines/losses/params.yaml"
LOCALIZER = "pipelines/localizer/params.yaml"
DETECTOR = "pipelines/detector/params.yaml"
DETECTOR_ABLATION = "pipelines/detector_ablation/params.yaml"
# Each section that stands in another file than params.yaml: the file, and the key in it.
ELSEWHERE = {
    "losses": (LOSSES, "experiments"),
    "localizers": (LOCALIZER, "localizers"),
    "ensembles": (LOCALIZER, "ensembles"),
    "ablation": (LOCALIZER, "ablation"),
    "images": (DETECTOR, "images"),
    "export": (DETECTOR, "export"),
    "detectors": (DETECTOR, "detectors"),
    "detector_ablation": (DETECTOR_ABLATION, "ablation"),
}
# Sections whose entries may be like another.
ALIKE = ("experiments", "losses", "localizers", "detectors")
# Of these, the sections whose entries are like one of their own, and have no defaults.
OWN_BASES = ("localizers", "detectors")

Raw = dict[str, Any]  # what YAML holds, its values unchecked


def base_of(raw: Raw, section: str, entry: Raw) -> Raw | None:
    """Return the entry that one is like; None if there is none, or if it is not usable."""
    bases = raw.get(section_of_bases(section))
    name = entry.get("like")
    base = bases.get(name) if isinstance(bases, dict) and isinstance(name, str) else None
    return base if isinstance(base, dict) and "like" not in base else None


def section_of_bases(section: str | int) -> str:
    """Return the section whose entries those of a section may be like."""
    return str(section) if section in OWN_BASES else "experiments"
