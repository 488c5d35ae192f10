"""Packed inputs, against cutting and resizing each crop by itself."""

import pickle
from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest

from facemask.data import arrays
from facemask.data.affine import resize
from facemask.data.arrays import pack, shrunk
from facemask.errors import InputError
from facemask.shards import Crops, Shards

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
    outputs = {size: out / str(size) for size in SIZES}
    extra = samples[:0] if extra is None else extra
    pack(samples, extra, folder, outputs, out / "own", LIMIT, workers)
    return {size: Shards(path)[:] for size, path in outputs.items()}


def files(folder):
    """The contents of all files below a folder, by their paths in it."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_rows_are_the_crops_cut_and_stretched_one_by_one(images, samples, tmp_path):
    folder, scenes = images
    for size, array in packed(samples, folder, tmp_path).items():
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
    for array in packed(samples, images[0], tmp_path).values():
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
    assert files(tmp_path / "own") == files(every / "own")


def test_a_table_of_small_crops_without_rows_may_come_from_a_file(images, samples, tmp_path):
    samples[:0].to_csv(tmp_path / "small.csv", index=False)
    made = packed(samples, images[0], tmp_path, extra=pd.read_csv(tmp_path / "small.csv"))
    assert len(made[SIZES[0]]) == len(samples)


def test_a_crop_as_thin_as_can_be_keeps_a_pixel():
    assert shrunk(np.zeros((1, 1000, 3), np.uint8), 100).shape == (1, 100, 3)


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


@pytest.fixture
def in_shards(images, samples, tmp_path, monkeypatch):
    """The same samples in one shard and in two, of an image each."""
    expected = packed(samples, images[0], tmp_path / "one")
    monkeypatch.setattr(arrays, "IMAGES", 1)
    packed(samples, images[0], tmp_path / "two")
    return expected[SIZES[0]], tmp_path


def test_shards_are_read_as_one_array(in_shards):
    expected, folder = in_shards
    shards = Shards(folder / f"two/{SIZES[0]}")
    assert len(list(shards.folder.glob("0*.npy"))) == 2
    assert (len(shards), shards.shape, shards.dtype) == (6, expected.shape, np.uint8)
    for rows in (3, slice(1, 5), slice(0, 0), np.array([5, 0, 0, 3]), slice(None)):
        np.testing.assert_array_equal(shards[rows], expected[rows])
    with pytest.raises(IndexError):
        shards[np.array([6])]


def test_crops_of_shards_are_those_of_one(in_shards):
    one, two = (Crops(in_shards[1] / f"{name}/own") for name in ("one", "two"))
    for sample in range(6):
        np.testing.assert_array_equal(one[sample], two[sample])


def test_shards_travel_as_the_folder_they_lie_in(in_shards):
    for opened in (Shards(in_shards[1] / f"two/{SIZES[0]}"), Crops(in_shards[1] / "two/own")):
        data = pickle.dumps(opened)
        assert len(data) < 500
        np.testing.assert_array_equal(pickle.loads(data)[4], opened[4])


def test_without_a_sample_there_is_an_array_without_rows(images, samples, tmp_path):
    made = packed(samples[:0], images[0], tmp_path)
    assert made[SIZES[0]].shape == (0, SIZES[0], SIZES[0], 3)
