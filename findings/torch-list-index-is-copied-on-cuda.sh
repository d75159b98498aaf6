#!/usr/bin/env bash
# Packages: torch 2.15.0, numpy 2.4.6.
#
# x[..., [1, 2, 3]] takes joints by a Python list. On the meta device the list becomes an index tensor on the meta
# device, so a step that was traced there shows no tensor of the host. On a fake tensor of cuda:0 the same line makes
# the index tensor on the CPU and copies it to the device, each time it runs: a wait in every step, and a copy that a
# CUDA graph cannot record. An index tensor that is already on the device is used as it is on both.
#
# Likely guess: what runs on the meta device without a tensor of the host also makes none on a GPU.
#
# Output seen:
#   meta, list: nothing on the CPU
#   cuda:0, list: made on the CPU, copied from cpu to cuda:0
#   meta, tensor: nothing on the CPU
#   cuda:0, tensor: nothing on the CPU
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
cat > "$folder/index.py" <<'PY'
from contextlib import nullcontext

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Devices(TorchDispatchMode):
    """Notes what is made on the CPU and what is copied from there."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given, got = ([t.device for t in tree_leaves(x) if isinstance(t, torch.Tensor)] for x in ((args, kwargs), out))
        name = func.overloadpacket.__name__
        if name == "lift_fresh" and got[0].type == "cpu":
            self.found.append("made on the CPU")
        if name == "_to_copy" and given[0] != got[0]:
            self.found.append(f"copied from {given[0]} to {got[0]}")
        return out


seen = {}
for device in ("meta", "cuda:0"):
    with nullcontext() if device == "meta" else FakeTensorMode():
        x = torch.empty(4, 3, 25, device=device)
        for kind, index in (("list", [1, 2, 3]), ("tensor", torch.arange(1, 4, device=device))):
            with Devices() as devices:
                assert x[..., index].shape == (4, 3, 3)
            seen[device, kind] = devices.found
for kind in ("list", "tensor"):
    for device in ("meta", "cuda:0"):
        print(f"{device}, {kind}: {', '.join(seen[device, kind]) or 'nothing on the CPU'}")
assert seen == {
    ("meta", "list"): [],
    ("cuda:0", "list"): ["made on the CPU", "copied from cpu to cuda:0"],
    ("meta", "tensor"): [],
    ("cuda:0", "tensor"): [],
}
PY
CUDA_VISIBLE_DEVICES="" "$folder/venv/bin/python" "$folder/index.py"
