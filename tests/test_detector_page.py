"""The page and card of a detector: pictures of the right faces, tables of what was measured."""

import re

import cv2
import numpy as np
import pandas as pd
import pytest
from test_detection import CLASSES, WITH, WITHOUT, match, random_scene
from toys import packed_crops

from facemask.columns import CORNERS, SCORE
from facemask.evaluation import detection_metrics
from facemask.reporting import detector_assets, detector_page, detector_plots, model_card

SIDE, PACKED = 200, 100  # px of an image, and as it is packed
RED, GREEN, BLUE, YELLOW = (230, 0, 0), (0, 230, 0), (0, 0, 230), (230, 230, 0)
# Of each image: split, group, faces and alarms (x, y, side, colour). Images 0 and 1 are alike.
PLACES = [
    ("val", 0, [(20, 20, 40, RED), (120, 20, 40, RED)], []),
    ("val", 0, [(20, 20, 40, RED), (120, 20, 40, RED)], []),
    ("val", 1, [(20, 120, 50, GREEN)], [(120, 20, 40, BLUE)]),
    ("test", 2, [(60, 60, 40, YELLOW)], []),
]


@pytest.fixture
def scene(tmp_path):
    """Packed images, their table, faces (green and yellow ones are missed), detections."""
    pixels, faces, found = [], [], []
    for number, (_, _, annotated, alarms) in enumerate(PLACES):
        image = np.full((PACKED, PACKED, 3), 60, np.uint8)
        for x, y, side, colour in (*annotated, *alarms):
            image[y // 2 : (y + side) // 2, x // 2 : (x + side) // 2] = colour
            box = (f"{number}.png", x, y, x + side, y + side)
            if colour != BLUE:
                faces.append((*box, WITH))
            if colour in (RED, BLUE):
                found.append((*box, 0.9, 0.1, 0.0))
        pixels.append(image)
    samples = pd.DataFrame(
        {
            "sample": range(len(PLACES)), "image": [f"{n}.png" for n in range(len(PLACES))],
            "width": SIDE, "height": SIDE, "split": [each[0] for each in PLACES],
            "group": [each[1] for each in PLACES],
        }
    )  # fmt: skip
    columns = ["image", *CORNERS]
    tables = (
        pd.DataFrame(faces, columns=[*columns, "name"]),
        pd.DataFrame(found, columns=[*columns, *(SCORE + name for name in CLASSES)]),
    )
    return packed_crops(tmp_path, pixels), samples, *tables


def area(path, colour):
    """How many pixels of a picture have about a colour."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)
    return int((np.abs(image - np.array(colour)).max(axis=2) < 60).sum())


def test_pictures_show_crowds_misses_and_false_alarms_of_validation_images(scene, tmp_path):
    detector_assets.draw_errors(*scene, CLASSES, 0.5, tmp_path)
    shown = {
        name: {kind: area(tmp_path / detector_assets.PLOTS[name], kind)
               for kind in (RED, GREEN, BLUE, YELLOW)}
        for name in ("crowds", "tiny", "missed", "false_alarms")
    }  # fmt: skip
    for name, colours in shown.items():
        assert colours[YELLOW] < 50, name  # a test image's
    assert shown["missed"][GREEN] > 1000 and shown["missed"][RED] == 0
    assert shown["false_alarms"][BLUE] > 1000 and shown["false_alarms"][GREEN] == 0
    # Of the two near-duplicates one is shown, beside the other image: four times as large a part.
    large = (detector_plots.SIDE / PACKED) ** 2
    assert shown["crowds"][RED] == pytest.approx(2 * 20 * 20 * large, rel=0.6)
    assert shown["crowds"][GREEN] > 1000


def test_curves_and_training_samples_are_drawn(tmp_path):
    faces, detections, _ = random_scene(1, images=10)
    detector_assets.draw_curves(faces, detections, CLASSES, tmp_path)
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image.std() > 5 and image.shape[1] > 2 * image.shape[0]
    sample = (np.full((64, 64, 3), GREEN, np.uint8), np.array([[8, 8, 40, 40]]), np.array([1]))
    detector_plots.samples_sheet([sample] * 7, tmp_path / "samples.jpg")
    assert area(tmp_path / "samples.jpg", GREEN) > 1000


@pytest.fixture(scope="module")
def measured():
    faces, detections, names = random_scene(3, images=15)
    matched = match(faces, detections, names)
    crops = {"accuracy": 0.9, "majority_accuracy": 0.8, "mean_iou": 0.7}
    crops |= {"recall_with_mask": 0.95, "recall_without_mask": 0.6}
    return {
        "test": detection_metrics.measure(matched),
        "intervals": detection_metrics.intervals(matched, draws=20),
        "confidence": 0.2,
        "params": {"total": 1234567},
        "epochs": 5,
        "train_seconds": 90,
        "crops": crops,
    }


def cells(text, row):
    (line,) = re.findall(rf"^\| *\*?\*?{re.escape(row)}\*?\*? *\|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in line.split("|")]


def percent(share):
    return f"{100 * share:.2f}"


def test_the_page_holds_what_was_measured(measured):
    page = detector_page.render(
        name="mine", dataset="toys", split="grouped_9", measured=measured,
        plots=detector_assets.PLOTS,
    )  # fmt: skip
    test = measured["test"]
    assert cells(page, "two classes")[0].startswith(percent(test["two_classes"]["ap50"]))
    assert cells(page, "face, whatever the class")[1].startswith(percent(test["face"]["ap"]))
    sizes = test["threshold"]["by_size"]
    assert cells(page, "12-24 px")[2:] == [percent(sizes[k]["12-24 px"]) for k in (WITH, WITHOUT)]
    counts = test["threshold"]["confusion"][WITHOUT]
    assert f"| without mask | {counts[WITH]} " in re.sub(" +", " ", page)
    assert cells(page, "missed") == [f"{100 * test['errors']['miss']:.2f}"]
    assert "1.5 minutes" in page and "1,234,567 parameters" in page
    for plot in detector_assets.PLOTS.values():
        assert f"({plot})" in page


def test_the_card_holds_what_was_measured_and_how_near_the_files_are(measured):
    near = {"images": 9, "faces": 50, "missing": 1, "extra": 2, "box_px": 0.25, "score": 0.0125}
    exported = {
        "onnx": near | {"megabytes": 4.96, "ap50": 0.5, "ap": 0.25},
        "litert": near | {"megabytes": 9.7, "missing": 0},
    }
    about = {"classes": list(CLASSES), "size": 640, "confidence": 0.2, "split": "grouped_9"}
    card = model_card.render(about | {"dataset": "toys"}, measured, exported)
    row = cells(card, "ONNX, weights in half precision")
    assert row == ["5.0", "50", "1", "2", "0.250", "0.0125", "50.00", "25.00"]
    assert cells(card, "LiteRT")[-2:] == ["-", "-"]
    assert percent(measured["test"]["two_classes"]["ap50"]) in card
    assert "2 mask_weared_incorrect;" in card and "Kaggle" not in card
    assert "853 images" in model_card.render(about | {"dataset": "kaggle"}, measured, exported)
