"""Running the notebooks: what their cells call, and how they are executed in batches."""


class NotebookFailed(RuntimeError):
    """A cell raised; the message names the notebook, the cell with the first line of its source, and the error."""
