"""SimVP on masks: how it is trained, and the four systems that forecast with it."""
