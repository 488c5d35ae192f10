"""Write docs/results.md and the table of README.md: python docs/results.py [docs/results]."""

import json
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from facemask import records
from facemask.columns import WITH, WITHOUT
from facemask.evaluation import bootstrap, detection, detection_metrics, significance
from facemask.inference.multi_scale import SCALES
from facemask.reporting import detector_page, tables
from facemask.reporting.tables import METRICS, percent

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs/results.md", ROOT / "README.md"
# Which images of `kaggle` are crops of one another, a line of names each.
CROPS = ROOT / "benchmarks/results/near_duplicates.json"
BEGIN, END = "<!-- written by docs/results.py -->", "<!-- end -->"  # of the table in README.md
FOUR = ("accuracy", "recall_with_mask", "recall_without_mask", "mean_iou")
ALL = (*FOUR, "iou_50")
DATA = "metrics/data.json"
# Columns of the detector's ablation: what they show of `detection_metrics.measure`.
ABLATED = {
    "AP@.5": ("two_classes", "ap50"),
    "AP@.5:.95": ("two_classes", "ap"),
    "AP@.5, three classes": ("classes", "ap50"),
    "AP@.5, face": ("face", "ap50"),
    "recall without mask": ("threshold", "recall_without_mask"),
}
SHOWN = ("scratch_7", "mobilenet_6", "localizer", "ensemble")  # in README.md
FOLDS = [f"localizer_grouped_{fold}" for fold in range(5)]
DETECTOR_FOLDS = [f"detector_grouped_{fold}" for fold in range(5)]
MULTI_SCALE = detection_metrics.MULTI_SCALE.format("detector")
# Of the detector, by facemask pool: at two sizes, and at one.
POOLED, POOLED_ONE_SIZE = "detector/folds.json", "detector/folds_one_size.json"
PEERS = ROOT / "benchmarks/results/peers.json"
OTHERS = ROOT / "reference/published_detectors.csv"


