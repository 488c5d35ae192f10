"""The repository's own parameter files, and a clear message for each way to spoil them."""

import copy
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from pydantic import ValidationError

from facemask import params
from facemask.config.files import DETECTOR, DETECTOR_ABLATION, LOCALIZER, LOSSES, STUDY
from facemask.errors import InputError

ROOT = Path(__file__).parent.parent
OWN = {
    name: yaml.load((ROOT / name).read_bytes(), Loader=yaml.CSafeLoader)
    for name in (STUDY, LOSSES, LOCALIZER, DETECTOR, DETECTOR_ABLATION)
}
PUBLISHED = pd.read_csv(ROOT / "reference" / "published_results.csv")
REMOVED = object()

ONE, THREE = "experiments.scratch_1", "experiments.scratch_3"
SPACE = "searches.mobilenet.space"
OWN_LOCALIZER = f"{LOCALIZER}:localizers.localizer"
OWN_DETECTOR = f"{DETECTOR}:detectors.detector"
GIOU = f"{LOSSES}:experiments.scratch_7_giou"
VARIANTS = f"{LOCALIZER}:ablation.variants"
OPTIMIZERS = [
    "rmsprop", "adam", "adamw", "sgd", "nadam", "adamax", "adagrad", "adadelta", "adafactor",
    "ftrl", "lion",
]  # fmt: skip

# As the study describes them: losses, weights of labels and box, epochs, learning rate, batch,
# patience and factor of the schedule, epochs of early stopping.
TABLE = """
scratch_1            categorical mse    .15  1  10 1e-3 32 -   -   0
scratch_2            categorical mse    .15  1  10 1e-3 32 -   -   0
scratch_3            categorical mse    1    10 10 1e-3 32 -   -   0
scratch_4_mse        categorical mse    1    1  20 1e-3 32 -   -   0
scratch_4_smooth_l1  categorical huber  1    1  20 1e-3 32 -   -   0
scratch_5            binary      mse    1    10 20 1e-3 32 3   .2  0
scratch_6            binary      mse    1    10 30 1e-3 16 2   .5  0
scratch_7            binary      mse    1    10 30 5e-4 8  2   .8  0
mobilenet_1          binary      mse    .1   1  10 1e-3 32 -   -   0
mobilenet_2          binary      mse    .1   1  10 1e-3 32 -   -   0
mobilenet_3          binary      huber  .1   1  10 1e-3 32 -   -   0
mobilenet_4          binary      mse    .1   1  10 1e-3 32 -   -   0
mobilenet_5          binary      mse    .1   1  13 1e-4 32 -   -   0
mobilenet_6          binary      mse    .1   1  30 1e-4 32 2   .5  5
xception_1           binary      mse    .1   1  10 1e-3 32 -   -   0
xception_2           binary      mse    .1   1  10 1e-3 32 -   -   0
xception_3           binary      huber  .1   1  10 1e-3 32 -   -   0
xception_4           binary      mse    .1   1  10 1e-3 32 -   -   0
xception_5           binary      mse    .1   1  20 1e-4 32 -   -   0
"""

# What differs from one to the other of the study's experiments, or may.
VARIED = [
    "inputs", "batch_size", "epochs", "network.filters", "network.pools", "network.dense",
    "network.label_dense", "dropout.dense", "dropout.shared", "dropout.label", "dropout.box",
    "losses.label.name", "losses.box.name", "loss_weights.label", "loss_weights.box",
    "optimizer.name", "optimizer.learning_rate", "schedule.name", "schedule.patience",
    "schedule.factor",
]  # fmt: skip


def at(files, key):
    """The mapping that holds a key, as -S spells it, and the last part of the key."""
    file, _, dotted = key.rpartition(":")
    *path, last = dotted.split(".")
    section = files[file or STUDY]
    for part in path:
        section = section[part]
    return section, last


def changed(values):
    """The repository's parameters with other values."""
    files = copy.deepcopy(OWN)
    for key, value in values.items():
        section, last = at(files, key)
        if value is REMOVED:
            del section[last]
        else:
            section[last] = copy.deepcopy(value)
    return files


def refused(values):
    """What is said of the repository's parameters with other values, one line per mistake."""
    with pytest.raises(InputError) as caught:
        params.parse(changed(values))
    first, *lines = str(caught.value).splitlines()
    assert first == "parameters are not valid:"
    return lines


def test_the_repository_s_own_parameters_are_valid():
    config = params.read(ROOT)
    assert len(PUBLISHED) == 19
    assert list(config.experiments) == list(PUBLISHED["id"])
    assert (config.dataset, config.split) == ("sample", "random")


