"""metrics.json → the rows of the flow's table."""

from pipelines.outcome import metric_rows


def test_a_class_named_intervals_has_its_rows_like_every_other() -> None:
    one = {"recall": 0.5, "support": 4, "intervals": {"recall": [0.4, None]}}
    metrics = {
        "accuracy": 0.9,
        "intervals": {"accuracy": [0.8, 1.0]},
        "classes": {"glass": one, "intervals": one},
    }
    rows = [(row["metric"], row["value"], row["interval"]) for row in metric_rows(metrics)]
    assert rows == [
        ("accuracy", "0.9000", "0.8000 – 1.0000"),
        ("classes.glass.recall", "0.5000", "0.4000 – –"),
        ("classes.glass.support", "4", ""),
        ("classes.intervals.recall", "0.5000", "0.4000 – –"),
        ("classes.intervals.support", "4", ""),
    ]
