"""The subject's colour at full size from layers of a fraction of it, compiled.

What two layers leave unexplained of a pixel is the subject's by its alpha: M. Forte, "Approximate
Fast Foreground Colour Estimation", 2021.
"""

from numba import njit, types


def _signature(level: types.Type) -> types.Type:
    seen, mask = (types.Array(level, axes, "A", readonly=True) for axes in (3, 2))
    layer = types.Array(types.float32, 3, "C", readonly=True)
    near = types.Array(types.boolean, 2, "C", readonly=True)
    of = (seen, mask, layer, layer, near, types.int64, level, level, level)
    return types.void(*of, types.Array(level, 3, "A"))


@njit([_signature(types.uint8), _signature(types.uint16)], cache=True, nogil=True)
def fuse(rgb, mask, front, behind, near, step, faint, full, peak, result):  # type: ignore[no-untyped-def]
    """Write (H, W, 3) colours of a picture to `result`.

    Where `mask` is `full` the picture's own; where it is `faint` and the layers' pixel is not
    `near` the subject, black. `front` and `behind` hold every `step`th pixel, in 0…1.
    """
    height, width = mask.shape
    rows, columns = near.shape
    for y in range(height):
        upper = y // step
        lower = min(upper + 1, rows - 1)
        down = (y - upper * step) / step
        for x in range(width):
            level = mask[y, x]
            if level >= full:
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
            a, b = (1 - down) * (1 - along), (1 - down) * along
            d, e = down * (1 - along), down * along
            alpha = level / peak
            for c in range(3):
                own = (
                    a * front[upper, left, c]
                    + b * front[upper, right, c]
                    + d * front[lower, left, c]
                    + e * front[lower, right, c]
                )
                other = (
                    a * behind[upper, left, c]
                    + b * behind[upper, right, c]
                    + d * behind[lower, left, c]
                    + e * behind[lower, right, c]
                )
                own += alpha * (rgb[y, x, c] / peak - alpha * own - (1 - alpha) * other)
                result[y, x, c] = int(min(max(own, 0.0), 1.0) * peak + 0.5)
