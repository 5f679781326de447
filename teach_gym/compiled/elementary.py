"""Elementary functions as plain arithmetic on one number, which compilers turn into loops over several at a time.

The C library's functions take one number per call, longer than the rest of a small teaching step. The functions here
take numpy's or numba's numbers, of double (``exp``, ``tanh``, ``log``, ``log1p``) or single precision (``exp32``, ...).

The method for the exponential is Cody and Waite's ("Software Manual for the Elementary Functions", 1980): x = n log 2
+ r with n an integer and |r| <= log(2) / 2; then exp(x) = 2^n exp(r), with the Taylor polynomial of exp(r). Adding and
subtracting 1.5 times a large power of two rounds to an integer, and 2^n is written as the bits of its exponent.

The logarithm is that of FDLIBM (Sun Microsystems, 1993): x = 2^k m with m between sqrt(1/2) and sqrt(2), and log m from
a polynomial in s = (m - 1) / (m + 1).
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


def log(x: Any) -> Any:
    """The logarithm in double precision, to two units in the last place; -inf below 2.3e-308, NaN below zero."""
    shifted = np.float64(x).view(np.int64) + np.int64(0x00095F6200000000)  # to the exponent, from sqrt(1/2) on
    k = np.int64(((shifted >> np.int64(52)) & np.int64(0x7FF)) | np.int64(0x4338000000000000)).view(np.float64)
    k = k - 6755399441056767.0  # the bits of an integer beside those of 1.5 times 2^52, less 1023
    m = np.int64((shifted & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E00000000)).view(np.float64)
    f = m - 1.0
    half = 0.5 * f * f
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (0.3999999999940941908 + w * (0.2222219843214978396 + w * 0.1531383769920937332))
    even = 0.2857142874366239149 + w * (0.1818357216161805012 + w * 0.1479819860511658591)
    r = odd + z * (0.6666666666666735130 + w * even)
    found: Any = ((s * (half + r) + k * 1.90821492927058770002e-10 - half) + f) + k * 0.693147180369123816490
    if x < 2.2250738585072014e-308:
        found = -math.inf
    if x < 0.0:
        found = math.nan
    if not x < math.inf:
        found = x
    return found


def log1p(x: Any) -> Any:
    """The logarithm of 1 + x in double precision, to two units in the last place."""
    u = 1.0 + x
    lost = (x - (u - 1.0)) / u
    if u <= 0.0 or not u < math.inf:
        lost = 0.0
    return log(u) + lost


_LN_HIGH, _LN_LOW, _HALF = _F(6.9313812256e-01), _F(9.0580006145e-06), _F(0.5)
_L1, _L2, _L3, _L4 = _F(0.66666662693), _F(0.40000972152), _F(0.28498786688), _F(0.24279078841)
_TINY, _ZERO, _OFFSET = _F(1.1754944e-38), _F(0.0), _F(12583039.0)


def log32(x: Any) -> Any:
    """The logarithm in single precision, to two units in the last place; -inf below 1.2e-38, NaN below zero."""
    shifted = np.float32(x).view(np.int32) + np.int32(0x004AFB0D)
    k = np.int32(((shifted >> np.int32(23)) & np.int32(0xFF)) | np.int32(0x4B400000)).view(np.float32) - _OFFSET
    m = np.int32((shifted & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
    f = m - _ONE
    half = _HALF * f * f
    s = f / (_TWO + f)
    z = s * s
    w = z * z
    r = w * (_L2 + w * _L4) + z * (_L1 + w * _L3)
    found = ((s * (half + r) + k * _LN_LOW - half) + f) + k * _LN_HIGH
    if x < _TINY:
        found = -_INFINITE
    if x < _ZERO:
        found = _F(math.nan)
    if not x < _INFINITE:
        found = x
    return found


def log1p32(x: Any) -> Any:
    """The logarithm of 1 + x in single precision, to two units in the last place."""
    u = _ONE + x
    lost = (x - (u - _ONE)) / u
    if u <= _ZERO or not u < _INFINITE:
        lost = _ZERO
    return log32(u) + lost
