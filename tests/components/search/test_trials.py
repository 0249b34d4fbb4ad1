"""The store of trials: claims, fences and states, on real databases."""

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import asdict, replace

import optuna
import pytest
from optuna.trial import TrialState

from components.errors import UserError
from components.search.claims import BEAT, LostTrialError
from components.search.database import create_study
from components.search.rows import set_trial_attribute
from components.search.rungs import Rungs
from components.search.tasks import Task
from components.search.trials import TrialStore
from components.search.watch import Watch
from tests.components.search.conftest import add

FLOAT = optuna.distributions.FloatDistribution(0.0, 1.0)


def points(store, count):
    for number in range(count):
        add(store, number, {"x": number / 100}, {"x": FLOAT})


@pytest.fixture
def store(study):
    store = TrialStore(study, "s")
    yield store
    store.close()


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def states(store):
    return "".join(trial.state.name[0] for trial in store.trials())


def silence(watch, clock, seconds):
    """Let the time pass without a sign of any worker; return the claims that the watch took."""
    taken = []
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        taken += watch.look()
    return taken


def test_trials_are_given_out_by_number_and_each_once(store):
    points(store, 3)
    claims = [store.claim(f"w{i}") for i in range(4)]
    assert [claim.number for claim in claims[:3]] == [0, 1, 2]
    assert claims[3] is None
    assert [claim.task.overrides for claim in claims[:3]] == [{"x": 0.0}, {"x": 0.01}, {"x": 0.02}]
    assert store.running() == claims[:3]


def test_a_trial_that_exists_is_not_added_again_and_none_is_left_out(store):
    points(store, 2)
    add(store, 0, {"x": 0.9}, {"x": FLOAT})
    assert [trial.params for trial in store.trials()] == [{"x": 0.0}, {"x": 0.01}]
    with pytest.raises(ValueError, match="trial 2 must be added before trial 3"):
        add(store, 3, {})


def test_the_trials_are_real_trials_of_optuna_in_all_states(store, study):
    points(store, 5)
    complete, pruned, failed, _ = (store.claim("w") for _ in range(4))
    store.report(complete, {1: 0.5})
    store.report(complete, {2: float("nan")})
    store.report(complete, {1: 0.6})
    store.complete(complete, [0.7])
    store.prune(pruned)
    store.fail(failed, "no memory")
    loaded = optuna.load_study(study_name="s", storage=study)
    assert [trial.state for trial in loaded.trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.RUNNING,
        TrialState.WAITING,
    ]
    best = loaded.best_trial
    assert (best.value, best.params, best.number) == (0.7, {"x": 0.0}, 0)
    assert best.intermediate_values[1] == 0.6
    assert best.intermediate_values[2] != best.intermediate_values[2]
    assert best.duration.total_seconds() < 60
    assert best.user_attrs == {"task": asdict(Task(0, {"x": 0.0}, 0)), "worker": "w"}
    assert loaded.trials[2].user_attrs["failure"] == "no memory"
    assert loaded.trials[4].datetime_start is None
    loaded._storage.remove_session()
    loaded._storage._backend.engine.dispose()


def test_a_point_outside_of_the_search_space_is_a_trial_too(store):
    add(store, 0, {"x": 7.0})
    claim = store.claim("w")
    store.complete(claim, [1.0])
    assert claim.task.overrides == {"x": 7.0}
    assert store.trials()[0].params == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_no_finite_number_fails_the_trial_alone(store, value):
    points(store, 2)
    store.complete(store.claim("w"), [value])
    assert states(store) == "FW"
    assert "no finite number" in store.trials()[0].user_attrs["failure"]


def test_several_objectives(database):
    create_study(database, "two", ["maximize", "minimize"])
    store = TrialStore(database, "two")
    points(store, 1)
    claim = store.claim("w")
    with pytest.raises(ValueError, match=r"2 objectives. Received: \[0.5\]"):
        store.complete(claim, [0.5])
    store.complete(claim, [0.5, 100])
    assert store.trials()[0].values == [0.5, 100.0]
    store.close()