class Snapshots:
    """The measured runs in a folder; the template calls these methods."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def find(self, run: str, pattern: str) -> Path:
        """Return the file of a run that matches a pattern."""
        return next((self.folder / run).glob(pattern), self.folder / run / pattern)

    def read(self, run: str, pattern: str) -> Any:  # noqa: ANN401
        """Return the content of the JSON file of a run that matches a pattern."""
        return json.loads(self.find(run, pattern).read_text())

    def record(self, run: str, name: str) -> Any:  # noqa: ANN401
        """Return everything that was measured of an experiment."""
        return self.read(run, f"records/*/statistics/{name}.json")

    def predictions(self, run: str, name: str) -> pd.DataFrame:
        """Return the test predictions of an experiment, or of the ensemble."""
        if name == "ensemble":
            return records.predictions(f"localizer+localizer_stretched@{self.folder / run}")
        return pd.read_csv(self.find(run, f"records/*/predictions/{name}.csv"))

    @cached_property
    def folds(self) -> dict[str, list[pd.DataFrame]]:
        """The test predictions of the localizers, fold by fold."""
        names = ("localizer", "localizer_stretched", "ensemble")
        return {name: [self.predictions(run, name) for run in FOLDS] for name in names}

    @cached_property
    def pooled(self) -> dict[str, dict[str, Any]]:
        """The metrics of all folds together: value, low and high, and those of each fold."""
        return {name: significance.pooled(each)["metrics"] for name, each in self.folds.items()}

    def tested(self, name: str, split: str) -> Any:  # noqa: ANN401
        """Return the test metrics of a network on the split random or grouped_0."""
        if name not in self.folds:
            return self.record("kaggle" if split == "random" else split, name)["test"]
        if split == "random":
            return self.record("localizer", name)["test"]
        return {key: value["folds"][0] for key, value in self.pooled[name].items()}

    def overview(self) -> str:
        """Write the table of README.md and its caption: some networks on both splits."""
        frames = []
        for split, prefix in (("random", ""), ("grouped_0", "grouped: ")):
            tests = {f"`{name}`": self.tested(name, split) for name in SHOWN}
            baseline = (tests["`scratch_7`"]["majority_accuracy"], 1, 0, float("nan"))
            tests = {"majority baseline": dict(zip(FOUR, baseline, strict=True)), **tests}
            frames.append(metrics(tests).add_prefix(prefix))
        random, grouped = (self.read(run, DATA)["test"] for run in ("kaggle", "grouped_0"))
        two, face = (self.detector_at_one_size[key]["ap50"] for key in ("two_classes", "face"))
        caption = (
            f"In %, on {random} and {grouped} test samples. The detector, on whole images, five "
            f"grouped folds: AP@.5 {percent(two)} % of two classes, {percent(face)} % of faces."
        )
        return f"{table(pd.concat(frames, axis=1), 'network')}\n\n{caption}"

    def leaderboard(self, count: int) -> str:
        """Write the best networks on the random split, by test accuracy, then IoU."""
        tests: dict[str, Any] = {}
        for run in ("kaggle", "losses", "localizer"):
            for path in sorted((self.folder / run).glob("records/*/statistics/*.json")):
                tests.setdefault(f"`{path.stem}`", json.loads(path.read_text())["test"])
        best = sorted(tests, key=lambda n: (-tests[n]["accuracy"], -tests[n]["mean_iou"]))
        return table(metrics({name: tests[name] for name in best[:count]}), "network")

    def study(self) -> dict[str, Any]:
        """Return the study's experiments beside published values, and those far below."""
        known = pd.read_csv(ROOT / "reference/published_results.csv", index_col="id")
        tests = {name: self.record("kaggle", name)["test"] for name in known.index}
        frame, gaps = metrics(tests), pd.DataFrame(index=known.index)
        for place, key, column in ((1, "accuracy", "test_accuracy"), (5, "mean_iou", "test_iou")):
            frame.insert(place, f"published {METRICS[key]}", known[column].map(percent))
            gaps[METRICS[key]] = 100 * (known[column] - pd.DataFrame(tests).T[key])
        far = {metric: gap[gap > 4].to_dict() for metric, gap in gaps.items()}
        frame = frame.rename(lambda name: f"`{name}`" + " \\*" * name.startswith("xception"))
        return {"table": table(frame, "experiment"), "far": far}

    def both_splits(self, names: Iterable[str]) -> str:
        """Write networks on the random and on the first grouped split."""
        rows = [(name, split) for name in names for split in ("random", "grouped_0")]
        return table(metrics({f"`{n}`, {s}": self.tested(n, s) for n, s in rows}), "network, split")

    def searches(self, columns: Mapping[str, str]) -> str:
        """Write what both searches found best; columns: headers by the keys of values."""
        files = {n: f"records/*/searches/{n}/best.json" for n in ("mobilenet", "xception")}
        best = pd.DataFrame({f"`{n}`": self.read("kaggle", file) for n, file in files.items()})
        return table(best.T[[*columns]].map("{:.4g}".format).rename(columns=columns), "search")

    def each_fold(self) -> str:
        """Write the metrics of the localizers in each fold."""
        masked = [(fold["actual"] == WITH).mean() for fold in self.folds["localizer"]]
        lines = {"majority baseline": masked}
        for key in ALL:
            lines |= {f"{METRICS[key]}, `{n}`": of[key]["folds"] for n, of in self.pooled.items()}
        return table(pd.DataFrame(lines).map(percent).add_prefix("fold ", axis=0).T, "metric")

    def without_crops(self, name: str) -> dict[str, Any]:
        """Return the metrics of the folds without samples of which a crop was trained on."""
        joined = json.loads(CROPS.read_text())["joined"]["True"]
        group = {image: row for row, names in enumerate(joined) for image in names.split(", ")}
        folds, kept = self.folds[name], []
        used = {image for fold in folds for image in fold["image"]}
        for fold in folds:
            trained = {group[image] for image in used - {*fold["image"]} if image in group}
            kept.append(fold[~fold["image"].map(group).isin(trained)])
        count = sum(map(len, folds)) - sum(map(len, kept))
        return {"count": count, "metrics": significance.pooled(kept)["metrics"]}

    def ensemble_gain(self, name: str) -> Any:  # noqa: ANN401
        """Return the paired difference of IoU between a member and the ensemble, in points."""
        tables = (pd.concat(self.folds[each]) for each in (name, "ensemble"))
        return 100 * significance.compare(*tables).set_index("metric").loc["mean_iou"]

    @cached_property
    def marks(self) -> pd.DataFrame:
        """The test samples of the five folds: unmasked, NAME_wrong (label), NAME_lost (box)."""
        marks = {}
        for name, folds in self.folds.items():
            faces = pd.concat(folds, ignore_index=True)
            marks["unmasked"] = faces["actual"] == WITHOUT
            marks[f"{name}_wrong"] = faces["actual"] != faces["predicted"]
            marks[f"{name}_lost"] = faces["iou"] < 0.5
        return pd.DataFrame(marks)

    def count(self, condition: str) -> int:
        """Return the number of test samples of the five folds that meet a condition."""
        return len(self.marks.query(condition))

    def ablation(self, changes: Mapping[str, str]) -> str:
        """Write variants of the localizer, measured on validation samples."""
        found = {name: self.read(FOLDS[0], f"records/*/ablation/{name}.json") for name in changes}
        repeats = {n: pd.DataFrame(each["val"]).agg(["mean", "std"]) for n, each in found.items()}
        frame = metrics(repeats, ALL)
        frame.insert(0, "change", pd.Series(changes))
        return table(frame.rename("`{}`".format), "variant", left=2)

    @cached_property
    def detector(self) -> Any:  # noqa: ANN401
        """The detector's folds together, at two sizes."""
        return self.read(".", POOLED)

    @cached_property
    def detector_at_one_size(self) -> Any:  # noqa: ANN401
        """The same at one size."""
        return self.read(".", POOLED_ONE_SIZE)

    def localizers(self, split: str) -> dict[str, Any]:
        """Return the metrics of what finds one face, on the random split or in folds."""
        if split == "random":
            found = {name: self.record("localizer", name)["intervals"] for name in self.folds}
            found["detector"] = self.detector_on_random()
        else:
            found = self.pooled | {"detector": self.detector_on_crops()}
        return {f"`{name}`": each for name, each in found.items()}

    def detector_on_crops(self) -> dict[str, Any]:
        """Return the detector's metrics on the crops of the folds: value, low and high."""
        value, bounds = (each["crops"] for each in (self.detector, self.detector["intervals"]))
        return {
            key: {"value": value[key], "low": bounds[key][0], "high": bounds[key][1]} for key in ALL
        }

    def detector_on_random(self) -> dict[str, Any]:
        """Return the same on the crops that the random split tests, each by the fold it is of."""
        tested = self.predictions("localizer", "localizer")[["image", "face", "flip"]]
        folds = pd.concat([self.predictions(run, MULTI_SCALE) for run in DETECTOR_FOLDS])
        both = tested.merge(folds, on=["image", "face", "flip"], validate="1:1")
        return bootstrap.intervals(both) | {"count": len(both)}

    def limits(self) -> dict[str, Any]:
        """Return how many faces the folds have, of each class, and miss; shares of tiny ones."""
        tables = []
        for run in DETECTOR_FOLDS:
            fold = records.fold(f"{MULTI_SCALE}@{self.folder / run}")
            faces, _ = detection.matches(fold.faces, fold.detections, fold.statistics["classes"])
            faces["threshold"] = fold.statistics["confidence"]
            tables.append(faces.assign(missed=~detection.is_found(faces)))
        faces = pd.concat(tables, ignore_index=True)
        tiny, missed = faces["side"] < detection.SIZES[0], faces["missed"]
        shares = {"tiny": tiny.mean(), "tiny_of_missed": tiny[missed].mean()}
        counts = {"faces": len(faces), "missed": missed.sum()}
        return {**shares, **counts, "classes": faces["name"].value_counts()}

    def beside_others(self) -> str:
        """Write ready-made face detectors and published networks beside the detector."""
        peers = json.loads(PEERS.read_text())
        # Operations grow as the area of what is seen.
        passes = sum(scale**2 for scale in SCALES)
        own = [
            {
                "detector": name,
                "trained on": "ImageNet, this dataset",
                "tested on": "all images, five grouped folds",
                "parameters, M": f"{found['parameters'] / 1e6:.1f}",
                "GMAC": f"{peers['own']['gmac'] * more:.1f}",
                "ms": f"{peers['own'][key]:.0f}",
                "AP@.5, two": percent(found["two_classes"]["ap50"]),
                "AP@.5:.95, two": percent(found["two_classes"]["ap"]),
                "AP@.5, three": percent(found["three_classes"]["ap50"]),
                "AP@.5, face": percent(found["face"]["ap50"]),
            }
            for name, found, key, more in (
                ("this detector, two sizes", self.detector, "ms_multi_scale", passes),
                ("this detector, one size", self.detector_at_one_size, "ms", 1),
            )
        ]
        ready = [
            {
                "detector": row["detector"],
                "trained on": "WIDER FACE",
                "tested on": "all images",
                "parameters, M": f"{row['parameters'] / 1e6:.2f}",
                "GMAC": f"{row['gmac']:.1f}",
                "ms": f"{row['ms']:.0f}",
                "AP@.5, face": percent(row["ap50"]),
            }
            for row in peers["rows"]
        ]
        published = [
            {
                "detector": row.detector,
                "trained on": f"{row.pretraining}, this dataset",
                "tested on": "a split by image, published",
                "parameters, M": f"{row.parameters:.1f}",
                "AP@.5, two": percent(row.ap50_two),
                "AP@.5:.95, two": percent(row.ap_two),
                "AP@.5, three": percent(row.ap50_three),
            }
            for row in pd.read_csv(OTHERS).itertuples()
        ]
        rows = pd.DataFrame([*own, *ready, *published]).fillna(tables.NONE).replace("nan", "-")
        return table(rows.set_index("detector"), "detector", left=3)

    def detector_ablation(self, changes: Mapping[str, str]) -> str:
        """Write variants of the detector, measured on validation images."""
        rows = {}
        for name, change in changes.items():
            record = self.read("detector_ablation", f"records/detector_ablation/{name}.json")
            row = {"change": change}
            for title, (group, key) in ABLATED.items():
                values = pd.Series([repeat[group][key] for repeat in record["val"]])
                row[title] = cell({"mean": values.mean(), "std": values.std()})
            rows[f"`{name}`"] = row
        return table(pd.DataFrame(rows).T, "variant", left=2)

    def origins(self) -> str:
        """Write the split, the test samples and the commits of each snapshot."""
        rows = {}
        for path in sorted(self.folder.glob("*/snapshot.json")):
            about, data = (self.read(path.parent.name, f) for f in (path.name, DATA))
            if path.parent.name.startswith("detector"):  # which are trained on whole images
                data = {"test": tables.NONE, "leaks": tables.NONE}
            commits = about["commits"].values() if "commits" in about else [about["commit"]]
            shown = ", ".join(sorted({f"`{commit[:7]}`" for commit in commits}))
            row = {"split": f"`{about['split']}`", "measured at commit": shown}
            rows[path.parent.name] = row | {"test samples": data["test"], "leaking": data["leaks"]}
        return table(pd.DataFrame(rows).T, "snapshot", left=3)


