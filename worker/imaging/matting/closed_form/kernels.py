"""Compiled kernels of the matting Laplacian: assembly, products, sweeps, and the coarse level.

The N unknown pixels are numbered row by row. The arguments that most kernels share:

- `indices`: the picture framed by two pixels, flat: the number of each unknown pixel, −1 elsewhere.
- `positions` (N): where each unknown pixel is in `indices`.
- `offsets` (12): the distances in `indices` from a pixel to the twelve preceding pixels that can
  share a window with it.
- `lower` (N, 13): a row of the matrix, of which the entries of those twelve and of the pixel itself
  are stored. The matrix is symmetric: the other twelve are in the rows of the following pixels.

Source: A. Levin et al., "A Closed-Form Solution to Natural Image Matting", 2008, with windows of
3×3 and the epsilon of pymatting.
"""

from typing import Final

import numpy as np
from numba import njit

REACH: Final = 2
"""Largest distance, in pixels, of two that share a window."""
PRECEDING: Final = 12
"""Pixels that precede a pixel, row by row, and can share a window with it."""
EPSILON: Final = 1e-7
"""Added to the sum of squares of each colour in a window, so that the covariance has an inverse."""
VECTORS: Final = 4
"""Vectors that represent a tile on the coarse level: a constant, and the three colours."""

_WEIGH_TYPE: Final = "void(f8[:,::1], f8, f8, f8, f8, f8, f8, f8[:,::1])"
_STORAGE_TYPE: Final = "f8[:,::1], i4[::1], i4[::1], i4[::1]"
_PRODUCT_TYPE: Final = f"({_STORAGE_TYPE}, f8[::1], f8[::1], i8, i8)"
_COARSEN_TYPE: Final = f"void({_STORAGE_TYPE}, i4[::1], f4[:,::1], i4[:,::1], f8[:,:,:,::1])"


@njit(_WEIGH_TYPE, cache=True, nogil=True)
def _weigh(colour, rr, rg, rb, gg, gb, bb, weighted):  # type: ignore[no-untyped-def]
    """Write the inverse covariance of a window times its colours to `weighted` (9, 3).

    `colour` (9, 3) is relative to the window's mean; `rr` to `bb` are the sums of products of its
    channels, nine times their covariance, factorised here as L D Lᵀ. Where all colours lie on a
    line, as in a grey picture, rounding would cancel the determinant; so no entry of D is smaller
    than epsilon.
    """
    g_per_r, b_per_r = rg / rr, rb / rr
    d_g = max(gg - g_per_r * rg, EPSILON)
    gb_left = gb - g_per_r * rb
    b_per_g = gb_left / d_g
    d_b = max(bb - b_per_r * rb - b_per_g * gb_left, EPSILON)
    for k in range(9):
        r, g, b = colour[k]
        b = (b - b_per_r * r - b_per_g * (g - g_per_r * r)) / d_b
        g = (g - g_per_r * r) / d_g - b_per_g * b
        weighted[k, 0] = 9 * (r / rr - g_per_r * g - b_per_r * b)
        weighted[k, 1] = 9 * g
        weighted[k, 2] = 9 * b


@njit(_WEIGH_TYPE, cache=True, nogil=True)
def _weigh_as_pymatting(colour, rr, rg, rb, gg, gb, bb, weighted):  # type: ignore[no-untyped-def]
    """Do the same in the steps of pymatting, with its rounding.

    In a grey picture pymatting's matrix is mostly rounding: only the same rounding gives its alpha.
    """
    rr, rg, rb, gg, gb, bb = rr / 9, rg / 9, rb / 9, gg / 9, gb / 9, bb / 9
    scale = 1.0 / (rr * gb * gb + rg * rg * bb + rb * rb * gg - rr * gg * bb - 2 * rg * rb * gb)
    to_rr, to_rg = (gb * gb - gg * bb) * scale, (rg * bb - rb * gb) * scale
    to_rb, to_gg = (rb * gg - rg * gb) * scale, (rb * rb - rr * bb) * scale
    to_gb, to_bb = (rr * gb - rg * rb) * scale, (rg * rg - rr * gg) * scale
    for k in range(9):
        r, g, b = colour[k]
        weighted[k, 0] = to_rr * r + to_rg * g + to_rb * b
        weighted[k, 1] = to_rg * r + to_gg * g + to_gb * b
        weighted[k, 2] = to_rb * r + to_gb * g + to_bb * b


