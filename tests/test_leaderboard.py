import csv
import dataclasses
import math
import re
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pytest
import sklearn

from facemask.reporting import leaderboard, report, tables
from facemask.reporting.run import Run, versions
from facemask.reporting.tables import percent

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
    "extra_crops": 1164,
    "extra_crops_without_mask": 208,
    "leaking_test_samples": 106,
}
XCEPTION = "block 14 is a random projection"


@pytest.fixture
def published():
    return pd.read_csv(CSV)


@pytest.fixture
def printed():
    """The published metrics once more, read without pandas: {id: {column: text}}."""
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


def all_measured(printed):
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
        for i, (name, row) in enumerate(printed.items())
    }


@pytest.fixture
def run(published, printed):
    families = {"mobilenet": "mobilenet_v2", "xception": "xception"}
    return Run(
        dataset="kaggle",
        comparable=True,
        split="random",
        kind="random",
        settings={"seed": 7},
        max_epochs=None,
        capped={},
        backbone_of={
            name: families[row["family"]]
            for name, row in printed.items()
            if row["family"] in families
        },
        notes={"xception": XCEPTION},
        versions={"keras": "3.15.0"},
        metrics=all_measured(printed),
        published=published,
        data=DATA,
        backbones={
            "mobilenet_v2": {
                "weights": "m.h5", "sha256": "ab12", "params": 2257984, "input_size": 224,
            },
            "xception": {
                "weights": "x.h5", "sha256": "cd34", "params": 20861480, "input_size": 128,
            },
        },
    )  # fmt: skip


def drawn(run):
    return {
        "partition": "plots/partition.jpg",
        "contact_sheet": "plots/crops.jpg",
        "leaderboard": "plots/leaderboard.png",
        **{f"curves/{name}": f"plots/{name}.png" for name in run.metrics},
        **{f"predictions/{name}": f"plots/{name}.jpg" for name in [*run.metrics][-1:]},
    }


def rendered(run, **changes):
    run = dataclasses.replace(run, **changes)
    return report.render(run, dict.fromkeys(run.metrics, 0.15), drawn(run), [])


def read_tables(text):
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
    rows = leaderboard.comparison(metrics, published, {"mobilenet_6": "n", "xception_1": "x"})
    assert list(rows["id"]) == [*published["id"], "my_own"]
    rows = rows.set_index("id")
    row = rows.loc["mobilenet_6"]
    assert row["test_accuracy_published"] == 0.9275
    assert row["test_accuracy_difference"] == pytest.approx(-0.0275)
    assert row["test_iou_difference"] == pytest.approx(0.0364)
    assert row["val_iou_difference"] == pytest.approx(0.4 - 0.2173)
    assert (row["family"], row["section"], row["note"]) == ("mobilenet", "5.1.6", "n")
    assert rows.loc["my_own", "family"] == "further"
    assert rows.loc["my_own", "test_accuracy"] == 0.8
    assert rows.loc["my_own", ["test_accuracy_published", "test_accuracy_difference"]].isna().all()
    assert not rows.loc["xception_1", "run"]
    assert rows.loc["xception_1", "note"] == ""
    assert math.isnan(rows.loc["xception_1", "test_accuracy"])


def test_comparison_refuses_metrics_that_lack_one(published):
    metrics = measure()
    del metrics["test"]["recall_with_mask"]
    with pytest.raises(KeyError, match="recall_with_mask"):
        leaderboard.comparison({"scratch_1": metrics}, published, {})


def test_leaderboard_ranks_by_accuracy_then_iou_then_name(published):
    metrics = {
        "scratch_2": measure(0.8, 0.1),
        "scratch_1": measure(0.8, 0.1),
        "scratch_3": measure(0.8, 0.3),
        "mobilenet_1": measure(0.7),
        "b": measure(0.95),
    }
    ranking = leaderboard.leaderboard(leaderboard.comparison(metrics, published, {}))
    assert list(ranking["id"]) == ["b", "scratch_3", "scratch_1", "scratch_2", "mobilenet_1"]
    assert list(ranking["rank"]) == [1, 2, 3, 4, 5]
    assert list(ranking["best_of_family"]) == [True, True, False, False, True]
    assert {"majority_accuracy", "recall_with_mask", "recall_without_mask"} <= set(ranking)


def test_half_width_agrees_with_random_samples():
    draws = np.random.default_rng(0)
    gaps = draws.binomial(424, 0.85, 100_000) / 424 - draws.binomial(428, 0.85, 100_000) / 428
    width = leaderboard.half_width(0.85 * 0.15, 424, 0.85 * 0.15, 428)
    assert (abs(gaps) <= width).mean() == pytest.approx(0.95, abs=0.01)


