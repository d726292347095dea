"""Small faults put into the library, one at a time: do its tests notice?

    python benchmarks/mutation.py --work FOLDER --output FILE

A mutant is a file with one operator, comparison, constant or condition changed, or one
statement taken out. The tests run on a copy of the tree. A mutant that they pass has
survived: it is written down with its line. The order is drawn by the seed, so that a
run that is stopped has tried a random sample; the same call goes on with it.

First each test runs once, and the lines are noted that it executes. The tests of its
line try a mutant, first those that have killed most. A process is forked for each
mutant after all is imported, and its functions get the code of the mutant. What lies
outside of functions is tried in a fresh process. `--quick` takes only the first file of
tests of each file, and `--again` tries what has survived with all of them.
"""

import argparse
import ast
import copy
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 3  # seconds of computing; tests that take longer are left out
PATIENCE = 1200  # seconds after which a process hangs, whether it computes or not
# The tests of each file: first those that call it directly and train nothing.
TESTS = {
    "domain_data.py": "test_domain_rows test_didan test_sequences",
    "model_selection/_leakage.py": "test_duplicates test_model_selection test_leakage",
    "nn/batching.py": "test_batching test_losses test_numerics",
    "nn/losses.py": "test_losses test_numerics",
    "domains.py": "test_didan",
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
    """Return what there is to know of every mutant of a file's text."""
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
            told = {"line": node.lineno, "what": what, "old": old}
            told |= {"new": _changed(whole, new), "number": len(found)}
            found.append((told, lines[node], node in inside, new))
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


def transplant(old, new, module):
    """Give the functions of a module, or of a class, the code of others."""
    for name, value in vars(new).items():
        mine = vars(old).get(name)
        if getattr(value, "__module__", None) != module:
            continue
        if isinstance(value, type):
            transplant(mine, value, module)
        value, mine = (getattr(f, "fget", f) for f in (value, mine))
        value, mine = (getattr(f, "__wrapped__", f) for f in (value, mine))
        if isinstance(value, types.FunctionType):
            mine.__code__ = value.__code__


def in_a_process(call, seconds):
    """Return the value and the signal of a call in a forked process."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setpgid(0, 0)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(null, descriptor)
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            with os.fdopen(writing, "w") as file:
                json.dump(call(), file)
        finally:
            os._exit(0)
    os.close(writing)
    signal.signal(signal.SIGALRM, lambda *args: os.killpg(pid, signal.SIGKILL))
    signal.alarm(PATIENCE)
    with os.fdopen(reading) as file:
        text = file.read()
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(0)
    return json.loads(text or "null"), ended


class Run:
    """A plugin of pytest that runs the tests once, and then for each mutant."""

    def __init__(self, folder, args):
        self.folder, self.args, self.stack = Path(folder), args, []
        sources = {file: self.folder / "sklearn_ser" / file for file in TESTS}
        self.sources = {str(path): file for file, path in sources.items()}
        self.passed = True
        self.everything = [
            (file, *mutant)
            for file, path in sources.items()
            for mutant in mutants(path.read_text())
        ]
        random.Random(args.seed).shuffle(self.everything)
        if args.quick:  # file by file, as the tests get known
            self.everything.sort(key=lambda mutant: [*TESTS].index(mutant[0]))

    # ------------------------------------------------------------ what tests execute

    def _trace(self, frame, event, argument):
        if (file := self.sources.get(frame.f_code.co_filename)) is None:
            return None
        if self.stack:
            self.stack[-1].add((file, frame.f_lineno))
        return self._trace

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        lines = self.of_fixtures.setdefault(fixturedef.argname, set())
        self.stack.append(lines)
        try:
            return (yield)
        finally:
            self.stack.pop()

    def pytest_runtest_logreport(self, report):
        self.passed = self.passed and report.passed

    def _baseline(self, items):
        """Return the seconds and the lines of each test that passes in time."""
        self.of_fixtures, found = {}, []
        signal.signal(signal.SIGPROF, _too_long)
        for item, following in zip(items, [*items[1:], None], strict=True):
            self.stack, self.passed = [lines := set()], True
            before = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, LONGEST)
            sys.settrace(self._trace)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            sys.settrace(None)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if self.passed:
                seconds = time.process_time() - before
                found.append((item.nodeid, item.fixturenames, seconds, lines))
        return [
            (test, seconds, sorted(lines.union(*map(self._of_fixture, fixtures))))
            for test, fixtures, seconds, lines in found
        ]

    def _of_fixture(self, name):
        return self.of_fixtures.get(name, ())

    def _known_tests(self):
        """Return the seconds and lines of each test, computed for what has changed."""
        path, known = self.args.work / "tests.jsonl", {}
        for row in read_rows(path):
            known[row["file"]] = row
        for file in self.args.files:
            digest = hashlib.sha256((self.folder / file).read_bytes()).hexdigest()
            if known.get(file, {}).get("digest") != digest:
                items = [i for i in self.items if i.nodeid.startswith(f"{file}::")]
                call = lambda items=items: self._baseline(items)  # noqa: E731
                tests, _ = in_a_process(call, 10 * LONGEST * len(items))
                known[file] = {"file": file, "digest": digest, "tests": tests}
                add_row(path, known[file])
                print(file, len(tests), "of", len(items), "tests", flush=True)
        return {
            test: (seconds, {tuple(line) for line in lines})
            for file, row in known.items()
            if file in self.args.files
            for test, seconds, lines in row["tests"]
        }

    # ------------------------------------------------------------------- the mutants

    def pytest_runtestloop(self, session):
        self.items = session.items
        self.by_name = {item.nodeid: item for item in self.items}
        self.known = self._known_tests()
        path = self.args.work / "mutants.jsonl"
        rows = read_rows(path)
        done = {(row["file"], row["number"]): row["end"] for row in rows}
        self.kills = Counter((row["file"], row["test"]) for row in rows)
        for file, told, lines, inside, text in self.everything:
            end = done.get((file, told["number"]))
            if (end != "survived") if self.args.again else (end is not None):
                continue
            row = {"file": file, **told, **self._try(file, lines, inside, text)}
            self.kills[file, row["test"]] += 1
            add_row(path, row)
            rows.append(row)
            print(row["end"], file, told["line"], told["old"], "->", told["new"])
            print("   ", row["test"], f"of {row['tests']}", flush=True)
            self.args.output.write_text(json.dumps(self._report(rows), indent=1) + "\n")
        return True

    def _try(self, file, lines, inside, text):
        """Put a mutant in place of a file, and run the tests of its line."""
        spots = {(file, line) for line in lines}
        own = tuple(f"tests/{name}.py" for name in TESTS[file].split())
        own = [test for test in self.known if test.startswith(own)]
        tests = [test for test in own if spots & self.known[test][1]]
        tests = tests if inside else own
        tests.sort(key=lambda test: (-self.kills[file, test], self.known[test][0]))
        seconds = 60 + 4 * int(sum(self.known[test][0] for test in tests))
        path = self.folder / "sklearn_ser" / file
        whole = path.read_text()
        path.write_text(text)
        try:
            how = self._here if inside else self._in_a_fresh_process
            call = lambda: how(file, text, tests)  # noqa: E731
            value, ended = in_a_process(call, seconds)
        finally:
            path.write_text(whole)
        if ended == -signal.SIGXCPU or ended == -signal.SIGKILL:
            return {"end": "hangs", "test": None, "tests": len(tests)}
        survived = ended == 0 and value == "survived"
        end = "survived" if survived else "killed"
        return {"end": end, "test": None if survived else value, "tests": len(tests)}

    def _here(self, file, text, tests):
        name = "sklearn_ser." + file.removesuffix(".py").replace("/", ".")
        module = importlib.import_module(name)
        fresh = types.ModuleType(name)
        vars(fresh).update(__file__=module.__file__, __package__=module.__package__)
        exec(compile(text, module.__file__, "exec"), vars(fresh))
        transplant(module, fresh, name)
        items = [self.by_name[test] for test in tests if test in self.by_name]
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if not self.passed:
                return item.nodeid
        return "survived"

    def _in_a_fresh_process(self, file, text, tests):
        command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider"]
        done = subprocess.run([*command, *tests], cwd=self.folder, check=False)
        return "survived" if done.returncode == 0 else "in a fresh process"

    def _report(self, rows):
        """Return what is written of the rows; the last of a mutant counts."""
        rows = {(row["file"], row["number"]): row for row in rows}.values()
        ends = Counter(row["end"] for row in rows)
        stage = "--again" if self.args.again else "--quick"
        return {
            "command": f"python benchmarks/mutation.py {stage} --work FOLDER",
            "possible": len(self.everything),
            "tried": len(rows),
            "killed": ends["killed"] + ends["hangs"],
            "of which hang": ends["hangs"],
            "files": {
                file: dict(Counter(row["end"] for row in rows if row["file"] == file))
                for file in TESTS
            },
            "survivors": [
                {name: row[name] for name in ("file", "line", "what", "old", "new")}
                for row in sorted(rows, key=lambda row: (row["file"], row["line"]))
                if row["end"] == "survived"
            ],
        }


def _too_long(*args):
    pytest.skip("takes too long")


def test_files(quick):
    """Return the first file of tests of each file, or all of them."""
    names = [
        name for own in TESTS.values() for name in own.split()[: 1 if quick else 9]
    ]
    return [f"tests/{name}.py" for name in dict.fromkeys(names)]


def read_rows(path):
    return [json.loads(line) for line in path.open()] if path.exists() else []


def add_row(path, row):
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    args.files = test_files(args.quick)
    args.work.mkdir(parents=True, exist_ok=True)
    args.work, args.output = args.work.resolve(), args.output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        copy_of_the_tree(folder)
        os.chdir(folder)
        os.environ["PYTHONPATH"], sys.path[0] = folder, folder
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        options = ["-sq", "-p", "no:cacheprovider", *args.files]
        return pytest.main(options, plugins=[Run(folder, args)])


if __name__ == "__main__":
    sys.exit(main())
