"""High dynamic range (PQ, HLG) to BT.709, 8 bit: a three-dimensional table over Y'CbCr and a kernel that reads it.

The way of one colour, each step with its source:

1. Y'CbCr to R'G'B' by the video's matrix (BT.2020-2 table 4).
2. PQ: the EOTF of SMPTE ST 2084 (BT.2100-2 table 4) gives cd/m2. HLG: the inverse OETF and the OOTF of BT.2100-2
   table 5, gamma 1.2, on a display of 1000 cd/m2, F = 1000 Ys^0.2 E.
3. The largest of R, G, B goes through the EETF of BT.2390-10 section 5.4.1, from the video's peak to 203 cd/m2, the
   level of graphics white in BT.2408-7; the three are scaled alike, so that hue stays.
4. Linear primaries to BT.709 (BT.2087-0), clipped to [0, 1].
5. The inverse of BT.1886's EOTF, V = L^(1/2.4), and Y'CbCr of BT.709, limited range, 8 bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, int32, uint8, uint16, void

from streammatte.frames import F32, U8
from streammatte.kernels import njit

__all__ = ["eetf", "hlg_to_nits", "pq_from_nits", "pq_to_nits", "tone_map", "tone_table"]

U16 = npt.NDArray[np.uint16]
F64 = npt.NDArray[np.float64]

WHITE_NITS = 203.0
"""Diffuse white of an HDR video (BT.2408-7); it becomes the white of the SDR image's display."""

HLG_PEAK_NITS = 1000.0
"""The display that HLG's system gamma of 1.2 is meant for (BT.2100-2)."""

_STEP = 16
"""10-bit codes between two nodes of the table: neutral chroma (512) falls on a node, so grey stays grey."""

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
"""Constants of SMPTE ST 2084."""

_A = 0.17883277
_B, _C = 1 - 4 * _A, 0.5 - _A * np.log(4 * _A)
"""Constants of the HLG OETF (BT.2100-2 table 5)."""

_TO_709 = {
    9: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    12: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]),
    1: np.eye(3),
}
"""Linear primaries to BT.709, by ISO/IEC 23091-2 code point: BT.2020 (BT.2087-0), P3 with D65, BT.709 itself."""


def pq_to_nits(code: F64) -> F64:
    """Light of a display, cd/m2, of PQ code values in [0, 1] (SMPTE ST 2084, equation 4.1)."""
    root = np.power(np.clip(code, 0, 1), 1 / _M2)
    light: F64 = 10_000 * np.power(np.maximum(root - _C1, 0) / (_C2 - _C3 * root), 1 / _M1)
    return light


def pq_from_nits(nits: F64) -> F64:
    """PQ code values in [0, 1] of light in cd/m2 (SMPTE ST 2084, equation 5.2)."""
    power = np.power(np.clip(nits, 0, 10_000) / 10_000, _M1)
    code: F64 = np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)
    return code


