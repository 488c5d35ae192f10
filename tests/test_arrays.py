"""Packed inputs, against cutting and resizing each crop by itself."""

from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest

from facemask.data.affine import resize
from facemask.data.arrays import Crops, in_batches, native_shapes, pack, shrunk
from facemask.errors import InputError

SIZES = (16, 40)
LIMIT = 48


@pytest.fixture
def images(tmp_path, draw_scene):
    """Three images in a folder, and their pixels by file name."""
    folder = tmp_path / "images"
    folder.mkdir()
    scenes = {f"{seed}.png": draw_scene(seed, 90 + seed, 60) for seed in range(3)}
    for name, scene in scenes.items():
        cv2.imwrite(str(folder / name), scene[..., ::-1])
    return folder, scenes


@pytest.fixture
def samples():
    """Rows of two of the images in turns, the last two of them flips."""
    rows = [
        ("2.png", 0, 0, 90, 60, 0),  # the whole image but two columns
        ("0.png", 10, 5, 42, 37, 0),  # 32 x 32
        ("2.png", 80, 50, 92, 60, 0),  # smaller than both inputs, in the corner
        ("0.png", 0, 0, 20, 60, 0),  # higher than wide
        ("0.png", 10, 5, 42, 37, 1),
        ("2.png", 80, 50, 92, 60, 1),
    ]
    table = pd.DataFrame(rows, columns=["image", "x0", "y0", "x1", "y1", "flip"])
    table.insert(0, "sample", table.index)
    return table


def packed(samples, folder, out, workers=2, extra=None):
    outputs = {size: out / f"{size}.npy" for size in SIZES}
    extra = samples[:0] if extra is None else extra
    pack(samples, extra, folder, outputs, out / "own", LIMIT, workers)
    return {size: np.load(path) for size, path in outputs.items()}


def test_rows_are_the_crops_cut_and_stretched_one_by_one(images, samples, tmp_path):
    folder, scenes = images
    arrays = packed(samples, folder, tmp_path)
    for size, array in arrays.items():
        assert array.dtype == np.uint8
        assert array.shape == (len(samples), size, size, 3)
        for row in samples.itertuples():
            crop = scenes[row.image][row.y0 : row.y1, row.x0 : row.x1]
            if row.flip:
                crop = np.ascontiguousarray(np.flip(crop, axis=1))
            way = cv2.INTER_AREA if max(crop.shape[:2]) > size else cv2.INTER_LINEAR
            expected = cv2.resize(crop, (size, size), interpolation=way)
            np.testing.assert_array_equal(array[row.sample], expected)


def test_a_flip_is_the_mirror_image_of_its_crop(images, samples, tmp_path):
    arrays = packed(samples, images[0], tmp_path)
    for array in arrays.values():
        for crop, flip in ((1, 4), (2, 5)):
            difference = array[flip].astype(int) - np.flip(array[crop], axis=1)
            assert np.abs(difference).max() <= 1  # rounding of the resize alone
            assert not np.array_equal(array[flip], array[crop])


@pytest.mark.parametrize("workers", [1, 5])
def test_any_number_of_workers_packs_the_same(images, samples, tmp_path, workers):
    for made in ("two", "other"):
        (tmp_path / made).mkdir()
    expected = packed(samples, images[0], tmp_path / "two")
    found = packed(samples, images[0], tmp_path / "other", workers)
    for size in SIZES:
        np.testing.assert_array_equal(found[size], expected[size])


def test_crops_in_their_own_proportions_are_as_large_as_they_were_up_to_a_limit(
    images, samples, tmp_path
):
    folder, scenes = images
    packed(samples, folder, tmp_path)
    crops = Crops(tmp_path / "own")
    for row in samples.itertuples():
        crop = scenes[row.image][row.y0 : row.y1, row.x0 : row.x1]
        if row.flip:
            crop = np.ascontiguousarray(np.flip(crop, axis=1))
        # So does whoever asks a network about a crop of their own.
        np.testing.assert_array_equal(crops[row.sample], shrunk(crop, LIMIT))
        if max(crop.shape) > LIMIT:
            height, width = (round(side * LIMIT / max(crop.shape)) for side in crop.shape[:2])
            crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
            assert max(width, height) == LIMIT
        np.testing.assert_array_equal(crops[row.sample], crop)


