"""Small faults put into the library, one at a time: do its tests notice?

    python benchmarks/mutation.py --work FOLDER --output FILE

A mutant is a file with one operator, comparison, constant or condition changed, or one
statement taken out. Coverage tells which tests execute a line. These tests try the
mutant in a new process, first those that have killed most. A mutant that they all pass
has survived. The unchanged files go first, and must survive. The seed draws the order,
so that a run that is stopped has tried a random sample. The same call goes on with it,
as long as neither the library nor its tests have changed. After a change, ``--again``
tries the survivors, and the mutants of new lines.
"""

import argparse
import ast
import copy
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 6.0  # seconds, while coverage counts; tests that take longer are left out
PATIENCE = 1200  # seconds after which a process hangs, whether it computes or not
TESTS = {
    "domain_data.py": "test_domain_rows test_didan test_sequences",
    "model_selection/_leakage.py": "test_duplicates test_model_selection test_leakage",
    "nn/batching.py": "test_batching test_losses test_numerics",
    "nn/losses.py": "test_losses test_numerics",
    "domains.py": "test_domain_rows test_didan test_fit",
}
# What every test needs; a forked process has it already.
IMPORTS = "pandas scipy.stats skada sklearn.utils.estimator_checks skorch torch"
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
    """Return what there is to know of every mutant of a file's text.

    These are its row, the lines whose tests try it, and the new text. There are no
    lines for what Python executes at the import; all tests of the file try it.
    """
    tree, found, lines, inside = ast.parse(text), [], {}, set()
    whole = ast.unparse(tree)
    for index, node in enumerate(ast.walk(tree)):
        node.index = index
        if isinstance(node, ast.FunctionDef):
            inside.update(each for part in node.body for each in ast.walk(part))
        if isinstance(node, ast.stmt):  # the inner ones come later
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else node.end_lineno
            for child in ast.walk(node):
                lines[child] = range(node.lineno, end + 1)
    for node, what, change in mutations(tree):
        mutant = _Replace(node.index, change).visit(copy.deepcopy(tree))
        new = ast.unparse(ast.fix_missing_locations(mutant))
        if new != whole:
            old = text.splitlines()[node.lineno - 1].strip()
            row = {"what": what, "old": old, "new": _changed(whole, new)}
            same = sum(row.items() <= other.items() for other, *_ in found)
            row |= {"same before": same, "line": node.lineno}
            found.append((row, lines[node] if node in inside else None, new))
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


class Report:
    """A plugin of pytest: the seconds of each test, and what failed."""

    def __init__(self):
        self.seconds, self.failed = Counter(), []

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.append(f"{report.nodeid}, at its import")