@pytest.mark.parametrize("line", TABLE.strip().splitlines(), ids=lambda line: line.split()[0])
def test_experiments_are_those_of_the_study(line):
    name, label, box, label_weight, box_weight, epochs, rate, batch, *schedule, stop = line.split()
    experiment = params.read(ROOT).experiments[name]
    assert experiment.losses.label.name == f"{label}_crossentropy"
    assert experiment.losses.box.name == box
    assert experiment.losses.box.threshold == 1
    assert experiment.loss_weights.label == float(label_weight)
    assert experiment.loss_weights.box == float(box_weight)
    assert experiment.optimizer.name == "rmsprop"
    assert experiment.optimizer.learning_rate == float(rate)
    assert (experiment.epochs, experiment.batch_size) == (int(epochs), int(batch))
    assert experiment.early_stopping == int(stop)
    if schedule == ["-", "-"]:
        assert experiment.schedule.name == "constant"
    else:
        found = (experiment.schedule.patience, experiment.schedule.factor)
        assert experiment.schedule.name == "plateau"
        assert found == tuple(map(float, schedule))
    # Experiment 4 alone has its boxes in pixels.
    pixels = "center_xywh" if name.startswith("scratch_4") else "rel_center_xywh"
    assert experiment.box_format == pixels
    inputs = {
        "scratch": "crops/128",
        "mobilenet": "features/mobilenet_v2",
        "xception": "features/xception",
    }
    assert experiment.inputs == inputs[name.split("_")[0]]
    # What the study did not vary.
    assert (experiment.losses.label.smoothing, experiment.losses.label.focal_gamma) == (0, 0)
    assert experiment.class_weights.with_mask == experiment.class_weights.without_mask == 1
    assert (experiment.optimizer.weight_decay, experiment.optimizer.options) == (0, {})
    assert (experiment.schedule.warmup, experiment.precision) == (0, "float32")
    assert experiment.repeats == 1


@pytest.mark.parametrize("key", VARIED)
def test_what_the_study_varies_is_written_in_every_entry(key):
    """dvc exp run -S changes a key that stands there; another needs ++."""
    for name in PUBLISHED["id"]:
        section, last = at(OWN, f"experiments.{name}.{key}")
        assert last in section


def test_the_files_stay_short():
    for name, most in (("params.yaml", 330), ("dvc.yaml", 220)):
        assert len((ROOT / name).read_text().splitlines()) <= most


@pytest.mark.parametrize("base", ["scratch_7", "mobilenet_6"])
def test_variants_of_an_experiment_differ_in_the_loss_of_the_box_alone(base):
    config = params.read(ROOT)
    variants = {name: each for name, each in config.losses.items() if name.startswith(base)}
    losses = []
    for experiment in [config.experiments[base], *variants.values()]:
        entry = experiment.model_dump()
        losses.append((entry["losses"].pop("box"), entry["loss_weights"].pop("box")))
        if len(losses) == 1:
            same = entry
        assert entry == same
    assert len(losses) == 6
    assert all(losses.count(one) == 1 for one in losses)


def test_parameters_do_not_change_once_read():
    with pytest.raises(ValidationError):
        params.read(ROOT).crop.min_area = 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # YAML 1.1 reads 1e-3 as text, and so it arrives from `dvc exp run -S`.
        (f"{ONE}.optimizer.learning_rate", "1e-3"),
        (f"{ONE}.loss_weights.label", 0),
        ("split", "grouped_4"),
        ("dataset", "kaggle"),
        ("datasets.sample.classes.with_mask", None),
        ("datasets.sample.max_epochs", None),
        ("datasets.kaggle.source", "/some/where/else.zip"),
        (f"{ONE}.losses.label", {"name": "binary_crossentropy", "smoothing": 0.99}),
        (f"{ONE}.losses.box", {"name": "ciou", "threshold": 0.1}),
        (f"{ONE}.class_weights", {"without_mask": 0.001}),
        *((f"{ONE}.optimizer.name", name) for name in OPTIMIZERS),
        (f"{ONE}.optimizer.options", {"nesterov": True, "momentum": 0.5, "ns_steps": 3}),
        (f"{ONE}.optimizer.options", {"epsilon": "1e-3"}),
        (f"{ONE}.schedule.warmup", 9),  # of 10 epochs
        (f"{ONE}.schedule.factor", 0),  # of no use to a constant rate
        (f"{ONE}.precision", "bfloat16"),
        (f"{ONE}.repeats", 50),
        ("seed", 0),
        ("seed", 2**32 - 2),  # the searches' bases and the localizers have two repeats at most
        ("splits.grouped_1.seed", 2**32 - 1),
        ("splits.random.test", 0.999),
        ("crop.min_area", 0),
        ("workers", None),
        ("workers", 3),
        (f"{SPACE}.learning_rate", ["1e-3", 5]),
        ("searches.mobilenet.base", "mobilenet_4"),
    ],
)
def test_values_that_are_allowed(key, value):
    section = params.parse(changed({key: value}))
    for part in key.split("."):
        section = section[part] if isinstance(section, dict) else getattr(section, part)
    found = section.model_dump() if hasattr(section, "model_dump") else section
    wanted = yaml.safe_load(str(value).replace("'1e-3'", "0.001")) if value else value
    if value == "1e-3":
        wanted = 0.001
    if isinstance(value, dict):  # and True is not 1 there, nor 3 of ns_steps 3.0
        found = {name: found[name] for name in value}
        assert [*map(type, found.values())] == [*map(type, wanted.values())]
    assert (list(found) if isinstance(found, tuple) else found) == wanted


def test_there_need_not_be_a_search_nor_a_pipeline_beyond_the_study():
    files = changed({"searches": {}})
    config = params.parse({STUDY: files[STUDY]})
    assert config.searches == config.losses == config.localizers == config.ensembles == {}
    assert config.ablation is None


