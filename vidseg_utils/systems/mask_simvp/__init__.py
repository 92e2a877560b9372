"""SimVP on masks: its recipe, and the four systems that use it."""
