"""Parameters of networks and their trainings: layers, losses, optimizer, schedule, searches."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, WrapValidator, model_validator

from facemask.config.data import Epochs, Section

Fraction = Annotated[float, Field(ge=0, lt=1)]
# Numbers in a network are of 32 bits: what is smaller would be 0 there, what is larger infinite.
Rate = Annotated[float, AfterValidator(lambda value: _within(value, 1e-9, 1e38))]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Neurons = Annotated[int, Field(ge=1, le=65_536)]


def _within(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise ValueError(f"{value:g} is not from {least:g} to {most:g}: give another")
    return value


class Backbone(Section):
    """A frozen network of keras.applications and the size of its input."""

    application: str
    input_size: int = Field(ge=32)


class Network(Section):
    """The layers between the input and the two heads."""

    filters: tuple[Neurons, ...]
    pools: int = Field(ge=0)
    dense: tuple[Neurons, ...]
    label_dense: tuple[Neurons, ...]

    @model_validator(mode="after")
    def _a_pool_follows_a_convolution(self) -> "Network":
        if self.pools > len(self.filters):
            raise ValueError(
                f"pools is {self.pools}, but a pool follows a convolution and filters has "
                f"{len(self.filters)}: give at most that"
            )
        return self


class Dropout(Section):
    """Dropout rates: after each dense layer, once before both heads, and before each head."""

    dense: Fraction
    shared: Fraction
    label: Fraction
    box: Fraction


class LabelLoss(Section):
    """The loss of the label head, which decides its neurons: 2 if categorical, else 1.

    Smoothing moves the targets 0 and 1 towards ½; a focal gamma above 0 weighs down samples
    that the network already predicts with confidence.
    """

    name: Literal["categorical_crossentropy", "binary_crossentropy"]
    smoothing: Fraction
    focal_gamma: float = Field(ge=0, le=100)


class BoxLoss(Section):
    """The loss of the box head; the threshold is that of study_smooth_l1 and huber."""

    name: Literal["mse", "study_smooth_l1", "huber", "giou", "diou", "ciou"]
    threshold: Rate


class Losses(Section):
    """The losses of the two heads."""

    label: LabelLoss
    box: BoxLoss


class LossWeights(Section):
    """Weights of the two losses in their sum."""

    label: Weight
    box: Weight


class ClassWeights(Section):
    """How much the label of a training sample counts, by its class."""

    with_mask: Rate
    without_mask: Rate


def _in_one_message(value: Any, check: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    # A union of types would report the error once for each of them.
    try:
        return check(value)
    except ValidationError:
        raise ValueError(f"give a number, true or false, but it is {value!r}") from None


NumberOrFlag = Annotated[bool | int | float, WrapValidator(_in_one_message)]


class Optimizer(Section):
    """An optimizer of Keras by its lower-case name; options are its constructor's others."""

    name: Literal[
        "rmsprop", "adam", "adamw", "sgd", "nadam", "adamax", "adagrad", "adadelta", "adafactor",
        "ftrl", "lion",
    ]  # fmt: skip
    learning_rate: Rate
    weight_decay: Weight
    options: dict[str, NumberOrFlag]


class Schedule(Section):
    """How the learning rate changes from epoch to epoch (`loop.learning_rate`).

    Warm-up and patience are epochs; patience counts for plateau, factor for all but constant.
    """

    name: Literal["constant", "plateau", "cosine", "exponential"]
    warmup: int = Field(ge=0)
    patience: int = Field(ge=0)
    factor: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _only_a_cosine_may_end_at_nothing(self) -> "Schedule":
        if self.factor == 0 and self.name in ("plateau", "exponential"):
            raise ValueError(
                f"factor is 0, and {self.name} multiplies the learning rate by it: give it more"
            )
        return self


class Training(Section):
    """How a network is trained."""

    losses: Losses
    loss_weights: LossWeights
    class_weights: ClassWeights
    optimizer: Optimizer
    schedule: Schedule
    early_stopping: int = Field(ge=0)
    batch_size: int = Field(ge=1, le=100_000)
    epochs: Epochs
    precision: Literal["float32", "bfloat16"]
    repeats: int = Field(ge=1, le=1000)

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if self.schedule.warmup >= self.epochs:
            raise ValueError(
                f"schedule.warmup is {self.schedule.warmup} of {self.epochs} epochs: none is left "
                "at the full learning rate; give it fewer"
            )
        return self


class Experiment(Training):
    """One network and how it is trained."""

    inputs: str = Field(pattern=r"^(crops/\d+|features/\w+)$")
    network: Network
    dropout: Dropout
    box_format: Literal["rel_center_xywh", "center_xywh", "rel_xyxy", "xyxy"]

    @model_validator(mode="after")
    def _layers_fit_the_input(self) -> "Experiment":
        on_pixels = self.inputs.startswith("crops/")
        if on_pixels and not self.network.filters:
            raise ValueError("a network on crops needs convolutions: network.filters is empty")
        if not on_pixels and self.network.filters:
            raise ValueError("a head on features has no convolutions: set network.filters to []")
        return self


class Space(Section):
    """The values a search chooses from, by hyperparameter; a single value is fixed.

    Titles are what plots and tables call them.
    """

    layers: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        min_length=1, title="dense layers"
    )
    units: tuple[Neurons, ...] = Field(min_length=1, title="units")
    shared_dropout: tuple[Fraction, ...] = Field(min_length=1, title="dropout")
    label_dropout: tuple[Fraction, ...] = Field(min_length=1, title="dropout of labels")
    box_dropout: tuple[Fraction, ...] = Field(min_length=1, title="dropout of boxes")
    learning_rate: tuple[Rate, ...] = Field(min_length=1, title="learning rate")


class Search(Section):
    """A Hyperband search over the head of an experiment: what is not in its space is the base's.

    max_epochs of the longest trials; of each round of a bracket one in `factor` goes on; patience
    in epochs without a better validation loss.
    """

    inputs: str = Field(pattern=r"^features/\w+$")
    base: str
    space: Space
    max_epochs: Epochs
    factor: int = Field(ge=2)
    patience: int = Field(ge=1)


class ResolvedExperiment(Experiment):
    """An experiment with all that its training needs beside arrays: what a run was made with."""

    seed: int
    input_size: int


class ResolvedSearch(Search):
    """A search with the experiment it starts from."""

    experiment: ResolvedExperiment
