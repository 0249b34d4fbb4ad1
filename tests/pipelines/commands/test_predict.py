"""What `fovea predict` prints in place of a prediction."""

import sys
from pathlib import Path

import numpy as np
import pytest

from components.images.png_writer import encode_png
from components.model.classifier import build_classifier, predict
from components.model.model_file import write_classifier
from components.params.reader import Params
from pipelines import artifacts
from pipelines.commands.fovea import main
from tests.cards import DIGITS


@pytest.mark.usefixtures("tiny_backbone")
def test_the_code_that_predict_prints_runs_and_gives_the_probabilities(
    tmp_path: Path,
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes(DIGITS.read_bytes())
    artifacts.MODEL.parent.mkdir(parents=True)
    classifier = build_classifier(params.model, ("cat", "it's a dog"), 32, "squash")
    write_classifier(artifacts.MODEL, classifier)
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Path("a 'photo'.png").write_bytes(encode_png(pixels))

    monkeypatch.setattr(sys, "argv", ["fovea", "predict", "a 'photo'.png"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr()
    assert shown.err.startswith("error: there is no `fovea predict` yet; paste the lines above")
    first, *code, last = shown.out.splitlines()
    assert (first, last) == ("python <<'END'", "END")

    exec("\n".join(code), {})
    cat, dog = predict(classifier, pixels[None])[0]
    assert capsys.readouterr().out == f"{cat:.3f} cat\n{dog:.3f} it's a dog\n"
