"""A version is served by a real process, and what this shows decides with the verdict."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from components.errors import UserError
from components.model.backend import load_keras
from components.params.reader import Params
from components.params.register import Serving
from components.registry.blessing import UNASKED, Blessing
from components.registry.contest import Contest
from components.registry.promotion import promote
from components.registry.versions import DOWNLOADS, Version, champion, find_version
from pipelines import artifacts, blessing, register, version_server
from pipelines.blessing import bless
from pipelines.commands.review import judge_here
from pipelines.version_server import Ready, VersionServer
from tests.pipelines.test_register import (
    OUTS,
    SIZE,
    page,
    run,
    write_card_and_champion,
    write_model,
    write_test_images,
)

NO_LIMITS = Serving(max_latency_ms=None, max_memory_mb=None)
SAME = "a server of this version gives the probabilities of the evaluation for 20 test images"
PASSED = Blessing((), (SAME,), 2.5, 400.0)
FAILED = Blessing(("a server of this version does not start",), said="error at */home/ann*")


@dataclass(frozen=True, eq=False)
class Served:
    """A workspace in which the stage has run, and the process that serves its version 1."""

    folder: Path
    server: VersionServer
    ready: Ready
    verdict: dict[str, Any]

    @property
    def again(self) -> VersionServer:
        """The server that is serving already, for one more blessing."""
        again = VersionServer(self.server._process, self.server._stderr)
        again.serve = lambda address: self.ready  # type: ignore[method-assign]
        return again


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, params: Params
) -> Iterator[Served]:
    """Run the stage with its real process. TensorFlow starts once for all tests of this file."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "data/prepare").mkdir(parents=True)
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            if "TELEMETRY" not in name:
                patch.delenv(name)
        patch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
        write_test_images()
        write_model(5.0)
        with version_server.version_server() as server:
            found: list[Ready] = []
            serve = server.serve
            patch.setattr(server, "serve", lambda address: found.append(serve(address)) or found[0])
            patch.setattr(register, "version_server", lambda: nullcontext(server))
            verdict = run(params)
            yield Served(folder, server, found[0], verdict)
        # It ended by itself, because its standard input was closed.
        assert server._process.returncode == 0


@pytest.fixture
def version(served: Served, monkeypatch: pytest.MonkeyPatch) -> Version:
    """Version 1. The current folder is its workspace."""
    monkeypatch.chdir(served.folder)
    return find_version("digits", "1")


@pytest.fixture
def contest(version: Version, params: Params) -> Contest:
    prepare = params.prepare.model_copy(update={"size": SIZE})
    return register._contest(params.ingest, prepare)


@pytest.fixture
def probabilities(contest: Contest) -> np.ndarray:
    """What `evaluate` has predicted. The first row is one of those that are compared."""
    return np.stack(contest.rows["probabilities"].to_numpy())


def test_a_version_that_answers_as_evaluate_is_blessed(served: Served, version: Version) -> None:
    assert (served.verdict["decision"], served.verdict["reasons"][-1]) == ("promote", SAME)
    assert version.tags["blessing"] == f"passed\n{SAME}"
    assert version.tags["verdict"] == "promote"
    assert version.tags["reasons"].endswith(SAME)
    latency, memory = version.tags["served.latency_ms"], version.tags["served.memory_mb"]
    assert 0 < float(latency) < 10_000
    assert 50 < float(memory) < 10_000
    figures = f"A server of it needed {latency} ms for one image, and {memory} MB of memory."
    assert figures in version.description
    assert "\n- a server of this version gives the probabilities" in version.description
    assert SAME in page().section("verdict")
    # Every run of the stage writes the same bytes, so they have no time and no memory.
    assert all("needed" not in file.read_text() for file in OUTS)
    assert (DOWNLOADS / f"{version.model_id}.keras").is_file()  # it was read from MLflow


