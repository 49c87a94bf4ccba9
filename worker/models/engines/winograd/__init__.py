"""The own engine: convolutional networks on a CPU, with Winograd's minimal filtering.

A 3×3 convolution F(4×4, 3×3) computes a tile of 4×4 output pixels from 6×6 input pixels. The input
tile and the weights are transformed linearly, multiplied element by element in the transform
domain, summed over the channels, and transformed back. This takes 36 multiplications per pair of
input and output channel, where a direct convolution takes 144 (A. Lavin & S. Gray 2015, "Fast
Algorithms for Convolutional Neural Networks", https://arxiv.org/abs/1509.09308). For each of the 36
elements, the products of all tiles and channels are one matrix multiplication (GEMM).

An ONNX graph becomes `operation`s; `layout` places their layers in memory; `build_step` makes a
`step` of each, which calls the compiled `kernels` on the threads of a `team`. Layers lie in memory
as (H, W, channels).
"""
