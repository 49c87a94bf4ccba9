"""The matting Laplacian of the unknown pixels alone: its entries, products and sweeps, compiled.

Unknown pixels are numbered row by row. `numbers` is a picture of them, flat and framed by two
pixels: the number of each unknown pixel, −1 elsewhere. `places` are their places in it, and `steps`
the way from a pixel to the twelve before it that a window may share with it. As the matrix is
symmetric, a row keeps those twelve and the pixel itself; the twelve behind are in theirs.

Source: A. Levin et al., "A Closed-Form Solution to Natural Image Matting", 2008, with its windows
of 3×3 and the epsilon of pymatting.
"""

from typing import Final

import numpy as np
from numba import njit

REACH: Final = 2
"""Pixels between two that share a window, at most."""
BEFORE: Final = 12
"""Pixels before one, row by row, that share a window with it."""
EPSILON: Final = 1e-7
"""How much a window's colours may be explained by noise."""
COLOURS: Final = 4
"""Vectors a coarse cell stands for: a constant, and the three colours."""

_WEIGH: Final = "void(f8[:,::1], f8, f8, f8, f8, f8, f8, f8[:,::1])"
_SWEEP: Final = "(f8[:,::1], i4[::1], i4[::1], i4[::1], f8[::1], f8[::1], i8, i8)"


@njit(_WEIGH, cache=True, nogil=True)
def _exactly(colour, rr, rg, rb, gg, gb, bb, weighed):  # type: ignore[no-untyped-def]
    """Write to `weighed` what colours (9, 3) from their mean are, seen through their covariance.

    The sums are of their products. Nine times the covariance is L D Lᵀ. Its determinant would be
    lost where all colours lie on a line, as in a grey picture; of D nothing is below epsilon.
    """
    to_g, to_b = rg / rr, rb / rr
    d_g = max(gg - to_g * rg, EPSILON)
    rest = gb - to_g * rb
    from_g = rest / d_g
    d_b = max(bb - to_b * rb - from_g * rest, EPSILON)
    for k in range(9):
        r, g, b = colour[k]
        b = (b - to_b * r - from_g * (g - to_g * r)) / d_b
        g = (g - to_g * r) / d_g - from_g * b
        weighed[k, 0] = 9 * (r / rr - to_g * g - to_b * b)
        weighed[k, 1] = 9 * g
        weighed[k, 2] = 9 * b


@njit(_WEIGH, cache=True, nogil=True)
def _as_pymatting(colour, rr, rg, rb, gg, gb, bb, weighed):  # type: ignore[no-untyped-def]
    """The same by the steps of pymatting, rounded as it rounds.

    Of a grey picture what it has is mostly rounding, and who wants its alpha wants that too.
    """
    rr, rg, rb, gg, gb, bb = rr / 9, rg / 9, rb / 9, gg / 9, gb / 9, bb / 9
    share = 1.0 / (rr * gb * gb + rg * rg * bb + rb * rb * gg - rr * gg * bb - 2 * rg * rb * gb)
    to_rr, to_rg, to_rb = (
        (gb * gb - gg * bb) * share,
        (rg * bb - rb * gb) * share,
        (rb * gg - rg * gb) * share,
    )
    to_gg, to_gb, to_bb = (
        (rb * rb - rr * bb) * share,
        (rr * gb - rg * rb) * share,
        (rg * rg - rr * gg) * share,
    )
    for k in range(9):
        r, g, b = colour[k]
        weighed[k, 0] = to_rr * r + to_rg * g + to_rb * b
        weighed[k, 1] = to_rg * r + to_gg * g + to_gb * b
        weighed[k, 2] = to_rb * r + to_gb * g + to_bb * b


