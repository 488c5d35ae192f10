"""The report: every figure of the study beside the one measured, in tables, sentences and text.

Figures are fractions 0..1 in tables and per cent (differences: points) in the rendered text.
"""

import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from facemask.reporting.tables import NONE, markdown_table, percent, sentence

Metrics = Mapping[str, Any]

FIGURES = {
    "train_accuracy": ("train", "accuracy"),
    "train_iou": ("train", "mean_iou"),
    "val_accuracy": ("val", "accuracy"),
    "val_iou": ("val", "mean_iou"),
    "test_accuracy": ("test", "accuracy"),
    "test_iou": ("test", "mean_iou"),
}
CONTEXT = (
    "recall_with_mask",
    "recall_without_mask",
    "balanced_accuracy",
    "majority_accuracy",
    "iou_50",
)
FAMILIES = {
    "scratch": "Networks trained from scratch",
    "mobilenet": "MobileNetV2, frozen",
    "xception": "Xception, frozen",
    "own": "Beyond the study",
}
# What each family's table in the study shows; the study gives the other figures for no family.
TABLES = {"mobilenet": ("train", "val", "test")}
PUBLISHED_SIZES = {"train": 1370, "val": 343, "test": 428}
PUBLISHED_DATA = {
    "images": 853,
    "faces": 4072,
    "crops": 1861,
    "crops_with_mask": 1581,
    "crops_without_mask": 280,
    "samples": 2141,
    **PUBLISHED_SIZES,
}
DATA_ROWS = {
    "images": "photographs",
    "left_out": "photographs left out as defective",
    "faces": "annotated faces",
    "crops": "crops kept",
    "crops_with_mask": "… with mask",
    "crops_without_mask": "… without mask",
    "samples": "samples, flips included",
    "train": "… for training",
    "val": "… for validation",
    "test": "… for the test",
    "small_crops": "smaller crops that may train a localizer",
    "small_crops_without_mask": "… of them without mask",
    "leaking_test_samples": "test samples whose photograph, or a near-duplicate of it, is also in "
    "train or validation",
}
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
SPLITS = {
    "random": "the study's: flips first, then a shuffle of all samples",
    "grouped": "no photograph, near-duplicate or flipped copy in two splits; flips train only",
}
LAYOUT_ONLY = (
    "The study's figures are on the Kaggle photographs; on `{}` they stand beside only to show the "
    "layout."
)
PACKAGES = ["tensorflow", "keras", "numpy", "cv2", "sklearn", "dvc"]


def versions() -> dict[str, str]:
    """Return the versions of what decides the figures, by the name each is installed under."""
    installed = metadata.packages_distributions()
    return {installed[name][0]: metadata.version(installed[name][0]) for name in PACKAGES}


def weight_notes(
    backbones: Mapping[str, Metrics],
    backbone_of: Mapping[str, str],
    remarks: Mapping[str, str],
) -> dict[str, str]:
    """Say for each experiment what is not as it should be with its backbone's weights, if anything.

    `backbones` maps a backbone to its record with a "weights" entry, `backbone_of` an experiment to
    its backbone, `remarks` a backbone to a sentence. Returns {experiment: text}, without those
    that need no note. KeyError for a backbone without a record.
    """
    notes = {}
    for experiment, backbone in backbone_of.items():
        random = backbones[backbone]["weights"] == "random"
        parts = [f"{backbone}: random weights, not trained on ImageNet"] if random else []
        parts += [remarks[backbone]] if backbone in remarks else []
        if parts:
            notes[experiment] = "; ".join(parts)
    return notes


