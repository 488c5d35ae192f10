import csv
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn

from facemask.reporting.study import (
    comparison,
    half_width,
    leaderboard,
    markdown_table,
    percent,
    render,
    versions,
    weight_notes,
)
from facemask.reporting.study import shortfalls as study_shortfalls

CSV = Path(__file__).parents[1] / "reference" / "published_results.csv"
DATA = {
    "images": 853,
    "left_out": 0,
    "faces": 4072,
    "crops": 1861,
    "crops_with_mask": 1602,
    "crops_without_mask": 259,
    "samples": 2120,
    "train": 1357,
    "val": 339,
    "test": 424,
    "small_crops": 1164,
    "small_crops_without_mask": 208,
    "leaking_test_samples": 106,
}
XCEPTION = "block 14 is a random projection"


@pytest.fixture
def published():
    return pd.read_csv(CSV)


@pytest.fixture
def study():
    """The published figures once more, read without pandas: {id: {column: text}}."""
    with CSV.open() as lines:
        return {row["id"]: row for row in csv.DictReader(lines)}


def measure(accuracy=0.9, iou=0.2, total=100, trainable=50, **others):
    test = {"recall_with_mask": 0.97, "recall_without_mask": 0.61, "balanced_accuracy": 0.79}
    return {
        "train": {"accuracy": others.get("train", 0.999), "mean_iou": 0.5},
        "val": {"accuracy": others.get("val", 0.99), "mean_iou": 0.4},
        "test": {
            "accuracy": accuracy,
            "mean_iou": iou,
            "iou_50": 0.0123,
            "majority_accuracy": others.get("majority", 0.7241),
            **test,
        },
        "params": {"total": total, "trainable": trainable},
        "epochs": 13,
        "best_epoch": 11,
        "train_seconds": 61.6,
    }


def all_measured(study):
    """Metrics of every experiment, all different, with the published numbers of parameters."""
    return {
        name: measure(
            0.6 + 0.0173 * i,
            0.05 + 0.0087 * i,
            total=int(row["total_params"]),
            trainable=int(row["trainable_params"]),
            train=0.9 + 0.0031 * i,
            val=0.8 + 0.0071 * i,
        )
        for i, (name, row) in enumerate(study.items())
    }


@pytest.fixture
def arguments(published, study):
    metrics = all_measured(study)
    backbones = {
        "mobilenet_v2": {"weights": "m.h5", "sha256": "ab12", "params": 2257984, "input_size": 224},
        "xception": {"weights": "x.h5", "sha256": "cd34", "params": 20861480, "input_size": 128},
    }
    backbone_of = {name: "mobilenet_v2" for name in study if name.startswith("mobilenet")}
    backbone_of |= {name: "xception" for name in study if name.startswith("xception")}
    pictures = {f"curves/{name}": f"figures/{name}.png" for name in study}
    return {
        "dataset": "kaggle",
        "comparable": True,
        "split": "random",
        "kind": "random",
        "settings": {"seed": 7},
        "metrics": metrics,
        "published": published,
        "data": DATA,
        "backbones": backbones,
        "backbone_of": backbone_of,
        "remarks": {"xception": XCEPTION},
        "iou_deviation": dict.fromkeys(study, 0.15),
        "versions": {"keras": "3.15.0"},
        "pictures": {
            "partition": "figures/partition.jpg",
            "contact_sheet": "figures/crops.jpg",
            "leaderboard": "figures/leaderboard.png",
            "predictions/xception_5": "figures/predictions_xception_5.jpg",
            **pictures,
        },
    }


