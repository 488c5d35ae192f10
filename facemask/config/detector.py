"""Parameters of pipelines/detector: detectors of every face of an image, and their ablation."""

from typing import Annotated, Literal

from pydantic import Field

from facemask.config.data import NearDuplicates, Section
from facemask.config.localizer import Colours, LocalizerLossWeights, Probability
from facemask.config.training import LabelLoss, Losses, Neurons, Rate, Training, Weight

Side = Annotated[int, Field(ge=32, le=8192, multiple_of=32)]


class DetectorLabelLoss(LabelLoss):
    """The loss of the class of a face; the classes are those of the annotations."""

    name: Literal["categorical_crossentropy"]


class DetectorLosses(Losses):
    """The losses of class and box in the cells of faces."""

    label: DetectorLabelLoss


class DetectorLossWeights(LocalizerLossWeights):
    """Weights of a detector's four losses in their sum."""

    quality: Weight


class DetectorAugment(Colours):
    """How training samples of a detector are made anew in every epoch: square crops of images.

    zoom: of an image that is drawn with `size` px along its longest side. mosaic: probability that
    a sample is of four images; paste: that faces of the minority class are pasted into it.
    """

    mosaic: Probability
    paste: Probability


class Detector(Training):
    """A network that finds and classifies every face of an image, and how it is trained.

    feature_levels, freeze_until and channels: as of a localizer. size: longest side of an image
    when it predicts, px; crop_view: the same of a crop of the study, with one large face;
    crop_size: side of the square crops that it trains on. quality_power: what the predicted IoU of
    a box counts in its score, 0 nothing, 1 all. class_weights: what the class of a face counts, by
    the name of the annotations; 1 if it is not named.
    """

    backbone: str
    feature_levels: tuple[str, ...] = Field(min_length=1)
    freeze_until: str
    channels: Neurons
    size: Side
    crop_view: Side
    crop_size: Side
    quality_power: float = Field(ge=0, le=1)
    augment: DetectorAugment
    losses: DetectorLosses
    loss_weights: DetectorLossWeights
    class_weights: dict[str, Rate]  # type: ignore[assignment]  # of any classes


class Images(Section):
    """What detectors are trained on: images, in groups of near-duplicates.

    split: an entry of `splits`, taken over images. max_side: longest side of an image as it is
    packed for training, px; smaller ones keep their size.
    """

    split: str
    near_duplicates: NearDuplicates
    max_side: int = Field(ge=32, le=8192)


class Export(Section):
    """Which files are made of a trained detector.

    onnx: what `facemask predict` runs, with weights in half precision; onnx_float32: the same with
    exact weights; litert: a .tflite file; saved_model: TensorFlow's folder.
    """

    formats: tuple[Literal["onnx", "onnx_float32", "litert", "saved_model"], ...]


class ResolvedDetector(Detector):
    """A detector with all that its training needs beside arrays.

    classes: those of the annotations and what they mean.
    """

    seed: int
    application: str
    weights: str
    classes: dict[str, Literal["with_mask", "without_mask"]] = Field(min_length=2)
