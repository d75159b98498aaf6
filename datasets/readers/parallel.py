"""Read raw inputs with several processes, in order and in bounded memory.

A worker is a separate Python program that receives numbers of blocks and returns their content, through pipes. So
it does not matter how the calling program was started (as a script without a guard, in a notebook, from its standard
input), a full pipe blocks its writer, and a worker ends by itself when its caller is gone.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from ...errors import SkelbenchError
from ...registry import load_plugin, loaded_plugins
from ..recording import Clip, Items, Rejected

BLOCK = 16  # inputs a process reads at a time
AHEAD = 2  # blocks a process may be ahead of the writer
WORTH_IT = 500  # inputs below which starting processes takes longer than reading

Result = Sequence[Clip | Rejected]


class ProcessLostError(SkelbenchError):
    """A process that read raw files died. The data is not the cause, so what was written is saved for the next run."""


def read_items(items: Items, start: int = 0, workers: int | None = None) -> Iterator[Result]:
    """Yield the clips and rejected inputs of every input from `start` on, in order.

    A reader that the calling program itself defines cannot be sent to other processes, so only this process reads.

    Args:
        workers: processes; by default one per core, or only this one for few inputs.

    Raises:
        ProcessLostError: if a process dies.
    """
    left = len(items.names) - start
    if workers is None:
        workers = 1 if left < WORTH_IT else available_cores()
    program = _program(items) if workers > 1 else None
    if program is None:
        for position in range(start, len(items.names)):
            yield items.read(position)
        return
    with _workers(program, min(workers, -(-left // BLOCK))) as team:
        blocks = range(start, len(items.names), BLOCK)
        for number in range(min(AHEAD * len(team), len(blocks))):
            team[number % len(team)].ask(blocks[number])
        for number in range(len(blocks)):
            worker = team[number % len(team)]
            found = worker.answer()
            if number + AHEAD * len(team) < len(blocks):
                worker.ask(blocks[number + AHEAD * len(team)])
            yield from found


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _program(items: Items) -> bytes | None:
    """The plugins that a worker imports, then the inputs, pickled; None if the inputs cannot be sent to a process."""
    try:
        inputs = pickle.dumps(items)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    if b"__main__" in inputs:
        return None
    return pickle.dumps({str(path): version for path, version in loaded_plugins().items()}) + inputs


@contextmanager
def _workers(program: bytes, count: int) -> Iterator[list[_Worker]]:
    """Start workers; they are ended on exit."""
    code = f"from {__name__} import serve; serve()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    with tempfile.TemporaryDirectory(prefix="skelbench-") as folder, ExitStack() as stack:
        path = Path(folder) / "inputs"
        path.write_bytes(program)
        command = [sys.executable, "-c", code, str(path)]
        yield [stack.enter_context(_Worker(command, environment, Path(folder) / str(n))) for n in range(count)]


class _Worker:
    """A process that reads blocks; its error stream goes to a file. It is ended on exit."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], errors: Path):
        self.errors = errors
        pipe = subprocess.PIPE
        with errors.open("wb") as stream:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stream, env=environment)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, first: int) -> None:
        """Request the block that begins at an input."""
        assert self.process.stdin is not None
        with suppress(OSError):  # it died, which `answer` reports
            self.process.stdin.write(first.to_bytes(8, "little"))
            self.process.stdin.flush()

    def answer(self) -> list[Result]:
        """The content of the next block. Raises `ProcessLostError` if the process has ended."""
        assert self.process.stdout is not None
        found = _receive(self.process.stdout)
        if found is None:
            raise ProcessLostError(
                f"A process that read raw files died ({self._reason()}); the same command resumes where it stopped; "
                "use fewer --workers if memory is short."
            )
        return found

    def _reason(self) -> str:
        code = self.process.wait()
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if code > 0 and lines else f"exit code {code}"


def serve() -> None:
    """Run a worker: read the blocks that its standard input names, and write them to its standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a reader prints must not mix with the answers
    with Path(sys.argv[1]).open("rb") as file:
        for path, version in pickle.load(file).items():
            load_plugin(Path(path), version)
        items: Items = pickle.load(file)
    for first in _requests(sys.stdin.buffer):
        found = [items.read(position) for position in range(first, min(first + BLOCK, len(items.names)))]
        _send(found, answers)


def _send(found: list[Result], stream: IO[bytes]) -> None:
    """Write the content of a block: the sizes of its parts, what it is, and its arrays, which are not copied."""
    arrays: list[pickle.PickleBuffer] = []
    content = pickle.dumps(found, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(content), *(array.raw() for array in arrays)]
    sizes = np.array([len(parts), *(part.nbytes for part in parts)], dtype="<i8")
    for part in (sizes.data, *parts):
        stream.write(part)
    stream.flush()


def _receive(stream: IO[bytes]) -> list[Result] | None:
    """Read what `_send` wrote; None if the stream ends before."""
    count = stream.read(8)
    if len(count) < 8:
        return None
    sizes = stream.read(8 * int.from_bytes(count, "little"))
    parts = [bytearray(size) for size in np.frombuffer(sizes[: len(sizes) // 8 * 8], dtype="<i8").tolist()]
    if any(stream.readinto(part) < len(part) for part in parts) or not parts:  # type: ignore[attr-defined]
        return None
    return pickle.loads(parts[0], buffers=parts[1:])


def _requests(stream: IO[bytes]) -> Iterator[int]:
    while len(number := stream.read(8)) == 8:
        yield int.from_bytes(number, "little")
