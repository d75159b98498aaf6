"""Seeded faults: each is injected into a small run, which is run again and compared with an undisturbed run.

    python tests/faults/matrix.py --faults 120 --seed 0 [--json FILE]

A fault may cost time, never a record or a number: a record is lost if it was there and is not, or is not there at the
end; a corruption is silent if something is read without an error and differs from the undisturbed run.
"""

import argparse
import errno
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # autograd with a GPU starts threads, which a fork loses

import numpy as np
import torch
from injections import (
    Counts,
    Disk,
    Moments,
    be_another_version,
    break_features,
    break_step,
    killed,
    turn_clocks_back,
)
from world import World, intact_checkpoints, intact_store, make_raw, results, warm

from skelbench.results.store import RunStore

STEPS, PER_EPOCH = 6, 2  # of the pre-training


@dataclass
class Outcome:
    """Effect of a fault."""

    kind: str
    detail: str
    identical: bool = False
    lost: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    untold: str = ""  # what should have been printed and was not


class Server:
    """Holds the worlds that faults start from, and the results of an undisturbed run."""

    def __init__(self, root: Path):
        self.root = root
        raw = World(root / "raw")
        raw.root.mkdir(parents=True)
        make_raw(raw.root / "tiny.npz")
        warm(raw.copy(root / "warm"))
        prepared = raw.copy(root / "prepared")
        self.calls = {"prepare": self._count(prepared, prepared.prepare)}
        finished = prepared.copy(root / "finished")
        self.calls["run"] = self._count(finished, finished.run)
        self.calls["table"] = self._count(finished, finished.table)
        trained = finished.copy(root / "trained")
        for path in trained.runs.glob("*/record.json"):
            if "-pretrain-" not in path.parent.name:
                shutil.rmtree(path.parent)
        evaluated = trained.copy(root / "evaluated")
        self.calls["evaluate"] = self._count(evaluated, evaluated.run)
        halfway = prepared.copy(root / "halfway")
        halfway.live(halfway.run, lambda: break_step(5, KeyboardInterrupt()))
        other = prepared.copy(root / "other")
        other.live(other.run, be_another_version)
        self.worlds = {"raw": raw, "prepared": prepared, "finished": finished, "trained": trained, "halfway": halfway}
        self.expected = results(finished.runs)
        self.others = results(other.runs)
        self.store = intact_store(prepared.store)
        self.shown = finished.live(finished.table).said
        checkpoints = {path.name for path in halfway.runs.glob("*/checkpoint*.pt")}
        assert len(self.expected) == 3 and len(self.others) == 3 and self.store, (self.expected, self.others)
        assert not self.expected.keys() & self.others.keys()
        assert checkpoints == {"checkpoint.pt", "checkpoint-previous.pt"} and not results(halfway.runs), checkpoints

    def _count(self, world: World, command: list[str]) -> dict[str, int]:
        """Run a command undisturbed in a world; return its counts."""
        end = world.live(command, Counts)
        assert end.code == 0, end.said
        return json.loads((world.root / "counted").read_text())

    def judge(self) -> dict[str, list[int]]:
        """Check the checks: count lost and silently wrong results for each of four known changes."""
        found = {}
        for act in (nothing, lose_a_record, change_a_number, change_the_store):
            fault = Fault(self, act.__name__, np.random.default_rng(0), self.root / "here")
            act(fault.start("finished", ""))
            fault.look()
            found[act.__name__] = [len(fault.outcome.lost), len(fault.outcome.silent)]
        return found

    def inject(self, number: int, seed: int) -> Outcome:
        """Inject a fault into a copy of a world and judge the outcome."""
        rng = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        fault = Fault(self, kind.__name__, rng, self.root / "here")
        kind(fault)
        return fault.outcome


