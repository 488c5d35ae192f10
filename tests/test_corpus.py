"""A corpus of faulty datasets: each case spoils image b of a, b and c in one way."""

import io
import struct
import unicodedata
import zlib
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from facemask.data import annotations, issues, sources, splits
from facemask.data.crops import crop_table
from facemask.data.decode import ORIENTATION, read_rgb
from facemask.data.images import inventory
from facemask.errors import InputError
from facemask.reporting.validation import page as validation_page

CLASSES = {
    "with_mask": "with_mask",
    "without_mask": "without_mask",
    "mask_weared_incorrect": "with_mask",
}
# What may become of b. Of a and c nothing may change, whatever b is.
READ, WARNING, REPAIRED, ERROR = "read", "warning", "repaired", "error"
SKIPPED = "skipped"


def spoil_bytes(change, kind="images/b.png"):
    """A case that changes the bytes of a file of b."""

    def spoil(folder):
        path = folder / kind
        path.write_bytes(change(path.read_bytes()))

    return spoil


def spoil_text(wrong, right):
    """A case that puts one text of b's annotation for another."""

    def spoil(folder):
        path = folder / "annotations/b.xml"
        text = path.read_text()
        assert text.count(wrong) == 1, (wrong, text)
        path.write_text(text.replace(wrong, right))

    return spoil


def encode(path, image, encoding, **options):
    packed = io.BytesIO()
    image.save(packed, encoding, **options)
    path.write_bytes(packed.getvalue())


def spoil_image(change, encoding="PNG", name="b.png", size=None, **options):
    """A case that saves b's picture in another way; `size` is written in its annotation."""

    def spoil(folder):
        path = folder / "images/b.png"
        image = change(Image.open(path).convert("RGB"))
        path.unlink()
        encode(folder / "images" / name, image, encoding, **options)
        if size:
            set_size(folder, *size)

    return spoil


def set_size(folder, width, height):
    xml = folder / "annotations/b.xml"
    text = xml.read_text().replace("<width>96<", f"<width>{width}<")
    xml.write_text(text.replace("<height>64<", f"<height>{height}<"))


def turned(orientation, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return spoil_image(lambda image: image, "JPEG", "b.jpg", exif=exif, **options)


def turned_with_its_boxes(folder):
    turned(6, size=(64, 96))(folder)
    spoil_text(">60<", ">40<")(folder)
    spoil_text(">85<", ">55<")(folder)


def sixteen_bit(folder):
    path = folder / "images/b.png"
    assert cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)


def twelve_in_sixteen_bit(folder):
    path = folder / "images/b.png"
    assert cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 16)


