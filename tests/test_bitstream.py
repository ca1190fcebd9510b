import contextlib
import copy
import hashlib
import importlib.util
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from aebook.applications import compression
from aebook.applications.compression import Codec, bitstream, compressors, tables

CODER = importlib.util.find_spec("constriction") is not None


def model_of(step=0.1, seed=0):
    """A small compressor, not at its start."""
    g = torch.Generator().manual_seed(seed)
    model = compression.transform_coder(step, torch.rand(2, 3, 32, 32, generator=g), hidden=2).model
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=g))
    return model.eval()


MODEL = model_of()
CODEC = Codec(MODEL) if CODER else None


def picture(shape, seed=0, smooth=True):
    g = np.random.default_rng(seed)
    image = g.integers(0, 256, shape)
    if smooth:
        for axis in (0, 1):
            image = np.cumsum(image - 127, axis=axis) // 8 % 256
    return image.astype(np.uint8)


DATA = CODEC.compress(picture((20, 37, 3))) if CODER else b"none"


def forged(content):
    """Bytes with a checksum that fits."""
    return b"AEB1" + struct.pack("<I", zlib.crc32(content)) + content


# There and back ------------------------------------------------------------------------------


@pytest.mark.needs("constriction")
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.booleans(),
)
@example(1, 1, None, False)
@example(1, 1, 3, False)
@example(16, 32, 3, True)
def test_any_image_comes_back_as_the_model_reconstructs_it(height, width, channels, smooth):
    shape = (height, width) if channels is None else (height, width, channels)
    image = picture(shape, height * 41 + width, smooth)
    decoded = CODEC.decompress(CODEC.compress(image))
    assert decoded.dtype == np.uint8
    assert decoded.shape == shape
    model = copy.deepcopy(MODEL).double()
    planes = image.reshape(height, width, -1)
    groups = [planes] if channels == 3 else np.split(planes, planes.shape[2], axis=2)
    pad = ((0, -height % 16), (0, -width % 16), (0, 0))
    expected = []
    for group in groups:
        x = np.pad(np.broadcast_to(group, (height, width, 3)), pad, mode="edge")
        x = torch.from_numpy(x).permute(2, 0, 1)[None].double() / 255
        back = model.reconstruct(x)[0].permute(1, 2, 0).numpy()[:height, :width] * 255
        expected.append(back if channels == 3 else back.mean(2, keepdims=True))
    whole = np.concatenate(expected, axis=2).round().clip(0, 255).reshape(shape)
    assert np.array_equal(decoded, whole)


@pytest.mark.needs("constriction")
def test_planes_that_are_not_colours_do_not_depend_on_each_other():
    image = picture((18, 18, 16))
    decoded = CODEC.decompress(CODEC.compress(image))
    for k in (0, 7, 15):
        alone = CODEC.decompress(CODEC.compress(image[:, :, k]))
        assert np.array_equal(decoded[:, :, k], alone)


@pytest.mark.needs("constriction")
def test_numbers_outside_the_tables_come_back_too():
    model = model_of()
    with torch.no_grad():
        model.bottleneck.log_scales.fill_(-4)
        model.bottleneck.means.zero_()
    codec = Codec(model)
    image = picture((33, 20, 3), smooth=False)
    z = codec._model.encode(torch.from_numpy(image[:32, :16]).permute(2, 0, 1)[None].double() / 255)
    assert z.abs().max() > 3
    assert max(len(c) for c in tables(model.bottleneck)[1]) < 5
    decoded = codec.decompress(codec.compress(image))
    x = np.pad(image, ((0, 15), (0, 12), (0, 0)), mode="edge")
    x = torch.from_numpy(x).permute(2, 0, 1)[None].double() / 255
    expected = (model.double().reconstruct(x)[0].permute(1, 2, 0) * 255).round().clamp(0, 255)
    assert np.array_equal(decoded, expected[:33, :20].numpy())


