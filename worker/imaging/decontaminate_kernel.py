"""The compiled part of `worker.imaging.decontaminate`.

A file of its own, because importing numba takes a second: see `worker.imaging.matting.kernels`.
"""

from numba import njit, types


def _signature(level: types.Type) -> types.Type:
    rgb, mask = (types.Array(level, axes, "A", readonly=True) for axes in (3, 2))
    layer = types.Array(types.float32, 3, "C", readonly=True)
    near = types.Array(types.boolean, 2, "C", readonly=True)
    inputs = (rgb, mask, layer, layer, near, types.int64, level, level, level)
    return types.void(*inputs, types.Array(level, 3, "A"))


@njit([_signature(types.uint8), _signature(types.uint16)], cache=True, nogil=True)
def decontaminate(rgb, mask, foreground, background, near, step, faint, opaque, max_level, result):  # type: ignore[no-untyped-def]
    """Write the foreground's colours (H, W, 3) to `result`.

    `foreground`, `background` (h, w, 3) float32 in 0…1 and `near` (h, w) hold every `step`th pixel.
    Where `mask` is at least `opaque` the colour is that of `rgb`; where it is at most `faint` and
    not `near` it is black. Elsewhere the layers are interpolated, and the foreground's part of the
    colour that they do not explain is added.
    """
    height, width = mask.shape
    rows, columns = near.shape
    for y in range(height):
        upper = y // step
        lower = min(upper + 1, rows - 1)
        down = (y - upper * step) / step
        for x in range(width):
            level = mask[y, x]
            if level >= opaque:
                for c in range(3):
                    result[y, x, c] = rgb[y, x, c]
                continue
            left = x // step
            if level <= faint and not near[upper, left]:
                for c in range(3):
                    result[y, x, c] = 0
                continue
            right = min(left + 1, columns - 1)
            along = (x - left * step) / step
            upper_left, upper_right = (1 - down) * (1 - along), (1 - down) * along
            lower_left, lower_right = down * (1 - along), down * along
            alpha = level / max_level
            for c in range(3):
                front = (
                    upper_left * foreground[upper, left, c]
                    + upper_right * foreground[upper, right, c]
                    + lower_left * foreground[lower, left, c]
                    + lower_right * foreground[lower, right, c]
                )
                back = (
                    upper_left * background[upper, left, c]
                    + upper_right * background[upper, right, c]
                    + lower_left * background[lower, left, c]
                    + lower_right * background[lower, right, c]
                )
                front += alpha * (rgb[y, x, c] / max_level - alpha * front - (1 - alpha) * back)
                result[y, x, c] = int(min(max(front, 0.0), 1.0) * max_level + 0.5)
