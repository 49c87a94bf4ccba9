"""The engine on PyTorch, for ISNet's checkpoints."""
