"""What params.yaml may say: every key, its type and its range, checked before any work starts."""

import copy
import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    model_validator,
)

from facemask.errors import InputError

# Names in metrics/<dataset> that are not experiments.
RESERVED = {
    "ablation", "backbones", "data", "folds", "predictions", "searches", "statistics", "validation",
}  # fmt: skip
# What an experiment on a search's findings says where the value is the search's, and a valid value
# to stand there until `choose` puts in what was found.
SEARCHED = "searched"
STAND_INS = {
    ("network", "dense"): [1],
    ("dropout", "shared"): 0.0,
    ("dropout", "label"): 0.0,
    ("dropout", "box"): 0.0,
    ("optimizer", "learning_rate"): 1.0,
}

Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
ClassName = Literal["with_mask", "without_mask"]


class Section(BaseModel):
    """A mapping of params.yaml: unknown keys are errors and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Dataset(Section):
    """Where photographs come from, what their classes mean, and whose weights backbones carry."""

    source: str = Field(min_length=1)
    classes: dict[str, ClassName | None] = Field(min_length=1)
    weights: str = Field(min_length=1)
    study: bool
    remarks: dict[str, str]


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
    """Which samples train, choose the best epoch, and test."""

    protocol: Literal["report", "grouped"]
    suffix: str = Field(pattern=r"^[A-Za-z0-9_-]*$")
    test: float = Field(gt=0, lt=1)
    val: float = Field(gt=0, lt=1)
    seed: int = Field(ge=0)
    fold: int = Field(ge=0)

    @model_validator(mode="after")
    def _a_fold_is_of_the_grouped_protocol(self) -> "Split":
        if self.fold and self.protocol != "grouped":
            raise ValueError(f"fold is {self.fold}, but protocol {self.protocol} has none: give 0")
        return self

    @model_validator(mode="after")
    def _results_of_protocols_stay_apart(self) -> "Split":
        if (self.protocol == "grouped") != self.suffix.startswith("_grouped"):
            raise ValueError(
                f"protocol is {self.protocol} and suffix {self.suffix!r}: a grouped run "
                "keeps its results apart, so set both, split.protocol=grouped and "
                "split.suffix=_grouped, or neither"
            )
        if self.protocol == "grouped" and max(self.test, self.val) > 0.5:
            raise ValueError("the grouped protocol takes one fold: give test and val up to 0.5")
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
    seeds: int = Field(ge=1)

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

    inputs: str = Field(pattern=r"^(crops/\d+|features/\w+|searches/\w+)$")
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
    """Two localizers, each with all its seeds, that answer as one."""

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


def choose(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """Return an experiment with the values a search has chosen, one for each key of `Space`."""
    found = {
        "network": {"dense": (values["units"],) * values["layers"]},
        "dropout": {head: values[f"{head}_dropout"] for head in ("shared", "label", "box")},
        "optimizer": {"learning_rate": values["learning_rate"]},
    }
    entry = experiment.model_dump()
    for section, chosen in found.items():
        entry[section] |= chosen
    return Experiment.model_validate(entry)


class Config(Section):
    """The whole of params.yaml."""

    dataset: str
    strict: bool
    seed: int = Field(ge=0)
    workers: Annotated[int, Field(ge=1)] | None
    crop: Crop
    balance: Balance
    split: Split
    pack: Pack
    datasets: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], Dataset]
    backbones: dict[Annotated[str, Field(pattern=r"^\w+$")], Backbone]
    searches: dict[Annotated[str, Field(pattern=r"^\w+$")], Search]
    experiments: dict[Annotated[str, Field(pattern=r"^\w+$")], Experiment] = Field(min_length=1)
    localizers: dict[Annotated[str, Field(pattern=r"^\w+$")], Localizer]
    ensembles: dict[Annotated[str, Field(pattern=r"^\w+$")], Ensemble]
    ablation: Ablation

    def ablated(self, row: str) -> Localizer:
        """Return the localizer of a row of the ablation."""
        return self._changed(("common",), ("rows", row))

    def _changed(self, *places: tuple[str, ...]) -> Localizer:
        """Change the ablation's localizer as some of its sections say."""
        entry = self.localizers[self.ablation.localizer].model_dump()
        for place in places:
            changes: Any = self.ablation.model_dump()
            for key in place:
                changes = changes[key]
            entry = _merged(entry, changes)
        try:
            return Localizer.model_validate(entry)
        except ValidationError as error:
            problems = error.errors()
        where = ("ablation", *places[-1])
        told = [_explain({**each, "loc": (*where, *each["loc"])}) for each in problems]
        raise ValueError("\n".join(told).strip())

    def made_from(self, inputs: str) -> str:
        """Return the crops/SIZE or features/BACKBONE that inputs are, of a search those it saw."""
        kind, _, name = inputs.partition("/")
        return self.searches[name].inputs if kind == "searches" else inputs

    def backbone(self, experiment: str) -> str | None:
        """Return the backbone an experiment or a localizer is built on; None if on pixels."""
        if experiment in self.localizers:
            return self.localizers[experiment].backbone
        kind, _, name = self.made_from(self.experiments[experiment].inputs).partition("/")
        return name if kind == "features" else None

    @model_validator(mode="before")
    @classmethod
    def _searched_values_are_left_to_the_search(cls, raw: Any) -> Any:  # noqa: ANN401
        """Put a stand-in wherever an experiment on a search's findings says `searched`."""
        if not isinstance(raw, dict) or not isinstance(raw.get("experiments"), dict):
            return raw  # told with all other keys
        entries = {name: _stand_in(name, entry) for name, entry in raw["experiments"].items()}
        return {**raw, "experiments": entries}

    @model_validator(mode="after")
    def _names_are_known(self) -> "Config":
        _known(self.dataset, self.datasets, "dataset", "datasets")
        for name, backbone in self.backbones.items():
            if backbone.input_size not in self.pack.sizes:
                raise ValueError(
                    f"backbones.{name}.input_size is {backbone.input_size}, which pack.sizes "
                    f"{list(self.pack.sizes)} does not hold: add it there"
                )
        inputs = [f"crops/{size}" for size in self.pack.sizes]
        inputs += [f"features/{name}" for name in self.backbones]
        for name, search in self.searches.items():
            _known(search.inputs, inputs, f"searches.{name}.inputs", "backbones")
            _known(search.base, self.experiments, f"searches.{name}.base", "experiments")
            base = self.experiments[search.base].inputs
            if base != search.inputs:
                raise ValueError(
                    f"searches.{name} reads {search.inputs}, but its base {search.base} {base}: "
                    "give both the same"
                )
        inputs += [f"searches/{name}" for name in self.searches]
        for name, experiment in self.experiments.items():
            _known(
                experiment.inputs,
                inputs,
                f"experiments.{name}.inputs",
                "pack, backbones or searches",
            )
        for name, localizer in self.localizers.items():
            _known(localizer.backbone, self.backbones, f"localizers.{name}.backbone", "backbones")
        taken = set(RESERVED)
        for kind in ("experiments", "localizers", "ensembles"):
            for name in getattr(self, kind):
                if name in taken:
                    raise ValueError(f"{kind}.{name}: the name is taken; choose another")
            taken |= set(getattr(self, kind))
        for name, ensemble in self.ensembles.items():
            for member in ensemble.members:
                _known(member, self.localizers, f"ensembles.{name}.members", "localizers")
        if self.ensembles and not self.ablation.rows:
            raise ValueError("ablation.rows is {}, and the page of ensembles shows them: give one")
        if self.ablation.rows:
            _known(self.ablation.localizer, self.localizers, "ablation.localizer", "localizers")
            self._changed(("common",))
        for row in self.ablation.rows:
            known = self.ablated(row).backbone
            _known(known, self.backbones, f"ablation.rows.{row}.backbone", "backbones")
        for name, dataset in self.datasets.items():
            for subject in dataset.remarks:
                _known(
                    subject,
                    {*self.backbones, *self.experiments, *self.localizers},
                    f"a key of datasets.{name}.remarks",
                    "backbones, experiments or localizers",
                )
        return self