def shortfalls(run, metrics, deviation=0.15, **changes):
    run = dataclasses.replace(run, metrics=metrics, **changes)
    rows, _ = leaderboard.ranked(run)
    return leaderboard.shortfalls(rows, run, dict.fromkeys(metrics, deviation))


def judged(run, metrics, **changes):
    """What the page says of them, a line each."""
    text = rendered(run, metrics=metrics, **changes)
    lines = section(text, "Where a metric is more than 3 points below the published one")
    return [line for line in lines.split("\n") if line.startswith("* ")]


def test_a_shortfall_is_more_than_three_points(run):
    at_margin = 0.7944 - 0.03
    assert shortfalls(run, {"scratch_7": measure(at_margin, 0.2005)}) == []
    below = {"scratch_7": measure(at_margin - 1e-4, 0.2005)}
    (found,) = shortfalls(run, below)
    assert (found["id"], found["split"], found["kind"]) == ("scratch_7", "test", "accuracy")
    (line,) = judged(run, below)
    assert line.startswith(
        "* `scratch_7`: test accuracy 76.43 % is 3.01 points below the published 79.44 %."
    )


def test_nothing_published_is_no_shortfall(run):
    assert shortfalls(run, {"xception_3": measure(0.1, 0.3), "mine": measure(0.1, 0.0)}) == []
    assert judged(run, {"mine": measure(0.1, 0.0)}) == []


def test_shortfalls_are_weighed_against_the_noise(run):
    # Binomial by hand: 1.96 * sqrt(.75 * .25 / 424 + .7944 * .2056 / 428) = 5.63 points.
    (within,) = judged(run, {"scratch_7": measure(0.75, 0.2005)})
    assert "within the 95 % sampling noise of ±5.63 points" in within
    assert "(424 and 428 samples)." in within
    assert "one seed" not in within
    (outside,) = judged(run, {"scratch_7": measure(0.7, 0.2005)})
    assert "outside the 95 % sampling noise" in outside
    assert "one seed" in outside


def test_the_noise_of_an_iou_comes_from_its_standard_deviation(run):
    metrics = {"scratch_7": measure(0.8, 0.1605)}
    # 1.96 * .15 * sqrt(1/424 + 1/428) = 2.01 points, and with .3 twice that: the gap is 4.00.
    for deviation, noise in ((0.15, 0.0201), (0.3, 0.0403)):
        (found,) = shortfalls(run, metrics, deviation)
        assert found["noise"] == pytest.approx(noise, abs=5e-5)
        assert found["published"] - found["measured"] == pytest.approx(0.04)


def test_validation_and_training_fall_short_too(run):
    metrics = {"mobilenet_5": measure(0.92, train=0.9, val=0.8)}
    train, val = shortfalls(run, metrics)
    assert (train["split"], train["size"], train["published_size"]) == ("train", 1357, 1370)
    assert train["published"] - train["measured"] == pytest.approx(0.0964)
    assert (val["split"], val["size"], val["published_size"]) == ("val", 339, 343)
    assert val["published"] - val["measured"] == pytest.approx(0.1271)


def test_a_known_cause_and_a_cap_of_the_epochs_are_named(run):
    metrics = {"scratch_7": measure(0.7), "xception_5": measure(0.7)}
    known = {**run.notes, "scratch_7": "it was stopped early."}
    early, random = judged(run, metrics, notes=known)
    assert early.endswith("79.44 %. it was stopped early.")
    assert random.endswith(f"87.14 %. {XCEPTION}.")
    capped, _ = judged(run, metrics, max_epochs=6, capped={"scratch_7": 30})
    assert "at most 6 epochs instead of 30 (`datasets.kaggle.max_epochs`)" in capped
    assert "cause is not known" not in capped


def test_other_splits_and_other_images_are_told_apart(run):
    metrics = {"scratch_1": measure(0.1), "scratch_7": measure(0.1)}
    line = judged(run, metrics, kind="grouped")[0]
    assert "measured on a grouped split" in line
    assert "one seed" not in line
    assert shortfalls(run, metrics, comparable=False) == []
    capped = {"comparable": False, "max_epochs": 6, "capped": {"scratch_7": 30}}
    assert "`datasets.kaggle.max_epochs`" in rendered(run, metrics=metrics, **capped)


