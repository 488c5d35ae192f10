"""What the values of a search mean in an experiment."""

from collections.abc import Mapping
from typing import Any

from facemask.config import ResolvedExperiment


def tuned(experiment: ResolvedExperiment, best: Mapping[str, Any]) -> ResolvedExperiment:
    """Return an experiment with the values a search has found best, one for each key of `Space`."""
    found = {
        "network": {"dense": (best["units"],) * best["layers"]},
        "dropout": {head: best[f"{head}_dropout"] for head in ("shared", "label", "box")},
        "optimizer": {"learning_rate": best["learning_rate"]},
    }
    entry = experiment.model_dump()
    for section, values in found.items():
        entry[section] |= values
    return ResolvedExperiment.model_validate(entry)