class Fault:
    """One fault: its world, its random numbers, its outcome."""

    def __init__(self, server: Server, kind: str, rng: np.random.Generator, place: Path):
        self.server, self.rng, self.place = server, rng, place
        self.outcome = Outcome(kind, "")
        self.gone: set[str] = set()  # records that the fault itself damaged
        self.allowed = dict(server.expected)

    def start(self, state: str, detail: str) -> World:
        """Copy a world to start from."""
        self.outcome.detail = f"{state}: {detail}"
        self.world = self.server.worlds[state].copy(self.place)
        self.before = set(results(self.world.runs))
        return self.world

    def moment(self, command: str, act: Callable[[], None]) -> Moments:
        """A random moment of a command; in half of the cases one at which a file is written."""
        written = bool(self.rng.integers(2))
        at = int(self.rng.integers(1, self.server.calls[command]["written" if written else "all"] + 1))
        self.outcome.detail += f" at call {at}{' that writes' if written else ''}"
        return Moments(at, written, act)

    def expect(self, said: str, *words: str) -> None:
        """Record the words that a life should have printed and did not."""
        absent = [word for word in words if word not in said]
        if absent:
            self.outcome.untold = f"{absent} not in: {said[-600:]}"

    def look(self) -> dict[str, str]:
        """Find what is lost or silently wrong."""
        outcome, found = self.outcome, results(self.world.runs)
        outcome.lost += sorted(self.before - found.keys() - self.gone)
        outcome.silent += sorted(key for key, value in found.items() if self.allowed.get(key) != value)
        store = intact_store(self.world.store)
        if store not in (None, self.server.store):
            outcome.silent.append("the store")
        if not intact_checkpoints(self.world.runs):
            outcome.silent.append("a checkpoint")
        return found

    def heal(self, *commands: list[str], arm: Callable[[], Any] = lambda: None) -> None:
        """Run again and compare the results with those of the undisturbed run."""
        self.look()
        ends = [self.world.live(command, arm) for command in commands]
        found = self.look()
        mine = {key: value for key, value in found.items() if key in self.server.expected}
        self.outcome.lost = sorted({*self.outcome.lost, *(self.server.expected.keys() - mine.keys())})
        self.outcome.silent = sorted(set(self.outcome.silent))
        good = all(end.code == 0 for end in ends) and intact_store(self.world.store) == self.server.store
        self.outcome.identical = good and mine == self.server.expected
        if not good:
            self.outcome.untold = ends[-1].said[-600:]


def kill_prepare(fault: Fault) -> None:
    number = sent(fault)
    world = fault.start(str(fault.rng.choice(["raw", "prepared"])), f"signal {number}")
    armed = fault.moment("prepare", killed(number))
    world.live(world.prepare, armed.start)
    fault.heal(world.prepare, world.run)


def kill_pretrain(fault: Fault) -> None:
    kill_run(fault, "prepared", "run")


def kill_evaluation(fault: Fault) -> None:
    kill_run(fault, "trained", "evaluate")


def kill_run(fault: Fault, state: str, command: str) -> None:
    number = sent(fault)
    world = fault.start(state, f"signal {number}")
    world.live(world.run, fault.moment(command, killed(number)).start)
    fault.heal(world.run)


def kill_table(fault: Fault) -> None:
    number = sent(fault)
    world = fault.start("finished", f"signal {number}")
    before = tree(world.runs)
    world.live(world.table, fault.moment("table", killed(number)).start)
    if tree(world.runs) != before:
        fault.outcome.silent.append("the table changed the runs")
    if world.live(world.table).said != fault.server.shown:
        fault.outcome.silent.append("the table says something else")
    fault.heal(world.run)


def kill_one_of_two(fault: Fault) -> None:
    world = fault.start("prepared", "two processes on one folder, one killed")
    first = world.begin(world.run, fault.moment("run", killed(signal.SIGKILL)).start)
    second = world.begin(world.run)
    world.end(first)
    end = world.end(second)
    if end.code:
        fault.outcome.untold = end.said[-600:]
    fault.heal(world.run)


def full_disk(fault: Fault) -> None:
    state, name = [("raw", "prepare"), ("prepared", "run"), ("trained", "evaluate")][fault.rng.integers(3)]
    room = int(fault.rng.integers(0, fault.server.calls[name]["bytes"]))
    world = fault.start(state, f"{name}, {room} bytes free")
    command = world.prepare if name == "prepare" else world.run
    end = world.live(command, lambda: Disk(room).install())
    fault.expect(end.said, os.strerror(errno.ENOSPC))
    fault.heal(world.prepare, world.run) if name == "prepare" else fault.heal(world.run)


def read_only(fault: Fault) -> None:
    state, name = [("raw", "prepare"), ("prepared", "run"), ("halfway", "run")][fault.rng.integers(3)]
    world = fault.start(state, f"{name}, read-only")
    folder = world.root / ("data" if name == "prepare" else "runs")
    before = tree(folder)
    end = world.live(world.prepare if name == "prepare" else world.run, lambda: Disk(0, errno.EROFS).install())
    fault.expect(end.said, "cannot be written")
    if tree(folder) != before or end.code != 2:
        fault.outcome.untold = f"exit code {end.code}, changed: {tree(folder) != before}"
    fault.heal(world.prepare, world.run) if name == "prepare" else fault.heal(world.run)


