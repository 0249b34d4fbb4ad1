"""The path of an image → the Python code that prints the probabilities of its classes.

Fovea has no command that predicts yet.
"""

from pathlib import Path

from components.errors import UserError
from pipelines.commands.console import show_lines

# The code reads an image exactly as training does: with the decoder and the size of the classifier.
CODE = """\
from pathlib import Path
from components.images.decoder import decode, resize
from components.model.classifier import predict
from components.model.model_file import read_classifier
from components.params.reader import read_params

classifier = read_classifier(Path("data/train/model.keras"))
decoded = decode(Path({path!r}).read_bytes(), read_params(Path("params.yaml")).ingest.decode)
image = resize(decoded.pixels, classifier.size, classifier.resize)
for name, probability in zip(classifier.class_names, predict(classifier, image[None])[0]):
    print(f"{{probability:.3f}} {{name}}")"""


def explain_prediction(path: Path) -> None:
    """Print the Python code for the image at `path`. Always raises UserError."""
    show_lines("python <<'END'", *CODE.format(path=str(path)).splitlines(), "END")
    raise UserError(
        "there is no `fovea predict` yet; paste the lines above into a shell: they print the "
        f"probability of each class, by the model of the last run. Received: {path}"
    )
