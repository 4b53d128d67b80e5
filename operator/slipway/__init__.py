"""Slipway: model services on Kubernetes, served by NVIDIA Triton.

Layers, lowest first; a module imports only from lower ones (tests/unit/test_layers.py):

    api        L0  the custom resource as Python values
    core build L1  decisions, and desired objects as plain data; pure
    adapters   L2  the only doors to the world
    loop       L3  observe, plan, apply, report
    handlers   L4  kopf, and the life of the process
"""

__version__ = "0.1.0"
