"""Tests of aebook.datasets.folder."""

import numpy as np
import pytest
import torch
from PIL import Image

import aebook
from aebook.datasets.folder import ImageFolder


@pytest.fixture
def folder(tmp_path):
    """Four images in several forms, and files that are none."""
    rng = np.random.default_rng(0)
    (tmp_path / "below").mkdir()
    (tmp_path / ".hidden").mkdir()
    tall = rng.integers(0, 256, (12, 8, 3), np.uint8)
    Image.fromarray(tall).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "b.PNG")
    Image.fromarray(rng.integers(0, 256, (8, 20, 4), np.uint8)).save(tmp_path / "below" / "c.png")
    Image.fromarray(rng.integers(0, 256, (30, 30, 3), np.uint8)).save(tmp_path / "d.jpg")
    Image.fromarray(tall).save(tmp_path / ".hidden" / "e.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.mark.parametrize(("grey", "channels"), [(False, 3), (True, 1)])
def test_all_images_come_in_one_shape(folder, grey, channels):
    images = ImageFolder(folder, 8, grey)
    assert [path.name for path in images.paths] == ["a.png", "b.PNG", "c.png", "d.jpg"]
    assert len(images) == 4
    for image in images:
        assert image.shape == (channels, 8, 8)
        assert image.dtype == torch.float32
        assert 0 <= image.min() < image.max() <= 1


def test_an_image_of_the_right_size_comes_as_it_is(folder):
    expected = np.asarray(Image.open(folder / "b.PNG")) / np.float32(255)
    found = ImageFolder(folder, 8, grey=True)[1]
    assert np.array_equal(found[0].numpy(), expected)


def test_the_square_is_the_middle(folder):
    expected = np.asarray(Image.open(folder / "a.png"))[2:10] / np.float32(255)
    found = ImageFolder(folder, 8)[0].permute(1, 2, 0)
    assert np.array_equal(found.numpy(), expected)


def test_an_image_is_turned_as_its_camera_says(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    found = ImageFolder(tmp_path, 8)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(found, np.rot90(pixels, -1) / np.float32(255))


def test_it_trains(folder):
    parts = aebook.networks.convolutional((3, 8, 8), (4,), 3, output=torch.nn.Sigmoid)
    objective = aebook.Objective(aebook.Autoencoder(*parts))
    history = aebook.fit(objective, ImageFolder(folder, 8), epochs=5, lr=1e-2, progress=False)
    assert history.loss[-1] < history.loss[0]


def test_what_is_no_image_is_refused_by_its_path(folder):
    (folder / "b.PNG").write_bytes(b"no image")
    images = ImageFolder(folder, 8)
    with pytest.raises(ValueError, match=r"b\.PNG cannot be read as an image"):
        images[1]
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
        images[0]


def test_no_folder_no_image_and_no_size_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a folder that exists"):
        ImageFolder(tmp_path / "nowhere", 8)
    with pytest.raises(ValueError, match="which has no image"):
        ImageFolder(tmp_path, 8)
    with pytest.raises(ValueError, match="got size=0"):
        ImageFolder(tmp_path, 0)
