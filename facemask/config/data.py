"""Parameters of the data: datasets, crops, splits, arrays."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^\w+$")]
ClassName = Literal["with_mask", "without_mask"]


class Section(BaseModel):
    """A mapping of params.yaml: unknown keys are errors and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Dataset(Section):
    """Where images come from, what their classes mean, and whose weights backbones carry.

    max_epochs caps every training and search on it; None: as each experiment sets. reference:
    whether these are the images of the published metrics. notes: of a backbone, shown with its
    results; of an experiment, why it falls short.
    """

    source: str = Field(min_length=1)
    classes: dict[str, ClassName | None] = Field(min_length=1)
    weights: str = Field(min_length=1)
    max_epochs: Annotated[int, Field(ge=1)] | None = None
    reference: bool = False
    notes: dict[str, str] = {}


class Crop(Section):
    """How the crop region of each face is found and which regions are kept."""

    metric: Literal["manhattan", "euclidean", "chebyshev"]
    grid_stride: int = Field(ge=1)
    grid_offset: int = Field(ge=0)
    min_area: int = Field(ge=0)

    @model_validator(mode="after")
    def _offset_below_stride(self) -> "Crop":
        if self.grid_offset >= self.grid_stride:
            raise ValueError(
                f"grid_offset {self.grid_offset} is never reached modulo {self.grid_stride}: "
                f"give one of 0..{self.grid_stride - 1}"
            )
        return self


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
    seed: int = Field(ge=0)
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
        return self


class Arrays(Section):
    """What crops are packed as: squares of some sizes, and crops in their native aspect.

    Sides of the squares, and the longest side of the others, in px.
    """

    sizes: tuple[Annotated[int, Field(ge=8, le=1024)], ...] = Field(min_length=1)
    max_side: int = Field(ge=8, le=4096)
