"""The command line: predict on images, serve; compare, pool and keep results."""

import signal
from pathlib import Path
from typing import Any

import click

from facemask.errors import TRAIN, InputError


class Commands(click.Group):
    """Commands whose wrong inputs end in one message on stderr and exit code 1."""

    # Any: a command returns what it likes.
    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"facemask: {error}", err=True)
        except ModuleNotFoundError as error:
            click.echo(f"facemask: {error.name} is not installed: {TRAIN}", err=True)
        raise SystemExit(1)


class Number(click.FloatRange):
    """A number between two others, which nan is not."""

    name = "number"

    # Any: as a string of the command line, or the default.
    def convert(self, value: Any, param: Any, ctx: Any) -> float:  # noqa: ANN401
        """Return the number, or end in click's message."""
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number.", param, ctx)
        return number


PATH = click.Path(path_type=Path)
to_file = click.option("--to", metavar="FILE", type=PATH, help="Write them to a JSON file as well.")


@click.group(cls=Commands)
def app() -> None:
    """Find faces and whether they wear a mask; compare and keep the results of `dvc repro`."""


@app.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--conf", metavar="0-1", type=float, help="Report only faces with at least this confidence."
)
@click.option(
    "--size", metavar="PX", type=int, help="Resize each image to this longest side first."
)
@click.option(
    "--tiles",
    metavar="PX",
    type=int,
    help="Predict on overlapping squares of this side too: finds smaller faces.",
)
@click.option(
    "--multi-scale",
    is_flag=True,
    help="See each image at two sizes and average: more accurate, takes 2.5 times as long.",
)
@click.option("--model", metavar="PATH", type=PATH, help="Another .onnx file, or models/NAME.")
@click.option("--json", is_flag=True, help="Print JSON, a line for each image.")
@click.option("--voc", is_flag=True, help="Write Pascal-VOC annotations, to be corrected.")
@click.option("--crop", is_flag=True, help="Cut the faces out, into crops/.")
@click.option("--blur", is_flag=True, help="Make faces unrecognisable instead of drawing boxes.")
@click.option("--show", is_flag=True, help="Open a window; q closes it.")
@click.option("--no-save", is_flag=True, help="Write no files.")
@click.option(
    "--to",
    metavar="FOLDER",
    type=PATH,
    help="A new folder, or one in which a numbered folder is made.",
)
@click.option("--allow-download", is_flag=True, help="Download images from addresses.")
# Any: the fields of `Options`.
def predict(sources: tuple[str, ...], no_save: bool, **options: Any) -> None:  # noqa: ANN401
    """Find the faces of images, and whether they wear a mask.

    A SOURCE is an image, a folder, a glob, a video, an http(s) address, or the number of a webcam.

    Prints a line for each image. Annotated copies and predictions.jsonl go to a new folder,
    runs/predict/1, 2, …
    """
    # A video that is being written becomes whole.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from facemask.predict.files import predict as predict_on
        from facemask.predict.run import Options

        code = predict_on(sources, Options(save=not no_save, **options))
    except KeyboardInterrupt:  # while the model was loaded
        code = 130
    click.get_current_context().exit(code)


@app.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
def compare(a: str, b: str) -> None:
    """Compare two experiments on the same test samples.

    Every metric of A and B, the difference B - A with its 95 % interval, and a paired test.

    A and B are each NAME, NAME@WHERE or a CSV file. NAME is an experiment measured by `dvc repro`;
    NAME@WHERE is the same in a snapshot of docs/results, at a git revision or in a DVC experiment:
    localizer@localizer, mobilenet_6@HEAD, scratch_1@two-epochs. NAME+NAME is the ensemble of two.
    """
    # Takes two seconds, which --help need not wait for.
    from facemask import printed

    printed.compare(a, b)


