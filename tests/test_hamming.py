import io
import math
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aebook.applications.retrieval import (
    FaissIndex,
    hamming_distances,
    pack,
    unpack,
)
from aebook.applications.retrieval import codes as codes_module

pytestmark = pytest.mark.needs("faiss")
LENGTHS = st.integers(1, 200)
SEEDS = st.integers(0, 2**32 - 1)
IDS = st.integers(-(2**63), 2**63 - 1)


def collection(seed, bits, count):
    """Codes with repeats, some bits rarely or never one, and ids in no order."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((count, bits)) < rng.choice([0, 0.05, 0.5], bits)
    drawn = drawn[rng.integers(0, max(count, 1), count)]
    ids = rng.choice(8 * count + 1, count, replace=False) * rng.choice([1, 10**15]) - 3 * count
    return drawn, ids


def ranking(query, bits, ids):
    """Distances and ids of all entries in their exact order, one Python integer at a time."""
    return sorted(
        (sum(a != b for a, b in zip(query, row, strict=True)), i)
        for row, i in zip(bits.tolist(), ids.tolist(), strict=True)
    )


def pairs(found):
    return list(zip(found.distances.tolist(), found.ids.tolist(), strict=True))


def first(ranked, ids, k):
    """The first k of a ranking; of those at the k-th distance, which were added first."""
    added = {i: n for n, i in enumerate(ids)}
    return sorted(sorted(ranked, key=lambda pair: (pair[0], added[pair[1]]))[:k])


def kinds(bits):
    """Every index that must agree."""
    return [FaissIndex(bits), FaissIndex(bits, "multi_hash")]


@given(LENGTHS, SEEDS)
def test_codes_are_packed_least_significant_bit_first(bits, seed):
    drawn, _ = collection(seed, bits, 5)
    codes = pack(drawn)
    assert codes.dtype == np.uint8
    assert codes.shape == (5, math.ceil(bits / 8))
    for row, code in zip(drawn, codes, strict=True):
        assert int.from_bytes(code.tobytes(), "little") == sum(
            1 << j for j in np.flatnonzero(row).tolist()
        )
    np.testing.assert_array_equal(unpack(codes, bits), drawn)
    np.testing.assert_array_equal(pack(torch.tensor(drawn)), codes)
    np.testing.assert_array_equal(pack(drawn.astype(np.float32)), codes)


@given(LENGTHS, SEEDS)
def test_distances_are_the_bits_that_differ(bits, seed):
    a, _ = collection(seed, bits, 4)
    b, _ = collection(seed + 1, bits, 6)
    found = hamming_distances(torch.tensor(pack(a)), pack(b))
    np.testing.assert_array_equal(found, (a[:, None] != b).sum(axis=2))
    assert found.dtype == np.int32


@given(LENGTHS, SEEDS, st.sampled_from([0, 1, 2, 3, 30, 300]), st.data())
def test_within_and_search_are_exact(bits, seed, count, data):
    drawn, ids = collection(seed, bits, count)
    asked, _ = collection(seed + 1, bits, 4)
    asked[:2] = drawn[:2] if count > 1 else asked[:2]
    radius = data.draw(st.one_of(st.integers(0, 3), st.integers(0, bits)))
    k = data.draw(st.integers(1, count)) if count else None
    codes, queries = pack(drawn), pack(asked)
    expected = [ranking(query, drawn, ids) for query in asked.tolist()]
    for index in kinds(bits):
        index.add(codes, ids)
        assert len(index) == count
        for found, right in zip(index.within(queries, radius), expected, strict=True):
            assert pairs(found) == [pair for pair in right if pair[0] <= radius]
            assert (found.distances.dtype, found.ids.dtype) == (np.int32, np.int64)
        if k is None:
            continue
        found = index.search(queries, k)
        assert found.distances.shape == found.ids.shape == (4, k)
        assert (found.distances.dtype, found.ids.dtype) == (np.int32, np.int64)
        for row, right in enumerate(expected):
            nearest = pairs(type(found)(found.distances[row], found.ids[row]))
            assert nearest == first(right, ids.tolist(), k)


@pytest.mark.parametrize("bits", [20, 64, 130, 4096])
def test_larger_collections_against_the_matrix_of_distances(bits):
    rng = np.random.default_rng(bits)
    centres = rng.random((40, bits)) < 0.5
    drawn = centres[rng.integers(0, 40, 3000)] ^ (rng.random((3000, bits)) < 1.5 / bits)
    codes, queries, ids = pack(drawn), pack(drawn[:25]), rng.permutation(3000)
    # some codes are very near to queries, and some queries far from all codes
    queries[20:] = pack(rng.random((5, bits)) < 0.5)
    distances = hamming_distances(queries, codes)
    for index in kinds(bits):
        index.add(codes, ids)
        for radius in (0, 1, 2, 5):
            for row, found in enumerate(index.within(queries, radius)):
                at = np.flatnonzero(distances[row] <= radius)
                order = np.lexsort((ids[at], distances[row, at]))
                np.testing.assert_array_equal(found.ids, ids[at][order])
        for k in (1, 7, 60, 2999, 3000):
            found = index.search(queries, k)
            for row in range(25):
                at = np.argsort(distances[row], kind="stable")[:k]
                order = at[np.lexsort((ids[at], distances[row, at]))]
                np.testing.assert_array_equal(found.ids[row], ids[order])
                np.testing.assert_array_equal(found.distances[row], distances[row, order])


def test_a_query_far_from_a_crowd_of_equal_codes_gets_what_was_added_first():
    for index in kinds(32):
        index.add(np.zeros((50_000, 4), np.uint8), np.arange(50_000)[::-1])
        found = index.search(np.full((2, 4), 255, np.uint8), 5)
        np.testing.assert_array_equal(found.ids, [np.arange(49_995, 50_000)] * 2)
        np.testing.assert_array_equal(found.distances, np.full((2, 5), 32))


class Model(RuleBasedStateMachine):
    """Any sequence of additions and removals, beside a dictionary."""

    @initialize(bits=st.sampled_from([1, 3, 8, 20, 64, 65]))
    def start(self, bits):
        self.bits, self.held = bits, {}
        self.indexes = kinds(bits)

    @rule(seed=SEEDS, count=st.integers(0, 40))
    def add(self, seed, count):
        drawn, _ = collection(seed, self.bits, count)
        first = max([*self.held, -1]) + 1
        if first + count > 2**63 - 1:
            for index in self.indexes:
                with pytest.raises(ValueError, match="but none are left after"):
                    index.add(pack(drawn))
            return
        for index in self.indexes:
            index.add(pack(drawn))
        self.held.update(zip(range(first, first + count), drawn.tolist(), strict=True))

    @rule(ids=st.lists(st.one_of(IDS, st.integers(-3, 60)), max_size=6, unique=True), seed=SEEDS)
    def add_under_ids(self, ids, seed):
        drawn, _ = collection(seed, self.bits, len(ids))
        known = [i for i in ids if i in self.held]
        for index in self.indexes:
            if known:
                with pytest.raises(
                    ValueError, match=rf"got the id {known[0]}, which the index has"
                ):
                    index.add(pack(drawn), ids)
            else:
                index.add(pack(drawn), np.array(ids, np.int64))
        if not known:
            self.held.update(zip(ids, drawn.tolist(), strict=True))

    @rule(data=st.data(), unknown=st.lists(IDS, max_size=2))
    def remove(self, data, unknown):
        some = (
            st.lists(st.sampled_from(sorted(self.held)), unique=True) if self.held else st.just([])
        )
        ids = data.draw(some) + unknown
        gone = {i for i in ids if i in self.held}
        for index in self.indexes:
            assert index.remove(np.array(ids, np.int64)) == len(gone)
        for i in gone:
            del self.held[i]

    @precondition(lambda self: self.held)
    @rule(seed=SEEDS, radius=st.integers(0, 4), data=st.data())
    def ask(self, seed, radius, data):
        query, _ = collection(seed, self.bits, 1)
        k = data.draw(st.integers(1, len(self.held)))
        drawn, ids = np.array(list(self.held.values())), np.array(list(self.held), np.int64)
        expected = ranking(query[0].tolist(), drawn, ids)
        for index in self.indexes:
            (found,) = index.within(pack(query), radius)
            assert pairs(found) == [pair for pair in expected if pair[0] <= radius]
            distances, nearest = (rows[0].tolist() for rows in index.search(pack(query), k))
            assert list(zip(distances, nearest, strict=True)) == first(expected, self.held, k)

    @invariant()
    def size(self):
        if not hasattr(self, "held"):
            return
        for index in self.indexes:
            assert len(index) == len(self.held)


Model.TestCase.settings = settings(max_examples=25, stateful_step_count=15)
TestModel = Model.TestCase


@given(LENGTHS, SEEDS, st.integers(0, 30))
@settings(max_examples=15)
def test_what_is_saved_is_loaded(tmp_path_factory, bits, seed, count):
    drawn, ids = collection(seed, bits, count)
    folder = tmp_path_factory.mktemp("index")
    for index in kinds(bits):
        index.add(pack(drawn), ids)
        index.save(folder / "codes.npz")
        for kind in ("flat", "multi_hash"):
            found = FaissIndex.load(str(folder / "codes.npz"), kind)
            assert (found.bits, len(found)) == (bits, count)
            for a, b in zip(
                found.within(pack(drawn), bits), index.within(pack(drawn), bits), strict=True
            ):
                assert pairs(a) == pairs(b)
    assert [path.name for path in folder.iterdir()] == ["codes.npz"]


@pytest.fixture
def saved(tmp_path):
    index = FaissIndex(20)
    index.add(pack(np.random.default_rng(0).random((6, 20)) < 0.5), [5, -1, 7, 2**40, 0, 3])
    index.save(tmp_path / "codes.npz")
    return tmp_path / "codes.npz"


def test_a_file_cut_off_anywhere_is_refused(saved):
    content = saved.read_bytes()
    for length in range(len(content)):
        saved.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"codes\.npz cannot be read as codes: it is trunc"):
            FaissIndex.load(saved)


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_a_file_with_one_byte_changed_is_refused_or_right(saved, change):
    content, (bits, codes, ids), refused = saved.read_bytes(), codes_module.read(saved), 0
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= change
        saved.write_bytes(altered)
        try:
            found = codes_module.read(saved)
        except ValueError:
            refused += 1
            continue
        assert found[0] == bits
        np.testing.assert_array_equal(found[1], codes)
        np.testing.assert_array_equal(found[2], ids)
    assert refused > len(content) / 2


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "codes.npz"
    right = {
        "format": np.array("aebook codes 1"),
        "bits": np.array(4),
        "codes": np.array([[1], [2]], np.uint8),
        "ids": np.array([3, 4]),
    }
    np.savez(path, **right)
    assert len(FaissIndex.load(path)) == 2
    for change, message in [
        ({"format": np.array("aebook codes 0")}, "has the format 'aebook codes 0', expected"),
        ({"more": np.array(1)}, "has the format"),
        ({"bits": np.array(0)}, "is not what aebook writes: got bits=0"),
        ({"bits": np.array([4, 4])}, "is not what aebook writes"),
        ({"bits": np.array(9)}, "is not what aebook writes: got codes of shape"),
        ({"codes": np.array([[1], [16]], np.uint8)}, "got codes with ones beyond bit 4"),
        ({"ids": np.array([3, 3])}, "got the id 3 twice"),
        ({"ids": np.array([3])}, r"got ids of shape \(1,\) and int64"),
        ({"ids": np.array([1.5, 2])}, r"got ids of .* float64"),
        ({"ids": np.array([{}, 1], object)}, "cannot be read as codes"),
    ]:
        np.savez(path, **{**right, **change})
        with pytest.raises(ValueError, match=rf"codes\.npz .*{message}"):
            FaissIndex.load(path)
    with pytest.raises(FileNotFoundError):
        FaissIndex.load(tmp_path / "nothing.npz")


def header(shape, dtype="|u1"):
    """The beginning of an .npy file."""
    file = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


@pytest.mark.parametrize(
    "codes",
    [
        header((2**40, 1)),
        header((2**40, 1)) + bytes(10),
        header((2**62, 2**62)),
        header((-1, -4)) + bytes(4),
        header((2**33, 1)) + bytes(2**26),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_file_is_given_no_more_memory_than_it_has_bytes(tmp_path, codes, method):
    path, members = tmp_path / "codes.npz", {"codes": codes, "ids": header((0,), "<i8")}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in {"format": np.array("aebook codes 1"), "bits": np.array(8)}.items():
            file = io.BytesIO()
            np.save(file, array)
            members[name] = file.getvalue()
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    tracemalloc.start()
    with pytest.raises(ValueError, match="cannot be read as codes"):
        FaissIndex.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * path.stat().st_size + 2**20


def test_what_is_deflated_is_refused_though_it_is_all_there(saved):
    right = dict(np.load(saved))
    right["codes"], right["ids"] = np.zeros((5000, 3), np.uint8), np.arange(5000)
    np.savez(saved, **right)
    assert len(FaissIndex.load(saved)) == 5000
    np.savez_compressed(saved, **right)
    with pytest.raises(ValueError, match="cannot be read as codes"):
        FaissIndex.load(saved)


def test_a_write_that_fails_halfway_leaves_the_file_that_was_there(saved, monkeypatch):
    content, index = saved.read_bytes(), FaissIndex.load(saved)
    index.remove([5])

    def half(file, **_):
        file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(codes_module.np, "savez", half)
    with pytest.raises(OSError, match="No space left"):
        index.save(saved)
    assert saved.read_bytes() == content
    assert list(saved.parent.iterdir()) == [saved]
    with pytest.raises(ValueError, match="its folder does not exist"):
        index.save(saved.parent / "nowhere" / "codes.npz")


def test_misuse_is_refused():
    codes = np.array([[1, 0], [2, 1]], np.uint8)
    with pytest.raises(ValueError, match=r"got bits of shape \(3,\) and .*, expected \(N, p\)"):
        pack(np.ones(3))
    for bits in ([[0, 2]], [[0.5, 1]], [[np.nan, 0]]):
        with pytest.raises(ValueError, match="values other than 0 and 1"):
            pack(bits)
    with pytest.raises(ValueError, match=r"got codes of shape"):
        hamming_distances(codes, codes[:, :1])
    for bits in (0, -3, 2.5, True, "8"):
        with pytest.raises(ValueError, match=r"got bits=.*, expected a whole number"):
            FaissIndex(bits)
    with pytest.raises(ValueError, match=r"got kind='tree', expected .flat. or"):
        FaissIndex(8, "tree")
    for index in kinds(9):
        with pytest.raises(ValueError, match="got k=1, expected a whole number from 1 to 0: add"):
            index.search(codes, 1)
        assert [len(found.ids) for found in index.within(codes, 9)] == [0, 0]
        index.add(codes)
        for bad in (codes[0], codes[:, :1], codes.astype(int), codes > 0):
            for call in (index.add, index.search, index.within):
                with pytest.raises(ValueError, match=r"got codes of shape"):
                    call(bad, *([1] if call != index.add else []))
        with pytest.raises(ValueError, match="got codes with ones beyond bit 9"):
            index.add(codes + 1)
        for k in (0, 3):
            with pytest.raises(ValueError, match=rf"got k={k}, expected .* from 1 to 2: add codes"):
                index.search(codes, k)
        for k in (1.5, True):
            with pytest.raises(ValueError, match=rf"got k={k}, expected a whole number"):
                index.search(codes, k)
        for radius in (-1, 0.5, True):
            with pytest.raises(ValueError, match=rf"got radius={radius}, expected a whole number"):
                index.within(codes, radius)
        for ids in ([1], [[1, 2]], [0.5, 1]):
            with pytest.raises(ValueError, match=r"got ids of .*expected \(2,\) of integers"):
                index.add(codes, ids)
        with pytest.raises(ValueError, match=r"got ids=\['a', 'b'\], expected an array of numbers"):
            index.add(codes, ["a", "b"])
        with pytest.raises(ValueError, match="got the id 7 twice"):
            index.add(codes, [7, 7])
        with pytest.raises(ValueError, match="expected what fits into int64"):
            index.add(codes, np.array([1, 2**63], np.uint64))
        with pytest.raises(ValueError, match=r"got ids of .*float64.*expected \(n,\) of integers"):
            index.remove([0.5])
        assert len(index) == 2


def test_no_queries_and_codes_as_tensors():
    for index in kinds(16):
        index.add(torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8))
        nothing = np.zeros((0, 2), np.uint8)
        assert index.within(nothing, 2) == []
        assert index.search(nothing, 2).ids.shape == (0, 2)
        found = index.search(torch.tensor([[3, 4]], dtype=torch.uint8), 1)
        assert (found.distances.item(), found.ids.item()) == (0, 1)


def test_without_faiss_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r'pip install "aebook\[scale\]"'):
        FaissIndex(64)


def test_the_tables_of_faiss_are_used_and_exact():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (150_000, 8), dtype=np.uint8)
    queries = codes[:20] ^ pack(rng.random((20, 64)) < 0.05)
    flat, tables = FaissIndex(64), FaissIndex(64, "multi_hash")
    for index in (flat, tables):
        index.add(codes)
    for radius, flips in [(2, 0), (5, 1)]:
        found = [index.within(queries, radius) for index in (flat, tables)]
        assert [pairs(f) for f in found[0]] == [pairs(f) for f in found[1]]
        assert sum(len(f.ids) for f in found[0]) > 0
        # 5 bits over 3 tables: in one of them at most 1 is off
        assert tables._index.nflip == flips
