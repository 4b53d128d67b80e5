"""What runs beside a model: package it, fetch and verify it, describe it to Triton, and ask it questions.

The package needs nothing but the standard library. torch is imported by torch_export.py, host/ and examples/ only;
numpy and tritonclient by predict.py only; each at the moment of use.
"""

__version__ = "0.1.0"