def test_experiments_on_pixels_alone_need_neither_backbones_nor_pipelines():
    """What is not wanted is {}, in the files of the pipelines too: DVC reads them all."""
    scratch = {"scratch_1": OWN[STUDY]["experiments"]["scratch_1"]}
    config = params.parse(
        {
            STUDY: OWN[STUDY] | {"experiments": scratch, "backbones": {}, "searches": {}},
            LOSSES: {"experiments": {}},
            LOCALIZER: {
                "localizers": {},
                "ensembles": {},
                "ablation": {"base": "localizer", "shared": {}, "variants": {}},
            },
        }
    )
    assert list(config.experiments) == ["scratch_1"]
    assert config.backbones == config.localizers == config.losses == {}


@pytest.mark.parametrize("value", [None, REMOVED])
@pytest.mark.parametrize(
    "key",
    [f"{LOSSES}:experiments", *(f"{LOCALIZER}:{key}" for key in OWN[LOCALIZER])],
)
def test_what_dvc_reads_of_a_pipeline_must_be_there(key, value):
    """It stops without, at every command, as in `foreach: ${ablation.variants}`."""
    assert refused({key: value}) == [f"  {key}: missing; add it"]


def test_an_empty_section_allows_nothing():
    lines = refused({"backbones": {}, "searches": {}})
    assert f"  {OWN_LOCALIZER}.backbone is 'mobilenet_v2', which is not in backbones" in str(lines)
    assert [line for line in lines if line.endswith("allowed: none")]


# Key, value, and what the message must hold beside the key and the value: what is allowed.
WRONG = [
    ("crop.metric", "manhatan", ["manhattan", "euclidean", "chebyshev"]),
    ("crop.grid_stride", 2.5, ["integer"]),
    ("crop.grid_offset", -1, ["0"]),
    ("crop.min_area", None, ["integer"]),
    ("balance.enabled", "perhaps", ["boolean"]),
    ("splits.random.kind", "report", ["random", "grouped"]),
    ("splits.random.test", 1, ["less than 1"]),
    ("splits.random.val", 0, ["greater than 0"]),
    ("splits.random.seed", -1, ["0"]),
    ("splits.grouped_1.fold", -1, ["0"]),
    ("splits", {}, ["at least 1"]),
    ("seed", "first", ["integer"]),
    ("workers", 0, ["greater than or equal to 1"]),
    ("arrays.sizes", 128, ["tuple"]),
    ("arrays.max_side", 4, ["8"]),
    ("dataset", "kagle", ["'kaggle'", "sample"]),
    ("split", "grouped", ["grouped_0", "random"]),
    ("datasets.sample.classes.with_mask", "masked", ["with_mask", "without_mask"]),
    ("datasets.sample.source", "", ["at least 1"]),
    ("datasets.sample.max_epochs", 0, ["greater than or equal to 1"]),
    ("backbones.xception.input_size", "wide", ["integer"]),
    ("defaults.box_format", "xywh", ["rel_center_xywh", "center_xywh"]),
    ("defaults.class_weights.with_mask", 0, ["from 1e-09"]),
    ("defaults.precision", "float16", ["'float32'", "'bfloat16'"]),
    (f"{THREE}.repeats", 0, ["greater than or equal to 1"]),
    (f"{THREE}.inputs", "crops", ["pattern"]),
    (f"{THREE}.network.filters", [32, 0], ["1"]),
    (f"{THREE}.dropout.shared", 1, ["less than 1"]),
    # How it was written before there was a smoothing.
    (f"{THREE}.losses.label", "binary_crossentropy", ["dictionary"]),
    (f"{THREE}.losses.box.name", "iou", ["'mse'", "'study_smooth_l1'", "'giou'", "'ciou'"]),
    (f"{THREE}.loss_weights.box", "heavy", ["number"]),
    (f"{ONE}.optimizer.name", "Adam", [f"'{name}'" for name in OPTIMIZERS]),
    (f"{ONE}.optimizer.learning_rate", 0, ["from 1e-09"]),
    (f"{ONE}.optimizer.learning_rate", float("inf"), ["finite"]),
    (f"{ONE}.optimizer.options", {"momentum": "fast"}, ["number", "true or false"]),
    (f"{ONE}.schedule.name", "step", ["'constant'", "'plateau'", "'cosine'", "'exponential'"]),
    (f"{ONE}.schedule.factor", 1, ["less than 1"]),
    ("searches.mobilenet", "mobilenet_5", ["dictionary"]),
    ("searches.mobilenet.inputs", "crops/128", ["pattern"]),
    ("searches.mobilenet.factor", 1, ["greater than or equal to 2"]),
    (f"{SPACE}.layers", 3, ["tuple"]),
    (f"{SPACE}.units", [], ["at least 1"]),
    (f"{SPACE}.box_dropout", [0.5, "half"], ["number"]),
    (f"{GIOU}.losses.box.threshold", 0, ["from 1e-09"]),
    (f"{GIOU}.epochs", 0, ["greater than or equal to 1"]),
    (f"{OWN_LOCALIZER}.feature_levels", [], ["at least 1"]),
    (f"{OWN_LOCALIZER}.model_input.size", 200, ["multiple of 32"]),
    (f"{OWN_LOCALIZER}.model_input.target_face_fraction", 1, ["less than 1"]),
    (f"{OWN_LOCALIZER}.augment.flip", 1.5, ["less than or equal to 1"]),
    (f"{OWN_LOCALIZER}.loss_weights.heatmap", -1, ["0"]),
    (f"{VARIANTS}.baseline", 3, ["dictionary"]),
    # Numbers past what NumPy, a network of 32-bit numbers or a machine takes.
    ("seed", 2**32, ["4294967295"]),
    ("splits.random.seed", 2**32, ["4294967295"]),
    ("workers", 100_000, ["1024"]),
    ("crop.grid_stride", 10**30, ["10000"]),
    ("crop.min_area", 10**30, ["1000000000"]),
    ("datasets.sample.max_epochs", 10**9, ["100000"]),
    (f"{ONE}.epochs", 10**9, ["100000"]),
    (f"{ONE}.batch_size", 10**9, ["100000"]),
    (f"{ONE}.network.dense", [10**9], ["65536"]),
    (f"{ONE}.optimizer.learning_rate", 1e-40, ["from 1e-09"]),
    (f"{ONE}.optimizer.learning_rate", 1e300, ["to 1e+38"]),
    (f"{ONE}.optimizer.weight_decay", 1e300, ["1000000"]),
    (f"{ONE}.loss_weights.box", 1e300, ["1000000"]),
    ("defaults.repeats", 10**9, ["1000"]),
    ("searches.mobilenet.max_epochs", 10**9, ["100000"]),
    (f"{SPACE}.layers", [10**9], ["100"]),
    (f"{OWN_LOCALIZER}.model_input.passes", 10**9, ["10"]),
    (f"{OWN_LOCALIZER}.augment.zoom", [1, 1e9], ["100"]),
    # Text that is none to YAML, or a word for another.
    ("datasets.sample.source", None, ["text in quotes"]),
    ("datasets.sample.source", 123, ["text in quotes"]),
    ("datasets.sample.source", "  ", ["pattern"]),
    ("datasets.sample.weights", None, ["text in quotes"]),
    ("datasets.sample.classes", ["with_mask", "without_mask"], ["KEY: VALUE"]),
    ("datasets.sample.classes.with_mask", "With_Mask", ["did you mean 'with_mask'?"]),
    ("datasets.sample.classes.with_mask", "no mask", ["did you mean 'without_mask'?"]),
    ("datasets.sample.classes.with_mask", "none", ["null without quotes"]),
    ("crop.metric", "Manhattan", ["did you mean 'manhattan'?"]),
]


