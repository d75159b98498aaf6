"""Claims on cells: one process holds a cell, a dead owner's is taken over, clocks of other machines are not used."""

import json
import os
import subprocess
import sys
import threading

import pytest

from skelbench.errors import SkelbenchError
from skelbench.results import claims as module
from skelbench.results.claims import ClaimLostError, Claims
from skelbench.results.record import Cell, Key

CELL = "0123456789abcdef"
PLACE = {"method": "skeattnclr", "backbone": "stgcn", "dataset": "ntu60", "split": "xsub", "stream": "joint"}
KEY = Key(Cell(**PLACE, track="equal", protocol="linear", seed=0), CELL)  # type: ignore[arg-type]


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def claims(tmp_path, clock=None, beat=60.0):
    return Claims(tmp_path, beat=beat, patience=30.0, **({"clock": clock} if clock else {}))


def got(asked):
    """The claim on the cell, which is free."""
    claim = asked.take(KEY)
    assert claim is not None
    return claim


def elsewhere(path):
    """Make a claim look as if a process of another machine had made it."""
    content = path.read_bytes()
    holder = json.loads(content[20:]) | {"machine": "another", "host": "far"}
    path.write_bytes(content[:20] + json.dumps(holder).encode())


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / ".claims" / CELL).iterdir())


def test_a_cell_is_held_by_one_and_free_again_when_it_is_given_back(tmp_path):
    one, other = claims(tmp_path), claims(tmp_path)
    first = got(one)
    assert other.take(KEY) is None
    assert [(held.identity, held.holder.about, held.holder.pid) for held in other.held() if held.holder] == [
        (CELL, str(KEY.cell), os.getpid())
    ]
    first.release()
    assert list(other.held()) == []
    with got(other):
        assert one.take(KEY) is None
    assert files(tmp_path) == ["00000002"], "one file stays, so that no number is used twice"


def test_of_many_processes_that_ask_at_once_one_gets_it(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from skelbench.results.claims import Claims\n"
        "from skelbench.results.record import Key\n"
        "while not Path(sys.argv[1], 'go').exists(): time.sleep(0.001)\n"
        f"c = Claims(Path(sys.argv[1])).take(Key(None, '{CELL}'))\n"
        "print(c is not None, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    many = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    (tmp_path / "go").touch()
    answers = [process.stdout.readline().strip() for process in many if process.stdout]
    for process in many:
        process.communicate()
    assert sorted(answers) == ["False", "False", "False", "True"]


@pytest.mark.skipif(not module._machine(), reason="the system does not provide an id of a process")
def test_a_claim_of_a_process_of_this_machine_that_was_killed_is_free_at_once(tmp_path):
    script = (
        "import sys, os, signal; from pathlib import Path; from skelbench.results.claims import Claims\n"
        "from skelbench.results.record import Key\n"
        f"assert Claims(Path(sys.argv[1])).take(Key(None, '{CELL}')); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert done.returncode == -9
    assert list(claims(tmp_path).held()) == []
    with got(claims(tmp_path)):
        pass
    assert files(tmp_path) == ["00000002"]


def test_a_claim_from_elsewhere_is_taken_over_when_its_count_has_stood_still_and_not_before(tmp_path, clock):
    claim = got(claims(tmp_path))
    elsewhere(claim.path)
    observer = claims(tmp_path, clock)
    assert observer.take(KEY) is None
    clock.now += 29
    assert observer.take(KEY) is None
    claim._write("1")  # a new count restarts the wait
    clock.now += 29
    assert observer.take(KEY) is None
    clock.now += 29
    assert observer.take(KEY) is None
    clock.now += 2
    taken = got(observer)
    with pytest.raises(ClaimLostError, match="taken over"):
        claim.check()
    taken.check()
    claim.release()
    assert claims(tmp_path).take(KEY) is None, "a claim that was lost releases nothing"
    taken.release()


def test_of_two_observers_of_a_dead_owner_one_takes_over(tmp_path, clock):
    elsewhere(got(claims(tmp_path)).path)
    observers = [claims(tmp_path, clock) for _ in range(5)]
    assert [one.take(KEY) for one in observers] == [None] * 5
    clock.now += 31
    taken = [one.take(KEY) for one in observers]
    assert sum(claim is not None for claim in taken) == 1
    next(claim for claim in taken if claim).release()


def test_wall_clocks_and_file_times_decide_nothing(tmp_path, clock, monkeypatch):
    claim = got(claims(tmp_path))
    elsewhere(claim.path)
    observer = claims(tmp_path, clock)
    for seconds in (0, 4e9, 1):
        os.utime(claim.path, (seconds, seconds))
        monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
        assert observer.take(KEY) is None
    claim.release()


def test_the_heart_counts_up_by_itself_and_tells_when_the_cell_is_lost(tmp_path):
    claim = got(claims(tmp_path, beat=0.01))

    def count():
        standing = claims(tmp_path).standing(CELL)
        assert standing is not None
        return standing.count

    first = count()
    waited = threading.Event()
    for _ in range(500):
        if count() != first:
            break
        waited.wait(0.01)
    else:
        pytest.fail("it never counted")
    claim.path.with_name("00000002").write_bytes(b"")  # another's
    assert claim.lost.wait(10)
    claim.release()


def test_an_observer_of_long_ago_withdraws_when_others_followed(tmp_path, clock):
    first = got(claims(tmp_path))
    slow = claims(tmp_path, clock)
    last = module._last(first.path.parent)
    first.release()
    got(claims(tmp_path)).release()
    now = got(claims(tmp_path))
    assert files(tmp_path) == ["00000003"]
    real, module._last = module._last, lambda folder: last  # what it read before it was suspended
    try:
        slow._free = lambda last: True
        assert slow.take(KEY) is None
    finally:
        module._last = real
    assert files(tmp_path) == ["00000003"]
    now.check()
    now.release()


def test_a_claim_that_the_disk_refuses_leaves_the_cell_free(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_create", full)
        with pytest.raises(SkelbenchError, match="No space left on device"):
            claims(tmp_path).take(KEY)
    got(claims(tmp_path)).release()


def test_a_claim_that_was_never_finished_is_taken_over_in_time(tmp_path, clock):
    (tmp_path / ".claims" / CELL).mkdir(parents=True)
    (tmp_path / ".claims" / CELL / "00000001").touch()
    observer = claims(tmp_path, clock)
    assert observer.take(KEY) is None
    clock.now += 31
    got(observer).release()


@pytest.mark.parametrize("name", ["../../etc", "", "0123", "0123456789ABCDEF", "0123456789/"])
def test_what_is_not_an_identity_becomes_no_path(tmp_path, name):
    with pytest.raises(SkelbenchError, match="is not the identity of a cell"):
        claims(tmp_path).take(Key(KEY.cell, name))
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_a_newer_one_has_removed_is_refused(tmp_path, monkeypatch):
    """Two processes claim a free cell at once: the later one may remove the other's file before it looks."""
    create = module._create

    def overtaken(path, content):
        create(path, content)
        create(path.with_name(f"{int(path.name) + 1:08d}"), content)
        path.unlink()

    monkeypatch.setattr(module, "_create", overtaken)
    assert claims(tmp_path).take(KEY) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_of_the_owner_does_not_release_its_cell(tmp_path):
    claim = got(claims(tmp_path))
    child = os.fork()
    if not child:
        claim.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert claims(tmp_path).take(KEY) is None
