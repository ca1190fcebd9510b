"""The page of recalls: its examples are right, and chapters lead to it where they first need it."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from scipy import linalg, special, stats
from sklearn.metrics import roc_auc_score

BOOK = Path(__file__).resolve().parents[2] / "book"
NOTEBOOKS = sorted(BOOK.glob("*/*.ipynb"))
PAGE = (BOOK / "recalls.md").read_text(encoding="utf-8")

#: Words that not every reader knows, and the label of the page that recalls them.
RECALLED = {
    "AUROC": "auroc",
    "ReLU": "activation",
    "softmax": "activation",
    "posterior": "posterior",
    "Kolmogorov": "kolmogorov-smirnov",
    "eigenvector": "eigenvectors",
    "covariance": "eigenvectors",
    "singular value": "singular-values",
    "(?<![Cc]ontrastive )divergence": "divergence",
    "cross-entropy": "divergence",
    "nats": "nats",
    "standard error": "standard-error",
    "Jacobian": "jacobian",
    "density": "density",
    "PSNR": "psnr",
    "rank correlation": "rank-correlation",
}

# the examples of the page: what it says, and what is computed
EXAMPLES = {
    "gradient": [(2.4, 3 - 0.1 * 6), (5.76, 2.4**2)],
    "activation": [
        (0.5, special.expit(0)),
        (0.25, special.softmax([0, np.log(3)])[0]),
        (0.75, special.softmax([0, np.log(3)])[1]),
    ],
    "convolution": [(5, np.correlate([0, 0, 5, 5], [-1, 1]).max())],
    "eigenvectors": [
        (3, linalg.eigvalsh([[2, 1], [1, 2]])[1]),
        (1, linalg.eigvalsh([[2, 1], [1, 2]])[0]),
    ],
    "singular-values": [(5, linalg.svdvals([[3, 0], [4, 0]])[0])],
    "density": [(2, 1 / 0.5), (0.02, 1 / 50)],
    "nats": [(1.443, 1 / np.log(2)), (3, np.log2(8)), (2.08, np.log(8))],
    "standard-error": [(1.58, np.std(range(1, 6), ddof=1)), (0.71, stats.sem(range(1, 6)))],
    "auroc": [(0.83, roc_auc_score([0, 0, 0, 1, 1], [1, 2, 3, 2.5, 4]))],
    "precision": [(0.6, 6 / 10), (0.5, 6 / 12)],
    "rank-correlation": [(0.5, stats.spearmanr([1, 2, 3], [10, 20, 15]).statistic)],
    "kolmogorov-smirnov": [(0.5, stats.ks_2samp([1, 2, 3, 4], [3, 4, 5, 6]).statistic)],
    "psnr": [(20, -10 * np.log10(0.01))],
}


def test_every_label_is_of_a_section_with_an_example_or_a_rule():
    labels = re.findall(r"^\(recall-([\w-]+)\)=$", PAGE, re.MULTILINE)
    assert len(labels) == len(set(labels)) == PAGE.count("\n### ")
    assert set(RECALLED.values()) | EXAMPLES.keys() <= set(labels)


@pytest.mark.parametrize("label", EXAMPLES)
def test_examples_are_right(label):
    section = PAGE.split(f"(recall-{label})=")[1].split("\n(recall-")[0]
    for said, found in EXAMPLES[label]:
        assert re.search(rf"(?<![\d.]){re.escape(str(said))}(?![\d]|\.\d)", section), said
        digits = len(str(said).partition(".")[2])
        assert round(float(found), digits) == said


def unexplained(text: str) -> list[str]:
    """Words of the table that a text uses and nowhere leads to the page for."""
    prose = re.sub(r"```.*?```|\$\$.*?\$\$|`[^`]*`|\$[^$]*\$", " ", text, flags=re.DOTALL)
    return [
        word
        for word, label in RECALLED.items()
        if re.search(rf"\b{word}", prose) and f"<recall-{label}>" not in text
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_chapters_lead_to_what_they_use(path):
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert not unexplained(text)
