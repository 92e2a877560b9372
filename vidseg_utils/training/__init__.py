"""Training: losses, the loop that can be read, and run folders that survive being killed."""