def damaged_checkpoint(fault: Fault) -> None:
    world = fault.start("halfway", "checkpoint")
    name = str(fault.rng.choice(["checkpoint.pt", "checkpoint.pt", "checkpoint-previous.pt"]))
    damage(fault, next(world.runs.glob(f"*/{name}")))
    end = world.live(world.run)
    if name == "checkpoint.pt":
        fault.expect(end.said, "checkpoint.pt cannot be read", "Resuming from the previous checkpoint")
    fault.expect(str(end.code), "0")
    fault.heal(world.run)


def damaged_encoder(fault: Fault) -> None:
    world = fault.start("trained", "encoder")
    fault.gone = set(fault.before)  # the encoders are compared as part of their record
    path = next(world.runs.glob(f"*/encoder-000{fault.rng.choice([1, 3])}.pt"))
    damage(fault, path)
    end = world.live(world.run)
    fault.expect(end.said, path.name, "cannot be read")
    fault.expect(str(end.code), "1")
    fault.heal([*world.run, "--force"])


def damaged_record(fault: Fault) -> None:
    world = fault.start("finished", "record")
    paths = sorted(world.runs.glob("*/record.json"))
    path = paths[fault.rng.integers(len(paths))]
    damage(fault, path)
    fault.gone = {key for key in fault.before if key not in results(world.runs)}
    for command in (world.table, world.run):
        end = world.live(command)
        fault.expect(end.said.replace("\n", ""), "record.json cannot be read")
        fault.expect(str(end.code), "2")
    shutil.rmtree(path.parent)
    fault.heal(world.run)


def damaged_side_file(fault: Fault) -> None:
    world = fault.start("finished", "file beside a record")
    name = str(fault.rng.choice(["scores.npz", "confusion.csv", "per_class.csv", "curve.csv"]))
    paths = [path for path in sorted(world.runs.glob(f"*/{name}")) if path.stat().st_size]
    path = paths[fault.rng.integers(len(paths))]
    damage(fault, path)
    fault.gone = {key for key in fault.before if key not in results(world.runs)}
    end = world.live(["results", "export", str(world.root / "out.zip"), "--out", str(world.runs)])
    fault.expect(end.said, name, "damaged")
    fault.expect(str(end.code), "2")
    shutil.rmtree(path.parent)
    fault.heal(world.run)


def damaged_store(fault: Fault) -> None:
    state = str(fault.rng.choice(["prepared", "trained", "halfway"]))
    world = fault.start(state, "store")
    path = world.store / str(fault.rng.choice(["keypoints.npy", "clips.json", "manifest.json"]))
    damage(fault, path)
    end = world.live(world.run)
    fault.expect(end.said, "tiny")
    if end.code not in (1, 2) or results(world.runs).keys() - fault.before:
        fault.outcome.untold = f"exit code {end.code} on a damaged {path.name}: {end.said[-600:]}"
    fault.look()
    shutil.rmtree(world.store)
    fault.heal(world.prepare, world.run)


def no_number(fault: Fault) -> None:
    step = int(fault.rng.integers(1, STEPS + 1))
    world = fault.start("prepared", f"NaN in step {step}")
    end = world.live(world.run, lambda: break_step(step, None))
    epoch, inside = (step - 1) // PER_EPOCH + 1, (step - 1) % PER_EPOCH + 1
    fault.expect(" ".join(end.said.split()), f"NaN or infinite in epoch {epoch}, step {inside} of {PER_EPOCH}")
    if results(world.runs) or end.code != 1:
        fault.outcome.silent.append("a record of a broken run")
    fault.heal(world.run)


def no_memory(fault: Fault) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    if fault.rng.integers(2):
        world = fault.start("prepared", "out of memory in the pre-training")
        end = world.live(world.run, lambda: break_step(int(fault.rng.integers(1, STEPS + 1)), error))
    else:
        world = fault.start("trained", "out of memory in the evaluation")
        end = world.live(world.run, lambda: break_features(error))
    fault.expect(" ".join(end.said.split()), "ran out of memory", "smaller batch")
    fault.heal(world.run)


def clock_backwards(fault: Fault) -> None:
    world = fault.start("prepared", "clock jumps backwards")
    armed = fault.moment("run", killed(signal.SIGKILL))
    world.live(world.run, lambda: (turn_clocks_back(), armed.start()))
    for path in world.root.rglob("*"):
        os.utime(path, (4e9, 4e9))  # files dated in the future
    fault.heal(world.run, arm=turn_clocks_back)


