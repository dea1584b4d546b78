"""Numbers that are loss weights: of at least 0, and as float32 what they are."""

from numbers import Real

import numpy as np

from rondo_tools.row_fault import RowFault


def loss_weight(value):
    """The weight as the nearest float32; RowFault for what is none, or becomes 0 or infinite."""
    weight = np.float32("nan")
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            with np.errstate(all="ignore"):
                weight = np.float32(float(value))
        except OverflowError:
            pass
    if not np.isfinite(weight) or weight < 0 or (weight == 0) != (value == 0):
        shown = repr(value)
        shown = shown if len(shown) <= 40 else shown[:40] + "..."
        raise RowFault("wrong weight", f"{shown}, expected a number of at least 0")
    return float(weight)
