"""A learned law of motion in place of the fitted physics."""
