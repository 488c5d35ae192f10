"""The repository's own parameters, and a clear message for each way to spoil them."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from facemask import config
from facemask.errors import InputError

ROOT = Path(__file__).parent.parent
OWN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
REMOVED = object()

# As the study describes them: losses, weights of labels and box, epochs, learning rate, batch,
# patience and factor of the schedule, epochs of early stopping.
STUDY = """
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


def changed(**values):
    """The repository's parameters with other values; a key is written with __ for each dot."""
    raw = json.loads(json.dumps(OWN))  # a copy in which nothing is shared, as *anchors are
    for key, value in values.items():
        *path, last = key.split("__")
        section = raw
        for part in path:
            section = section[part]
        if value is REMOVED:
            del section[last]
        else:
            section[last] = value
    return raw


def refused(**values):
    with pytest.raises(InputError) as caught:
        config.parse(changed(**values))
    return str(caught.value)


def test_the_repository_s_own_parameters_are_valid():
    params = config.parse(OWN)
    assert len(params.experiments) == 19
    published = pd.read_csv(ROOT / "reference" / "published_results.csv")
    assert set(params.experiments) == set(published["id"])


@pytest.mark.parametrize("line", STUDY.strip().splitlines(), ids=lambda line: line.split()[0])
def test_experiments_are_those_of_the_study(line):
    name, label, box, label_weight, box_weight, epochs, rate, batch, *schedule, stop = line.split()
    experiment = config.parse(OWN).experiments[name]
    assert experiment.losses.label == f"{label}_crossentropy"
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
        assert found == tuple(map(float, schedule))
    # Experiment 4 alone has its boxes in pixels.
    pixels = "center_xywh" if name.startswith("scratch_4") else "rel_center_xywh"
    assert experiment.box_format == pixels
    family = {"scratch": None, "mobilenet": "mobilenet_v2", "xception": "xception"}
    assert experiment.backbone == family[name.split("_")[0]]


def test_parameters_do_not_change_once_read():
    params = config.parse(OWN)
    with pytest.raises(ValidationError):
        params.crop.min_area = 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # YAML 1.1 reads 1e-3 as text, and so it arrives from `dvc exp run -S`.
        ("experiments__scratch_1__optimizer__learning_rate", "1e-3"),
        ("experiments__scratch_1__loss_weights__label", 0),
        ("crop__metric", "chebyshev"),
        ("split__suffix", "_seed_7"),
        ("balance__enabled", False),
        ("datasets__sample__classes__with_mask", None),
        ("datasets__kaggle__source", "/some/where/else.zip"),
        ("dataset", "kaggle"),
        ("crop__modulus", 3),
    ],
)
def test_values_that_are_allowed(key, value):
    section = config.parse(changed(**{key: value}))
    for part in key.split("__"):
        section = section[part] if isinstance(section, dict) else getattr(section, part)
    assert section == (0.001 if value == "1e-3" else value)


# key, value, and what the message must hold beside the key and the value: what is allowed.
WRONG = [
    ("crop__metric", "manhatan", ["manhattan", "euclidean", "chebyshev"]),
    ("crop__modulus", 0, ["1"]),
    ("crop__modulus", 2.5, ["integer"]),
    ("crop__remainder", -1, ["0"]),
    ("crop__min_area", "large", ["integer"]),
    ("crop__min_area", None, ["integer"]),
    ("balance__enabled", "perhaps", ["boolean"]),
    ("split__protocol", "random", ["report", "grouped"]),
    ("split__test", 0, ["greater than 0"]),
    ("split__test", 1, ["less than 1"]),
    ("split__test", float("nan"), []),
    ("split__val", 20, ["less than 1"]),
    ("split__suffix", "../out", ["pattern"]),
    ("split__seed", -1, ["0"]),
    ("seed", "first", ["integer"]),
    ("pack__sizes", [], ["at least 1"]),
    ("pack__sizes", 128, ["tuple"]),
    ("dataset", "kagle", ["'kaggle'", "sample"]),
    ("datasets__sample__classes__with_mask", "masked", ["with_mask", "without_mask"]),
    ("datasets__sample__classes", {}, ["at least 1"]),
    ("datasets__sample__source", "", ["at least 1"]),
    ("datasets__sample__weights", None, ["string"]),
    ("backbones__xception__input_size", "wide", ["integer"]),
    ("experiments", {}, ["at least 1"]),
    ("experiments__scratch_3__epochs", 0, ["1"]),
    ("experiments__scratch_3__epochs", "ten", ["integer"]),
    ("experiments__scratch_3__batch_size", -8, ["1"]),
    ("experiments__scratch_3__box_format", "xywh", ["rel_center_xywh", "center_xywh"]),
    ("experiments__scratch_3__inputs", "crops", ["pattern"]),
    ("experiments__scratch_3__network__filters", [32, 0], ["1"]),
    ("experiments__scratch_3__dropout__shared", 1, ["less than 1"]),
    ("experiments__scratch_3__dropout__box", -0.1, ["0"]),
    ("experiments__scratch_3__losses__label", "hinge", ["categorical_crossentropy"]),
    ("experiments__scratch_3__losses__box__name", "mae", ["mse", "smooth_l1", "huber"]),
    ("experiments__scratch_3__losses__box__threshold", 0, ["greater than 0"]),
    ("experiments__scratch_3__loss_weights__box", "heavy", ["number"]),
    ("experiments__scratch_3__optimizer__name", "lion", ["rmsprop", "adam", "sgd"]),
    ("experiments__scratch_3__optimizer__learning_rate", 0, ["greater than 0"]),
    ("experiments__scratch_3__optimizer__learning_rate", float("inf"), []),
    ("experiments__scratch_3__optimizer__learning_rate", float("nan"), []),
    ("experiments__scratch_6__schedule__name", "cosine", ["constant", "plateau"]),
    ("experiments__scratch_6__schedule__factor", 1, ["less than 1"]),
    ("experiments__scratch_6__schedule__patience", "long", ["integer"]),
]


