"""From masks to tracks of objects: boundary edges, outlines, components, class assignment, tracks."""
