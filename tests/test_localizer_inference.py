"""Localizers at work: boxes find back to the crop, pass after pass, and do not leave it."""

import numpy as np
import pytest
from localizer_toys import SIZE, colours, model_input, settings, squares

from facemask.columns import PREDICTED, true_boxes
from facemask.data import affine
from facemask.inference import localizer
from facemask.inference.localizer import predict, predict_crops, predict_views


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("native"))


class Seer:
    """Stands for a model: predicts what can be seen in an image, less exactly in full view."""

    input_shape = (None, SIZE, SIZE, 3)

    def __init__(self, error=0, per_pass=2):
        self.error, self.per_pass, self.seen = error, per_pass, []

    def predict_on_batch(self, images):
        corners, blue = map(np.stack, zip(*map(colours, images), strict=True))
        self.seen.append(corners)
        if len(self.seen) <= self.per_pass:
            corners = corners + self.error
        label = np.where(blue, 0.8, 0.3)[:, None]
        return {"box": corners, "label": label, "heatmap": np.zeros((len(images), 4))}


ERROR = np.array([-0.03, 0.02, 0.02, 0.03])


@pytest.mark.parametrize("mode", ["letterbox", "stretch"])
def test_predictions_are_boxes_of_the_crop_from_the_last_pass(toys, mode):
    crops, splits = toys
    chosen = settings(model_input=model_input(resize_mode=mode))
    seer = Seer(ERROR)
    label, box, flip_iou = predict_crops(seer, [crops[n] for n in range(len(splits))], chosen)
    true = true_boxes(splits)
    np.testing.assert_allclose(label[:, 0], np.where(splits["label"], 0.8, 0.3))
    np.testing.assert_allclose(box, true, atol=0.02)
    assert (flip_iou > 0.8).all()
    assert len(seer.seen) == 4  # two passes, each with a flip
    second = seer.seen[2]
    assert 0.2 < (second[:, 2:] - second[:, :2]).max(axis=1).mean() < 0.6  # zoomed in


@pytest.mark.parametrize("passes", [1, 3])
def test_there_are_as_many_passes_as_wanted(toys, passes):
    crops, splits = toys
    seer = Seer()
    images = [crops[n] for n in range(len(splits))]
    predict_crops(seer, images, settings(model_input=model_input(passes=passes)))
    assert len(seer.seen) == 2 * passes


def test_views_and_their_mirror_images_are_mapped_back_to_the_crop(toys):
    crops, splits = toys
    images = [crops[n] for n in range(len(splits))]
    sides = [image.shape[1::-1] for image in images]
    transforms = np.stack([affine.resizing(w, h, SIZE, "letterbox") for w, h in sides])
    seer = Seer()
    labels, boxes, peaks = predict_views(seer, images, transforms)
    assert (labels.shape, boxes.shape, peaks.shape) == ((2, 24, 1), (2, 24, 4), (2, 24))
    true = splits[["box_x0", "box_y0", "box_x1", "box_y1"]].to_numpy()
    for found in boxes:
        np.testing.assert_allclose(found, true, atol=2)
    # What the model saw the second time is the mirror image.
    plain, mirrored = seer.seen
    np.testing.assert_allclose(mirrored[:, [0, 2]], 1 - plain[:, [2, 0]], atol=1.5 / SIZE)
    np.testing.assert_allclose(peaks, 0.25)  # of four cells that are alike


def test_the_peak_is_the_probability_of_the_highest_cell(toys):
    crops, _ = toys

    class Peaked(Seer):
        def predict_on_batch(self, images):
            heatmap = np.log([[0.1, 0.6, 0.2, 0.1]]) + 5
            return super().predict_on_batch(images) | {"heatmap": heatmap}

    _, _, peaks = predict_views(Peaked(), [crops[0]], affine.scaling(1, 1)[None])
    np.testing.assert_allclose(peaks, 0.6)


def test_the_table_of_samples_in_batches(toys, monkeypatch):
    crops, splits = toys
    monkeypatch.setattr(localizer, "BATCH", 7)
    chosen = settings(model_input=model_input(passes=1))
    rows = splits.sample(frac=0.9, random_state=0)
    table = predict(Seer(), chosen, crops, rows)
    assert list(table["sample"]) == list(rows["sample"])
    assert list(table["predicted"]) == list(table["actual"])
    numbers = rows["sample"].to_numpy()
    _, box, flip_iou = predict_crops(Seer(), [crops[number] for number in numbers], chosen)
    np.testing.assert_allclose(table[PREDICTED], box, atol=1e-6)
    np.testing.assert_allclose(table["flip_iou"], flip_iou)
    assert (table["iou"] > 0.7).all()


def test_corners_do_not_leave_the_crop(toys):
    crops, _ = toys
    _, box, _ = predict_crops(Beyond(), [crops[0]], settings())
    np.testing.assert_array_equal(box, [[0, 0, 1, 1]])


class Beyond:
    input_shape = (None, SIZE, SIZE, 3)

    def predict_on_batch(self, images):
        box = np.tile([-1.0, -1, 2, 2], (len(images), 1))
        return {"box": box, "label": np.ones((1, 1)), "heatmap": np.zeros((len(images), 4))}


def test_the_flip_iou_is_that_of_both_boxes():
    class Leaning(Beyond):
        """The same box in an image and in its mirror image: not the same in the crop."""

        def predict_on_batch(self, images):
            box = np.array([[0.25, 0.25, 0.625, 0.75]])
            return super().predict_on_batch(images) | {"box": box}

    _, box, flip_iou = predict_crops(
        Leaning(), [np.zeros((50, 50, 3), np.uint8)], settings(model_input=model_input(passes=1))
    )
    # 0.25 to 0.625 and 0.375 to 0.75: a quarter in common of a half in all; above a half, a mean.
    assert flip_iou == pytest.approx([0.25 / 0.5])
    np.testing.assert_allclose(box, [[0.3125, 0.25, 0.6875, 0.75]])
