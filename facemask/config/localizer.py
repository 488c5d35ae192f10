"""Parameters of pipelines/localizer: localizers, their ensembles, the ablation."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from facemask.config.data import Name, Section
from facemask.config.training import LossWeights, Neurons, Training, Weight

Probability = Annotated[float, Field(ge=0, le=1)]
Zoom = Annotated[float, Field(ge=0.01, le=100)]


class LocalizerLossWeights(LossWeights):
    """Weights of a localizer's three losses in their sum."""

    heatmap: Weight


class ModelInput(Section):
    """The square that a localizer sees: its side in px, and how a crop is resized to it.

    The first of its `passes` sees the full view; each other one zooms in on the box that the pass
    before predicted, whose longer side then takes `target_face_fraction` of the input.
    """

    size: int = Field(ge=32, le=1024, multiple_of=32)
    resize_mode: Literal["stretch", "letterbox"]
    target_face_fraction: float = Field(gt=0, lt=1)
    passes: int = Field(ge=1, le=10)


class Colours(Section):
    """How samples are flipped and recoloured anew in every epoch.

    Probabilities: flip, blur, jpeg. brightness, contrast and saturation: greatest relative change;
    hue: largest shift, as a fraction of a full turn. zoom: least and greatest factor.
    """

    flip: Probability
    zoom: tuple[Zoom, Zoom]
    brightness: Probability
    contrast: Probability
    saturation: Probability
    hue: Probability
    blur: Probability
    jpeg: Probability

    @model_validator(mode="after")
    def _zoom_is_a_range(self) -> Self:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom is {list(self.zoom)}: give the least first")
        return self


class Augment(Colours):
    """How training samples of a localizer are augmented anew in every epoch.

    shift: greatest, in sides of the input, as zoom of the full view (zoomed views have
    `localizer.ZOOM_JITTER`). Probabilities: erase (anywhere, unless it would meet the face),
    erase_mouth (a part of the mouth).
    """

    shift: Probability
    erase: Probability
    erase_mouth: Probability


class Localizer(Training):
    """A network that predicts where the face is, and how it is trained.

    feature_levels: layers of the backbone, from fine to coarse. Layers up to freeze_until keep
    their weights, the others are trained. channels: of neck and head. extra_crops: whether it also
    trains on crops under crop.min_area. train_fraction: share of the training images, less than 1
    for a learning curve.
    """

    backbone: str
    feature_levels: tuple[str, ...] = Field(min_length=1)
    freeze_until: str
    channels: Neurons
    model_input: ModelInput
    augment: Augment
    extra_crops: bool
    train_fraction: float = Field(gt=0, le=1)
    loss_weights: LocalizerLossWeights


class Ensemble(Section):
    """Two localizers, each with all its repeats, whose predictions are merged."""

    members: tuple[str, str]

    @model_validator(mode="after")
    def _members_differ(self) -> "Ensemble":
        if self.members[0] == self.members[1]:
            raise ValueError(f"members are both {self.members[0]}: give two that differ")
        return self


class Ablation(Section):
    """Trainings of one network, the base, that differ in one thing each.

    `shared` holds keys of the base that all variants change, `variants` those of each.
    """

    base: str
    shared: dict[str, Any]
    variants: dict[Name, dict[str, Any]]


class ResolvedLocalizer(Localizer):
    """A localizer with all that its training needs beside arrays."""

    seed: int
    application: str
    weights: str