def hlg_to_nits(code: F64) -> F64:
    """Light of a 1000 cd/m2 display of HLG R'G'B' code values (..., 3) in [0, 1] (BT.2100-2 table 5)."""
    code = np.clip(code, 0, 1)
    scene = np.where(code <= 0.5, code * code / 3, (np.exp((code - _C) / _A) + _B) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    light: F64 = HLG_PEAK_NITS * np.power(np.maximum(luminance, 1e-9), 0.2)[..., None] * scene
    return light


def eetf(nits: F64, source_peak: float, target_peak: float) -> F64:
    """BT.2390-10 section 5.4.1: light for a display of ``target_peak`` cd/m2; a Hermite spline above the knee.

    Parameters
    ----------
    nits : float64 array
        Light, cd/m2.
    source_peak, target_peak : float
        Peak of the mastering display and of the target, cd/m2.
    """
    if source_peak <= target_peak:
        return np.minimum(nits, target_peak)
    whole = float(pq_from_nits(np.array(source_peak)))
    most = float(pq_from_nits(np.array(target_peak))) / whole
    knee = 1.5 * most - 0.5
    code = np.minimum(pq_from_nits(nits) / whole, 1)
    t = np.maximum(code - knee, 0) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return pq_to_nits(np.where(code < knee, code, bent) * whole)


def tone_table(
    *, hlg: bool, luma: tuple[float, float], full_range: bool, primaries: int = 9, peak: float = HLG_PEAK_NITS
) -> F32:
    """The table from 10-bit Y'CbCr to 8-bit BT.709 Y'CbCr.

    Parameters
    ----------
    hlg : bool
        HLG, else PQ.
    luma : (float, float)
        Kr and Kb of the video's matrix.
    full_range : bool
        The video's range.
    primaries : int
        Code point of the video's primaries; an unknown one is taken as BT.2020.
    peak : float
        The video's brightest light, cd/m2 (PQ only).

    Returns
    -------
    ndarray (3, 65, 65, 65) float32
        Y', Cb, Cr in 8-bit levels, limited range, not rounded; axes after the first are Y', Cb, Cr.
    """
    y, cb, cr = np.meshgrid(
        np.arange(0, 1025, _STEP, dtype=np.float64),
        np.arange(0, 1025, _STEP, dtype=np.float64),
        np.arange(0, 1025, _STEP, dtype=np.float64),
        indexing="ij",
    )
    if full_range:
        y, cb, cr = y / 1023, (cb - 512) / 1023, (cr - 512) / 1023
    else:
        y, cb, cr = (y - 64) / 876, (cb - 512) / 896, (cr - 512) / 896
    kr, kb = luma
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    code = np.clip(np.stack([red, green, blue], -1), 0, 1)
    light = hlg_to_nits(code) if hlg else pq_to_nits(code)
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-6)
    light = light * (eetf(brightest, HLG_PEAK_NITS if hlg else peak, WHITE_NITS) / brightest)
    linear = np.clip((light / WHITE_NITS) @ _TO_709.get(primaries, _TO_709[9]).T, 0, 1)
    red, green, blue = np.moveaxis(np.power(linear, 1 / 2.4), -1, 0)
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    levels = [16 + 219 * y, 128 + 224 * (blue - y) / 1.8556, 128 + 224 * (red - y) / 1.5748]
    return np.ascontiguousarray(np.stack(levels), np.float32)


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _cell(plane, j, k, b, c):  # type: ignore[no-untyped-def]
    one = float32(1)
    low = plane[j, k] * (one - c) + plane[j, k + 1] * c
    high = plane[j + 1, k] * (one - c) + plane[j + 1, k + 1] * c
    return low * (one - b) + high * b


_IN, _OUT = uint16[:, :], uint8[:, ::1]


@njit(
    void(float32[:, :, :, ::1], _IN, _IN, _IN, int32, _OUT, _OUT, _OUT),
    nogil=True,
    cache=True,
    fastmath=True,
)
def _apply(table, luma, blue, red, half, out_y, out_u, out_v):  # type: ignore[no-untyped-def]
    height, width = luma.shape
    top, step, round_up = np.uint16(1023), float32(1 / 16), float32(0.5)
    for row in range(blue.shape[0]):
        for column in range(blue.shape[1]):
            cb, cr = int32(min(blue[row, column], top)), int32(min(red[row, column], top))
            j, k = cb >> 4, cr >> 4
            b, c = float32(cb & 15) * step, float32(cr & 15) * step
            total, count, node = int32(0), int32(0), int32(-1)
            near, far = float32(0), float32(0)
            for y in range(row << half, min((row << half) + 1 + half, height)):
                for x in range(column << half, min((column << half) + 1 + half, width)):
                    value = int32(min(luma[y, x], top))
                    total += value
                    count += 1
                    if value >> 4 != node:
                        node = value >> 4
                        near = _cell(table[0, node], j, k, b, c)
                        far = _cell(table[0, node + 1], j, k, b, c)
                    out_y[y, x] = uint8(near + (far - near) * (float32(value & 15) * step) + round_up)
            mean = (total + (count >> 1)) >> 2 if count == 4 else (total + (count >> 1)) // count
            node, a = mean >> 4, float32(mean & 15) * step
            near, far = _cell(table[1, node], j, k, b, c), _cell(table[1, node + 1], j, k, b, c)
            out_u[row, column] = uint8(near + (far - near) * a + round_up)
            near, far = _cell(table[2, node], j, k, b, c), _cell(table[2, node + 1], j, k, b, c)
            out_v[row, column] = uint8(near + (far - near) * a + round_up)


def tone_map(planes: tuple[U16, U16, U16], table: F32, out: tuple[U8, U8, U8]) -> tuple[U8, U8, U8]:
    """Apply a table to a 10-bit image.

    Parameters
    ----------
    planes : three ndarray uint16, 0..1023
        Y', Cb, Cr, (H, W) and chroma of the same size or half of it both ways (rounded up).
    table : ndarray (3, 65, 65, 65) float32
        From :func:`tone_table`.
    out : three ndarray uint8
        Of the same shapes, C-contiguous; overwritten.

    Returns
    -------
    ``out``
    """
    half = int(planes[1].shape != planes[0].shape)
    _apply(table, *planes, half, *out)
    return out
