"""Forecast objects in the image plane by a learned network; it knows no camera, no physics and no shapes."""
