"""Rigid bodies that slide on the ground and collide; how their constants are kept and fitted."""
