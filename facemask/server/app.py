"""The routes of the server: predictions, its state, its page, the model for the page."""

import hashlib
import mimetypes
import sys
from collections.abc import Collection, Mapping
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from facemask.data import decode
from facemask.errors import InputError, nearest
from facemask.inference import detect, runtime
from facemask.server.guard import FAILED, Guard, Limits, Refusal

LIMITS = Limits()
PAGE = Path(__file__).parent / "page"
IN_BROWSER = PAGE / "ort/ort-wasm-simd-threaded.wasm"
LARGEST = 2048  # px: at twice that, the network would take several GB
# Pixels that the network sees in all of an image's tiles together: some seconds of work.
WORK = 40_000_000
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
FRESH = {"cache-control": "no-cache"}  # kept, but compared with the server's before it is used
# curl sends bytes as a form unless a type is given.
RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")
for suffix, kind in ((".js", "text/javascript"), (".mjs", "text/javascript"),
                     (".wasm", "application/wasm")):  # fmt: skip
    mimetypes.add_type(kind, suffix)  # a machine may know others, which browsers do not run


class Options(BaseModel):
    """The query of /predict."""

    model_config = ConfigDict(extra="forbid")

    conf: float | None = Field(
        None, description="Least confidence of a reported face, 0 to 1; else the model's."
    )
    size: int | None = Field(
        None, description=f"Longest side of what the network sees, 32 to {LARGEST} px."
    )
    tiles: int | None = Field(
        None, description="Side of overlapping squares that are searched too, px: for small faces."
    )


class Box(BaseModel):
    """Corners in px of the image, turned by its EXIF orientation."""

    x1: float
    y1: float
    x2: float
    y2: float


class Face(BaseModel):
    """A face: the class and its number, the confidence, the bounding box."""

    name: str
    number: int = Field(alias="class")
    confidence: float
    box: Box


class Predictions(BaseModel):
    """The faces of an image, the most confident first; image is the name of its file."""

    image: str
    width: int
    height: int
    faces: list[Face]


class Failure(BaseModel):
    """What is wrong, and what to do about it."""

    error: str


class InMemory(MultiPartParser):
    """Keeps a file in memory: nothing that is sent here is written to a disk."""

    spool_max_size = sys.maxsize


BODY = {
    "requestBody": {
        "required": True,
        "description": "One image: as a file of a form, or its bytes.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "No form as it should be"},
    408: {"model": Failure, "description": "The body did not arrive in time"},
    413: {"model": Failure, "description": "Too many bytes or pixels"},
    415: {"model": Failure, "description": "No image that is read"},
    422: {"model": Failure, "description": "A number is wrong, or a file is missing"},
    503: {"model": Failure, "description": "Busy; try again after Retry-After"},
}


def build(
    limits: Limits = LIMITS, hosts: Collection[str] = (), file: Path = runtime.SHIPPED
) -> Guard:
    """Return the server as an ASGI application.

    Args:
        limits: of requests.
        hosts: names under which it may be reached, besides those of this machine.
        file: an exported detector.

    Raises:
        InputError: there is no such detector.
    """
    detector = runtime.load(file)
    app = FastAPI(
        title="facemask", version=_version(), docs_url=None, redoc_url=None,
        description="Find the faces of an image, and whether they wear a mask.",
    )  # fmt: skip
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_query)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Exception, _failed)
    _add_page(app)
    _add_model(app, detector, file, limits)

    # Any: FastAPI reads the annotations of routes, and their responses are made here.
    @app.post("/predict", responses={200: {"model": Predictions}, **REFUSED}, openapi_extra=BODY)
    async def predict(request: Request, options: Annotated[Options, Query()]) -> Response:
        """Find the faces of an image."""
        _check(options)
        name, data = await _image(request)
        content = await run_in_threadpool(_predict, detector, data, options, limits.pixels)
        return JSONResponse({"image": name, **content})

    return Guard(app, limits, hosts)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(PAGE / "index.html", headers=FRESH)

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return FileResponse(PAGE / "docs.html", headers=FRESH)

    app.mount("/page", _Files(directory=PAGE))


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - as above it
        response = super().file_response(*args, **kwargs)
        response.headers.update(FRESH)
        return response


