"""The compiled loops: pixels as (H, W, channels), float32; a layer may be a part of the channels.

What is compiled here is kept on disk, see `worker.imaging.matting.kernels`.
"""

from typing import Final

import numpy as np
from numba import njit

TILE: Final = 4
"""Pixels of a tile's side."""
FREQUENCIES: Final = 36
"""Of the 6×6 pixels that a tile is made of."""

_SET: Final = {"cache": True, "nogil": True, "fastmath": {"contract"}}
_1, _2, _3, _4 = "f4[::1]", "f4[:,::1]", "f4[:,:,::1]", "f4[:,:,:,::1]"


@njit(f"void({_3}, u8, i8, i8, i8, {_3}, i8)", **_SET)
def _analysed(x, first, row, column, step, found, n):  # type: ignore[no-untyped-def]
    """Bᵀ d B of 6×6 pixels, `step` apart, from a row and a column on."""
    two, four, five = np.float32(2), np.float32(4), np.float32(5)
    channels = np.uint64(found.shape[2])
    # Made here, and given to nobody: so the compiler knows that nothing else lies in it.
    half = np.empty((6, 6, found.shape[2]), np.float32)
    for j in range(6):
        across = column + j * step
        for k in range(channels):
            at = first + k
            a, b = x[row, across, at], x[row + step, across, at]
            c, d = x[row + 2 * step, across, at], x[row + 3 * step, across, at]
            e, f = x[row + 4 * step, across, at], x[row + 5 * step, across, at]
            even, odd, mild, wild = e - four * c, d - four * b, e - c, two * (d - b)
            half[0, j, k] = four * a - five * c + e
            half[1, j, k] = even + odd
            half[2, j, k] = even - odd
            half[3, j, k] = mild + wild
            half[4, j, k] = mild - wild
            half[5, j, k] = four * b - five * d + f
    for i in range(6):
        for k in range(channels):
            a, b, c = half[i, 0, k], half[i, 1, k], half[i, 2, k]
            d, e, f = half[i, 3, k], half[i, 4, k], half[i, 5, k]
            even, odd, mild, wild = e - four * c, d - four * b, e - c, two * (d - b)
            found[6 * i, n, k] = four * a - five * c + e
            found[6 * i + 1, n, k] = even + odd
            found[6 * i + 2, n, k] = even - odd
            found[6 * i + 3, n, k] = mild + wild
            found[6 * i + 4, n, k] = mild - wild
            found[6 * i + 5, n, k] = four * b - five * d + f


@njit(f"void({_3}, i8, {_1}, f4, {_3}, u8, i8, i8, i8)", **_SET)
def _synthesised(found, n, bias, least, y, first, row, column, step):  # type: ignore[no-untyped-def]
    """Aᵀ m A and the bias, nowhere below `least`, as 4×4 pixels from a row and a column on."""
    two, four, eight = np.float32(2), np.float32(4), np.float32(8)
    channels = np.uint64(len(bias))
    half = np.empty((4, 6, len(bias)), np.float32)
    for j in range(6):
        for k in range(channels):
            near, far = found[6 + j, n, k], found[12 + j, n, k]
            more, less = found[18 + j, n, k], found[24 + j, n, k]
            even, odd, mild, wild = near + far, near - far, more + less, more - less
            half[0, j, k] = found[j, n, k] + even + mild
            half[1, j, k] = odd + two * wild
            half[2, j, k] = even + four * mild
            half[3, j, k] = odd + eight * wild + found[30 + j, n, k]
    for i in range(4):
        down = row + i * step
        for k in range(channels):
            even, odd = half[i, 1, k] + half[i, 2, k], half[i, 1, k] - half[i, 2, k]
            mild, wild = half[i, 3, k] + half[i, 4, k], half[i, 3, k] - half[i, 4, k]
            here, at = bias[k], first + k
            y[down, column, at] = max(here + half[i, 0, k] + even + mild, least)
            y[down, column + step, at] = max(here + odd + two * wild, least)
            y[down, column + 2 * step, at] = max(here + even + four * mild, least)
            last = here + odd + eight * wild + half[i, 5, k]
            y[down, column + 3 * step, at] = max(last, least)


@njit(f"void({_3}, u8, i8, i8[:,::1], i8, i8, {_3})", **_SET)
def to_frequencies(x, first, step, places, begin, end, found):  # type: ignore[no-untyped-def]
    """Analyse the pixels around the tiles from `begin` to `end`; outside there is nothing."""
    height, width, channels = x.shape[0], x.shape[1], found.shape[2]
    edge = np.empty((6, 6, channels), np.float32)
    for n in range(begin, end):
        row, column = places[n, 0] - step, places[n, 1] - step
        if row >= 0 and column >= 0 and row + 5 * step < height and column + 5 * step < width:
            _analysed(x, first, row, column, step, found, n)
            continue
        edge[:] = 0
        for i in range(6):
            for j in range(6):
                down, across = row + i * step, column + j * step
                if 0 <= down < height and 0 <= across < width:
                    for k in range(np.uint64(channels)):
                        edge[i, j, k] = x[down, across, first + k]
        _analysed(edge, np.uint64(0), 0, 0, 1, found, n)


