"""Even out the classes: every sample of the rarer class once more, seen in a mirror."""

import pandas as pd


def add_flips(crops: pd.DataFrame, enabled: bool) -> pd.DataFrame:
    """Return the samples: all crops, then a flipped copy of each crop of the rarer class.

    Args:
        crops: the table of `partition.crop_table`.
        enabled: False leaves the classes as they are.

    Returns:
        The columns of `crops` after sample (number of the row) and before flip (1 if mirrored, and
        then the box is mirrored too).
    """
    samples = crops.assign(flip=0)
    if enabled:
        rarer = crops["label"].value_counts().reindex([0, 1], fill_value=0).idxmin()
        samples = pd.concat([samples, mirror(crops[crops["label"] == rarer])])
    samples = samples.reset_index(drop=True)
    samples.insert(0, "sample", samples.index)
    return samples


def number_on(small: pd.DataFrame, first: int) -> pd.DataFrame:
    """Return the crops that are too small to be samples as a table like that of the samples.

    Args:
        small: the second table of `partition.crop_table`.
        first: number of the first of them; samples have those below.
    """
    rows = small.assign(flip=0)
    rows.insert(0, "sample", range(first, first + len(rows)))
    return rows


def mirror(crops: pd.DataFrame) -> pd.DataFrame:
    """Return crops mirrored left to right: column x of a crop of width w becomes w - 1 - x."""
    width = crops["x1"] - crops["x0"]
    return crops.assign(box_x0=width - crops["box_x1"], box_x1=width - crops["box_x0"], flip=1)
