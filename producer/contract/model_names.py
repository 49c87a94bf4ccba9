"""The names of the models that workers of this release know."""

from typing import Final

MODEL_NAMES: Final = (
    *("isnet-general-use", "isnet-general-use-int8", "isnet-general-use-full"),
    *("isnet-general-use-torch", "isnet-anime", "isnetis", "rmbg-1.4", "u2net", "u2netp"),
    *("u2net-human-seg", "silueta", "birefnet-general", "birefnet-general-lite", "modnet"),
)
"""The names in the catalogue, `worker/models/files/catalogue.toml`, in its order."""
MODEL_SUFFIXES: Final = (".onnx", ".pth", ".pt", ".safetensors")
"""The suffixes of model files in an object store."""
