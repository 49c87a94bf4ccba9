"""How ONNX Runtime opens a prepared graph."""

from typing import Final

import onnxruntime

from worker.models.engines.onnx.batch_axis import BATCH

_MAX_FOLDED_BYTES: Final = 2**30
"""Bytes of a constant that ONNX Runtime may compute while it opens a graph."""


def session_options(device: str, *, threads: int) -> onnxruntime.SessionOptions:
    """Return the options of a session on a device; `threads` as in `make_loader`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes", str(_MAX_FOLDED_BYTES)
    )
    if device == "cpu":
        # On two cores, a batch of two took a sixth longer than two images one after the other, and
        # a single image 2 to 7 % longer than with a batch of 1 that is known in advance.
        options.add_free_dimension_override_by_name(BATCH, 1)
    return options
