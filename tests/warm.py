"""A process that has imported everything once and forks for each program that a test starts.

An import of torch, with what its optimisers load, takes six seconds of a core. The process sees no GPU: autograd with
one starts threads, which a fork loses. Its programs have the short ST-GCN of the tests in tests/benchmark.
"""

import importlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PRELOADED = (
    "pytest",
    "torch._dynamo",  # what an optimiser loads at its first step
    "torch.utils.serialization.config",  # and what saving loads
    "skelbench.benchmark.cli",
    "skelbench.benchmark.launchers.processes",
    "skelbench.benchmark.run.runner",
    "skelbench.methods",
)


# --- In the process of the tests --------------------------------------------------------------------------------


class Warm:
    """The process, seen from the tests."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, bufsize=0, env=environment)
        self.ends: dict[int, int] = {}
        self._started, self._heard = 0, b""

    def __call__(self, file: str | Path, function: str, *arguments: Any, **environment: str) -> "Program":
        """Start a program: a function of a file, with plain values as arguments, in the environment of this process."""
        self.count += 1
        out, error = (self.folder / f"{self.count}-{name}.txt" for name in ("out", "error"))
        request = {"file": str(file), "function": function, "arguments": [_plain(value) for value in arguments]}
        request |= {
            "environment": os.environ | environment,
            "folder": str(Path.cwd()),
            "streams": [str(out), str(error)],
        }
        self._started = 0
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        while not self._started:
            self.hear(None)
        return Program(self, self._started, out, error)

    def command(self, *words: object, **environment: str) -> "Program":
        """Start a command of the command line."""
        return self(__file__, "run_command", *words, **environment)

    def hear(self, seconds: float | None) -> bool:
        """Wait for news of the programs; whether there were any."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return False
        content = os.read(self.process.stdout.fileno(), 65536)
        assert content, "the warm process has died"
        *lines, self._heard = (self._heard + content).split(b"\n")
        for line in lines:
            news, number, code = json.loads(line)
            if news == "started":
                self._started = number
                self.ends.pop(number, None)
            else:
                self.ends[number] = code
        return True

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Program:
    """A program that was started, like a `subprocess.Popen` of it."""

    def __init__(self, warm: Warm, pid: int, out: Path, error: Path):
        self.warm, self.pid, self._out, self._error = warm, pid, out, error

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._out.read_text()

    @property
    def error(self) -> str:
        """What it has printed to the standard error so far."""
        return self._error.read_text()

    def poll(self) -> int | None:
        """Its exit code (negative: the signal), None while it runs."""
        while self.warm.hear(0):
            pass
        return self.warm.ends.get(self.pid)

    def wait(self, timeout: float = 300) -> int:
        """Wait for its exit code."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert self.warm.hear(max(0.0, end - time.monotonic())), f"it still runs after {timeout} s: {self.error}"
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


# --- In the warm process ----------------------------------------------------------------------------------------


class Forked:
    """Stands in for `subprocess.Popen` in a program: a fork of it that calls a function instead of another program."""

    def __init__(self, act: Callable[[], Any], *, stdin: Any = None, stdout: Any = None, stderr: Any = None,
                 env: dict[str, str] | None = None, **_: Any):  # fmt: skip
        self.returncode: int | None = None
        pipes = {number: os.pipe() for number, wanted in ((0, stdin), (1, stdout)) if wanted == subprocess.PIPE}
        self.pid = os.fork()
        if not self.pid:
            streams = {number: pipe[number] for number, pipe in pipes.items()}
            given = ((1, stdout), (2, stderr))
            streams |= {n: file.fileno() for n, file in given if n not in streams and file is not None}
            _be(act, streams, env)
        self.stdin = self.stdout = None
        if 0 in pipes:
            self.stdin = os.fdopen(pipes[0][1], "wb")
            os.close(pipes[0][0])
        if 1 in pipes:
            self.stdout = os.fdopen(pipes[1][0], "rb")
            os.close(pipes[1][1])

    def poll(self) -> int | None:
        """Its exit code (negative: the signal), None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for its exit code."""
        return self._reap(0)

    def send_signal(self, number: int) -> None:
        """Send it a signal; as with `subprocess`, it may have ended in the meantime."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _reap(self, how: int) -> int | None:
        if self.returncode is None:
            try:
                found, status = os.waitpid(self.pid, how)
            except ChildProcessError:  # another thread waits for it and is about to say so
                return self.returncode
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def run_command(*words: str) -> None:
    """Run a command of the command line."""
    from skelbench.benchmark.cli import main

    main.main(args=list(words), prog_name="skelbench")


def load(path: Path) -> Any:
    """Import a file by its path; files beside it can be imported by name."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    if path.stem in sys.modules:
        return sys.modules[path.stem]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _be(act: Callable[[], Any], streams: dict[int, int], environment: dict[str, str] | None) -> None:
    """Become a program in a process just forked, as if it had been started from nothing; never returns."""
    code: Any = 70
    try:
        for number, stream in streams.items():
            os.dup2(stream, number)
        os.closerange(3, 1024)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        code = act()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code if isinstance(code, int) else int(code is not None))


def _serve() -> None:
    """Fork for every request, and tell how the forks end, until the input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    from skelbench.backbones import BACKBONES
    from skelbench.backbones.stgcn import STGCN
    from skelbench.benchmark.protocols import PROTOCOLS
    from skelbench.methods import METHODS

    for registry in (BACKBONES, METHODS, PROTOCOLS):
        for name in registry:
            registry[name]  # loads it
    STGCN.__init__ = load(Path(__file__).with_name("conftest.py")).short_stgcn()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _tell_ends()
        if 0 in ready:
            line = sys.stdin.buffer.readline()  # one at a time: the next follows the answer
            if not line:
                return
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                _answer(json.loads(line))
            _tell("started", child, 0)


def _answer(request: dict[str, Any]) -> None:
    os.chdir(request["folder"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    streams = {number: os.open(path, flags) for number, path in enumerate(request["streams"], start=1)}
    streams[0] = os.open(os.devnull, os.O_RDONLY)

    def act() -> Any:
        return getattr(load(Path(request["file"])), request["function"])(*request["arguments"])

    _be(act, streams, request["environment"] | {"CUDA_VISIBLE_DEVICES": ""})


def _tell_ends() -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not child:
            return
        _tell("ended", child, os.waitstatus_to_exitcode(status))


def _tell(news: str, number: int, code: int) -> None:
    print(json.dumps([news, number, code]), flush=True)


if __name__ == "__main__":
    sys.modules["warm"] = sys.modules["__main__"]
    _serve()