@pytest.mark.needs("constriction")
def test_the_length_is_what_the_prior_says():
    model = compression.transform_coder(0.02, torch.rand(4, 3, 64, 64), hidden=1).model.eval()
    image = picture((128, 128, 3), smooth=False)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    ideal = float(model.bottleneck.bits(model.encode(x)).detach())
    header = 4 + 4 + 4 + 2 + 2 + 1
    written = 8 * (len(Codec(model).compress(image)) - header)
    assert ideal - 64 < written < 1.01 * ideal + 64


@pytest.mark.needs("constriction")
def test_a_flat_image_pays_for_one_colour_a_block():
    codec = Codec(compressors.trained(80))
    flat = codec.compress(np.full((160, 160, 3), 77, np.uint8))
    # 100 blocks: three means of at most ten bits, and zeros that are next to free
    assert 8 * len(flat) < 100 * 40
    assert len(flat) < len(codec.compress(picture((160, 160, 3), smooth=False))) / 10


SCRIPT = """
import hashlib, pathlib, sys
from aebook.applications.compression import bitstream, compressors
codec = bitstream.Codec(compressors.trained(80))
image = codec.decompress(pathlib.Path(sys.argv[1]).read_bytes())
print(image.shape, hashlib.sha256(image.tobytes()).hexdigest())
"""


