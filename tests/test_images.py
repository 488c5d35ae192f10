"""Decoding, describing and comparing whole photographs."""

import hashlib
import re
from collections import Counter

import cv2
import numpy as np
import pandas as pd
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
def test_a_truncated_file_is_no_photograph(tmp_path, draw_scene, suffix, share):
    path = write(tmp_path / f"a.{suffix}", draw_scene(0))
    complete = path.read_bytes()
    assert images.read_rgb(path).shape == (64, 96, 3)
    path.write_bytes(complete[: int(share * len(complete))])
    with pytest.raises(InputError, match=re.escape(str(path))):
        images.read_rgb(path)


def test_a_missing_file_is_told_by_name(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png"):
        images.read_rgb(tmp_path / "gone.png")


def test_survey_lists_all_broken_files_at_once(tmp_path, draw_scene):
    paths = [write(tmp_path / f"{seed}.png", draw_scene(seed)) for seed in range(4)]
    paths[1].write_bytes(b"no image")
    paths[3].write_bytes(paths[0].read_bytes()[:200])
    table, defects = images.survey(paths, 2)
    assert list(table["image"]) == ["0.png", "2.png"]
    assert [(each.file, each.outcome) for each in defects] == [
        ("1.png", "error"), ("3.png", "error")
    ]  # fmt: skip


def test_survey_describes_each_photograph_and_decodes_it_once(tmp_path, draw_scene, monkeypatch):
    sizes = [(96, 64), (31, 77), (120, 40)]
    paths = [
        write(tmp_path / f"{seed}.png", draw_scene(seed, *size)) for seed, size in enumerate(sizes)
    ]
    decode, decoded = cv2.imdecode, Counter()

    def counting(data, *arguments):
        decoded[data.tobytes()] += 1
        return decode(data, *arguments)

    monkeypatch.setattr(cv2, "imdecode", counting)
    table, defects = images.survey(paths, 2)
    assert defects == []
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
    table, _ = images.survey(paths, 2)
    group = table.set_index("image")["group"]
    assert set(group[list(same)]) == {group["00.png"]}
    assert group[list(others)].nunique() == len(others)
    assert group["00.png"] not in set(group[list(others)])


def test_difference_hash_against_a_loop_over_cells():
    # A grey photograph whose 17 x 16 cells hold 4 x 5 px each, so that a cell's mean is exact.
    rng = np.random.default_rng(3)
    cells = rng.integers(10, 245, (16, 17))
    gray = np.kron(cells, np.ones((5, 4), int)) + rng.integers(-3, 4, (80, 68))
    bits = np.unpackbits(
        np.frombuffer(
            images.difference_hash(np.repeat(gray[..., None], 3, 2).astype(np.uint8)), np.uint8
        )
    ).reshape(16, 16)
    decided = 0
    for row in range(16):
        means = [gray[5 * row : 5 * row + 5, 4 * c : 4 * c + 4].mean() for c in range(17)]
        for column in range(16):
            rise = means[column + 1] - means[column]
            if abs(rise) > 1:  # less than one grey level is a matter of rounding
                decided += 1
                assert bits[row, column] == (rise > 0)
    assert decided > 240


def flipped(hash_, bits):
    """The hash with the given bits turned over, as hexadecimal text."""
    number = int(hash_, 16)
    for bit in bits:
        number ^= 1 << bit
    return f"{number:064x}"


def test_same_scene_is_16_bits_apart_and_chains_are_joined():
    base = hashlib.sha256(b"a scene").hexdigest()
    hashes = [
        base,
        flipped(base, range(16)),  # 16 from the first
        flipped(base, range(32)),  # 32 from the first, 16 from the second
        flipped(base, range(100, 117)),  # 17 from the first
        hashlib.sha256(b"another scene").hexdigest(),
    ]
    group = images.same_scene(hashes)
    assert group[0] == group[1] == group[2]
    assert len(set(group)) == 3


def test_no_photographs_show_no_scene():
    assert images.same_scene([]).tolist() == []


def test_same_scene_against_repeated_joining():
    rng = np.random.default_rng(5)
    hashes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(12)]
    for _ in range(40):
        hashes.append(
            flipped(rng.choice(hashes), rng.choice(256, rng.integers(1, 24), False).tolist())
        )
    joined = list(range(len(hashes)))
    for _ in hashes:
        for i, first in enumerate(hashes):
            for j, second in enumerate(hashes):
                if (int(first, 16) ^ int(second, 16)).bit_count() <= 16:
                    joined[i] = joined[j] = min(joined[i], joined[j])
    found = pd.Series(images.same_scene(pd.Series(hashes)))
    assert 12 < len(set(joined)) < len(hashes)
    assert found.groupby(joined).nunique().eq(1).all()
    assert found.nunique() == len(set(joined))
    assert sorted(set(found)) == list(range(found.nunique()))
