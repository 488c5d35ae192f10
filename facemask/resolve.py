"""The resolved configuration of a training: defaults, cap, seed and input size filled in."""

from collections.abc import Mapping
from typing import Any, TypeVar

from facemask.config import Config
from facemask.config.data import Section
from facemask.config.detector import Detector, ResolvedDetector
from facemask.config.localizer import Ablation, Localizer, ResolvedLocalizer
from facemask.config.training import Experiment, ResolvedExperiment, ResolvedSearch, Training
from facemask.errors import InputError

AnyTraining = TypeVar("AnyTraining", bound=Training)


def resolve(config: Config, pipeline: str) -> dict[str, Section]:
    """Return the resolved configurations of a pipeline's trainings, by the name of a file.

    Args:
        config: all parameters.
        pipeline: study, losses, localizer, detector or detector_ablation.

    Raises:
        InputError: the pipeline has nothing to train.
        ValueError: there is no such pipeline.
    """
    found = _trainings(config, pipeline)
    if not found:
        raise InputError(
            f"pipelines/{pipeline}/params.yaml has no entries, and so nothing is trained: add one, "
            "or run dvc repro without this pipeline"
        )
    return found


def _trainings(config: Config, pipeline: str) -> dict[str, Section]:
    if pipeline == "study":
        experiments = _experiments(config, config.experiments)
        searches = {f"searches/{name}": _search(config, name) for name in config.searches}
        return {**experiments, **searches}
    if pipeline == "losses":
        return {**_experiments(config, config.losses)}
    if pipeline == "localizer":
        localizers = {name: _localizer(config, each) for name, each in config.localizers.items()}
        changed = _variants(config.ablation, config.localizers)
        variants = {f"ablation/{name}": _localizer(config, each) for name, each in changed.items()}
        return {**localizers, **variants}
    if pipeline in ("detector", "detector_ablation"):
        changed_ones = _variants(config.detector_ablation, config.detectors)
        detectors = config.detectors if pipeline == "detector" else changed_ones
        return {name: _detector(config, each) for name, each in detectors.items()}
    raise ValueError(f"no pipeline {pipeline!r}")


def ablated(base: AnyTraining, ablation: Ablation, variant: str | None) -> AnyTraining:
    """Return the base of an ablation as a variant changes it; None: with what all variants share.

    Raises:
        ValidationError: the changes are not valid.
    """
    entry = merged(base.model_dump(), ablation.shared)
    changes = ablation.variants[variant] if variant else {}
    return type(base).model_validate(merged(entry, changes))


def _variants(
    ablation: Ablation | None, entries: Mapping[str, AnyTraining]
) -> dict[str, AnyTraining]:
    if ablation is None:
        return {}
    base = entries[ablation.base]
    return {name: ablated(base, ablation, name) for name in ablation.variants}


def with_values(experiment: ResolvedExperiment, best: Mapping[str, Any]) -> ResolvedExperiment:
    """Return an experiment with the values of a search, one for each key of `Space`."""
    changes = {
        "network": {"dense": (best["units"],) * best["layers"]},
        "dropout": {head: best[f"{head}_dropout"] for head in ("shared", "label", "box")},
        "optimizer": {"learning_rate": best["learning_rate"]},
    }
    return ResolvedExperiment.model_validate(merged(experiment.model_dump(), changes))


def backbone(config: Config, name: str) -> str | None:
    """Return the backbone an experiment of the study is built on; None if on pixels."""
    if name not in config.experiments:  # NAME_tuned of a search
        return backbone(config, config.searches[name.removesuffix("_tuned")].base)
    kind, _, features = config.experiments[name].inputs.partition("/")
    return features if kind == "features" else None


def merged(entry: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with values in the place of others, in sections within sections as well.

    The options of an optimizer are one value: those of another optimizer would not fit.
    """
    changed = {
        key: merged(entry[key], value)
        if isinstance(value, dict) and isinstance(entry.get(key), dict) and key != "options"
        else value
        for key, value in changes.items()
    }
    return entry | changed


def _experiments(
    config: Config, experiments: Mapping[str, Experiment]
) -> dict[str, ResolvedExperiment]:
    return {name: _experiment(config, each) for name, each in experiments.items()}


def _experiment(config: Config, experiment: Experiment) -> ResolvedExperiment:
    kind, _, name = experiment.inputs.partition("/")
    return ResolvedExperiment(
        **_capped(config, experiment).model_dump(),
        seed=config.seed,
        input_size=int(name) if kind == "crops" else config.backbones[name].input_size,
    )


def _search(config: Config, name: str) -> ResolvedSearch:
    search = config.searches[name]
    longest = _cap(config, search.max_epochs)
    # What trials do not take from their base must not run the search again when it changes.
    own = {"epochs": longest, "early_stopping": 0, "repeats": 1}
    base = config.experiments[search.base].model_copy(update=own)
    return ResolvedSearch(
        **search.model_copy(update={"max_epochs": longest}).model_dump(),
        experiment=with_values(
            _experiment(config, base), {key: values[0] for key, values in search.space}
        ),
    )


def _localizer(config: Config, localizer: Localizer) -> ResolvedLocalizer:
    return ResolvedLocalizer(
        **_capped(config, localizer).model_dump(),
        seed=config.seed,
        application=config.backbones[localizer.backbone].application,
        weights=config.datasets[config.dataset].weights,
    )


def _detector(config: Config, detector: Detector) -> ResolvedDetector:
    dataset = config.datasets[config.dataset]
    return ResolvedDetector(
        **_capped(config, detector).model_dump(),
        seed=config.seed,
        application=config.backbones[detector.backbone].application,
        weights=dataset.weights,
        classes={name: label for name, label in dataset.classes.items() if label},
    )


def _capped(config: Config, training: AnyTraining) -> AnyTraining:
    """A training of no more epochs than its dataset allows, in which warm-up still ends."""
    epochs = _cap(config, training.epochs)
    warmup = min(training.schedule.warmup, epochs - 1)
    schedule = training.schedule.model_copy(update={"warmup": warmup})
    return training.model_copy(update={"epochs": epochs, "schedule": schedule})


def _cap(config: Config, epochs: int) -> int:
    most = config.datasets[config.dataset].max_epochs
    return epochs if most is None else min(epochs, most)
