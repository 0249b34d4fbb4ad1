"""A search that has all that a picture can show: conditions, costs, pruned and failed trials."""

import math
import random
from dataclasses import replace

from components.params.search import Choices, Range
from components.search.trial import Trial

HOSTILE = '</script><img src=x onerror="alert(1)">'
OBJECTIVES = {"val_macro_f1": "maximize", "multiply_adds": "minimize"}
RATE = "train.finetune.learning_rate"
SPACE = {
    RATE: Range(low=1e-5, high=1e-1, log=True),
    "model.backbone": Choices(choices=("mobilenet_v2", HOSTILE)),
    "model.dropout": Choices(choices=(0.4, 0.0, 0.2)),
    "train.momentum": Range(
        low=0.1, high=0.9, log=False, when={"model.backbone": ("mobilenet_v2",)}
    ),
    "train.flag": Choices(choices=("true", True, 1)),
}


def finished_trials(count=26):
    """Return trials; 12 and 25 failed, 5, 11, 17 and 23 were pruned, and 0 is outside of SPACE."""
    generator = random.Random(2)
    trials = []
    for number in range(count):
        overrides = {
            RATE: 10 ** generator.uniform(-5, -1),
            "model.backbone": generator.choice(["mobilenet_v2", HOSTILE]),
            "model.dropout": generator.choice([0.0, 0.2, 0.4]),
            "train.flag": generator.choice(["true", True, 1]),
        }
        if number == 0:
            overrides |= {RATE: 0.5, "model.dropout": 0.1}
        if overrides["model.backbone"] == "mobilenet_v2":
            overrides["train.momentum"] = generator.uniform(0.1, 0.9)
        quality = 0.9 - 0.05 * (math.log10(overrides[RATE]) + 3) ** 2
        cost = 3e8 * (1 + (overrides["model.backbone"] == HOSTILE)) + 1e6 * (number % 7)
        if number % 13 == 12:
            trials.append(Trial(number, "failed", overrides, note="the loss is <NaN>"))
        elif number % 6 == 5:
            trials.append(
                Trial(
                    number,
                    "pruned",
                    overrides,
                    {"val_macro_f1": quality},
                    3,
                    first={"val_macro_f1": quality},
                )
            )
        else:
            values = {"val_macro_f1": quality, "multiply_adds": cost}
            trials.append(Trial(number, "complete", overrides, values, 8, first=values))
    return trials


def best(trials):
    """Return the number of the complete trial with the highest quality."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return max(complete, key=lambda trial: trial.values["val_macro_f1"]).number


def confirm(trials, number, values):
    """Return the trials, of which one is confirmed."""
    return [replace(t, confirmed=values) if t.number == number else t for t in trials]
