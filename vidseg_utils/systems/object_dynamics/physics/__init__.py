"""Rigid bodies that slide on the ground and collide, and how their constants are fitted."""
