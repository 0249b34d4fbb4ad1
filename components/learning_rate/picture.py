"""The loss at each learning rate → an SVG picture with the rate to train with."""

import io

from components.learning_rate.range_test import RateCurve


def draw_rates(curve: RateCurve, present: float) -> str:
    """Draw the curve and return the text of the SVG picture. Equal arguments give equal text.

    curve: the losses. present: the learning rate in params.yaml, which is marked, too.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "fovea", "font.size": 9}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        panel = figure.subplots()
        panel.set(xscale="log", xlabel="learning rate", ylabel="loss on training batches")
        panel.set_title(f"learning rates of the phase {curve.phase}")
        panel.plot(curve.rates, curve.losses, ".", color="#9ca3af", ms=4, label="a batch")
        panel.plot(curve.rates, curve.smoothed, color="#2563eb", label="averaged")
        noise = "the lowest loss" if curve.falls else "the loss at the lowest rates"
        panel.axhline(curve.as_low, color="#9ca3af", lw=0.8, ls="--", label=f"noise of {noise}")
        which = "rate to train with" if curve.falls else "rate to compare with yours"
        panel.axvline(curve.suggestion, color="#16a34a", label=f"{which}: {decimal(curve)}")
        panel.axvline(present, color="#111827", ls=":", label=f"in params.yaml: {present:g}")
        # Losses at rates that are far too high would leave no room for all others.
        low, first = min(curve.smoothed), curve.smoothed[0]
        panel.set_ylim(top=max(first, low) + 1.5 * max(first - low, 0.2 * first))
        panel.legend(fontsize=8)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def decimal(curve: RateCurve) -> str:
    """Return the rate to train with as a decimal number, which every reader of YAML understands.

    >>> import numpy as np
    >>> decimal(RateCurve("head", np.array([3e-5]), np.array([1.0])))
    '0.00003'
    """
    return f"{curve.suggestion:.9f}".rstrip("0")