WRITES = {
    "renew": lambda store, claim: store.renew(claim),
    "report": lambda store, claim: store.report(claim, {9: 9.0}),
    "complete": lambda store, claim: store.complete(claim, [9.0]),
    "nan": lambda store, claim: store.complete(claim, [float("nan")]),
    "prune": lambda store, claim: store.prune(claim),
    "fail": lambda store, claim: store.fail(claim, "late"),
    "release": lambda store, claim: store.release(claim),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_its_trial_writes_nothing(store, write):
    points(store, 1)
    old = store.claim("old")
    assert store.give_back(old, "silent")

    def refused():
        before = store.trials()
        with pytest.raises(LostTrialError, match="trial 0, attempt 1 of old, is now"):
            WRITES[write](store, old)
        assert store.trials() == before

    refused()  # The trial waits.
    new = store.claim("new")
    refused()  # Another worker runs it.
    store.report(new, {1: 0.1})
    store.complete(new, [0.5])
    refused()  # It is finished.
    assert store.trials()[0].value == 0.5


def test_a_trial_is_finished_once(store):
    points(store, 1)
    claim = store.claim("w")
    store.complete(claim, [0.5])
    for write in WRITES.values():
        with pytest.raises(LostTrialError):
            write(store, claim)
    assert store.trials()[0].value == 0.5


def test_a_retried_trial_counts_once_and_says_what_it_retries(store):
    points(store, 2)
    first = store.claim("a")
    store.report(first, {1: 0.1})
    assert store.give_back(first, "silent for 3 s")
    second = store.claim("b")
    assert (second.number, second.attempt, second.deaths) == (0, 2, 1)
    store.complete(second, [0.5])
    trial = store.trials()[0]
    assert trial.user_attrs["retries"] == "attempt 1 on a: silent for 3 s"
    assert trial.user_attrs["worker"] == "b"
    assert trial.intermediate_values == {1: 0.1}
    assert len(store.trials()) == 2


def test_a_trial_fails_after_the_second_death_of_its_worker(store):
    points(store, 1)
    assert store.give_back(store.claim("a"), "silent")
    assert store.give_back(store.claim("b"), "silent for 3 s")
    trial = store.trials()[0]
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["failure"] == "its worker died 2 times, last b: silent for 3 s"
    assert trial.datetime_complete is not None
    assert store.claim("c") is None


def test_a_trial_given_back_in_good_order_has_no_death(store):
    points(store, 1)
    for _ in range(3):
        claim = store.claim("w")
        assert claim.deaths == 0
        store.release(claim)
        with pytest.raises(LostTrialError):
            store.renew(claim)
    assert states(store) == "W"
    assert "retries" not in store.trials()[0].user_attrs


def test_a_worker_that_renewed_its_claim_keeps_its_trial(store):
    points(store, 2)
    seen = store.claim("w")
    store.renew(seen)
    assert not store.give_back(seen, "silent")
    current = store.running()[0]
    assert current.beat == seen.beat + 1
    store.complete(seen, [0.5])
    assert not store.give_back(current, "silent")
    assert states(store) == "CW"


def test_an_ended_study_gives_no_trials_and_running_ones_finish(store):
    points(store, 2)
    assert store.ended() is None
    claim = store.claim("w")
    store.end("fovea study stop")
    store.end("again")
    assert store.ended() == "fovea study stop"
    assert store.claim("v") is None
    store.renew(claim)
    store.complete(claim, [0.5])
    assert states(store) == "CW"


def test_the_watch_takes_a_trial_whose_worker_is_silent_for_the_grace_time(store, clock):
    points(store, 2)
    watch = Watch(store, grace_s=3.0, clock=clock)
    silent, alive = store.claim("a"), store.claim("b")
    taken = []
    for _ in range(29):
        clock.now += 0.1
        store.renew(alive)
        taken += watch.look()
    assert taken == []
    for _ in range(4):
        clock.now += 0.1
        store.renew(alive)
        taken += watch.look()
    assert taken == [silent]
    assert states(store) == "WR"


def test_a_retried_trial_has_the_whole_grace_time_again_and_then_fails(store, clock):
    points(store, 1)
    watch = Watch(store, grace_s=1.0, clock=clock)
    store.claim("a")
    assert len(silence(watch, clock, 1.3)) == 1
    store.claim("b")
    assert silence(watch, clock, 0.9) == []
    assert len(silence(watch, clock, 0.5)) == 1
    assert states(store) == "F"
    assert "no sign of life for 1 s" in store.trials()[0].user_attrs["failure"]


def test_a_coordinator_that_was_paused_believes_nobody_dead(store, clock):
    points(store, 1)
    watch = Watch(store, grace_s=1.0, clock=clock)
    claim = store.claim("w")
    watch.look()
    for _ in range(3):
        clock.now += 3600
        assert watch.look() == []
    store.renew(claim)
    clock.now += 3600
    assert watch.look() == []
    assert states(store) == "R"


def test_the_worker_is_stopped_before_its_trial_is_taken(store, clock):
    points(store, 1)
    seen = []

    def stop_worker(claim):
        seen.append((claim.worker, states(store)))

    watch = Watch(store, 1.0, stop_worker, clock)
    store.claim("w")
    silence(watch, clock, 1.3)
    assert seen == [("w", "R")]


def test_threads_that_claim_at_once_get_different_trials_and_none_gets_nothing(store):
    points(store, 40)
    claims, start = [], threading.Barrier(4)

    def work(name):
        start.wait()
        for _ in range(10):
            claims.append(store.claim(name))

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.number for claim in claims) == list(range(40))


