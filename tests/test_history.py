import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from facemask.evaluation.significance import iou_histogram, precision_recall
from facemask.reporting.history import (
    confusion_table,
    iou_table,
    long_table,
    precision_recall_table,
)

NAMES = ["without_mask", "with_mask"]


def test_every_logged_value_stands_in_the_row_of_its_experiment_epoch_and_split():
    logged = ["loss", "label_loss", "box_loss", "label_accuracy", "box_iou"]
    histories = {}
    for number, name in enumerate(["b", "a"]):
        columns = [*logged, *(f"val_{column}" for column in logged), "learning_rate", "seconds"]
        rows = {
            column: [100 * number + 10 * place + epoch for epoch in range(1 + number)]
            for place, column in enumerate(columns)
        }
        histories[name] = pd.DataFrame(rows)
        histories[name].insert(0, "epoch", range(1, 2 + number))
    table = long_table(histories).set_index(["experiment", "split", "epoch"])
    assert len(table) == 2 + 4
    assert list(table.index.get_level_values("experiment").unique()) == ["b", "a"]
    for name, history in histories.items():
        for row in history.to_dict("records"):
            for split, prefix in (("train", ""), ("val", "val_")):
                found = table.loc[(name, split, row["epoch"])]
                for column, read in zip(
                    logged, ["loss", "label_loss", "box_loss", "accuracy", "iou"], strict=True
                ):
                    assert found[read] == row[prefix + column]
                assert found["learning_rate"] == row["learning_rate"]
    assert "seconds" not in table


def predictions(seed):
    rng = np.random.default_rng(seed)
    actual = np.where(rng.random(40) < 0.7, "with_mask", "without_mask")
    table = pd.DataFrame({"image": np.arange(40), "face": 0, "flip": 0, "actual": actual})
    table["predicted"], table["probability"] = actual, rng.random(40)
    table["iou"] = rng.random(40)
    table[["true_x0", "true_y0", "true_x1", "true_y1"]] = 0.5
    return table


@pytest.mark.parametrize(
    ("stack", "single"),
    [(precision_recall_table, precision_recall), (iou_table, iou_histogram)],
)
def test_tables_of_many_experiments_are_those_of_each(stack, single):
    tables = {"b": predictions(0), "a": predictions(1)}
    table = stack(tables)
    assert list(table["experiment"].unique()) == ["b", "a"]
    for name, rows in table.groupby("experiment"):
        expected = single(tables[name])
        assert list(rows.columns) == ["experiment", *expected.columns]
        np.testing.assert_allclose(rows[expected.columns], expected, atol=1e-6)


def test_confusion_counts_every_pair_of_labels_even_those_that_do_not_occur():
    table = predictions(0)
    table.loc[:4, "predicted"] = "with_mask"
    counts = confusion_table({"a": table}).set_index(["actual", "predicted"])["count"]
    matrix = confusion_matrix(table["actual"], table["predicted"], labels=NAMES)
    for place, count in np.ndenumerate(matrix):
        assert counts[tuple(NAMES[i] for i in place)] == count
    assert len(counts) == 4
