"""The recurrent U-Net: how it is trained, and the systems that see the past through it."""
