"""The engine on ONNX Runtime, and how a graph is prepared for it."""