def test_a_trial_is_not_taken_while_its_worker_is_writing(store):
    points(store, 1)
    claim = store.claim("w")
    inside = threading.Event()

    def slow_renewal(session, trial):
        set_trial_attribute(session, trial, BEAT, claim.beat + 1)
        session.flush()
        inside.set()
        time.sleep(1.0)

    worker = threading.Thread(target=lambda: store._change_own(claim, slow_renewal))
    worker.start()
    assert inside.wait(30)
    assert not store.give_back(claim, "silent")
    worker.join()
    assert states(store) == "R"


def test_a_study_is_created_once_and_keeps_its_objectives(study):
    create_study(study, "s", ["maximize"])
    with pytest.raises(UserError, match=r"the study has other objectives.*Received: study s"):
        create_study(study, "s", ["minimize"])


def test_a_worker_without_a_study_is_told_so(study):
    with pytest.raises(UserError, match=r"no such study; start `search`.*Received: study other"):
        TrialStore(study, "other")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", "no address of a database"),
        ("nothing://host/database", "is sqlite or PostgreSQL; write an .* begins with nothing$"),
        ("sqlite:////no/such/folder/study.db", "the database of the study cannot be used.*open"),
        ("sqlite:////etc/passwd/study.db", "the database of the study cannot be used.*open"),
        (
            "oracle+cx_oracle://a:b@host/database",
            r"is sqlite or P.* begins with oracle\+cx_oracle$",
        ),
        ("postgresql://a:b@host/c", r"driver .* as postgresql\+psycopg://.* with postgresql$"),
        ("postgresql+no://a:b@host/c", r"no address .* as postgresql\+psycopg://.*Received: Can't"),
        ("postgresql+asyncpg://a:b@host/c", r"for asynchronous programs; .*postgresql\+asyncpg$"),
        ("sqlite+aiosqlite:///study.db", "for asynchronous programs; write an address such as"),
        ("postgresql+psycopg://host:b/c", "no address of .*Received: a port that is no number$"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence(address, message):
    with pytest.raises(UserError, match=message):
        Rungs.create(address, "s", ["maximize"])
    with pytest.raises(UserError, match=message):
        TrialStore(address, "s")


def test_a_database_of_another_program_stays_as_it_is(tmp_path):
    """MLflow and Prefect also write the version of their tables into `alembic_version`."""
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('5e7b1fe8ac41')")
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"belongs to another program.*Received: alembic_version$"):
        create_study(f"sqlite:///{file}", "s", ["maximize"])
    assert file.read_bytes() == before


