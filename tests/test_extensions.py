"""The page beyond the study: what it tells is what it was given."""

import pandas as pd
import pytest

from facemask.reporting import extensions


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, []),
        ({"frozen": "out_relu"}, ["frozen=out_relu"]),
        ({"canvas": {"size": 128, "fit": "stretch"}}, ["canvas.size=128", "canvas.fit=stretch"]),
        ({"taps": ["a", "b"], "epochs": 6}, ["taps=[a, b]", "epochs=6"]),
        ({"losses": {"box": {"name": "mse"}}}, ["losses.box.name=mse"]),
    ],
)
def test_changes_are_spelt_as_dvc_takes_them(changes, text) -> None:
    assert extensions.flat(changes) == text


def test_a_row_of_many_changes_spells_the_first() -> None:
    rows = page(changes={"nothing": {}, "one_look": {"augment": dict.fromkeys("abcde", 0)}})
    assert cells(rows, "`one_look`")[1] == "augment.a=0, augment.b=0, augment.c=0, 2 more"


def page(**changes):
    figures = dict.fromkeys([*extensions.FIGURES, "balanced_accuracy"], 0.5)
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    sure = {
        "intervals": dict.fromkeys(set(extensions.FIGURES) - {"majority_accuracy"}, interval),
        "calibration": {"temperature": 1.234, "ece": 0.05, "ece_scaled": 0.01},
    }
    rows = pd.DataFrame(
        {"group": ["to 16 px"], "samples": [7], "accuracy": 0.75, "mean_iou": 0.25, "iou_50": 0.125}
    )
    given = {
        "dataset": "toys",
        "split": "grouped_0",
        "metrics": {
            "finder": {
                "val": figures | {"accuracy": 0.625},
                "test": figures | {"accuracy": 0.875},
                "params": {"total": 12345},
                "train_seconds": 1234.5,
            }
        },
        "statistics": {"finder": sure},
        "ablation": {
            "nothing": {
                "val": {key: [0.5, 0.6] for key in extensions.FIGURES},
                "train_seconds": [10, 20],
            },
            "one_look": {
                "val": {key: [0.25] for key in extensions.FIGURES},
                "train_seconds": [30],
            },
        },
        "changes": {"nothing": {}, "one_look": {"canvas": {"looks": 1}}},
        "common": {"epochs": 8},
        "groups": {"size": rows},
        "subject": "finder",
        "pictures": {
            name: f"{name}.jpg"
            for name in ("augmentation", "reliability", "groups", "worst", "ablation")
        },
    }
    return extensions.render(**given | changes)


def cells(text, first):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_figure_stands_in_its_row() -> None:
    text = page()
    assert cells(text, "`finder` | 87.50 [40.00, 60.00]")[2:] == [
        "50.00", *["50.00 [40.00, 60.00]"] * 4, "12,345", "1,234"
    ]  # fmt: skip
    # The deviation of .5 and .6 is .1 over the root of two.
    spread = ["55.00 ± 7.07"]
    assert cells(text, "`nothing`")[1:] == ["-", "2", *spread, "50.00", *spread * 4, "15"]
    assert cells(text, "`one_look`")[1:] == ["canvas.looks=1", "1", *["25.00"] * 6, "30"]
    assert cells(text, "`finder` | 62.50")[2:] == ["50.00"] * 5
    assert cells(text, "`finder` | 1.23")[2:] == ["5.00", "1.00"]
    assert cells(text, "to 16 px")[1:] == ["7", "75.00", "25.00", "12.50"]
    assert "toys" in text.splitlines()[0]
    assert "`grouped_0`" in text
    assert "All rows that do not say otherwise: epochs=8." in text.replace("\n", " ")


def test_what_was_not_run_and_what_is_not_wrong_is_not_shown() -> None:
    assert "| what is changed |" in page()
    assert "the mean of `nothing`" in page()
    assert "(ablation.jpg)" in page()
    assert "| what is changed |" not in page(ablation={})
    assert "There is none." in page()
    drawn = ("augmentation", "reliability", "groups", "worst", "ablation")
    pictures = dict.fromkeys(drawn, "x.jpg") | {"misclassified": "wrong.jpg"}
    text = page(pictures=pictures)
    assert "There is none." not in text
    assert "(wrong.jpg)" in text