def test_notes_on_weights(run):
    metrics = dict.fromkeys(["scratch_1", "mobilenet_1", "xception_1"], measure())
    random = {**run.backbones["xception"], "weights": "random"}
    changed = dataclasses.replace(run, metrics=metrics, notes={"mobilenet_v2": "folded"})
    assert leaderboard.experiment_notes(changed) == {"mobilenet_1": "folded"}
    changed = dataclasses.replace(changed, backbones={**run.backbones, "xception": random})
    notes = leaderboard.experiment_notes(changed)
    assert list(notes) == ["mobilenet_1", "xception_1"]
    assert "random weights" in notes["xception_1"]
    with pytest.raises(KeyError, match="xception"):
        leaderboard.experiment_notes(
            dataclasses.replace(changed, backbones={"mobilenet_v2": random})
        )


def test_percent():
    assert percent(0.92753) == "92.75"
    assert percent(-0.0123, signed=True) == "-1.23"
    assert percent(0.0123, signed=True) == "+1.23"
    assert percent(-0.00001, signed=True) == "+0.00"
    assert percent(math.nan) == "-"


def test_intervals_and_repeats():
    assert tables.interval({"value": 0.5, "low": 0.25, "high": 0.754}) == "50.00 [25.00, 75.40]"
    assert tables.mean_and_std({"mean": 0.5, "std": 0.0123}) == "50.00 ± 1.23"
    assert tables.mean_and_std({"mean": 0.5, "std": math.nan}) == "50.00"


def test_tables_keep_cells_as_they_are_and_leave_out_columns_without_any():
    rows = [("x|y", "-", "1.50", "-"), ("two\nlines", "", "-", "007")]
    frame = pd.DataFrame(rows, columns=["a", "published", "b", "published"])
    lines = tables.table(frame, left=2).split("\n")
    assert lines[1].replace("-", "") == "|:|:|:|"
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert [[cell.strip() for cell in line] for line in cells[:1] + cells[2:]] == [
        ["a", "b", "published"],
        ["x\\|y", "1.50", "-"],
        ["two lines", "-", "007"],
    ]
    assert tables.table(frame.iloc[:0]) == ""


def test_a_template_that_lacks_a_value_fails():
    with pytest.raises(jinja2.UndefinedError):
        tables.render("uncertainty", majority=0.5)


@pytest.mark.parametrize(
    ("heading", "family", "splits"),
    [
        ("Networks trained from scratch", "scratch", ("test",)),
        ("MobileNetV2, frozen", "mobilenet", ("train", "val", "test")),
        ("Xception, frozen", "xception", ("test",)),
    ],
)
def test_every_published_metric_stands_beside_the_measured_one(
    run, printed, heading, family, splits
):
    found = read_tables(section(rendered(run), heading))
    names = {"train": "training", "val": "validation", "test": "test"}
    checked = 0
    for name, row in printed.items():
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
                measured = run.metrics[name][split][key]
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
    assert checked == 2 * len(splits) * sum(row["family"] == family for row in printed.values())


def test_accuracies_have_their_context_and_parameters_are_checked(run):
    run.metrics["scratch_2"]["params"]["trainable"] += 1
    text = section(rendered(run), "Networks trained from scratch")
    assert text.count("72.41") == 1  # the majority baseline, once for all tables
    headers, rows = next(table for table in read_tables(text) if "recall with mask" in table[0])
    row = dict(zip(headers, first(rows, "scratch_1"), strict=True))
    assert (row["recall with mask"], row["recall without mask"]) == ("97.00", "61.00")
    assert (row["balanced accuracy"], row["IoU ≥ 0.5"]) == ("79.00", "1.23")
    assert first(rows, "scratch_1")[-5:] == ["38,066", "38,066", "yes", "13 (11)", "62"]
    assert first(rows, "scratch_2")[-5:-2] == ["38,066", "38,067", "**no**"]


def test_the_data_and_how_to_read_what_is_published(run):
    text = rendered(run)
    ((_, rows),) = read_tables(section(text, "The data"))
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
    hidden = section(text, "Reading the published metrics")
    assert "106 of 424 test samples (25.0 %)" in hidden
    assert "rewards memorization" in hidden
    assert "about 71 %" in hidden
    assert "**72.41 %**" in hidden
    assert "exactly half the squared error" in hidden
    assert "2,131" in hidden
    assert "rewards memorization" not in rendered(run, data={**DATA, "leaking_test_samples": 0})