def test_a_database_of_another_version_of_optuna_is_one_sentence(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    create_study(url, "s", ["maximize"])
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99'")
    for open_it in (lambda: create_study(url, "s", ["maximize"]), lambda: TrialStore(url, "s")):
        with pytest.raises(UserError, match=r"another version of Optuna; write the .*Received: Th"):
            open_it()


def test_an_address_may_have_braces(tmp_path):
    """A password may have them, too."""
    url = f"sqlite:///{tmp_path}/{{a}}.db"
    create_study(url, "s", ["maximize"])
    TrialStore(url, "s").close()
    assert (tmp_path / "{a}.db").is_file()


def test_a_locked_sqlite_file_is_waited_for(tmp_path, monkeypatch):
    from components.search import storage

    monkeypatch.setattr(storage, "LOCK_S", 0.1)
    url = f"sqlite:///{tmp_path}/study.db"
    create_study(url, "s", ["maximize"])
    store = TrialStore(url, "s", patience_s=20)
    points(store, 1)
    paused = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    paused.execute("BEGIN EXCLUSIVE")
    assert store.running() == []  # Readers do not wait.
    timer = threading.Timer(1.0, lambda: paused.execute("ROLLBACK"))
    timer.start()
    assert store.claim("w").number == 0
    timer.join()
    paused.execute("BEGIN EXCLUSIVE")
    store._database.patience_s = 0.5
    start = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be used.*Received: database is locked"):
        store.claim("v")
    assert time.monotonic() - start < 10
    paused.close()
    store.close()


def test_a_process_waits_once_for_a_database_that_is_away(tmp_path, monkeypatch):
    """A worker that has given up also tries to give its trial back, and should not wait again."""
    from components.search import storage

    monkeypatch.setattr(storage, "LOCK_S", 0.1)
    url = f"sqlite:///{tmp_path}/study.db"
    create_study(url, "s", ["maximize"])
    store = TrialStore(url, "s", patience_s=1.5)
    points(store, 1)
    locked = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    for waits in (True, False):
        locked.execute("BEGIN EXCLUSIVE")
        seconds = []
        for _ in range(2):
            start = time.monotonic()
            with pytest.raises(UserError, match="database is locked"):
                store.claim("w")
            seconds.append(time.monotonic() - start)
        assert seconds[0] > 1.5 > 1.0 > seconds[1]
        locked.execute("ROLLBACK")
        if waits:
            store.release(store.claim("w"))  # It is back, so the next time it is waited for again.
    locked.close()
    store.close()


def test_postgresql_that_restarts_in_the_middle_is_waited_for(postgresql):
    address, control = postgresql
    create_study(address, "restart", ["maximize"])
    store = TrialStore(address, "restart", patience_s=60)
    points(store, 2)
    claim = store.claim("w")
    control("stop")
    timer = threading.Timer(2.0, lambda: control("start"))
    timer.start()
    store.report(claim, {1: 0.5})
    timer.join()
    store.complete(claim, [0.5])
    control("restart")
    assert states(store) == "CW"
    control("stop")
    store._database.patience_s = 0.5
    with pytest.raises(UserError, match="FOVEA_STUDY_STORAGE: the database of the study"):
        store.claim("w")
    with pytest.raises(UserError, match="FOVEA_STUDY_STORAGE: the database of the study"):
        TrialStore(address, "restart")
    control("start")
    assert states(store) == "CW"
    store.close()


def test_a_lost_connection_is_one_line_that_says_why(postgresql, capfd, caplog):
    address, control = postgresql
    create_study(address, "lost", ["maximize"])
    store = TrialStore(address, "lost", patience_s=0.5)
    points(store, 2)
    assert states(store) == "WW"
    control("stop")
    with pytest.raises(UserError, match="the database of the study cannot be used"):
        store.trials()
    control("start")
    (record,) = caplog.records
    assert record.message.startswith("the database of the study does not answer: terminating conn")
    assert "SELECT" not in capfd.readouterr().err
    store.close()


def test_one_process_holds_a_study_in_postgresql_however_it_ends(postgresql):
    """On two machines, or in two folders, the same search has the same name."""
    import subprocess
    import sys

    address, _ = postgresql
    for name in ("held", "other"):
        create_study(address, name, ["maximize"])
    program = (
        "import sys; from components.search.trials import TrialStore;"
        f"TrialStore({address!r}, 'held').hold(); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    second, other = TrialStore(address, "held"), TrialStore(address, "other")
    with pytest.raises(
        UserError, match=r"^another process runs .* machine; .*Received: study held$"
    ):
        second.hold()
    other.hold()
    holder.kill()
    holder.communicate()
    deadline = time.monotonic() + 30
    while True:
        try:
            second.hold()
            break
        except UserError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    second.close()
    third = TrialStore(address, "held")
    third.hold()
    for store in (third, other):
        store.close()


def test_a_change_that_was_committed_before_the_connection_was_lost_is_not_done_twice(store):
    points(store, 3)
    change = store._database.change

    def losing(work):
        """Commit, and then do it again as after a lost reply."""
        change(work)
        return store._database.retry(lambda again: change(lambda session, _: work(session, True)))

    store._database.change = losing
    claim = store.claim("w")
    assert (claim.number, claim.attempt) == (0, 1)
    assert states(store) == "RWW"
    store.report(claim, {1: 0.5})
    store.complete(claim, [0.5])
    assert states(store) == "CWW"
    store.release(store.claim("w"))
    assert states(store) == "CWW"
    stale = replace(claim, attempt=0)
    with pytest.raises(LostTrialError):
        store.complete(stale, [0.6])