def read(path: Path) -> Config:
    """Read a parameter file.

    Raises:
        InputError: it is no YAML, or what `parse` finds wrong.
    """
    with path.open(encoding="utf-8") as file:
        try:
            return parse(yaml.safe_load(file))
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not YAML: {error}") from None


def parse(raw: Any) -> Config:  # noqa: ANN401 - whatever a YAML file may hold
    """Check the contents of a parameter file and return them as frozen models.

    Raises:
        InputError: names every wrong key with its value, and what is allowed there.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise InputError("params.yaml is not valid:\n" + "\n".join(problems)) from None


def _stand_in(name: str, entry: Any) -> Any:  # noqa: ANN401
    if not isinstance(entry, dict) or not str(entry.get("inputs")).startswith("searches/"):
        return entry
    entry = copy.deepcopy(entry)
    for (section, key), value in STAND_INS.items():
        if not isinstance(entry.get(section), dict) or key not in entry[section]:
            continue
        if entry[section][key] != SEARCHED:
            raise ValueError(
                f"experiments.{name}.{section}.{key} is {entry[section][key]!r}, but "
                f"{entry['inputs']} finds it: leave it {SEARCHED}, or narrow that search's space"
            )
        entry[section][key] = value
    return entry


def _merged(entry: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put values in the place of others, in sections within sections as well."""
    changed = {
        key: _merged(entry[key], value)
        if isinstance(value, dict) and isinstance(entry.get(key), dict)
        else value
        for key, value in changes.items()
    }
    return entry | changed


def _known(value: str, allowed: Collection[str], key: str, where: str) -> None:
    if value not in allowed:
        raise ValueError(
            f"{key} is {value!r}, which is not in {where}; allowed: {', '.join(sorted(allowed))}"
            + _nearest(value, allowed)
        )


def _nearest(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, set(words) - {word}, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _sections(kind: type[Section]) -> list[type[Section]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _sections(below))]


def _explain(problem: Any) -> str:  # noqa: ANN401
    """One line for one pydantic error: the key as -S would write it, the value, the remedy."""
    path = [part for part in problem["loc"] if part != "[key]"]
    key = ".".join(map(str, path))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = {name for section in _sections(Section) for name in section.model_fields}
        return f"  {key}: unknown key; remove it{_nearest(str(path[-1]), known)}"
    if problem["type"] == "missing":
        return f"  {key}: missing; add it"
    if not key or problem["type"] == "value_error":
        return f"  {key}: {message}" if key else f"  {message}"
    return f"  {key}: {message}, but it is {problem['input']!r}"