def png_of(width, height):
    """A whole PNG of black bits that is small however large the picture."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(bytes((width // 8 + 1) * height), 1)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def one_pixel(folder):
    encode(folder / "images/b.png", Image.new("RGB", (1, 1)), "PNG")
    set_size(folder, 1, 1)
    xml = folder / "annotations/b.xml"
    text = xml.read_text()
    start, end = text.index("<object>"), text.index("</annotation>")
    box = "".join(f"<{key}>0</{key}>" for key in annotations.BOX)
    face = f"<object><name>with_mask</name><bndbox>{box}</bndbox></object>"
    xml.write_text(text[:start] + face + text[end:])


def rename(old, new):
    def spoil(folder):
        (folder / old).rename(folder / new)

    return spoil


def rename_both(stem):
    def spoil(folder):
        spoil_text(">b.png<", f">{stem}.png<")(folder)
        rename("images/b.png", f"images/{stem}.png")(folder)
        rename("annotations/b.xml", f"annotations/{stem}.xml")(folder)

    return spoil


def composed_and_not(folder):
    spoil_text(">b.png<", ">b\u00e9.png<")(folder)
    apart = unicodedata.normalize("NFD", "b\u00e9")
    rename("images/b.png", "images/b\u00e9.png")(folder)
    rename("annotations/b.xml", f"annotations/{apart}.xml")(folder)


def another_image(folder):
    image = Image.open(folder / "images/b.png")
    encode(folder / "images/b.jpg", image.convert("RGB"), "JPEG")


def undecided_image(folder):
    another_image(folder)
    spoil_text("<filename>b.png</filename>", "")(folder)


def another_annotation(folder):
    text = (folder / "annotations/b.xml").read_text()
    (folder / "annotations/c.xml").write_text(text)


def doctype(declaration, used="&x;"):
    def change(data):
        text = data.decode().replace("<xmin>11<", f"<xmin>{used}<")
        return f"<!DOCTYPE annotation {declaration}>{text}".encode()

    return spoil_bytes(change, XML)


# The two faces of b: with_mask in (11, 8, 30, 31) and without_mask in (60, 20, 85, 51).
def twin(name):
    """Mark the first face, a masked one at (11, 8, 30, 31), once more."""

    def change(data):
        text = data.decode()
        first = text[text.index("<object>") : text.index("</object>") + len("</object>")]
        extra = first.replace("with_mask", name)
        return text.replace("</annotation>", f"{extra}</annotation>").encode()

    return spoil_bytes(change, XML)


def no_object(data):
    text = data.decode()
    return (text[: text.index("<object>")] + "</annotation>").encode()


def nested(_):
    return b"<annotation>" + b"<a>" * 1_400_000 + b"</a>" * 1_400_000 + b"</annotation>"


BOMB = "[" + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "1" * 10}">' for n in range(10))
BOMB += "]"
XML = "annotations/b.xml"
UTF8 = '<?xml version="1.0" encoding="utf-8"?>'
ACCENT = ("<annotation>", "<annotation><folder>caf\u00e9</folder>")

# name: how b is spoilt, what becomes of it, the file of the issue, a part of its message
CASES = {
    # Images
    "truncated": (spoil_bytes(lambda data: data[: len(data) // 2]), ERROR, "b.png", "readable"),
    "last byte missing of the data": (
        spoil_bytes(lambda data: data[:-20]), ERROR, "b.png", "readable",
    ),
    "no bytes": (spoil_bytes(lambda _: b""), ERROR, "b.png", "readable"),
    "a text": (spoil_bytes(lambda _: b"no image"), ERROR, "b.png", "readable"),
    "a web page": (spoil_bytes(lambda _: b"<!doctype html><p>404"), ERROR, "b.png", "readable"),
    "a header alone": (spoil_bytes(lambda data: data[:33]), ERROR, "b.png", "readable"),
    "an SVG": (
        spoil_bytes(lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'/>"), ERROR, "b.png",
        "readable",
    ),
    "a cut JPEG": (
        lambda folder: (
            spoil_image(lambda image: image, "JPEG", "b.jpg")(folder),
            spoil_bytes(lambda data: data[: len(data) * 2 // 3], "images/b.jpg")(folder),
        ),
        ERROR, "b.jpg", "readable",
    ),
    "a PNG named .jpg": (
        rename("images/b.png", "images/b.jpg"), WARNING, "b.jpg", "is a PNG image"
    ),
    "a JPEG named .png": (
        spoil_image(lambda image: image, "JPEG"), WARNING, "b.png", "is a JPEG image"
    ),
    "grey": (spoil_image(lambda image: image.convert("L")), READ, None, None),
    "black and white": (spoil_image(lambda image: image.convert("1")), READ, None, None),
    "a palette": (spoil_image(lambda image: image.quantize(16)), READ, None, None),
    "a transparent palette": (
        spoil_image(lambda image: image.quantize(16), transparency=3), READ, None, None
    ),
    "16 bits": (sixteen_bit, READ, None, None),
    "transparency": (spoil_image(lambda image: image.convert("RGBA")), READ, None, None),
    "CMYK JPEG": (
        spoil_image(lambda image: image.convert("CMYK"), "JPEG", "b.jpg"), READ, None, None
    ),
    "progressive JPEG": (
        spoil_image(lambda image: image, "JPEG", "b.jpg", progressive=True), READ, None, None
    ),
    "turned by EXIF, size as shown": (
        turned_with_its_boxes, WARNING, "b.jpg", "has an EXIF orientation"
    ),
    "turned by EXIF, size as stored": (turned(6), ERROR, XML, "the other way round"),
    "EXIF of an orientation that is none": (
        turned(9), READ, None, None
    ),
    "EXIF that is cut off": (
        spoil_image(lambda image: image, "JPEG", "b.jpg", exif=b"Exif\0\0MM\0*\0\0"),
        READ, None, None,
    ),
    "a GIF named .png": (
        spoil_image(lambda image: image.quantize(16), "GIF"), WARNING, "b.png", "is a GIF image"
    ),
    "a TIFF named .png": (
        spoil_image(lambda image: image, "TIFF"), WARNING, "b.png", "is a TIFF image"
    ),
    "a HEIC named .png": (
        spoil_bytes(lambda _: b"\0\0\0\x18ftypheic" + bytes(99)), ERROR, "b.png", "HEIC image"
    ),
    "a TIFF": (spoil_image(lambda image: image, "TIFF", "b.tif"), READ, None, None),
    "an AVIF": (spoil_image(lambda image: image, "AVIF", "b.avif"), READ, None, None),
    "a GIF": (spoil_image(lambda image: image, "GIF", "b.gif"), READ, None, None),
    "a GIF of two frames": (
        spoil_image(
            lambda image: image, "GIF", "b.gif", save_all=True,
            append_images=[Image.new("L", (9, 9))],
        ),
        WARNING, "b.gif", "the first is read",
    ),
    "a TIFF of floats": (
        spoil_image(lambda image: image.convert("F"), "TIFF", "b.tif"), ERROR, "b.tif", "8 bits"
    ),
    "a JPEG with a trailer": (
        lambda folder: (
            spoil_image(lambda image: image, "JPEG", "b.jpg")(folder),
            spoil_bytes(lambda data: data + b"\xff\xd8\xff\xda" * 99, "images/b.jpg")(folder),
        ),
        READ, None, None,
    ),
    "12 bits in 16": (twelve_in_sixteen_bit, REPAIRED, "b.png", "no more than 12"),
    "2,000,000 pixels in a row": (
        spoil_bytes(lambda _: png_of(2_000_000, 1)), ERROR, "b.png", "readable"
    ),
    "upside down by EXIF": (turned(3), WARNING, "b.jpg", "has an EXIF orientation"),
    "one pixel": (one_pixel, WARNING, XML, "a line or a point"),
    "20,000 x 20,000 pixels": (
        spoil_bytes(lambda _: png_of(20_000, 20_000)), ERROR, "b.png", "20000 x 20000 pixels"
    ),
    "another size": (
        spoil_image(lambda image: image.resize((48, 32))), ERROR, XML, "gives 96 x 64 pixels, but"
    ),
    # Annotations: XML
    "not well-formed": (spoil_bytes(lambda d: d[:-5], XML), ERROR, XML, "not well-formed"),
    "an empty annotation": (spoil_bytes(lambda _: b"", XML), ERROR, XML, "not well-formed"),
    "no XML": (spoil_bytes(lambda _: b"\x89PNG", XML), ERROR, XML, "not well-formed"),
    "another root": (spoil_bytes(lambda _: b"<html/>", XML), ERROR, XML, "no Pascal-VOC"),
    "wrong encoding": (
        spoil_bytes(lambda d: (UTF8 + d.decode().replace(*ACCENT)).encode("latin-1"), XML),
        ERROR, XML, "not well-formed",
    ),
    "another encoding, and said": (
        spoil_bytes(
            lambda d: (UTF8.replace("utf-8", "iso-8859-1") + d.decode().replace(*ACCENT)).encode(
                "latin-1"
            ),
            XML,
        ),
        READ, None, None,
    ),
    "a byte-order mark": (spoil_bytes(lambda d: b"\xef\xbb\xbf" + d, XML), READ, None, None),
    "UTF-16": (spoil_bytes(lambda d: d.decode().encode("utf-16"), XML), READ, None, None),
    "a namespace": (
        spoil_text("<annotation>", '<annotation xmlns="http://host.example/voc">'),
        READ, None, None,
    ),
    "a prefixed namespace": (
        spoil_bytes(
            lambda d: d.decode()
            .replace("</", "</v:").replace("<", "<v:").replace("<v:/v:", "</v:")
            .replace("<v:annotation>", '<v:annotation xmlns:v="urn:voc">', 1).encode(),
            XML,
        ),
        READ, None, None,
    ),
    "comments and instructions": (
        spoil_text("<size>", "<!-- 1 > 0 --><?sort up?><size>"), READ, None, None
    ),
    "a class as CDATA": (
        spoil_text("<name>with_mask<", "<name><![CDATA[with_mask]]><"), READ, None, None
    ),
    "an external entity": (
        doctype('[<!ENTITY x SYSTEM "file:///etc/hostname">]'), ERROR, XML, "DOCTYPE"
    ),
    "an entity over the network": (
        doctype('[<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]'), ERROR, XML, "DOCTYPE"
    ),
    # libxml2 counts how far they grow, before it is asked for a document type.
    "an entity bomb": (doctype(BOMB, "&e9;"), ERROR, XML, ""),
    "an external DTD": (
        doctype('SYSTEM "http://127.0.0.1:9/voc.dtd"', "11"), ERROR, XML, "DOCTYPE"
    ),
    "10 MB of nested elements": (spoil_bytes(nested, XML), ERROR, XML, "not well-formed"),
    "an annotation of 11 MB": (
        spoil_bytes(lambda d: d + b" " * 11_000_000, XML), ERROR, XML, "larger than"
    ),
    # Annotations: what they say
    "no object": (spoil_bytes(no_object, XML), WARNING, XML, "no face is annotated"),
    "a size with a point": (spoil_text(">96<", ">96.0<"), READ, None, None),
    "a comment in a number": (spoil_text(">11<", ">1<!-- -->1<"), READ, None, None),
    "several issues of a file": (
        lambda folder: (
            spoil_text("without_mask", "visor")(folder), set_size(folder, 9, 9)
        ),
        ERROR, XML, "gives 9 x 9 pixels",
    ),
    "no size": (
        spoil_text("<size><width>96</width><height>64</height><depth>3</depth></size>", ""),
        REPAIRED, XML, "gives no size",
    ),
    "a size of 0": (lambda folder: set_size(folder, 0, 0), REPAIRED, XML, "gives no size"),
    "half a size": (spoil_text("<width>96</width>", ""), ERROR, XML, "? x 64 pixels"),
    "a size in words": (spoil_text(">96<", ">wide<"), ERROR, XML, "wide x 64 pixels"),
    "no box": (
        spoil_text(
            "<bndbox><xmin>11</xmin><ymin>8</ymin><xmax>30</xmax><ymax>31</ymax></bndbox>", ""
        ),
        ERROR, XML, "has no bndbox",
    ),
    "no xmax": (spoil_text("<xmax>30</xmax>", ""), ERROR, XML, "bndbox/xmax is ''"),
    "a word for a number": (spoil_text(">11<", ">eleven<"), ERROR, XML, "is 'eleven'"),
    "no number": (spoil_text(">11<", ">nan<"), ERROR, XML, "is 'nan'"),
    "infinity": (spoil_text(">11<", ">inf<"), ERROR, XML, "is 'inf'"),
    "a fraction": (spoil_text(">11<", ">10.7<"), REPAIRED, XML, "rounded to (11, 8, 30, 31)"),
    "a whole number with a point": (spoil_text(">11<", "> 11.0 <"), READ, None, None),
    "negative": (spoil_text(">11<", ">-3<"), REPAIRED, XML, "cut to (0, 8, 30, 31)"),
    "min and max of x swapped": (spoil_text(">11<", ">31<"), ERROR, XML, "min above max"),
    "min and max of y swapped": (spoil_text("<ymin>8<", "<ymin>32<"), ERROR, XML, "min above max"),
    "no width": (spoil_text(">11<", ">30<"), WARNING, XML, "a line or a point"),
    "no height": (spoil_text("<ymin>8<", "<ymin>31<"), WARNING, XML, "a line or a point"),
    "one pixel beyond": (spoil_text(">85<", ">96<"), READ, None, None),
    "two pixels beyond": (spoil_text(">85<", ">97<"), REPAIRED, XML, "cut to (60, 20, 95, 51)"),
    "a tenth beyond": (spoil_text(">85<", ">105<"), REPAIRED, XML, "cut to (60, 20, 95, 51)"),
    "far beyond": (spoil_text(">85<", ">9999<"), ERROR, XML, "of another image"),
    "wholly outside": (
        spoil_bytes(lambda d: d.replace(b">60<", b">160<").replace(b">85<", b">185<"), XML),
        ERROR, XML, "wholly outside",
    ),
    "a face twice": (twin("with_mask"), REPAIRED, XML, "the same as object 0"),
    "a face twice, of two classes": (
        twin("mask_weared_incorrect"), ERROR, XML, "has the box of object 0, which is with_mask"
    ),
    "an unknown class": (spoil_text("without_mask", "visor"), ERROR, XML, "unknown class 'visor'"),
    "no class": (spoil_text("<name>without_mask</name>", ""), ERROR, XML, "has no class"),
    "a filename that leads elsewhere": (
        spoil_text(">b.png<", ">../../x.png<"), WARNING, XML, "its filename is 'x.png'"
    ),
    "a filename with a path": (spoil_text(">b.png<", r">C:\faces\b.png<"), READ, None, None),
    # Names
    "an image without annotation": (
        lambda folder: (folder / XML).unlink(), ERROR, "b.png", "without annotation; add b.xml"
    ),
    "an annotation without image": (
        lambda folder: (folder / "images/b.png").unlink(), ERROR, XML, "image is missing"
    ),
    "names that differ in case": (
        rename(XML, "annotations/B.xml"), REPAIRED, "B.xml", "names differ in case alone"
    ),
    "a name with spaces": (rename_both("my image (2)"), READ, None, None),
    "a name of other letters": (rename_both("\u9762\u5177 \U0001f637"), READ, None, None),
    "an accent in two spellings": (composed_and_not, READ, None, None),
    "an unreadable image of the same name": (
        lambda folder: (
            undecided_image(folder), (folder / "images/b.jpg").write_bytes(b"no image")
        ),
        ERROR, "b.png", "only be of one of",
    ),
    "two images of one name": (undecided_image, ERROR, "b.jpg", "only be of one of"),
    "two images of one name, one of them annotated": (
        another_image, SKIPPED, "images/", "another one of the same name"
    ),
    "two annotations of one image": (
        another_annotation, WARNING, "c.xml", "its filename is 'b.png'"
    ),
}  # fmt: skip


def look(folder, raw, classes=CLASSES):
    """What the stages fetch and parse do."""
    _, skipped = sources.fetch(str(folder), raw)
    table, found = inventory(sources.image_paths(raw), 2, raw.parent / "small.npy")
    paths = sorted((raw / "annotations").iterdir())
    return annotations.parse(paths, table, classes, [*skipped, *found])


def test_the_corpus_is_large():
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_what_becomes_of_a_defective_image(voc, tmp_path, case):
    good, _ = look(voc, tmp_path / "good")
    spoil, severity, file, message = CASES[case]
    spoil(voc)
    faces, validation = look(voc, tmp_path / "raw")

    found = [issues.Issue(**row) for row in validation["issues"]]
    if severity == READ:
        assert found == []
    else:
        name = file if file.endswith("/") else Path(file).name
        assert (name, severity) in {(each.file, each.severity) for each in found}
        assert any(message in each.message for each in found if each.severity == severity)
    only = None if severity == ERROR else {severity} - {READ}
    if only is not None:
        assert {each.severity for each in found} == only
        assert validation["left_out"] == []
    touched = [name for name in faces["image"] if name not in ("a.png", "c.png")]
    if severity == ERROR:
        assert touched == []
    if case != "two annotations of one image":
        others = good[good["image"] != "b.png"].reset_index(drop=True)
        kept = faces[faces["image"].isin(["a.png", "c.png"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, others)
    assert validation["images"] + len(validation["left_out"]) == len(
        list((tmp_path / "raw/images").iterdir())
    )
    # The page tells every issue, and the run stops exactly if there is an error.
    page = validation_page("own", validation)
    assert all(each.file in page for each in found)
    if severity == ERROR:
        with pytest.raises(InputError, match=r"validation\.md") as caught:
            issues.stop_at_errors(found, Path("validation.md"))
        assert Path(file).name in str(caught.value)
    else:
        issues.stop_at_errors(found, Path("validation.md"))


@pytest.mark.parametrize(
    "case", [name for name, (_, severity, *_) in CASES.items() if severity == READ]
)
def test_what_is_read_is_read_as_it_was(voc, tmp_path, case):
    good, _ = look(voc, tmp_path / "good")
    CASES[case][0](voc)
    faces, _ = look(voc, tmp_path / "raw")
    before, after = (
        table[~table["image"].isin(["a.png", "c.png"])].drop(columns="image").reset_index(drop=True)
        for table in (good, faces)
    )
    if case == "one pixel beyond":
        before.loc[1, "xmax"] = 95
    pd.testing.assert_frame_equal(after, before)


def test_all_defects_of_a_dataset_are_reported_at_once(voc, tmp_path):
    (voc / "images/a.png").write_bytes(b"no image")
    (voc / "annotations/b.xml").write_text("<annotation>")
    text = (voc / "annotations/c.xml").read_text()
    (voc / "annotations/c.xml").write_text(
        text.replace("without_mask", "visor").replace(">12<", ">-4<")
    )
    faces, validation = look(voc, tmp_path / "raw")
    assert faces.empty
    assert validation["left_out"] == ["a.png", "b.png", "c.png"]
    assert validation["severities"] == {
        "error": 3,
        "repaired": 1,
        "warning": 0,
        "skipped": 0,
    }
    with pytest.raises(InputError, match="3 error") as caught:
        issues.stop_at_errors(
            [issues.Issue(**row) for row in validation["issues"]], Path("page.md")
        )
    for name in ("a.png", "b.xml", "c.xml: object 1", "strict=false", "page.md"):
        assert name in str(caught.value)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    path.write_bytes(png_of(20_000, 20_000))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(InputError, match="20000 x 20000"):
        read_rgb(path)


def test_cmyk_is_the_colours_that_pillow_sees(tmp_path, draw_scene):
    Image.fromarray(draw_scene(0)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"), int)
    assert np.abs(read_rgb(tmp_path / "a.jpg") - expected).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_turns_it(tmp_path, draw_scene, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(draw_scene(0)).save(tmp_path / "a.png", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), np.asarray(expected))


def dataset(images, faces, side=40, masked=lambda number: number % 2, width=2000):
    """A table of faces, as parse makes it, `faces` in a row in each image."""
    rows = [
        (f"{image}.png", face, width, 400, "x", masked(image * faces + face), x, 100, x + side, 160)
        for image in range(images)
        for face in range(faces)
        for x in [5 + face * (width // faces)]
    ]
    return pd.DataFrame(rows, columns=annotations.COLUMNS)


@cache
def cropped(case):
    faces, min_area, _ = WHOLE[case]
    return crop_table(faces, "manhattan", 5, 2, min_area)[0]


def divided(case, kind):
    faces, samples = WHOLE[case][0], splits.add_flips(cropped(case), True)
    if kind == "random":
        return splits.random_split(samples, 0.2, 0.2, 42)
    groups = pd.Series(range(faces["image"].nunique()), faces["image"].unique())
    return splits.grouped_split(samples, groups, 0.2, 0.2, 42)


# What a whole dataset can lack: its faces, min_area, what is reported (None: nothing is wrong).
WHOLE = {
    "one class": (dataset(20, 3, masked=lambda _: 1), 0, "all of one class"),
    "one class under the threshold": (
        pd.concat([
            dataset(20, 3, masked=lambda _: 1),
            dataset(4, 40, 5, lambda _: 0).assign(image=lambda t: "s" + t["image"]),
        ], ignore_index=True),
        30_000, "all of one class",
    ),
    "one image": (dataset(1, 3), 0, "split:"),
    "five images of one face": (dataset(5, 1), 0, "split:"),
    "100 faces in each": (dataset(12, 100, 10), 0, None),
    "all faces below the threshold": (dataset(12, 10, 10), 10_000_000, "crop.min_area is"),
    "no face": (dataset(0, 1), 0, "no face is left"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["random", "grouped"])
@pytest.mark.parametrize("case", WHOLE)
def test_what_a_whole_dataset_lacks_is_reported(case, kind):
    message = WHOLE[case][2]
    if message is None:
        assert set(divided(case, kind)["split"]) >= {"train", "val", "test"}
        return
    with pytest.raises(InputError) as caught:
        divided(case, kind)
    assert message in str(caught.value)


# What the messages advise, done to the letter. b has 96 x 64 px, its faces' boxes are
# (11, 8, 30, 31) and (60, 20, 85, 51).


def steps(*changes):
    def change_all(folder):
        for change in changes:
            change(folder)

    return change_all


def put(*pairs):
    """Replace texts of b's annotation, wherever they are."""

    def change(folder):
        text = (folder / XML).read_text()
        for wrong, right in pairs:
            assert wrong in text, (wrong, text)
            text = text.replace(wrong, right)
        (folder / XML).write_text(text)

    return change


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def remove(name):
    return lambda folder: (folder / name).unlink()