def tables(text):
    """Every Markdown table of a text as (headers, rows of cells)."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.M):
        lines = [line.strip().strip("|").split("|") for line in block.strip().split("\n")]
        cells = [[cell.strip() for cell in line] for line in lines]
        found.append((cells[0], cells[2:]))
    return found


def section(text, heading):
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def first(rows, name):
    return next(row for row in rows if any(cell.startswith(f"`{name}`") for cell in row))


def test_comparison_subtracts_and_keeps_what_is_missing(published):
    metrics = {"my_own": measure(0.8), "mobilenet_6": measure(0.9, 0.25)}
    rows = comparison(metrics, published, {"mobilenet_6": "n", "xception_1": "x"})
    assert list(rows["id"]) == [*published["id"], "my_own"]
    row = rows.set_index("id").loc["mobilenet_6"]
    assert row["test_accuracy_published"] == 0.9275
    assert row["test_accuracy_difference"] == pytest.approx(-0.0275)
    assert row["test_iou_difference"] == pytest.approx(0.0364)
    assert row["val_iou_difference"] == pytest.approx(0.4 - 0.2173)
    assert (row["family"], row["section"], row["note"]) == ("mobilenet", "5.1.6", "n")
    own = rows.set_index("id").loc["my_own"]
    assert own["family"] == "own"
    assert own["test_accuracy"] == 0.8
    assert math.isnan(own["test_accuracy_published"])
    assert math.isnan(own["test_accuracy_difference"])
    absent = rows.set_index("id").loc["xception_1"]
    assert not absent["run"]
    assert absent["note"] == ""
    assert math.isnan(absent["test_accuracy"])


def test_comparison_refuses_metrics_that_lack_a_figure(published):
    metrics = measure()
    del metrics["test"]["recall_with_mask"]
    with pytest.raises(KeyError, match="recall_with_mask"):
        comparison({"scratch_1": metrics}, published)


def test_leaderboard_ranks_by_accuracy_then_iou_then_name(published):
    metrics = {
        "scratch_2": measure(0.8, 0.1),
        "scratch_1": measure(0.8, 0.1),
        "scratch_3": measure(0.8, 0.3),
        "mobilenet_1": measure(0.7),
        "b": measure(0.95),
    }
    ranking = leaderboard(comparison(metrics, published))
    assert list(ranking["id"]) == ["b", "scratch_3", "scratch_1", "scratch_2", "mobilenet_1"]
    assert list(ranking["rank"]) == [1, 2, 3, 4, 5]
    assert list(ranking["best_of_family"]) == [True, True, False, False, True]
    assert {"majority_accuracy", "recall_with_mask", "recall_without_mask"} <= set(ranking)


def test_half_width_agrees_with_drawn_samples():
    draws = np.random.default_rng(0)
    gaps = draws.binomial(424, 0.85, 100_000) / 424 - draws.binomial(428, 0.85, 100_000) / 428
    width = half_width(0.85 * 0.15, 424, 0.85 * 0.15, 428)
    assert (abs(gaps) <= width).mean() == pytest.approx(0.95, abs=0.01)


def shortfalls(
    metrics, published, remarks=None, notes=None, comparable=True, deviation=0.15, kind="random"
):
    rows = comparison(metrics, published, notes)
    deviations = dict.fromkeys(metrics, deviation)
    return study_shortfalls(rows, DATA, deviations, remarks or {}, "kaggle", comparable, kind)


def test_a_shortfall_is_more_than_three_points(published):
    at_margin = 0.7944 - 0.03
    assert shortfalls({"scratch_7": measure(at_margin, 0.2005)}, published) == []
    (sentence,) = shortfalls({"scratch_7": measure(at_margin - 1e-4, 0.2005)}, published)
    assert sentence.startswith(
        "`scratch_7`: test accuracy 76.43 % is 3.01 points below the published 79.44 %"
    )


def test_nothing_published_is_no_shortfall(published):
    assert shortfalls({"xception_3": measure(0.1, 0.3), "own": measure(0.1, 0.0)}, published) == []


def test_shortfalls_are_weighed_against_the_noise(published):
    # Binomial by hand: 1.96 * sqrt(.75 * .25 / 424 + .7944 * .2056 / 428) = 5.63 points.
    (within,) = shortfalls({"scratch_7": measure(0.75, 0.2005)}, published)
    assert "within the 95 % sampling noise of ±5.63 points" in within
    assert "424 and 428 samples" in within
    assert "one seed" not in within
    (outside,) = shortfalls({"scratch_7": measure(0.7, 0.2005)}, published)
    assert "outside the 95 % sampling noise" in outside
    assert "it is of one seed and the cause is not established" in outside


def test_the_noise_of_an_iou_comes_from_its_spread(published):
    metrics = {"scratch_7": measure(0.8, 0.1605)}
    # 1.96 * .15 * sqrt(1/424 + 1/428) = 2.01 points, and with .3 twice that: the gap is 4.00.
    (narrow,) = shortfalls(metrics, published)
    (wide,) = shortfalls(metrics, published, deviation=0.3)
    assert "outside the 95 % sampling noise of ±2.01 points" in narrow
    assert "within the 95 % sampling noise of ±4.03 points" in wide


def test_validation_and_training_fall_short_too(published):
    sentences = shortfalls({"mobilenet_5": measure(0.92, train=0.9, val=0.8)}, published)
    assert len(sentences) == 2
    assert "training accuracy 90.00 % is 9.64 points below the published 99.64 %" in sentences[0]
    assert "(1,357 and 1,370 samples)" in sentences[0]
    assert "validation accuracy 80.00 % is 12.71 points below" in sentences[1]
    assert "(339 and 343 samples)" in sentences[1]


def test_a_known_cause_is_named(published):
    metrics = {"scratch_7": measure(0.7), "xception_5": measure(0.7)}
    first_one, second = shortfalls(
        metrics, published, {"scratch_7": "it was stopped early."}, {"xception_5": XCEPTION}
    )
    assert first_one.endswith("79.44 %. it was stopped early.")
    assert second.endswith(f"87.14 %. {XCEPTION}.")


def test_other_splits_and_other_data_are_told_apart(published):
    (sentence,) = shortfalls({"scratch_7": measure(0.7)}, published, kind="grouped")
    assert "measured with a grouped split" in sentence
    assert "one seed" not in sentence
    sentences = shortfalls(
        {"scratch_1": measure(0.1), "scratch_7": measure(0.1)}, published, comparable=False
    )
    assert len(sentences) == 1
    assert "to show the layout" in sentences[0]


def test_weight_notes():
    backbones = {"a": {"weights": "random"}, "b": {"weights": "imagenet"}}
    notes = weight_notes(backbones, {"x": "a", "y": "b"}, {})
    assert list(notes) == ["x"]
    assert "random weights" in notes["x"]
    notes = weight_notes(backbones, {"x": "a", "y": "b"}, {"a": "small", "b": "folded"})
    assert notes["x"].endswith("; small")
    assert notes["y"] == "folded"
    with pytest.raises(KeyError, match="c"):
        weight_notes(backbones, {"z": "c"}, {})


def test_percent():
    assert percent(0.92753) == "92.75"
    assert percent(-0.0123, signed=True) == "-1.23"
    assert percent(0.0123, signed=True) == "+1.23"
    assert percent(-0.00001, signed=True) == "+0.00"
    assert percent(math.nan) == "-"


def test_markdown_table():
    text = markdown_table(("a", "b"), [("x|y", 1), ("two\nlines", 2)])
    assert text.split("\n") == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |", "| two lines | 2 |"]
    with pytest.raises(ValueError, match="1 cells under 2 headers"):
        markdown_table(("a", "b"), [("x",)])


@pytest.mark.parametrize(
    ("heading", "family", "splits"),
    [
        ("Networks trained from scratch", "scratch", ("test",)),
        ("MobileNetV2, frozen", "mobilenet", ("train", "val", "test")),
        ("Xception, frozen", "xception", ("test",)),
    ],
)
def test_every_published_figure_stands_beside_the_measured_one(
    arguments, study, heading, family, splits
):
    found = tables(section(render(**arguments), heading))
    names = {"train": "training", "val": "validation", "test": "test"}
    checked = 0
    for name, row in study.items():
        if row["family"] != family:
            continue
        for split in splits:
            for kind, key, shown in (
                ("accuracy", "accuracy", "accuracy"),
                ("iou", "mean_iou", "IoU"),
            ):
                column = f"{names[split]} {shown}"
                headers, rows = next(
                    (heads, cells)
                    for heads, cells in found
                    if column in heads and "published" in heads
                )
                at = headers.index(column)
                cells = first(rows, name)[at : at + 3]
                measured = arguments["metrics"][name][split][key]
                assert cells[0] == f"{100 * measured:.2f}"
                text = row[f"{split}_{kind}"]
                if text:
                    assert cells[1] == f"{100 * float(text):.2f}"
                    assert float(cells[2]) == pytest.approx(
                        100 * (measured - float(text)), abs=0.006
                    )
                    assert cells[2][0] in "+-"
                else:
                    assert cells[1:] == ["-", "-"]
                checked += 1
    assert checked == 2 * len(splits) * sum(row["family"] == family for row in study.values())


def test_accuracies_have_their_context_and_parameters_are_checked(arguments):
    arguments["metrics"]["scratch_2"]["params"]["trainable"] += 1
    found = tables(section(render(**arguments), "Networks trained from scratch"))
    headers, rows = next(table for table in found if "recall with mask" in table[0])
    row = dict(zip(headers, first(rows, "scratch_1"), strict=True))
    assert row["majority class alone"] == "72.41"
    assert (row["recall with mask"], row["recall without mask"]) == ("97.00", "61.00")
    assert (row["balanced accuracy"], row["boxes with IoU ≥ 0.5"]) == ("79.00", "1.23")
    headers, rows = next(table for table in found if "parameters" in table[0])
    assert first(rows, "scratch_1")[1:] == ["38,066", "38,066", "yes", "13 (11)", "62"]
    assert first(rows, "scratch_2")[1:4] == ["38,066", "38,067", "**no**"]


def test_the_data_and_what_the_numbers_hide(arguments):
    text = render(**arguments)
    ((_, rows),) = tables(section(text, "The data"))
    shown = {row[0]: row[1:] for row in rows}
    assert shown["crops kept"] == ["1,861", "1,861"]
    assert shown["… with mask"] == ["1,602", "1,581"]
    assert shown["… without mask"] == ["259", "280"]
    assert shown["samples, flips included"] == ["2,120", "2,141"]
    assert [shown[f"… for {x}"] for x in ("training", "validation", "the test")] == [
        ["1,357", "1,370"],
        ["339", "343"],
        ["424", "428"],
    ]
    hidden = section(text, "What the study's numbers hide")
    assert "106 of 424 test samples (25.0 %)" in hidden
    assert "rewards remembering" in hidden
    assert "about 71 %" in hidden
    assert "**72.41 %**" in hidden
    assert "exactly half the squared error" in hidden
    assert "2,131" in hidden
    arguments["data"] = {**DATA, "leaking_test_samples": 0}
    assert "rewards remembering" not in render(**arguments)


def test_published_accuracies_are_multiples_of_1_428(study):
    # What the report says of them.
    for row in study.values():
        if row["test_accuracy"]:
            hits = float(row["test_accuracy"]) * 428
            # Four decimals are published, some of them cut and not rounded.
            assert hits == pytest.approx(round(hits), abs=0.0001 * 428)


def test_weights_are_labelled_wherever_they_are_used(arguments):
    text = render(**arguments)
    with_xception = [
        line for line in text.split("\n") if line.startswith("|") and "`xception_" in line
    ]
    assert len(with_xception) > 5 * 3
    for line in with_xception:
        # The published best stands without: it is the study's own.
        measured = line.split("| `xception_5` |")[0] if "| xception |" in line else line
        assert re.search(r"`xception_\d`<sup>1</sup>", measured), line
    for part in text.split("\n## "):
        assert ("<sup>1</sup>" in part) == (f"<sup>1</sup> {XCEPTION}." in part)
    assert "<sup>" not in section(text, "MobileNetV2, frozen")
    assert "`cd34`" in section(text, "What was run")


def test_random_weights_and_other_data_are_said_to_be_so(arguments):
    arguments |= {"comparable": False, "dataset": "sample", "remarks": {}}
    for record in arguments["backbones"].values():
        record["weights"] = "random"
    text = render(**arguments)
    assert text.startswith(
        "# Results on `sample`, split `random`\n\n> The study's figures are on the Kaggle"
    )
    for heading in ("MobileNetV2, frozen", "Xception, frozen", "Leaderboard", "Pictures"):
        assert "random weights, not trained on ImageNet" in section(text, heading)
    assert (
        section(text, "Where a figure is more than 3 points below the published one").count("\n* ")
        == 1
    )


def test_some_not_run_and_one_more(arguments):
    metrics = arguments["metrics"]
    arguments["metrics"] = {"scratch_7": metrics["scratch_7"], "my_own": measure(0.99)}
    arguments["backbones"] = {}
    arguments["pictures"] = {}
    text = render(**arguments)
    assert "1 of the study's 19, 1 of your own" in text
    assert "Not run: `scratch_1`," in text
    assert "`xception_5`.\n" in text
    found = tables(section(text, "Networks trained from scratch"))
    assert first(found[0][1], "scratch_1")[1:] == ["not run", "66.82", "-", "not run", "7.27", "-"]
    own = tables(section(text, "Beyond the study"))
    assert first(own[0][1], "my_own")[1:] == ["99.00", "-", "-", "20.00", "-", "-"]
    assert "nan" not in text.lower()
    assert "## Pictures" not in text


def test_nothing_run_still_gives_a_report(arguments):
    arguments["metrics"] = {}
    text = render(**arguments)
    assert "No experiment was run." in text
    assert "0 of the study's 19" in text


def test_leaderboard_of_the_report(arguments):
    board = tables(section(render(**arguments), "Leaderboard"))
    (headers, best), (_, ranking) = board
    assert [row[0] for row in best] == ["xception", "mobilenet", "scratch"]
    published = {row[0]: row[headers.index("best published") :] for row in best}
    assert published == {
        "scratch": ["`scratch_7`", "79.44", "20.05"],
        "mobilenet": ["`mobilenet_6`", "92.75", "21.36"],
        "xception": ["`xception_5`", "87.14", "19.05"],
    }
    # The accuracies of all_measured rise from 0.6 by 0.0173: eight lie under the majority's 0.7241.
    accuracies = [float(row[2]) for row in ranking]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(ranking) == 20
    assert ranking[11][1] == "**the majority class alone**"
    assert [row[0] for row in ranking if row[0] != "-"] == [str(i) for i in range(1, 20)]


def test_pictures_are_linked_once_each_with_a_text(arguments):
    text = render(**arguments)
    links = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)
    assert sorted(path for _, path in links) == sorted(arguments["pictures"].values())
    assert len({words for words, _ in links}) == len(links)
    assert text.count("<details>") == text.count("</details>") == 3


def test_render_names_what_is_missing(arguments):
    arguments["data"] = {key: value for key, value in DATA.items() if key != "samples"}
    with pytest.raises(KeyError, match="samples"):
        render(**arguments)


def test_versions_are_those_of_the_imported_packages():
    found = versions()
    assert found["numpy"] == np.__version__
    assert found["scikit-learn"] == sklearn.__version__
    assert any(name.startswith("tensorflow") for name in found)
