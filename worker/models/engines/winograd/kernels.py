"""Compiled kernels on float32 arrays of pixels (H, W, channels).

A layer may be a part of an array's channels, beginning at `first`. numba stores the compiled code
on disk, see `worker.imaging.matting.kernels`.
"""

from typing import Final

import numpy as np
from numba import njit

TILE: Final = 4
"""Side of an output tile in pixels."""
TRANSFORM_SIZE: Final = 36
"""Elements of a transformed tile, as many as the 6×6 pixels of an input tile."""

_OPTIONS: Final = {"cache": True, "nogil": True, "fastmath": {"contract"}}
_1, _2, _3 = "f4[::1]", "f4[:,::1]", "f4[:,:,::1]"


@njit(f"void({_3}, u8, i8, i8, i8, {_3}, i8)", **_OPTIONS)
def _transform_input_tile(x, first, row, column, dilation, inputs, n):  # type: ignore[no-untyped-def]
    """Write Bᵀ d B of the 6×6 pixels from a row and column on, `dilation` apart, as tile `n`."""
    two, four, five = np.float32(2), np.float32(4), np.float32(5)
    channels = np.uint64(inputs.shape[2])
    # Allocated here and never passed on, which tells the compiler that no other array aliases it.
    half = np.empty((6, 6, inputs.shape[2]), np.float32)
    for j in range(6):
        across = column + j * dilation
        for k in range(channels):
            at = first + k
            a, b = x[row, across, at], x[row + dilation, across, at]
            c, d = x[row + 2 * dilation, across, at], x[row + 3 * dilation, across, at]
            e, f = x[row + 4 * dilation, across, at], x[row + 5 * dilation, across, at]
            # Even and odd parts of the polynomial at the points ±1 and ±2.
            even1, odd1, even2, odd2 = e - four * c, d - four * b, e - c, two * (d - b)
            half[0, j, k] = four * a - five * c + e
            half[1, j, k] = even1 + odd1
            half[2, j, k] = even1 - odd1
            half[3, j, k] = even2 + odd2
            half[4, j, k] = even2 - odd2
            half[5, j, k] = four * b - five * d + f
    for i in range(6):
        for k in range(channels):
            a, b, c = half[i, 0, k], half[i, 1, k], half[i, 2, k]
            d, e, f = half[i, 3, k], half[i, 4, k], half[i, 5, k]
            even1, odd1, even2, odd2 = e - four * c, d - four * b, e - c, two * (d - b)
            inputs[6 * i, n, k] = four * a - five * c + e
            inputs[6 * i + 1, n, k] = even1 + odd1
            inputs[6 * i + 2, n, k] = even1 - odd1
            inputs[6 * i + 3, n, k] = even2 + odd2
            inputs[6 * i + 4, n, k] = even2 - odd2
            inputs[6 * i + 5, n, k] = four * b - five * d + f


@njit(f"void({_3}, i8, {_1}, f4, {_3}, u8, i8, i8, i8)", **_OPTIONS)
def _transform_output_tile(  # type: ignore[no-untyped-def]
    products, n, bias, lower_bound, y, first, row, column, dilation
):
    """Write Aᵀ m A plus bias of tile `n`, at least `lower_bound`, as 4×4 pixels."""
    two, four, eight = np.float32(2), np.float32(4), np.float32(8)
    channels = np.uint64(len(bias))
    half = np.empty((4, 6, len(bias)), np.float32)
    for j in range(6):
        for k in range(channels):
            m1, m2 = products[6 + j, n, k], products[12 + j, n, k]
            m3, m4 = products[18 + j, n, k], products[24 + j, n, k]
            even1, odd1, even2, odd2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
            half[0, j, k] = products[j, n, k] + even1 + even2
            half[1, j, k] = odd1 + two * odd2
            half[2, j, k] = even1 + four * even2
            half[3, j, k] = odd1 + eight * odd2 + products[30 + j, n, k]
    for i in range(4):
        down = row + i * dilation
        for k in range(channels):
            even1, odd1 = half[i, 1, k] + half[i, 2, k], half[i, 1, k] - half[i, 2, k]
            even2, odd2 = half[i, 3, k] + half[i, 4, k], half[i, 3, k] - half[i, 4, k]
            b, at = bias[k], first + k
            y[down, column, at] = max(b + half[i, 0, k] + even1 + even2, lower_bound)
            y[down, column + dilation, at] = max(b + odd1 + two * odd2, lower_bound)
            y[down, column + 2 * dilation, at] = max(b + even1 + four * even2, lower_bound)
            last = b + odd1 + eight * odd2 + half[i, 5, k]
            y[down, column + 3 * dilation, at] = max(last, lower_bound)


@njit(f"void({_3}, u8, i8, i8[:,::1], i8, i8, {_3})", **_OPTIONS)
def transform_input(x, first, dilation, tiles, begin, end, inputs):  # type: ignore[no-untyped-def]
    """Transform the pixels around the tiles from `begin` to `end`; pixels outside count as zero."""
    height, width, channels = x.shape[0], x.shape[1], inputs.shape[2]
    padded = np.empty((6, 6, channels), np.float32)
    for n in range(begin, end):
        row, column = tiles[n, 0] - dilation, tiles[n, 1] - dilation
        bottom, right = row + 5 * dilation, column + 5 * dilation
        if row >= 0 and column >= 0 and bottom < height and right < width:
            _transform_input_tile(x, first, row, column, dilation, inputs, n)
            continue
        padded[:] = 0
        for i in range(6):
            for j in range(6):
                down, across = row + i * dilation, column + j * dilation
                if 0 <= down < height and 0 <= across < width:
                    for k in range(np.uint64(channels)):
                        padded[i, j, k] = x[down, across, first + k]
        _transform_input_tile(padded, np.uint64(0), 0, 0, 1, inputs, n)


