"""A run of the study, as the report shows it: parameters, packages, metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pandas as pd

from facemask.config import Config
from facemask.resolve import backbone

PACKAGES = ["tensorflow", "keras", "numpy", "cv2", "sklearn", "dvc"]  # as they are imported


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of the study: what it was made with, and what it measured.

    Attributes:
        dataset: its name.
        comparable: whether its images are those of the published metrics.
        split: its name.
        kind: of the split, random or grouped.
        settings: what else the report lists, name to value.
        max_epochs: of any training on the dataset; None: no cap.
        capped: of each experiment that has more epochs than that, how many.
        backbone_of: of each experiment on a frozen backbone, which.
        notes: of a backbone, a caveat shown wherever its results are; of an experiment, why it
            falls short.
        versions: of packages, by name.
        metrics: of each experiment that was run, the content of its statistics file.
        published: published_results.csv.
        data: counts.json.
        backbones: of each backbone, its record: weights, sha256, params, input_size.
    """

    dataset: str
    comparable: bool
    split: str
    kind: str
    settings: Mapping[str, Any]
    max_epochs: int | None
    capped: Mapping[str, int]
    backbone_of: Mapping[str, str]
    notes: Mapping[str, str]
    versions: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, Any]]
    published: pd.DataFrame
    data: Mapping[str, int]
    backbones: Mapping[str, Mapping[str, Any]]

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        metrics: Mapping[str, Mapping[str, Any]],
        data: Mapping[str, int],
        published: pd.DataFrame,
        backbones: Mapping[str, Mapping[str, Any]],
    ) -> "Run":
        """Return the run of these parameters and of the installed packages; see the attributes."""
        dataset, split = config.datasets[config.dataset], config.splits[config.split]
        found = {name: backbone(config, name) for name in experiment_names(config)}
        crop = ", ".join(f"{key} {value}" for key, value in config.crop.model_dump().items())
        return cls(
            dataset=config.dataset,
            comparable=dataset.reference,
            split=config.split,
            kind=split.kind,
            settings={
                "crop": crop,
                "seeds": f"training {config.seed}, split {split.seed}",
                "epochs at most": dataset.max_epochs or "as each experiment sets",
            },
            max_epochs=dataset.max_epochs,
            capped=_capped(config, dataset.max_epochs) if dataset.max_epochs else {},
            backbone_of={name: each for name, each in found.items() if each},
            notes=dataset.notes,
            versions=versions(),
            metrics=metrics,
            published=published,
            data=data,
            backbones=backbones,
        )


def experiment_names(config: Config) -> list[str]:
    """Return the names of what the study measures: its experiments, and what searches tuned."""
    return [*config.experiments, *(f"{name}_tuned" for name in config.searches)]


def versions() -> dict[str, str]:
    """Return the versions of what decides the metrics, by the name each is installed under."""
    installed = metadata.packages_distributions()
    return {installed[name][0]: metadata.version(installed[name][0]) for name in PACKAGES}


def _capped(config: Config, most: int) -> dict[str, int]:
    """The epochs of each experiment that has more of them than its dataset allows."""
    bases = {f"{name}_tuned": search.base for name, search in config.searches.items()}
    epochs = {
        name: config.experiments[bases.get(name, name)].epochs for name in experiment_names(config)
    }
    return {name: wanted for name, wanted in epochs.items() if wanted > most}
