"""Closed-form matting, solved where a trimap leaves alpha open.

The equations are those of `pymatting.estimate_alpha_cf`. What makes them slow to solve is that
alpha may follow the colours of a picture over long ways at hardly any cost; `cells` is the way out.
"""

from worker.imaging.matting.closed_form.solution import Solution, solve

__all__ = ["Solution", "solve"]