def run_tests(arguments, seconds):
    """Run pytest in a forked process; return its exit status and its report."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.setpgid(0, 0)
        told = os.open("output-of-pytest", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        for descriptor in range(3):
            os.dup2(told, descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        report, status = Report(), pytest.ExitCode.INTERNAL_ERROR
        try:
            options = ["-p", "no:cacheprovider", *arguments]
            status = pytest.main(options, plugins=[report])
            with open(writing, "w") as file:
                json.dump(vars(report), file)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(writing)
    signal.signal(signal.SIGALRM, lambda *args: os.killpg(pid, signal.SIGKILL))
    signal.alarm(PATIENCE)
    with open(reading) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(0)
    return status, json.loads(text or "{}")


def told_by_pytest():
    return Path("output-of-pytest").read_text()[-3000:]


def tests_of_lines(files):
    """Return the seconds of each short test, and the tests that execute a line."""
    data = Path("coverage-of-tests").resolve()
    os.environ["COVERAGE_FILE"] = str(data)
    options = ["--cov=sklearn_ser", "--cov-context=test", "--cov-report="]
    status, report = run_tests([*options, *files], 3 * PATIENCE)
    if status != pytest.ExitCode.OK:
        raise RuntimeError(f"The tests fail as they are: {told_by_pytest()}")
    seconds = {t: s for t, s in report["seconds"].items() if s <= LONGEST}
    counted, lines = coverage.CoverageData(data), []
    counted.read()
    for file in TESTS:
        contexts = counted.contexts_by_lineno(str(Path("sklearn_ser", file).resolve()))
        for line, names in contexts.items():
            tests = {name.rpartition("|")[0] for name in names}
            lines.append((file, line, sorted(tests & seconds.keys())))
    return seconds, lines


class Trial:
    """The mutants, the tests that try them, and what has come of it."""

    def __init__(self, work, seed, again):
        self.path = work / "mutants.jsonl"
        rows = map(json.loads, read_lines(self.path))
        self.rows = {_key(row): row for row in rows}
        self.kills = Counter(row["test"] for row in self.rows.values())
        self.mutants = [
            (file, *mutant)
            for file in TESTS
            for mutant in mutants(Path("sklearn_ser", file).read_text())
        ]
        random.Random(seed).shuffle(self.mutants)
        found = work / "tests.json"
        if again or not found.exists():
            found.write_text(json.dumps(tests_of_lines(test_files())))
        self.seconds, lines = json.loads(found.read_text())
        self.lines = {(file, line): set(tests) for file, line, tests in lines}

    def run(self, output, again):
        if not self.rows:
            self.check_the_unchanged()
        for file, row, lines, text in self.mutants:
            row = {"file": file, **row}
            known = self.rows.get(_key(row))
            if known and not (again and known["end"] == "survived"):
                known["line"] = row["line"]
                continue
            row |= self.attempt(file, lines, text)
            self.rows[_key(row)] = row
            self.kills[row["test"]] += 1
            with self.path.open("a") as record:
                record.write(json.dumps(row) + "\n")
            print(row["end"], file, row["line"], row["old"], "->", row["new"])
            print("   ", row["test"], "of", row["tests"], flush=True)
            output.write_text(json.dumps(self.report(), indent=1) + "\n")

    def check_the_unchanged(self):
        for file in TESTS:
            whole = ast.unparse(ast.parse(Path("sklearn_ser", file).read_text()))
            if (told := self.attempt(file, None, whole))["end"] != "survived":
                raise RuntimeError(f"The unchanged {file} did not survive: {told}")

    def attempt(self, file, lines, text):
        """Put a text in place of a file, and run the tests of its lines."""
        if lines is None:
            own = tuple(f"tests/{name}.py" for name in TESTS[file].split())
            tests = {test for test in self.seconds if test.startswith(own)}
        else:
            tests = set().union(*(self.lines.get((file, line), ()) for line in lines))
        told = {"end": "survived", "test": None, "tests": len(tests)}
        if not tests:  # pytest would run all of them
            return told
        tests = sorted(tests, key=lambda t: (-self.kills[t], self.seconds[t], t))
        limit = 60 + 4 * int(sum(self.seconds[test] for test in tests))
        path = Path("sklearn_ser", file)
        whole = path.read_text()
        path.write_text(text)
        try:
            status, report = run_tests(["-x", *tests], limit)
        finally:
            path.write_text(whole)
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return {**told, "end": "hangs"}
        if status == pytest.ExitCode.OK:
            return told
        if status < 0:  # a crash
            return {**told, "end": "killed", "test": f"signal {-status}"}
        if status == pytest.ExitCode.USAGE_ERROR and "conftest" in told_by_pytest():
            return {**told, "end": "killed", "test": "conftest.py, at its import"}
        if not report.get("failed"):
            raise RuntimeError(f"pytest: {status} on {file}: {told_by_pytest()}")
        return {**told, "end": "killed", "test": report["failed"][0]}

    def report(self):
        tried = [self.rows.get(_key({"file": f, **r})) for f, r, *_ in self.mutants]
        rows = sorted(filter(None, tried), key=lambda r: (r["file"], r["line"]))
        ends = Counter(row["end"] for row in rows)
        return {
            "command": "python benchmarks/mutation.py --work FOLDER"
            " --output benchmarks/results/mutation.json",
            "possible": len(self.mutants),
            "tried": len(rows),
            "killed": ends["killed"] + ends["hangs"],
            "of which hang": ends["hangs"],
            "files": {
                file: dict(Counter(r["end"] for r in rows if r["file"] == file))
                for file in TESTS
            },
            "survivors": [
                {name: row[name] for name in ("file", "line", "what", "old", "new")}
                for row in rows
                if row["end"] == "survived"
            ],
        }


def _key(row):
    """Return what tells mutants apart, whatever changes elsewhere in their file."""
    return json.dumps([row[n] for n in ("file", "what", "old", "new", "same before")])


def test_files():
    names = (name for own in TESTS.values() for name in own.split())
    return [f"tests/{name}.py" for name in dict.fromkeys(names)]


def read_lines(path):
    return path.read_text().splitlines() if path.exists() else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    told = "try those that have survived, with new tests"
    parser.add_argument("--again", action="store_true", help=told)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    work, output = args.work.resolve(), args.output.resolve()
    for name in IMPORTS.split():
        __import__(name)
    with tempfile.TemporaryDirectory() as folder:
        copy_of_the_tree(folder)
        os.chdir(folder)
        os.environ["PYTHONPATH"], sys.path[0] = folder, folder
        sys.dont_write_bytecode = True
        Trial(work, args.seed, args.again).run(output, args.again)


if __name__ == "__main__":
    main()
