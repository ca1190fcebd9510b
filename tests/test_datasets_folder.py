"""Tests of aebook.datasets.folder."""

import struct
import zlib

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
    (tmp_path / "notes.txt").write_text("no image", "utf8")
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


def written(folder, image, name, **options):
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(folder / name, **options)
    return folder


RAMP = np.linspace(0, 1, 64).astype(np.float32).reshape(8, 8)


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize(
    ("kind", "name"),
    [("uint8", f"a.{ending}") for ending in ("png", "tif", "pgm", "bmp", "webp", "ppm", "gif")]
    + [("uint16", f"a.{ending}") for ending in ("png", "tif", "pgm")]
    + [(">u2", "a.tif"), ("float32", "a.tif")],
)
def test_every_grey_value_is_kept(tmp_path, kind, name, grey):
    peak = 1 if kind == "float32" else np.iinfo(kind).max
    values = (RAMP * peak).astype(kind)
    options = {"lossless": True} if name == "a.webp" else {}
    (image,) = ImageFolder(written(tmp_path, values, name, **options), 8, grey)
    expected = torch.from_numpy(values.astype(np.float64) / peak).float()
    torch.testing.assert_close(image, expected.expand(1 if grey else 3, 8, 8))


def test_finer_greys_are_scaled_as_bytes_are(tmp_path):
    # a smooth picture with black and white edges, at which a cubic overshoots
    smooth = np.add.outer(np.arange(40.0), np.arange(30.0)) / 68
    smooth[10:20, 5:15], smooth[20:30, 5:15] = 0, 1
    for name, values in {
        "a.png": (smooth * 255).round().astype(np.uint8),
        "b.png": (smooth * 65535).round().astype(np.uint16),
        "c.tif": smooth.astype(np.float32),
    }.items():
        written(tmp_path, values, name)
    coarse, fine, finest = ImageFolder(tmp_path, 13, grey=True)
    assert fine.min() == 0
    assert fine.max() == 1
    torch.testing.assert_close(fine, finest, rtol=0, atol=1e-4)
    torch.testing.assert_close(coarse, finest, rtol=0, atol=5 / 255)


def test_twelve_bits_of_a_tiff_end_at_their_own_white(tmp_path):
    # two numbers in three bytes, and a header by hand: Pillow reads such files and writes none
    values = np.linspace(0, 4095, 64).astype(int)
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
        for a, b in zip(values[::2].tolist(), values[1::2].tolist(), strict=True)
    )
    entries = [
        (256, 8), (257, 8), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, 8),
        (279, len(packed)),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(header.ljust(122, b"\0") + packed)
    (image,) = ImageFolder(tmp_path, 8, grey=True)
    torch.testing.assert_close(image.flatten(), torch.from_numpy(values / 4095).float())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RAMP * 255, r"got pixels of .* from 0 to 255, expected finite numbers, from 0 to 1: sc"),
        (RAMP - 0.5, r"got pixels of .* from -0\.5 to 0\.5"),
        (RAMP * np.nan, "got pixels of .* from nan to nan"),
        ((RAMP * 1000).astype(np.int32), "it has whole numbers of 32 bits, expected 8, 16 or fl"),
    ],
)
def test_values_of_which_nobody_knows_what_is_white_are_refused(tmp_path, values, message):
    with pytest.raises(ValueError, match=rf"a\.tif cannot be read as an image \({message}"):
        ImageFolder(written(tmp_path, values, "a.tif"), 8)[0]


@pytest.mark.parametrize(
    ("kind", "name", "white"),
    [
        ("int32", "a.tif", 1000),
        ("int32", "a.tif", 2**31 - 1),
        ("uint16", "a.png", 4095),
        ("uint16", "a.tif", 4095),
        ("uint16", "a.pgm", 1023.5),
        ("float32", "a.tif", 255),
        ("uint8", "a.png", None),
    ],
)
def test_white_is_the_number_that_is_given(tmp_path, kind, name, white):
    peak = white or 255
    values = (RAMP.astype(np.float64) * int(peak)).astype(kind)
    (image,) = ImageFolder(written(tmp_path, values, name), 8, grey=True, white=white)
    expected = torch.from_numpy(values.astype(np.float64) / peak).float()
    torch.testing.assert_close(image[0], expected)
    # a byte is a byte, whatever is white elsewhere
    if kind != "uint8":
        with pytest.raises(ValueError, match=r"expected finite numbers, from 0 to 9.*white=\d"):
            ImageFolder(tmp_path, 8, white=9)[0]


