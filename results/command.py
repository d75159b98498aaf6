"""The command that makes a cell again, as its record keeps it: one line without paths.

What a reader has to fill in is a word of its own: ``cell.yaml`` (a grid file with the settings of the record), ``RUN``
(the folder of a pre-training) or ``FILE`` (a released checkpoint). A plugin has the name of its file, without a folder.
"""

import json
import shlex
from collections.abc import Iterable, Mapping

COMMAND = "command"  # its name in a record's environment
GRID_FILE, RUN, CHECKPOINT = "cell.yaml", "RUN", "FILE"


def command_line(*words: str, plugins: Iterable[str] = ()) -> str:
    """A command of skelbench, its words quoted for a shell, with the names of the plugins that it loads."""
    return shlex.join(["skelbench", *options(("plugin", name) for name in plugins), *words])


def verb(command: object) -> str | None:
    """What a command of skelbench does ("grid", "evaluate"), behind its plugins; None if it is none."""
    words = shlex.split(quoted(command) or "")[1:]
    while words[:1] == ["--plugin"]:
        words = words[2:]
    return words[0] if words else None


def options(values: Iterable[tuple[str, object]]) -> list[str]:
    """Words of options, without those that have no value."""
    return [word for name, value in values if value for word in (f"--{name}", str(value))]


def setting_options(settings: Mapping[str, object]) -> list[str]:
    """Words of `--set` for each setting, its value as JSON, which --set reads."""
    return options(("set", f"{name}={json.dumps(value)}") for name, value in settings.items())


def quoted(command: object) -> str | None:
    """A record's command with every word quoted anew; None if it is none: a record may come from somebody else."""
    try:
        words = shlex.split(str(command or ""))
    except ValueError:  # an open quotation
        return None
    return shlex.join(words) if words[:1] == ["skelbench"] else None


def with_option(command: str, name: str, value: str) -> str:
    """A command with another value of the option whose name begins like this; unchanged if it has none."""
    words = shlex.split(command)
    for place, word in enumerate(words):
        if word.startswith(f"--{name}"):
            words[place + 1] = value
    return shlex.join(words)