def cell(of: Any) -> str:  # noqa: ANN401
    """Write a share in per cent, with its interval or its standard deviation if there is one."""
    if isinstance(of, int | float):
        return percent(of)
    return tables.mean_and_std(of) if "std" in of else tables.interval(of)


def metrics(measured: Mapping[str, Any], keys: Iterable[str] = FOUR) -> pd.DataFrame:
    """Return the metrics of experiments as text, a row per experiment."""
    rows = {name: {METRICS[key]: cell(of[key]) for key in keys} for name, of in measured.items()}
    return pd.DataFrame(rows).T


def table(frame: pd.DataFrame, header: str, left: int = 1) -> str:
    """Write a table in Markdown, its index and first columns aligned to the left."""
    return tables.table(frame.rename_axis(header).reset_index(), left)


def render(folder: Path) -> dict[Path, str]:
    """Return the pages that the snapshots in a folder make, by their paths."""
    runs, source = Snapshots(folder), PAGE.with_suffix(".md.j2").read_text()
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - Markdown
    environment.filters["percent"] = percent
    template = environment.from_string(source)
    tools = {"metrics": metrics, "table": table, "percent": percent, "all": ALL}
    tools |= {"detector_page": detector_page, "plain_table": tables.table}
    before, _, rest = README.read_text().partition(BEGIN)
    readme = f"{before}{BEGIN}\n{runs.overview()}\n{END}{rest.partition(END)[2]}"
    return {PAGE: template.render(runs=runs, **tools) + "\n", README: readme}


def main() -> None:
    """Write both pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/results"
    for path, text in render(folder).items():
        path.write_text(text)


if __name__ == "__main__":
    main()
