import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import UserError
from components.registry import hand_moves, promotion
from components.registry.hand_moves import champion_warning, note_hand_move
from components.registry.objections import Judge
from components.registry.promotion import promote, reject, rollback
from components.registry.record import Event, champions, read_record, to_tag, with_key
from components.registry.standing import history, read_standing
from components.registry.versions import (
    CHAMPION,
    DOWNLOADS,
    Version,
    challenger,
    champion,
    find_version,
    tag_version,
)
from components.tracking.connection import client

Register = Callable[..., int]


@pytest.fixture
def three_versions(workspace: Path, registered: Register) -> Path:
    for content in (b"one", b"two", b"three"):
        registered(content)
    return workspace


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_moves, "SETTLE_S", 0.0)


def judging(decision: str, asked: list[tuple[int, int | None]] | None = None) -> Judge:
    """A judge that writes what judging on real images writes; `asked` gets who met whom."""

    def judge(version: Version, against: Version | None) -> None:
        number = against.number if against else None
        if asked is not None:
            asked.append((version.number, number))
        compared = {"compared_with": str(number or "none")}
        tags = {"verdict": decision, "reasons": "judged again", **compared}
        tag_version("digits", version.number, tags)

    return judge


agree = judging("promote")


def by_hand(number: int) -> None:
    client().set_registered_model_alias("digits", CHAMPION, str(number))


def told() -> list[tuple[str, int, int | None, int | None]]:
    return [(e.kind, e.version, e.from_version, e.to_version) for e in history("digits")]


def reigning() -> int | None:
    version = champion("digits")
    return version.number if version else None


def test_without_a_version_the_challenger_is_promoted(three_versions: Path) -> None:
    promote("digits", None, "better on glass", "Ann")
    assert reigning() == 3
    assert challenger("digits") is None


