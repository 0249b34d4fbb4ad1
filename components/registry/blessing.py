"""What a server of a version has shown ⇄ tags of the version; a verdict → the verdict with that.

The stage `register` serves each version that it registers, and asks it for test images. If this
went wrong, the version is not blessed, and no verdict on it is better than `hold`. The word is that
of TFX, whose InfraValidator does the same: it blesses a model that a real server has served.
"""

from dataclasses import dataclass, replace

from components.evaluation.gate import Verdict
from components.registry.versions import BLESSING, Version

# Tags of a version, beside BLESSING.
LATENCY, MEMORY, SAID = "served.latency_ms", "served.memory_mb", "served.said"
PASSED, FAILED, UNKNOWN = "passed", "failed", "not known"


@dataclass(frozen=True)
class Blessing:
    """What a server of a version has shown.

    doubts: a sentence for each thing that is wrong; empty if nothing is. notes: sentences about
    what is right. latency_ms: the time of a request with one image. memory_mb: the memory of the
    server. Both are None if they were not measured. said: the last lines that a server wrote which
    failed. They can have a path of this machine, so they are no reason of a verdict.
    """

    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    latency_ms: float | None = None
    memory_mb: float | None = None
    said: str = ""

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
            LATENCY: UNKNOWN if self.latency_ms is None else f"{self.latency_ms:.1f}",
            MEMORY: UNKNOWN if self.memory_mb is None else f"{self.memory_mb:.0f}",
            SAID: self.said or UNKNOWN,
        }


# The blessing of a version until its server has answered. If the stage is killed before that, the
# version keeps it, and `fovea register` serves the version again.
UNASKED = Blessing(("no server of this version was asked yet; `fovea register` asks one",))


def read_blessing(version: Version) -> Blessing:
    """Return the doubts and the notes of a version.

    A version from before has no such tag: nothing is known of it, so there is no doubt.
    """
    state, *reasons = version.tags.get(BLESSING, PASSED).split("\n")
    if state == PASSED:
        return Blessing(notes=tuple(reasons))
    return Blessing(doubts=tuple(reasons) or ("a server of this version has failed",))


def served_text(version: Version) -> str:
    """Return the figures of the server in words, or what it said; empty if nothing is known."""
    latency, memory, said = (version.tags.get(key, UNKNOWN) for key in (LATENCY, MEMORY, SAID))
    if UNKNOWN not in (latency, memory):
        return f"A server of it needed {latency} ms for one image, and {memory} MB of memory"
    return "" if said == UNKNOWN else f"The server of it that failed said: {said}"
