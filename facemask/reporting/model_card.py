"""The model card of an exported detector (Mitchell et al. 2019); its words are in its template."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from facemask.reporting import detector_page, tables
from facemask.reporting.tables import percent

FORMATS = {
    "onnx": "ONNX, weights in half precision",
    "onnx_float32": "ONNX",
    "litert": "LiteRT",
    "saved_model": "SavedModel",
}


def render(
    about: Mapping[str, Any], measured: Mapping[str, Any], exported: Mapping[str, Any]
) -> str:
    """Return the card.

    Args:
        about: classes, size, confidence, dataset, split: what the files themselves hold.
        measured: the detector's statistics file.
        exported: of each format what `parity.parity` returns, and megabytes; of onnx ap50 and ap.
    """
    test = measured["test"]
    return tables.render(
        "model_card",
        about=about,
        measured=measured,
        test=test,
        exported=exported,
        precision=detector_page.precision(measured),
        by_size=detector_page.by_size(test),
        threshold=detector_page.threshold(measured),
        formats=_formats(exported),
    )


def _formats(exported: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    rows = [
        (
            FORMATS[name],
            f"{found['megabytes']:.1f}",
            found["faces"],
            found["missing"],
            found["extra"],
            f"{found['box_px']:.3f}",
            f"{found['score']:.4f}",
            *(percent(found[key]) if key in found else tables.NONE for key in ("ap50", "ap")),
        )
        for name, found in exported.items()
    ]
    headers = ["file", "MB", "faces", "missing", "extra", "box, px", "score", "AP@.5", "AP@.5:.95"]
    return pd.DataFrame(rows, columns=headers)
