"""JEPA: forecast embeddings, then read the mask off them."""
