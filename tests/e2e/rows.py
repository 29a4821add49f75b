"""Finding a record among those of a run."""


def value(records, method, point, metric, variant=""):
    """The only record of this method, point, metric and variant."""
    (found,) = [
        r
        for r in records.values()
        if (r["method"].get("label"), r["point"]["label"], r["metric"], r["variant"])
        == (method, point, metric, variant)
    ]
    return found