def two_versions(fault: Fault) -> None:
    world = fault.start("prepared", "two versions on one folder")
    fault.allowed |= fault.server.others
    if fault.rng.integers(2):
        armed = fault.moment("run", killed(signal.SIGKILL))
        world.live(world.run, lambda: (be_another_version(), armed.start()))
    else:
        world.live(world.run, be_another_version)
    fault.before = set(results(world.runs))
    fault.heal(world.run)


KINDS = (
    kill_pretrain, kill_evaluation, kill_prepare, kill_table, kill_one_of_two, full_disk, damaged_checkpoint,
    damaged_record, damaged_store, damaged_side_file, damaged_encoder, no_number, no_memory, read_only,
    clock_backwards, two_versions, kill_pretrain, kill_evaluation, full_disk, damaged_checkpoint,
)  # fmt: skip


def nothing(world: World) -> None:
    """Change nothing."""


def lose_a_record(world: World) -> None:
    """Remove a record."""
    next(world.runs.glob("*linear*/record.json")).unlink()


def change_a_number(world: World) -> None:
    """Write a wrong number, with a matching checksum."""
    runs = RunStore(world.runs)
    record = next(one for one in runs.records() if one.last)
    assert record.last is not None
    runs.write(record.model_copy(update={"last": record.last.model_copy(update={"top1": 99.0})}))


def change_the_store(world: World) -> None:
    """Flip a bit, which the checksum reveals."""
    content = bytearray((world.store / "keypoints.npy").read_bytes())
    content[-1] ^= 1
    (world.store / "keypoints.npy").write_bytes(content)


JUDGED = {"nothing": [0, 0], "lose_a_record": [1, 0], "change_a_number": [0, 1], "change_the_store": [0, 0]}


def sent(fault: Fault) -> int:
    """Choose SIGKILL or SIGTERM."""
    return int(fault.rng.choice([signal.SIGKILL, signal.SIGTERM]))


def damage(fault: Fault, path: Path) -> None:
    """Truncate a file or flip one of its bits."""
    content = bytearray(path.read_bytes())
    at = int(fault.rng.integers(len(content)))
    if fault.rng.integers(2):
        path.write_bytes(content[:at])
        fault.outcome.detail += f": {path.name} cut at byte {at}"
        return
    content[at] ^= 1 << int(fault.rng.integers(8))
    path.write_bytes(content)
    fault.outcome.detail += f": {path.name} with a bit flipped in byte {at}"


def tree(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def report(outcomes: list[Outcome]) -> str:
    """A table with a row per kind of fault and the totals."""
    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    injected, same = Counter(o.kind for o in outcomes), Counter(o.kind for o in outcomes if o.identical)
    lines = ["| fault | injected | ended identical | records lost | silent corruptions |", "|---|--:|--:|--:|--:|"]
    for kind in kinds:
        mine = [outcome for outcome in outcomes if outcome.kind == kind]
        lost, silent = (sum(len(getattr(o, what)) for o in mine) for what in ("lost", "silent"))
        lines.append(f"| {kind.replace('_', ' ')} | {injected[kind]} | {same[kind]} | {lost} | {silent} |")
    lost, silent = (sum(len(getattr(o, what)) for o in outcomes) for what in ("lost", "silent"))
    lines.append(f"| all | {len(outcomes)} | {sum(same.values())} | {lost} | {silent} |")
    for number, outcome in enumerate(outcomes):
        if outcome.lost or outcome.silent or outcome.untold or not outcome.identical:
            lines.append(f"fault {number}: {asdict(outcome)}")
    return "\n".join(lines)


def bad(outcome: Outcome) -> bool:
    """Whether a fault had an effect that is not allowed."""
    return bool(outcome.lost or outcome.silent or outcome.untold) or not outcome.identical


def main(*words: str) -> int:
    """Run the matrix; 1 if anything was lost, silently wrong, not reported, or not as in the undisturbed run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one fault")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as root:
        server = Server(Path(root))
        numbers = range(options.faults) if options.only is None else [options.only]
        judged = server.judge()
        assert judged == JUDGED, f"the judge itself is wrong: {judged}"
        outcomes = []
        for number in numbers:
            outcomes.append(server.inject(number, options.seed))
            print(f"{number:4d} {'BAD' if bad(outcomes[-1]) else 'ok '} {outcomes[-1].kind}: {outcomes[-1].detail}",
                  file=sys.stderr, flush=True)  # fmt: skip
    print(report(outcomes))
    if options.json:
        options.json.write_text(json.dumps({"judged": judged, "outcomes": [asdict(outcome) for outcome in outcomes]}))
    return int(any(map(bad, outcomes)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
