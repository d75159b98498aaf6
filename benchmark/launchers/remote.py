"""The job that Ray and Slurm run on their machines: one task, in a process that may be shared."""

from __future__ import annotations

import importlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import SkelbenchError
from ...results.record import Key
from ...results.store import RunStore
from ..plan.identity import Pretraining
from ..run.cell import Ended
from ..run.runner import Runner
from ..run.tasks import Task
from ..train.options import Options
from ..train.progress import Silent
from .bundle import Bundle, pack, unpack
from .local import stop_on_signal
from .worker import do, packed, unpacked


def job(task: Task, options: Options, root: Path | None, device: str, given: Bundle | None = None) -> bytes:
    """Pack a task for another machine. `root` is the folder of runs as seen there, None for a temporary one."""
    how = replace(options, device=device, watcher=Silent(), stop=None)
    return packed((task, how, root, given))


def do_job(content: bytes) -> tuple[Ended, Bundle | None]:
    """Run a task; return how it ended and, without a shared folder of runs, its results. A signal stops it."""
    task, options, root, given = unpacked(io.BytesIO(content))
    with stop_on_signal() as stop:
        options = replace(options, stop=stop.event)
        if root is not None:
            return do(Runner(RunStore(root), options), task), None
        with tempfile.TemporaryDirectory(prefix="skelbench-runs-") as folder:
            runs, trained = RunStore(Path(folder)), trained_for(task)
            unpack(given or Bundle(), runs, trained)
            ended = do(Runner(runs, options), task)
            return ended, pack(runs, trained, task.cells())


def trained_for(task: Task) -> Key:
    """The pre-training that a task runs or builds on."""
    assert isinstance(task.work, Pretraining)
    return task.work.key


def gpus_of(gpus: float | None, device: str) -> tuple[float, str]:
    """GPUs per cell and the resulting device; by default one GPU if the launching machine has one."""
    wanted = float(device.startswith("cuda")) if gpus is None else gpus
    return wanted, "cuda" if wanted else "cpu"


def lost(where: str, error: BaseException) -> Ended:
    """The end of a task whose machine was lost."""
    reason = " ".join(str(error).split())[:200]
    return Ended(lost=f"{where} lost it ({type(error).__name__}: {reason}).")


def require(package: str, launcher: str) -> Any:
    """Import a package for a launcher, whose extra installs it. Raises `SkelbenchError` if it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SkelbenchError(
            f'The launcher {launcher} needs the package {package}; install it with: pip install "skelbench[{launcher}]"'
        ) from error
