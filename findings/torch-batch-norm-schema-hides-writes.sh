#!/usr/bin/env bash
# Packages: torch 2.15.0, numpy 2.4.6.
#
# The schema of an operator marks the arguments that it writes to, as in add_(Tensor(a!) self, ...). A tool that saves
# what a step changes (to undo or to replay it) can ask schema.is_mutable and alias_info.is_write for that. The operator
# that F.batch_norm calls in training, aten::native_batch_norm, writes to running_mean and running_var and its schema
# says that it writes to nothing. The schema of _native_batch_norm_legit, which computes the same, names both.
#
# Likely guess: an operator whose schema marks no argument as written to changes none.
#
# Output seen:
#   called: aten::native_batch_norm, mutable: False, written by its schema: none
#   running mean before: [0.0, 0.0], after: [0.5, 1.0]
#   aten::_native_batch_norm_legit, mutable: True, written by its schema: running_mean, running_var
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
cat > "$folder/norm.py" <<'PY'
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode


def written(func):
    return [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]


class Called(TorchDispatchMode):
    """Notes the operators."""

    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


mean, variance = torch.zeros(2), torch.ones(2)
x = torch.tensor([[4.0, 9.0], [6.0, 11.0]])  # means 5 and 10
with Called() as called:
    functional.batch_norm(x, mean, variance, training=True, momentum=0.1)
(func,) = (f for f in called.functions if "batch_norm" in f.name())
print(f"called: {func._schema.name}, mutable: {func._schema.is_mutable}, written by its schema: "
      f"{', '.join(written(func)) or 'none'}")
print(f"running mean before: [0.0, 0.0], after: {mean.tolist()}")
assert func._schema.name == "aten::native_batch_norm" and not func._schema.is_mutable and not written(func)
assert mean.tolist() == [0.5, 1.0]
legit = torch.ops.aten._native_batch_norm_legit.default
print(f"{legit._schema.name}, mutable: {legit._schema.is_mutable}, written by its schema: {', '.join(written(legit))}")
assert legit._schema.is_mutable and written(legit) == ["running_mean", "running_var"]
PY
"$folder/venv/bin/python" "$folder/norm.py"
