"""A multilayer perceptron 1000-500-100-1 on synthetic data."""
