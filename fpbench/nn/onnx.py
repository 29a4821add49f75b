"""A graph in an ONNX file as a step that nobody can change; runs on the CPU, by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import ContractError, MissingResource
from fpbench.nn.opaque import Opaque

__all__ = ["Graph"]

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


class Graph(Opaque):
    """The first output of a graph; no gradient passes it.

    A method opens it with `OpaqueMethod.opened`, once a process.

    Args:
        path: of the file; other files with its weights must not belong to it.

    Raises:
        MissingResource: the file is not there, or onnxruntime is not installed.
        ContractError: it is no graph that can be run.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._name = Path(path).name
        self._session = _session(Path(path))
        self._inputs = [(put.name, put.type, put.shape) for put in self._session.get_inputs()]

    def forward(self, *inputs: Tensor) -> Tensor:
        """(N, ...) float32 on the device of the inputs.

        Args:
            inputs: (N, ...) each, in the order of the graph's inputs, whose types they are given.

        Raises:
            ContractError: the graph does not take them, or gives no such array.
        """
        count = len(inputs[0])
        given = f"({', '.join(str(tuple(tensor.shape)) for tensor in inputs)})"
        try:
            feeds: dict[str, Any] = {
                name: tensor.detach().cpu().numpy().astype(_TYPES[kind], copy=False)
                for (name, kind, _), tensor in zip(self._inputs, inputs, strict=True)
            }
            made = self._session.run(None, feeds)[0]
        except Exception as error:
            wanted = ", ".join(f"{name} {kind} {shape}" for name, kind, shape in self._inputs)
            raise ContractError(
                f"graph {self._name}: expected inputs that it takes ({wanted}), got {given}: "
                f"{_first_line(error)}; export it with a free first axis for any number of images"
            ) from error
        if not isinstance(made, np.ndarray) or made.shape[:1] != (count,):
            raise ContractError(
                f"graph {self._name}: expected {count} rows as its first output, got "
                f"{getattr(made, 'shape', type(made).__name__)}; put what is wanted first when it "
                "is exported"
            )
        return torch.from_numpy(made.astype(np.float32, copy=False)).to(inputs[0].device)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingResource(
            f"graph {path.name}: expected onnxruntime to run it with, which cannot be imported "
            f"here ({error}); run in fpbench's folder: uv sync --extra onnx "
            "(or pip install 'fpbench[onnx]')"
        ) from error
    if not path.is_file():
        raise MissingResource(
            f"graph {path.name}: expected an ONNX file at {path}, got none there; bring it, or "
            "name another one in the suite"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors; they are raised, too
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ContractError(
            f"graph {path.name}: expected an ONNX graph that onnxruntime "
            f"{onnxruntime.__version__} can run, got {_first_line(error)}; export it anew, all in "
            "one file"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