@pytest.mark.parametrize(("key", "value", "allowed"), WRONG)
def test_a_wrong_value_is_told_with_its_key_and_what_is_allowed(key, value, allowed):
    message = refused(**{key: value})
    last = key.split("__")[-1]
    told = next(line for line in message.splitlines()[1:] if last in line)
    # The whole key as -S would take it; of a list, with the place in it.
    where = key.replace("__", ".")
    assert where in told or (last == "name" and where.removesuffix(".name") in told)
    wrong = value[-1] if isinstance(value, list) and value else value
    assert str(wrong) in told
    for word in allowed:
        assert word in told
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("crop__min_aera", "min_area"),
        ("experiments__scratch_1__epoch", "epochs"),
        ("experiments__scratch_1__optimizer__learning_rates", "learning_rate"),
        ("experiments__scratch_6__schedule__patients", "patience"),
        ("experiment", "experiments"),
        ("datasets__sample__class", "classes"),
        ("split__something", None),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(key, suggestion):
    message = refused(**{key: 1})
    assert f"{key.replace('__', '.')}: unknown key" in message
    if suggestion:
        assert f"did you mean {suggestion!r}?" in message
    else:
        assert "did you mean" not in message


@pytest.mark.parametrize(
    "key", ["crop", "crop__metric", "seed", "experiments__scratch_7__schedule__factor"]
)
def test_a_missing_key_is_told(key):
    assert f"{key.replace('__', '.')}: missing" in refused(**{key: REMOVED})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"crop__modulus": 5, "crop__remainder": 5}, ["crop: ", "remainder 5", "0..4"]),
        ({"experiments__scratch_3__network__pools": 5}, ["scratch_3.network: ", "pools is 5", "4"]),
        (
            {"experiments__scratch_3__network__filters": []},
            ["experiments.scratch_3", "pools is 4"],
        ),
        (
            {"experiments__xception_1__network__filters": [8]},
            ["experiments.xception_1: ", "network.filters"],
        ),
        ({"pack__sizes": [128]}, ["backbones.mobilenet_v2.input_size is 224", "pack.sizes [128]"]),
        (
            {"experiments__scratch_1__inputs": "crops/129"},
            ["experiments.scratch_1.inputs is 'crops/129'", "did you mean 'crops/128'?"],
        ),
        (
            {"experiments__xception_1__inputs": "features/xeption"},
            ["experiments.xception_1.inputs is 'features/xeption'", "'features/xception'?"],
        ),
        ({"split__protocol": "grouped"}, ["split.protocol=grouped", "split.suffix=_grouped"]),
        ({"split__suffix": "_grouped"}, ["protocol is report", "'_grouped'"]),
        (
            {"split__protocol": "grouped", "split__suffix": "_grouped", "split__test": 0.6},
            ["split: ", "up to 0.5"],
        ),
        (
            {"datasets__sample__remarks__xcepton": "untrue"},
            ["datasets.sample.remarks", "'xcepton'", "'xception'?"],
        ),
    ],
)
def test_values_that_do_not_fit_each_other(values, told):
    message = refused(**values)
    for words in told:
        assert words in message


def test_all_mistakes_are_told_at_once():
    message = refused(
        crop__metric="straight", split__seed=-1, experiments__scratch_1__epoch=3, seed=REMOVED
    )
    for key in ("crop.metric", "split.seed", "experiments.scratch_1.epoch:", "  seed"):
        assert key in message
    assert len(message.splitlines()) == 5


@pytest.mark.parametrize("name", ["data", "validation"])
def test_an_experiment_cannot_take_the_name_of_another_metrics_file(name):
    raw = changed()
    raw["experiments"] = {name: OWN["experiments"]["scratch_1"]}
    with pytest.raises(InputError, match=f"experiments.{name}"):
        config.parse(raw)


def test_a_grouped_run_is_kept_beside():
    split = config.parse(changed(split__protocol="grouped", split__suffix="_grouped_2")).split
    assert (split.protocol, split.suffix) == ("grouped", "_grouped_2")


def test_a_name_that_is_also_a_kind_of_schedule_stays_in_the_key():
    raw = changed()
    raw["experiments"] = {"plateau": {**OWN["experiments"]["scratch_1"], "epochs": 0}}
    with pytest.raises(InputError, match=r"experiments\.plateau\.epochs"):
        config.parse(raw)


@pytest.mark.parametrize("raw", [None, [], "dataset: sample", {}])
def test_what_is_no_mapping_of_parameters_is_told(raw):
    with pytest.raises(InputError, match=r"params\.yaml"):
        config.parse(raw)


@pytest.mark.parametrize("name", ["two words", "../up", ""])
def test_names_of_datasets_and_experiments_are_fit_for_folders(name):
    for kind, example in (("datasets", "sample"), ("experiments", "scratch_1")):
        raw = changed()
        raw[kind][name] = OWN[kind][example]
        with pytest.raises(InputError, match=kind):
            config.parse(raw)
