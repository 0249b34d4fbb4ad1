"""Section `export`: what an exported model may lose. No stage reads it, only `fovea export`."""

from pydantic import Field

from components.params.section import Section, Share


class Export(Section):
    """What an exported model may lose against the model that it was made of."""

    max_accuracy_drop: Share = Field(
        description="an export is refused if its accuracy on the test split is lower than that of "
        "the model by more than this number"
    )