@pytest.mark.parametrize("first", [1, 4])
def test_of_small_crops_there_are_no_squares(images, samples, tmp_path, first):
    every = tmp_path / "every"
    expected = packed(samples, images[0], every)
    found = packed(samples[:first], images[0], tmp_path, extra=samples[first:])
    for size in SIZES:
        np.testing.assert_array_equal(found[size], expected[size][:first])
    for name in ("pixels.npy", "shapes.csv"):
        assert (tmp_path / "own" / name).read_bytes() == (every / "own" / name).read_bytes()


def test_a_table_of_small_crops_without_rows_may_come_from_a_file(images, samples, tmp_path):
    samples[:0].to_csv(tmp_path / "small.csv", index=False)
    arrays = packed(samples, images[0], tmp_path, extra=pd.read_csv(tmp_path / "small.csv"))
    assert len(arrays[SIZES[0]]) == len(samples)


def test_a_crop_as_thin_as_can_be_keeps_a_pixel():
    samples = pd.DataFrame({"x0": [0], "y0": [5], "x1": [1000], "y1": [6]})
    assert native_shapes(samples, 100) == ([(100, 1)], [0, 300])


def test_resize_against_means_of_blocks():
    # Half the size in both directions: the mean of 2 x 2 blocks, of each channel by itself.
    crop = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    means = crop.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize(crop, 16, 16) - means).max() <= 0.5
    # Proportions are not kept: 48 x 16 px becomes square.
    wide = np.random.default_rng(1).integers(0, 256, (16, 48, 3), np.uint8)
    means = wide.reshape(16, 16, 3, 3).mean(axis=2)
    assert np.abs(resize(wide, 16, 16) - means).max() <= 0.5
    np.testing.assert_array_equal(resize(crop, 32, 32), crop)


def test_stretching_to_a_larger_square_stays_between_the_crop_s_values():
    crop = np.zeros((4, 4, 3), np.uint8)
    crop[:, 2:] = 100, 150, 200
    large = resize(crop, 40, 40)
    assert large[20, 0].tolist() == [0, 0, 0]
    assert large[20, 39].tolist() == [100, 150, 200]
    assert (np.diff(large[20].astype(int), axis=0) >= 0).all()


def test_every_image_is_decoded_once_for_all_sizes_and_flips(
    images, samples, tmp_path, monkeypatch
):
    decode, decoded = cv2.imdecodeWithMetadata, Counter()

    def counting(data, **options):
        decoded[data.tobytes()] += 1
        return decode(data, **options)

    monkeypatch.setattr(cv2, "imdecodeWithMetadata", counting)
    packed(samples, images[0], tmp_path)
    # 1.png has no sample and is not opened at all.
    assert decoded == {(images[0] / name).read_bytes(): 1 for name in ("0.png", "2.png")}


def test_16_bit_rgba_and_the_same_in_8_bits_give_the_same_inputs(images, samples, tmp_path):
    folder, scenes = images
    before = packed(samples, folder, tmp_path)
    rng = np.random.default_rng(0)
    for name, scene in scenes.items():
        low, alpha = (rng.integers(0, 256, (*scene.shape[:2], n)) for n in (3, 1))
        deep = np.concatenate([scene[..., ::-1].astype(int) * 256 + low, alpha * 256], axis=2)
        cv2.imwrite(str(folder / name), deep.astype(np.uint16))
    after = packed(samples, folder, tmp_path)
    for size in SIZES:
        np.testing.assert_array_equal(before[size], after[size])


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_an_image_gone_since_is_reported_by_name(images, samples, tmp_path, damage):
    path = images[0] / "2.png"
    path.unlink()
    if damage == "broken":
        path.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(InputError, match=r"2\.png"):
        packed(samples, images[0], tmp_path)


def test_batches_are_all_rows_in_order():
    array = np.arange(70).reshape(35, 2)
    batches = list(in_batches(array, "rows", 8))
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 3]
    np.testing.assert_array_equal(np.concatenate(batches), array)
