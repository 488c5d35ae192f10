"""95 % intervals of average precision, by a bootstrap over images."""

from typing import Any, NamedTuple

import numpy as np

from facemask.evaluation.bootstrap import percentiles

RECALLS = np.linspace(0, 1, 101)  # COCO's, at which precision is read


class Ranked(NamedTuple):
    """The detections of one class in all images, the most confident first.

    right: (thresholds, n) whether each is a face at each IoU threshold; image: (n,) its number;
    faces: (images,) how many faces of the class each image has.
    """

    right: np.ndarray
    image: np.ndarray
    faces: np.ndarray


def intervals(result: Any, draws: int = 500, seed: int = 0) -> dict[str, dict[str, float]]:  # noqa: ANN401
    """Return ap50 and ap with their 95 % intervals, and ap50 of each class.

    As `bootstrap.intervals`: images are drawn with replacement, each with all its faces and
    detections. Images count as often as they are drawn, so that nothing is matched anew.

    Args:
        result: of `detection.evaluate`.
        draws: number of bootstrap draws.
        seed: of the draws.

    Returns:
        ap50, ap and ap50_CLASS → value, low, high. Draws without a face of a class have no
        precision of it, and are left out of its interval; NaN if no image has one.
    """
    classes = [each["name"] for each in result.coco_gt.dataset["categories"]]
    tables = [ranked(result, number) for number in range(1, len(classes) + 1)]
    images = len(tables[0].faces)
    rng, chances = np.random.default_rng(seed), np.full(images, 1 / images)
    counts = np.vstack([np.ones(images), rng.multinomial(images, chances, draws)])
    # draws, classes, thresholds
    drawn = np.array([[weighted_precision(table, each) for table in tables] for each in counts])
    columns = {"ap50": _mean(drawn[:, :, 0]), "ap": _mean(drawn.mean(axis=2))}
    columns |= {f"ap50_{name}": drawn[:, k, 0] for k, name in enumerate(classes)}
    every = np.column_stack(list(columns.values()))
    low, high = percentiles(every[1:])
    return {
        name: {"value": float(every[0, k]), "low": float(low[k]), "high": float(high[k])}
        for k, name in enumerate(columns)
    }


def ranked(result: Any, category: int) -> Ranked:  # noqa: ANN401
    """Return the detections of a class, ranked.

    Args:
        result: of `detection.evaluate`.
        category: the number of the class, from 1.
    """
    every = [each["id"] for each in result.coco_gt.dataset["images"]]
    place = {image: number for number, image in enumerate(every)}
    whole = list(map(float, result.params.areaRng[0]))
    faces = np.zeros(len(every))
    scores, rights, images = [np.zeros(0)], [np.zeros((len(result.params.iouThrs), 0), bool)], []
    for each in result.eval_imgs:
        if each is None or each["category_id"] != category or list(each["aRng"]) != whole:
            continue
        number = place[each["image_id"]]
        faces[number] = len(each["gtIds"])
        scores.append(np.array(each["dtScores"]))
        rights.append(np.array(each["dtMatched"], bool).reshape(len(rights[0]), -1))
        images += [number] * len(each["dtScores"])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.concatenate(rights, axis=1)[:, order]
    return Ranked(right, np.array(images, int)[order], faces)


def weighted_precision(table: Ranked, counts: np.ndarray) -> np.ndarray:
    """Return the average precision at each IoU threshold, if images count so often.

    COCO's (Lin et al. 2014): the mean, over RECALLS, of the highest precision at a recall of that
    or more.
    """
    faces = table.faces @ counts
    if not faces:
        return np.full(len(table.right), np.nan)
    weight = counts[table.image]
    found = np.cumsum(table.right * weight, axis=1)
    every = np.maximum(np.cumsum(weight), 1e-9)
    precision = np.maximum.accumulate((found / every)[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(precision, [(0, 0), (0, 1)])
    places = [np.searchsorted(recall, RECALLS, side="left") for recall in found / faces]
    return np.array([row[place].mean() for row, place in zip(padded, places, strict=True)])


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of the classes that a draw has, (draws,)."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    return np.where(count, total / np.maximum(count, 1), np.nan)
