#!/usr/bin/env bash
# Packages: torch 2.15.0, onnxscript 0.7.0 and 0.7.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
#
# torch.onnx.export writes an nn.GRU as one ONNX node GRU. With onnxscript 0.7.0 the export succeeds, the model passes
# the checker and runs, but computes another kind of GRU: it lacks linear_before_reset=1, so the reset gate is applied
# to the state before the product with the recurrent weights, where PyTorch applies it to the product. onnxscript 0.7.1
# sets it.
#
# Likely guess: an export without an error or a warning gives the outputs of the PyTorch module up to rounding.
#
# Output seen:
#   onnxscript 0.7.0: differs by 0.36 from nn.GRU, agrees with a GRU that resets the state first
#   onnxscript 0.7.1: agrees with nn.GRU
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip install --quiet --disable-pip-version-check"
$pip torch==2.15.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.0
cat > "$folder/gru.py" <<'PY'
import warnings

import onnx
import onnxruntime
import onnxscript
import torch

warnings.filterwarnings("ignore")


def reset_first(gru, x):
    """The layer's outputs if the reset gate were applied to the state, and not to the product with it."""
    w_in, w_state, b_in, b_state = (values.chunk(3) for values in gru.parameters())
    state, states = torch.zeros(len(x), gru.hidden_size), []
    for row in x.unbind(1):
        reset, update = (
            torch.sigmoid(row @ w_in[i].T + b_in[i] + state @ w_state[i].T + b_state[i]) for i in range(2)
        )
        new = torch.tanh(row @ w_in[2].T + b_in[2] + (reset * state) @ w_state[2].T + b_state[2])
        state = (1 - update) * new + update * state
        states.append(state)
    return torch.stack(states, dim=1)


torch.manual_seed(0)
gru, x = torch.nn.GRU(6, 4, batch_first=True).eval(), torch.randn(3, 13, 6)
program = torch.onnx.export(gru, (x,), input_names=["x"], verbose=False)
onnx.checker.check_model(program.model_proto, full_check=True)
session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
given = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
with torch.no_grad():
    apart, apart_other = ((outputs - given).abs().max().item() for outputs in (gru(x)[0], reset_first(gru, x)))
if onnxscript.__version__ == "0.7.0":
    print(f"onnxscript 0.7.0: differs by {apart:.2f} from nn.GRU, agrees with a GRU that resets the state first")
    assert apart > 0.1 and apart_other < 1e-5
else:
    print(f"onnxscript {onnxscript.__version__}: agrees with nn.GRU")
    assert apart < 1e-5
PY
"$folder/venv/bin/python" "$folder/gru.py"
$pip onnxscript==0.7.1
"$folder/venv/bin/python" "$folder/gru.py"
