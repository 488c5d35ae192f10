import xml.etree.ElementTree as ElementTree
from itertools import combinations

import cv2
import numpy as np
import pytest

from facemask.data import synthetic, synthetic_people

IMAGES = 54
COPIES = {7: 2, 22: 17, 37: 32, 52: 47}
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_annotation(path):
    """Read size (width, height), class names and boxes with the standard library."""
    root = ElementTree.parse(path).getroot()
    size = [int(root.findtext(f"size/{key}")) for key in ("width", "height")]
    names = [item.findtext("name") for item in root.iter("object")]
    boxes = [[int(b.findtext(key)) for key in CORNERS] for b in root.iter("bndbox")]
    return size, names, np.array(boxes)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    synthetic.draw_dataset(folder, IMAGES)
    return folder


@pytest.fixture(scope="module")
def annotations(dataset):
    return [read_annotation(dataset / "annotations" / f"sample{k}.xml") for k in range(IMAGES)]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_seed_gives_same_bytes_however_many_images_are_drawn(dataset, tmp_path):
    synthetic.draw_dataset(tmp_path, 9)
    few, many = contents(tmp_path), contents(dataset)
    assert len(few) == 18
    assert len(many) == 2 * IMAGES
    assert all(many[path] == data for path, data in few.items())


def test_another_seed_draws_other_images(dataset, tmp_path):
    synthetic.draw_dataset(tmp_path, 3, seed=1)
    many = contents(dataset)
    assert all(many[path] != data for path, data in contents(tmp_path).items())


def test_annotations_agree_with_images(dataset, annotations):
    for number, ((width, height), names, boxes) in enumerate(annotations):
        image = cv2.imread(str(dataset / "images" / f"sample{number}.png"), cv2.IMREAD_UNCHANGED)
        assert image.dtype == np.uint8
        assert image.shape == (height, width, 3)
        assert len(names) == len(boxes) > 0
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] < (width, height)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_annotation_has_the_layout_of_kaggle(dataset, annotations):
    number = next(k for k, (_, names, _) in enumerate(annotations) if len(names) == 1)
    (width, height), (name,), boxes = annotations[number]
    text = (dataset / "annotations" / f"sample{number}.xml").read_text()
    tags = ["folder", "filename", "size", "segmented", "object"]
    root = ElementTree.fromstring(text)
    assert [child.tag for child in root] == tags
    fields = ["name", "pose", "truncated", "occluded", "difficult", "bndbox"]
    assert [child.tag for child in root.find("object")] == fields
    assert [child.tag for child in root.find("object/bndbox")] == list(CORNERS)
    flat = [element.text.strip() for element in root.iter() if len(element) == 0]
    file = f"sample{number}.png"
    assert flat == [
        *("images", file, str(width), str(height), "3", "0", name, "Unspecified", "0", "0", "0"),
        *map(str, boxes[0]),
    ]
    assert "\n        <bndbox>\n            <xmin>" in text


def test_classes_and_sizes_are_spread_as_in_the_real_data(annotations):
    names = np.concatenate([names for _, names, _ in annotations])
    shares = {name: np.mean(names == name) for name in np.unique(names)}
    assert set(shares) == {"with_mask", "without_mask", "mask_weared_incorrect"}
    assert 0.74 < shares["with_mask"] < 0.84
    assert 0.13 < shares["without_mask"] < 0.23
    assert 0.01 < shares["mask_weared_incorrect"] < 0.06
    counts = np.array([len(names) for _, names, _ in annotations])
    assert (counts == 1).mean() > 0.25
    assert counts.max() >= 12
    widths = np.concatenate([boxes[:, 2] - boxes[:, 0] + 1 for _, _, boxes in annotations])
    assert np.percentile(widths, 10) < 20
    assert np.percentile(widths, 90) > 70


def redrawn_without(monkeypatch, number, module, function):
    """Draw the same image, but let `function` draw on a copy of the canvas, which is dropped."""
    draw = getattr(module, function)
    with monkeypatch.context() as patch:
        patch.setattr(module, function, lambda canvas, *rest: draw(canvas.copy(), *rest))
        return synthetic._draw_image(0, number)[0]


def part(image, box):
    return image[box[1] : box[3] + 1, box[0] : box[2] + 1]


def test_people_are_where_the_boxes_are(annotations, monkeypatch):
    for number in (0, 1, 3, 4, 13):
        image, _, boxes = synthetic._draw_image(0, number)
        empty = redrawn_without(monkeypatch, number, synthetic, "draw_person")
        changed = (image != empty).any(axis=2)
        assert changed.mean() < 0.95
        for box in boxes:
            assert part(changed, box).mean() > 0.9


def test_masks_are_drawn_on_the_faces_annotated_with_a_mask(annotations, monkeypatch):
    alone = [k for k, (_, names, _) in enumerate(annotations) if len(names) == 1]
    seen = set()
    for number in sorted(set(alone) - set(COPIES)):
        image, (name,), (box,) = synthetic._draw_image(0, number)
        unmasked = redrawn_without(monkeypatch, number, synthetic_people, "_draw_mask")
        changed = (np.abs(image.astype(int) - unmasked) > 8).any(axis=2)
        rows = np.flatnonzero(part(changed, box).mean(axis=1) > 0.3)
        seen.add(name)
        if name == "without_mask":
            assert not changed.any()
            continue
        # The tip of the nose lies a little below the centre of the box.
        centre = (box[3] - box[1]) / 2
        assert rows.size
        assert (rows[0] > centre) == (name == "mask_weared_incorrect")
        assert rows[-1] > 1.4 * centre
    assert len(seen) == 3


def difference_hash(path):
    grey = cv2.resize(cv2.imread(str(path), 0), (17, 16), interpolation=cv2.INTER_AREA)
    return np.diff(grey.astype(int), axis=1) > 0


def test_copies_are_near_duplicates_and_no_others(dataset, annotations):
    hashes = [difference_hash(dataset / "images" / f"sample{k}.png") for k in range(IMAGES)]
    for a, b in combinations(range(IMAGES), 2):
        distance = np.count_nonzero(hashes[a] != hashes[b])
        assert distance <= 8 if COPIES.get(b) == a else distance > 30, (a, b, distance)
    exact = 0
    for copy, original in COPIES.items():
        assert annotations[copy][1] == annotations[original][1]
        assert np.abs(annotations[copy][2] - annotations[original][2]).max() <= 1
        images = [cv2.imread(str(dataset / "images" / f"sample{k}.png")) for k in (copy, original)]
        exact += np.array_equal(*images)
        assert images[0].mean() >= images[1].mean()
    assert 0 < exact < len(COPIES)


def test_fewer_than_one_image_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="images"):
        synthetic.draw_dataset(tmp_path / "new", 0)
    assert not (tmp_path / "new").exists()
