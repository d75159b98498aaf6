"""Where papers and the released preparation and loading differ, for all methods."""

from __future__ import annotations

from ..deviation import Deviation

DATA_DEVIATIONS = (
    Deviation(
        "which frames count",
        "those with a person",
        "those whose joint 0 of the first person is not at the origin; a frame missing inside a clip cuts its end",
        "`valid=joint0` in published on NTU and PKU-MMD; elsewhere `valid=any`: some coordinate of the first person "
        "is not zero",
        effect="none on data with absolute positions",
    ),
    Deviation(
        "centring",
        "the skeleton is centred",
        "each person of each frame on its own centre: the distance between two persons is lost",
        "as the code",
    ),
    Deviation(
        "view-invariant turn",
        "shoulders parallel to x",
        "the sign of the angle is chosen once a clip: frames of the minority are turned the wrong way",
        "as the code",
    ),
    Deviation(
        "absent second person",
        "not mentioned",
        "an all-zero skeleton that passes the encoder and counts in the mean over persons",
        "as the code where the data has two persons; single-person data has M = 1",
    ),
    Deviation(
        "random numbers of the augmentations",
        "fresh in each epoch",
        "workers are seeded with their number at the start of each epoch, so each epoch repeats the same draws",
        "fresh",
    ),
    Deviation(
        "NTU-120 by setup",
        "even setups train",
        "SkeAttnCLR's preparation knows subjects and cameras only, and its configurations read a folder xview",
        "even setups train",
        effect="SkeAttnCLR's X-Set columns were probably made on a camera split",
    ),
    Deviation(
        "donor of a mix",
        "another clip of the batch",
        "the batch shifted by 1 to N − 2, never by N − 1",
        "as the code",
    ),
    Deviation(
        "last incomplete batch",
        "not mentioned",
        "left out, in pre-training and in linear evaluation",
        "as the code",
    ),
)
