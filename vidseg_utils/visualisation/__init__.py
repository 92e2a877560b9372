"""Pictures: one style, one palette, one overlay function. Functions take and return axes, and never show or save."""
