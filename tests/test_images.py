"""Decoding and describing whole images: what Pillow and OpenCV read without a warning is read."""

import hashlib
import io
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from facemask.data import decode, images
from facemask.errors import InputError

NOISE = np.random.default_rng(0)


def encoded(image, form, **options):
    packed = io.BytesIO()
    image.save(packed, form, **options)
    return packed.getvalue()


def exif(orientation=6):
    tags = Image.Exif()
    tags[decode.ORIENTATION] = orientation
    return tags


def read(folder, data, name="a.png"):
    path = folder / name
    path.write_bytes(data)
    return decode.read_rgb(path)


def is_read(folder, data):
    try:
        return read(folder, data) is not None
    except InputError:
        return False


def issues_of(folder, data, name="a.png"):
    (folder / name).write_bytes(data)
    return images.inventory([folder / name], 1, folder / "small.npy")[1]


@pytest.fixture(scope="module")
def scene(draw_scene):
    return Image.fromarray(draw_scene(0, 45, 31))


# JPEG


def segment(kind, data):
    """A segment of a JPEG."""
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data


def with_segments(*segments):
    return lambda jpeg: jpeg[:2] + b"".join(segments) + jpeg[2:]


def with_thumbnail(jpeg):
    """A whole JPEG within the EXIF of another."""
    return with_segments(segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + jpeg))(jpeg)


def same(jpeg):
    return jpeg


JPEGS = {  # name: Pillow's mode, how it is saved, how it is changed
    "baseline": ("RGB", {}, same),
    "progressive": ("RGB", {"progressive": True}, same),
    "optimised": ("RGB", {"optimize": True}, same),
    "restart markers": ("RGB", {"restart_marker_blocks": 1}, same),
    "progressive with restart markers": (
        "RGB", {"progressive": True, "restart_marker_blocks": 1}, same,
    ),
    "grey": ("L", {}, same),
    "inks": ("CMYK", {}, same),
    "a comment": ("RGB", {"comment": b"\xff\xd9\xff\xd8\xff\xda"}, same),
    "a colour profile": ("RGB", {"icc_profile": NOISE.bytes(70_000)}, same),
    "an EXIF thumbnail": ("RGB", {}, with_thumbnail),
    "fill bytes": ("RGB", {}, with_segments(b"\xff" * 5)),
    "every application's segment": (
        "RGB", {}, with_segments(*(segment(0xE0 + n, b"\xff\xd9 \xff\xda") for n in range(2, 14))),
    ),
}  # fmt: skip
TRAILERS = {
    "zeros": bytes(100),
    "a start of a scan": b"\xff\xd8\xff\xda\0\x08\1\1\0\0\x3f\0",
    "bytes of a video": b"\0\0\0\x18ftypmp42" + NOISE.bytes(2_500_000),
    "a cut JPEG": encoded(Image.new("RGB", (64, 64), "red"), "JPEG")[:-40],
}


def jpeg_of(scene, kind):
    mode, options, change = JPEGS[kind]
    return change(encoded(scene.convert(mode), "JPEG", **options))


@pytest.fixture
def oracle(capfd):
    """A function: whether Pillow loads an image, and OpenCV does so without a word."""

    def judge(data):
        try:
            Image.open(io.BytesIO(data)).load()
        except (OSError, SyntaxError):
            return False
        capfd.readouterr()
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return decoded is not None and capfd.readouterr().err == ""

    return judge


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_is_read_if_it_is_whole_wherever_it_is_cut(tmp_path, scene, oracle, kind):
    whole = jpeg_of(scene, kind)
    cuts = {*range(len(whole) - 8, len(whole)), *NOISE.integers(2, len(whole), 25).tolist()}
    assert oracle(whole) and is_read(tmp_path, whole)
    for cut in cuts:
        assert is_read(tmp_path, whole[:cut]) == oracle(whole[:cut]), cut


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("kind", ["baseline", "progressive", "an EXIF thumbnail"])
def test_what_follows_a_whole_jpeg_does_not_matter(tmp_path, scene, kind, trailer):
    whole = jpeg_of(scene, kind)
    expected = read(tmp_path, whole)
    np.testing.assert_array_equal(read(tmp_path, whole + TRAILERS[trailer]), expected)


