"""Parameters of the data: datasets, crops, splits, arrays."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, Field(pattern=r"^\w+$")]
ClassName = Literal["with_mask", "without_mask"]
Pixels = Literal["zero_based", "one_based"]
LARGEST_SEED = 2**32 - 1  # that NumPy and scikit-learn take
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]


def folds(share: float) -> int:
    """Return how many folds a grouped split makes for one of them to hold about a share."""
    return max(2, round(1 / share))


class Section(BaseModel):
    """A mapping of params.yaml: unknown keys are errors and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Dataset(Section):
    """Where images come from, what their classes and boxes mean, and whose weights backbones carry.

    boxes: whether annotations count pixels from 0 or, as the true Pascal VOC, from 1;
    detector_boxes: the same for detectors, None if alike.
    max_epochs caps every training and search on it; None: as each experiment sets. reference:
    whether these are the images of the published metrics. notes: of a backbone, shown with its
    results; of an experiment, why it falls short.
    """

    source: str = Field(min_length=1, pattern=r"\S")
    # Names are compared without the blanks around them, as those of annotations are.
    classes: dict[Annotated[str, StringConstraints(strip_whitespace=True)], ClassName | None]
    boxes: Pixels
    detector_boxes: Pixels | None = None
    weights: str = Field(min_length=1, pattern=r"\S")
    max_epochs: Epochs | None = None
    reference: bool = False
    notes: dict[str, str] = {}

    @model_validator(mode="after")
    def _classes_are_of_both_labels(self) -> "Dataset":
        labels = get_args(ClassName)
        if missing := [label for label in labels if label not in self.classes.values()]:
            raise ValueError(
                f"no class means {' or '.join(missing)}, and the networks learn to tell the two "
                "apart: map at least one of classes to each"
            )
        return self

    @model_validator(mode="after")
    def _words_for_weights_are_lower_case(self) -> "Dataset":
        word = self.weights.strip().lower()
        if word in ("imagenet", "random") and self.weights != word:
            raise ValueError(
                f"weights is {self.weights!r}: give {word}, or ./{self.weights} if that is a folder"
            )
        return self


class Crop(Section):
    """How the crop region of each face is found and which regions are kept."""

    metric: Literal["manhattan", "euclidean", "chebyshev"]
    grid_stride: int = Field(ge=1, le=10_000)
    grid_offset: int = Field(ge=0)
    min_area: int = Field(ge=0, le=10**9)

    @model_validator(mode="after")
    def _offset_below_stride(self) -> "Crop":
        if self.grid_offset >= self.grid_stride:
            raise ValueError(
                f"grid_offset {self.grid_offset} is never reached modulo {self.grid_stride}: "
                f"give one of 0..{self.grid_stride - 1}"
            )
        return self


class NearDuplicates(Section):
    """Which images are copies of one original: a grouped split keeps them together.

    similarity: of their faces, 1 if equal; crops: whether one may be a crop of the other.
    """

    similarity: float = Field(gt=0, le=1)
    crops: bool


class Balance(Section):
    """Whether the minority class is doubled by horizontal flips."""

    enabled: bool


class Split(Section):
    """Which samples train, choose the best epoch, and test.

    Shares of all samples (test) and of the rest (val); a grouped split tests one of round(1 / test)
    folds, `fold` is its number.
    """

    kind: Literal["random", "grouped"]
    test: float = Field(gt=0, lt=1)
    val: float = Field(gt=0, lt=1)
    seed: Seed
    fold: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _folds_are_of_grouped_splits(self) -> "Split":
        if self.kind == "random" and self.fold:
            raise ValueError(f"fold is {self.fold}, but a random split has none: give 0")
        if self.kind == "grouped" and max(self.test, self.val) > 0.5:
            raise ValueError(
                "a grouped split tests one of round(1 / test) folds: give test and val of at most "
                "0.5"
            )
        if self.kind == "grouped" and self.fold >= folds(self.test):
            raise ValueError(
                f"fold is {self.fold}, but there are {folds(self.test)}, round(1 / test): give one "
                f"of 0..{folds(self.test) - 1}"
            )
        return self


class Arrays(Section):
    """What crops are packed as: squares of some sizes, and crops in their native aspect.

    Sides of the squares, and the longest side of the others, in px.
    """

    sizes: tuple[Annotated[int, Field(ge=8, le=1024)], ...] = Field(min_length=1)
    max_side: int = Field(ge=8, le=4096)

    @model_validator(mode="after")
    def _sizes_differ(self) -> "Arrays":
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"sizes is {list(self.sizes)}: give each size once")
        return self