@pytest.mark.parametrize(("key", "value", "allowed"), WRONG)
def test_a_wrong_value_is_reported_once_with_its_key_and_what_is_allowed(key, value, allowed):
    (line,) = refused({key: value})
    # The whole key as -S takes it; of a list or an option, with the place in it.
    assert re.match(rf"  {re.escape(key)}(\.\w+)?(: | is )", line)
    wrong = [*value.values()] if isinstance(value, dict) and value else value
    wrong = wrong[-1] if isinstance(wrong, list) and wrong else wrong
    assert str(wrong) in line
    for word in allowed:
        assert word in line


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("crop.min_aera", "min_area"),
        ("experiment", "experiments"),
        ("datasets.sample.class", "classes"),
        ("splits.random.folds", "fold"),
        ("splits.random.quux", None),
        (f"{ONE}.epoch", "epochs"),
        (f"{ONE}.losses.label.smoothness", "smoothing"),
        ("defaults.schedule.warm_up", "warmup"),
        ("defaults.early_stoping", "early_stopping"),
        (f"{SPACE}.unit", "units"),
        (f"{GIOU}.lik", "like"),
        (f"{OWN_LOCALIZER}.loss_weights.heat_map", "heatmap"),
        (f"{OWN_LOCALIZER}.feature_level", "feature_levels"),
        (f"{LOSSES}:experiment", "experiments"),
        (f"{LOCALIZER}:ensemble", "ensembles"),
        (f"{LOCALIZER}:quux", None),
    ],
)
def test_an_unknown_key_is_reported_once_with_the_nearest(key, suggestion):
    (line,) = refused({key: 1})
    assert line.startswith(f"  {key}: unknown key")
    if suggestion:
        assert f"did you mean {suggestion!r}?" in line
    else:
        assert "did you mean" not in line


@pytest.mark.parametrize(
    ("key", "home"),
    [
        ("localizers", f"{LOCALIZER}:localizers"),
        ("ablation", f"{LOCALIZER}:ablation"),
        ("losses", f"{LOSSES}:experiments"),
        (f"{LOSSES}:defaults", f"{STUDY}:defaults"),
        (f"{LOSSES}:ensembles", f"{LOCALIZER}:ensembles"),
        (f"{LOCALIZER}:experiments", f"{STUDY}:experiments"),
    ],
)
def test_a_section_in_the_wrong_file_is_reported_with_the_right_one(key, home):
    (line,) = refused({key: {}})
    assert line == f"  {key}: unknown key; it belongs in {home}"


def test_every_missing_key_is_reported_at_once():
    keys = [
        "seed",
        "crop.metric",
        "splits.random.kind",
        "datasets.kaggle.weights",
        *(f"{SPACE}.{key}" for key in OWN[STUDY]["searches"]["mobilenet"]["space"]),
        f"{ONE}.losses.label.name",
        f"{ONE}.dropout",
        f"{ONE}.epochs",
        f"{OWN_LOCALIZER}.augment.hue",
        # Of the study this stands in `defaults`, which are not the localizers'.
        f"{OWN_LOCALIZER}.precision",
        f"{LOCALIZER}:ensembles.ensemble.members",
    ]
    lines = refused(dict.fromkeys(keys, REMOVED))
    assert sorted(lines) == sorted(f"  {key}: missing; add it" for key in keys)
    assert refused({f"{OWN_LOCALIZER}.augment.zoom": [1]}) == [
        f"  {OWN_LOCALIZER}.augment.zoom.1: missing; add it"
    ]
    # Another file's section is missing where it is wanted.
    assert refused({f"{LOCALIZER}:ablation": REMOVED})[0].startswith(f"  {LOCALIZER}:ablation: mi")


