"""A method of two exported graphs, as an author writes one."""

import sys
from typing import Annotated

import onnx.parser
import pytest
import torch
from onnx import numpy_helper

from fpbench.api import Card, ContractError, MissingResource, Params
from fpbench.api.images import to_float
from fpbench.api.params import Local
from fpbench.nn.files import OpaqueMethod
from fpbench.nn.onnx import Graph
from fpbench.testing.conformance import check_method
from fpbench.testing.networks import BlockEmbedder, _patterns

BITS, SIZE = 8, 32
EMBEDDER = """
<ir_version: 9, opset_import: ["" : 18]>
embed (float[N, 3, 32, 32] images, bool[N, 8] codes) => (float[N, 3, 32, 32] marked)
<float two = {2.0}, float one = {1.0}, float half = {0.5},
 float amplitude = {0.25}, int64[4] plane = {-1, 1, 32, 32}> {
  bits = Cast <to = 1> (codes)
  doubled = Mul (bits, two)
  signs = Sub (doubled, one)
  flat = MatMul (signs, patterns)
  pattern = Reshape (flat, plane)
  softer = Mul (pattern, amplitude)
  darker = Mul (images, half)
  marked = Add (darker, softer)
}
"""
EXTRACTOR = """
<ir_version: 9, opset_import: ["" : 18]>
extract (float[N, 3, 32, 32] images) => (float[N, 8] logits)
<int64[1] channels = {1}, int64[2] rows = {-1, 1024}> {
  grey = ReduceMean <keepdims = 0> (images, channels)
  flat = Reshape (grey, rows)
  logits = MatMul (flat, patterns)
}
"""


def write(path, text, **arrays):
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return str(path)


@pytest.fixture
def graphs(tmp_path):
    """Embedder and extractor that do as the fake "perfect" does."""
    patterns = _patterns(BITS, SIZE).numpy()
    return {
        "embedder": write(tmp_path / "embed.onnx", EMBEDDER, patterns=patterns),
        "extractor": write(tmp_path / "extract.onnx", EXTRACTOR, patterns=patterns.T.copy()),
    }


class ExportedParams(Params):
    embedder: Annotated[str, Local()]
    extractor: Annotated[str, Local()]
    bits: int = BITS


class Exported(OpaqueMethod[ExportedParams]):
    name = "exported"
    version = "1"
    Params = ExportedParams
    card = Card("Exported", "own", "Apache-2.0", "For tests.")

    def embedder(self, state, ctx):
        return self.opened("embedder", state, ctx, lambda: Graph(self.params.embedder))

    def extract(self, state, host, evidence, ctx):
        graph = self.opened("extractor", state, ctx, lambda: Graph(self.params.extractor))
        return graph(to_float(evidence.samples))


def test_a_method_of_two_graphs_keeps_the_contract(graphs, tmp_path):
    found = check_method(Exported(ExportedParams(**graphs)), tmp_path / "scratch")
    assert found.right == 1
    assert found.leaked == ("post",)


def test_a_graph_gives_what_the_module_gives_without_gradients(graphs):
    images = torch.rand(5, 3, SIZE, SIZE).mul(2).sub(1).requires_grad_()
    codes = torch.rand(5, BITS) > 0.5
    made = Graph(graphs["embedder"])(images, codes)
    assert torch.allclose(made, BlockEmbedder(BITS, torch.tensor([0.25]))(images, codes), atol=1e-6)
    assert made.dtype == torch.float32
    assert not made.requires_grad


def test_what_a_graph_does_not_take_or_give_is_named(graphs, tmp_path):
    images = torch.zeros(2, 3, SIZE, SIZE)
    with pytest.raises(
        ContractError, match=r"embed.onnx: expected .*codes tensor\(bool\).* got \("
    ):
        Graph(graphs["embedder"])(images)
    with pytest.raises(ContractError, match=r"extract.onnx: .* got \(\(2, 3, 16, 16\)\)"):
        Graph(graphs["extractor"])(images[..., :16, :16])
    sums = """<ir_version: 9, opset_import: ["" : 18]>
    total (float[N, 3, 32, 32] images) => (float total) {total = ReduceSum <keepdims = 0> (images)}
    """
    with pytest.raises(ContractError, match=r"sum.onnx: expected 2 rows as its first output, got"):
        Graph(write(tmp_path / "sum.onnx", sums))(images)


def test_files_that_are_no_graphs_are_named(tmp_path):
    with pytest.raises(MissingResource, match=r"expected an ONNX file at .*gone.onnx, got none"):
        Graph(tmp_path / "gone.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(ContractError, match=r"bad.onnx: expected an ONNX graph that onnxruntime"):
        Graph(tmp_path / "bad.onnx")


def test_without_onnxruntime_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingResource, match="uv sync --extra onnx"):
        Graph(tmp_path / "any.onnx")
