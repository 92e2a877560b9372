"""Running the notebooks: what their cells call, and how they are executed in batches."""
