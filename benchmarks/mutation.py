"""Small faults put into the library, one at a time: do its tests notice?

    python benchmarks/mutation.py --mutants 80 --seed 0 --output FILE

A mutant is a file with one operator, comparison, constant or condition changed, or one
statement taken out. The tests that belong to the file run on a copy of the tree. A
mutant that they pass has survived: it is written down with its line. The sample is
drawn by the seed, the same share of each file.
"""

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 900  # seconds for the tests of a mutant; a loop without end is noticed, too
TESTS = {
    "nn/losses.py": "test_losses test_numerics",
    "nn/batching.py": "test_batching test_losses",
    "domains.py": "test_didan",
    "domain_data.py": "test_didan test_sequences",
    "model_selection/_leakage.py": "test_duplicates test_leakage test_model_selection",
}
OTHER = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutations(tree):
    """Yield (node, what, change); `change` takes a copy of the node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
            if type(node.op) in OTHER:
                yield node, "operator", _set("op", OTHER[type(node.op)]())
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
            ops = [OTHER[type(node.ops[0])](), *node.ops[1:]]
            yield node, "comparison", _set("ops", ops)
        elif isinstance(node, ast.Constant) and not isinstance(node.value, str):
            value = node.value
            if isinstance(value, bool):
                yield node, "constant", _set("value", not value)
            elif isinstance(value, int | float):
                yield node, "constant", _set("value", value + 1)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield node, "sign", _put(node.operand)
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            yield node, "condition", _set("test", ast.Constant(False))
        elif isinstance(node, ast.Raise | ast.Assign | ast.AugAssign) or (
            isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
        ):
            yield node, "statement", _put(ast.Pass())


def _set(name, value):
    return lambda node: setattr(node, name, value) or node


def _put(other):
    return lambda node: ast.copy_location(copy.deepcopy(other), node)


class _Replace(ast.NodeTransformer):
    def __init__(self, index, change):
        self.index, self.change = index, change

    def visit(self, node):
        if getattr(node, "index", None) == self.index:
            return self.change(node)
        return self.generic_visit(node)


def mutants(text):
    """Return (line, what, old, new, text) of every mutant of a file's text."""
    tree, found = ast.parse(text), []
    for index, node in enumerate(ast.walk(tree)):
        node.index = index
    for node, what, change in mutations(tree):
        mutant = _Replace(node.index, change).visit(copy.deepcopy(tree))
        new = ast.unparse(ast.fix_missing_locations(mutant))
        if new != ast.unparse(tree):
            old = text.splitlines()[node.lineno - 1].strip()
            found.append(
                (node.lineno, what, old, _changed(ast.unparse(tree), new), new)
            )
    return found


def _changed(old, new):
    """Return the lines of a mutant that the original lacks."""
    lines = set(old.splitlines())
    return [line.strip() for line in new.splitlines() if line not in lines][:2]


def copy_of_the_tree(folder):
    """Copy what Git knows, without what it ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, map(os.fsdecode, listed.split(b"\0"))):
        if (ROOT / name).is_file():
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def passes(folder, tests):
    """Run tests in a folder, until the first fails; tell whether all pass."""
    env = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    names = [f"tests/{name}.py" for name in tests.split()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *names], cwd=folder, env=env, capture_output=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def sample(n_mutants, seed):
    """Draw mutants, of each file in proportion to what it has."""
    everything = [
        (file, *mutant)
        for file in TESTS
        for mutant in mutants((ROOT / "sklearn_ser" / file).read_text())
    ]
    n = min(n_mutants, len(everything))
    return random.Random(seed).sample(everything, n), len(everything)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mutants", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    drawn, n_possible = sample(args.mutants, args.seed)
    report = {
        "command": "python benchmarks/mutation.py "
        f"--mutants {args.mutants} --seed {args.seed}",
        "possible": n_possible,
        "tried": 0,
        "killed": 0,
        "survivors": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        copy_of_the_tree(folder)
        for tests in dict.fromkeys(TESTS[file] for file, *_ in drawn):
            if not passes(folder, tests):
                parser.error(f"without a mutation, {tests} fail")
        for file, line, what, old, new, text in drawn:
            path = Path(folder, "sklearn_ser", file)
            whole = path.read_text()
            path.write_text(text)
            survived = passes(folder, TESTS[file])
            path.write_text(whole)
            report["tried"] += 1
            report["killed"] += not survived
            if survived:
                where = {"file": file, "line": line, "what": what}
                report["survivors"].append({**where, "old": old, "new": new})
            print("SURVIVED" if survived else "killed", file, line, old, "->", new)
            if args.output is not None:
                args.output.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