def _add_model(app: FastAPI, detector: runtime.Detector, file: Path, limits: Limits) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    about = {
        "ready": True,
        "version": _version(),
        "model": {
            "file": f"model/{digest}.onnx",
            "sha256": digest,
            "bytes": file.stat().st_size,
            "classes": detector.classes,
            "size": detector.size,
            "confidence": detector.confidence,
        },
        "limits": {"bytes": limits.bytes, "pixels": limits.pixels},
    }

    @app.get("/health")
    def health() -> Response:
        """Say which model predicts, and whether a browser can run it itself."""
        return JSONResponse({**about, "browser": IN_BROWSER.is_file()})

    # By its hash, so that a browser fetches a model once.
    @app.get(f"/model/{digest}.onnx", include_in_schema=False)
    def model() -> Response:
        return FileResponse(file, media_type="application/octet-stream", headers=FOREVER)


def _version() -> str:
    try:
        return metadata.version("facemask")
    except metadata.PackageNotFoundError:  # run from a clone
        return "unknown"


def _check(options: Options) -> None:
    try:
        runtime.check(options.conf, options.size, options.tiles)
    except InputError as error:
        raise Refusal(422, str(error)) from None
    if options.size is not None and options.size > LARGEST:
        raise Refusal(422, f"size is {options.size}; this server takes up to {LARGEST} px")


async def _image(request: Request) -> tuple[str, bytes]:
    """Name and bytes of the image in a request."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        name, data = await _of_form(request)
    elif kind in RAW or kind.startswith("image/"):
        name, data = "", await request.body()
    else:
        raise Refusal(
            415, f"{kind[:80]} is no image; send a form with a file, or the bytes of an image"
        )
    if not data:
        raise Refusal(422, "the image is empty: send its bytes, or a form with a field 'file'")
    return name, data


async def _of_form(request: Request) -> tuple[str, bytes]:
    parser = InMemory(request.headers, request.stream(), max_files=1, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"{error.message} Send one file, in a field 'file'") from None
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        given = ", ".join(form)[:80] or "none"
        raise Refusal(422, f"the form has no complete file in a field 'file', but: {given}")
    try:
        return _plain_name(upload.filename or ""), await upload.read()
    finally:
        await upload.close()


def _plain_name(name: str) -> str:
    """The last part of a path, without what a terminal or a page would not print."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(each for each in last if each.isprintable())[:200]


def _predict(
    detector: runtime.Detector, data: bytes, options: Options, pixels: int
) -> dict[str, object]:
    image = _decode(data, pixels)
    size = options.size or detector.size
    most = WORK // size**2
    views = islice(detect.views(image, options.tiles), most + 1)
    if sum(1 for _ in views) > most:
        raise Refusal(422, f"tiles of {options.tiles} px are too many here; make them larger")
    found = runtime.detect(image, options.conf, options.size, options.tiles, detector=detector)
    height, width = image.shape[:2]
    return {
        "width": width, "height": height, "faces": runtime.as_records(found, detector.classes)
    }  # fmt: skip


def _decode(data: bytes, pixels: int) -> np.ndarray:
    try:
        return decode.decode(data, min(pixels, decode.MAX_PIXELS)).image
    except decode.TooManyPixels as error:
        raise Refusal(413, str(error)) from None
    except InputError as error:
        raise Refusal(415, str(error)) from None


# Starlette calls these with the class of error that each is for.


def _http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    headers: Mapping[str, str] = getattr(error, "headers", None) or {}
    reason = {
        404: "there is nothing at this address; /docs lists what there is",
        405: f"{request.method} does not work here; /docs says what does",
    }.get(status, str(getattr(error, "detail", "")))
    return JSONResponse({"error": reason}, status, dict(headers))


def _wrong_query(_: Request, error: Exception) -> Response:
    reasons = [_reason(each) for each in getattr(error, "errors", list)()]
    return JSONResponse({"error": "; ".join(reasons)}, 422)


def _reason(found: Mapping[str, Any]) -> str:
    name = str(found["loc"][-1])[:80]
    if found["type"] == "extra_forbidden":
        known = [*Options.model_fields]
        return f"there is no {name!r}{nearest(name, known)}; known are {', '.join(known)}"
    return f"{name} is {str(found.get('input'))[:80]!r}: {found['msg']}"


def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return JSONResponse({"error": error.reason}, error.status, error.headers)


def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": FAILED}, 500)  # the guard logs the error
