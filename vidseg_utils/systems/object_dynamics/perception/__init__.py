"""From masks to tracks of objects: components, class assignment, boundary edges, pose fits, outlines, tracks."""
