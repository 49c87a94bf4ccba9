"""Closed-form matting, solved for the unknown pixels of a trimap only.

The equations are those of `pymatting.estimate_alpha_cf`: A. Levin et al., "A Closed-Form Solution
to Natural Image Matting", 2008. Iterative solvers converge slowly on them because alpha can follow
the colours of a picture over long distances at almost no cost; `coarse_grid` corrects such errors.
"""

from worker.imaging.matting.closed_form.solver import solve

__all__ = ["solve"]
