import pytest
from fpbench_template.plugin import SpreadSpectrum

from fpbench.testing.checks import rules_for


@pytest.mark.parametrize("rule", rules_for(SpreadSpectrum), ids=str)
def test_it_keeps_the_rule(rule):
    rule.check()