@app.command()
@click.argument("name", metavar="NAME")
@click.argument("folds", metavar="WHERE...", nargs=-1, required=True)
@to_file
def pool(name: str, folds: tuple[str, ...], to: Path | None) -> None:
    """Pool the folds of a grouped split: metrics over all images.

    Each image is tested once. Prints the metrics with their 95 % intervals, and those of each fold.

    NAME is an experiment, a localizer, an ensemble or a detector; NAME+NAME is the ensemble of two.
    WHERE each fold was measured: a snapshot of docs/results, a git revision or a DVC experiment.
    """
    from facemask import printed

    printed.pool(name, folds, to)


@app.command()
@click.argument("name", metavar="NAME")
@to_file
def folds(name: str, to: Path | None) -> None:
    """Run an experiment in every fold of the split, and pool them.

    NAME is an experiment, a localizer, an ensemble or a detector.

    Each fold runs in a copy of the project, where DVC keeps its own; one after the other or, on a
    cluster (FACEMASK_SCHEDULER), side by side. Stopped, it goes on from there.
    """
    from facemask import printed, runs

    printed.pool(name, [str(copy) for copy in runs.folds(name)], to)


@app.command()
@click.argument("target", metavar="[TARGET]", default="dvc.yaml")
def repro(target: str) -> None:
    """Run `dvc repro`, on a cluster with its stages side by side.

    TARGET is a dvc.yaml or a stage, as of `dvc repro`. A cluster is named by FACEMASK_SCHEDULER: on
    it, stages run together that wait for no other. Without one, this is `dvc repro`.
    """
    from facemask import runs

    runs.repro(target)


@app.command()
@click.argument("name", metavar="NAME")
@click.option("--pipeline", metavar="PIPELINE", help="Keep one of pipelines/ alone, as detector.")
def snapshot(name: str, pipeline: str | None) -> None:
    """Keep the run in the workspace as docs/results/NAME.

    This is a folder to be committed: the report with its plots, the metrics and predictions of
    every experiment, its parameters, its lock files, and the commit it was made at.
    """
    from facemask.records import RESULTS
    from facemask.reporting import snapshot as snapshots

    folder = snapshots.take(Path(), RESULTS, name, pipeline)
    click.echo(f"{folder}: {sum(path.is_file() for path in folder.rglob('*'))} files")


@app.command(context_settings={"show_default": True})
@click.option(
    "--host",
    metavar="HOST",
    default="127.0.0.1",
    help="Name or address; 0.0.0.0 for the whole network.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=8000,
    help="0 takes a free one.",
)
@click.option(
    "--allow-host",
    metavar="NAME",
    multiple=True,
    help="A further name of the server, as of a proxy. May be repeated.",
)
@click.option(
    "--max-megabytes",
    metavar="MB",
    type=Number(0.001, 1000),
    default=20,
    help="Of an image's file.",
)
@click.option(
    "--max-megapixels", metavar="MP", type=Number(0.001, 130), default=50, help="Of an image."
)
@click.option(
    "--concurrent",
    metavar="IMAGES",
    type=click.IntRange(1, 64),
    default=2,
    help="Decoded at once.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(0.1, 3600),
    default=30,
    help="Until an image has arrived.",
)
@click.option("--model", metavar="PATH", type=PATH, help="Another .onnx file.")
def serve(
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    max_megabytes: float,
    max_megapixels: float,
    concurrent: int,
    timeout: float,
    model: Path | None,
) -> None:
    """Serve a page and an API that find faces in images.

    The page runs the model in the browser; POST /predict runs it here. Nothing is stored.
    """
    # Takes a second, which --help need not wait for.
    from facemask.inference import runtime
    from facemask.server import guard, run

    limits = guard.Limits(
        bytes=round(max_megabytes * 1e6),
        pixels=round(max_megapixels * 1e6),
        at_once=concurrent,
        waiting=4 * concurrent,
        seconds=timeout,
        head_seconds=min(timeout, 10),
    )
    run.serve(host, port, list(allow_host), limits, model or runtime.SHIPPED, click.echo)
