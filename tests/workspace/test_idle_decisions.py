from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nexus.models.activity import Hold, RunningCommand
from nexus.models.ids import WorkspaceId
from nexus.models.workspace import WorkspaceStatus
from nexus.workspace.idle import Patience, Signals, Step, Verdict, decide

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
PATIENCE = Patience(idle=HALF_HOUR, stop=timedelta(hours=4))
RUNNING, PAUSED = WorkspaceStatus.RUNNING, WorkspaceStatus.PAUSED


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def hold(name: str = "build", *, renewed: datetime = NOW, minutes: float = 10, reason: str = "") -> Hold:
    return Hold(
        workspace=WorkspaceId("w"),
        name=name,
        reason=reason,
        ttl=timedelta(minutes=minutes),
        taken_at=renewed,
        renewed_at=renewed,
    )


def verdict(patience: Patience = PATIENCE, **seen: object) -> Verdict:
    given_: dict[str, object] = {"status": RUNNING, "last_active": ago(hours=1), **seen}
    return decide(Signals(**given_), patience, NOW)  # type: ignore[arg-type]  # checked by the class itself


def test_one_that_was_used_lately_stays_awake_until_the_time_is_over() -> None:
    told = verdict(last_active=ago(minutes=10))
    assert (told.step, told.again) == (Step.KEEP, NOW + timedelta(minutes=20))
    assert told.because == ("used 10m ago; sleeps in 20m unless used",)


def test_one_in_which_nothing_happened_is_paused_or_where_that_cannot_be_stopped() -> None:
    assert verdict().step is Step.PAUSE
    assert verdict(can_pause=False).step is Step.STOP
    assert verdict().because == ("nothing happened in it for 1h",)


def test_the_moment_itself_is_late_enough() -> None:
    assert verdict(last_active=NOW - HALF_HOUR).step is Step.PAUSE


def test_a_running_command_is_work_a_terminal_that_waits_is_none() -> None:
    told = verdict(commands=(RunningCommand(program="pytest"),))
    assert (told.step, told.because) == (Step.KEEP, ("running: pytest",))
    assert told.again is not None
    assert verdict(commands=(RunningCommand(program="bash", interactive=True),)).step is Step.PAUSE
    assert verdict(commands=(RunningCommand(program="postgres", keeps_awake=False),)).step is Step.PAUSE


def test_many_commands_are_counted() -> None:
    commands = tuple(RunningCommand(program=name) for name in "abcde")
    assert verdict(commands=commands).because == ("running: a, b, c and 2 more",)


def test_what_cannot_be_found_out_is_a_reason_to_stay_awake() -> None:
    told = verdict(commands=None)
    assert told.step is Step.KEEP
    assert told.because == ("its backend cannot say what runs in it",)


def test_a_hold_keeps_it_awake_until_it_ends_and_says_why() -> None:
    told = verdict(holds=(hold(reason="nightly build"),))
    assert (told.step, told.again) == (Step.KEEP, NOW + timedelta(minutes=10))
    assert told.because == ("held by 'build' until 2026-05-01 12:10 UTC (nightly build)",)
    assert verdict(holds=(hold(renewed=ago(minutes=10)),)).step is Step.PAUSE


def test_a_hold_of_a_clock_that_was_set_back_does_not_last_for_ever() -> None:
    assert verdict(holds=(hold(renewed=NOW + timedelta(days=365)),)).step is Step.PAUSE
    assert verdict(holds=(hold(renewed=NOW + timedelta(minutes=1)),)).step is Step.KEEP


def test_activity_that_is_still_to_come_counts_as_now() -> None:
    told = verdict(last_active=NOW + timedelta(days=365))
    assert (told.step, told.again) == (Step.KEEP, NOW + HALF_HOUR)


def test_without_a_time_limit_nothing_sleeps() -> None:
    told = verdict(Patience(idle=None, stop=None), last_active=ago(days=400))
    assert (told.step, told.because, told.again) == (Step.KEEP, ("idle_timeout is off",), None)


def test_one_that_sleeps_is_stopped_after_a_longer_time() -> None:
    assert verdict(status=PAUSED, asleep_since=ago(hours=1)).again == NOW + timedelta(hours=3)
    assert verdict(status=PAUSED, asleep_since=ago(hours=4)).step is Step.STOP
    assert verdict(status=PAUSED, asleep_since=ago(hours=4), holds=(hold(),)).step is Step.KEEP
    assert verdict(Patience(idle=HALF_HOUR, stop=None), status=PAUSED, asleep_since=ago(days=9)).step is Step.KEEP


def test_one_that_its_user_paused_or_stopped_is_left_alone() -> None:
    assert verdict(status=PAUSED, asleep_since=None, last_active=ago(days=9)) == Verdict(step=Step.KEEP)
    assert verdict(status=WorkspaceStatus.STOPPED, last_active=ago(days=9)) == Verdict(step=Step.KEEP)


def test_one_past_its_time_is_destroyed_whatever_runs_unless_it_is_held() -> None:
    busy = (RunningCommand(program="pytest"),)
    for status in (RUNNING, PAUSED, WorkspaceStatus.STOPPED):
        assert verdict(status=status, expires_at=NOW, commands=busy).step is Step.EXPIRE
    assert verdict(expires_at=NOW, holds=(hold(),)).again == NOW + timedelta(minutes=10)
    # Until then the end is a reason to look again, whatever else is.
    assert verdict(expires_at=NOW + timedelta(minutes=5), last_active=NOW).again == NOW + timedelta(minutes=5)
    assert verdict(status=WorkspaceStatus.STOPPED, expires_at=NOW + HALF_HOUR).again == NOW + HALF_HOUR


MOMENTS = st.timedeltas(min_value=timedelta(days=-30), max_value=timedelta(days=30)).map(lambda span: NOW + span)
COMMANDS = st.builds(
    RunningCommand, program=st.sampled_from(["a", "b"]), interactive=st.booleans(), keeps_awake=st.booleans()
)
HOLDS = st.builds(hold, renewed=MOMENTS, minutes=st.floats(min_value=0.1, max_value=5000))
SPANS = st.none() | st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=3))
SEEN = st.builds(
    Signals,
    status=st.sampled_from(WorkspaceStatus),
    last_active=MOMENTS,
    commands=st.none() | st.lists(COMMANDS, max_size=3),
    holds=st.lists(HOLDS, max_size=3),
    asleep_since=st.none() | MOMENTS,
    expires_at=st.none() | MOMENTS,
    can_pause=st.booleans(),
)


@given(seen=SEEN, patience=st.builds(Patience, idle=SPANS, stop=SPANS))
def test_every_decision_is_sound(seen: Signals, patience: Patience) -> None:
    told = decide(seen, patience, NOW)
    # The next look is always still to come, so that a watch never turns in circles.
    assert told.again is None or told.again > NOW
    working = any(command.keeps_awake and not command.interactive for command in seen.commands or ())
    held = any(one.counts(NOW) for one in seen.holds)
    if told.step in {Step.PAUSE, Step.STOP}:
        assert not held
        assert seen.status is PAUSED or (not working and seen.commands is not None)
    if told.step is Step.STOP and seen.status is PAUSED:
        assert seen.asleep_since is not None
    if told.step is Step.EXPIRE:
        assert seen.expires_at is not None
        assert seen.expires_at <= NOW
        assert not held
    if told.step is Step.KEEP and seen.status is RUNNING:
        assert told.because
    # One that is to sleep some day is looked at again.
    if told.step is Step.KEEP and seen.status is RUNNING and patience.idle is not None:
        assert told.again is not None
