"""What the parameter files may say: every key, its type and its range (read by `params`)."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    model_validator,
)

Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
ClassName = Literal["with_mask", "without_mask"]


class Section(BaseModel):
    """A mapping of params.yaml: unknown keys are errors and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Dataset(Section):
    """Where photographs come from, what their classes mean, and whose weights backbones carry.

    max_epochs caps every training and search on it; None: as each experiment says.
    """

    source: str = Field(min_length=1)
    classes: dict[str, ClassName | None] = Field(min_length=1)
    weights: str = Field(min_length=1)
    max_epochs: Annotated[int, Field(ge=1)] | None = None
    study: bool = False
    remarks: dict[str, str] = {}


class Crop(Section):
    """How the rectangle of each face is found and which rectangles are kept."""

    metric: Literal["manhattan", "euclidean", "chebyshev"]
    modulus: int = Field(ge=1)
    remainder: int = Field(ge=0)
    min_area: int = Field(ge=0)

    @model_validator(mode="after")
    def _remainder_below_modulus(self) -> "Crop":
        if self.remainder >= self.modulus:
            raise ValueError(
                f"remainder {self.remainder} is never reached modulo {self.modulus}: "
                f"give one of 0..{self.modulus - 1}"
            )
        return self


class Balance(Section):
    """Whether the minority class is doubled by horizontal flips."""

    enabled: bool


class Split(Section):
    """Which samples train, choose the best epoch, and test.

    Shares of all samples (test) and of the rest (val); a grouped split takes one of round(1 / test)
    folds, `fold` says which.
    """

    kind: Literal["random", "grouped"]
    test: float = Field(gt=0, lt=1)
    val: float = Field(gt=0, lt=1)
    seed: int = Field(ge=0)
    fold: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _folds_are_of_grouped_splits(self) -> "Split":
        if self.kind == "random" and self.fold:
            raise ValueError(f"fold is {self.fold}, but a random split has none: give 0")
        if self.kind == "grouped" and max(self.test, self.val) > 0.5:
            raise ValueError("a grouped split takes one fold: give test and val up to 0.5")
        return self


class Pack(Section):
    """What crops are kept as: squares they are stretched to, and in their own proportions.

    Sides of the squares, and limit of the longest side of the others, in px.
    """

    sizes: tuple[Annotated[int, Field(ge=8, le=1024)], ...] = Field(min_length=1)
    limit: int = Field(ge=8, le=4096)


class Backbone(Section):
    """A frozen network of keras.applications and the size of its input."""

    application: str
    input_size: int = Field(ge=32)


class Network(Section):
    """The layers between the input and the two heads."""

    filters: tuple[Annotated[int, Field(ge=1)], ...]
    pools: int = Field(ge=0)
    dense: tuple[Annotated[int, Field(ge=1)], ...]
    label_dense: tuple[Annotated[int, Field(ge=1)], ...]

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

    Smoothing moves the targets 0 and 1 towards ½; a focal gamma above 0 turns down what the
    network is already sure of.
    """

    name: Literal["categorical_crossentropy", "binary_crossentropy"]
    smoothing: Fraction
    focal_gamma: float = Field(ge=0)


class BoxLoss(Section):
    """The loss of the box head; the threshold counts for smooth_l1 and huber."""

    name: Literal["mse", "smooth_l1", "huber", "giou", "diou", "ciou"]
    threshold: float = Field(gt=0)


class Losses(Section):
    """The losses of the two heads."""

    label: LabelLoss
    box: BoxLoss


class LossWeights(Section):
    """Weights of the two losses in their sum."""

    label: float = Field(ge=0)
    box: float = Field(ge=0)


class LocalizerLossWeights(LossWeights):
    """Weights of a localizer's three losses in their sum."""

    cells: float = Field(ge=0)


class ClassWeights(Section):
    """How much the label of a training sample counts, by its class."""

    with_mask: float = Field(gt=0)
    without_mask: float = Field(gt=0)


