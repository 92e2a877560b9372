"""New-object suppression: the published rules on regions of a mask, and a learned decision tree as an alternative."""

from vidseg_utils.systems.suppression.rules import known_classes, suppress_new_objects

__all__ = ["known_classes", "suppress_new_objects"]