@njit(f"void({_3}, {_1}, f4, {_3}, u8, i8, i8[:,::1], i8, i8)", **_SET)
def to_pixels(found, bias, least, y, first, step, places, begin, end):  # type: ignore[no-untyped-def]
    """Synthesise the tiles from `begin` to `end`, as far as they are within."""
    height, width, channels = y.shape[0], y.shape[1], len(bias)
    edge = np.empty((4, 4, channels), np.float32)
    for n in range(begin, end):
        row, column = places[n, 0], places[n, 1]
        if row + 3 * step < height and column + 3 * step < width:
            _synthesised(found, n, bias, least, y, first, row, column, step)
            continue
        _synthesised(found, n, bias, least, edge, np.uint64(0), 0, 0, 1)
        for i in range(4):
            for j in range(4):
                down, across = row + i * step, column + j * step
                if down < height and across < width:
                    for k in range(np.uint64(channels)):
                        y[down, across, first + k] = edge[i, j, k]


@njit(f"void({_3}, {_3}, {_3}, i8, i8, i8)", **_SET)
def multiplied(found, weights, made, count, begin, end):  # type: ignore[no-untyped-def]
    """The frequencies from `begin` to `end` of so many tiles: every channel's part in each."""
    for f in range(begin, end):
        np.dot(found[f, :count], weights[f], made[f, :count])


@njit(f"void({_3}, u8, i8, i8, i8, i8, {_2}, {_1}, f4, {_3}, u8, i8, i8, {_2}, {_2})", **_SET)
def gathered(  # type: ignore[no-untyped-def]
    x, first, side, stride, step, before, weights, bias, least, y, to, top, end, seen, made
):
    """Any square convolution, of the rows from `top` to `end`, by its definition."""
    height, width = x.shape[0], x.shape[1]
    channels = np.uint64(len(weights) // (side * side))
    for row in range(top, end):
        for column in range(y.shape[1]):
            for tap in range(side * side):
                down = row * stride - before + tap // side * step
                across = column * stride - before + tap % side * step
                place = seen[column, tap * channels : (tap + 1) * channels]
                if 0 <= down < height and 0 <= across < width:
                    for k in range(channels):
                        place[k] = x[down, across, first + k]
                else:
                    place[:] = 0
        np.dot(seen, weights, made)
        for column in range(y.shape[1]):
            for k in range(np.uint64(len(bias))):
                y[row, column, to + k] = max(made[column, k] + bias[k], least)


@njit(f"void({_3}, u8, {_3}, u8, i8, i8, i8)", **_SET)
def pooled(x, first, y, to, channels, top, end):  # type: ignore[no-untyped-def]
    """The greatest of each 2×2 pixels; at an odd edge of those that are there."""
    for row in range(top, end):
        down = min(2 * row + 1, x.shape[0] - 1)
        for column in range(y.shape[1]):
            across = min(2 * column + 1, x.shape[1] - 1)
            for k in range(np.uint64(channels)):
                upper = max(x[2 * row, 2 * column, first + k], x[2 * row, across, first + k])
                lower = max(x[down, 2 * column, first + k], x[down, across, first + k])
                y[row, column, to + k] = max(upper, lower)


@njit(f"void({_3}, u8, {_3}, u8, i8, i8, i8)", **_SET)
def resized(x, first, y, to, channels, top, end):  # type: ignore[no-untyped-def]
    """Bilinear, pixels at their centres, as torch has it without `align_corners`."""
    height, width = x.shape[0], x.shape[1]
    half = np.float32(0.5)
    tall, wide = np.float32(height) / np.float32(len(y)), np.float32(width) / np.float32(y.shape[1])
    for row in range(top, end):
        place = max((np.float32(row) + half) * tall - half, np.float32(0))
        up = min(int(place), height - 1)
        down = min(up + 1, height - 1)
        low = np.float32(place - np.float32(up))
        for column in range(y.shape[1]):
            place = max((np.float32(column) + half) * wide - half, np.float32(0))
            left = min(int(place), width - 1)
            right = min(left + 1, width - 1)
            far = np.float32(place - np.float32(left))
            for k in range(np.uint64(channels)):
                upper = x[up, left, first + k] * (1 - far) + x[up, right, first + k] * far
                lower = x[down, left, first + k] * (1 - far) + x[down, right, first + k] * far
                y[row, column, to + k] = upper * (1 - low) + lower * low