def _in_one_message(value: Any, check: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    # A union of types would tell what is wrong once for each of them.
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
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
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
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    precision: Literal["float32", "bfloat16"]
    repeats: int = Field(ge=1)

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


class Canvas(Section):
    """The square that a localizer sees: its side in px, and how a crop is laid on it.

    Of its `looks` the first is at the whole crop, each other closer at where the one before found
    the face, which then takes the share `closer` of a side.
    """

    size: int = Field(ge=32, le=1024, multiple_of=32)
    fit: Literal["stretch", "letterbox"]
    closer: float = Field(gt=0, lt=1)
    looks: int = Field(ge=1)


class Augment(Section):
    """How training samples of a localizer are changed anew in every epoch.

    Probabilities: flip, blur, jpeg, cutout (anywhere; none where it would meet the face),
    cutout_mouth (over a part of it). zoom: least and greatest; shift: greatest, in sides of the
    canvas; both of looks from afar (closer ones are always off, by `localizer.OFF`). brightness,
    contrast and saturation: greatest change, 1 being all of it; hue: greatest turn, 1 being a whole
    one.
    """

    flip: Probability
    zoom: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    shift: Probability
    brightness: Probability
    contrast: Probability
    saturation: Probability
    hue: Probability
    blur: Probability
    jpeg: Probability
    cutout: Probability
    cutout_mouth: Probability

    @model_validator(mode="after")
    def _zoom_is_a_range(self) -> "Augment":
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom is {list(self.zoom)}: give the least first")
        return self


class HeadFirst(Section):
    """What a localizer begins with: epochs in which the whole backbone stays as it is."""

    epochs: int = Field(ge=0)
    learning_rate: float = Field(gt=0)


class Localizer(Training):
    """A network that says where the face is, and how it is trained.

    Of the backbone the layers `taps` are read, from fine to coarse; layers up to `frozen` stay as
    they are, the others are trained as well. Width: channels of neck and head. Small crops: whether
    it also learns from those under crop.min_area. Photographs: the share of the training
    photographs that it learns from, less than 1 for a learning curve.
    """

    backbone: str
    taps: tuple[str, ...] = Field(min_length=1)
    frozen: str
    width: int = Field(ge=1)
    canvas: Canvas
    augment: Augment
    small_crops: bool
    photographs: float = Field(gt=0, le=1)
    head_first: HeadFirst
    loss_weights: LocalizerLossWeights


class Ensemble(Section):
    """Two localizers, each with all its repeats, that answer as one."""

    members: tuple[str, str]

    @model_validator(mode="after")
    def _members_differ(self) -> "Ensemble":
        if self.members[0] == self.members[1]:
            raise ValueError(f"members are both {self.members[0]}: give two that differ")
        return self


class Ablation(Section):
    """Trainings of one localizer that differ in one thing each: which step gives what.

    Rows name keys of `localizers`, and so does common, which holds for all rows.
    """

    localizer: str
    common: dict[str, Any]
    rows: dict[Annotated[str, Field(pattern=r"^\w+$")], dict[str, Any]]


class Space(Section):
    """The values a search may choose from, by hyperparameter; one value is no choice.

    Titles are what pictures and tables call them.
    """

    layers: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, title="dense layers")
    units: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, title="units")
    shared_dropout: tuple[Fraction, ...] = Field(min_length=1, title="dropout")
    label_dropout: tuple[Fraction, ...] = Field(min_length=1, title="dropout of labels")
    box_dropout: tuple[Fraction, ...] = Field(min_length=1, title="dropout of boxes")
    learning_rate: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        min_length=1, title="learning rate"
    )


class Search(Section):
    """A Hyperband search over the head of an experiment: what is not in its space is the base's.

    max_epochs of the longest trials; of each round of a bracket one in `factor` goes on; patience
    in epochs without a better validation loss.
    """

    inputs: str = Field(pattern=r"^features/\w+$")
    base: str
    space: Space
    max_epochs: int = Field(ge=1)
    factor: int = Field(ge=2)
    patience: int = Field(ge=1)


class ResolvedExperiment(Experiment):
    """An experiment with all that its training needs beside arrays: what a run was made with."""

    seed: int
    input_size: int


class ResolvedSearch(Search):
    """A search with the experiment it starts from."""

    experiment: ResolvedExperiment


class ResolvedLocalizer(Localizer):
    """A localizer with all that its training needs beside arrays."""

    seed: int
    application: str
    weights: str


Name = Annotated[str, Field(pattern=r"^\w+$")]


class Config(Section):
    """All parameters: those of the study, of params.yaml, and of the pipelines beyond it."""

    dataset: str
    split: str
    strict: bool
    seed: int = Field(ge=0)
    workers: Annotated[int, Field(ge=1)] | None
    crop: Crop
    balance: Balance
    splits: dict[Name, Split] = Field(min_length=1)
    pack: Pack
    datasets: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], Dataset]
    backbones: dict[Name, Backbone]
    defaults: dict[str, Any]
    searches: dict[Name, Search]
    experiments: dict[Name, Experiment] = Field(min_length=1)
    losses: dict[Name, Experiment] = {}
    localizers: dict[Name, Localizer] = {}
    ensembles: dict[Name, Ensemble] = {}
    ablation: Ablation | None = None
