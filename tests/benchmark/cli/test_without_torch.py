"""`prepare` and `inspect` work where torch cannot be imported at all."""

import json
import subprocess
import sys

import numpy as np
import pytest

from skelbench.datasets import READERS

# Runs each command of a JSON list in one process in which every import of torch fails; prints their exit codes.
PROGRAM = """
import json, sys
sys.modules["torch"] = None
from skelbench.benchmark.cli import main
codes = []
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        codes.append(end.code)
print(json.dumps(codes))
"""


def run(*commands):
    """Exit codes of the commands, and everything that was printed."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run([sys.executable, "-c", PROGRAM, words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def test_a_data_set_is_prepared_and_inspected(tmp_path, arrays):
    np.savez(tmp_path / "mine.npz", **arrays())
    codes, output = run(
        ("prepare", "arrays", "--from", tmp_path / "mine.npz", "--name", "mine"),
        ("prepare", "auto", "--from", tmp_path / "mine.npz", "--name", "found"),
        ("inspect", "mine"),
        ("inspect", "mine", "--json"),
        ("prepare", "--help"),
    )
    assert codes == [0] * 5, output
    assert "24 clips" in output


@pytest.mark.parametrize("named", [True, False], ids=["a file that is not there", "an empty folder"])
def test_every_reader_answers(tmp_path, named):
    source = tmp_path / "raw.npz" if named else tmp_path
    readers = [name for name in READERS if name != "synthetic"]
    codes, output = run(*(("prepare", name, "--from", source, "--name", f"of-{name}") for name in readers))
    assert codes == [2] * len(readers), output
    assert output.count("Error: ") == len(readers) and "torch" not in output
