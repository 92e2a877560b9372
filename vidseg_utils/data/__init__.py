"""Videos: generated, imported or downloaded, checked, cached, and served as frames and clips."""