def test_the_process_asks_for_no_token_and_is_only_for_this_machine(served: Served) -> None:
    [listening] = [
        each.laddr
        for each in psutil.Process(served.server.pid).net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert listening == ("127.0.0.1", served.ready.port)


@pytest.mark.parametrize("kind", ["float32", "mixed_bfloat16"])
def test_a_network_in_half_precision_is_known(kind: str) -> None:
    load_keras()
    import keras

    pixels = keras.Input((4,))
    network = keras.Model(pixels, keras.layers.Dense(2, dtype=kind)(pixels))
    assert version_server._half_precision(network) == (kind != "float32")


@pytest.mark.parametrize(
    ("half", "change", "doubts"),
    [
        (False, 5e-5, ()),
        (False, 3e-4, ("1 of 20 test images (a difference of up to 0.0003)",)),
        (True, 3e-4, ()),
        (True, 0.03, ("1 of 20 test images (a difference of up to 0.03)",)),
        (False, np.nan, ("1 of 20 test images (a difference of up to nan)",)),
    ],
)
def test_other_probabilities_are_a_doubt(
    served: Served, version: Version, contest: Contest, probabilities: np.ndarray,
    half: bool, change: float, doubts: tuple[str, ...],
) -> None:  # fmt: skip
    probabilities[0] += change
    again = replace(served, ready=replace(served.ready, half=half)).again
    found = bless(again, version, contest, probabilities, NO_LIMITS)
    text = "a server of this version gives other probabilities than the evaluation for "
    assert found.doubts == tuple(text + doubt for doubt in doubts)


def test_classes_are_compared_by_name(
    served: Served, version: Version, contest: Contest, probabilities: np.ndarray
) -> None:
    turned = replace(contest, class_names=contest.class_names[::-1])
    found = bless(served.again, version, turned, probabilities[:, ::-1], NO_LIMITS)
    assert found.doubts == ()
    other = replace(contest, class_names=["bright", "foggy"])
    found = bless(served.again, version, other, probabilities, NO_LIMITS)
    assert found.doubts == ("a server of this version has other classes than the evaluation",)
    more, wider = (
        replace(contest, class_names=["bright", "dark", "foggy"]),
        probabilities[:, [0, 1, 1]],
    )
    found = bless(served.again, version, more, wider, NO_LIMITS)
    assert "refuses a request (top must be 1 to 2" in found.doubts[0]


def test_an_image_that_is_refused_is_a_doubt(
    served: Served, version: Version, contest: Contest, probabilities: np.ndarray, tmp_path: Path
) -> None:
    paths = contest.rows["path"]
    for path in paths:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes((artifacts.RAW / path).read_bytes())
    (tmp_path / paths[0]).write_bytes(b"<p>not an image</p>")
    moved = replace(contest, root=tmp_path)
    found = bless(served.again, version, moved, probabilities, NO_LIMITS)
    assert found.doubts == ("a server of this version refuses 1 of 20 test images (not_an_image)",)
    (tmp_path / paths[0]).unlink()
    found = bless(served.again, version, moved, probabilities, NO_LIMITS)
    sentence = "a test image cannot be read (missing), so no server of this version was asked"
    assert found.doubts == (sentence,)


def test_images_of_many_bytes_are_sent_in_several_requests(
    served: Served, version: Version, contest: Contest, probabilities: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sizes = []
    post = blessing._Asked._post
    monkeypatch.setattr(
        blessing._Asked, "_post", lambda self, sent: sizes.append(len(sent)) or post(self, sent)
    )
    largest = max((contest.root / path).stat().st_size for path in contest.rows["path"])
    monkeypatch.setattr(blessing, "REQUEST_BYTES", 8 * largest)
    found = bless(served.again, version, contest, probabilities, NO_LIMITS)
    assert found.doubts == ()
    *groups, _ = [size for size in sizes if size > 1] + [0]
    assert (sum(groups), len(groups)) == (20, 3)


def test_limits_of_time_and_memory_decide_only_if_they_are_set(
    served: Served, version: Version, contest: Contest, probabilities: np.ndarray
) -> None:
    strict = Serving(max_latency_ms=1, max_memory_mb=1)
    found = bless(served.again, version, contest, probabilities, strict)
    assert found.doubts == (
        "a server of this version needs more than 1 ms for one image",
        "a server of this version has more than 1 MB of memory",
    )
    assert found.latency_ms is not None
    assert found.latency_ms > 1
    lenient = Serving(max_latency_ms=60_000, max_memory_mb=100_000)
    found = bless(served.again, version, contest, probabilities, lenient)
    assert (found.doubts, found.notes) == (
        (),
        (
            SAME,
            "a server of this version needs at most 60000 ms for one image",
            "a server of this version has at most 100000 MB of memory",
        ),
    )


def test_the_best_of_three_measurements_counts(
    served: Served, version: Version, contest: Contest, probabilities: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    values = iter([(9.0, 500.0), (3.0, 700.0), (5.0, 600.0)])
    monkeypatch.setattr(blessing._Asked, "measure", lambda self, contents: next(values))
    found = bless(served.again, version, contest, probabilities, NO_LIMITS)
    assert (found.latency_ms, found.memory_mb) == (3.0, 500.0)


def test_a_server_of_another_model_is_a_doubt(
    served: Served, version: Version, contest: Contest, probabilities: np.ndarray
) -> None:
    other = replace(version, tags={**version.tags, "model_id": "f" * 64})
    found = bless(served.again, other, contest, probabilities, NO_LIMITS)
    assert found.doubts == ("a server of this version answers by another model",)


# Processes in the place of the server, each with a fault.
LISTEN = (
    "import json, socket, sys, time; sys.stdin.readline(); "
    "listening = socket.create_server(('127.0.0.1', 0)); "
    "print(json.dumps({'port': listening.getsockname()[1], 'half': False}), flush=True); "
    "connection, _ = listening.accept(); "
)
OH = "connection.sendall(b'HTTP/1.1 500 Oh\\r\\nContent-Length: 0\\r\\n\\r\\n'); time.sleep(9)"
FAULTS = {
    "does not start": "import sys; sys.exit('no room at http://ann:secret@host')",
    "was not ready within 0 s": "import time; time.sleep(9)",
    "gives no answer within 0 s": f"{LISTEN} time.sleep(9)",
    "ended while it was asked": f"{LISTEN} sys.exit('no memory')",
    "breaks a connection off": f"{LISTEN} connection.close(); time.sleep(9)",
    "answers with the status 500": LISTEN + OH,
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_server_that_fails_is_one_sentence_and_leaves_no_process(
    version: Version, contest: Contest, probabilities: np.ndarray, what: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(logging.getLogger("pipelines"), "propagate", True)
    monkeypatch.setattr(version_server, "COMMAND", (sys.executable, "-S", "-c", FAULTS[what]))
    monkeypatch.setattr(version_server, "END_S", 0.1)
    if what.startswith("was not ready"):
        monkeypatch.setattr(version_server, "READY_S", 0.4)
    if what.startswith("gives no answer"):
        monkeypatch.setattr(blessing, "ANSWER_S", 0.4)
    with version_server.version_server() as server:
        found = bless(server, version, contest, probabilities, NO_LIMITS)
    said = {
        "does not start": "no room at http://host",
        "ended while it was asked": "no memory",
    }.get(what, "")
    assert found == Blessing((f"a server of this version {what}",), said=said)
    assert f"a server of this version {what}: {said or 'it has said nothing'}" in caplog.text
    assert not psutil.pid_exists(server.pid)


def test_a_server_loads_what_mlflow_stores_and_not_a_copy_of_before(
    version: Version, contest: Contest, probabilities: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_server, "COMMAND", (sys.executable, "-S", "-c", "0"))
    copy = DOWNLOADS / f"{version.model_id}.keras"
    copy.write_bytes(artifacts.MODEL.read_bytes())
    with version_server.version_server() as server:
        bless(server, version, contest, probabilities, NO_LIMITS)
    assert not copy.exists()


def test_a_version_whose_file_was_changed_is_not_served(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the process does with an address, in this process: TensorFlow runs here already."""
    uri = version_uri(version)
    content = uri.read_bytes()
    copy = DOWNLOADS / f"{version.model_id}.keras"
    copy.unlink(missing_ok=True)
    uri.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        with pytest.raises(UserError, match="was changed since it was registered"):
            version_server._serve("models:/digits/1", 1)
    finally:
        uri.write_bytes(content)


def version_uri(version: Version) -> Path:
    from components.tracking.connection import client

    return Path(client().get_model_version_download_uri("digits", "1")) / "data/model.keras"


PARENT = (
    "import time; from pipelines.version_server import version_server\n"
    "with version_server() as server:\n"
    "    print(server.pid, flush=True)\n"
    "    time.sleep(60)"
)


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGKILL, False), (signal.SIGINT, False), (signal.SIGINT, True)],
    ids=["the parent is killed", "Ctrl-C for the parent", "Ctrl-C in a terminal"],
)
def test_the_process_ends_with_its_parent(number: int, whole_group: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.5)  # It imports its packages now.
    (os.killpg if whole_group else os.kill)(parent.pid, number)
    parent.communicate()
    gone, _ = psutil.wait_procs([child], timeout=30)
    assert gone == [child]


@pytest.fixture
def workspace(folder_with_store: Path) -> Path:
    Path("data/prepare").mkdir(parents=True)
    write_test_images()
    return folder_with_store


@pytest.fixture
def bless_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[Blessing | BaseException], None]:
    """Let the stage find this, instead of a process that takes seconds to start."""
    monkeypatch.setattr(register, "version_server", lambda: nullcontext("no process"))

    def decide(found: Blessing | BaseException) -> None:
        def decided(*given: object) -> Blessing:
            if isinstance(found, BaseException):
                raise found
            return found

        monkeypatch.setattr(register, "bless", decided)

    return decide


BlessAs = Callable[[Blessing | BaseException], None]


@pytest.fixture
def card(workspace: Path, params: Params) -> Params:
    """A params.yaml for the images of the workspace, and a weak champion, version 1."""
    write_card_and_champion(params)
    write_model(5.0)
    return params


def test_without_a_blessing_the_verdict_is_at_most_hold(card: Params, bless_as: BlessAs) -> None:
    bless_as(FAILED)
    verdict = run(card, "auto")
    assert verdict["decision"] == "hold"
    reasons: Any = verdict["reasons"]
    assert reasons[0] == FAILED.doubts[0]
    assert reasons[1].startswith("significantly better than the champion")
    version = find_version("digits", "2")
    assert version.tags["verdict"] == "hold"
    assert version.tags["reasons"].startswith(FAILED.doubts[0])
    assert version.tags["blessing"] == f"failed\n{FAILED.doubts[0]}"
    assert version.tags["served.latency_ms"] == "not known"
    assert f"**Verdict: hold**: {FAILED.doubts[0]}" in version.description
    assert "A server of it needed" not in version.description
    assert "The server of it that failed said: error at &#42;&#47;home" in version.description
    assert all("/home/ann" not in file.read_text() for file in OUTS)
    assert FAILED.doubts[0] in page().section("verdict")
    with pytest.raises(UserError, match=r"its verdict is hold \(a server of this version does"):
        promote("digits", "2", "better", "Ann", judge_here)
    assert reigning() == 1


def reigning() -> int | None:
    found = champion("digits")
    return found.number if found else None


def test_a_worse_version_stays_rejected_and_says_both(card: Params, bless_as: BlessAs) -> None:
    write_model(-5.0)
    bless_as(FAILED)
    verdict = run(card)
    assert verdict["decision"] == "reject"
    assert verdict["reasons"][-1] == FAILED.doubts[0]  # type: ignore[index]


def test_no_new_verdict_makes_good_what_a_server_did_wrong(card: Params, bless_as: BlessAs) -> None:
    bless_as(FAILED)
    run(card)
    assert register.judge_again(find_version("digits", "2"), "digits", None) is not None
    version = find_version("digits", "2")
    assert (version.tags["verdict"], version.tags["compared_with"]) == ("hold", "none")
    assert version.tags["reasons"].startswith(FAILED.doubts[0])
    # Its verdict is from another comparison, so it is judged again on the spot.
    with pytest.raises(UserError, match="a server of this version does not start"):
        promote("digits", "2", "better", "Ann", judge_here)
    bless_as(PASSED)  # fovea register
    assert run(card)["decision"] == "promote"
    assert find_version("digits", "2").tags["blessing"] == f"passed\n{SAME}"
    promote("digits", "2", "better", "Ann", judge_here)
    assert reigning() == 2


def test_a_new_verdict_repeats_that_a_version_was_blessed(card: Params, bless_as: BlessAs) -> None:
    bless_as(PASSED)
    run(card)
    kept = find_version("digits", "2").run.read_text("1-register-report/digits/verdict.json")
    assert json.loads(kept or "")["reasons"][-1] == SAME
    verdict = register.judge_again(find_version("digits", "2"), "digits", None)
    assert verdict is not None
    assert (verdict.decision, verdict.reasons[-1]) == ("promote", SAME)


def test_a_stage_that_was_killed_before_the_blessing_leaves_nothing_to_promote_and_can_go_on(
    card: Params, bless_as: BlessAs
) -> None:
    bless_as(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(card, "auto")
    version = find_version("digits", "2")
    assert version.tags["verdict"] == "hold"
    assert version.tags["reasons"].startswith(UNASKED.doubts[0])
    assert version.tags["blessing"] == f"failed\n{UNASKED.doubts[0]}"
    assert not any(file.exists() for file in OUTS)
    for compared_with in ("1", "none"):  # the present champion; another one, so it is judged again
        register.tag_version("digits", 2, {"compared_with": compared_with})
        with pytest.raises(UserError, match="no server of this version was asked yet"):
            promote("digits", "2", "better", "Ann", judge_here)
    bless_as(PASSED)
    assert run(card)["decision"] == "promote"
    resumed = [file.read_bytes() for file in OUTS]
    run(card)
    assert [file.read_bytes() for file in OUTS] == resumed
    assert find_version("digits", "2").tags["blessing"] == f"passed\n{SAME}"


def test_a_version_that_was_blessed_is_none_while_it_is_served_again(
    card: Params, bless_as: BlessAs
) -> None:
    bless_as(PASSED)
    run(card)
    bless_as(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(card)
    for compared_with in ("1", "none"):
        register.tag_version("digits", 2, {"compared_with": compared_with})
        with pytest.raises(UserError, match="no server of this version was asked yet"):
            promote("digits", "2", "better", "Ann", judge_here)


def test_a_doubt_counts_also_if_the_verdict_was_written_without_it(
    card: Params, bless_as: BlessAs
) -> None:
    """As by an older Fovea, which knows no blessing, in a clone with the same MLflow."""
    bless_as(FAILED)
    run(card)
    register.tag_version("digits", 2, {"verdict": "promote", "reasons": "better"})
    with pytest.raises(UserError, match=r"^a server of this version does not start; add"):
        promote("digits", "2", "better", "Ann", judge_here)
    event = promote("digits", "2", "I know", "Ann", override=True)
    assert event.overridden == FAILED.doubts[0]


def test_the_champion_itself_is_not_served_again(card: Params, bless_as: BlessAs) -> None:
    bless_as(PASSED)
    run(card)
    promote("digits", "2", "better", "Ann")
    bless_as(AssertionError("asked"))
    assert run(card)["reasons"] == ["this model is the champion already, as version 2"]
    assert find_version("digits", "2").tags["blessing"] == f"passed\n{SAME}"


def test_an_experiment_serves_nothing(
    card: Params, bless_as: BlessAs, monkeypatch: pytest.MonkeyPatch
) -> None:
    bless_as(AssertionError("asked"))
    monkeypatch.setattr(register, "version_server", lambda: 1 / 0)
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-unau")
    assert run(card)["decision"] == "promote"