@pytest.mark.parametrize("key", ["defaults.early_stopping", "defaults.losses.box.threshold"])
def test_what_most_experiments_leave_to_defaults_is_missing_there_and_once(key):
    assert refused({key: REMOVED}) == [f"  {key}: missing; add it"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("defaults.early_stopping", -1),
        ("defaults.optimizer.options.momentum", "fast"),
        ("experiments.scratch_7.epochs", 0),
        ("experiments.scratch_7.optimizer.learning_rate", "slow"),
        ("experiments.scratch_7.network.filters", [32, 64, 128, 0]),
        ("experiments.scratch_7.network.pools", 5),
        ("experiments.scratch_7.dense", [3]),
        ("experiments.scratch_7.epochs", REMOVED),
        (f"{OWN_LOCALIZER}.augment.zoom", [0.5, "far"]),
    ],
)
def test_a_mistake_in_defaults_or_in_a_base_is_reported_once_where_it_was_written(key, value):
    """Five experiments are like scratch_7, a localizer like the other, and 29 have defaults."""
    (line,) = refused({key: value})
    assert line.startswith(f"  {key.removesuffix('.pools')}")


def test_a_name_that_is_not_there_is_reported_once_where_it_was_written():
    values = {"experiments.mine": {"like": "scratch_1"}, f"{ONE}.inputs": "crops/129"}
    (line,) = refused(values)
    assert line.startswith(f"  {ONE}.inputs is 'crops/129'")
    (line,) = refused({"experiments.mine": {"like": "scratch_1", "inputs": "crops/129"}})
    assert line.startswith("  experiments.mine.inputs is 'crops/129'")


def test_a_mistake_that_covers_a_right_value_is_reported_where_it_is():
    for key in ("epochs", "schedule.factor", "network.filters"):
        entry = {"epochs": 0, "schedule": {"factor": 7}, "network": {"filters": [0]}}
        section, *_ = key.split(".")
        lines = refused({f"{GIOU}.{section}": entry[section]})
        assert any(line.startswith(f"  {GIOU}.{key}") for line in lines)
        assert all(line.startswith(f"  {GIOU}.{section}") for line in lines)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("scratch7", "scratch_7"),
        ("scratch_7_diou", "scratch_7"),  # is like another itself
        ("scratch_7_gio", "scratch_7"),
        (["scratch_7"], "scratch_7"),
        ("zebra", None),
        (None, None),
    ],
)
def test_a_base_that_is_not_there_or_like_another_is_reported(name, nearest):
    (line,) = refused({f"{GIOU}.like": name})
    assert line.startswith(f"  {GIOU}.like is {name!r}: give one of experiments")
    assert ("did you mean" in line) == bool(nearest)
    if nearest:
        assert f"did you mean {nearest!r}?" in line


def test_there_is_one_level_of_likeness():
    own = {"experiments.one": {"like": "scratch_7"}, "experiments.two": {"like": "one"}}
    (line,) = refused(own)
    assert line.startswith("  experiments.two.like is 'one'")
    (line,) = refused({"experiments.one": {"like": "one"}})
    assert line.startswith("  experiments.one.like is 'one'")
    (line,) = refused({f"{OWN_LOCALIZER}.like": "localizer_stretched"})[:1]
    assert line.startswith(f"  {OWN_LOCALIZER}.like is 'localizer_stretched'")
    (line,) = refused({"defaults.like": "scratch_7"})
    assert line.startswith("  defaults.like: unknown key")


