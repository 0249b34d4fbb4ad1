"""Versions with their .keras files → the same versions, with the same numbers, in an empty MLflow.

A model that started from `models:/digits/3#sha256=…` can be trained again only with an MLflow that
has version 3 of `digits`. The training must not change the MLflow that has it. So this program
registers a version 3 without a file in another MLflow, and puts the file into the folder in which
Fovea keeps downloaded versions.

The Python of another commit runs this file as a program, with its own version of mlflow. So it
imports nothing of Fovea.

usage: python stand_ins.py FOLDER JSON, where MLFLOW_TRACKING_URI is the address of the MLflow, and
JSON is a list of versions with the keys name, number, model_id, alias, file
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

DOWNLOADS = Path(".fovea/weights")


def main(folder: str, versions: str) -> None:
    """Register the versions, as seen from `folder`. Running it again changes nothing."""
    os.chdir(folder)
    for version in json.loads(versions):
        _register(version)
        DOWNLOADS.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(version["file"], DOWNLOADS / f"{version['model_id']}.keras")


def _register(version: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    name, number = version["name"], version["number"]
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    existing = len(client.search_model_versions(f"name = '{name}'"))
    # MLflow counts versions from 1, and a version has no other way to its number.
    for _ in range(existing, number):
        client.create_model_version(name, source=f"stand-in/{name}", await_creation_for=0)
    client.set_model_version_tag(name, str(number), "model_id", version["model_id"])
    if version["alias"]:
        client.set_registered_model_alias(name, version["alias"], str(number))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # each kind of store has its own errors
        print("error:", " ".join(str(error).split())[:300], file=sys.stderr)  # noqa: T201
        sys.exit(1)
