"""Sections of the report and the page of losses, read back from their Markdown."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facemask import params
from facemask.evaluation import bootstrap, significance
from facemask.reporting import sections

ROOT = Path(__file__).parents[1]
CONFIG = params.read(ROOT)
EXPERIMENTS = {**CONFIG.experiments, **CONFIG.losses}
PUBLISHED = pd.read_csv(ROOT / "reference/published_results.csv")
METRICS = list(sections.SHOWN)
NAMES = {name: f"`{name}`" for name in [*EXPERIMENTS, "a", "b"]}
ENDS = ("value", "low", "high")


def rows(text):
    """The cells of all tables by the name in their first column, the tables in turn."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith(("| `", "| found", "| the study")):
            found.setdefault(cells[0].strip("`"), []).append(cells[1:])
    return found


def predictions(seed, right=0.8):
    """Test predictions on 30 images with two faces each."""
    rng = np.random.default_rng(seed)
    actual = np.where(np.arange(60) % 4, "with_mask", "without_mask")
    other = np.where(np.arange(60) % 4, "without_mask", "with_mask")
    table = pd.DataFrame(
        {
            "image": np.arange(60) // 2,
            "face": np.arange(60) % 2,
            "flip": 0,
            "actual": actual,
            "predicted": np.where(rng.random(60) < right, actual, other),
            "probability": rng.random(60),
            "iou": rng.random(60),
        }
    )
    table[["true_x0", "true_y0", "true_x1", "true_y1"]] = [0.1, 0.2, 0.3, 0.4]
    return table


def measured(count, seed=0):
    repeats = {key: {"mean": 0.5 + 0.01 * i, "std": 0.02} for i, key in enumerate(METRICS)}
    return {
        "test": {"majority_accuracy": 0.75},
        "count": count,
        "intervals": bootstrap.intervals(predictions(seed)),
        "repeats": repeats,
    }


def test_every_metric_stands_with_its_interval_and_the_majority_baseline_once():
    text = sections.uncertainty({"a": measured(1), "b": measured(1, seed=1)}, NAMES)
    for name, seed in (("a", 0), ("b", 1)):
        expected = bootstrap.intervals(predictions(seed))
        cells = [
            "{:.2f} [{:.2f}, {:.2f}]".format(*(100 * expected[key][end] for end in ENDS))
            for key in METRICS
        ]
        assert rows(text)[name] == [cells]
    assert text.count("75.00 %") == 1


def test_several_repeats_have_a_table_of_their_own():
    text = sections.uncertainty({"a": measured(3), "b": measured(1)}, NAMES)
    assert len(rows(text)["a"]) == 2 and len(rows(text)["b"]) == 1
    assert rows(text)["a"][1][:2] == ["3", "50.00 ± 2.00"]
    assert len(rows(sections.uncertainty({"b": measured(1)}, NAMES))["b"]) == 1


def test_no_search_gives_no_section():
    assert sections.hyperband({}, {}, {}, {}, PUBLISHED, {}, {}) == ""


def test_experiments_alike_but_for_the_loss_of_the_box():
    """By the study's table: only these pairs of its own, and the project's two comparisons."""
    kinds = ["smooth_l1_05", "smooth_l1_2", "giou", "diou", "ciou"]
    assert sections.alike(EXPERIMENTS) == [
        ["scratch_4_mse", "scratch_4_smooth_l1"],
        ["scratch_7", *(f"scratch_7_{kind}" for kind in kinds)],
        ["mobilenet_1", "mobilenet_3"],
        ["mobilenet_6", *(f"mobilenet_6_{kind}" for kind in kinds)],
        ["xception_2", "xception_3"],
    ]


def test_losses_are_compared_with_the_first_of_their_group():
    tested = {
        "mobilenet_1": predictions(0),
        "mobilenet_3": predictions(0),
        "mobilenet_6": predictions(0),
        "mobilenet_6_giou": predictions(5, right=0.9),
    }
    groups = [["mobilenet_1", "mobilenet_3"], ["mobilenet_6", "mobilenet_6_giou"]]
    majority = dict.fromkeys(tested, 0.75)
    text = sections.box_losses(groups, EXPERIMENTS, tested, majority, "x.png")
    assert "](x.png)" in text
    table = {name: cells[0] for name, cells in rows(text).items()}
    assert list(table) == list(tested)
    assert table["mobilenet_1"][0] == "squared error"
    assert table["mobilenet_3"][0] == "Huber, threshold 1"
    assert table["mobilenet_3"][3] == "+0.00 (1.000)"
    assert table["mobilenet_6_giou"][:2] == ["GIoU", "0.1 : 0.06"]
    against = significance.compare(predictions(0), predictions(5, right=0.9)).set_index("metric")
    for cell, metric in ((3, "accuracy"), (7, "mean_iou")):
        difference, p = against.loc[metric, ["difference", "p"]]
        assert table["mobilenet_6_giou"][cell] == f"{100 * difference:+.2f} ({p:.3f})"


def metrics_of(accuracy):
    test = {"accuracy": accuracy, "majority_accuracy": 0.75, "mean_iou": 0.2}
    test |= {"recall_with_mask": 0.95, "recall_without_mask": 0.6}
    return {"test": test, "best_epoch": 7}


@pytest.mark.parametrize(
    ("name", "beside"),
    [("mobilenet", ["mobilenet_5", "mobilenet_6"]), ("xception", ["xception_5"])],
)
def test_what_a_search_found_stands_beside_the_studys(name, beside):
    best = {"layers": 1, "units": 640, "learning_rate": 0.001, "trials": 30, "epochs": 90}
    best |= {"shared_dropout": 0.6, "label_dropout": 0.0, "box_dropout": 0.0}
    best |= {"val_loss": 0.0321, "seconds": 99.5}
    metrics = {n: metrics_of(0.9) for n in [*CONFIG.experiments, f"{name}_tuned"]}
    text = sections.hyperband(
        CONFIG.searches, {name: best}, CONFIG.experiments, metrics, PUBLISHED,
        {n: f"`{n}`" for n in metrics}, {f"searches/{name}": "y.png"},
    )  # fmt: skip
    assert "](y.png)" in text and "0.03210" in text
    table = rows(text)
    assert table["found here"] == [["1", "640", "0.6", "0", "0", "0.001"]]
    assert [row for row in table if row in metrics] == [*beside, f"{name}_tuned"]
    study = PUBLISHED.set_index("id").loc[beside[0]]
    assert table[beside[0]][0][2] == f"{100 * study['test_accuracy']:.2f}"
    assert table[f"{name}_tuned"][0][2] == "-"


def test_a_search_may_start_from_a_head_without_dense_layers():
    search, base = CONFIG.searches["mobilenet"], CONFIG.experiments["mobilenet_5"]
    plain = base.model_copy(update={"network": base.network.model_copy(update={"dense": ()})})
    best = dict.fromkeys([*search.space.model_dump(), "trials", "epochs", "val_loss", "seconds"], 1)
    metrics = {"mobilenet_tuned": metrics_of(0.9)}
    text = sections.hyperband(
        {"mobilenet": search}, {"mobilenet": best}, {"mobilenet_5": plain}, metrics, PUBLISHED,
        {"mobilenet_tuned": "`mobilenet_tuned`"}, {"searches/mobilenet": "y.png"},
    )  # fmt: skip
    assert rows(text)["the study's (`mobilenet_5`)"][0][:2] == ["0", "0"]
