"""The faces of packed images: where they lie after packing, in which image, and of which class."""

import cv2
import numpy as np
import pandas as pd
import pytest

from facemask.config.data import Dataset
from facemask.data import arrays
from facemask.data.image_faces import annotated, faces_of, whole_images
from facemask.shards import Crops

CORNERS = ["x0", "y0", "x1", "y1"]
CLASSES = ["with_mask", "without_mask"]
# Name, width, height, and faces: a class and inclusive pixels.
IMAGES = [
    ("b.png", 120, 60, [("without_mask", 10, 20, 39, 49), ("with_mask", 90, 0, 119, 19)]),
    ("a.png", 50, 40, [("with_mask", 0, 0, 49, 39)]),
    ("none.png", 30, 70, []),
    ("c.png", 33, 80, [("with_mask", 5, 40, 24, 79), ("without_mask", 12, 3, 31, 22)]),
]


def tables():
    images = pd.DataFrame(
        [(name, width, height) for name, width, height, _ in IMAGES],
        columns=["image", "width", "height"],
        index=[7, 3, 9, 4],  # as is left of a longer table
    )
    return images, annotated(annotations(), dataset("zero_based"))


def annotations():
    """Faces in another order than their images, as `annotations.parse` has them."""
    rows = [(*of_image, *face) for *of_image, faces in sorted(IMAGES) for face in faces]
    columns = ["image", "width", "height", "name", "xmin", "ymin", "xmax", "ymax"]
    return pd.DataFrame(rows, columns=columns)


def dataset(boxes, detector_boxes=None):
    classes = {name: name for name in CLASSES}
    how = {"boxes": boxes, "detector_boxes": detector_boxes}
    return Dataset(source="synthetic:8", weights="random", classes=classes, **how)


def test_an_image_is_a_crop_of_all_of_it():
    samples = whole_images(tables()[0])
    assert list(samples["sample"]) == [0, 1, 2, 3]
    assert list(samples["image"]) == [name for name, *_ in IMAGES]
    regions = [[0, 0, width, height] for _, width, height, _ in IMAGES]
    assert samples[["x0", "y0", "x1", "y1"]].to_numpy().tolist() == regions
    assert (samples["flip"] == 0).all()


def test_faces_are_those_of_their_image_in_half_open_pixels():
    images, faces = tables()
    samples = whole_images(images)
    shapes = samples[["width", "height"]].to_numpy()
    found = faces_of(samples, faces, CLASSES, shapes)
    assert len(found) == len(IMAGES)
    for (_, _, _, drawn), (boxes, labels) in zip(IMAGES, found, strict=True):
        assert boxes.shape == (len(drawn), 4)
        assert labels.dtype.kind == "i"
        expected = [[x0, y0, x1 + 1, y1 + 1] for _, x0, y0, x1, y1 in drawn]
        assert boxes.tolist() == expected
        assert [CLASSES[label] for label in labels] == [name for name, *_ in drawn]


@pytest.mark.parametrize(
    ("boxes", "detector_boxes", "moved"),
    [
        ("zero_based", None, 0),
        ("one_based", None, 0),  # read as such already
        ("zero_based", "zero_based", 0),
        ("one_based", "one_based", 0),
        ("zero_based", "one_based", -1),
    ],
)
def test_detectors_may_count_pixels_otherwise(boxes, detector_boxes, moved):
    rows = annotations()
    found = annotated(rows, dataset(boxes, detector_boxes))
    assert list(found.columns) == ["image", "name", *CORNERS]
    for face, row in zip(found.itertuples(), rows.itertuples(), strict=True):
        for low, high, size, first, last in (
            (face.x0, face.x1, row.width, row.xmin, row.xmax),
            (face.y0, face.y1, row.height, row.ymin, row.ymax),
        ):
            # What reaches an edge was cut off there: it still does.
            assert low == (0 if first == 0 else first + moved)
            assert high == (size if last == size - 1 else last + 1 + moved)


def test_labels_follow_the_order_of_the_classes():
    images, faces = tables()
    samples = whole_images(images)
    shapes = samples[["width", "height"]].to_numpy()
    one, other = (faces_of(samples, faces, names, shapes) for names in (CLASSES, CLASSES[::-1]))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.labels, 1 - b.labels)
        np.testing.assert_array_equal(a.boxes, b.boxes)


def test_boxes_lie_where_packed_pixels_do(tmp_path):
    images, faces = tables()
    for name, width, height, drawn in IMAGES:
        image = np.zeros((height, width, 3), np.uint8)
        for face, (_, x0, y0, x1, y1) in enumerate(drawn):
            image[y0 : y1 + 1, x0 : x1 + 1, face] = 255
        cv2.imwrite(str(tmp_path / name), image[..., ::-1])
    samples = whole_images(images)
    native = tmp_path / "native"
    native.mkdir()
    arrays.pack(samples, samples.iloc[:0], tmp_path, {}, native, 40, 1)
    crops = Crops(native)
    assert crops.shapes.max(axis=1).tolist() == [40, 40, 40, 40]
    for number, (boxes, _) in enumerate(faces_of(samples, faces, CLASSES, crops.shapes)):
        for face, box in enumerate(boxes):
            y, x = np.nonzero(crops[number][..., face] > 127)
            corners = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            np.testing.assert_allclose(box, corners, atol=0.51)
