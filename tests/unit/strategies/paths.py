"""Returns with an effect: what several tests plant, or hold their kernels against."""

from __future__ import annotations

import numpy as np


def fractional_noise(exponent: float, normals: np.ndarray) -> np.ndarray:
    """Exact fractional Gaussian noise (N,) of variance 1 from independent normals (2 N,), by circulant embedding.

    Source: Davies, Harte (1987), Biometrika 74(1); Mandelbrot, Van Ness (1968), SIAM Review 10(4).
    """
    n, h = normals.size // 2, 2.0 * exponent
    k = np.arange(n + 1.0)
    gamma = 0.5 * ((k + 1.0) ** h - 2.0 * k**h + np.abs(k - 1.0) ** h)
    sizes = np.fft.fft(np.concatenate((gamma, gamma[-2:0:-1]))).real
    w = np.empty(2 * n, complex)
    w[0], w[n] = np.sqrt(sizes[0]) * normals[0], np.sqrt(sizes[n]) * normals[-1]
    w[1:n] = np.sqrt(0.5 * sizes[1:n]) * (normals[1:-1:2] + 1j * normals[2:-1:2])
    w[n + 1 :] = np.conj(w[n - 1 : 0 : -1])
    return np.fft.fft(w).real[:n] / np.sqrt(2.0 * n)