def image_of(width, height, name="b.png"):
    return lambda folder: encode(
        folder / "images" / name, Image.effect_noise((width, height), 50).convert("RGB"), "PNG"
    )


def without_orientation(folder):
    encode(folder / "images/b.jpg", Image.open(folder / "images/b.jpg"), "JPEG")


def restore(folder):
    """Write what is right."""
    (folder / XML).write_bytes((folder.parent / "right.xml").read_bytes())


def box(*corners):
    inner = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(annotations.BOX, corners, strict=True)
    )
    return f"<bndbox>{inner}</bndbox>"


EMPTY = "<annotation></annotation>"
FIRST, SECOND = box(11, 8, 30, 31), box(60, 20, 85, 51)
FACE = "<object><name>with_mask</name>{}</object>"
TURNED = turned(6)
AS_SHOWN = put((">96<", ">w<"), (">64<", ">96<"), (">w<", ">64<"))  # the size
ON_SHOWN = put((SECOND, box(13, 60, 43, 85)))  # and a box of the image as it is shown
OUTSIDE, FAR_OUT = put((SECOND, box(160, 20, 185, 51))), put((SECOND, box(60, 20, 130, 51)))
COLUMNS = put((FIRST, box(8, 11, 31, 30)), (SECOND, box(20, 60, 51, 85)))
WIDTHS = put((FIRST, box(11, 8, 19, 23)), (SECOND, box(60, 20, 25, 31)))
TWICE = put((">96<", ">192<"), (">64<", ">128<"), (FIRST, box(22, 16, 60, 62)),
            (SECOND, box(120, 40, 170, 102)))  # fmt: skip
