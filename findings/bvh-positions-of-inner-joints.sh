#!/usr/bin/env bash
# Packages: bvhtools 1.6.0, bvhtoolbox 0.1.3 (with setuptools 80.9.0, whose pkg_resources it imports), bvhio 1.5.4,
# numpy 2.4.6.
#
# A BVH file whose inner joint has position channels beside its rotations, as exporters write them that keep what a joint
# moves within its parent. The file is valid, and the channels of the root are used by all three packages. bvhtools
# computes the inner joint from its OFFSET alone (and prints a line); bvhtoolbox does the same without a word; bvhio puts
# the channels in the place of the OFFSET, as for the root.
#
# Likely guess: readers of BVH agree on where joints are, or raise an error for what they do not read.
#
# Output seen (height of the inner joint; OFFSET 10, channel 12, root at 100):
#   bvhtools 110, bvhtoolbox 110, bvhio 112
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  bvhtools==1.6.0 bvhtoolbox==0.1.3 setuptools==80.9.0 bvhio==1.5.4 numpy==2.4.6
cat > "$folder/walk.bvh" <<'BVH'
HIERARCHY
ROOT Hips
{
	OFFSET 0 0 0
	CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
	JOINT Chest
	{
		OFFSET 0 10 0
		CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
		End Site
		{
			OFFSET 0 5 0
		}
	}
}
MOTION
Frames: 2
Frame Time: 0.033333
0 100 0 0 0 0 0 12 0 0 0 0
0 100 0 0 0 0 0 12 0 0 0 0
BVH
cat > "$folder/places.py" <<'PY'
import csv
import sys

import bvhio
from bvhtoolbox import BvhTree
from bvhtoolbox.convert.bvh2csv import write_joint_positions
from bvhTools.bvhIO import readBvh

file, table = sys.argv[1:]
found = {"bvhtools": readBvh(file).getFKAtFrame(0)["Chest"][1][1]}
with open(file) as stream:
    write_joint_positions(BvhTree(stream.read()), table)
with open(table) as stream:
    found["bvhtoolbox"] = next(csv.DictReader(stream))["Chest.y"]
root = bvhio.readAsHierarchy(file)
root.loadPose(0)
found["bvhio"] = root.filter("Chest")[0].PositionWorld.y
found = {name: round(float(height), 3) for name, height in found.items()}
print(found)
assert found == {"bvhtools": 110, "bvhtoolbox": 110, "bvhio": 112}
PY
"$folder/venv/bin/python" "$folder/places.py" "$folder/walk.bvh" "$folder/table.csv"
