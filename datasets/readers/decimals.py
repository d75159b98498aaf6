"""Parse many decimal numbers of a text at once, exactly as `float` does.

A number of at most 14 characters is an integer below 2^53 over a power of ten below 10^23. Both are exact in
double precision, so one division gives the double nearest to the decimal (Clinger, "How to read floating point
numbers accurately", PLDI 1990). Numbers in another form (an exponent, more digits) are converted by `float` one by one.
"""

from __future__ import annotations

import numpy as np

WIDTH = 14  # bytes of the longest number that is not left to `float`
_POWERS = 10.0 ** np.arange(WIDTH + 1)
_ROWS = np.arange(WIDTH, dtype=np.uint8)[:, None]
_DOT, _MINUS, _ZERO = ord("."), ord("-"), ord("0")


def decimals(content: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return (n,) float64: the numbers in `content` from `starts` (n,) up to `ends` (n,).

    Raises:
        ValueError: if one of them is not a number.
    """
    length = np.minimum(ends - starts, 255).astype(np.uint8)
    padded = b" " * WIDTH + content
    windows = np.ndarray(len(content) + 1, dtype=f"V{WIDTH}", buffer=padded, strides=(1,))
    # (WIDTH, n) letters that end where a number ends; rows make the sums below run along memory
    letters = np.ascontiguousarray(windows[ends].view(np.uint8).reshape(-1, WIDTH).T)
    inside = WIDTH - np.minimum(length, WIDTH) <= _ROWS
    value = letters - np.uint8(_ZERO)  # wraps: of anything but a digit it is above 9
    is_digit, is_dot = (value < 10) & inside, (letters == _DOT) & inside
    negative = np.frombuffer(padded, dtype=np.uint8)[starts + WIDTH] == _MINUS
    digits, dots = (found.view(np.uint8).sum(axis=0, dtype=np.uint8) for found in (is_digit, is_dot))
    plain = (digits + dots + negative == length) & (length <= WIDTH) & (dots <= 1) & (digits > 0)

    after = (is_dot.view(np.uint8) * (WIDTH - 1 - _ROWS)).sum(axis=0, dtype=np.uint8)  # digits after the dot
    scale = _POWERS[np.where(plain, after, 0)]
    with_gap = _POWERS[WIDTH - 1 :: -1] @ (value * is_digit)  # the digits as one number, a zero where the dot was
    integer = np.where(dots, np.floor(with_gap / (10 * scale)), 0)
    numbers = (with_gap - integer * 9 * scale) / scale
    np.negative(numbers, out=numbers, where=negative)
    for i in np.flatnonzero(~plain):
        numbers[i] = float(content[starts[i] : ends[i]])
    return numbers