@njit(f"void({_3}, {_1}, f4, {_3}, u8, i8, i8[:,::1], i8, i8)", **_OPTIONS)
def transform_output(  # type: ignore[no-untyped-def]
    products, bias, lower_bound, y, first, dilation, tiles, begin, end
):
    """Transform the tiles from `begin` to `end` back, and write the pixels inside the layer."""
    height, width, channels = y.shape[0], y.shape[1], len(bias)
    whole = np.empty((4, 4, channels), np.float32)
    for n in range(begin, end):
        row, column = tiles[n, 0], tiles[n, 1]
        if row + 3 * dilation < height and column + 3 * dilation < width:
            _transform_output_tile(products, n, bias, lower_bound, y, first, row, column, dilation)
            continue
        _transform_output_tile(products, n, bias, lower_bound, whole, np.uint64(0), 0, 0, 1)
        for i in range(4):
            for j in range(4):
                down, across = row + i * dilation, column + j * dilation
                if down < height and across < width:
                    for k in range(np.uint64(channels)):
                        y[down, across, first + k] = whole[i, j, k]


@njit(f"void({_3}, {_3}, {_3}, i8, i8, i8)", **_OPTIONS)
def multiply(inputs, weights, products, count, begin, end):  # type: ignore[no-untyped-def]
    """Multiply the elements from `begin` to `end` of `count` tiles: one GEMM over channels each."""
    for element in range(begin, end):
        np.dot(inputs[element, :count], weights[element], products[element, :count])


@njit(f"void({_3}, u8, i8, i8, i8, i8, {_2}, {_1}, f4, {_3}, u8, i8, i8, {_2}, {_2})", **_OPTIONS)
def convolve_im2col(  # type: ignore[no-untyped-def]
    x,
    first,
    side,
    stride,
    dilation,
    padding,
    weights,
    bias,
    lower_bound,
    y,
    target_first,
    top,
    end,
    columns,
    products,
):
    """Compute the rows from `top` to `end` of a convolution with a square kernel, by im2col.

    `columns` (width, side · side · channels) and `products` (width, target channels) are scratch.
    """
    height, width = x.shape[0], x.shape[1]
    channels = np.uint64(len(weights) // (side * side))
    for row in range(top, end):
        for column in range(y.shape[1]):
            for tap in range(side * side):
                down = row * stride - padding + tap // side * dilation
                across = column * stride - padding + tap % side * dilation
                pixel = columns[column, tap * channels : (tap + 1) * channels]
                if 0 <= down < height and 0 <= across < width:
                    for k in range(channels):
                        pixel[k] = x[down, across, first + k]
                else:
                    pixel[:] = 0
        np.dot(columns, weights, products)
        for column in range(y.shape[1]):
            for k in range(np.uint64(len(bias))):
                value = products[column, k] + bias[k]
                y[row, column, target_first + k] = max(value, lower_bound)


@njit(f"void({_3}, u8, {_3}, u8, i8, i8, i8)", **_OPTIONS)
def max_pool(x, first, y, target_first, channels, top, end):  # type: ignore[no-untyped-def]
    """Max-pool 2×2 pixels with stride 2; at an odd edge, those pixels that exist."""
    for row in range(top, end):
        down = min(2 * row + 1, x.shape[0] - 1)
        for column in range(y.shape[1]):
            across = min(2 * column + 1, x.shape[1] - 1)
            for k in range(np.uint64(channels)):
                upper = max(x[2 * row, 2 * column, first + k], x[2 * row, across, first + k])
                lower = max(x[down, 2 * column, first + k], x[down, across, first + k])
                y[row, column, target_first + k] = max(upper, lower)


@njit(f"void({_3}, u8, {_3}, u8, i8, i8, i8)", **_OPTIONS)
def resize(x, first, y, target_first, channels, top, end):  # type: ignore[no-untyped-def]
    """Resize bilinearly with pixel centres, as torch does with `align_corners=False`."""
    height, width = x.shape[0], x.shape[1]
    half = np.float32(0.5)
    row_scale = np.float32(height) / np.float32(len(y))
    column_scale = np.float32(width) / np.float32(y.shape[1])
    for row in range(top, end):
        position = max((np.float32(row) + half) * row_scale - half, np.float32(0))
        up = min(int(position), height - 1)
        down = min(up + 1, height - 1)
        low = np.float32(position - np.float32(up))
        for column in range(y.shape[1]):
            position = max((np.float32(column) + half) * column_scale - half, np.float32(0))
            left = min(int(position), width - 1)
            right = min(left + 1, width - 1)
            far = np.float32(position - np.float32(left))
            for k in range(np.uint64(channels)):
                upper = x[up, left, first + k] * (1 - far) + x[up, right, first + k] * far
                lower = x[down, left, first + k] * (1 - far) + x[down, right, first + k] * far
                y[row, column, target_first + k] = upper * (1 - low) + lower * low
