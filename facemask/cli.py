"""The command line: predict on images, serve; compare, pool and keep results."""

import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from facemask.errors import TRAIN, InputError


class Commands(TyperGroup):
    """Commands whose wrong inputs end in one message on stderr and exit code 1."""

    # Any: typer's class of contexts is private, and a command returns what it likes.
    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"facemask: {error}", err=True)
        except ModuleNotFoundError as error:
            typer.echo(f"facemask: {error.name} is not installed: {TRAIN}", err=True)
        raise typer.Exit(1)


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode="markdown"
)


# What `predict` takes.
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Images, folders, globs, videos, http(s) addresses, or a webcam's number.",
    ),
]
Conf = Annotated[
    float | None,
    typer.Option(metavar="0-1", help="Report only faces with at least this confidence."),
]
Size = Annotated[
    int | None,
    typer.Option(metavar="PX", help="Resize each image to this longest side before detection."),
]
Tiles = Annotated[
    int | None,
    typer.Option(
        metavar="PX", help="Predict on overlapping squares of this side too: finds smaller faces."
    ),
]
Model = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Another .onnx file, or models/NAME.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, a line for each image.")]
Voc = Annotated[bool, typer.Option("--voc", help="Write Pascal-VOC annotations, to be corrected.")]
Crop = Annotated[bool, typer.Option("--crop", help="Cut the faces out, into crops/.")]
Blur = Annotated[
    bool, typer.Option("--blur", help="Make faces unrecognisable instead of drawing boxes.")
]
Show = Annotated[bool, typer.Option("--show", help="Open a window; q closes it.")]
NoSave = Annotated[bool, typer.Option("--no-save", help="Write no files.")]
To = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="A new folder, or one in which a numbered folder is made."),
]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Download images from addresses.")
]


@app.callback()
def main() -> None:
    """Find faces and whether they wear a mask; compare and keep the results of `dvc repro`."""


@app.command()
def predict(
    sources: Sources,
    conf: Conf = None,
    size: Size = None,
    tiles: Tiles = None,
    model: Model = None,
    json: Json = False,
    voc: Voc = False,
    crop: Crop = False,
    blur: Blur = False,
    show: Show = False,
    no_save: NoSave = False,
    to: To = None,
    allow_download: AllowDownload = False,
) -> None:
    """Find the faces of images, and whether they wear a mask.

    Prints a line for each image. Annotated copies and predictions.jsonl go to a new folder,
    runs/predict/1, 2, …
    """
    # A video that is being written becomes whole.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from facemask.predict.files import predict as predict_on
        from facemask.predict.run import Options

        options = Options(
            conf, size, tiles, model, json, voc, crop, blur, show, not no_save, to, allow_download
        )
        code = predict_on(sources, options)
    except KeyboardInterrupt:  # while the model was loaded
        code = 130
    if code:
        raise typer.Exit(code)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="NAME, NAME@WHERE or a CSV file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other, likewise.")],
) -> None:
    """Compare two experiments on the same test samples.

    Every metric of A and B, the difference B - A with its 95 % interval, and a paired test.

    NAME is an experiment measured by `dvc repro`; NAME@WHERE is the same in a snapshot of
    docs/results, at a git revision or in a DVC experiment: localizer@localizer, mobilenet_6@HEAD,
    scratch_1@two-epochs. NAME+NAME is the ensemble of two.
    """
    # Takes two seconds, which --help need not wait for.
    from facemask import printed

    printed.compare(a, b)


@app.command()
def pool(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An experiment, a localizer or an ensemble; NAME+NAME is the ensemble of two.",
        ),
    ],
    folds: Annotated[
        list[str],
        typer.Argument(
            metavar="WHERE...",
            help="Where each fold was measured: a snapshot of docs/results, a git revision or a "
            "DVC experiment.",
        ),
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JSON file to write them to as well.")
    ] = None,
) -> None:
    """Pool the folds of a grouped split: metrics over all images, each tested once.

    Prints them with their 95 % intervals, and those of each fold.
    """
    from facemask import printed

    printed.pool(name, folds, to)


@app.command()
def folds(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="An experiment, a localizer, an ensemble or a detector."
        ),
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JSON file to write them to as well.")
    ] = None,
) -> None:
    """Run an experiment in every fold of the grouped split, and pool the folds.

    Each in a copy of the project, where DVC keeps its own; one after the other or, on a cluster
    (FACEMASK_SCHEDULER), side by side. Stopped, it goes on from there.
    """
    from facemask import printed, runs

    printed.pool(name, [str(copy) for copy in runs.folds(name)], to)


@app.command()
def repro(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A dvc.yaml or a stage, as of `dvc repro`.")
    ] = "dvc.yaml",
) -> None:
    """Run `dvc repro`, on a cluster with the stages side by side that wait for no other.

    A cluster is named by FACEMASK_SCHEDULER. Without one, this is `dvc repro`.
    """
    from facemask import runs

    runs.repro(target)


@app.command()
def snapshot(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new folder.")],
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="PIPELINE", help="Keep one of pipelines/ alone, as detector."),
    ] = None,
) -> None:
    """Keep the run in the workspace as docs/results/NAME, to be committed.

    Its report with plots, the metrics and predictions of every experiment, its parameters, its
    lock files, and the commit it was made at.
    """
    from facemask.records import RESULTS
    from facemask.reporting import snapshot as snapshots

    folder = snapshots.take(Path(), RESULTS, name, pipeline)
    typer.echo(f"{folder}: {sum(path.is_file() for path in folder.rglob('*'))} files")


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Name or address; 0.0.0.0 for the whole network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name of the server, as of a proxy."),
    ] = None,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Of an image's file.")] = 20,
    max_megapixels: Annotated[float, typer.Option(min=0.001, max=130, help="Of an image.")] = 50,
    concurrent: Annotated[int, typer.Option(min=1, max=64, help="Images decoded at once.")] = 2,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds until an image has arrived.")
    ] = 30,
) -> None:
    """Serve a page and an API that find faces in images.

    The page runs the model in the browser; POST /predict runs it here. Nothing is stored.
    """
    # Takes a second, which --help need not wait for.
    from facemask.server import guard, run

    limits = guard.Limits(
        bytes=round(max_megabytes * 1e6),
        pixels=round(max_megapixels * 1e6),
        at_once=concurrent,
        waiting=4 * concurrent,
        seconds=timeout,
        head_seconds=min(timeout, 10),
    )
    run.serve(host, port, allow_host or [], limits, typer.echo)
