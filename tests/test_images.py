"""Decoding, describing and comparing whole images."""

import hashlib
import re
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from facemask.data import images
from facemask.errors import InputError


def write(path, rgb):
    assert cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def test_16_bit_rgba_becomes_the_high_bytes_of_rgb(tmp_path):
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 2**16, (31, 43, 4)).astype(np.uint16)
    rgba[0, :4, :3] = [[0x00FF] * 3, [0x0100] * 3, [0x7FFF] * 3, [0xFFFF] * 3]
    rgba[0, :4, 3] = 0, 1, 0x8000, 0xFFFF  # alpha neither blends nor darkens
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]))
    found = images.read_rgb(path)
    assert found.dtype == np.uint8
    assert found[0, :4, 0].tolist() == [0x00, 0x01, 0x7F, 0xFF]
    np.testing.assert_array_equal(found, rgba[..., :3] >> 8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_8_bit_png_of_any_kind_as_pillow_reads_it(tmp_path, draw_scene, mode):
    scene = Image.fromarray(draw_scene(0)).convert(mode)
    if mode == "RGBA":
        scene.putalpha(Image.fromarray(draw_scene(1)[..., 0]))
    scene.save(tmp_path / "a.png")
    expected = Image.open(tmp_path / "a.png").convert("RGB")
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "a.png"), np.asarray(expected))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
@pytest.mark.parametrize("share", [0, 0.6, 0.97])
def test_a_truncated_file_is_no_image(tmp_path, draw_scene, suffix, share):
    path = write(tmp_path / f"a.{suffix}", draw_scene(0))
    complete = path.read_bytes()
    assert images.read_rgb(path).shape == (64, 96, 3)
    path.write_bytes(complete[: int(share * len(complete))])
    with pytest.raises(InputError, match=re.escape(str(path))):
        images.read_rgb(path)


def test_a_missing_file_is_reported_by_name(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png"):
        images.read_rgb(tmp_path / "gone.png")


def test_inventory_lists_all_broken_files_at_once(tmp_path, draw_scene):
    paths = [write(tmp_path / f"{seed}.png", draw_scene(seed)) for seed in range(4)]
    paths[1].write_bytes(b"no image")
    paths[3].write_bytes(paths[0].read_bytes()[:200])
    table, issues = images.inventory(paths, 2)
    assert list(table["image"]) == ["0.png", "2.png"]
    assert [(each.file, each.severity) for each in issues] == [
        ("1.png", "error"), ("3.png", "error")
    ]  # fmt: skip


def test_inventory_describes_each_image_and_decodes_it_once(tmp_path, draw_scene, monkeypatch):
    sizes = [(96, 64), (31, 77), (120, 40)]
    paths = [
        write(tmp_path / f"{seed}.png", draw_scene(seed, *size)) for seed, size in enumerate(sizes)
    ]
    decode, decoded = cv2.imdecode, Counter()

    def counting(data, *arguments):
        decoded[data.tobytes()] += 1
        return decode(data, *arguments)

    monkeypatch.setattr(cv2, "imdecode", counting)
    table, issues = images.inventory(paths, 2)
    assert issues == []
    assert list(table.columns) == ["image", "width", "height", "sha256", "hash", "group"]
    assert list(table["image"]) == ["0.png", "1.png", "2.png"]
    assert list(zip(table["width"], table["height"], strict=True)) == sizes
    assert list(table["sha256"]) == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    ]
    assert table["group"].nunique() == 3
    assert decoded == {path.read_bytes(): 1 for path in paths}


def test_copies_of_a_scene_are_found_and_other_scenes_are_not(tmp_path, draw_scene):
    rng = np.random.default_rng(0)
    scene = draw_scene(0, 300, 200)
    softer = np.clip(scene.astype(int) // 2 + 50, 0, 255).astype(np.uint8)
    noisy = np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8)
    same = {
        "00.png": scene,
        "01.png": scene,
        "02.png": softer,
        "03.png": cv2.convertScaleAbs(scene, beta=15),  # brighter
        "04.jpg": scene,
        "05.png": cv2.resize(scene, (240, 160), interpolation=cv2.INTER_AREA),
        "06.png": noisy,
    }
    others = {f"{n}.png": draw_scene(n, 300, 200) for n in range(10, 40)}
    others["40.png"] = scene[:, ::-1]
    others["41.png"] = 255 - scene
    paths = [write(tmp_path / k, v) for k, v in (same | others).items()]
    table, _ = images.inventory(paths, 2)
    group = table.set_index("image")["group"]
    assert set(group[list(same)]) == {group["00.png"]}
    assert group[list(others)].nunique() == len(others)
    assert group["00.png"] not in set(group[list(others)])
