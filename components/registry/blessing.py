"""What a server of a version has shown ⇄ tags of the version; a verdict → the verdict with that.

The stage `register` serves each version that it registers, and asks it for test images. If this
went wrong, the version is not blessed, and no verdict on it is better than `hold`. The word is that
of TFX, whose InfraValidator does the same: it blesses a model that a real server has served.
"""

from dataclasses import dataclass, replace

from components.evaluation.gate import Verdict
from components.registry.versions import BLESSING, Version

LATENCY, MEMORY = "served.latency_ms", "served.memory_mb"  # tags of a version
PASSED, FAILED, UNMEASURED = "passed", "failed", "not measured"


@dataclass(frozen=True)
class Blessing:
    """What a server of a version has shown.

    doubts: a sentence for each thing that is wrong; empty if nothing is. notes: sentences about
    what is right. latency_ms: the time of a request with one image. memory_mb: the memory of the
    server. Both are None if they were not measured.
    """

    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    latency_ms: float | None = None
    memory_mb: float | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the doubts; without doubts, the notes."""
        return self.doubts or self.notes

    def applied(self, verdict: Verdict) -> Verdict:
        """Return the verdict with the reasons of this blessing: with a doubt, at most `hold`."""
        if self.doubts and verdict.decision == "promote":
            return replace(verdict, decision="hold", reasons=(*self.doubts, *verdict.reasons))
        return replace(verdict, reasons=(*verdict.reasons, *self.reasons))

    def tags(self) -> dict[str, str]:
        """Return the tags from which `read_blessing` builds this blessing again."""
        words = [FAILED if self.doubts else PASSED, *self.reasons]
        return {
            BLESSING: "\n".join(words),
            LATENCY: UNMEASURED if self.latency_ms is None else f"{self.latency_ms:.1f}",
            MEMORY: UNMEASURED if self.memory_mb is None else f"{self.memory_mb:.0f}",
        }


# The blessing of a version until its server has answered. If the stage is killed before that, the
# version keeps it, and `fovea register` serves the version again.
UNASKED = Blessing(("no server of this version was asked yet; `fovea register` asks one",))


def read_blessing(version: Version) -> Blessing:
    """Return the blessing of a version, without its figures.

    A version from before has no such tag: nothing is known of it, so there is no doubt.
    """
    state, *reasons = version.tags.get(BLESSING, PASSED).split("\n")
    if state == PASSED:
        return Blessing(notes=tuple(reasons))
    return Blessing(doubts=tuple(reasons) or ("a server of this version has failed",))


def served_text(version: Version) -> str:
    """Return the figures of the server in words; empty if they were not measured."""
    latency, memory = (version.tags.get(key, UNMEASURED) for key in (LATENCY, MEMORY))
    if UNMEASURED in (latency, memory):
        return ""
    return f"A server of it needed {latency} ms for one image, and {memory} MB of memory."