@pytest.mark.parametrize("kind", ["baseline", "progressive", "an EXIF thumbnail"])
def test_a_trailer_does_not_make_a_cut_jpeg_whole(tmp_path, scene, kind):
    whole = jpeg_of(scene, kind)
    for cut in np.linspace(len(whole) // 2, len(whole) - 10, 8).astype(int):
        assert not is_read(tmp_path, whole[:cut] + TRAILERS["bytes of a video"])
        assert not is_read(tmp_path, whole[:cut] + bytes(1000))  # as a broken download is filled


def test_the_first_image_of_a_multi_picture_file_is_read(tmp_path, scene):
    further = [scene.rotate(90)] * 2
    packed = encoded(scene, "MPO", save_all=True, append_images=further)
    assert Image.open(io.BytesIO(packed)).format == "MPO"
    np.testing.assert_array_equal(
        read(tmp_path, packed), read(tmp_path, encoded(scene, "JPEG", quality=75))
    )
    assert issues_of(tmp_path, packed, "a.jpg") == []


# All formats

OPTIONS = {  # so that no loss hides a difference
    "WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}  # fmt: skip
BY_FORMAT = {form: suffix for suffix, form in reversed(decode.FORMATS.items())}


@pytest.mark.parametrize("suffix", decode.FORMATS)
@pytest.mark.parametrize("share", [0, 0.6, 0.97])
def test_a_truncated_file_is_no_image(tmp_path, draw_scene, suffix, share):
    whole = encoded(Image.fromarray(draw_scene(0)), decode.FORMATS[suffix])
    assert read(tmp_path, whole).shape == (64, 96, 3)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=re.escape(str(path))):
        decode.read_rgb(path)


@pytest.mark.parametrize("form", BY_FORMAT)
def test_what_follows_an_image_does_not_matter(tmp_path, scene, form):
    whole = encoded(scene, form)
    expected = read(tmp_path, whole)
    np.testing.assert_array_equal(read(tmp_path, whole + NOISE.bytes(5000)), expected)


def chunk(kind, data):
    """A chunk of a PNG."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(chunk(b"IEND", b""), b"", id="no end"),
        pytest.param(b"IEND", b"IENd", id="another end"),
        pytest.param(b"\x08\x02\0\0\0", b"\x08\x06\0\0\0", id="wrong checksum"),
    ],
)
def test_a_png_that_is_not_whole_is_no_image(tmp_path, scene, old, new):
    whole = encoded(scene, "PNG")
    assert whole.count(old) == 1
    assert not is_read(tmp_path, whole.replace(old, new))


def with_alpha(scene, mode):
    image = scene.convert(mode)
    image.putalpha(scene.getchannel(0).rotate(180))
    return image


KINDS = {
    "RGB": lambda scene: scene,
    "grey": lambda scene: scene.convert("L"),
    "bits": lambda scene: scene.convert("1"),
    "a palette": lambda scene: scene.quantize(64),
    "a palette of 2 bits": lambda scene: scene.quantize(4),
    "RGB and alpha": lambda scene: with_alpha(scene, "RGB"),
    "grey and alpha": lambda scene: with_alpha(scene, "L"),
    "inks": lambda scene: scene.convert("CMYK"),
    "brightness and colour": lambda scene: scene.convert("YCbCr"),
    "Lab": lambda scene: scene.convert("LAB"),
}
SAVED = {
    **{form: (form, OPTIONS.get(form, {})) for form in BY_FORMAT},
    "DIB": ("DIB", {}),
    "a lossy WebP": ("WEBP", {}),
    "a lossy AVIF": ("AVIF", {}),
    "a PNG with a transparent colour": ("PNG", {"transparency": 3}),
    "a GIF with a transparent colour": ("GIF", {"transparency": 3}),
    **{
        f"a TIFF by {name}": ("TIFF", {"compression": name})
        for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits", "zstd", "lzma")
    },
    "a TIFF of any size": ("TIFF", {"big_tiff": True}),
}


@pytest.mark.parametrize("saved", SAVED)
def test_every_kind_of_a_format_is_read_as_pillow_reads_it(tmp_path, scene, saved):
    form, options = SAVED[saved]
    known = 0
    for kind, convert in KINDS.items():
        try:
            data = encoded(convert(scene), form, **options)
        except (OSError, ValueError):  # a kind that the format does not have
            continue
        known += 1
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        # OpenCV turns inks into RGB in its own way.
        tolerance = 1 if (form, kind) == ("JPEG", "inks") else 0
        np.testing.assert_allclose(
            read(tmp_path, data).astype(int), expected, atol=tolerance, err_msg=kind
        )
    assert known >= 3


@pytest.mark.parametrize(
    "form", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "a TIFF of 16 bits"]
)
@pytest.mark.parametrize("orientation", range(1, 10))  # 9 is none
def test_an_image_is_turned_by_its_orientation(tmp_path, scene, form, orientation):
    if form == "a TIFF of 16 bits":
        grey = np.asarray(scene.convert("L")).astype(np.uint16) * 257
        image, form, options = Image.fromarray(grey), "TIFF", {}
    else:
        image, options = scene, OPTIONS.get(form, {})
    where = {"tiffinfo": exif(orientation)} if form == "TIFF" else {"exif": exif(orientation)}
    if form == "MPO":
        where |= {"save_all": True, "append_images": [scene]}
    data = encoded(image, form, **where, **options)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    shown = Image.fromarray((np.asarray(shown) >> 8).astype(np.uint8)) if image != scene else shown

    np.testing.assert_array_equal(read(tmp_path, data), np.asarray(shown.convert("RGB")))
    suffix = BY_FORMAT.get(form, ".jpg")
    (tmp_path / f"a{suffix}").write_bytes(data)
    paths = [tmp_path / f"a{suffix}"]
    table, found = images.inventory(paths, 1, tmp_path / "small.npy")
    expected = orientation if orientation <= 8 else 1
    assert table.loc[0, ["width", "height", "orientation"]].tolist() == [*shown.size, expected]
    assert [each.severity for each in found] == ["warning"] * (expected > 1)


def test_exif_behind_the_pixels_of_a_png_turns_it(tmp_path, scene):
    data = encoded(scene, "PNG")
    behind = chunk(b"eXIf", exif().tobytes()[6:])
    turned = data.replace(chunk(b"IEND", b""), behind + chunk(b"IEND", b""))
    np.testing.assert_array_equal(
        read(tmp_path, turned), np.asarray(scene.rotate(-90, expand=True))
    )
    assert "EXIF" in issues_of(tmp_path, turned)[0].message


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF", "GIF", "TIFF"])
def test_of_several_frames_or_pages_the_first_is_read_and_it_is_said(tmp_path, scene, form):
    options = OPTIONS.get(form, {})
    one = encoded(scene, form, **options)
    several = encoded(scene, form, save_all=True, append_images=[scene.rotate(180)], **options)
    np.testing.assert_array_equal(read(tmp_path, several), read(tmp_path, one))
    suffix = BY_FORMAT[form]
    assert issues_of(tmp_path, one, f"a{suffix}") == []
    [issue] = issues_of(tmp_path, several, f"b{suffix}")
    assert (issue.severity, "the first" in issue.message) == ("warning", True)


@pytest.mark.parametrize("suffix", decode.FORMATS)
def test_a_suffix_that_lies_is_a_warning(tmp_path, scene, suffix):
    for form in BY_FORMAT:
        found = issues_of(tmp_path, encoded(scene, form), f"a{suffix}")
        expected = [] if decode.FORMATS[suffix] == form else ["warning"]
        assert [each.severity for each in found] == expected, form
    assert issues_of(tmp_path, encoded(scene, "DIB"), "a.dib") == []


def test_formats_that_are_not_read_are_named(tmp_path, scene):
    heic = b"\0\0\0\x18ftypheic" + bytes(500)
    for data, name in (heic, "HEIC"), (encoded(scene, "JPEG2000"), "JPEG 2000"):
        [issue] = issues_of(tmp_path, data, "a.jpg")
        assert (issue.severity, name in issue.message) == ("error", True)
    assert not decode.NOT_READ.keys() & decode.FORMATS.keys()


# Depth


def png_16(image, **options):
    done, data = cv2.imencode(".png", image, **options)
    assert done
    return data.tobytes()


def tiff_16(image, planes=1, photometric=2):
    """A TIFF of 16-bit samples, of which Pillow writes no colours; shape (height, width, n)."""
    height, width, samples = image.shape
    pixels = (image if planes == 1 else np.moveaxis(image, 2, 0)).astype("<u2").tobytes()
    parts = samples if planes == 2 else 1
    fields = [
        (256, width), (257, height), (258, *[16] * samples), (259, 1), (262, photometric),
        (273, *[0] * parts), (277, samples), (278, height), (279, *[len(pixels) // parts] * parts),
        (284, planes),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(fields) + 4
    pixels_at = start + sum(4 * len(values) for _, *values in fields if len(values) > 1)
    head, more = struct.pack("<H", len(fields)), b""
    for tag, *values in fields:
        if tag == 273:
            values = [pixels_at + part * len(pixels) // parts for part in range(parts)]
        value = struct.pack("<I", start + len(more)) if len(values) > 1 else b""
        more += struct.pack(f"<{len(values)}I", *values) if len(values) > 1 else b""
        head += struct.pack("<HHI", tag, 4, len(values)) + (value or struct.pack("<I", values[0]))
    return b"II*\0" + struct.pack("<I", 8) + head + bytes(4) + more + pixels


def samples(greatest, channels=3):
    """16-bit samples whose greatest is known."""
    image = NOISE.integers(0, greatest + 1, (31, 43, channels)).astype(np.uint16)
    image[3, 4, 0] = greatest
    return image


def test_16_bit_rgba_becomes_the_high_bytes_of_rgb(tmp_path):
    rgba = samples(65535, 4)
    rgba[0, :4, :3] = [[0x00FF] * 3, [0x0100] * 3, [0x7FFF] * 3, [0xFFFF] * 3]
    rgba[0, :4, 3] = 0, 1, 0x8000, 0xFFFF  # alpha neither blends nor darkens
    found = read(tmp_path, png_16(np.ascontiguousarray(rgba[..., [2, 1, 0, 3]])))
    assert found.dtype == np.uint8
    assert found[0, :4, 0].tolist() == [0x00, 0x01, 0x7F, 0xFF]
    np.testing.assert_array_equal(found, rgba[..., :3] >> 8)


@pytest.mark.parametrize(
    ("greatest", "bits", "severity"),
    [
        (0, 16, None),  # black
        (200, 8, "repaired"),
        (255, 8, "repaired"),
        (1023, 10, "repaired"),
        (1024, 12, "repaired"),
        (4095, 12, "repaired"),
        (4096, 16, "warning"),  # of 14 bits, or dark
        (16383, 16, "warning"),
        (16384, 16, None),
        (65535, 16, None),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "PNG with alpha", "grey PNG", "TIFF", "grey TIFF"])
def test_16_bit_samples_of_fewer_bits_are_read_by_these(tmp_path, greatest, bits, severity, kind):
    image = samples(greatest, 1 if "grey" in kind else 3)
    suffix = ".tif" if "TIFF" in kind else ".png"
    if "TIFF" in kind:
        data = tiff_16(image, photometric=1 if "grey" in kind else 2)
    elif "alpha" in kind:
        data = png_16(np.dstack([image[..., ::-1], samples(65535, 1)]))
    else:
        data = png_16(image[..., ::-1])
    expected = np.broadcast_to(image >> (bits - 8), (31, 43, 3))
    np.testing.assert_array_equal(read(tmp_path, data), expected)
    found = issues_of(tmp_path, data, f"a{suffix}")
    assert [each.severity for each in found] == ([severity] if severity else [])


def test_a_dark_image_of_8_bits_is_left_as_it_is(tmp_path):
    dark = samples(9).astype(np.uint8)
    data = encoded(Image.fromarray(dark), "PNG")
    np.testing.assert_array_equal(read(tmp_path, data), dark)
    assert issues_of(tmp_path, data) == []


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(Image.new("F", (9, 9)), "TIFF"), id="floats"),
        pytest.param(encoded(Image.new("I", (9, 9)), "TIFF"), id="32 bits"),
        pytest.param(encoded(Image.new("I;16", (9, 9)), "PPM"), id="a PPM of 16 bits"),
        pytest.param(tiff_16(samples(65535), planes=2), id="planes of 16 bits"),
        pytest.param(tiff_16(samples(65535, 1), photometric=0), id="16 bits, 0 is white"),
    ],
)
def test_samples_that_would_be_read_wrong_are_refused(tmp_path, data):
    [issue] = issues_of(tmp_path, data)
    assert (issue.severity, "8 bits" in issue.message) == ("error", True)


# Files


def gif_of(width, height):
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6)
    return head + b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\0\x02\x02\x4c\x01\0;"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gif_of(60_000, 60_000), id="GIF"),
        pytest.param(b"P6 60000 60000 255\n", id="PPM"),
        pytest.param(
            tiff_16(samples(9)).replace(
                struct.pack("<HHII", 256, 4, 1, 43), struct.pack("<HHII", 256, 4, 1, 43_000_000)
            ),
            id="TIFF",
        ),
        pytest.param(
            encoded(Image.new("RGB", (99, 9)), "AVIF").replace(
                struct.pack(">II", 99, 9), struct.pack(">II", 14_000, 14_000)
            ),
            id="AVIF",
        ),
        pytest.param(
            encoded(Image.new("RGB", (9, 9)), "JPEG").replace(b"\0\x09\0\x09", b"\xfd\xe8\xfd\xe8"),
            id="JPEG",
        ),
    ],
)
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, data):
    with pytest.raises(InputError, match="pixels are more than"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: None, id="missing"),
        pytest.param(lambda path: path.mkdir(), id="a folder"),
        pytest.param(lambda path: path.symlink_to(path), id="a link to itself"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(
            lambda path: path.write_bytes(
                encoded(Image.new("RGB", (9, 9)), "PNG").replace(
                    b"IDAT", b"IDAT" + zlib.compress(bytes(50_000_000))
                )
            ),
            id="more than its rows",
        ),
    ],
)
def test_a_file_that_is_no_image_is_reported_by_name(tmp_path, spoil):
    spoil(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"gone\.png"):
        decode.read_rgb(tmp_path / "gone.png")
    [issue] = images.inventory([tmp_path / "gone.png"], 1, tmp_path / "small.npy")[1]
    assert (issue.file, issue.severity) == ("gone.png", "error")


def test_inventory_lists_all_broken_files_at_once(tmp_path, draw_scene):
    paths = [tmp_path / f"{seed}.png" for seed in range(4)]
    for seed, path in enumerate(paths):
        path.write_bytes(encoded(Image.fromarray(draw_scene(seed)), "PNG"))
    paths[1].write_bytes(b"no image")
    paths[3].write_bytes(paths[0].read_bytes()[:200])
    table, issues = images.inventory(paths, 2, tmp_path / "small.npy")
    thumbnails = np.load(tmp_path / "small.npy")
    assert list(table["image"]) == ["0.png", "2.png"]
    assert thumbnails.shape == (2, images.THUMBNAIL, images.THUMBNAIL)
    assert [(each.file, each.severity) for each in issues] == [
        ("1.png", "error"), ("3.png", "error")
    ]  # fmt: skip


def test_inventory_describes_each_image(tmp_path, draw_scene):
    sizes = [(96, 64), (31, 77), (120, 40)]
    scenes = [draw_scene(seed, *size) for seed, size in enumerate(sizes)]
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for path, scene in zip(paths, scenes, strict=True):
        path.write_bytes(encoded(Image.fromarray(scene), "PNG"))
    table, issues = images.inventory(paths, 2, tmp_path / "small.npy")
    thumbnails = np.load(tmp_path / "small.npy")
    assert issues == []
    assert list(table.columns) == ["image", "width", "height", "orientation", "sha256"]
    assert list(table["image"]) == ["0.png", "1.png", "2.png"]
    assert list(zip(table["width"], table["height"], strict=True)) == sizes
    assert list(table["sha256"]) == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    ]
    np.testing.assert_array_equal(thumbnails, [images.thumbnail(scene) for scene in scenes])