@pytest.mark.parametrize("value", [None, 3, ["scratch_1"], REMOVED])
@pytest.mark.parametrize("key", ["experiments", "defaults", "experiments.scratch_7"])
def test_what_others_are_made_from_may_be_no_mapping_or_missing(key, value):
    lines = refused({key: value})
    if key == "experiments.scratch_7":
        lost = [line for line in lines if line.startswith(f"  {GIOU}.like is 'scratch_7'")]
        assert len(lost) == 1
        if value is REMOVED:
            assert len(lines) == 5  # of the five that are like it
            return
    said = "missing" if value is REMOVED else str(value)
    assert [line for line in lines if line.startswith(f"  {key}: ") and said in line]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"crop.grid_stride": 5, "crop.grid_offset": 5}, ["crop: ", "grid_offset 5", "0..4"]),
        ({f"{THREE}.network.pools": 5}, [f"{THREE}.network: ", "pools is 5", "4"]),
        (
            {f"{THREE}.network.filters": [], f"{THREE}.network.pools": 0},
            [f"{THREE}: ", "needs convolutions", "network.filters"],
        ),
        (
            {"experiments.xception_1.network.filters": [8]},
            ["experiments.xception_1: ", "network.filters"],
        ),
        ({"splits.random.fold": 1}, ["splits.random: ", "fold is 1"]),
        ({"splits.grouped_4.fold": 5}, ["splits.grouped_4: ", "fold is 5", "0..4"]),
        ({"splits.grouped_4.test": 0.34}, ["splits.grouped_4: ", "fold is 4", "0..2"]),
        ({"arrays.sizes": [128, 224, 128]}, ["arrays: ", "[128, 224, 128]", "once"]),
        ({f"{ONE}.repeats": 3, "seed": 2**32 - 2}, [f"{ONE}.repeats is 3", f"at most {2**32 - 3}"]),
        (
            {f"{VARIANTS}.one_pass.repeats": 40, "seed": 2**32 - 30},
            [f"{VARIANTS}.one_pass.repeats is 40"],
        ),
        (
            {"datasets.sample.classes.without_mask": "with_mask"},
            ["datasets.sample: ", "no class means without_mask"],
        ),
        (
            {"datasets.sample.classes": {"mask": None}},
            ["datasets.sample: ", "no class means with_mask or without_mask"],
        ),
        (
            {"datasets.sample.classes": {}},
            ["datasets.sample: ", "no class means with_mask or without_mask"],
        ),
        (
            {"datasets.sample.weights": "ImageNet"},
            ["datasets.sample: ", "weights is 'ImageNet'", "give imagenet"],
        ),
        ({"splits.grouped_0.test": 0.6}, ["splits.grouped_0: ", "at most 0.5"]),
        (
            {"arrays.sizes": [128]},
            ["backbones.mobilenet_v2.input_size is 224", "arrays.sizes [128]"],
        ),
        ({f"{ONE}.inputs": "crops/129"}, [f"{ONE}.inputs is 'crops/129'", "'crops/128'?"]),
        (
            {f"{GIOU}.inputs": "crops/129"},
            [f"{GIOU}.inputs is 'crops/129'", "did you mean 'crops/128'?"],
        ),
        (
            {"experiments.xception_1.inputs": "features/xeption"},
            ["experiments.xception_1.inputs is 'features/xeption'", "'features/xception'?"],
        ),
        (
            {"searches.mobilenet.inputs": "features/mobilenet_v3"},
            ["searches.mobilenet.inputs is 'features/mobilenet_v3'", "'features/mobilenet_v2'?"],
        ),
        (
            {"searches.xception.base": "xception5"},
            ["searches.xception.base is 'xception5'", "not in experiments", "'xception_5'?"],
        ),
        (
            {"searches.xception.base": "mobilenet_5"},
            ["searches.xception reads features/xception", "mobilenet_5 features/mobilenet_v2"],
        ),
        (
            {f"{ONE}.schedule.warmup": 3, f"{ONE}.epochs": 2},
            [f"{ONE}: ", "schedule.warmup is 3 of 2 epochs"],
        ),
        *(
            (
                {f"{ONE}.schedule": {"name": name, "factor": 0, "patience": 1}},
                [f"{ONE}.schedule: ", "factor is 0", name],
            )
            for name in ("plateau", "exponential")
        ),
        (
            {"datasets.sample.notes.xcepton": "untrue"},
            ["datasets.sample.notes", "'xcepton'", "'xception'?"],
        ),
        *(
            # Results of other pipelines have no notes.
            ({f"datasets.sample.notes.{name}": "unseen"}, [f"{name!r}", "backbones or experiments"])
            for name in ("scratch_7_giou", "localizer")
        ),
        (
            {f"{OWN_LOCALIZER}.augment.zoom": [2, 1]},
            [f"{OWN_LOCALIZER}.augment: ", "zoom is [2.0, 1.0]"],
        ),
        (
            {f"{OWN_LOCALIZER}.backbone": "mobilenet"},
            [f"{OWN_LOCALIZER}.backbone is 'mobilenet'", "did you mean 'mobilenet_v2'?"],
        ),
        (
            {f"{LOCALIZER}:ensembles.ensemble.members": ["localizer", "localiser"]},
            [f"{LOCALIZER}:ensembles.ensemble.members is 'localiser'", "'localizer'?"],
        ),
        (
            {f"{LOCALIZER}:ensembles.ensemble.members": ["localizer", "localizer"]},
            [f"{LOCALIZER}:ensembles.ensemble: ", "members are both localizer"],
        ),
        ({VARIANTS: {}}, [f"{VARIANTS} is {{}}", "give one"]),
        (
            {f"{VARIANTS}.frozen_backbone.backbone": "xceptoin"},
            [f"{VARIANTS}.frozen_backbone.backbone is 'xceptoin'", "did you mean 'xception'?"],
        ),
        (
            {f"{VARIANTS}.frozen_backbone.model_input": {"resize_mod": "stretch"}},
            [f"{VARIANTS}.frozen_backbone.model_input.resize_mod: unknown", "mean 'resize_mode'?"],
        ),
        (
            {f"{LOCALIZER}:ablation.base": "localiser"},
            [f"{LOCALIZER}:ablation.base is 'localiser'", "did you mean 'localizer'?"],
        ),
        (
            {f"{LOCALIZER}:ablation.shared.epochs": 0},
            [f"{LOCALIZER}:ablation.shared.epochs: ", "greater than or equal to 1"],
        ),
        (
            {f"{DETECTOR}:images.split": "grouped_5"},
            [f"{DETECTOR}:images.split is 'grouped_5'", "splits", "grouped_0"],
        ),
        (
            {f"{OWN_DETECTOR}.class_weights": {"without_musk": 2}},
            [f"{OWN_DETECTOR}.class_weights is 'without_musk'", "mean 'without_mask'?"],
        ),
        (
            {f"{OWN_DETECTOR}.size": 650},
            [f"{OWN_DETECTOR}.size: ", "multiple of 32"],
        ),
        (
            {f"{OWN_DETECTOR}.losses.label.name": "binary_crossentropy"},
            [f"{OWN_DETECTOR}.losses.label.name: ", "categorical_crossentropy"],
        ),
        (
            {f"{DETECTOR_ABLATION}:ablation.base": "detecter"},
            [f"{DETECTOR_ABLATION}:ablation.base is 'detecter'", "did you mean 'detector'?"],
        ),
        (
            {f"{LOCALIZER}:ablation.shared.backbone": "xceptoin"},
            [f"{LOCALIZER}:ablation.shared.backbone is 'xceptoin'", "'xception'?"],
        ),
    ],
)
def test_values_that_do_not_fit_each_other(values, parts):
    lines = refused(values)
    # What a search reads is also what its base reads.
    count = 2 if "searches.mobilenet.inputs" in values else 1
    for words in parts:
        assert words in lines[0]
    assert len(lines) == count


