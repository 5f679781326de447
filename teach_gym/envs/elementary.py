"""Elementary functions as plain arithmetic on one number, which compilers turn into loops over several at a time.

The C library's ``exp`` and ``tanh`` take one number per call, longer than the rest of a small teaching step. The
functions here take numpy's or numba's numbers, of double (``exp``, ``tanh``) or single precision (``exp32``,
``tanh32``).

The method is Cody and Waite's ("Software Manual for the Elementary Functions", 1980): x = n log 2 + r with n an integer
and |r| <= log(2) / 2; then exp(x) = 2^n exp(r), with the Taylor polynomial of exp(r). Adding and subtracting 1.5 times
a large power of two rounds to an integer, and 2^n is written as the bits of its exponent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_F = np.float32
_RATE, _SHIFT, _HIGH, _LOW = _F(1.44269504), _F(12582912.0), _F(0.693359375), _F(-2.12194440e-4)
_MOST, _LEAST, _ONE, _TWO, _INFINITE = _F(88.0), _F(-87.0), _F(1.0), _F(2.0), _F(math.inf)
_C2, _C3, _C4, _C5, _C6, _C7 = _F(1 / 2), _F(1 / 6), _F(1 / 24), _F(1 / 120), _F(1 / 720), _F(1 / 5040)


def exp(x: Any) -> Any:
    """The exponential in double precision, to two units in the last place; infinite above 709, constant below -708."""
    y = x
    if y > 709.0:
        y = 709.0
    if y < -708.0:
        y = -708.0
    shifted = y * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = (y - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    p = 1 / 6227020800
    p = p * r + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    bits = np.int64((np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52))
    found = p * np.int64(bits).view(np.float64)
    if x > 709.0:
        found = math.inf
    return found


def tanh(x: Any) -> Any:
    """The hyperbolic tangent in double precision, to 2e-16 of one."""
    e = exp(-2.0 * abs(x))
    return math.copysign((1.0 - e) / (1.0 + e), x)


def exp32(x: Any) -> Any:
    """The exponential in single precision, to two units in the last place; infinite above 88, constant below -87."""
    y = x
    if y > _MOST:
        y = _MOST
    if y < _LEAST:
        y = _LEAST
    shifted = y * _RATE + _SHIFT
    n = shifted - _SHIFT
    r = (y - n * _HIGH) - n * _LOW
    p = _C7
    p = p * r + _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    p = p * r + _ONE
    p = p * r + _ONE
    bits = np.int32((np.float32(shifted).view(np.int32) + np.int32(127)) << np.int32(23))
    found = p * np.int32(bits).view(np.float32)
    if x > _MOST:
        found = _INFINITE
    return found


def tanh32(x: Any) -> Any:
    """The hyperbolic tangent in single precision, to 1e-7 of one."""
    e = exp32(-_TWO * abs(x))
    return np.float32(math.copysign((_ONE - e) / (_ONE + e), x))
