"""Names of tensor element types: Open Inference Protocol, Triton's model config, and what a TorchScript model can take.

Source: Open Inference Protocol v2 "Tensor Data Types"; Triton model_config.proto `DataType`; the PyTorch backend's
ConvertTorchTypeToDataType (no BF16, no unsigned type above 8 bits).
"""

from __future__ import annotations

from types import MappingProxyType

TRITON_TYPES = MappingProxyType(
    {
        "BOOL": "TYPE_BOOL",
        "UINT8": "TYPE_UINT8",
        "UINT16": "TYPE_UINT16",
        "UINT32": "TYPE_UINT32",
        "UINT64": "TYPE_UINT64",
        "INT8": "TYPE_INT8",
        "INT16": "TYPE_INT16",
        "INT32": "TYPE_INT32",
        "INT64": "TYPE_INT64",
        "FP16": "TYPE_FP16",
        "FP32": "TYPE_FP32",
        "FP64": "TYPE_FP64",
        "BF16": "TYPE_BF16",
        "BYTES": "TYPE_STRING",
    }
)
OIP_TYPES = MappingProxyType({triton: oip for oip, triton in TRITON_TYPES.items()})

# Attribute of `torch` by OIP name; also the closed set of types that a TorchScript artefact may use.
TORCH_TYPES = MappingProxyType(
    {
        "BOOL": "bool",
        "UINT8": "uint8",
        "INT8": "int8",
        "INT16": "int16",
        "INT32": "int32",
        "INT64": "int64",
        "FP16": "float16",
        "FP32": "float32",
        "FP64": "float64",
    }
)
