"""Frames of videos and of webcams, and videos that are written."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest
from predict_toys import write_video

from facemask.errors import InputError
from facemask.predict.video import frames, newest, open_file, open_webcam, writer


def shades(count, width=64, height=48):
    return [np.full((height, width, 3), 10 + 20 * number, np.uint8) for number in range(count)]


def read_all(path):
    with (
        open_file(path) as (capture, about),
        closing(frames(capture, about, threading.Event())) as found,
    ):
        return list(found)


def test_frames_come_in_order_with_their_times(tmp_path):
    found = read_all(write_video(tmp_path / "a.mp4", shades(10), rate=20))
    assert [frame.number for frame in found] == list(range(10))
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(10) / 20, atol=1e-6)
    for frame, image in zip(found, shades(10), strict=True):
        assert np.abs(frame.image.astype(int) - image).max() < 12


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mov", ".mp4"])
def test_usual_containers_are_read(tmp_path, suffix):
    assert len(read_all(write_video(tmp_path / f"a{suffix}", shades(3)))) == 3


def test_a_name_with_signs_of_patterns_and_addresses_is_a_file(tmp_path):
    for name in ("a%03d.mp4", "concat:a|b.mp4", "-i.mp4"):
        assert (
            len(read_all(write_video(tmp_path / "a.mp4", shades(2)).rename(tmp_path / name))) == 2
        )


def test_a_video_cut_off_is_read_to_there_and_it_is_said(tmp_path):
    # In this container the frames are found without an index at the end.
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(40)]
    whole = write_video(tmp_path / "a.avi", noise).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    count = 0
    with open_file(cut) as (capture, about), pytest.raises(InputError, match="of 40 frames"):
        for _ in frames(capture, about, threading.Event()):
            count += 1
    assert 5 < count < 35


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 47), (33, 33)])
def test_a_written_video_holds_all_frames_of_any_size(tmp_path, width, height):
    path = tmp_path / "a.mp4"
    with writer(path, 8) as write:
        for image in shades(5, width, height):
            write(image)
    found = read_all(path)
    assert len(found) == 5
    assert found[0].image.shape == (height + height % 2, width + width % 2, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_whatever_ends_a_video_it_is_whole(tmp_path, error):
    with pytest.raises(error), writer(tmp_path / "a.mp4", 8) as write:
        write(shades(1)[0])
        raise error
    assert len(read_all(tmp_path / "a.mp4")) == 1
    with pytest.raises(error), writer(tmp_path / "none.mp4", 8):
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_missing_webcam_is_reported():
    with pytest.raises(InputError, match="webcam 63 cannot be opened"), open_webcam(63):
        pass


def camera(count, pause):
    """A stand-in for a webcam: frames of rising brightness, one every `pause` s."""
    numbers = iter(range(count))

    def read():
        time.sleep(pause)
        number = next(numbers, None)
        return (False, None) if number is None else (True, np.full((4, 4, 3), number, np.uint8))

    return read


def test_a_slow_consumer_gets_the_newest_frame():
    seen = []
    with newest(camera(60, 0.01)) as found, pytest.raises(InputError, match="no more frames"):
        for frame in found:
            seen.append(frame)
            time.sleep(0.1)
    numbers = [frame.number for frame in seen]
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 20
    assert numbers[-1] == 59
    assert [frame.image[0, 0, 0] for frame in seen] == numbers


def test_a_fast_consumer_gets_all_frames():
    with newest(camera(10, 0.02)) as found, pytest.raises(InputError):
        seen = []
        for frame in found:
            seen.append(frame.number)
    assert seen == list(range(10))


def test_a_silent_webcam_is_given_up():
    start = time.monotonic()
    with newest(camera(1, 2), silence=0.2) as found, pytest.raises(InputError, match="no more fra"):
        next(found)
    assert time.monotonic() - start < 1


def test_a_webcam_that_is_left_is_read_no_more():
    read = camera(1000, 0.01)
    with newest(read) as found:
        next(found)
    left = read()[1][0, 0, 0]
    time.sleep(0.1)
    assert read()[1][0, 0, 0] == left + 1
