from fpbench_template.plugin import SpreadSpectrum

from fpbench.testing.conformance import check_method


def test_method_keeps_the_contract(tmp_path):
    result = check_method(SpreadSpectrum(SpreadSpectrum.Params()), tmp_path)
    assert result.right > 0.9