@pytest.mark.needs("constriction")
def test_another_process_decodes_the_same_image(tmp_path):
    codec = Codec(compressors.trained(80))
    image = picture((50, 70, 3))
    data = codec.compress(image)
    assert codec.compress(image) == data
    decoded = codec.decompress(data)
    path = tmp_path / "image.aeb"
    path.write_bytes(data)
    done = subprocess.run(
        # deprecations are those of other packages' own code
        [
            *(sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning"),
            "-c",
            SCRIPT,
            str(path),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        check=False,
    )
    assert done.stderr == ""
    digest = hashlib.sha256(decoded.tobytes()).hexdigest()
    assert done.stdout == f"(50, 70, 3) {digest}\n"


# Bytes that are not what they were -----------------------------------------------------------


@pytest.mark.needs("constriction")
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused(position, change):
    bad = bytearray(DATA)
    bad[position] ^= change
    with pytest.raises(ValueError, match="bytes"):
        CODEC.decompress(bytes(bad))


@pytest.mark.needs("constriction")
def test_a_changed_bit_anywhere_is_refused():
    for position in range(len(DATA)):
        bad = bytearray(DATA)
        bad[position] ^= 1 << position % 8
        with pytest.raises(ValueError, match="bytes"):
            CODEC.decompress(bad)


@pytest.mark.needs("constriction")
def test_every_truncation_is_refused():
    for length in range(len(DATA)):
        with pytest.raises(ValueError, match="bytes"):
            CODEC.decompress(DATA[:length])


@pytest.mark.needs("constriction")
@given(st.binary(min_size=1, max_size=9))
def test_what_follows_is_refused(more):
    with pytest.raises(ValueError, match="cut short or altered"):
        CODEC.decompress(DATA + more)


@pytest.mark.needs("constriction")
@given(st.binary(max_size=80))
def test_forged_bytes_give_an_image_or_a_clear_error(content):
    # a checksum is no signature: who forges it too gets some image, and no crash
    data = forged(CODEC.fingerprint + b"\x09\x05\x03" + content)
    with contextlib.suppress(ValueError):
        assert CODEC.decompress(data).shape == (9, 5, 3)


@pytest.mark.needs("constriction")
@pytest.mark.parametrize(
    "shape",
    [b"", b"\x05", b"\x00\x05\x03", b"\xff\xff\xff\xff\xff\x05\x03", b"\x80\x80\x04\x05\x03"],
)
def test_shapes_that_cannot_be_are_refused(shape):
    with pytest.raises(ValueError, match="get them again"):
        CODEC.decompress(forged(CODEC.fingerprint + shape))


@pytest.mark.needs("constriction")
@pytest.mark.parametrize(
    "shape",
    [
        (65_535, 65_535, 3),
        (65_535, 65_535, 0),
        (1, 65_535, 65_535),
        (65_535, 1, 3),
        (4000, 4000, 1),
    ],
)
@pytest.mark.parametrize("size", [0, 4, 400])
def test_a_few_bytes_are_given_no_memory_for_a_large_image(shape, size):
    content = b"".join(map(bitstream._to_groups, shape)) + bytes(size)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"which \d+ bytes of this model cannot hold"):
        CODEC.decompress(forged(CODEC.fingerprint + content))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.needs("constriction")
@pytest.mark.parametrize("channels", [0, 1, 2, 3])
def test_the_cheapest_image_of_a_model_is_within_what_it_may_claim(channels):
    # a prior that was made for this picture and no other, and one that ships
    flat = np.full((320, 480, channels)[: 3 if channels else 2], 128, np.uint8)
    x = torch.full((2, 3, 64, 64), 128 / 255)
    for model in (compression.transform_coder(0.1, x, hidden=1).model, compressors.trained(140)):
        codec = Codec(model.eval())
        data = codec.compress(flat)
        assert codec.decompress(data).shape == flat.shape


@pytest.mark.needs("constriction")
def test_bytes_of_other_programs_versions_and_models_are_refused():
    with pytest.raises(ValueError, match=r"not of Codec\.compress"):
        CODEC.decompress(b"\x89PNG\r\n\x1a\n" + bytes(20))
    with pytest.raises(ValueError, match="another version"):
        CODEC.decompress(b"AEB2" + DATA[4:])
    with pytest.raises(ValueError, match="expected bytes"):
        CODEC.decompress("AEB1")
    other = copy.deepcopy(MODEL)
    with torch.no_grad():
        other.decoder.blocks.bias[0] += 1e-3
    other = Codec(other)
    assert other.fingerprint != CODEC.fingerprint
    with pytest.raises(ValueError, match=f"model {CODEC.fingerprint.hex()}, and this is"):
        other.decompress(DATA)


@pytest.mark.needs("constriction")
@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((4, 4, 3)), "type float64, expected uint8"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((0, 4), np.uint8), "expected one image"),
        (np.zeros((4, 4, 0), np.uint8), "expected one image"),
        (np.zeros((3, 40, 50), np.uint8), "for channels first use"),
        (np.zeros((5, 5, 5), np.uint8), "with the channels last"),
        (np.zeros((1, 65_536), np.uint8), "up to 65535"),
        (np.zeros((1, 2, 2, 3), np.uint8), r"expected one image, \(H, W\) or \(H, W, C\)"),
    ],
)
def test_images_that_are_none_are_refused(image, says):
    with pytest.raises(ValueError, match=says):
        CODEC.compress(image)


def test_a_codec_needs_a_compressor():
    objective = compression.transform_coder(0.1, hidden=1)
    with pytest.raises(ValueError, match=r"give objective\.model"):
        Codec(objective)


def test_without_the_range_coder_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ImportError, match=r'pip install "aebook\[compression\]"'):
        Codec(MODEL)


# The tables ----------------------------------------------------------------------------------


def test_tables_are_the_prior_in_whole_numbers():
    lowest, counts = tables(MODEL.bottleneck)
    assert len(lowest) == len(counts) == 384
    prior = copy.deepcopy(MODEL).bottleneck.double()
    for c in (0, 5, 200, 383):
        z = torch.arange(len(counts[c]) - 1).double() + lowest[c]
        p = prior.probability(z.expand(384, 1, -1))[c, 0].detach().numpy()
        assert np.abs(counts[c][:-1] / 2**20 - p).max() <= 2**-20
        assert counts[c].min() >= 1
        assert abs(int(counts[c].sum()) - 2**20) < len(counts[c])


@pytest.mark.needs("constriction")
def test_a_codec_leaves_its_model_as_it_was():
    model = model_of().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Codec(model).compress(picture((16, 16)))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32