@pytest.mark.parametrize("white", [0, -1, np.inf, "255", True])
def test_a_white_that_is_none(tmp_path, white):
    with pytest.raises(ValueError, match="got white="):
        ImageFolder(written(tmp_path, RAMP, "a.tif"), 8, white=white)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(channels, kind, bits):
    """A picture of 4 by 4 pixels, by hand: Pillow writes none with colours of 16 bits."""
    row = b"\0" + bytes(range(4 * channels * bits // 8))
    head = struct.pack(">IIBBBBB", 4, 4, bits, kind, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(4 * row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(channels, bits):
    """The same as a TIFF."""
    data = bytes(range(4 * 4 * channels * bits // 8))
    sizes = struct.pack(f"<{channels}H", *[bits] * channels)
    entries = [
        (256, 4), (257, 4), (258, 8 + len(data)), (259, 1), (262, 2), (273, 8), (277, channels),
        (278, 4), (279, len(data)),
    ] + [(338, 2)] * (channels == 4)  # fmt: skip
    directory = b"".join(
        struct.pack("<HHII", tag, 3, channels if tag == 258 else 1, value) for tag, value in entries
    )
    head = b"II*\0" + struct.pack("<I", 8 + len(data) + len(sizes))
    return head + data + sizes + struct.pack("<H", len(entries)) + directory + bytes(4)


COLOURS = {
    "a.png": lambda bits: png(3, 2, bits),
    "grey with transparency.png": lambda bits: png(2, 4, bits),
    "transparent.png": lambda bits: png(4, 6, bits),
    "a.tif": lambda bits: tiff(3, bits),
    "transparent.tif": lambda bits: tiff(4, bits),
    "a.ppm": lambda bits: b"P6 4 4 %d\n" % (2**bits - 1) + bytes(6 * bits),
    "plain.ppm": lambda bits: b"P3 4 4 %d\n" % (2**bits - 1) + b"7 " * 48,
}


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("name", COLOURS)
def test_colours_lose_no_half_in_silence(tmp_path, name, grey):
    images = {}
    for bits in (8, 16):
        folder = tmp_path / str(bits)
        folder.mkdir()
        (folder / name).write_bytes(COLOURS[name](bits))
        images[bits] = ImageFolder(folder, 4, grey)
    assert images[8][0].shape == (1 if grey else 3, 4, 4)
    with pytest.raises(ValueError, match=r"it has colours of 16 bits.*expected 8 bits"):
        images[16][0]


def test_five_bits_of_a_bitmap_are_five(tmp_path):
    # a header by hand: 16 bits a pixel
    head = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 0, 32, 0, 0, 0, 0)
    data = struct.pack("<16H", *[0b0_11111_00000_11111] * 16)
    (tmp_path / "a.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 54 + 32, 0, 0, 54) + head + data)
    (image,) = ImageFolder(tmp_path, 4)
    assert torch.equal(image[:, 0, 0], torch.tensor([1.0, 0.0, 1.0]))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "RGB", "1", "I;16"])
@pytest.mark.parametrize("grey", [True, False])
def test_what_is_transparent_lies_on_white(tmp_path, mode, grey):
    """Black on nothing."""
    seen = np.zeros((8, 8), bool)
    seen[2:5, 3:6] = True
    ink = np.where(seen, 0, 50).astype(np.uint8)
    alpha = np.where(seen, 255, 0).astype(np.uint8)
    options = {} if mode in ("RGBA", "LA", "PA") else {"transparency": 50}
    if mode in ("RGBA", "LA"):
        image = Image.fromarray(np.dstack([ink] * (len(mode) - 1) + [alpha]))
    elif mode in ("P", "PA"):
        image = Image.fromarray(ink).convert("P")
        image.putpalette(np.repeat(np.arange(256), 3).astype(np.uint8).tobytes())
        if mode == "PA":
            image.putalpha(Image.fromarray(alpha))
    elif mode == "1":
        image, options = Image.fromarray(ink > 0).convert("1"), {"transparency": 255}
    elif mode == "I;16":
        image = Image.fromarray(ink.astype(np.uint16))
    else:
        image = Image.fromarray(ink).convert(mode)
        options = {"transparency": 50 if mode == "L" else (50, 50, 50)}
    suffix = "tif" if mode == "PA" else "png"
    if mode == "PA":
        image = image.convert("RGBA")
    (found,) = ImageFolder(written(tmp_path, image, f"a.{suffix}", **options), 8, grey)
    assert torch.equal(found, torch.from_numpy(~seen).float().expand(1 if grey else 3, 8, 8))


def test_half_of_a_colour_is_half_way_to_white(tmp_path):
    glass = np.zeros((8, 8, 4), np.uint8)
    glass[..., 0], glass[..., 3] = 255, 51
    (found,) = ImageFolder(written(tmp_path, glass, "a.png"), 8)
    expected = torch.tensor([1, 0.8, 0.8]).view(3, 1, 1).expand(3, 8, 8)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "P", "1"])
def test_other_colours_become_those_that_are_asked_for(tmp_path, mode):
    image = Image.new("RGB", (8, 8), (200, 30, 90)).convert(mode)
    name = "a.png" if mode in ("P", "1") else "a.tif"
    expected = np.asarray(image.convert("RGB"), np.float32) / 255
    folder = written(tmp_path, image, name)
    with (folder / name).open("rb") as file:
        try:
            Image.open(file).load()
        except OSError:
            pytest.skip(f"this version of Pillow cannot read {mode} in TIFF")
    (found,) = ImageFolder(folder, 8)
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected)


def test_a_file_that_breaks_off_anywhere_or_claims_too_much_is_refused(tmp_path):
    whole = (written(tmp_path, (RAMP * 65535).astype(np.uint16), "a.tif") / "a.tif").read_bytes()
    images = ImageFolder(tmp_path, 8)
    for end in range(0, len(whole) - 1, 7):
        (tmp_path / "a.tif").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"a\.tif cannot be read as an image"):
            images[0]
    # thirty thousand pixels a side
    huge = b"P5\n30000 30000\n255\n"
    (tmp_path / "a.tif").write_bytes(huge)
    with pytest.raises(ValueError, match="exceeds limit"):
        images[0]


@pytest.mark.parametrize("folder", [None, 3, ["a"]])
def test_what_names_no_folder_is_refused(folder):
    with pytest.raises(ValueError, match=r"expected a folder that exists|expected text or a path"):
        ImageFolder(folder, 8)


def test_an_image_has_a_number(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="got index='a'"):
        ImageFolder(tmp_path, 4)["a"]
