"""The page of localizers: what it says is what it was given."""

import pandas as pd
import pytest

from facemask.reporting import extensions


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, []),
        ({"freeze_until": "out_relu"}, ["freeze_until=out_relu"]),
        ({"a": {"size": 128, "mode": "stretch"}}, ["a.size=128", "a.mode=stretch"]),
        ({"feature_levels": ["a", "b"], "epochs": 6}, ["feature_levels=[a, b]", "epochs=6"]),
        ({"losses": {"box": {"name": "mse"}}}, ["losses.box.name=mse"]),
    ],
)
def test_changes_are_spelt_as_dvc_takes_them(changes, text) -> None:
    assert extensions.flat(changes) == text


def page(**changes):
    values = dict.fromkeys([*extensions.SHOWN, "majority_accuracy"], 0.5)
    interval = {"value": 0.875, "low": 0.4, "high": 0.6}
    rows = pd.DataFrame(
        {"group": ["to 16 px"], "samples": [7], "accuracy": 0.75, "mean_iou": 0.25, "iou_50": 0.125}
    )
    network = {
        "val": values | {"accuracy": 0.625},
        "test": values | {"majority_accuracy": 0.3125},
        "params": {"total": 12345},
        "train_seconds": 1234.5,
        "intervals": dict.fromkeys(extensions.SHOWN, interval),
        "calibration": {"temperature": 1.234, "ece": 0.05, "ece_scaled": 0.01},
    }
    given = {
        "dataset": "toys",
        "split": "grouped_0",
        "ensemble": "both",
        "members": ("finder", "other"),
        "measured": dict.fromkeys(["finder", "other", "both"], network),
        "ablation": {
            "baseline": {
                "val": {key: [0.5, 0.6] for key in extensions.SHOWN},
                "train_seconds": [10, 20],
            },
            "one_pass": {
                "val": {key: [0.25] for key in extensions.SHOWN},
                "train_seconds": [30],
            },
        },
        "variants": {"baseline": {}, "one_pass": {"model_input": {"passes": 1}}},
        "shared": {"epochs": 8},
        "groups": {"size": rows},
        "plots": {
            name: f"{name}.jpg"
            for name in ("augmentation", "reliability", "groups", "worst", "ablation")
        },
    }
    return extensions.render(**given | changes)


def cells(text, *first):
    """The cells behind the first ones of the one row that begins with them."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    (row,) = [row for row in rows if row[: len(first)] == list(first)]
    return row[len(first) :]


def test_a_variant_of_many_changes_spells_the_first() -> None:
    changes = {"baseline": {}, "one_pass": {"augment": dict.fromkeys("abcde", 0)}}
    expected = "augment.a=0, augment.b=0, augment.c=0, 2 more"
    assert cells(page(variants=changes), "`one_pass`")[0] == expected


def test_every_metric_stands_in_its_row() -> None:
    text = page()
    tested = "87.50 [40.00, 60.00]"
    assert cells(text, "`finder`", tested) == [*[tested] * 4, "12,345", "1,234"]
    # The deviation of .5 and .6 is .1 over the root of two.
    assert cells(text, "`baseline`") == ["-", "2", *["55.00 ± 7.07"] * 5, "15"]
    assert cells(text, "`one_pass`") == ["model_input.passes=1", "1", *["25.00"] * 5, "30"]
    assert cells(text, "`both`", "62.50") == ["50.00"] * 4
    assert cells(text, "`finder`", "1.23") == ["5.00", "1.00"]
    assert cells(text, "to 16 px") == ["7", "75.00", "25.00", "12.50"]
    assert "toys" in text.splitlines()[0]
    assert "`grouped_0`" in text.splitlines()[0]
    assert "epochs=8." in text
    # The majority baseline: beside the summary's accuracy, and above each table.
    assert text.count("31.25 %") == 2 and text.count("50.00 % accuracy") == 3


def test_wrong_labels_are_shown_if_there_are() -> None:
    text = page()
    assert "what it changes" in text
    assert "the mean of `baseline`" in text
    assert "(ablation.jpg)" in text
    assert "There is none." in text
    drawn = ("augmentation", "reliability", "groups", "worst", "ablation")
    text = page(plots=dict.fromkeys(drawn, "x.jpg") | {"misclassified": "wrong.jpg"})
    assert "There is none." not in text
    assert "(wrong.jpg)" in text
