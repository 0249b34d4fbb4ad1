import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import UserError
from components.registry import promotion
from components.registry.promotion import history, promote, reject, rollback
from components.registry.record import Event, champions, to_tag, with_key
from components.registry.versions import DOWNLOADS, challenger, champion, find_version
from components.tracking.connection import client

Register = Callable[..., int]


@pytest.fixture
def three_versions(workspace: Path, registered: Register) -> Path:
    for content in (b"one", b"two", b"three"):
        registered(content)
    return workspace


def reigning() -> int | None:
    version = champion("digits")
    return version.number if version else None


def test_without_a_version_the_challenger_is_promoted(three_versions: Path) -> None:
    promote("digits", None, "better on glass", "Ann")
    assert reigning() == 3
    assert challenger("digits") is None


def test_every_decision_goes_on_record(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    promote("digits", "2", "better", "Ann")
    reject("digits", "3", "worse", "Ann")
    rollback("digits", "wrong alarms", "Ann")
    told = [(e.kind, e.version, e.from_version, e.to_version, e.why) for e in history("digits")]
    assert told == [
        ("promote", 1, None, 1, "first"),
        ("promote", 2, 1, 2, "better"),
        ("reject", 3, 2, 2, "worse"),
        ("rollback", 2, 2, 1, "wrong alarms"),
    ]
    assert all(event.who and event.when.endswith("+00:00") for event in history("digits"))


def test_a_rejected_version_needs_an_override_that_goes_on_record(
    three_versions: Path, registered: Register
) -> None:
    registered(b"four", verdict="reject")
    with pytest.raises(UserError, match=r"the gate rejected .*said the test.* --override"):
        promote("digits", "4", "I know better", "Ann")
    reject("digits", "3", "worse", "Ann")
    with pytest.raises(UserError, match=r"a reviewer rejected .*worse.* --override"):
        promote("digits", "3", "I know better", "Ann")
    assert reigning() is None
    promote("digits", "4", "I know better", "Ann", override=True)
    promote("digits", "1", "back to the first", "Ann", override=True)
    assert [event.override for event in history("digits")] == [False, True, False]


def test_the_champion_is_neither_promoted_again_nor_rejected(three_versions: Path) -> None:
    promote("digits", "2", "good", "Ann")
    with pytest.raises(UserError, match=r"champion already. Received: 2"):
        promote("digits", "champion", "good", "Ann")
    with pytest.raises(UserError, match="fovea rollback"):
        reject("digits", "2", "bad", "Ann")
    assert len(history("digits")) == 1


def test_rollback_needs_an_earlier_champion(three_versions: Path) -> None:
    with pytest.raises(UserError, match="Received: no champion"):
        rollback("digits", "try", "Ann")
    promote("digits", "2", "good", "Ann")
    with pytest.raises(UserError, match="Received: champion version 2"):
        rollback("digits", "try", "Ann")


def test_a_tampered_version_is_not_promoted(three_versions: Path) -> None:
    uri = client().get_model_version_download_uri("digits", "2")
    (Path(uri.removeprefix("file://")) / "data/model.keras").write_bytes(b"tWo")
    with pytest.raises(UserError, match="was changed"):
        promote("digits", "2", "good", "Ann")
    assert reigning() is None


def test_a_tampered_version_is_not_gone_back_to(three_versions: Path) -> None:
    promote("digits", "1", "good", "Ann")
    promote("digits", "2", "better", "Ann")
    uri = client().get_model_version_download_uri("digits", "1")
    (Path(uri.removeprefix("file://")) / "data/model.keras").write_bytes(b"oNe")
    shutil.rmtree(DOWNLOADS)  # as on another machine
    with pytest.raises(UserError, match="was changed"):
        rollback("digits", "wrong alarms", "Ann")
    assert reigning() == 2
    assert len(history("digits")) == 2


class KilledError(Exception):
    """Stands for the end of the process."""


def test_killed_between_record_and_alias_the_old_champion_stays_until_the_next_decision(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(name: str) -> None:
        raise KilledError

    promote("digits", "1", "first", "Ann")
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(promotion, "_follow", killed)
        promote("digits", "2", "better", "Ann")
    assert reigning() == 1
    rollback("digits", "2 never came", "Ann")
    assert reigning() == 1
    promote("digits", "3", "best", "Ann")
    assert champions(history("digits")) == (None, 1, 3)


def test_an_interrupted_promotion_is_finished_by_saying_it_again(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(promotion, "_follow", lambda name: (_ for _ in ()).throw(KilledError))
        promote("digits", "1", "first", "Ann")
    assert reigning() is None
    promote("digits", "1", "first, again", "Ann")
    assert reigning() == 1


def test_a_version_whose_promotion_was_interrupted_cannot_be_rejected_into_office(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(promotion, "_follow", lambda name: (_ for _ in ()).throw(KilledError))
        promote("digits", "3", "best", "Ann")
    with pytest.raises(UserError, match="fovea rollback"):
        reject("digits", "3", "on second thoughts", "Ann")
    assert reigning() is None


def test_a_champion_set_by_hand_is_gone_back_to(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    client().set_registered_model_alias("digits", "champion", "3")
    promote("digits", "2", "better", "Ann")
    assert history("digits")[-1].from_version == 3
    rollback("digits", "worse after all", "Ann")
    assert reigning() == 3


def test_of_two_in_the_same_moment_one_wins_and_the_other_is_told(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    rival = with_key(Event("promote", 3, 1, 3, "Bob", "better"), history("digits"))
    late = promotion.with_key

    def while_bob_decides(event: Event, record: tuple[Event, ...]) -> Event:
        client().set_registered_model_tag("digits", rival.key, to_tag(rival))
        return late(event, record)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(promotion, "with_key", while_bob_decides)
        with pytest.raises(UserError, match=r"not count, because Bob decided a moment earlier"):
            promote("digits", "2", "good", "Ann")
    assert reigning() == 3
    assert champions(history("digits")) == (None, 1, 3)
    assert find_version("digits", "2").tags.get("review") is None


def test_an_alias_that_another_set_first_is_no_error(three_versions: Path, monkeypatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    setting = MlflowClient.set_registered_model_alias
    raced: list[str] = []

    def beaten(client: MlflowClient, name: str, alias: str, version: str) -> None:
        if not raced:  # the other's insert comes between ours and the look before it
            raced.append(version)
            setting(client, name, alias, "1")
            raise MlflowException("UNIQUE constraint failed: registered_model_aliases")
        setting(client, name, alias, version)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", beaten)
    promote("digits", "2", "the better one", "Ann")
    assert raced == ["2"]
    assert reigning() == 2


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_many_at_once_leave_the_alias_where_the_record_ends(three_versions: Path) -> None:
    told: list[str] = []

    def decide(number: int) -> None:
        try:
            promote("digits", str(number), f"say {number}", "Ann")
        except UserError as error:
            told.append(str(error))

    deciding = [threading.Thread(target=decide, args=(1 + n % 3,)) for n in range(6)]
    for thread in deciding:
        thread.start()
    for thread in deciding:
        thread.join()
    assert reigning() == champions(history("digits"))[-1]
    counted = [event for event in history("digits") if not event.superseded]
    assert len({event.number for event in counted}) == len(counted)