def test_all_mistakes_of_all_files_are_reported_at_once():
    lines = refused(
        {
            "crop.metric": "straight",
            "splits.random.seed": -1,
            f"{ONE}.epoch": 3,
            "seed": REMOVED,
            "defaults.precision": 16,
            f"{GIOU}.batch_size": 0,
            f"{LOCALIZER}:localizers.localizer_stretched.channels": 0,
        }
    )
    keys = [
        "crop.metric", "splits.random.seed", f"{ONE}.epoch", "seed", "defaults.precision",
        f"{GIOU}.batch_size", f"{LOCALIZER}:localizers.localizer_stretched.channels",
    ]  # fmt: skip
    assert len(lines) == len(keys)
    for key in keys:
        assert sum(line.startswith(f"  {key}: ") for line in lines) == 1


@pytest.mark.parametrize(
    "key",
    [
        "experiments.data",
        "experiments.ablation",  # models/ablation holds those of the ablation
        "experiments.mobilenet_tuned",  # what a search finds
        f"{LOSSES}:experiments.scratch_1",
        f"{LOCALIZER}:localizers.scratch_7_giou",
        f"{LOCALIZER}:ensembles.localizer",
    ],
)
def test_a_name_is_taken_once_in_all_files(key):
    entries = {
        "experiments": {"like": "scratch_1", "inputs": "crops/128"},
        "localizers": {"like": "localizer"},
        "ensembles": {"members": ["localizer", "localizer_stretched"]},
    }
    section = key.rpartition(":")[2].split(".")[0]
    (line,) = refused({key: entries[section]})
    assert line.startswith(f"  {key}: the name is taken")
    assert params.parse(changed({f"{key}_2": entries[section]}))


@pytest.mark.parametrize("name", ["two words", "../up", ""])
def test_names_are_fit_for_folders(name):
    for section, example in (
        ("datasets", "sample"),
        ("splits", "random"),
        ("searches", "mobilenet"),
        ("experiments", "scratch_1"),
    ):
        files = copy.deepcopy(OWN)
        files[STUDY][section][name] = OWN[STUDY][section][example]
        with pytest.raises(InputError, match=rf"  {section}\.{re.escape(name)}"):
            params.parse(files)


@pytest.mark.parametrize("raw", [None, [], "dataset: sample"])
@pytest.mark.parametrize("file", [STUDY, LOSSES, LOCALIZER])
def test_what_is_no_mapping_of_parameters_is_reported(file, raw):
    with pytest.raises(InputError, match=rf"{re.escape(file)}: no parameters"):
        params.parse(OWN | {file: raw})


def test_files_that_cannot_be_read_are_reported(tmp_path):
    with pytest.raises(InputError, match=r"there is no .*params\.yaml"):
        params.read(tmp_path)
    (tmp_path / STUDY).write_text("crop: [")
    with pytest.raises(InputError, match=r"params\.yaml is not YAML"):
        params.read(tmp_path)


def read_own(folder, change):
    """What is read of the study's own params.yaml, its text changed."""
    changed = change((ROOT / STUDY).read_text(encoding="utf-8"))
    content = changed.encode() if isinstance(changed, str) else changed
    (folder / STUDY).write_bytes(content)
    return params.read(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("seed: 1\nnote: Grün".encode("latin-1"), "is not UTF-8 in line 2"),
        ("seed: 1".encode("utf-16"), "is not UTF-8 in line 1"),
        (b"crop:\n  a: 1\n\tb: 2", "in line 3: found a tab"),
        ("seed:\u00a01\nb: 2".encode(), "in line 2: mapping values"),
        (b"seed: 1\ncrop: {}\nseed: 2", 'in line 3: found duplicate key "seed"'),
        (b"crop:\n  a: 1\n  a: 2", 'in line 3: found duplicate key "a"'),
        (b'source: "C:\\Users\\x"', "in line 1: did not find expected hex"),
        (b"source: C: x", "in line 1: mapping values are not allowed"),
        (b"seed: !!python/name:os.system", "in line 1: could not determine a constructor"),
        (b"seed: \0", "is not YAML: "),
    ],
)
def test_a_file_that_is_no_yaml_is_reported_with_the_line(tmp_path, content, words):
    (tmp_path / STUDY).write_bytes(content)
    with pytest.raises(InputError, match=r"params\.yaml is not") as caught:
        params.read(tmp_path)
    assert words in str(caught.value)


