"""Scores: of masks, of frames, of whole systems, and the table of all runs."""
