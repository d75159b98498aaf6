"""Seeds of the separate streams of random numbers that one seed of a cell stands for."""

import hashlib


def seed_of(seed: int, purpose: str, rank: int = 0) -> int:
    """The seed of one stream, such as "order": 32 bits, which is what PyTorch's generator on the CPU reads.

    Streams of other purposes or ranks are independent of it, so that a change in how often one is drawn from leaves the
    others as they were.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose} {rank}".encode()).digest()[:4], "little")