CLASSES = re.search(r"    classes: {.*", (ROOT / STUDY).read_text(encoding="utf-8"))[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("dataset: ", "dataset:\t"),
    ],
    ids=["byte-order mark", "Windows", "tab after a key"],
)
def test_files_of_other_editors_are_read(tmp_path, change):
    study = read_own(tmp_path, lambda text: text)
    assert read_own(tmp_path, change) == study


@pytest.mark.parametrize("name", ["yes", "no", "on", "with_mask ", "'a b'", "ü", "'1'"])
def test_names_of_classes_are_text(tmp_path, name):
    """As DVC reads YAML; the older YAML would take yes, no and on for true and false."""
    line = f"    classes: {{{name}: with_mask, without_mask: without_mask}}"
    config = read_own(tmp_path, lambda text: text.replace(CLASSES, line, 1))
    found = list(config.datasets["sample"].classes)
    assert found == [name.strip("'").strip(), "without_mask"]


@pytest.mark.parametrize("key", ["1", "1e3", "2020-01-01", "null", "~", "true", "0x10"])
@pytest.mark.parametrize("place", ["classes", "experiments", "splits"])
def test_a_key_that_is_no_text_is_to_be_quoted(tmp_path, key, place):
    old, new = {
        "classes": (CLASSES, f"    classes: {{{key}: with_mask, without_mask: without_mask}}"),
        "experiments": ("  scratch_2:", f"  {key}:"),
        "splits": ("  grouped_1:", f"  {key}:"),
    }[place]
    with pytest.raises(InputError) as caught:
        read_own(tmp_path, lambda text: text.replace(old, new, 1))
    _, line = str(caught.value).splitlines()
    where = "datasets.sample.classes" if place == "classes" else place
    assert line.startswith(f"  {where}: YAML reads the key ")
    assert "quotes" in line


# Paths as people have them, and as docs/own_data.md says to write them.
PATHS = [
    ("'datasets.sample.source=\"{}\"'", path)
    for path in (
        "/x/archive (1)", "~/faces", "/x/ü", "/x/日本", "/x/a,b", "/x/a=b", "/x/a#b", "/x/a b",
        "/x/a[1]", "/x/a{b}", "/x/a&b", "/x/a;b", "/x/a!", "/x/`a`", "/x/a$b", "C:\\x\\new",
        "/x/a: b", "/x/a ", "null", "123", "../faces.zip", "/x/'a'",
    )
]  # fmt: skip


@pytest.mark.parametrize(("recipe", "path"), PATHS, ids=[path for _, path in PATHS])
def test_dvc_takes_a_path_in_double_quotes(tmp_path, recipe, path):
    override = recipe.strip("'").format(path)
    assert get_hydra_sweeps({STUDY: [override]}) == [{STUDY: [override]}]  # as a queue has it
    shutil.copyfile(ROOT / STUDY, tmp_path / STUDY)
    apply_overrides(tmp_path / STUDY, [override])
    assert params.read(tmp_path).datasets["sample"].source == path


def leaves(value, path=()):
    """Every value of a nested mapping with its path; of entries alike the first alone."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for number, (key, inner) in enumerate(value.items()):
        if len(path) == 1 and path[0] in ("experiments", "searches", "datasets") and number:
            return
        yield from leaves(inner, (*path, key))


# The ablation's are checked once all else is right.
LEAVES = {
    (f"{file}:" if file != STUDY else "") + ".".join(path): value
    for file, raw in OWN.items()
    for path, value in leaves(raw)
}
ABLATION = {key: value for key, value in LEAVES.items() if ":ablation.variants." in key and value}
OTHERS = {key: value for key, value in LEAVES.items() if ":ablation." not in key}


@pytest.mark.parametrize("keys", [OTHERS, ABLATION], ids=["others", "ablation"])
def test_no_key_takes_a_value_of_a_wrong_type(keys):
    """A mapping where a value is wanted, and a number where a mapping is: all at once."""
    assert len(keys) > 20
    wrong = {key: 7 if isinstance(value, dict) else {"x": 1} for key, value in keys.items()}
    lines = refused(wrong)
    for key in keys:
        assert [line for line in lines if re.match(rf"  {re.escape(key)}(\.x)?(: | is )", line)]


@pytest.mark.parametrize("keys", [OTHERS, ABLATION], ids=["others", "ablation"])
def test_no_key_may_be_misspelt(keys):
    """A letter too many is reported with the key it was meant to be: in all keys at once."""
    free = (".classes.", ".notes.", ".options.", ".options")
    keys = [key for key in keys if "." in key and not any(each in key for each in free)]
    # Those of detectors are of whatever classes the datasets have.
    keys = [key for key in keys if not ("/detector" in key and ".class_weights." in key)]
    files = copy.deepcopy(OWN)
    for key in keys:
        section, last = at(files, key)
        section[f"{last}x"] = section.pop(last)
    with pytest.raises(InputError) as caught:
        params.parse(files)
    lines = str(caught.value).splitlines()
    for key in keys:
        last = key.split(".")[-1]
        assert f"  {key}x: unknown key; remove it (did you mean {last!r}?)" in lines
