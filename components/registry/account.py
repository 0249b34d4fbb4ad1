"""Models that were compared with a champion on a test split → how many there were before this one.

The more models are compared on the same test images, the likelier one of them is better by chance.
So each comparison is put on an account, also that of a model that is never registered: in an
experiment of DVC, a user can try fifty values and register the luckiest.

The account is a set of tags of the MLflow experiment, not of versions or runs. So it stays if a
version is deleted, and an experiment of DVC writes nothing into the registry. Example of a tag:

    compared/<test_id>/<model_id> = digits/3

The model with this sha256 was compared with version 3 of digits on the test images test_id. A model
has one tag for each test split, however often it was judged, since it is one try.

Versions that were registered before there was an account have tags with the same facts. They are
counted, too. Comparisons in another MLflow are unknown.
"""

from collections.abc import Sequence

from components.registry.versions import COMPARED_WITH, TEST_ID, Version
from components.tracking.connection import client, experiment_id


def put_on_account(test_id: str, model_id: str, champion: Version) -> None:
    """Note in MLflow that a model was compared with a champion.

    test_id: names the test images and their labels, as the tag TEST_ID of a version. model_id: the
    sha256 of the model. Raises UserError if MLflow does not answer.
    """
    compared_with = f"{champion.name}/{champion.number}"
    client().set_experiment_tag(experiment_id(), f"{_prefix(test_id)}{model_id}", compared_with)


def compared_before(existing: Sequence[Version], model_id: str, test_id: str) -> int:
    """Return how many other models were compared with a champion on the same test images.

    A version that was registered while there was no champion was compared with nothing.

    existing: all versions. model_id: the sha256 of the model that is judged now; it is not counted.
    test_id: names the test images of this judgement. Raises UserError if MLflow does not answer.
    """
    prefix = _prefix(test_id)
    tags = client().get_experiment(experiment_id()).tags
    noted = {key.removeprefix(prefix) for key in tags if key.startswith(prefix)}
    tagged = {
        version.model_id
        for version in existing
        if version.tags.get(TEST_ID) == test_id
        and version.tags.get(COMPARED_WITH, "none") != "none"
    }
    return len((noted | tagged) - {model_id})


def _prefix(test_id: str) -> str:
    return f"compared/{test_id}/"