@njit("void(f8[:,:,::1], u1[:,::1], i4[:,::1], f8[:,::1], f8[::1], b1)", cache=True, nogil=True)
def assemble(rgb, trimap, numbers, rows, known, as_pymatting):  # type: ignore[no-untyped-def]
    """Add what the windows of some rows of a picture say to `rows` and `known`.

    `rgb` is in 0…1, and `numbers` has no frame here. `rows` is (N, 13); `known` is what the known
    foreground adds to the right-hand side.
    """
    height, width, _ = rgb.shape
    colour, weighed = np.empty((9, 3)), np.empty((9, 3))
    number = np.empty(9, np.int64)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            unknown = False
            for k in range(9):
                number[k] = numbers[y - 1 + k // 3, x - 1 + k % 3]
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
                _as_pymatting(colour, rr, rg, rb, gg, gb, bb, weighed)
            else:
                _exactly(colour, rr, rg, rb, gg, gb, bb, weighed)
            for i in range(9):
                row = number[i]
                if row < 0:
                    continue
                r, g, b = weighed[i]
                for j in range(9):
                    likeness = r * colour[j, 0] + g * colour[j, 1] + b * colour[j, 2]
                    value = -(1 + likeness) / 9
                    if number[j] < 0:
                        if trimap[y - 1 + j // 3, x - 1 + j % 3] == 255:
                            known[row] -= value
                    elif j == i:
                        rows[row, 12] += 1 + value
                    elif j < i:
                        rows[row, (j // 3 - i // 3 + 2) * 5 + j % 3 - i % 3 + 2] += value


@njit("f8" + _SWEEP, cache=True, nogil=True)
def times(rows, numbers, places, steps, x, result, first, last):  # type: ignore[no-untyped-def]
    """Write the product with `x` to `result[first:last]`; gives its share of their inner one."""
    inner = 0.0
    for i in range(first, last):
        place = places[i]
        total = rows[i, 12] * x[i]
        for k in range(BEFORE):
            j = numbers[place + steps[k]]
            if j >= 0:
                total += rows[i, k] * x[j]
            j = numbers[place - steps[k]]
            if j >= 0:
                total += rows[j, k] * x[j]
        result[i] = total
        inner += total * x[i]
    return inner


@njit("void" + _SWEEP, cache=True, nogil=True)
def sweep(rows, numbers, places, steps, rest, result, first, last):  # type: ignore[no-untyped-def]
    """Symmetric Gauss–Seidel of a rest within `first…last`, forth and back, to `result`."""
    for i in range(first, last):
        place = places[i]
        total = rest[i]
        for k in range(BEFORE):
            j = numbers[place + steps[k]]
            if j >= first:
                total -= rows[i, k] * result[j]
        result[i] = total / rows[i, 12]
    for i in range(last - 1, first - 1, -1):
        place = places[i]
        total = 0.0
        for k in range(BEFORE):
            j = numbers[place - steps[k]]
            if 0 <= j < last:
                total += rows[j, k] * result[j]
        result[i] -= total / rows[i, 12]


@njit(
    "void(f8[:,::1], i4[::1], i4[::1], i4[::1], i4[::1], f4[:,::1], i4[:,::1], f8[:,:,:,::1])",
    cache=True,
    nogil=True,
)
def coarsen(rows, numbers, places, steps, cells, basis, sides, blocks):  # type: ignore[no-untyped-def]
    """Add the matrix between neighbouring cells, seen through a basis, to `blocks` (M, 9, 4, 4).

    `cells` is each pixel's cell, `sides` each cell's row and column.
    """
    for i in range(len(places)):
        own = cells[i]
        for k in range(BEFORE + 1):
            j = i if k == BEFORE else numbers[places[i] + steps[k]]
            if j < 0:
                continue
            other = cells[j]
            there = (sides[other, 0] - sides[own, 0] + 1) * 3 + sides[other, 1] - sides[own, 1] + 1
            for a in range(COLOURS):
                for b in range(COLOURS):
                    value = rows[i, k] * basis[i, a] * basis[j, b]
                    blocks[own, there, a, b] += value
                    if k < BEFORE:
                        blocks[other, 8 - there, b, a] += value


@njit("void(f4[:,::1], i4[::1], f8[::1], f8[:,::1])", cache=True, nogil=True)
def gather(basis, cells, fine, coarse):  # type: ignore[no-untyped-def]
    """Add a vector of pixels to one of cells (M, 4)."""
    for i in range(len(fine)):
        for a in range(COLOURS):
            coarse[cells[i], a] += basis[i, a] * fine[i]


@njit("void(f4[:,::1], i4[::1], f8[:,::1], f8[::1])", cache=True, nogil=True)
def spread(basis, cells, coarse, fine):  # type: ignore[no-untyped-def]
    """Add a vector of cells (M, 4) to one of pixels."""
    for i in range(len(fine)):
        for a in range(COLOURS):
            fine[i] += basis[i, a] * coarse[cells[i], a]