def ranked(
    metrics: Mapping[str, Metrics],
    published: pd.DataFrame,
    backbones: Mapping[str, Metrics],
    backbone_of: Mapping[str, str],
    remarks: Mapping[str, str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of `comparison` and `leaderboard`; arguments are those of `render`."""
    used = {name: backbone for name, backbone in backbone_of.items() if name in metrics}
    rows = comparison(metrics, published, weight_notes(backbones, used, remarks))
    return rows, leaderboard(rows)


def comparison(
    metrics: Mapping[str, Metrics],
    published: pd.DataFrame,
    notes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Put the measured figures of each experiment beside the published ones.

    `metrics` maps an experiment to the content of its statistics file, `published` is
    published_results.csv, `notes` what `weight_notes` returns. One row an experiment, the study's
    in its order, then others in the order of `metrics` (family "own", nothing published). Columns:
    id, family, section, title, note, run (whether it was); each of train_accuracy, train_iou,
    val_accuracy, val_iou, test_accuracy, test_iou as measured, with its twins _published and
    _difference (measured - published); total_params and trainable_params with _published; of the
    test both recalls, balanced_accuracy, majority_accuracy and iou_50; epochs, best_epoch,
    train_seconds. What was not measured or not published is NaN. KeyError for metrics
    that lack a figure.
    """
    study = published.set_index("id")
    rows = []
    for name in dict.fromkeys([*study.index, *metrics]):
        known = study.loc[name] if name in study.index else pd.Series(dtype=object)
        row = {
            "id": name,
            "family": known.get("family", "own"),
            "section": str(known.get("report_section", "")),
            "title": known.get("title", ""),
            "note": (notes or {}).get(name, "") if name in metrics else "",
            "run": name in metrics,
            **_measured(metrics.get(name)),
        }
        for figure in (*FIGURES, "total_params", "trainable_params"):
            row[f"{figure}_published"] = float(known.get(figure, math.nan))
        for figure in FIGURES:
            row[f"{figure}_difference"] = row[figure] - row[f"{figure}_published"]
        rows.append(row)
    return pd.DataFrame(rows)


def _measured(metrics: Metrics | None) -> dict[str, Any]:
    """The measured columns of one row; NaN for what was not run."""
    names = (*FIGURES, *CONTEXT, "total_params", "trainable_params")
    others = ("epochs", "best_epoch", "train_seconds")
    if metrics is None:
        return dict.fromkeys((*names, *others), math.nan)
    return {
        **{name: float(metrics[split][key]) for name, (split, key) in FIGURES.items()},
        **{name: float(metrics["test"][name]) for name in CONTEXT},
        "total_params": metrics["params"]["total"],
        "trainable_params": metrics["params"]["trainable"],
        **{name: metrics[name] for name in others},
    }


def leaderboard(comparison: pd.DataFrame) -> pd.DataFrame:
    """Rank the experiments that were run by test accuracy, then test IoU, then name.

    Takes what `comparison` returns; returns its rows, best first, with rank (1-based) and
    best_of_family in front. The recalls and the majority class's accuracy are among its columns:
    no accuracy should be shown without them.
    """
    ranking = comparison[comparison["run"]].sort_values(
        ["test_accuracy", "test_iou", "id"], ascending=[False, False, True]
    )
    ranking = ranking.reset_index(drop=True)
    ranking.insert(0, "rank", np.arange(1, len(ranking) + 1))
    ranking.insert(1, "best_of_family", ~ranking.duplicated("family"))
    return ranking


def half_width(variance: float, size: int, published_variance: float, published_size: int) -> float:
    """Half the 95 % interval of the difference of two means over independent finite sets.

    The normal approximation; for shares the variance is p(1 - p), as in the binomial. Samples of
    one photograph are not independent, so the true noise is rather larger.
    """
    return 1.96 * math.sqrt(variance / size + published_variance / published_size)


def shortfalls(
    comparison: pd.DataFrame,
    sizes: Mapping[str, int],
    iou_deviation: Mapping[str, float],
    remarks: Mapping[str, str],
    dataset: str,
    comparable: bool,
    kind: str = "random",
    margin: float = 0.03,
) -> list[str]:
    """Say why, in a sentence each, measured figures lie more than `margin` below published ones.

    `comparison` is what the function of that name returns; `sizes` holds this run's number of
    train, val and test samples (counts.json will do); `iou_deviation` the standard deviation of the
    IoU over the test samples of each experiment; `remarks` maps an experiment to the known cause,
    and the note on its weights counts as one too. Where no cause is known the sentence gives the
    sampling noise and claims nothing else. `kind` is the split's. With `comparable` False (the data
    are not the study's) one sentence speaks for all. An empty list where nothing falls short.
    KeyError for a size or deviation that is needed and missing.
    """
    if not comparable:
        return [LAYOUT_ONLY.format(dataset)]
    sentences = []
    for row in comparison[comparison["run"]].to_dict("records"):
        for figure, (split, _) in FIGURES.items():
            # Rounded, or 0.91 - 0.94 would count as more than 0.03.
            if round(-row[f"{figure}_difference"], 9) > margin:
                start = _gap(row, figure, split)
                if row["id"] in remarks:
                    cause = remarks[row["id"]]
                elif row["note"]:
                    cause = row["note"]
                else:
                    cause = _chance(row, figure, split, int(sizes[split]), iou_deviation, kind)
                sentences.append(f"{start}. {sentence(cause)}")
    return sentences


def _gap(row: Mapping[str, Any], figure: str, split: str) -> str:
    measured, published = row[figure], row[f"{figure}_published"]
    kind = "IoU" if figure.endswith("iou") else "accuracy"
    return (
        f"`{row['id']}`: {SPLIT_NAMES[split]} {kind} {percent(measured)} % is "
        f"{percent(published - measured)} points below the published {percent(published)} %"
    )


def _chance(
    row: Mapping[str, Any],
    figure: str,
    split: str,
    size: int,
    iou_deviation: Mapping[str, float],
    kind: str,
) -> str:
    """What can be said of a gap without a known cause: the split, and what chance explains."""
    measured, published = row[figure], row[f"{figure}_published"]
    variances = [share * (1 - share) for share in (measured, published)]
    if figure.endswith("iou"):
        # The study does not publish the spread of its IoU: taken to be the measured one.
        variances = [iou_deviation[row["id"]] ** 2] * 2
    noise = half_width(variances[0], size, variances[1], PUBLISHED_SIZES[split])
    place = "within" if published - measured <= noise else "outside"
    text = (
        f"This lies {place} the 95 % sampling noise of ±{percent(noise)} points of the two "
        f"{SPLIT_NAMES[split]} sets ({size:,} and {PUBLISHED_SIZES[split]:,} samples)"
    )
    if kind != "random":
        return (
            f"{text}; measured with a {kind} split, published with flips before "
            "the split, and how much of the gap that makes is not told apart here"
        )
    if place == "outside":
        return f"{text}; it is of one seed and the cause is not established"
    return text


def render(
    *,
    dataset: str,
    comparable: bool,
    split: str,
    kind: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Metrics],
    published: pd.DataFrame,
    data: Mapping[str, int],
    backbones: Mapping[str, Metrics],
    backbone_of: Mapping[str, str],
    remarks: Mapping[str, str],
    iou_deviation: Mapping[str, float],
    versions: Mapping[str, str],
    pictures: Mapping[str, str],
    chapters: Sequence[str] = (),
) -> str:
    """Write the whole report as GitHub-flavoured Markdown.

    `dataset` names the data and `comparable` says whether they are the study's; `split` is the
    name of the split and `kind` random or grouped; `settings` are rows of the first table, name
    to value (seeds, crop metric, …); `metrics`, `data` and `backbones` hold the content of the
    JSON files, experiments and backbones by name; `published` is published_results.csv;
    `backbone_of` maps an experiment to its backbone, for those that have one; `remarks` maps a
    backbone to what must be said of its weights wherever a result of theirs stands, and an
    experiment to why it falls short; `iou_deviation` is the standard deviation of the test IoU
    of each experiment; `versions` maps a package to its version. `pictures` maps what is shown
    to a path relative to the report: "partition", "contact_sheet", "leaderboard",
    "curves/<experiment>" and "predictions/<experiment>"; what is missing is left out.
    `chapters` are those of `sections`, as Markdown; empty ones are left out.
    KeyError for an entry that the text needs and is missing.
    """
    rows, ranking = ranked(metrics, published, backbones, backbone_of, remarks)
    sentences = shortfalls(rows, data, iou_deviation, remarks, dataset, comparable, kind)
    sections = [
        f"# Results on `{dataset}`, split `{split}`",
        "" if comparable else f"> {LAYOUT_ONLY.format(dataset)}",
        _what_was_run(dataset, split, kind, settings, rows, versions),
        _weights(backbones, remarks),
        _data(data),
        _hidden(data, ranking, split),
        *(_family(rows[rows["family"] == family], family, comparable) for family in FAMILIES),
        _leaders(ranking, rows, pictures),
        *chapters,
        _why(sentences),
        _pictures(rows, pictures),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what_was_run(
    dataset: str,
    split: str,
    kind: str,
    settings: Mapping[str, Any],
    rows: pd.DataFrame,
    versions: Mapping[str, str],
) -> str:
    study = rows[rows["family"] != "own"]
    others = rows.loc[rows["family"] == "own", "id"]
    tuned = others.str.endswith("_tuned")
    counts = [f"{study['run'].sum()} of the study's {len(study)}"]
    counts += [f"{tuned.sum()} tuned by searches"] if tuned.any() else []
    counts += [f"{(~tuned).sum()} of your own"] if (~tuned).any() else []
    cells = [
        ("dataset", f"`{dataset}`"),
        ("split", f"`{split}` ({SPLITS[kind]})"),
        *settings.items(),
        ("experiments run", ", ".join(counts)),
        ("training time, all experiments", f"{rows['train_seconds'].sum():,.0f} s"),
        ("packages", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    missing = ", ".join(f"`{name}`" for name in rows.loc[~rows["run"], "id"])
    text = "## What was run\n\n" + markdown_table(("", "this run"), cells, left=2)
    return f"{text}\n\nNot run: {missing}." if missing else text


def _weights(backbones: Mapping[str, Metrics], remarks: Mapping[str, str]) -> str:
    if not backbones:
        return ""
    cells = []
    for name, record in backbones.items():
        random = "**random weights, not trained on ImageNet**"
        weights = random if record["weights"] == "random" else f"`{record['weights']}`"
        remark = f" **{sentence(remarks[name])}**" if name in remarks else ""
        input_size = f"{record['input_size']} px"
        sha256 = f"`{record['sha256']}`"
        cells.append((name, weights + remark, sha256, f"{record['params']:,}", input_size))
    headers = ("backbone", "weights", "sha256 of the weights", "parameters", "input")
    return "### Weights of the frozen backbones\n\n" + markdown_table(headers, cells, left=3)


def _data(data: Mapping[str, int]) -> str:
    cells = [
        (name, f"{data[key]:,}", f"{PUBLISHED_DATA[key]:,}" if key in PUBLISHED_DATA else NONE)
        for key, name in DATA_ROWS.items()
    ]
    table = markdown_table(("", "this run", "the study"), cells)
    return f"## The data\n\n{table}"


def _hidden(data: Mapping[str, int], ranking: pd.DataFrame, split: str) -> str:
    leaking, test = data["leaking_test_samples"], data["test"]
    counted = (
        f"In this run (split: `{split}`) {leaking:,} of {test:,} test samples "
        f"({100 * leaking / test:.1f} %) have their photograph, or a near-duplicate of it, in "
        "train or validation as well."
    )
    if leaking:
        counted += " Such a test set rewards remembering."
    majority = ""
    if len(ranking):
        share = percent(ranking["majority_accuracy"].iloc[0])
        majority = f"; on this run's test set the majority class alone scores **{share} %**"
    points = [
        "**The flips precede the split.** The study mirrors the crops of the rarer class and "
        "shuffles afterwards: a face and its mirror image, or two faces of one photograph, are on "
        f"two sides. {counted}",
        "**The majority class.** A network that always answers “with mask” scores about 71 % on "
        f"the study's test set{majority}. An accuracy means nothing without that figure and the "
        "recall of each class beside it.",
        "**Smooth L1 is half an MSE there.** The study trained with the Huber form and threshold "
        "1; on boxes in [0, 1] no error exceeds the threshold, and the loss is exactly half the "
        "squared error. `mobilenet_3` and `xception_3` therefore only halve the weight of the box. "
        "(The first formula it prints, e² up to the threshold and |e| beyond, would be the MSE "
        "itself, and its slope jumps from 2 to 1 at the threshold; no experiment of the study uses "
        "it.) "
        "Only `scratch_4_smooth_l1`, with boxes in pixels, compares two different losses.",
        "**2,131 or 2,141 samples.** The study's text says 2,131, but 1,861 crops and 280 flips "
        "are 2,141, and the accuracies in its tables are multiples of 1/428: a fifth of 2,141.",
        "**One figure each.** The study gives one figure a network. On 428 samples chance alone "
        "moves an accuracy of 80 % by ±3.8 points (95 %), and the difference of two such by ±5.4.",
    ]
    return "## What the study's numbers hide\n\n" + "\n".join(f"* {point}" for point in points)


def _family(rows: pd.DataFrame, family: str, comparable: bool) -> str:
    if rows.empty:
        return ""
    splits = TABLES.get(family, ("test",))
    other = (
        "" if comparable else " The published figures are of other data, the Kaggle photographs."
    )
    parts = [f"## {FAMILIES[family]}", f"Figures in %, differences in points.{other}"]
    groups = (
        [[f"{split}_{kind}" for split in splits] for kind in ("accuracy", "iou")]
        if len(splits) > 1
        else [["test_accuracy", "test_iou"]]
    )
    parts += [_against_study(rows, figures) for figures in groups]
    run = rows[rows["run"]]
    if len(run):
        parts += [_context_table(run), _size_table(run)]
    return "\n\n".join(parts)


def _against_study(rows: pd.DataFrame, figures: Sequence[str]) -> str:
    headers = ["experiment"]
    for figure in figures:
        split, kind = figure.split("_")
        headers += [f"{SPLIT_NAMES[split]} {kind.replace('iou', 'IoU')}", "published", "difference"]
    marks = _marks(rows)
    cells = []
    for row in rows.to_dict("records"):
        line = [_name(row, marks)]
        for figure in figures:
            line += [
                percent(row[figure]) if row["run"] else "not run",
                percent(row[f"{figure}_published"]),
                percent(row[f"{figure}_difference"], signed=True),
            ]
        cells.append(line)
    return _noted(markdown_table(headers, cells), marks)


def _context_table(rows: pd.DataFrame) -> str:
    headers = (
        "experiment",
        "test accuracy",
        "majority class alone",
        "recall with mask",
        "recall without mask",
        "balanced accuracy",
        "test IoU",
        "boxes with IoU ≥ 0.5",
    )
    names = (
        "test_accuracy",
        "majority_accuracy",
        "recall_with_mask",
        "recall_without_mask",
        "balanced_accuracy",
        "test_iou",
        "iou_50",
    )
    marks = _marks(rows)
    cells = [
        [f"`{row['id']}`{marks.get(row['note'], '')}", *(percent(row[name]) for name in names)]
        for row in rows.to_dict("records")
    ]
    return _noted(markdown_table(headers, cells), marks)


def _size_table(rows: pd.DataFrame) -> str:
    headers = ("experiment", "parameters", "trainable", "as published", "epochs (best)", "seconds")
    marks = _marks(rows)
    cells = []
    for row in rows.to_dict("records"):
        names = ("total_params", "trainable_params")
        known = not math.isnan(row["total_params_published"])
        equal = all(row[name] == row[f"{name}_published"] for name in names)
        cells.append(
            (
                f"`{row['id']}`{marks.get(row['note'], '')}",
                *(f"{row[name]:,.0f}" for name in names),
                ("yes" if equal else "**no**") if known else NONE,
                f"{row['epochs']:.0f} ({row['best_epoch']:.0f})",
                f"{row['train_seconds']:,.0f}",
            )
        )
    return _noted(markdown_table(headers, cells), marks)


def _leaders(ranking: pd.DataFrame, rows: pd.DataFrame, pictures: Mapping[str, str]) -> str:
    parts = ["## Leaderboard"]
    if ranking.empty:
        return "\n\n".join((*parts, "No experiment was run."))
    marks = _marks(ranking)
    parts += [
        "### The best of each family",
        "The best is the one with the highest test accuracy. Choosing by the test set flatters the "
        "one chosen.",
        _noted(
            _best_table(ranking, rows, marks), _marks(ranking[ranking["best_of_family"]], marks)
        ),
        "### All experiments",
        _noted(_ranking_table(ranking, marks), marks),
    ]
    if "leaderboard" in pictures:
        text = "Measured and published test accuracy and IoU, and the recall of each class"
        parts.append(f"![{text}]({pictures['leaderboard']})")
    return "\n\n".join(parts)


def _best_table(ranking: pd.DataFrame, rows: pd.DataFrame, marks: Mapping[str, str]) -> str:
    headers = (
        "family",
        "best measured",
        "test accuracy",
        "majority class alone",
        "recall with mask",
        "recall without mask",
        "test IoU",
        "best published",
        "test accuracy",
        "test IoU",
    )
    names = ("test_accuracy", *("majority_accuracy", *CONTEXT[:2]), "test_iou")
    cells = []
    for row in ranking[ranking["best_of_family"]].to_dict("records"):
        rivals = rows[rows["family"] == row["family"]].dropna(subset="test_accuracy_published")
        study: tuple[str, ...] = (NONE, NONE, NONE)
        if len(rivals):
            best = rivals.loc[rivals["test_accuracy_published"].idxmax()]
            figures = (best["test_accuracy_published"], best["test_iou_published"])
            study = (f"`{best['id']}`", *(percent(figure) for figure in figures))
        measured = (f"`{row['id']}`{marks.get(row['note'], '')}", *(percent(row[n]) for n in names))
        cells.append((row["family"], *measured, *study))
    return markdown_table(headers, cells, left=2)


def _ranking_table(ranking: pd.DataFrame, marks: Mapping[str, str]) -> str:
    """All experiments, best first, and the majority class at its place among them."""
    headers = (
        "rank",
        "experiment",
        "test accuracy",
        "published",
        "recall with mask",
        "recall without mask",
        "balanced accuracy",
        "test IoU",
        "published",
    )
    names = (
        "test_accuracy",
        "test_accuracy_published",
        *CONTEXT[:3],
        "test_iou",
        "test_iou_published",
    )
    cells = [
        (row["rank"], _name(row, marks), *(percent(row[name]) for name in names))
        for row in ranking.to_dict("records")
    ]
    share = ranking["majority_accuracy"].iloc[0]
    alone = (NONE, "**the majority class alone**", percent(share), *[NONE] * 3, "50.00", NONE, NONE)
    cells.insert((ranking["test_accuracy"] >= share).sum(), alone)
    return markdown_table(headers, cells, left=2)


def _why(sentences: Sequence[str]) -> str:
    parts = ["## Where a figure is more than 3 points below the published one"]
    if any("sampling noise" in sentence for sentence in sentences):
        parts.append(
            "Sampling noise is half the 95 % interval of the difference between two sets of these "
            "sizes; the IoU's is taken from its measured spread. Samples count as independent, "
            "which the faces of one photograph are not: the true noise is rather larger."
        )
    none = "No measured figure is more than 3 points below the published one."
    parts.append("\n".join(f"* {sentence}" for sentence in sentences) or none)
    return "\n\n".join(parts)


def _pictures(rows: pd.DataFrame, pictures: Mapping[str, str]) -> str:
    parts = ["## Pictures"]
    captions = {
        "partition": "How three distances divide one photograph among its faces",
        "contact_sheet": "Crops with the box of their face",
    }
    for key, caption in captions.items():
        if key in pictures:
            parts += [f"### {caption}", f"![{caption}]({pictures[key]})"]
    marks = _marks(rows)
    sheets = _shown(rows, pictures, "predictions", marks)
    if sheets:
        parts += ["### Test photographs with the annotated and the predicted box and label", sheets]
    families = {
        name: _shown(rows[rows["family"] == family], pictures, "curves", marks)
        for family, name in FAMILIES.items()
    }
    if any(families.values()):
        parts.append("### Curves and confusion matrix of each experiment")
    # Folded: nineteen pictures would bury what stands above.
    parts += [
        f"<details><summary>{name}</summary>\n\n{shown}\n\n</details>"
        for name, shown in families.items()
        if shown
    ]
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _shown(
    rows: pd.DataFrame, pictures: Mapping[str, str], kind: str, marks: Mapping[str, str]
) -> str:
    """The pictures of one kind that there are, each under its experiment's name."""
    rows = rows[(f"{kind}/" + rows["id"]).isin(pictures)]
    alt = {"predictions": "Predictions", "curves": "Curves and confusion matrix"}[kind]
    parts = [
        f"{_name(row, marks)}\n\n![{alt} of {row['id']}]({pictures[kind + '/' + row['id']]})"
        for row in rows.to_dict("records")
    ]
    if rows["note"].any():
        parts.append(_notes(_marks(rows, marks)))
    return "\n\n".join(parts)


def _marks(rows: pd.DataFrame, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """A superscript for every note of these rows, as `known` has it or numbered from 1."""
    notes = [note for note in dict.fromkeys(rows["note"]) if note]
    return {note: (known or {}).get(note, f"<sup>{i}</sup>") for i, note in enumerate(notes, 1)}


def _name(row: Mapping[str, Any], marks: Mapping[str, str]) -> str:
    parts = (f"`{row['id']}`{marks.get(row['note'], '')}", row["section"], row["title"])
    return " ".join(part for part in parts if part)


def _noted(table: str, marks: Mapping[str, str]) -> str:
    return f"{table}\n\n{_notes(marks)}" if marks else table


def _notes(marks: Mapping[str, str]) -> str:
    return "  \n".join(f"{mark} {sentence(note)}" for note, mark in marks.items())
