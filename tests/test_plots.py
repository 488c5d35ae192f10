import subprocess
import sys

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from facemask.reporting import partition_plot, plots, study_plots


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def rgb(colour):
    return np.array([round(255 * part) for part in to_rgb(colour)])


def count(image, colour, tolerance=3):
    """Pixels within `tolerance` of a colour in every channel."""
    return int((abs(image.astype(int) - colour) <= tolerance).all(axis=-1).sum())


def smooth(size, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def partition():
    """Two faces of a grey image: the left one owns x < 70, the right one the rest."""
    y, x = np.mgrid[:60, :100]
    owner = np.where((x + y) % 5 == 2, (x >= 70).astype(int), -1).astype(np.int32)
    boxes = np.array([[10, 10, 29, 29], [80, 20, 89, 29]])
    regions = np.array([[0, 0, 70, 60], [70, 0, 100, 60]])
    return np.full((60, 100, 3), 100, np.uint8), boxes, owner, regions


@pytest.fixture
def predictions():
    rows = [
        ("with_mask", "with_mask", 0.93, 0.31),
        ("without_mask", "with_mask", 0.6, 0.1),
        ("without_mask", "without_mask", 0.2, 0.0),
    ]
    table = pd.DataFrame(rows, columns=["actual", "predicted", "probability", "iou"])
    table[["true_x0", "true_y0", "true_x1", "true_y1"]] = [0.25, 0.25, 0.75, 0.75]
    table[["pred_x0", "pred_y0", "pred_x1", "pred_y1"]] = [0.3, 0.3, 0.6, 0.6]
    return table


def history(epochs=6, rates=(1e-3,)):
    rows = [
        {
            "experiment": "e",
            "epoch": epoch,
            "split": split,
            "loss": 1 / epoch + shift,
            "accuracy": 0.9 - 0.3 / epoch - shift,
            "iou": 0.2 - 0.1 / epoch - shift / 2,
            "learning_rate": rates[epoch * len(rates) // (epochs + 1)],
        }
        for epoch in range(1, epochs + 1)
        for split, shift in (("train", 0), ("val", 0.05))
    ]
    return pd.DataFrame(rows)


def ranking(notes=("", "weights of chance")):
    return pd.DataFrame(
        {
            "id": ["scratch_1", "xception_1"],
            "family": ["scratch", "xception"],
            "note": notes,
            "test_accuracy": [0.8, 0.7],
            "test_accuracy_published": [0.75, np.nan],
            "test_iou": [0.2, 0.1],
            "test_iou_published": [0.25, 0.15],
            "majority_accuracy": [0.71, 0.71],
            "recall_with_mask": [0.9, 0.95],
            "recall_without_mask": [0.6, 0.2],
        }
    )


def test_partition_tints_each_pixel_with_the_face_that_owns_it(tmp_path, partition):
    scene, boxes, owner, regions = partition
    parts = {"manhattan": (owner, regions), "chebyshev": (owner, regions)}
    partition_plot.partition_plot(scene, boxes, parts, 0, tmp_path / "p.png")
    image = read(tmp_path / "p.png")
    tints = [np.round(0.62 * 100 + 0.38 * rgb(plots.FACES[face])) for face in range(2)]
    left, right = (count(image, tint) for tint in tints)
    assert left > 10_000
    # 70 columns to 30, less the outlines, which take more of the narrow side.
    assert 0.65 < left / (left + right) < 0.8
    centre = image.shape[1] // 2
    assert count(image[:, :centre], tints[0]) == pytest.approx(left / 2, rel=0.05)


def test_partition_dashes_regions_under_the_threshold(tmp_path, partition):
    scene, boxes, owner, regions = partition
    solid = []
    for min_area in (1800, 1801):  # the right region is 30 x 60
        partition_plot.partition_plot(
            scene, boxes, {"euclidean": (owner, regions)}, min_area, tmp_path / "p.png"
        )
        image = read(tmp_path / "p.png")
        solid.append([count(image, rgb(plots.FACES[face])) for face in range(2)])
    # The right one lies upon the common border; through its dashes the left one shows.
    assert solid[1][0] >= solid[0][0] > 500
    assert solid[1][1] < 0.8 * solid[0][1]


def test_partition_without_a_sampled_pixel_shows_the_image(tmp_path, partition):
    scene, boxes, owner, regions = partition
    nobody = {"manhattan": (np.full_like(owner, -1), regions)}
    partition_plot.partition_plot(scene, boxes, nobody, 0, tmp_path / "p.png")
    assert count(read(tmp_path / "p.png"), np.array([100, 100, 100])) > 10_000


def test_partition_refuses_arrays_that_do_not_fit(tmp_path, partition):
    scene, boxes, owner, regions = partition
    with pytest.raises(ValueError, match="manhattan"):
        partition_plot.partition_plot(
            scene, boxes, {"manhattan": (owner.T, regions)}, 0, tmp_path / "p.png"
        )
    with pytest.raises(ValueError, match="1 regions"):
        partition_plot.partition_plot(
            scene, boxes, {"manhattan": (owner, regions[:1])}, 0, tmp_path / "p.png"
        )


def test_contact_sheet_places_crops_and_boxes(tmp_path):
    crops = [np.full((32, 32, 3), 20 * i, np.uint8) for i in range(10)]
    boxes = np.tile([0.25, 0.25, 0.75, 0.75], (10, 1))
    labels = np.arange(10) % 2
    plots.contact_sheet(crops, boxes, labels, tmp_path / "sheet.png", columns=4)
    image = read(tmp_path / "sheet.png")
    assert image.shape == (26 + 3 * 136 + 8, 4 * 136 + 8, 3)
    for i in range(10):
        x, y = 8 + i % 4 * 136, 26 + i // 4 * 136
        assert (image[y + 64, x + 64] == 20 * i).all()
        # The left edge of the box lies a quarter of the way into the cell.
        blue_or_orange = (86, 180, 233) if labels[i] else (230, 159, 0)
        assert (image[y + 64, x + 32] == blue_or_orange).all()


def test_contact_sheet_refuses_what_does_not_match(tmp_path):
    with pytest.raises(ValueError, match="0 crops"):
        plots.contact_sheet([], np.zeros((0, 4)), [], tmp_path / "s.png")
    crops = [np.zeros((8, 8, 3), np.uint8)] * 2
    with pytest.raises(ValueError, match="2 crops, 2 boxes and 1 labels"):
        plots.contact_sheet(crops, np.zeros((2, 4)), [0], tmp_path / "s.png")


def test_prediction_sheet_frames_the_wrong_label_alone(tmp_path, predictions):
    crops = [np.full((16, 16, 3), 90, np.uint8)] * 3
    plots.prediction_sheet(crops, predictions, tmp_path / "sheet.png", columns=4)
    image = read(tmp_path / "sheet.png")
    assert image.shape == (26 + 168 + 30 + 8 + 8, 680, 3)
    wrong = rgb(plots.WRONG)
    for i, is_wrong in enumerate((False, True, False)):
        x, y = 8 + i * 176, 26
        assert (image[y + 84, x - 2] == wrong).all() == is_wrong
        label = predictions["predicted"][i] == "with_mask"
        left_edge = image[y + 84, x + round(0.3 * 168)]
        assert (left_edge == rgb(plots.LABEL_COLOURS[int(label)])).all()
        assert (image[y + 160, x + 160] == 90).all()
        captions = image[y + 174 : y + 196, x : x + 168]
        assert (count(captions, wrong, 60) > 50) == is_wrong


def test_prediction_sheet_cuts_boxes_off_at_the_crop(tmp_path, predictions):
    crops = [np.full((16, 16, 3), 90, np.uint8)] * 2
    inside, outside = predictions.iloc[[0, 2]].copy(), predictions.iloc[[0, 2]].copy()
    outside["pred_x0"], outside["pred_x1"] = -0.4, 1.4
    for name, table in {"in": inside, "out": outside}.items():
        plots.prediction_sheet(crops, table, tmp_path / f"{name}.png")
    image = read(tmp_path / "out.png")
    assert (image[40:190, 8 + 168 + 1 : 8 + 176 - 1] == 255).all()
    assert (image[40:190, :7] == 255).all()
    blue = rgb(plots.LABEL_COLOURS[1])
    # Two horizontal edges through the whole cell, and no vertical one.
    assert (image[26 + round(0.3 * 168), 10:174] == blue).all()
    assert (image != read(tmp_path / "in.png")).any()


def test_prediction_sheet_refuses_another_number_of_rows(tmp_path, predictions):
    with pytest.raises(ValueError, match="1 crops and 3 predictions"):
        plots.prediction_sheet([np.zeros((8, 8, 3), np.uint8)], predictions, tmp_path / "sheet.png")


def test_experiment_plot_shows_the_learning_rate_only_if_it_changes(tmp_path):
    confusion = np.array([[60, 40], [10, 290]])
    widths = []
    for rates in ((1e-3,), (1e-3, 5e-4, 2e-4)):
        study_plots.experiment_plot(
            history(rates=rates), confusion, "scratch_1", 5, tmp_path / "e.png"
        )
        image = read(tmp_path / "e.png")
        widths.append(image.shape[1])
        assert image.shape[0] == 270
        for colour in (plots.TRAIN, plots.VAL):
            assert count(image, rgb(colour)) > 300
    assert widths == [1000, 1100]


def test_confusion_squares_are_shaded_by_the_share_of_their_row(tmp_path):
    # Rows of 100 and 1000 samples: 75 % of the small class must be as dark as 75 % of the large.
    study_plots.experiment_plot(
        history(), np.array([[75, 25], [250, 750]]), "e", 1, tmp_path / "e.png"
    )
    image = read(tmp_path / "e.png")
    train = rgb(plots.TRAIN)
    dark, light = (255 - share * (255 - train) for share in (0.75, 0.25))
    assert count(image, dark, 2) > 5000
    assert count(image, light, 2) > 5000


def test_experiment_plot_of_an_empty_class_and_a_wrong_shape(tmp_path):
    study_plots.experiment_plot(history(1), [[0, 0], [3, 7]], "e", 1, tmp_path / "e.png")
    assert read(tmp_path / "e.png").shape == (270, 1000, 3)
    study_plots.experiment_plot(history(1), [[0, 0], [3, 7]], "e\nnote", 1, tmp_path / "e.png")
    assert read(tmp_path / "e.png").shape == (288, 1000, 3)
    with pytest.raises(ValueError, match="not \\(3, 3\\)"):
        study_plots.experiment_plot(history(), np.zeros((3, 3)), "e", 1, tmp_path / "e.png")


def test_leaderboard_places_dots_in_proportion(tmp_path):
    study_plots.leaderboard_plot(ranking(), tmp_path / "board.png")
    image = read(tmp_path / "board.png")
    assert image.shape[1] == 1000
    dots = (abs(image.astype(int) - rgb(plots.MEASURED)) <= 3).all(axis=-1).astype(np.uint8)
    number, _, _, centres = cv2.connectedComponentsWithStats(dots)
    # The background, two accuracies, two IoUs and the dot in the key, which stands on top.
    assert number == 6
    rows = sorted(centres[1:].tolist(), key=lambda centre: centre[1])[1:]
    # The better one stands above the worse one, and further right in both panels.
    assert rows[1][1] < rows[2][1]
    upper, lower = sorted(x for x, _ in rows[:2]), sorted(x for x, _ in rows[2:])
    assert upper[0] > lower[0]
    assert upper[1] > lower[1]


def test_leaderboard_grows_with_its_notes_and_refuses_no_row(tmp_path):
    heights = []
    for notes in (("", ""), ("", "weights of chance"), ("a", "weights of chance " * 20)):
        study_plots.leaderboard_plot(ranking(notes), tmp_path / "board.png")
        heights.append(read(tmp_path / "board.png").shape[0])
    assert heights == sorted(set(heights))
    with pytest.raises(ValueError, match="no experiment"):
        study_plots.leaderboard_plot(ranking().iloc[:0], tmp_path / "board.png")


@pytest.fixture
def draw(partition, predictions):
    scene, boxes, owner, regions = partition
    crops = [smooth(64, seed) for seed in range(3)]
    relative = np.tile([0.2, 0.2, 0.6, 0.7], (3, 1))
    return {
        "partition.jpg": lambda path: partition_plot.partition_plot(
            scene, boxes, {"manhattan": (owner, regions)}, 2000, path
        ),
        "crops.jpg": lambda path: plots.contact_sheet(crops, relative, [0, 1, 1], path),
        "predictions.jpg": lambda path: plots.prediction_sheet(crops, predictions, path),
        "curves.png": lambda path: study_plots.experiment_plot(
            history(), [[6, 4], [1, 29]], "price: $5 and $6", 5, path
        ),
        "board.png": lambda path: study_plots.leaderboard_plot(ranking(), path),
    }


def test_bytes_depend_on_the_input_alone(tmp_path, draw):
    for name, plot in draw.items():
        plot(tmp_path / name)
        first = (tmp_path / name).read_bytes()
        with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 50}):
            plot(tmp_path / name)
        assert (tmp_path / name).read_bytes() == first, name
        assert b"tEXt" not in first
        assert b"atplotlib" not in first
        assert cv2.imread(str(tmp_path / name)) is not None


def test_sheets_of_images_stay_small(tmp_path):
    crops = [smooth(128, seed) for seed in range(48)]
    boxes, labels = np.tile([0.2, 0.2, 0.6, 0.7], (48, 1)), np.zeros(48, int)
    plots.contact_sheet(crops, boxes, labels, tmp_path / "crops.jpg")
    assert (tmp_path / "crops.jpg").stat().st_size < 600_000


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.png or \.jpg"):
        study_plots.leaderboard_plot(ranking(), tmp_path / "board.bmp")


def test_no_global_state_of_pyplot():
    code = "import sys, facemask.reporting.assets; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
