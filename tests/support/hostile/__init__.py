"""Files that a stranger might upload to stop a worker, made by code, the same ones every time."""
