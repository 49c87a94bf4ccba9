"""What runs a model on a device: ONNX Runtime, torch, and our own engine for CPUs."""
