"""Tests of aebook.applications.words: depths and similarities on graphs of meanings."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebook.applications.words import common_ancestor, depths, path_similarity, wu_palmer
from aebook.datasets import nouns

#       0 entity
#      / \
#     1   2      3 is below both, 4 below 2 only, 5 below 3
#      \ / \
#       3   4    6 stands alone
#       |
#       5
PARENTS = [(), (0,), (0,), (1, 2), (2,), (3,), ()]


@st.composite
def taxonomies(draw):
    """Graphs without circles, and words with one to three meanings; numbers are mixed."""
    size = draw(st.integers(1, 9))
    above = [
        draw(st.sets(st.integers(0, child - 1), max_size=3)) if child else set()
        for child in range(size)
    ]
    mixed = draw(st.permutations(range(size)))
    parents = [()] * size
    for child, own in enumerate(above):
        parents[mixed[child]] = tuple(mixed[parent] for parent in own)
    senses = st.lists(st.integers(0, size - 1), min_size=1, max_size=3)
    return parents, draw(st.lists(senses, min_size=1, max_size=5))


def graph_of(parents):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(parents)))
    graph.add_edges_from((child, parent) for child, own in enumerate(parents) for parent in own)
    return graph


def meetings(parents, first, second):
    """All ways for two words to meet: what is above both, and the steps."""
    up = dict(nx.all_pairs_shortest_path_length(graph_of(parents)))
    for a, b in itertools.product(first, second):
        for meet in up[a].keys() & up[b].keys():
            yield meet, up[a][meet] + up[b][meet]


@given(taxonomies())
def test_depths_are_the_longest_ways_from_a_root(taxonomy):
    parents, _ = taxonomy
    graph = graph_of(parents)
    roots = [n for n, own in enumerate(parents) if not own]
    for node, depth in enumerate(depths(parents)):
        ways = [
            len(way)
            for root in roots
            for way in ([[root]] if root == node else nx.all_simple_paths(graph, node, root))
        ]
        assert depth == max(ways)


@given(taxonomies())
def test_similarities_are_the_best_over_all_meetings(taxonomy):
    parents, words = taxonomy
    depth = depths(parents)
    alike, near = wu_palmer(words, parents), path_similarity(words, parents)
    for i, j in itertools.product(range(len(words)), repeat=2):
        met = list(meetings(parents, words[i], words[j]))
        by_depth = {m: 2 * depth[m] / (steps + 2 * depth[m]) for m, steps in sorted(met)[::-1]}
        for m, steps in met:
            by_depth[m] = max(by_depth[m], 2 * depth[m] / (steps + 2 * depth[m]))
        assert alike[i, j] == pytest.approx(max(by_depth.values(), default=0))
        assert near[i, j] == pytest.approx(max((1 / (1 + steps) for _, steps in met), default=0))
        if met:
            meet = common_ancestor(words[i], words[j], parents)
            assert by_depth[meet] == pytest.approx(alike[i, j])


@given(taxonomies())
def test_similarities_are_symmetric_and_one_for_a_shared_meaning(taxonomy):
    parents, words = taxonomy
    for similarity in (wu_palmer, path_similarity):
        alike = similarity(words, parents)
        assert np.array_equal(alike, alike.T)
        assert (alike >= 0).all()
        shared = np.array([[bool(set(a) & set(b)) for b in words] for a in words])
        assert np.array_equal(alike == 1, shared)


def test_a_small_graph():
    assert depths(PARENTS).tolist() == [1, 2, 2, 3, 3, 4, 1]
    alike = wu_palmer([[5], [4], [1], [6], [6, 4]], PARENTS)
    # 5 and 4 meet at 2 of depth 2, two steps and one away
    assert alike[0, 1] == pytest.approx(4 / 7)
    assert alike[1, 2] == pytest.approx(2 / 5)
    assert alike[0, 3] == 0
    assert alike[3, 4] == 1
    assert common_ancestor([5], [4], PARENTS) == 2
    assert path_similarity([[5], [4]], PARENTS)[0, 1] == pytest.approx(1 / 4)


@pytest.mark.parametrize(
    ("first", "second", "path", "wup"),
    [
        ("dog", "cat", 0.2, 6 / 7),
        ("trout", "salmon", 1 / 3, 0.9375),
        ("trout", "oak", 0.1, 0.5),
        ("wine", "beer", 0.25, 6 / 7),
        ("king", "church", 1 / 11, 0.5),
    ],
)
def test_values_of_nltk(first, second, path, wup):
    """The largest over all senses, as nltk 3's WordNet reader gives for WordNet 3.0.

    Of 305 pairs of words nltk's path similarity was the same for all but one, a plural that nltk
    takes back to its singular, and its Wu-Palmer similarity for 285: where there are several ways
    up it takes one meeting place, and not the best.
    """
    words, _, senses, _, parents = nouns()
    pair = [senses[words.index(word)] for word in (first, second)]
    assert path_similarity(pair, parents)[0, 1] == pytest.approx(path)
    assert wu_palmer(pair, parents)[0, 1] == pytest.approx(wup)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: depths([(1,), (0,)]), "meanings that are above themselves"),
        (lambda: depths([(0,)]), "meanings that are above themselves"),
        (lambda: depths([(), (2,)]), "got 2 as a parent of 1, expected 0 to 1"),
        (lambda: wu_palmer([[7]], PARENTS), "got 7 as a meaning of word 0, expected 0 to 6"),
        (lambda: wu_palmer([[-1]], PARENTS), "got -1 as a meaning of word 0"),
        (lambda: path_similarity([[1], []], PARENTS), "got 0 meanings of word 1, expected 1 or "),
        (lambda: path_similarity([[0]], [(0,)]), "meanings that are above themselves"),
        (lambda: common_ancestor([5], [6], PARENTS), "got two words that do not meet"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
