"""The descriptions on MLflow's page, in a real store: what decisions write, and what stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.pages.markdown import GAP
from components.registry import hand_moves
from components.registry.descriptions import describe
from components.registry.hand_moves import note_hand_move
from components.registry.promotion import promote, reject, rollback
from components.registry.record import Event, to_tag, with_key
from components.registry.versions import find_version
from components.review.description import LONGEST
from components.tracking.connection import client

Register = Callable[..., int]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_moves, "SETTLE_S", 0.0)


@pytest.fixture
def two_versions(workspace: Path, registered: Register) -> Path:
    for content in (b"one", b"two"):
        registered(content)
    return workspace


def of_version(number: int) -> str:
    return find_version("digits", str(number)).description


def of_model() -> str:
    return (client().get_registered_model("digits").description or "").replace(GAP, "")


def test_a_decision_describes_the_versions_that_it_is_about_and_the_model(
    two_versions: Path,
) -> None:
    promote("digits", "1", "first", "Ann")
    assert "Champion since " in of_version(1)
    assert " by Ann: first" in of_version(1)
    assert "fovea promote" not in of_version(1)
    assert "fovea rollback" not in of_version(1)  # there was no champion before it
    assert "Challenger: it waits for a decision." in of_version(2)
    assert 'fovea promote 2 --reason "…"\nfovea reject 2 --reason "…"' in of_version(2)
    assert "was made without a champion" in of_version(2)
    promote("digits", "2", "better | on <glass>", "Bob", override=True)
    assert "Earlier champion: promoted by Ann: first" in of_version(1)
    assert "Champion since " in of_version(2)
    assert "makes the champion before it the champion again" in of_version(2)
    said = of_model()
    assert "**Champion: version 2** since " in said
    first, second = (said.index(f"| promote {number}") for number in (1, 2))
    assert second < first  # newest first
    assert "better &#124; on &#60;glass&#62;" in said


def test_a_rejection_and_a_rollback_are_said(two_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    reject("digits", "2", "a leak", "Bob")
    assert "a reviewer rejected this version (a leak)." in of_version(2)
    assert 'fovea reject 2 --reason "…"\nfovea promote 2 --override' in of_version(2)
    promote("digits", "2", "no leak", "Bob", override=True)
    rollback("digits", "wrong alarms", "Ann")
    assert "Champion since " in of_version(1)
    assert "a reviewer rolled back this version (wrong alarms)." in of_version(2)
    assert "| rollback 2 | 2 → 1 | wrong alarms |" in of_model()


def test_what_people_wrote_stays_whatever_is_decided(two_versions: Path) -> None:
    client().update_registered_model("digits", "Ann's notes")
    client().update_model_version("digits", "2", "Trained on the new camera.")
    promote("digits", "1", "first", "Ann")
    client().update_model_version("digits", "2", f"{of_version(2)}\n\nBob's words")
    promote("digits", "2", "better", "Bob", override=True)
    assert of_model().startswith("Ann's notes\n\n**Champion: version 2** since ")
    assert of_version(2).startswith("Trained on the new camera.\n\nChampion since ")
    assert of_version(2).endswith("\n\nBob's words")
    assert "Champion" in of_version(2)


def test_facts_of_a_verdict_stay_when_the_status_changes(two_versions: Path) -> None:
    describe("digits", {2: "the figures"})
    assert "the figures" in of_version(2)
    promote("digits", "2", "better", "Ann")
    assert "the figures" in of_version(2)
    assert "Champion" in of_version(2)


def test_describing_again_writes_nothing(
    two_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("digits", "1", "first", "Ann")
    before = client().get_model_version("digits", "1").last_updated_timestamp
    describe("digits")
    assert client().get_model_version("digits", "1").last_updated_timestamp == before


def test_a_version_of_somebody_else_and_an_undecided_old_one_are_left_alone(
    two_versions: Path, registered: Register
) -> None:
    registered(b"three")
    made = client().create_model_version("digits", source="elsewhere", await_creation_for=0)
    client().set_registered_model_alias("digits", "challenger", made.version)
    promote("digits", "1", "first", "Ann")
    assert of_version(2) == ""  # neither champion nor challenger, and nobody decided about it
    assert of_version(int(made.version)) == ""
    describe("nobody registered this")  # no error


def test_a_champion_set_by_hand_is_in_the_history(two_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    client().set_registered_model_alias("digits", "champion", "2")
    note_hand_move("digits")
    describe("digits")
    assert "**Champion: version 2** since " in of_model()
    assert "| by hand 2 | 1 → 2 |" in of_model()
    assert "Note: version 2 was made the champion by hand in MLflow, although" in of_model()


def test_a_long_history_is_bounded_and_says_so(two_versions: Path) -> None:
    record: tuple[Event, ...] = ()
    for number in range(60):
        event = Event("reject", 2, None, None, "Ann " + "|" * 100, "<why> " * 300)
        event = with_key(event, record)
        client().set_registered_model_tag("digits", event.key, to_tag(event))
        record = (*record, event)
        if number == 0:
            describe("digits")
            assert "older" not in of_model()
    describe("digits")
    assert len(of_model()) <= LONGEST
    assert "older: `fovea history` has all." in of_model()
    assert len(of_version(2)) <= LONGEST


def test_a_store_that_refuses_a_description_stops_no_decision(
    two_versions: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("read only")

    monkeypatch.setattr(logging.getLogger("components"), "propagate", True)
    monkeypatch.setattr(MlflowClient, "update_model_version", refuse)
    assert promote("digits", "1", "first", "Ann").to_version == 1
    assert "the descriptions of digits in MLflow may be out of date: read only" in caplog.text