def test_published_accuracies_are_multiples_of_1_428(printed):
    # What the report says of them.
    for row in printed.values():
        if row["test_accuracy"]:
            hits = float(row["test_accuracy"]) * 428
            # Four decimals are published, some of them cut and not rounded.
            assert hits == pytest.approx(round(hits), abs=0.0001 * 428)


def test_weights_are_noted_wherever_they_are_used_and_explained_once(run):
    text = rendered(run)
    with_xception = [
        line for line in text.split("\n") if line.startswith("|") and "`xception_" in line
    ]
    assert len(with_xception) > 5 * 3
    for line in with_xception:
        assert re.search(r"`xception_\d`\[\^1\]", line), line
    assert text.count(XCEPTION) == 1
    assert text.endswith(f"\n[^1]: {XCEPTION}.\n")
    assert "[^" not in section(text, "MobileNetV2, frozen")
    assert "`cd34`" in section(text, "What was run")


def test_random_weights_and_other_images_are_said_to_be_so(run):
    backbones = {name: each | {"weights": "random"} for name, each in run.backbones.items()}
    changes = {"comparable": False, "dataset": "sample", "notes": {}, "backbones": backbones}
    text = rendered(run, **changes)
    assert text.startswith(
        "# Results on `sample`, split `random`\n\n> The published metrics are of"
    )
    assert text.count("random weights, not trained on ImageNet") == 2  # one per backbone
    for heading in ("MobileNetV2, frozen", "Xception, frozen", "Leaderboard", "Plots"):
        assert re.search(r"`(mobilenet|xception)_\d`\[\^\d\]", section(text, heading))


def test_some_not_run_and_one_more(run):
    metrics = {"scratch_7": run.metrics["scratch_7"], "mine": measure(0.99)}
    text = rendered(run, metrics=metrics, backbones={})
    assert "1 of the study's 19, 1 of your own" in text
    assert "Not run: `scratch_1`," in text
    assert "`xception_5`.\n" in text
    found = read_tables(section(text, "Networks trained from scratch"))
    assert first(found[0][1], "scratch_1")[1:] == ["not run", "66.82", "-", "not run", "7.27", "-"]
    # Nothing of it is published, and so there is no column for that.
    mine = read_tables(section(text, "Further experiments"))
    assert mine[0] == (["experiment", "test accuracy", "test IoU"], [["`mine`", "99.00", "20.00"]])
    assert "nan" not in text.lower()


def test_the_best_network_comes_first_with_its_context(run):
    summary = rendered(run).split("\n## ")[0]
    best = run.metrics["xception_5"]["test"]
    assert "`xception_5`[^1]" in summary
    for key in ("accuracy", "majority_accuracy", "recall_with_mask", "recall_without_mask"):
        assert f"{100 * best[key]:.2f} %" in summary


def test_leaderboard_of_the_report(run):
    (headers, best), (_, ranking) = read_tables(section(rendered(run), "Leaderboard"))
    names = ["Xception, frozen", "MobileNetV2, frozen", "Networks trained from scratch"]
    assert [row[0] for row in best] == names
    assert [row[headers.index("best published") :] for row in best] == [
        ["`xception_5`", "87.14", "19.05"],
        ["`mobilenet_6`", "92.75", "21.36"],
        ["`scratch_7`", "79.44", "20.05"],
    ]
    # The accuracies of all_measured rise from 0.6 by 0.0173: eight lie under the majority's 0.7241.
    accuracies = [float(row[2]) for row in ranking]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(ranking) == 20
    assert ranking[11][1] == "*majority baseline*"
    assert [row[0] for row in ranking if row[0]] == [str(i) for i in range(1, 20)]


def test_plots_are_linked_once_each_with_a_text(run):
    text = rendered(run)
    links = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)
    assert sorted(path for _, path in links) == sorted(drawn(run).values())
    assert len({words for words, _ in links}) == len(links)
    assert text.count("<details>") == text.count("</details>") == 3


def test_no_column_is_empty_and_the_same_run_is_the_same_page(run):
    text = rendered(run)
    for headers, rows in read_tables(text):
        for place, header in enumerate(headers):
            assert any(row[place] not in ("", "-") for row in rows), header
    assert rendered(run) == text


def test_render_names_what_is_missing(run):
    with pytest.raises(KeyError, match="samples"):
        rendered(run, data={key: value for key, value in DATA.items() if key != "samples"})


def test_versions_are_those_of_the_imported_packages():
    found = versions()
    assert found["numpy"] == np.__version__
    assert found["scikit-learn"] == sklearn.__version__
    assert any(name.startswith("tensorflow") for name in found)
