"""The short form of crash.py: what was acknowledged before a kill is there afterwards, once."""

from crash import run_trial

KILLS = 10
RECOVERY_SECONDS_MAX = 5  # a loose bound: a busy machine is no failure


def test_kills_under_load_lose_nothing_and_repeat_nothing(tmp_path):
    trial, problems = run_trial(tmp_path / "var", KILLS, seed=20)
    assert problems == []
    assert len(trial.ledger.orders) > KILLS
    assert trial.ledger.cancelled and trial.ledger.adjusted
    assert trial.ledger.retried > 0
    assert trial.recovery_seconds < RECOVERY_SECONDS_MAX
