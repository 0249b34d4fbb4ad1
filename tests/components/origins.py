"""Where the runs of tests come from."""

from components.tracking.runs import Origin

ORIGIN = Origin({"git.commit": "none (a test)"}, "Ann", "data/raw", "0" * 32 + ".dir")