def test_every_decision_goes_on_record(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    promote("digits", "2", "better", "Ann", agree)
    reject("digits", "3", "worse", "Ann")
    rollback("digits", "wrong alarms", "Ann")
    said = [(e.kind, e.version, e.from_version, e.to_version, e.why) for e in history("digits")]
    assert said == [
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
    # The last one is an override, too: version 1 was not compared with version 4.
    assert [event.override for event in history("digits")] == [False, True, True]


def test_a_rejection_ends_with_a_later_promotion_of_the_version(three_versions: Path) -> None:
    reject("digits", "3", "worse", "Ann")
    promote("digits", "3", "better than I thought", "Ann", override=True)
    promote("digits", "2", "better", "Ann", agree)
    assert not promote("digits", "3", "better again", "Ann", agree).override


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
    promote("digits", "2", "better", "Ann", agree)
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
        promote("digits", "2", "better", "Ann", agree)
    assert reigning() == 1
    rollback("digits", "2 never came", "Ann")
    assert reigning() == 1
    promote("digits", "3", "best", "Ann", agree)
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


def test_an_interrupted_rollback_is_finished_and_goes_back_only_once(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in ("1", "2", "3"):
        promote("digits", number, "better", "Ann", agree)
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(promotion, "_follow", lambda name: (_ for _ in ()).throw(KilledError))
        rollback("digits", "wrong alarms", "Ann")
    assert reigning() == 3
    rollback("digits", "wrong alarms", "Ann")
    assert reigning() == 2
    assert [event.kind for event in history("digits")].count("rollback") == 1


def test_a_version_whose_promotion_was_interrupted_cannot_be_rejected_into_office(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(promotion, "_follow", lambda name: (_ for _ in ()).throw(KilledError))
        promote("digits", "3", "best", "Ann")
    with pytest.raises(UserError, match="fovea rollback"):
        reject("digits", "3", "on second thoughts", "Ann")
    assert reigning() == 3  # the refused decision has finished the promotion


def test_a_champion_set_by_hand_is_gone_back_to(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    by_hand(3)
    promote("digits", "2", "better", "Ann", agree)
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
            promote("digits", "2", "good", "Ann", agree)
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


def test_a_confirmation_that_another_wrote_first_is_no_error(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    setting = MlflowClient.set_registered_model_tag

    def beaten(client: MlflowClient, name: str, key: str, value: str) -> None:
        setting(client, name, key, value)
        if key.startswith("fovea.moved."):
            raise MlflowException("UNIQUE constraint failed: registered_model_tags")

    monkeypatch.setattr(MlflowClient, "set_registered_model_tag", beaten)
    assert promote("digits", "2", "the better one", "Ann").to_version == 2
    assert history("digits")[0].moved


def test_a_confirmation_that_cannot_be_written_is_an_error(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    promote("digits", "1", "first", "Ann")
    setting = MlflowClient.set_registered_model_tag

    def full(client: MlflowClient, name: str, key: str, value: str) -> None:
        if key.startswith("fovea.moved."):
            raise MlflowException("the disk is full")
        setting(client, name, key, value)

    monkeypatch.setattr(MlflowClient, "set_registered_model_tag", full)
    with pytest.raises(MlflowException, match="the disk is full"):
        promote("digits", "2", "the better one", "Ann", agree)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_many_at_once_leave_the_alias_where_the_record_ends(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_moves, "SETTLE_S", 0.3)
    refused: list[str] = []

    def decide(number: int) -> None:
        try:
            promote("digits", str(number), f"say {number}", "Ann", agree)
        except UserError as error:
            refused.append(str(error))

    deciding = [threading.Thread(target=decide, args=(1 + n % 3,)) for n in range(6)]
    for thread in deciding:
        thread.start()
    for thread in deciding:
        thread.join()
    assert reigning() == champions(history("digits"))[-1]
    counted = [event for event in history("digits") if not event.superseded]
    assert len({event.number for event in counted}) == len(counted)
    assert {event.kind for event in counted} == {"promote"}


def test_a_verdict_against_an_earlier_champion_promotes_nothing(
    workspace: Path, registered: Register
) -> None:
    registered(b"one")
    for content in (b"two", b"three"):
        registered(content, compared_with="1")
    promote("digits", "1", "first", "Ann")
    promote("digits", "2", "better", "Ann")
    with pytest.raises(UserError) as refused:
        promote("digits", "3", "better", "Ann")
    assert str(refused.value) == (
        "its verdict, promote, was made against version 1, not against version 2; it cannot be "
        "judged again, because its test images are not in this folder; run `dvc pull` or "
        "`dvc repro evaluate` and repeat this command, or add --override to promote it "
        "nevertheless (the record will show the override). Received: 3"
    )
    assert reigning() == 2
    event = promote("digits", "3", "I know better", "Ann", override=True)
    assert event.override
    assert event.overridden == (
        "its verdict, promote, was made against version 1, not against version 2"
    )


@pytest.mark.parametrize("decision", ["promote", "hold", "reject"])
def test_a_version_is_judged_again_against_the_present_champion(
    decision: str, three_versions: Path
) -> None:
    promote("digits", "1", "first", "Ann")
    asked: list[tuple[int, int | None]] = []
    if decision == "promote":
        promote("digits", "2", "better", "Ann", judging(decision, asked))
        assert reigning() == 2
        assert not history("digits")[-1].override
    else:
        with pytest.raises(UserError, match=r"\(judged again\); add --override"):
            promote("digits", "2", "better", "Ann", judging(decision, asked))
        assert reigning() == 1
    assert asked == [(2, 1)]


def test_a_verdict_against_the_present_champion_is_not_made_again(
    workspace: Path, registered: Register
) -> None:
    registered(b"one")
    registered(b"two", compared_with="1")
    asked: list[tuple[int, int | None]] = []
    for number in ("1", "2"):
        promote("digits", number, "better", "Ann", judging("reject", asked))
    assert (reigning(), asked) == (2, [])


@pytest.mark.parametrize(
    ("tags", "objection"),
    [
        ({"verdict": "hold"}, "its verdict is hold (said the test)"),
        ({"verdict": "reject"}, "the gate rejected this version (said the test)"),
        ({"compared_with": ""}, "its verdict, promote, was made against an unknown version, not "
         "without a champion"),
    ],
)  # fmt: skip
def test_only_an_override_promotes_it_and_the_record_says_what_was_overridden(
    tags: dict[str, str], objection: str, workspace: Path, registered: Register
) -> None:
    registered(b"one", **tags)
    with pytest.raises(UserError) as refused:
        promote("digits", "1", "I know better", "Ann")
    assert str(refused.value).startswith(objection)
    assert history("digits") == ()
    promote("digits", "1", "I know better", "Ann", override=True)
    (event,) = history("digits")
    assert (event.override, event.overridden) == (True, objection)


def test_long_reasons_are_cut_in_the_record(workspace: Path, registered: Register) -> None:
    registered(b"one", verdict="hold", reasons="x" * 300)
    event = promote("digits", "1", "I know better", "Ann", override=True)
    assert event.overridden == f"its verdict is hold ({'x' * 200} …)"


def test_a_version_without_any_verdict_needs_an_override(
    workspace: Path, registered: Register
) -> None:
    number = registered(b"one")
    for key in ("verdict", "reasons", "compared_with"):
        client().delete_model_version_tag("digits", str(number), key)
    with pytest.raises(UserError, match="it was registered without a verdict; add --override"):
        promote("digits", "1", "looks good", "Ann", agree)
    event = promote("digits", "1", "looks good", "Ann", override=True)
    assert event.overridden == "it was registered without a verdict"


def test_a_version_that_was_rolled_back_is_not_promoted_again_without_a_word(
    three_versions: Path,
) -> None:
    promote("digits", "1", "first", "Ann")
    promote("digits", "2", "better", "Ann", agree)
    rollback("digits", "wrong alarms", "Ann")
    with pytest.raises(UserError, match=r"a reviewer rolled back this version \(wrong alarms\)"):
        promote("digits", "2", "better", "Ann", agree)
    promote("digits", "2", "the camera was dirty", "Ann", agree, override=True)
    assert history("digits")[-1].overridden == "a reviewer rolled back this version (wrong alarms)"


@pytest.mark.parametrize("who", ["gate", "reviewer"])
def test_a_rollback_to_a_rejected_version_needs_an_override(
    who: str, workspace: Path, registered: Register
) -> None:
    registered(b"one", verdict="reject" if who == "gate" else "promote")
    registered(b"two", compared_with="1")
    promote("digits", "1", "it must be", "Ann", override=True)
    promote("digits", "2", "better", "Ann")
    if who == "reviewer":
        reject("digits", "1", "a leak", "Bob")
    with pytest.raises(UserError, match=rf"{who} rejected .* add --override to go back to it"):
        rollback("digits", "wrong alarms", "Ann")
    assert reigning() == 2
    event = rollback("digits", "wrong alarms", "Ann", override=True)
    assert event.override
    assert f"{who} rejected this version" in event.overridden
    assert reigning() == 1


def test_a_decision_while_a_version_is_judged_refuses_its_promotion(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")

    def slow(version: Version, against: Version | None) -> None:
        agree(version, against)
        promote("digits", "2", "quicker", "Bob", agree)

    with pytest.raises(UserError, match=r"in the meantime.* champion version 2, before version 1"):
        promote("digits", "3", "better", "Ann", slow)
    assert reigning() == 2
    assert told() == [("promote", 1, None, 1), ("promote", 2, 1, 2)]


def test_a_move_by_hand_goes_on_record_once_and_stays(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    by_hand(3)
    asked: list[tuple[int, int | None]] = []
    for _ in range(2):
        note_hand_move("digits", judging("reject", asked))
    assert asked == [(3, 1)]
    assert told() == [("promote", 1, None, 1), ("by hand", 3, 1, 3)]
    event = history("digits")[-1]
    assert event.who == "unknown, in MLflow"
    assert event.why == "the alias champion was moved to version 3 in MLflow"
    assert event.overridden == "the gate rejected this version (judged again)"
    assert reigning() == 3
    assert challenger("digits") is None  # it waits for no decision
    assert champion_warning(read_standing("digits")) == (
        "version 3 was made the champion by hand in MLflow, although the gate rejected this "
        "version (judged again); before, it was version 1"
    )
    rollback("digits", "the verdict was right", "Ann")
    assert reigning() == 1
    assert champion_warning(read_standing("digits")) == ""


def test_a_move_by_hand_back_to_the_version_before_is_not_undone(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    promote("digits", "2", "better", "Ann", agree)
    by_hand(1)
    reject("digits", "3", "worse", "Ann", agree)
    assert reigning() == 1
    assert told()[2:] == [("by hand", 1, 2, 1), ("reject", 3, 1, 1)]
    promote("digits", "3", "needed", "Ann", agree, override=True)
    assert history("digits")[-1].from_version == 1


def test_a_good_verdict_on_a_champion_set_by_hand_is_no_warning(three_versions: Path) -> None:
    by_hand(2)
    assert "is not on record yet" in champion_warning(read_standing("digits"))
    note_hand_move("digits")
    assert told() == [("by hand", 2, None, 2)]
    assert champion_warning(read_standing("digits")) == ""


def test_a_removed_alias_and_a_deleted_champion_are_on_record(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    client().delete_registered_model_alias("digits", CHAMPION)
    standing = note_hand_move("digits")
    assert (standing.champion, standing.held) == (None, None)
    assert champion_warning(standing) == (
        "there is no champion, because the alias champion was removed in MLflow; before, it was "
        "version 1"
    )
    promote("digits", "1", "again", "Ann")
    client().delete_model_version("digits", "1")
    assert champion_warning(note_hand_move("digits")).startswith(
        "there is no champion, because the champion was deleted in MLflow"
    )
    assert told() == [
        ("promote", 1, None, 1),
        ("by hand", 1, 1, None),
        ("promote", 1, None, 1),
        ("by hand", 1, 1, None),
    ]
    with pytest.raises(UserError, match="Received: no champion"):
        rollback("digits", "gone", "Ann")
    promote("digits", "2", "the next", "Ann")
    assert reigning() == 2


@pytest.mark.parametrize("by_hand", ["alias removed", "champion deleted"])
def test_a_rollback_without_a_champion_goes_back_to_the_last_one(
    by_hand: str, three_versions: Path
) -> None:
    promote("digits", "1", "first", "Ann")
    promote("digits", "2", "better", "Ann", agree)
    if by_hand == "alias removed":
        client().delete_registered_model_alias("digits", CHAMPION)
    else:
        client().delete_model_version("digits", "2")
    event = rollback("digits", "somebody must serve", "Ann")
    back_to = 2 if by_hand == "alias removed" else 1
    assert (reigning(), event.version, event.from_version) == (back_to, back_to, None)
    assert find_version("digits", str(back_to)).tags["review"] == "promoted"
    assert champions(history("digits")) == (None, 1, 2)[: back_to + 1]
    assert not event.declines


def test_a_rollback_leaves_out_what_was_rejected_or_deleted_and_says_why(
    three_versions: Path, registered: Register, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    monkeypatch.setattr(logging.getLogger("components"), "propagate", True)
    caplog.set_level("INFO")
    registered(b"four")
    for number in "1234":
        promote("digits", number, "better", "Ann", agree)
    reject("digits", "3", "a leak", "Bob")
    client().delete_model_version("digits", "2")
    rollback("digits", "wrong alarms", "Ann")
    assert reigning() == 1
    assert "left out: version 3: a reviewer rejected this version (a leak)" in caplog.messages
    assert "left out: version 2 was deleted in MLflow" in caplog.messages


def test_a_rollback_past_a_time_without_a_champion_finds_the_one_before(
    three_versions: Path,
) -> None:
    promote("digits", "1", "first", "Ann")
    client().delete_registered_model_alias("digits", CHAMPION)
    promote("digits", "2", "second", "Ann", agree)
    rollback("digits", "wrong alarms", "Ann")
    assert (reigning(), champions(history("digits"))) == (1, (None, 1))


def test_a_rejection_holds_for_the_model_and_not_only_for_its_number(
    workspace: Path, registered: Register
) -> None:
    registered(b"one")
    reject("digits", "1", "a leak", "Ann")
    client().delete_model_version("digits", "1")
    assert registered(b"one") == 2
    assert challenger("digits") is None
    with pytest.raises(UserError, match=r"rejected this model as version 1 \(a leak\); add --over"):
        promote("digits", "2", "better", "Ann")
    promote("digits", "2", "the leak is no leak", "Ann", override=True)
    assert registered(b"two") == 3
    assert challenger("digits") is not None


def test_a_rejection_that_was_interrupted_is_finished_by_the_next_decision(
    three_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KilledError

    promote("digits", "1", "first", "Ann")
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(promotion, "release_challenger", killed)
        reject("digits", "3", "a leak", "Ann")
    assert challenger("digits") is not None
    with pytest.raises(UserError, match="champion already"):
        promote("digits", "1", "again", "Ann")
    assert challenger("digits") is None
    assert find_version("digits", "3").tags["review"] == "rejected"


def test_a_rollback_to_a_deleted_version_says_so(three_versions: Path) -> None:
    promote("digits", "1", "first", "Ann")
    promote("digits", "2", "better", "Ann", agree)
    client().delete_model_version("digits", "1")
    with pytest.raises(UserError, match=r"version 1 was deleted in MLflow.* champion version 2"):
        rollback("digits", "wrong alarms", "Ann")
    assert reigning() == 2


def test_a_champion_by_hand_that_cannot_be_judged_is_on_record_nevertheless(
    three_versions: Path,
) -> None:
    def broken(version: Version, against: Version | None) -> None:
        raise UserError("this version was changed. Received: 3")

    promote("digits", "1", "first", "Ann")
    by_hand(3)
    note_hand_move("digits", broken)
    assert history("digits")[-1].overridden == (
        "its verdict, promote, was made without a champion, not against version 1"
    )
    assert reigning() == 3


def test_in_the_record_of_an_older_fovea_an_alias_set_back_by_hand_is_no_interruption(
    three_versions: Path,
) -> None:
    for key, value in old_record().items():
        client().set_registered_model_tag("digits", key, value)
    assert not any(event.override for event in read_record(old_record()))
    by_hand(1)
    note_hand_move("digits")
    assert told()[-1] == ("by hand", 1, 2, 1)
    assert reigning() == 1


def old_record() -> dict[str, str]:
    """Two promotions as the tags of the release before."""
    fields = '"who": "Ann", "why": "ok", "when": "2026-11-26T14:41:44+00:00", "override": false'
    moves = (("1", "null"), ("2", "1"))
    return {
        f"fovea.event.{number:0>6}.20261126T144144.513645Z.3680ef76": (
            f'{{"kind": "promote", "version": {number}, "from_version": {before}, '
            f'"to_version": {number}, {fields}}}'
        )
        for number, before in moves
    }