SHARES = put((FIRST, box(0.11, 0.13, 0.31, 0.48)), (SECOND, box(0.63, 0.31, 0.89, 0.8)))
TWO_BOXES = put((FIRST + "</object>", FIRST + SECOND + "</object>"),
                (f"<object><name>without_mask</name>{SECOND}</object>", ""))  # fmt: skip
INSIDE = put((FIRST + "</object>", FIRST), ("</annotation>", "</object></annotation>"))
ROTATED = put((SECOND, "<robndbox><cx>70</cx></robndbox>"))
PIXELS = put(("<xmin>11<", "<xmin>11px<"))
UNKNOWN = put(("without_mask", "visor"))
TWINS = put((SECOND, FIRST))
# How b is spoilt, words of the advice, and what is done.
REMEDIES = [
    (TURNED, "remove the orientation", without_orientation),
    (TURNED, "draw them on the image as it is shown", steps(AS_SHOWN, ON_SHOWN)),
    (steps(TURNED, AS_SHOWN), "of the image as it is shown", ON_SHOWN),
    (steps(turned(6), ON_SHOWN), "correct the size", AS_SHOWN),
    (AS_SHOWN, "correct the size", restore),
    (put((">96<", ">90<")), "correct the size", restore),
    (put((">96<", ">90<")), "put the right image there", image_of(90, 64)),
    (TWICE, "divide the size and all boxes by 2", restore),
    (TWICE, "put the image of that size there", image_of(192, 128)),
    (OUTSIDE, "correct the box", restore),
    (steps(put((">96<", ">200<"), (">64<", ">80<")), OUTSIDE), "put the right image there",
     image_of(200, 80)),
    (FAR_OUT, "correct the box", restore),
    (COLUMNS, "fit with x and y exchanged", restore),
    (WIDTHS, "write xmax = x + width and ymax = y + height", restore),
    (put(("<xmin>11<", "<xmin>32<"), ("<xmax>30<", "<xmax>11<")), "exchange them",
     put(("<xmin>32<", "<xmin>11<"), ("<xmax>11<", "<xmax>32<"))),
    (SHARES, "multiply x by the width and y by the height", restore),
    (put((FIRST, box(1, 1, 2, 2)), (SECOND, "")), "in pixels", restore),
    (PIXELS, "write a plain number of pixels", put(("11px", "11"))),
    (put((SECOND, "")), "add it", restore),
    (put((SECOND, "")), "remove the object",
     put(("<object><name>without_mask</name></object>", ""))),
    (TWO_BOXES, "make one object of each",
     put((SECOND + "</object>", "</object>" + FACE.format(SECOND)))),
    (INSIDE, "move them directly into <annotation>", restore),
    (ROTATED, "export upright boxes", restore),
    (TWINS, "correct one", put(("without_mask", "with_mask"))),
    (TWINS, "correct one", restore),
    (UNKNOWN, "correct the file", restore),
    (put(("<name>without_mask</name>", "")), "write one into <name>", restore),
    (write(XML, "<html/>"), "export it as Pascal VOC", restore),
    (write(XML, "<annotation>"), "correct the file", restore),
    (write(XML, "<!DOCTYPE annotation><annotation/>"), "take DOCTYPE out", write(XML, EMPTY)),
    (write(XML, " " * 10_000_001), "replace it", restore),
    (remove("images/b.png"), "add it", image_of(96, 64)),
    (remove("images/b.png"), "remove this file", remove(XML)),
    (remove(XML), "add b.xml, which may hold no object", write(XML, EMPTY)),
    (remove(XML), "remove the image", remove("images/b.png")),
    (undecided_image, "remove the others", remove("images/b.jpg")),
    (undecided_image, "rename them and give each an annotation of its name",
     steps(rename("images/b.jpg", "images/d.jpg"), write("annotations/d.xml", EMPTY))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "advice", "remedy"), REMEDIES, ids=[advice for _, advice, _ in REMEDIES]
)
def test_what_a_message_advises_helps(voc, tmp_path, spoil, advice, remedy):
    (tmp_path / "right.xml").write_bytes((voc / XML).read_bytes())
    spoil(voc)
    _, validation = look(voc, tmp_path / "wrong")
    errors = [row["message"] for row in validation["issues"] if row["severity"] == "error"]
    assert any(advice in message for message in errors)

    remedy(voc)
    faces, validation = look(voc, tmp_path / "raw")
    assert validation["severities"]["error"] == 0, validation["issues"]
    assert {"a.png", "c.png"} <= {*faces["image"]}


def test_an_unknown_class_can_be_added(voc, tmp_path):
    UNKNOWN(voc)
    faces, validation = look(voc, tmp_path / "raw", {**CLASSES, "visor": "without_mask"})
    assert validation["issues"] == []
    assert list(faces["label"]) == [1, 0] * 3
