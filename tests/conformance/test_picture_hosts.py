"""Methods that mark photographs."""

from test_methods import TINY

from fpbench.registry import load
from fpbench.testing.conformance import check_method


def test_a_copy_is_the_pictures_and_the_embedder(tmp_path):
    host, method = (load().component("hosts", "photographs"), load().component("methods", "hidden"))
    made = method(method.Params(**TINY["hidden"]))
    found = check_method(made, tmp_path, host=host(host.Params()), train=64)
    assert (found.leaked, found.sealed) == (("post",), "")
