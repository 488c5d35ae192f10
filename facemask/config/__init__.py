"""Schema of the parameter files: every key, its type and its range (read by `params`)."""

from typing import Annotated, Any

from pydantic import Field

from facemask.config.data import (
    Arrays,
    Balance,
    Crop,
    Dataset,
    Name,
    NearDuplicates,
    Section,
    Seed,
    Split,
)
from facemask.config.detector import Detector, Export, Images
from facemask.config.localizer import Ablation, Ensemble, Localizer
from facemask.config.training import Backbone, Experiment, Search


class Config(Section):
    """All parameters: those of the study in params.yaml, and those of the other pipelines."""

    dataset: str
    split: str
    strict: bool
    seed: Seed
    workers: Annotated[int, Field(ge=1, le=1024)] | None
    near_duplicates: NearDuplicates
    crop: Crop
    balance: Balance
    splits: dict[Name, Split] = Field(min_length=1)
    arrays: Arrays
    datasets: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], Dataset]
    backbones: dict[Name, Backbone]
    defaults: dict[str, Any]
    searches: dict[Name, Search]
    experiments: dict[Name, Experiment] = Field(min_length=1)
    losses: dict[Name, Experiment] = Field({})
    localizers: dict[Name, Localizer] = Field({})
    ensembles: dict[Name, Ensemble] = Field({})
    ablation: Ablation | None = None
    images: Images | None = None
    export: Export | None = None
    detectors: dict[Name, Detector] = Field({})
    detector_ablation: Ablation | None = None
