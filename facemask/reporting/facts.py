"""What a report says of the run itself, by the parameters."""

from typing import Any

from facemask.config import Config
from facemask.reporting.study import versions
from facemask.resolve import backbone


def of_run(config: Config) -> dict[str, Any]:
    """Return what `study.render` asks for and nobody measures, by the names it has there."""
    dataset, split = config.datasets[config.dataset], config.splits[config.split]
    backbones = {name: backbone(config, name) for name in measured(config)}
    return {
        "dataset": config.dataset,
        "comparable": dataset.study,
        "split": config.split,
        "kind": split.kind,
        "settings": {
            "crop": ", ".join(f"{key} {value}" for key, value in config.crop.model_dump().items()),
            "seeds": f"training {config.seed}, split {split.seed}",
            "epochs at most": dataset.max_epochs or "as each experiment says",
        },
        "backbone_of": {name: found for name, found in backbones.items() if found},
        "remarks": dataset.remarks,
        "versions": versions(),
    }


def measured(config: Config) -> list[str]:
    """Return the names of what the study measures: its experiments, and what searches tuned."""
    return [*config.experiments, *(f"{name}_tuned" for name in config.searches)]
