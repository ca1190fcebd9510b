"""The house of CONTRIBUTING: which rooms there are, and that arrows go down only."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "aebook"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
#: Names that rooms have in common, and why they may.
SHARED = {
    "Decoder": "of a text, recurrent or by attention: translation.transformer.Decoder",
    "Encoder": "of a text, recurrent or by attention: translation.transformer.Encoder",
    "Gaussian": "b's posterior, and d's likelihood: one distribution at either end",
    "SHIPPED": "what ships, and its SHA-256: of data sets, and of models",
    "contractive": "Ω, and the variant that it makes",
    "cosine": "a curve of the rate, and the transform by cosines; neither goes without its module",
    "decode": "back to messages: from codes, and from bytes",
    "decompose": "into a low rank and a rest, and of characters: neither goes without its module",
    "encode": "to codes, and to bytes",
    "gaussian": "noise, and the filter against it",
    "load": "a model: from a file, and from one that ships",
    "sample": "drawn from a model: codes, units, molecules",
    "score": "the gradient of a density, and what a sample of molecules is worth: measures.score",
    "variational": "the variant, and the variant for symbols",
}
#: What other packages have under names with an underscore, where they offer nothing else.
THEIRS = {
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_modules",
    "_parameters",
    "_version",
    "_asdict",
    "_fields",
    "_replace",
}


def table():
    """Rooms by floor, the ground floor first, as CONTRIBUTING lists them."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf8")
    rows = text.partition("| room | what it holds |\n|---|---|\n")[2].partition("\n\n")[0]
    return [re.findall(r"`(\w+)`", row.split("|")[1]) for row in rows.splitlines()]


def imported(tree):
    """Modules of the package that a file takes something from, when it runs or ever."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "aebook":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in FILES else node.module), alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "aebook":
                    yield alias.name, ""


def arrows():
    """From file to file, but for the front door."""
    for name, path in FILES.items():
        if name != "aebook":
            for other, what in imported(ast.parse(path.read_text("utf8"))):
                # the version stands where a stranger looks for it
                if other not in (name, "aebook"):
                    yield name, other, what


def room(module):
    return module.split(".")[1]


def test_the_table_of_rooms_is_complete():
    rooms = [name for row in table() for name in row]
    assert len(rooms) == len(set(rooms))
    assert set(rooms) == {room(name) for name in FILES if "." in name}


def test_arrows_go_down():
    floor = {name: k for k, row in enumerate(table()) for name in row}
    up = {
        f"{a} → {b}"
        for a, b, _ in arrows()
        if room(a) != room(b) and floor[room(b)] >= floor[room(a)]
    }
    assert not up


def test_files_go_round_in_no_circle():
    below = defaultdict(set)
    for a, b, _ in arrows():
        below[a].add(b)
    done = set()

    def visit(name, path):
        assert name not in path, " → ".join([*path, name])
        if name not in done:
            for other in sorted(below[name]):
                visit(other, (*path, name))
            done.add(name)

    for name in FILES:
        visit(name, ())


def public(module):
    """Names that a file offers and makes itself."""
    tree = ast.parse(FILES[module].read_text("utf8"))
    lists = [n for n in tree.body if isinstance(n, ast.Assign | ast.AnnAssign)]
    targets = {n.target if isinstance(n, ast.AnnAssign) else n.targets[0]: n for n in lists}
    named = {t.id: n for t, n in targets.items() if isinstance(t, ast.Name)}
    offered = ast.literal_eval(named["__all__"].value) if "__all__" in named else ()
    kinds = ast.FunctionDef | ast.ClassDef
    return set(offered) & ({n.name for n in tree.body if isinstance(n, kinds)} | named.keys())


def test_one_name_is_one_idea():
    homes = defaultdict(set)
    for module in FILES:
        if not module.startswith("aebook._internal"):
            for name in public(module):
                homes[name].add(module)
    assert {name for name, modules in homes.items() if len(modules) > 1} == SHARED.keys()


def test_no_private_name_leaves_its_file():
    crossing = {
        f"{a}: from {b} import {what}"
        for a, b, what in arrows()
        if what.startswith("_") and not b.endswith(what)
    }
    for name, path in FILES.items():
        tree = ast.parse(path.read_text("utf8"))
        own = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        named = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
        own |= {n.attr for n in named if getattr(n.value, "id", "") in ("self", "cls")}
        crossing |= {
            f"{name}: .{n.attr}"
            for n in named
            if re.match("_[^_]", n.attr) and n.attr not in own | THEIRS
        }
    assert not crossing


def test_texts_name_their_encoding():
    # that of the system is another on Windows
    bare = []
    for folder in ("aebook", "benchmarks", "tests", "tools", "book"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf8"))):
                if not isinstance(node, ast.Call) or any(
                    k.arg == "encoding" for k in node.keywords
                ):
                    continue
                name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                least = {"read_text": 1, "write_text": 2}.get(name, 0)
                if len(node.args) < least:
                    bare.append(f"{path.relative_to(ROOT)}, line {node.lineno}: {name}")
    assert not bare
