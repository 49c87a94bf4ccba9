"""Convolutional networks on a CPU, by Winograd's minimal filtering.

A 3×3 convolution of 4×4 pixels takes 36 products a pair of channels this way and 144 by its
definition (Lavin & Gray 2015, "Fast Algorithms for Convolutional Neural Networks"). Pixels lie as
(H, W, channels). From the graph to the map: plan → memory → steps, which run kernels.
"""
