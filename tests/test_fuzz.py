"""Some hundred odd inputs of each family; `benchmarks/fuzz.py` tries a million."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_spec = spec_from_file_location("fuzzing", Path(__file__).with_name("fuzzing.py"))
fuzzing = sys.modules["fuzzing"] = module_from_spec(_spec)
_spec.loader.exec_module(fuzzing)
FAMILIES, Family, Fault = fuzzing.FAMILIES, fuzzing.Family, fuzzing.Fault
attempt = fuzzing.attempt

QUICK = {"waveforms": 150, "saved models": 60, "fits": 25, "audio files": 200}


@pytest.mark.parametrize("name", FAMILIES)
def test_an_odd_input_gives_a_result_or_one_clear_error(name, tmp_path):
    faults = {}
    found = set()
    for number in range(QUICK.get(name, 400)):
        try:
            found.add(attempt(name, 0, number, tmp_path))
        except Fault as fault:
            faults[number] = str(fault)
    assert not faults
    assert {"clean", "ValueError"} <= found


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: 1 / 0, "raw ZeroDivisionError"),
        (lambda: int("a"), "unclear ValueError"),
        (lambda: "a NaN", "unsound: a NaN"),
    ],
)
def test_a_fault_is_told(tmp_path, monkeypatch, use, message):
    family = Family(lambda rng, folder: use, r"\bX\b", 1.0)
    monkeypatch.setitem(FAMILIES, "fits", family)
    with pytest.raises(Fault, match=message):
        attempt("fits", 0, 0, tmp_path)


@pytest.mark.parametrize("name", ["fuzz", "mutation"])
def test_the_page_on_reliability_has_the_figures_of_the_results(name):
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    page = ROOT / "docs" / "developer" / "reliability.md"
    if not path.exists() or not page.exists():
        pytest.skip("the benchmarks or the documentation are not part of the package")
    report, text = json.loads(path.read_text()), page.read_text()
    assert report["command"] in text
    if name == "mutation":
        counts = report["tried"], report["killed"]
        expected = ["{} of them were tried, and {} were killed".format(*counts)]
        expected += [f"`{s['file']}` {s['line']}" for s in report["survivors"]]
    else:
        rows = {**report["families"], "all": report["total"]}
        expected = [fuzzing_row(family, row) for family, row in rows.items()]
        assert rows.keys() == {*FAMILIES, "all"}
    assert [line for line in expected if line not in text] == []


def fuzzing_row(family, row):
    errors, faults = row["errors"], row["faults"]
    errors = errors if isinstance(errors, int) else sum(errors.values())
    faults = faults if isinstance(faults, int) else len(faults)
    return f"| {family} | {row['inputs']} | {row['clean']} | {errors} | {faults} |"