@njit("void(f8[:,:,::1], u1[:,::1], i4[:,::1], f8[:,::1], f8[::1], b1)", cache=True, nogil=True)
def assemble(rgb, trimap, indices, lower, rhs, as_pymatting):  # type: ignore[no-untyped-def]
    """Add the windows of some rows of a picture to `lower` and to the right-hand side `rhs` (N).

    `rgb` is in 0…1; `indices` (H, W) has no frame here. Sure foreground is what fills `rhs`.
    """
    height, width, _ = rgb.shape
    colour, weighted = np.empty((9, 3)), np.empty((9, 3))
    number = np.empty(9, np.int64)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            unknown = False
            for k in range(9):
                number[k] = indices[y - 1 + k // 3, x - 1 + k % 3]
                unknown |= number[k] >= 0
            if not unknown:
                continue
            for c in range(3):
                total = 0.0
                for k in range(9):
                    colour[k, c] = rgb[y - 1 + k // 3, x - 1 + k % 3, c]
                    total += colour[k, c]
                for k in range(9):
                    colour[k, c] -= total / 9
            rr = gg = bb = EPSILON
            rg = rb = gb = 0.0
            for k in range(9):
                r, g, b = colour[k]
                rr += r * r
                rg += r * g
                rb += r * b
                gg += g * g
                gb += g * b
                bb += b * b
            if as_pymatting:
                _weigh_as_pymatting(colour, rr, rg, rb, gg, gb, bb, weighted)
            else:
                _weigh(colour, rr, rg, rb, gg, gb, bb, weighted)
            for i in range(9):
                row = number[i]
                if row < 0:
                    continue
                r, g, b = weighted[i]
                for j in range(9):
                    affinity = r * colour[j, 0] + g * colour[j, 1] + b * colour[j, 2]
                    value = -(1 + affinity) / 9
                    if number[j] < 0:
                        if trimap[y - 1 + j // 3, x - 1 + j % 3] == 255:
                            rhs[row] -= value
                    elif j == i:
                        lower[row, 12] += 1 + value
                    elif j < i:
                        lower[row, (j // 3 - i // 3 + 2) * 5 + j % 3 - i % 3 + 2] += value


@njit("f8" + _PRODUCT_TYPE, cache=True, nogil=True)
def multiply(lower, indices, positions, offsets, x, product, first, last):  # type: ignore[no-untyped-def]
    """Write the product with `x` to `product[first:last]`; return that part's inner product."""
    inner = 0.0
    for i in range(first, last):
        position = positions[i]
        total = lower[i, 12] * x[i]
        for k in range(PRECEDING):
            j = indices[position + offsets[k]]
            if j >= 0:
                total += lower[i, k] * x[j]
            j = indices[position - offsets[k]]
            if j >= 0:
                total += lower[j, k] * x[j]
        product[i] = total
        inner += total * x[i]
    return inner


@njit("void" + _PRODUCT_TYPE, cache=True, nogil=True)
def gauss_seidel(lower, indices, positions, offsets, residual, correction, first, last):  # type: ignore[no-untyped-def]
    """Write a forward and a backward sweep within `first:last`, from zero, to `correction`."""
    for i in range(first, last):
        position = positions[i]
        total = residual[i]
        for k in range(PRECEDING):
            j = indices[position + offsets[k]]
            if j >= first:
                total -= lower[i, k] * correction[j]
        correction[i] = total / lower[i, 12]
    for i in range(last - 1, first - 1, -1):
        position = positions[i]
        total = 0.0
        for k in range(PRECEDING):
            j = indices[position - offsets[k]]
            if 0 <= j < last:
                total += lower[j, k] * correction[j]
        correction[i] -= total / lower[i, 12]


@njit(_COARSEN_TYPE, cache=True, nogil=True)
def coarsen(lower, indices, positions, offsets, tiles, basis, coordinates, blocks):  # type: ignore[no-untyped-def]
    """Add the matrix in the basis of M tiles to `blocks` (M, 9, 4, 4), one block per neighbour.

    `tiles` (N) is each pixel's tile, `basis` (N, 4) its part in the tile's vectors, `coordinates`
    (M, 2) each tile's row and column.
    """
    for i in range(len(positions)):
        tile = tiles[i]
        for k in range(PRECEDING + 1):
            j = i if k == PRECEDING else indices[positions[i] + offsets[k]]
            if j < 0:
                continue
            other = tiles[j]
            down = coordinates[other, 0] - coordinates[tile, 0]
            right = coordinates[other, 1] - coordinates[tile, 1]
            neighbour = (down + 1) * 3 + right + 1
            for a in range(VECTORS):
                for b in range(VECTORS):
                    value = lower[i, k] * basis[i, a] * basis[j, b]
                    blocks[tile, neighbour, a, b] += value
                    if k < PRECEDING:
                        blocks[other, 8 - neighbour, b, a] += value


@njit("void(f4[:,::1], i4[::1], f8[::1], f8[:,::1])", cache=True, nogil=True)
def restrict(basis, tiles, fine, coarse):  # type: ignore[no-untyped-def]
    """Add a vector of pixels (N) to one of tiles (M, 4)."""
    for i in range(len(fine)):
        for a in range(VECTORS):
            coarse[tiles[i], a] += basis[i, a] * fine[i]


@njit("void(f4[:,::1], i4[::1], f8[:,::1], f8[::1])", cache=True, nogil=True)
def prolong(basis, tiles, coarse, fine):  # type: ignore[no-untyped-def]
    """Add a vector of tiles (M, 4) to one of pixels (N)."""
    for i in range(len(fine)):
        for a in range(VECTORS):
            fine[i] += basis[i, a] * coarse[tiles[i], a]
