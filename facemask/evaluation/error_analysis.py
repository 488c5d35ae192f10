"""Error analysis: by the size of the face, other faces in the crop, and the annotated class."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from facemask.columns import CROP_BOX

# Upper bounds of the longer side of the face, px of the image.
SIZES = (16, 24, 32, 48, 64, 96, np.inf)
# How many other faces the crop holds wholly; the last is that many or more.
ENCLOSED = 3
GROUPS = {
    "size": "longer side of the face",
    "enclosed": "other faces wholly in the crop",
    "name": "class as annotated",
}


def described(
    predictions: pd.DataFrame, samples: pd.DataFrame, faces: pd.DataFrame
) -> pd.DataFrame:
    """Add to predictions what the faces are like.

    Args:
        predictions: the table of `predict.predict`.
        samples: the table of `splits.split`.
        faces: the table of `annotations.parse`, with the class as it was annotated.

    Returns:
        The table, in its order, and size (as "24-32 px"), enclosed (as "0", "3 or more") and name
        (as with_mask, without_mask, mask_weared_incorrect).
    """
    known = predictions[["sample", "image", "face"]].merge(
        samples[["sample", *CROP_BOX, "enclosed"]],
        on="sample",
        how="left",
        validate="one_to_one",
    )
    known = known.merge(faces[["image", "face", "name"]], on=["image", "face"], how="left")
    side = np.maximum(known["box_x1"] - known["box_x0"], known["box_y1"] - known["box_y0"])
    return predictions.assign(
        size=pd.cut(side, [0, *SIZES], labels=_size_names()).to_numpy(),
        enclosed=_counts(known["enclosed"]).to_numpy(),
        name=known["name"].to_numpy(),
    )


def by_group(described: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return of each of GROUPS a table: group, samples, accuracy, mean_iou and iou_50.

    Args:
        described: the table of `described`.
    """
    right = described.assign(
        right=described["actual"] == described["predicted"], found=described["iou"] >= 0.5
    )
    orders: Mapping[str, list[str]] = {
        "size": _size_names(),
        "enclosed": [*map(str, range(ENCLOSED)), f"{ENCLOSED} or more"],
        "name": sorted(described["name"].unique()),
    }
    tables = {}
    for column, order in orders.items():
        groups = right.groupby(right[column].astype(str))
        table = groups.agg(
            samples=("iou", "size"),
            accuracy=("right", "mean"),
            mean_iou=("iou", "mean"),
            iou_50=("found", "mean"),
        )
        tables[column] = table.reindex([name for name in order if name in table.index])
    return {column: table.rename_axis("group").reset_index() for column, table in tables.items()}


def worst_boxes(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the predictions of the least IoU, the worst first."""
    return predictions.sort_values(["iou", "sample"]).head(count)


def misclassified(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the wrong labels, the most confident first."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    confidence = (wrong["probability"] - 0.5).abs()
    ranked = wrong.assign(confidence=confidence).sort_values(
        ["confidence", "sample"], ascending=[False, True]
    )
    return ranked.drop(columns="confidence")


def _size_names() -> list[str]:
    inner = [f"{low}-{high} px" for low, high in pairwise(SIZES[:-1])]
    return [f"to {SIZES[0]} px", *inner, f"above {SIZES[-2]} px"]


def _counts(enclosed: pd.Series) -> pd.Series:
    return enclosed.clip(upper=ENCLOSED).astype(str).replace(str(ENCLOSED), f"{ENCLOSED} or more")
