"""What a server does → metrics in the text format of Prometheus."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)

from components.serving.batching import Output
from components.serving.model import Model, Prediction

TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32)
SHARES = tuple(round(step / 10, 1) for step in range(1, 11))


class Metrics:
    """The metrics of one server. All names begin with `fovea_`; times are in seconds."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # no line for each first use
        self._registry = CollectorRegistry()
        of: Any = {"namespace": "fovea", "registry": self._registry}
        self.requests = Counter("requests", "Requests by path and status", ("path", "status"), **of)
        self.phases = Histogram(
            "phase_seconds",
            "Seconds by phase: read and whole of a request; decode, wait and compute of an image",
            ("phase",),
            buckets=SECONDS,
            **of,
        )
        self.batches = Histogram(
            "batch_images", "Images in the batch of each image", buckets=IMAGES, **of
        )
        self.taken = Gauge("images_in_work", "Images that are decoded, wait or are computed", **of)
        self.faults = Counter("faults", "Images that were refused, by the code", ("code",), **of)
        self.labels = Counter("predictions", "Images by the predicted class", ("label",), **of)
        self.probabilities = Histogram(
            "probability", "Probability of the predicted class", buckets=SHARES, **of
        )
        self.model = Info("model", "The model that answers", **of)
        self.swaps = Counter("swaps", "Other models, by what became of them", ("result",), **of)
        self.behind = Gauge(
            "behind", "1 if the version that the alias names does not answer; /model says why", **of
        )
        self.shadow = Counter(
            "shadow_images", "Images of the shadow: same, other, or dropped", ("result",), **of
        )

    def see_model(self, model: Model) -> None:
        """Say which model answers."""
        version = model.version
        number = str(version.number) if version else ""
        self.model.info(
            {
                "name": version.name if version else "",
                "version": number,
                "sha256": version.model_id if version else "",
            }
        )

    def see_outputs(self, outputs: Iterable[Output]) -> None:
        """Count how long images waited and were computed, and in which batches."""
        for output in outputs:
            self.phases.labels("wait").observe(output.waited_s)
            self.phases.labels("compute").observe(output.computed_s)
            self.batches.observe(output.images)

    def see_predictions(self, predictions: Iterable[Prediction]) -> None:
        """Count the predicted classes, their probabilities and the faults."""
        for prediction in predictions:
            if prediction.fault is None:
                self.labels.labels(prediction.label).inc()
                self.probabilities.observe(prediction.probability or 0.0)
            else:
                self.faults.labels(prediction.fault).inc()

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)
