"""The measurements behind docs/evidence/."""
