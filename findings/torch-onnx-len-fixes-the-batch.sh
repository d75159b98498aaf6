#!/usr/bin/env bash
# Packages: torch 2.15.0, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
#
# A network for clips (N, C, T) reads its batch size as len(x). torch.onnx.export is told that axis 0 is dynamic
# (dynamic_shapes with a torch.export.Dim), succeeds, and writes a model that takes the traced number of clips only:
# len() makes the size a plain number, torch.export refuses that, and torch.onnx.export falls back to fixed shapes.
# The same network with x.shape[0] keeps the axis free. torch.export.export on its own raises an error.
#
# Likely guess: an axis that is declared dynamic is dynamic in the file, or the export raises an error.
#
# Output seen:
#   len(x): the exported input is [3, 2, 8], 5 clips are refused
#   x.shape[0]: the exported input is ['N', 2, 8], 5 clips are encoded
#   torch.export.export with len(x): UserError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.15.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2
cat > "$folder/batch.py" <<'PY'
import warnings

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

warnings.filterwarnings("ignore")


class Encoder(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size, self.layer = size, torch.nn.Linear(16, 4)

    def forward(self, x):
        return self.layer(x.reshape(self.size(x), 16))


x, free = torch.randn(3, 2, 8), {"x": {0: torch.export.Dim("N")}}
found = {}
for name, size in (("len(x)", len), ("x.shape[0]", lambda x: x.shape[0])):
    program = torch.onnx.export(
        Encoder(size).eval(), (x,), input_names=["x"], dynamic_shapes=free, verbose=False
    )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    try:
        session.run(None, {"x": np.zeros((5, 2, 8), np.float32)})
        found[name] = "encoded"
    except InvalidArgument:
        found[name] = "refused"
    shape = ["N" if isinstance(axis, str) else axis for axis in entry.shape]
    print(f"{name}: the exported input is {shape}, 5 clips are {found[name]}")
assert found == {"len(x)": "refused", "x.shape[0]": "encoded"}
try:
    torch.export.export(Encoder(len).eval(), (x,), dynamic_shapes=free)
    raise SystemExit("torch.export.export accepted it")
except torch._dynamo.exc.UserError:
    print("torch.export.export with len(x): UserError")
PY
"$folder/venv/bin/python" "$folder/batch.py"
