"""Where videos come from: our own generator, CLEVRER, the course archive, Cityscapes."""
