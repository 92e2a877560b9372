"""From masks to tracks of objects: runs, components, class assignment, boundary edges, pose fits, outlines, tracks."""
