"""The share of right bits of the copy that fares worst: the smallest metric."""

from fpbench.api import Card, Metric, NoParams, Outcome, Row, hookimpl


class WorstCopy(Metric[NoParams]):
    """Of images of each copy the mean share of right bits, and of these the least."""

    name, version, Params = "worst-copy", "1", NoParams
    unit, higher_is_better, bounds = "", True, (0.0, 1.0)  # "" is a share
    card = Card("Worst copy", "own", "Apache-2.0", "Right bits of the copy that fares worst.")

    def measure(self, evidence):  # numpy alone, no torch
        if not evidence.single:
            return []  # coalitions and forgeries: not its cells
        if evidence.gives != "bits":
            return [Row(outcome=Outcome.REFUSED, reason="the method gives no bits")]
        codes = [evidence.codes[users[0]] for users in evidence.users]
        right = [
            float(((column["logits"] > 0) == code).mean())
            for column, code in zip(evidence.copies, codes, strict=True)
        ]
        images = sum(len(column["logits"]) for column in evidence.copies)
        return [Row(value=min(right), n=images, clusters=len(right), by_copy=right)]


@hookimpl
def fpbench_metrics():
    return [WorstCopy]
